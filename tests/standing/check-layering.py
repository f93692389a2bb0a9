# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may include whom (STYLE: "Could this file drop sd-bus?"), and where each heavy library is confined."""

import fnmatch
import re

import source_tree

# The first row that matches a file says what it may include; "{service}" is the file's own.
LAYERS = [
    ("lib/*", ["lib/"]),
    ("bus/*", ["lib/", "bus/"]),
    ("runtime/*", ["lib/", "runtime/"]),
    ("services/tasks/*", ["lib/", "bus/", "runtime/", "services/tasks/"]),
    ("services/*", ["lib/", "bus/", "services/{service}/"]),
    ("ctl/*", ["lib/", "bus/", "ctl/"]),
    ("tests/*", ["lib/", "bus/", "runtime/", "services/", "ctl/", "tests/"]),
    ("bench/*", ["lib/", "runtime/", "services/", "bench/"]),
]

# A system header, and the files that may include it.
CONFINED = [
    (r"systemd/", ["bus/*", "services/*", "ctl/*", "runtime/*-bus.c", "tests/*"]),
    (r"systemd/sd-bus", ["bus/*", "services/*-bus.[ch]", "services/*/*d.c", "ctl/*", "runtime/*-bus.c", "tests/*"]),
    (r"curl/", ["services/images/fetch*", "services/images/http-*"]),
    (r"archive(_entry)?\.h", ["tests/*"]),
    (r"seccomp\.h", ["lib/sandbox*", "runtime/seccomp*", "tests/*"]),
    (r"pcre2", ["lib/filter*"]),
    (r"sqlite3", ["lib/database*", "tests/*"]),
    (r"openssl/", ["lib/digest*", "tests/*"]),
    (r"isa-l|igzip", ["services/snapshots/*"]),
    (r"zstd", ["services/snapshots/*", "tests/*"]),
]

# What begins with sd_bus may be spoken of only by the D-Bus faces.
FACES = ["bus/*", "services/*-bus.[ch]", "services/*/*d.c", "ctl/*", "runtime/*-bus.c", "tests/*"]

QUOTED = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
SYSTEM = re.compile(r"^\s*#\s*include\s+<([^>]+)>")
FACE = re.compile(r"\bsd_bus\w*|\bSD_BUS\w*")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def allowed_includes(name):
    for pattern, allowed in LAYERS:
        if fnmatch.fnmatchcase(name, pattern):
            service = name.split("/")[1] if name.startswith("services/") else ""
            return [prefix.format(service=service) for prefix in allowed]
    return None


def check_quoted(name, path, allowed):
    if "/" not in path:
        return f'"{path}" is not named from the root'
    if not any(path.startswith(prefix) for prefix in allowed):
        return f'"{path}" is of a layer that {name.rpartition("/")[0]}/ does not stand on'
    return None


def check_system(name, path):
    for header, places in CONFINED:
        if re.match(header, path) and not matches(name, places):
            return f"<{path}> belongs only into {', '.join(places)}"
    return None


def without_comments(text):
    return COMMENT.sub(lambda match: "\n" * match.group().count("\n"), text)


def check_file(name):
    allowed = allowed_includes(name)
    if allowed is None:
        yield f"{name}:1: is in no layer that this check knows"
        return
    for number, line in enumerate(without_comments(source_tree.read(name)).split("\n"), 1):
        problem = None
        if quoted := QUOTED.match(line):
            problem = check_quoted(name, quoted.group(1), allowed)
        elif system := SYSTEM.match(line):
            problem = check_system(name, system.group(1))
        elif (face := FACE.search(line)) and not matches(name, FACES):
            problem = f"{face.group()}: only bus/, *-bus.c, *-bus.h and the daemons' mains speak of sd-bus"
        if problem:
            yield f"{name}:{number}: {problem}"


names = source_tree.files(".c", ".h")
source_tree.finish([problem for name in names for problem in check_file(name)], "layering")
