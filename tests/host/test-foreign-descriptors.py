#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors of a file system whose server never answers a daemon: they are sent, and nobody else has to wait."""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, entry, equal, layer, sha256, wait_for  # noqa: E402
from fuse_server import SilentFile  # noqa: E402
from interfaces import GLib, Gio, call, daemon_pid, error_name, owner_pid  # noqa: E402
from content_store import connect, systemctl  # noqa: E402

SERVICES = ("Content", "Snapshots", "Images", "Tasks")
store = Snapshots()
DATA = layer("d/", entry("d/f", b"text"))


def pid_of(service):
    """Of the process that answers: it may end when idle before it was asked for."""
    pid = 0
    while pid == 0:
        call(connect(), f"org.crt.{service}", f"/org/crt/{service}", "org.freedesktop.DBus.Peer", "Ping")
        pid = owner_pid(f"org.crt.{service}")
    return pid


def send(service, path, member, parameters, count=1, connection=None):
    """Not waited for. The descriptors need not be named in the parameters."""
    name, path_of_it = f"org.crt.{service}", f"/org/crt/{service}"
    if member == "Signal":
        message = Gio.DBusMessage.new_signal(path_of_it, name + "1", member)
        message.set_destination(name)
    else:
        message = Gio.DBusMessage.new_method_call(name, path_of_it, name + "1", member)
    if parameters:
        message.set_body(parameters)
    fds = Gio.UnixFDList.new()
    for _ in range(count):
        fd = os.open(path, os.O_RDONLY)
        fds.append(fd)
        os.close(fd)
    message.set_unix_fd_list(fds)
    connection = connection or connect()
    connection.send_message(message, Gio.DBusSendMessageFlags.NONE)
    connection.flush_sync()


def send_long(service, path):
    message = Gio.DBusMessage.new_method_call(f"org.crt.{service}", "/" + "x" * 100000, "a.b", "C")
    fds = Gio.UnixFDList.new()
    fd = os.open(path, os.O_RDONLY)
    fds.append(fd)
    os.close(fd)
    message.set_unix_fd_list(fds)
    connection = connect()
    connection.send_message(message, Gio.DBusSendMessageFlags.NONE)
    connection.flush_sync()
    call(connection, f"org.crt.{service}", f"/org/crt/{service}", "org.freedesktop.DBus.Peer", "Ping")


def stuck(pid):
    """Threads that wait for the file system's server."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task") if os.path.exists(f"/proc/{pid}/task") else ():
        try:
            with open(f"/proc/{pid}/task/{task}/wchan", encoding="utf-8") as file:
                count += "request_wait" in file.read()
        except OSError:
            pass
    return count


def test_what_is_refused_is_closed_beside_the_loop():
    for service in SERVICES:
        pid = pid_of(service)
        with SilentFile({pid}) as path:
            unnamed, wrong = GLib.Variant("(s)", ("x",)), GLib.Variant("(h)", (0,))
            for member, parameters in (("NoSuchMethod", unnamed), ("List", wrong)):
                send(service, path, member, parameters, count=3)
                equal(pid, pid_of(service))
            wait_for(lambda: stuck(pid) >= 3, what="the closing of them")
            equal(pid, pid_of(service))
        wait_for(lambda: stuck(pid) == 0, what="the end of the closing")
        equal(pid, pid_of(service))


def test_a_layer_that_can_not_be_looked_at_holds_up_its_own_unpacking_only():
    store.put("base", DATA)
    pid = pid_of("Snapshots")
    with SilentFile({pid}) as path:
        store.prepare("p")
        fd = os.open(path, os.O_RDONLY)
        job = store.unpack_begin("p", fd, sha256(DATA))
        os.close(fd)
        equal(pid, pid_of("Snapshots"))
        store.put("other", DATA)  # workers are started while the daemon has the other's descriptor
        store.view("v", "other")
        with store.mount("v") as tree:
            equal(["d"], os.listdir(tree))
        equal("running", store.state(job)["State"])
        store.cancel(job)
        equal("cancelled", store.state(job)["State"])
    store.clear()


def test_workers_begin_while_such_descriptors_come():
    pid = pid_of("Snapshots")
    with SilentFile({pid}) as path:
        for _ in range(5):
            send("Snapshots", path, "Stat", GLib.Variant("(sa{sv})", ("nothing", {})), count=2)
            store.put(f"l{_}", DATA)
        equal(pid, pid_of("Snapshots"))
    store.clear()


def test_other_calls_with_such_descriptors():
    pid = pid_of("Images")
    with SilentFile({pid}) as path:
        for value in (GLib.Variant("h", 0),):
            send("Images", path, "Pull", GLib.Variant("(sa{sv})", ("registry.invalid/x", {"ca": value})))
        equal(pid, pid_of("Images"))
    pid = pid_of("Content")
    with SilentFile({pid}) as path:
        send("Content", path, "CreateLease", GLib.Variant("(sa{sv})", ("x", {"pidfd": GLib.Variant("h", 0)})))
        equal(pid, pid_of("Content"))
    pid = pid_of("Snapshots")
    with SilentFile({pid}) as path:
        send("Snapshots", path, "Mount", GLib.Variant("(sa{sv})", ("x", {"userns": GLib.Variant("h", 0)})))
        equal(pid, pid_of("Snapshots"))


FLOOD = '''
from importlib import import_module
test = import_module("test-foreign-descriptors")
service, path, count, *members = test.sys.argv[1:]
connection = test.connect()
ping = connection, f"org.crt.{service}", f"/org/crt/{service}", "org.freedesktop.DBus.Peer", "Ping"
test.call(*ping)
for number in range(int(count)):
    test.send(service, path, members[number % len(members)], test.GLib.Variant("(h)", (0,)), 16, connection)
test.call(*ping)
'''


def flood(user, service, path, count, members=("NoSuchMethod", "List")):
    """So many messages with sixteen of them each, all of which have arrived then."""
    command = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user != "root" else []
    subprocess.run([*command, sys.executable, "-Bc", FLOOD, service, path, str(count), *members], check=True,
                   cwd=os.path.dirname(os.path.abspath(__file__)))


def holds(pid, path):
    """How many descriptors of that file the process has."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{fd}") == path
        except OSError:
            pass
    return count


def test_those_of_one_user_do_not_hold_up_those_of_others():
    for service in ("Content", "Tasks"):
        pid = pid_of(service)
        with SilentFile({pid}) as path, tempfile.NamedTemporaryFile() as other:
            os.chmod(other.name, 0o644)
            flood("alice", service, path, 10)
            wait_for(lambda pid=pid: stuck(pid) == 64, what="as many as a user has")
            for user in ("bob", "root"):
                flood(user, service, other.name, 1)
                wait_for(lambda pid=pid, name=other.name: holds(pid, name) == 0, what=f"the closing of {user}'s")
            equal(64, stuck(pid))
            # Her own wait, and she is answered all the same.
            flood("alice", service, other.name, 1)
            equal(16, holds(pid, other.name))
            flood("bob", service, path, 1)
            wait_for(lambda pid=pid: stuck(pid) == 80, what="those of somebody else")
            # Nobody is asked for who sends signals.
            flood("alice", service, path, 10, ["Signal"])
            wait_for(lambda pid=pid: stuck(pid) == 144, what="those of nobody")
            flood("bob", service, path, 1)
            wait_for(lambda pid=pid: stuck(pid) == 160, what="more of somebody else")
            flood("root", service, path, 10)
            wait_for(lambda pid=pid: stuck(pid) == 320, what="those of root")
            equal(pid, pid_of(service))
        wait_for(lambda pid=pid: stuck(pid) == 0, what="the end of the closing")
        equal(pid, pid_of(service))


ASK = '''
from importlib import import_module
test = import_module("test-foreign-descriptors")
service, path = test.sys.argv[1:]
for fds in (None, test.Gio.UnixFDList.new_from_array([test.os.open(path, test.os.O_RDONLY)])):
    try:
        test.call(test.connect(), f"org.crt.{service}", f"/org/crt/{service}", f"org.crt.{service}1", "NoSuchMethod",
                  test.GLib.Variant("(h)", (0,)) if fds else None, fds=fds)
    except test.GLib.Error as error:
        print(test.error_name(error))
'''


def ask(user, service, path):
    """What a call that can't be is refused with: without descriptors, and with one of them."""
    command = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user != "root" else []
    return subprocess.run([*command, sys.executable, "-Bc", ASK, service, path], check=True, text=True,
                          stdout=subprocess.PIPE, cwd=os.path.dirname(os.path.abspath(__file__))).stdout.split()


DENIED, LIMIT = "org.freedesktop.DBus.Error.AccessDenied", "org.crt.Error.LimitsExceeded"


def test_who_has_sent_too_many_is_refused_more():
    """Those that wait to be closed have numbers, of which a daemon has so many."""
    for service in ("Content", "Tasks"):
        pid = pid_of(service)
        with SilentFile({pid}) as path, tempfile.NamedTemporaryFile() as other:
            os.chmod(other.name, 0o644)
            # A message brings sixteen, and none of these waits for polkit. 64 are being closed, and 256 wait.
            flood("alice", service, path, 60, ["NoSuchMethod"])
            wait_for(lambda pid=pid: stuck(pid) == 64, what="as many as a user has")
            equal(256, holds(pid, path))
            for _ in range(5):  # who it is is not known at first
                flood("alice", service, path, 3, ["List"])
                flood("alice", service, path, 1, ["Signal"])
            equal([DENIED, LIMIT], ask("alice", service, other.name))
            equal((256, 0), (holds(pid, path), holds(pid, other.name)))
            for user in ("bob", "root"):
                equal([DENIED, DENIED], ask(user, service, other.name))
            flood("bob", service, path, 4, ["NoSuchMethod"])
            wait_for(lambda pid=pid: stuck(pid) == 128, what="those of somebody else")
            flood("root", service, path, 20)
            wait_for(lambda pid=pid: stuck(pid) == 448, what="those of root")
            # Whose names are so long that they hide who it is.
            send_long(service, path)
            equal(256, holds(pid, path))
            equal(pid, pid_of(service))
        wait_for(lambda pid=pid: stuck(pid) + holds(pid, path) == 0, what="the end of the closing")
        equal([DENIED, DENIED], ask("alice", service, "/etc/passwd"))
        equal(pid, pid_of(service))


def test_nobody_ends_by_themselves_while_some_are_stuck():
    """A process can't end then, and its service could not be started anew."""
    for unit in ("content", "images"):
        directory = f"/run/systemd/system/crt-{unit}.service.d"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/idle.conf", "w", encoding="ascii") as file:
            file.write("[Service]\nEnvironment=CRT_IDLE_SECONDS=1\n")
    systemctl("daemon-reload")
    systemctl("stop", "crt-content", "crt-images")
    try:
        with SilentFile((), "crt-contentd") as path:
            flood("alice", "Content", path, 1)
            wait_for(lambda: stuck(daemon_pid("Content")) == 16, what="the closing of them")
            pid = daemon_pid("Content")
            for _ in range(2):
                other = pid_of("Images")  # which has been idle for less time
                wait_for(lambda other=other: daemon_pid("Images") != other, what="the end of another one")
                equal(pid, daemon_pid("Content"))
        wait_for(lambda: daemon_pid("Content") != pid, what="its end")
    finally:
        for unit in ("content", "images"):
            os.unlink(f"/run/systemd/system/crt-{unit}.service.d/idle.conf")
        systemctl("daemon-reload")


if __name__ == "__main__":
    run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], store.clear)
