#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# host: --disk 2G
"""A disk that is full is an answer, and costs nothing that was there before."""

import contextlib
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import (ERROR, STATE, GLib, Skip, Store, check_disk, equal, error_name, failure, files,  # noqa: E402
                           rows, run_cases, sha256, systemctl, traced, wait_for, worker_pids, write)
from interfaces import kill_daemons, kill_processes, wait_for_answer  # noqa: E402
from interfaces import unmount as unmount_idle  # noqa: E402

MIB = 1024 * 1024
store = Store()

# What takes the room on the disk.
TAKEN = os.path.join(STATE, "taken")


def remove_taken():
    with contextlib.suppress(FileNotFoundError):
        os.unlink(TAKEN)


def mount(*arguments):
    """A file system of its own for the state, seen when the service starts again."""
    store.list()
    systemctl("stop", "crt-content")
    subprocess.run(["mount", *arguments, STATE], check=True)
    subprocess.run(["chown", "crt-content:", STATE], check=True)


def unmount():
    systemctl("stop", "crt-content")
    unmount_idle(STATE)


def fill_and_go_on(make_room):
    kept = os.urandom(MIB)
    store.put(kept)
    data = os.urandom(12 * MIB)
    stream, _, path = store.ingest("r", digest=sha256(data), size=len(data))
    try:
        write(stream, data)
    except BrokenPipeError:
        pass
    os.close(stream)
    wait_for(lambda: not store.ingests()[path]["Writing"])
    failure("NoSpace", lambda: store.commit("r"))
    failure("NoSpace", lambda: store.commit("r"))
    # It is still known when the worker has gone.
    kill_processes(worker_pids())
    wait_for(lambda: not worker_pids())
    message = failure("NoSpace", lambda: store.commit("r"))
    assert "broke off" in message and "No space left" in message, message
    arrived = store.ingests()[path]["Offset"]
    assert 0 < arrived < len(data), f"{arrived} bytes arrived"
    equal(kept, store.read(sha256(kept)))
    check_disk()

    make_room()
    stream, offset, _ = store.ingest("r")
    equal(arrived, offset)
    write(stream, data[offset:])
    os.close(stream)
    equal((sha256(data), len(data)), store.commit("r"))
    equal(data, store.read(sha256(data)))
    equal(kept, store.read(sha256(kept)))
    check_disk()


def test_memory_is_full():
    mount("-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs")
    try:
        fill_and_go_on(lambda: subprocess.run(["mount", "-o", "remount,size=64m", STATE], check=True))
    finally:
        unmount()


def test_disk_is_full():
    """On the file system that the state is on, where that is not a tmpfs."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", STATE], check=True,
                          text=True, capture_output=True).stdout.strip()
    if kind == "tmpfs":
        raise Skip("the state is on a tmpfs")
    systemctl("stop", "crt-content")
    free = os.statvfs(STATE)
    try:
        subprocess.run(["fallocate", "-l", str(free.f_bavail * free.f_frsize - 8 * MIB), TAKEN], check=True)
        fill_and_go_on(lambda: os.unlink(TAKEN))
    finally:
        remove_taken()
        store.clear()


def commit_unsealed(data, error):
    """The hashes of fs-verity can't be written; what Commit answered. A system call that the sandbox lets through takes
    the place of that one."""
    stream, _, _ = store.ingest("r", digest=sha256(data))
    (worker,) = worker_pids()
    with traced(worker, "-e", "trace=ioctl", "-e", f"inject=ioctl:error={error}:syscall=getpid"):
        write(stream, data)
        waiting = store.commit_later("r")
        os.close(stream)
        return waiting.result()


def test_a_blob_that_cannot_be_sealed():
    """It is not taken when the disk is at fault, and what keeps it for the moment only is said."""
    for error, answer in (("ENOSPC", "NoSpace"), ("EIO", "Failed"), ("EDQUOT", "LimitsExceeded")):
        data = os.urandom(MIB)
        equal(ERROR + answer, commit_unsealed(data, error))
        equal(set(), files("blobs"))
        check_disk()
        stream, offset, _ = store.ingest("r")
        equal(MIB, offset)
        os.close(stream)
        equal((sha256(data), MIB), store.commit("r"))
        equal(data, store.read(sha256(data)))
        store.delete(sha256(data))
    for error, is_said in (("ENOMEM", True), ("ETXTBSY", True), ("ENOTTY", False), ("EOPNOTSUPP", False)):
        data = os.urandom(MIB)
        equal(f"{sha256(data)} {MIB}", commit_unsealed(data, error))
        assert store.call("Stat", sha256(data))[0][0]["verity"] is False
        equal(data, store.read(sha256(data)))
        equal(is_said, is_logged(f"{sha256(data)} can't get fs-verity now"))
        store.delete(sha256(data))


def is_logged(text):
    """If it was logged, it was so before the answer that came since."""
    subprocess.run(["journalctl", "--sync"], check=True)
    return text in subprocess.run(["journalctl", "-u", "crt-content", "--output=cat"], check=True, text=True,
                                  capture_output=True).stdout


def fill():
    """To the last byte."""
    fd = os.open(TAKEN, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(fd, b"\0" * 4096):
            pass
    except OSError:
        os.close(fd)
    equal(0, os.statvfs(STATE).f_bavail)


def test_not_even_an_ingest_can_begin():
    mount("-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs")
    try:
        store.put(b"kept")
        fill()
        failure("NoSpace", lambda: store.put(b"x" * 4096))
        equal(b"kept", store.read(sha256(b"kept")))
        os.unlink(TAKEN)
        equal((sha256(b"more"), 4), store.put(b"more"))
        check_disk()
    finally:
        unmount()


def test_a_start_on_a_full_disk():
    """It takes room for the log of the database, which is kept for that; without it, the answer says why."""
    mount("-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs")
    try:
        for data in (b"kept", b"removed"):
            store.put(data)
        systemctl("stop", "crt-content")
        fill()
        equal(b"kept", store.read(sha256(b"kept")))
        store.delete(sha256(b"removed"))
        systemctl("stop", "crt-content")
        fill()
        assert not os.path.exists(os.path.join(STATE, "reserve"))
        failure("NoSpace", store.list)
        os.unlink(TAKEN)
        systemctl("stop", "crt-content")  # who has answered so ends by itself, a little later
        equal([sha256(b"kept")], [blob["digest"] for blob in store.list()[0]])
        check_disk()
    finally:
        unmount()


def reserve():
    """Which one it is; None: there is none."""
    try:
        return os.stat(os.path.join(STATE, "reserve")).st_ino
    except FileNotFoundError:
        return None


def fill_but_for_the_reserve():
    """It is made again by the next removal for which there is room: this one."""
    remove_taken()
    store.put(b"goes")
    store.delete(sha256(b"goes"))
    made = reserve()
    assert made
    fill()
    return made


def ends_when_full(what, query, made):
    """The record goes, and takes the reserve. There may be room for another one at once: the log of what could not
    be written is gone, too."""
    wait_for(lambda: not rows(query), what=what)
    assert reserve() != made, f"{what}: there was room for it"


def ends_on_a_full_disk(what, action, query):
    made = fill_but_for_the_reserve()
    action()
    ends_when_full(what, query, made)


def kill(process):
    process.kill()
    process.wait()


def test_what_keeps_things_ends_on_a_full_disk():
    """Otherwise nothing that it keeps could be collected, and the disk would stay full."""
    mount("-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs")
    process = subprocess.Popen(["sleep", "1000"])
    try:
        digest, _ = store.put(b"kept")
        leases = {name: store.lease(store.call("CreateLease", name)[0][0]) for name in ("deleted", "over", "emptied")}
        store.call("Update", digest, labels=GLib.Variant("a{ss}", {"org.crt.gc.root": "yes"}))
        leases["emptied"].call("Add", things=[("content", digest)])
        pidfd = os.pidfd_open(process.pid)
        store.bind_lease("bound", pidfd)
        os.close(pidfd)
        ends_on_a_full_disk("a deleted lease", lambda: leases["deleted"].call("Delete"),
                            "SELECT 1 FROM leases WHERE id = 'deleted'")
        things = [("content", digest)]
        ends_on_a_full_disk("what a lease names", lambda: leases["emptied"].call("Remove", things=things),
                            "SELECT 1 FROM lease_resources")
        ends_on_a_full_disk("a lease whose owner has ended", lambda: kill(process),
                            "SELECT 1 FROM leases WHERE id = 'bound'")
        ends_on_a_full_disk("a label", lambda: store.call("Update", digest,
                                                          labels=GLib.Variant("a{ss}", {"org.crt.gc.root": ""})),
                            "SELECT 1 FROM labels")
        fill()  # and the reserve is gone
        for call in (lambda: leases["emptied"].call("Delete"), lambda: leases["over"].call("Update", until=1),
                     lambda: store.call("UpdateNamespace", shareable=True)):
            failure("NoSpace", call)
        expire_on_a_full_disk(leases["over"])
    finally:
        kill(process)
        unmount()


def expire_on_a_full_disk(lease):
    """Whoever is so slow that its time is over before the disk is full tries again with another one."""
    for seconds in (1, 5, 25, 100):
        remove_taken()
        soon = time.time() + seconds
        lease.call("Update", until=int(soon * 1000000))
        made = fill_but_for_the_reserve()
        if time.time() < soon:
            ends_when_full("a lease whose time is over", "SELECT 1 FROM leases WHERE id = 'over'", made)
            return
        remove_taken()
        lease = store.lease(store.call("CreateLease", "over", until=int((time.time() + 600) * 1000000))[0][0])
    raise AssertionError("the disk was never full in time")


def test_a_start_after_a_kill_copies_no_database():
    """It may be large. What memory has of it is forgotten instead, where there is a disk."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", STATE], check=True, text=True, capture_output=True).stdout.strip()
    if kind == "tmpfs":
        raise Skip("the state is on a tmpfs")
    store.put(b"kept")
    before = [os.stat(f"{STATE}/content.db{suffix}").st_ino for suffix in ("", "-wal")]
    kill_daemons("Content")
    wait_for_answer("Content")
    equal(b"kept", store.read(sha256(b"kept")))
    after = [os.stat(f"{STATE}/content.db{suffix}").st_ino for suffix in ("", "-wal")]
    equal([True, False], [one == other for one, other in zip(before, after)])


def take_all_but(size):
    """So many bytes are left free."""
    remove_taken()
    free = os.statvfs(STATE)
    left = free.f_bavail * free.f_frsize - size
    if left > 0:
        fd = os.open(TAKEN, os.O_WRONLY | os.O_CREAT)
        os.posix_fallocate(fd, 0, left)
        os.close(fd)


def everything(data):
    """One of each kind of change; what came of it must be an answer."""
    stream, _, path = store.ingest("r", labels=GLib.Variant("a{ss}", {"a": "x" * 2000}))
    try:
        write(stream, data)
    except BrokenPipeError:
        pass
    os.close(stream)
    wait_for(lambda: not store.ingests()[path]["Writing"])
    digest, _ = store.commit("r")
    store.call("Update", digest, labels=GLib.Variant("a{ss}", {"b": "y" * 2000}))
    (lease, _), _ = store.call("CreateLease", "")
    store.lease(lease).call("Add", things=[("content", digest)])
    store.delete(digest)


def answers_without_room(names, limit):
    """With a little more room each time, until all of it passes: what there was stays."""
    kept = os.urandom(100000)
    store.put(kept)
    passed, refused = 0, 0
    for step in range(60):
        limit(step)
        try:
            everything(os.urandom(65536))
            passed += 1
        except GLib.Error as error:
            assert error_name(error) in names, f"step {step}: {error.message}"
            refused += 1
        equal(kept, store.read(sha256(kept)))
        if passed == 3:
            break
    assert passed == 3 and refused >= 3, f"{passed} passed, {refused} were refused"
    limit(1000)
    for ingest in store.ingests().values():
        stream, _, _ = store.ingest(ingest["Reference"], restart=True)
        os.close(stream)
    store.clear()
    check_disk()


def test_room_ends_at_every_write():
    mount("-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs")
    try:
        answers_without_room({ERROR + "NoSpace"}, lambda step: take_all_but(min(step * 8192, 4 * MIB)))
    finally:
        unmount()


def test_files_end_at_every_file():
    mount("-t", "tmpfs", "-o", "size=64m,nr_inodes=200,mode=700", "tmpfs")

    def limit(step):
        used = os.statvfs(STATE).f_files - os.statvfs(STATE).f_ffree
        subprocess.run(["mount", "-o", f"remount,nr_inodes={used + step}", STATE], check=True)

    try:
        store.put(b"x")
        answers_without_room({ERROR + "NoSpace"}, limit)
    finally:
        unmount()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")])
