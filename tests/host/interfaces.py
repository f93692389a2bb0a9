# SPDX-License-Identifier: LGPL-2.1-or-later
"""introspection/*.xml as Python sees it, and the few things that the tests of all services share."""

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

SOURCE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def documented():
    """{interface name: element} of all that introspection/ documents."""
    found = {}
    directory = os.path.join(SOURCE_ROOT, "introspection")
    for name in sorted(os.listdir(directory)):
        if name.endswith(".xml"):
            for element in ElementTree.parse(os.path.join(directory, name)).getroot().iter("interface"):
                found[element.get("name")] = element
    return found


def service_of(interface):
    """("org.crt.Tasks", "/org/crt/Tasks") of "org.crt.Tasks1.Container"."""
    word = interface.split(".")[2].rstrip("0123456789")
    return f"org.crt.{word}", f"/org/crt/{word}"


def describe(element):
    """What a client depends on, as a set of strings: members, argument names and types, and how properties change."""
    lines = set()
    for method in element.iter("method"):
        arguments = [f"{a.get('direction', 'in')} {a.get('type')} {a.get('name')}" for a in method.iter("arg")]
        lines.add(f"method {method.get('name')}({', '.join(arguments)})")
    for sent in element.iter("signal"):
        lines.add(f"signal {sent.get('name')}({', '.join(a.get('type') for a in sent.iter('arg'))})")
    for item in element.iter("property"):
        changes = [a.get("value") for a in item.iter("annotation") if a.get("name") == CHANGED]
        lines.add(f"property {item.get('name')} {item.get('type')} {item.get('access')} {(changes or ['true'])[0]}")
    return lines


def bus():
    return Gio.bus_get_sync(Gio.BusType.SYSTEM, None)


def call(connection, name, path, interface, member, arguments=None, fds=None, timeout=300000):
    """The reply's values; raises GLib.Error. The milliseconds are a busy machine's."""
    reply, fd_list = connection.call_with_unix_fd_list_sync(
        name, path, interface, member, arguments, None, Gio.DBusCallFlags.NONE, timeout, fds, None)
    return reply.unpack(), fd_list


def error_name(error):
    return Gio.DBusError.get_remote_error(error) or str(error)


def introspect(connection, name, path):
    (text,), _ = call(connection, name, path, "org.freedesktop.DBus.Introspectable", "Introspect")
    return {e.get("name"): e for e in ElementTree.fromstring(text).iter("interface")}


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout


class Cases:
    """Prints the lines that tools/test counts."""

    def __init__(self):
        self.failed = 0

    def case(self, name, problems):
        problems = list(problems)
        print(f"not ok {name}: {problems[0]}" if problems else f"ok {name}", flush=True)
        for problem in problems:
            print(f"    {problem}")
        self.failed += bool(problems)

    def end(self):
        sys.exit(1 if self.failed else 0)


__all__ = ["Cases", "GLib", "Gio", "bus", "call", "describe", "documented", "error_name", "introspect", "run",
           "service_of"]


def wait_for(condition, seconds=10, what="it"):
    """The seconds are an idle machine's; a busy one has ten times as many."""
    end = time.monotonic() + 10 * seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def owner_pid(name):
    """The process that the bus has for a name; 0 when none. Calls that come after a death was noticed start the
    service anew, earlier ones are lost."""
    try:
        return call(bus(), "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetConnectionUnixProcessID",
                    GLib.Variant("(s)", (name,)))[0][0]
    except GLib.Error:
        return 0


def daemon_pid(word):
    """The main process of "Content", as systemd has it; 0 when none."""
    return int(run("systemctl", "show", "-P", "MainPID", f"crt-{word.lower()}"))


def kill_daemons(*words):
    """SIGKILL to all at once; returns when systemd and the bus have noticed, so that the next call starts them."""
    pids = {word: daemon_pid(word) for word in words}
    assert 0 not in pids.values(), f"nobody to kill: {pids}"
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    for word, pid in pids.items():
        wait_for(lambda word=word, pid=pid: pid not in (daemon_pid(word), owner_pid(f"org.crt.{word}")),
                 what=f"the end of {word}")


def unmount(path):
    """The bus, its library and those that were just killed may still be closing what they had open there."""
    umount = ["umount", path]
    wait_for(lambda: subprocess.run(umount, capture_output=True, check=False).returncode == 0, 10, f"{path} to be idle")


def pids_of(program):
    """Of those that run; whoever has ended and was not yet waited for is gone."""
    answer = subprocess.run(["pgrep", "--runstates", "DRSTt", "-x", program], text=True, capture_output=True,
                            check=False)
    return [int(pid) for pid in answer.stdout.split()]


def stop_process(pid):
    """Whether it stands still now: it may have been about to end."""
    try:
        os.kill(pid, signal.SIGSTOP)
        while True:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                state = file.read().rpartition(")")[2].split()[0]
            if state in "TtXZ":
                return state in "Tt"
            time.sleep(0.001)
    except (ProcessLookupError, FileNotFoundError):
        return False


def kill_processes(pids):
    """Those that are still there."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait_for_answer(*words):
    """After kills at any moment: a daemon that was killed while it started takes the calls with it that wait for
    its start, and these can still come to it until the bus has noticed."""
    def answers(word):
        try:
            call(bus(), f"org.crt.{word}", f"/org/crt/{word}", "org.freedesktop.DBus.Peer", "Ping")
        except GLib.Error:
            return False
        return True
    for word in words:
        wait_for(lambda word=word: answers(word), what=f"{word} to answer")
