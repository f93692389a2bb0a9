# SPDX-License-Identifier: LGPL-2.1-or-later
"""Manual pages: everything that is installed has its page, references lead somewhere, what is said of rules, limits,
variables, errors and options is what the sources say, and mandoc and groff have no complaint. The argument is the build
directory, which knows what is installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import source_tree

OVERVIEW, RUNTIME = "man/crt.7", "man/crt-oci.8"
DEFAULTS = {"yes": "yes", "auth_admin": "administrator", "auth_admin_keep": "administrator, kept"}
# The blank that it talks of is not there anyway.
HARMLESS = "skipping no-space macro"


def lines_of(name):
    return enumerate(source_tree.read(name).split("\n"), 1)


def pages():
    """{(program or topic, section): file} by what stands in the NAME sections."""
    found = {}
    for file in source_tree.files(".1", ".7", ".8"):
        if file.startswith("man/"):
            names = source_tree.read(file).split("\n.Sh NAME\n")[1].split("\n.Nd ")[0]
            for name in re.findall(r"^\.Nm (\S+)", names, re.MULTILINE):
                found[name, file[-1]] = file
    return found


def check_installed(build, known):
    with open(os.path.join(build, "meson-info", "intro-installed.json"), encoding="utf-8") as file:
        installed = set(json.load(file).values())
    programs = [path for path in installed if re.search(r"/(bin|libexec/crt)/[^/]+$", path)]
    if not programs:
        yield "man/meson.build:1: the build directory installs no programs"
    for path in sorted(programs):
        if not any((os.path.basename(path), section) in known for section in "18"):
            yield f"man/meson.build:1: {path} has no manual page"
    for file in sorted(set(known.values())):
        if not any(path.endswith(f"/man{file[-1]}/{os.path.basename(file)}") for path in installed):
            yield f"man/meson.build:1: {file} is not installed"


def check_aliases(known):
    text = source_tree.read("man/meson.build")
    aliases = {(name, "8"): f"man/{page}.8" for name, page in re.findall(r"^\s+'(\S+)' : '(\S+)',", text, re.MULTILINE)}
    for (name, section), file in known.items():
        if file != f"man/{name}.{section}" and aliases.get((name, section)) != file:
            yield f"man/meson.build:1: {name}({section}) is described in {file}, but has no link to it"


def check_references(known):
    for file in source_tree.files(".service.in", ".socket.in", ".slice", ".timer", ".timer.in"):
        text = source_tree.read(file)
        if file.startswith("systemd/") and "\nDocumentation=" not in text:
            yield f"{file}:1: has no Documentation="
        for name, section in re.findall(r"\bman:([\w.-]+)\((\d)\)", text):
            if (name, section) not in known:
                yield f"{file}:1: there is no manual page {name}({section})"
    for file in sorted(set(known.values())):
        for number, line in lines_of(file):
            for name, section in re.findall(r"\bXr (crt\S*) (\d)", line):
                if (name, section) not in known:
                    yield f"{file}:{number}: there is no manual page {name}({section})"


def documented_actions():
    pattern = r"^\.It Li (org\.crt\.\S+) Pq ([\w, ]+)\n(.*)$"
    return {action: (default, set(methods.rstrip(".").split(", ")))
            for action, default, methods in re.findall(pattern, source_tree.read(OVERVIEW), re.MULTILINE)}


def methods_by_action():
    """{action: methods} from the tables of rules in the daemons."""
    found = {}
    interfaces = dict(re.findall(r'#define (CRT_\w+_INTERFACE) "([^"]+)"', source_tree.read("bus/bus-names.h")))
    for file in source_tree.files("d.c"):
        if not file.startswith("services/"):
            continue
        text = source_tree.read(file)
        actions = dict(re.findall(r'#define (\w+) "(org\.crt\.[^"]+)"', text))
        for interface, member, action in re.findall(r'\{ (CRT_\w+_INTERFACE), "(\w+)", BUS_POLKIT, (\w+)', text):
            child = interfaces[interface].split(".")[3:]
            found.setdefault(actions[action], set()).add(".".join([*child, member]))
    return found


def check_actions():
    said, rules = documented_actions(), methods_by_action()
    defined = {}
    for file in source_tree.files(".policy"):
        for action in ElementTree.parse(os.path.join(source_tree.ROOT, file)).getroot().iter("action"):
            defined[action.get("id")] = DEFAULTS.get(action.findtext("defaults/allow_active"))
    for action in sorted(defined.keys() | said.keys() | rules.keys()):
        default, methods = said.get(action, (None, set()))
        if action not in defined:
            yield f"{OVERVIEW}:1: there is no action {action}"
        elif action not in said:
            yield f"{OVERVIEW}:1: the action {action} is not described"
        elif default != defined[action]:
            yield f"{OVERVIEW}:1: {action}: the default is '{defined[action]}'"
        elif action in rules and methods != rules[action]:
            yield f"{OVERVIEW}:1: {action} is asked about {', '.join(sorted(rules[action]))}"


def check_limits(known):
    """A comment with the name of a limit stands before the line with its number."""
    limits, said = {}, set()
    for name, value in re.findall(r"#define (LIMIT_\w+) \(?([0-9ULx* ]+)\)?", source_tree.read("lib/limits.h")):
        limits[name] = eval(value.replace("U", "").replace("L", ""))  # pylint: disable=eval-used
    for file in sorted(set(known.values())):
        name = None
        for number, line in lines_of(file):
            if name and str(limits.get(name)) not in re.findall(r"\d+", line):
                yield f"{file}:{number}: {name} is {limits.get(name)}"
            match = re.fullmatch(r'\.\\" (LIMIT_\w+)', line)
            name = match and match[1]
            said.add(name)
    for name in sorted(limits):
        if name.endswith("_PER_UID") and name not in said:
            yield f"{OVERVIEW}:1: {name} is not described"


def check_names():
    """What can be seen of crt from outside: variables, errors, fields of the journal."""
    text, seen = source_tree.read(OVERVIEW), set()
    for file in source_tree.files(".c"):
        if file.split("/")[0] in ("bus", "lib", "services"):
            code = source_tree.read(file)
            seen |= set(re.findall(r'getenv\("(CRT_\w+)"\)', code))
            seen |= set(re.findall(r'#define \w+_VARIABLE "(CRT_\w+)"', code))
            seen |= set(re.findall(r'"(org\.crt\.Error\.\w+)"', code))
    seen |= set(re.findall(r"(CRT_[A-Z]+)=", source_tree.read("services/tasks/supervisor-journal.c")))
    for name in sorted(seen):
        if not re.search(rf"^\.It (Ev|Li) {re.escape(name)}$", text, re.MULTILINE):
            yield f"{OVERVIEW}:1: {name} is not described"
    for name in re.findall(r"^\.It (?:Ev|Li) (CRT_\w+|org\.crt\.Error\.\w+)$", text, re.MULTILINE):
        if name not in seen:
            yield f"{OVERVIEW}:1: there is no {name}"


def check_runtime():
    code, text = source_tree.read("runtime/oci-option-table.c"), source_tree.read(RUNTIME)
    options = set(re.findall(r'\b(?:FLAG|TEXT|LIST|WORD)\("([a-z0-9-]+)"', code)) | {"help", "version"}
    commands = set(re.findall(r'\[OCI_COMMAND_\w+\] = \{ "(\w+)"', code))
    if not options or not commands:
        yield f"{RUNTIME}:1: no options are found in runtime/oci-option-table.c"
    items = re.findall(r"^\.It (Cm|Fl) (.*)$", text, re.MULTILINE)
    said = {word for kind, line in items if kind == "Fl" for word in re.findall(r"(?:^| )-([a-z0-9-]+)", line)}
    said_commands = {word for kind, line in items if kind == "Cm" for word in re.findall(r"\b[a-z]+", line)}
    for name in sorted((options | commands) - said - said_commands):
        yield f"{RUNTIME}:1: {name} is not described"
    for name in sorted(said - options | said_commands - commands):
        yield f"{RUNTIME}:1: there is no {name}"


def check_markup(name):
    commands = (["mandoc", "-T", "lint", "-W", "warning", name],
                ["groff", "-k", "-ww", "-mandoc", "-Tutf8", "-z", name])
    for command in commands:
        if not shutil.which(command[0]):
            print(f"{command[0]} is not installed: {name} is not checked with it")
            continue
        done = subprocess.run(command, cwd=source_tree.ROOT, text=True, capture_output=True, check=False)
        for line in (done.stdout + done.stderr).splitlines():
            match = re.search(r"(\d+)(?::\d+)?: (.*)", line.split(name, 1)[-1])
            if HARMLESS not in line:
                yield f"{name}:{match[1]}: {match[2]}" if match else f"{name}:1: {line}"


def main():
    known = pages()
    problems = [*check_installed(sys.argv[1], known), *check_aliases(known), *check_references(known), *check_actions(),
                *check_limits(known), *check_names(), *check_runtime()]
    for name in sorted(set(known.values())):
        problems += check_markup(name)
    source_tree.finish(problems, "manual pages")


main()
