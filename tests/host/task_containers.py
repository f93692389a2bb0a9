# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.crt.Tasks as its tests use it, and what containers leave on a machine."""

import os
import re
import shutil
import subprocess
import sys
import time
import traceback

from interfaces import Cases, Gio, GLib, bus, call, error_name, wait_for

NAME, PATH = "org.crt.Tasks", "/org/crt/Tasks"
MANAGER, CONTAINER = "org.crt.Tasks1", "org.crt.Tasks1.Container"
ERROR = "org.crt.Error."
RUN = "/run/crt/tasks"
MOCK = "/var/lib/crt/mock"
GATE = "/tmp/gate"
# What an earlier test wrote into the journal does not count.
STARTED = time.time()
TYPES = {str: "s", bool: "b", int: "t", list: "as", dict: "a{ss}"}


def variant(value):
    return value if isinstance(value, GLib.Variant) else GLib.Variant(TYPES[type(value)], value)


def entries(options):
    return {key.replace("_", "-"): variant(value) for key, value in options.items()}


class Container:
    def __init__(self, path, connection=None):
        self.path = path
        self.connection = connection or bus()

    def call(self, member, signature="", *arguments, fds=None, timeout=300000, **options):
        values = GLib.Variant(f"({signature}a{{sv}})", (*arguments, entries(options)))
        return call(self.connection, NAME, self.path, CONTAINER, member, values, fds, timeout)

    def start(self, standard=(), **options):
        """(result, fd of the terminal or None); standard: {"stdin": fd, …}"""
        fds = Gio.UnixFDList.new()
        for key, fd in dict(standard).items():
            options[key] = GLib.Variant("h", fds.append(fd))
        (result,), given = self.call("Start", fds=fds, **options)
        return result, given.get(result["terminal"]) if "terminal" in result else None

    def wait(self, timeout=300000):
        return self.call("Wait", timeout=timeout)[0][0]

    def kill(self, signal="KILL", **options):
        self.call("Kill", "s", signal, **options)

    def delete(self, **options):
        self.call("Delete", **options)

    def resize(self, rows, columns):
        self.call("ResizeTerminal", "uu", rows, columns)

    def __getattr__(self, name):
        """Properties: container.State"""
        if not name[0].isupper():
            raise AttributeError(name)
        arguments = GLib.Variant("(ss)", (CONTAINER, name))
        return call(self.connection, NAME, self.path, "org.freedesktop.DBus.Properties", "Get", arguments)[0][0]

    def run(self):
        """Starts it and waits: the status."""
        self.start()
        return self.wait()


def create(*args, id="", connection=None, fds=None, image="busybox", **options):
    if args:
        options["args"] = list(args)
    values = GLib.Variant("(sa{sv})", (id, entries({"image": image, **options})))
    (path,), _ = call(connection or bus(), NAME, PATH, MANAGER, "Create", values, fds)
    return Container(path, connection)


def containers(**options):
    return call(bus(), NAME, PATH, MANAGER, "List", GLib.Variant("(a{sv})", (entries(options),)))[0]


def shell(script, **options):
    return create("sh", "-c", script, **options)


def failure(name, action):
    """The call must fail with that error; its sentence."""
    try:
        action()
    except GLib.Error as error:
        got = error_name(error)
        assert got in (name, ERROR + name, "org.freedesktop.DBus.Error." + name), f"{got}, not {name}: {error.message}"
        return error.message
    raise AssertionError(f"succeeded instead of failing with {name}")


def equal(expected, got):
    assert expected == got, f"{str(got)[:500]!r} instead of {str(expected)[:500]!r}"


def contains(part, text):
    assert part in text, f"no {part!r} in {text!r}"


def call_later(container, member, done, **options):
    """Without waiting: done(values or GLib.Error)."""
    def on_answer(connection, result):
        try:
            done(connection.call_finish(result).unpack())
        except GLib.Error as error:
            done(error)
    arguments = GLib.Variant("(a{sv})", (entries(options),))
    container.connection.call(NAME, container.path, CONTAINER, member, arguments, None, Gio.DBusCallFlags.NONE, 300000,
                              None, on_answer)


def loop_until(condition, seconds=10):
    def step():
        while GLib.MainContext.default().iteration(False):
            pass
        return condition()
    wait_for(step, seconds)


def command(*arguments):
    return subprocess.run(arguments, check=True, text=True, capture_output=True).stdout


def systemctl(*arguments):
    return command("systemctl", *arguments).strip()


def journal(container, *fields):
    """What a container wrote there."""
    command("journalctl", "--sync")
    return command("journalctl", "-q", "-o", "cat", f"--since=@{STARTED:.6f}", f"CRT_CONTAINER={container}", *fields)


def gated(script, **options):
    """A container that does this when open_gate() is called."""
    os.makedirs(GATE, exist_ok=True)
    given = GLib.Variant("a(ssas)", [(GATE, "/gate", ["ro"])])
    return shell(f"until test -e /gate/open; do sleep 0.05; done; {script}", mounts=given, **options)


def open_gate():
    with open(os.path.join(GATE, "open"), "w", encoding="ascii"):
        pass


def close_gate():
    shutil.rmtree(GATE, ignore_errors=True)


def wait_until_ready(container):
    """Until it says "ready"."""
    wait_for(lambda: "ready" in journal(container.Id).split(), what=f"{container.Id} to be ready")


def read_all(fd):
    with os.fdopen(fd, "rb") as file:
        return file.read().decode()


def terminal_read(fd, end):
    """From a terminal until that text has come."""
    text = ""
    while end not in text:
        try:
            part = os.read(fd, 4096)
        except OSError:  # hung up
            part = b""
        assert part, f"the terminal ended with {text!r}"
        text += part.decode()
    return text


def supervisors():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                if file.read().strip() == "crt-supervisor":
                    found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def scopes():
    return set(re.findall(r"crt-\S+\.scope", systemctl("list-units", "--all", "--plain", "--no-legend", "crt-*.scope")))


def snapshots():
    below = os.path.join(MOCK, "snapshots")
    return {f"{space}/{key}" for space in (os.listdir(below) if os.path.isdir(below) else [])
            for key in os.listdir(os.path.join(below, space))}


def run_directories():
    return {f"{space}/{id}" for space in os.listdir(RUN) if space != ".seccomp"
            for id in os.listdir(os.path.join(RUN, space))} if os.path.isdir(RUN) else set()


def cgroups():
    return {name for _, names, _ in os.walk("/sys/fs/cgroup/crt.slice") for name in names if name.endswith(".scope")}


def mounts():
    with open("/proc/self/mountinfo", encoding="ascii") as file:
        return [line for line in file if " - overlay overlay " in line and "mock" in line]


def all_paths():
    """Of containers in all namespaces."""
    (tree,), _ = call(bus(), NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    return [path for path, interfaces in tree.items() if CONTAINER in interfaces]


def check_nothing_is_left():
    equal([], all_paths())
    for what in (scopes, cgroups, snapshots, run_directories, supervisors, mounts):
        wait_for(lambda: not what(), what=f"no {what.__name__}: {what()}")


def remove_all():
    for path in all_paths():
        try:
            Container(path).delete(force=True)
        except GLib.Error as error:
            if error_name(error).split(".")[-1] not in ("NotFound", "UnknownObject"):
                raise


def set_drop_in(name, text):
    """Of crt-tasks.service; None takes it back."""
    path = f"/run/systemd/system/crt-tasks.service.d/{name}.conf"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if text:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    elif os.path.exists(path):
        os.unlink(path)
    systemctl("daemon-reload")


# ---- Images and Snapshots, played by task_siblings.py ----

POLICY = """<busconfig>
<policy user="root"><allow own="org.crt.Images"/><allow own="org.crt.Snapshots"/></policy>
<policy context="default">
<allow send_destination="org.crt.Images"/><allow send_destination="org.crt.Snapshots"/>
</policy>
</busconfig>"""


def reload_bus():
    call(bus(), "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ReloadConfig")


def mask(*verb):
    """The real ones, where they are installed."""
    for name in ("images", "snapshots"):
        subprocess.run(["systemctl", *verb, "--runtime", "--quiet", f"crt-{name}.service"], check=False,
                       capture_output=True)


def start_mock():
    mask("mask", "--now")
    with open("/etc/dbus-1/system.d/test-tasks.conf", "w", encoding="ascii") as file:
        file.write(POLICY)
    reload_bus()
    set_drop_in("often", "[Unit]\nStartLimitIntervalSec=0\n")
    shutil.rmtree(MOCK, ignore_errors=True)
    os.makedirs(MOCK)
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "task_siblings.py")
    command("systemd-run", "--quiet", "--collect", "--unit", "mock-siblings", "--service-type=dbus",
            "-p", "BusName=org.crt.Snapshots", program, MOCK)


def stop_mock():
    systemctl("stop", "mock-siblings")
    os.unlink("/etc/dbus-1/system.d/test-tasks.conf")
    reload_bus()
    set_drop_in("often", None)
    mask("unmask")


class Failing:
    """with Failing("Mount", "NoSpace"): …"""

    def __init__(self, member, error):
        self.line = f"{member} {error}\n"

    def __enter__(self):
        with open(os.path.join(MOCK, "fail"), "w", encoding="ascii") as file:
            file.write(self.line)
        return self

    def __exit__(self, *_):
        os.unlink(os.path.join(MOCK, "fail"))
        if os.path.exists(self.hangs):
            os.unlink(self.hangs)

    hangs = os.path.join(MOCK, "hangs")

    def wait(self):
        """Until a call hangs."""
        wait_for(lambda: os.path.exists(self.hangs), what="the call")


def run_cases(functions, clean=lambda: None):
    """Those whose names contain $ONLY."""
    cases = Cases()
    for function in functions:
        name = function.__name__.removeprefix("test_").replace("_", " ")
        if os.environ.get("ONLY", "") not in function.__name__:
            continue
        problems = []
        for step in (function, clean):
            try:
                step()
            except Exception as error:  # pylint: disable=broad-except
                message = error.message if isinstance(error, GLib.Error) else str(error)
                problems += [f"{type(error).__name__}: {message}", *traceback.format_exc().splitlines()[-5:]]
        cases.case(name, problems)
    return cases


def main(module):
    start_mock()
    try:
        functions = [f for name, f in list(module.items()) if name.startswith("test_")]

        def clean():
            remove_all()
            close_gate()
            check_nothing_is_left()
        cases = run_cases(functions, clean)
    finally:
        stop_mock()
    cases.end()


if __name__ == "__main__":
    sys.exit("not a test")
