#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What registries have written is read by a process that has nothing to lose, and losing it loses nothing."""

import contextlib
import ctypes
import os
import select
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import image_registry  # noqa: E402
from image_pulls import (FIXTURES, check_empty, clear, content, digests, equal, failure, images, pid_of,  # noqa: E402
                         pids_of, registry, run_cases, snapshots, systemctl, wait_for)
from content_store import connect  # noqa: E402
from interfaces import Gio, GLib, error_name, kill_daemons, unmount  # noqa: E402

OWN = f"localhost:{image_registry.PORT}"
GATED = f"{OWN}/gated/layers:edge"
UNIT = "crt-images.service"
WORKER = "crt-document"
DATABASE = "/var/lib/crt/images/images.db"
LIBEXEC = "/usr/libexec/crt"

gate = threading.Event()
get_blob = image_registry.Handler.get_blob


def get_blob_at_gate(self, fault, number, fixture, digest):
    """Of "gated" the config waits for the gate, of "gated-layers" all others."""
    is_config = fixture.read(digest).startswith(b"{")
    if fault == ("gated" if is_config else "gated-layers"):
        gate.wait(120)
    get_blob(self, fault, number, fixture, digest)


image_registry.Handler.get_blob = get_blob_at_gate


def clean():
    gate.set()
    clear()
    check_empty()


@contextlib.contextmanager
def waiting_for_the_config():
    """A pull whose manifest is read, and its worker's pid; the config comes after the end."""
    wait_for(lambda: not pids_of(WORKER), what="the end of the one before")
    gate.clear()
    path = images.begin(GATED)
    wait_for(lambda: len(digests()) == 1 and images.properties(path)["Phase"] == "downloading")
    workers = pids_of(WORKER)
    equal(1, len(workers))
    yield path, workers[0]
    gate.set()


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file)


def limits(pid):
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        return {line[:26].strip(): line[26:].split()[:2] for line in file}


def asked_for_manifests():
    return [request for request in own.log if "/manifests/" in request["path"] and request["method"] == "GET"]


def test_the_worker_has_nothing():
    with waiting_for_the_config() as (path, pid):
        fields = status(pid)
        equal("2", fields["Seccomp"])
        equal("1", fields["NoNewPrivs"])
        equal({"0" * 16}, {fields[key] for key in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")})
        equal(str(pid_of(UNIT)), fields["PPid"])
        opened = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        equal({0, 1, 2, 3}, set(opened))
        equal(["/dev/null"] * 2, [opened[0], opened[1]])
        assert all(opened[fd].startswith("socket:") for fd in (2, 3)), opened
        own_limits = limits(pid)
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
            sanitized = "libasan" in maps.read()  # which needs more than any limit
        equal(["unlimited" if sanitized else str(256 << 20)] * 2, own_limits["Max address space"])
        equal([str(20 << 20)] * 2, own_limits["Max file size"])
        equal(["20", "20"], own_limits["Max cpu time"])
        equal(["16", "16"], own_limits["Max open files"])
        equal(["0", "0"], own_limits["Max core file size"])
        namespaces = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "mnt")}
        assert os.readlink("/proc/self/ns/net") != namespaces["net"]
        equal(os.readlink(f"/proc/{pid_of(UNIT)}/ns/net"), namespaces["net"])
    images.wait(path)
    wait_for(lambda: not pids_of(WORKER), what="its end")


def test_it_is_gone_before_layers_come():
    gate.clear()
    path = images.begin(f"{OWN}/gated-layers/layers:edge")
    wait_for(lambda: len(digests()) == 2)
    wait_for(lambda: not pids_of(WORKER))
    equal("running", images.properties(path)["State"])
    gate.set()
    images.wait(path)


def test_another_takes_the_place_of_one_that_was_killed_in_between():
    with waiting_for_the_config() as (path, pid):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: pid not in pids_of(WORKER))
    assert images.wait(path)["chain-id"] in snapshots.keys()


def has_been_handed_one(pid):
    """Something waits on the socket of a worker that stands still."""
    pidfd = os.pidfd_open(pid)
    pidfd_getfd, control = 438, 3
    fd = ctypes.CDLL(None, use_errno=True).syscall(pidfd_getfd, pidfd, control, 0)
    os.close(pidfd)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    ready = select.select([fd], [], [], 0)[0]
    os.close(fd)
    return bool(ready)


def test_killed_with_a_document_in_hand():
    own.log.clear()
    with waiting_for_the_config() as (path, pid):
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: has_been_handed_one(pid))
    os.kill(pid, signal.SIGKILL)
    message = failure("Unavailable", lambda: images.wait(path))
    for part in (GATED, "sha256:", "crt-document was killed by SIGKILL"):
        assert part in message, message
    equal([], images.names())
    equal(2, len(digests()))
    before = len(asked_for_manifests())
    equal(1, before)
    assert images.pull(GATED)["chain-id"] in snapshots.keys()
    equal(before, len(asked_for_manifests()))


def test_it_ends_with_the_daemon():
    with waiting_for_the_config() as (_, pid):
        kill_daemons("Images")
        wait_for(lambda: pid not in pids_of(WORKER))
    images.pull(GATED)


def test_cancelled_with_a_document_in_hand():
    with waiting_for_the_config() as (path, pid):
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: has_been_handed_one(pid))
    images.cancel(path)
    failure("Cancelled", lambda: images.wait(path))
    wait_for(lambda: pid not in pids_of(WORKER))
    images.pull(GATED)


def test_one_that_can_not_be_started():
    program = os.path.join(LIBEXEC, WORKER)
    images.pull(f"{OWN}/plain/busybox")
    subprocess.run(["mount", "--bind", "/dev/null", program], check=True)
    systemctl("restart", UNIT)
    try:
        message = failure("Unavailable", lambda: images.pull(f"{OWN}/plain/layers:edge"))
        assert "crt-document can't be started" in message, message
        images.call("Resolve", f"{OWN}/plain/busybox")
    finally:
        unmount(program)
        systemctl("restart", UNIT)
    images.pull(f"{OWN}/plain/layers:edge")


def kept():
    database = sqlite3.connect(DATABASE)
    with contextlib.closing(database):
        return dict(database.execute("SELECT name, records FROM config_uses JOIN kept_configs ON id = copy").fetchall())


def test_configs_are_kept_with_their_names():
    name = f"{OWN}/plain/layers:edge"
    images.pull(name)
    image = images.call("Resolve", name)[0]
    equal({name}, set(kept()))
    wait_for(lambda: not pids_of(WORKER), what="the end of the worker")

    # An image of an earlier version, of whose config nothing is kept yet.
    records = kept()[name]
    systemctl("stop", UNIT)
    database = sqlite3.connect(DATABASE)
    with contextlib.closing(database), database:
        database.execute("DELETE FROM config_uses")
    equal({}, kept())
    equal(image, images.call("Resolve", name)[0])
    equal(records, kept()[name])
    equal(image, images.call("Resolve", name)[0])

    # What is kept says all, and goes with the name.
    content.delete(image["config-digest"])
    equal(image, images.call("Resolve", name)[0])
    images.remove(name)
    equal({}, kept())


@contextlib.contextmanager
def stopped_readers():
    """As long as the file is there, each stops before it begins."""
    program, real, flag = (f"{LIBEXEC}/{name}" for name in (WORKER, WORKER + "-real", "stop"))
    script = f"{LIBEXEC}/stopping"
    shutil.copy(program, real)
    with open(script, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\n[ -e {flag} ] && kill -STOP $$\nexec {real}\n")
    os.chmod(script, 0o755)
    with open(flag, "w", encoding="ascii"):
        pass
    subprocess.run(["mount", "--bind", script, program], check=True)
    systemctl("restart", UNIT)

    def let_go():
        """One may have seen the file and not stopped yet."""
        os.unlink(flag)

        def none_stands():
            pids = pids_of(WORKER)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            return not pids
        wait_for(none_stands, what="all to go on")
    try:
        yield let_go
    finally:
        unmount(program)
        systemctl("restart", UNIT)
        for path in (script, real):
            os.unlink(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(flag)


def forget_configs():
    """As with images whose configs are too long to be kept."""
    systemctl("stop", UNIT)
    database = sqlite3.connect(DATABASE)
    with contextlib.closing(database), database:
        database.execute("DELETE FROM config_uses")


class Resolves:
    """Calls on connections of their own, and what became of them."""

    def __init__(self):
        self.connections, self.answers = [], []

    def begin(self, name, **options):
        connection = connect()
        entries = {key: GLib.Variant("s", value) for key, value in options.items()}
        arguments = GLib.Variant("(sa{sv})", (name, entries))
        connection.call("org.crt.Images", "/org/crt/Images", "org.crt.Images1", "Resolve", arguments, None,
                        Gio.DBusCallFlags.NONE, 300000, None, self.take)
        connection.flush_sync()
        self.connections.append(connection)

    def take(self, connection, result):
        try:
            self.answers.append(connection.call_finish(result).unpack()[0]["name"])
        except GLib.Error as error:
            self.answers.append(error_name(error))

    def count(self):
        while GLib.MainContext.default().iteration(False):
            pass
        return len(self.answers)


def test_few_configs_that_are_not_kept_are_read_at_once():
    name, names = f"{OWN}/plain/layers:edge", ("system", "elsewhere", "third")
    for namespace in names:
        images.pull(name, namespace=namespace)
    forget_configs()
    calls = Resolves()
    with stopped_readers() as let_go:
        for _ in range(6):
            calls.begin(name)
        wait_for(lambda: len(pids_of(WORKER)) == 2, what="two of one namespace")
        for namespace in names[1:]:
            calls.begin(name, namespace=namespace)
            calls.begin(name, namespace=namespace)
        wait_for(lambda: len(pids_of(WORKER)) == 4, what="four in all")
        for _ in range(50):
            equal(set(names), {namespace for namespace in names if images.names(namespace=namespace)})
            equal((4, 0), (len(pids_of(WORKER)), calls.count()))
        let_go()
        wait_for(lambda: calls.count() == 10, what="all answers")
        equal([name] * 10, calls.answers)
        wait_for(lambda: not pids_of(WORKER))
    clear(*names[1:])


ALICE = '''
from importlib import import_module
test = import_module("test-images-documents")
calls = test.Resolves()
for _ in range(65):
    calls.begin(test.sys.argv[1])
test.wait_for(lambda: calls.count() == 1)
print(*calls.answers, flush=True)
test.sys.stdin.read()
'''


def test_one_user_has_so_many_waiting_until_they_leave():
    name, own_namespace = f"{OWN}/plain/layers:edge", "u" + str(pwd.getpwnam("alice").pw_uid)
    for namespace in ("system", own_namespace):
        images.pull(name, namespace=namespace)
    forget_configs()
    command = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", sys.executable, "-Bc", ALICE, name]
    here, calls = os.path.dirname(os.path.abspath(__file__)), Resolves()
    with stopped_readers() as let_go:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=here) as alice:
            equal("org.crt.Error.LimitsExceeded", alice.stdout.readline().strip())
            wait_for(lambda: len(pids_of(WORKER)) == 2, what="her turns")
            calls.begin(name)
            wait_for(lambda: len(pids_of(WORKER)) == 3, what="somebody else's turn")
            alice.stdin.close()
        wait_for(lambda: len(pids_of(WORKER)) == 1, what="the end of hers")
        let_go()
        wait_for(lambda: calls.count() == 1, what="the answer")
        equal([name], calls.answers)
    clear(own_namespace)


if __name__ == "__main__":
    registry("faulty")
    own = image_registry.start(FIXTURES)
    run_cases([value for name, value in list(globals().items()) if name.startswith("test_")], clean)
