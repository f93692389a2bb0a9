#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How much snapshots take, and that what is removed is gone when Cleanup has answered."""

import os
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, check_disk, entry, equal, failure, layer, libc, rows  # noqa: E402
from interfaces import stop_process  # noqa: E402
from snapshot_disks import Disk  # noqa: E402

store = Snapshots()
MIB = 1 << 20
BASE = layer("d/", entry("d/f", b"x" * MIB), entry("d/link", kind=tarfile.LNKTYPE, linkname="d/f"))
NEXT = layer(entry("d/g", b"y" * MIB * 2))


def clean():
    store.clear()
    check_disk()


def usage(key):
    return store.call("Usage", key)[0][0]


def on_disk(key):
    """What find says about the tree, its own housekeeping aside."""
    number = rows(f"SELECT id FROM snapshots WHERE key = '{key}'")[0][0]
    listing = subprocess.run(["find", f"{STATE}/trees/{number}/fs", "-printf", "%i %b\\n"], check=True, text=True,
                             capture_output=True).stdout
    found = dict(line.split() for line in listing.splitlines())
    return sum(int(blocks) * 512 for blocks in found.values()), len(found)


def test_own_and_shared():
    store.put("base", BASE)
    store.put("next", NEXT, "base")
    equal(on_disk("base"), (usage("base")["size"], usage("base")["inodes"]))
    equal((0, 0), (usage("base")["shared-size"], usage("base")["shared-inodes"]))
    assert MIB <= usage("base")["size"] < MIB + 65536, usage("base")  # two names, one file
    equal((usage("base")["size"], usage("base")["inodes"]),
          (usage("next")["shared-size"], usage("next")["shared-inodes"]))
    store.prepare("p", "next")
    before = usage("p")
    equal(usage("base")["size"] + usage("next")["size"], before["shared-size"])
    with store.mount("p") as path:
        with open(f"{path}/more", "wb") as file:
            file.write(b"z" * MIB * 3)
            os.fsync(file.fileno())
        assert usage("p")["size"] >= before["size"] + 3 * MIB
        equal(before["inodes"] + 1, usage("p")["inodes"])
    store.view("v", "next")
    equal((0, 0, before["shared-size"]), (usage("v")["size"], usage("v")["inodes"], usage("v")["shared-size"]))
    failure("NotFound", lambda: usage("none"))


def about(expected, key, what):
    """In MiB; file systems need some for themselves, and set some aside."""
    found = usage(key)
    assert expected - 0.1 <= found["size"] / MIB < expected + 1.2, (what, key, expected, found)
    return found


def write_and_sync(path, data, offset=0, mode="r+b"):
    with open(path, mode) as file:
        file.seek(offset)
        file.write(data)
        os.fsync(file.fileno())


def check_shared(kind, driver):
    """What a child holds together with its parent is on the disk once, and is the parent's."""
    what = f"{driver} on {kind}"
    small = [entry(f"d/{i}", b"s" * 100) for i in range(200)]
    with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
        store.put("base", layer("d/", entry("d/f", os.urandom(8 * MIB)), *small))
        base = about(8, "base", what)
        store.prepare("p", "base")
        fresh = about(0, "p", what)
        equal((base["size"], base["inodes"]), (fresh["shared-size"], fresh["shared-inodes"]))
        if driver == "btrfs":
            assert fresh["size"] < 65536 and fresh["inodes"] < 3, fresh
        with store.mount("p") as path:
            write_and_sync(f"{path}/more", os.urandom(3 * MIB), mode="wb")
            about(3, "p", what)
            write_and_sync(f"{path}/d/f", os.urandom(MIB), 2 * MIB)
            about(4, "p", what)
            os.rename(f"{path}/d/f", f"{path}/moved")
            for name in ("moved", "more"):
                subprocess.run(["cp", "--reflink=always", f"{path}/{name}", f"{path}/{name}-again"], check=True)
            about(4, "p", what)
            os.unlink(f"{path}/more")
            os.chmod(f"{path}/d/7", 0o600)
            about(4, "p", what)
        active = usage("p")
        store.commit("c", "p")
        about(4, "c", what)
        equal(active["inodes"], usage("c")["inodes"])
        equal(base, usage("base"))
        # Whatever is made of it then.
        store.prepare("q", "c")
        about(0, "q", what)
        equal(base["size"] + usage("c")["size"], usage("q")["shared-size"])
        # What is put on a parent afterwards is less than all of it, too.
        store.prepare("late")
        with store.mount("late") as path:
            write_and_sync(f"{path}/late", os.urandom(2 * MIB), mode="wb")
        store.commit("on-c", "late", parent="c")
        about(2, "on-c", what)
        store.put("layer", layer(entry("l", os.urandom(2 * MIB))), "c")
        about(2, "layer", what)
        store.clear()
        check_disk()


def test_what_is_shared_with_the_parent_is_not_counted_twice():
    check_shared("btrfs", "btrfs")
    check_shared("xfs", "copy")
    check_shared("btrfs", "copy")


def test_what_is_not_shared_counts():
    with Disk("ext4", environment="CRT_SNAPSHOTS_DRIVER=copy"):
        store.put("base", BASE)
        store.prepare("p", "base")
        equal(usage("base")["inodes"], usage("p")["inodes"])
        assert usage("p")["size"] >= MIB, usage("p")
        store.clear()
    # Where a tree only has what differs nothing needs to be known of the parent.
    for kind, driver in (("xfs", "overlayfs"), ("xfs", "erofs")):
        with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            store.put("base", BASE)
            store.prepare("p", "base")
            assert usage("p")["size"] < 65536 and usage("base")["size"] >= MIB, (usage("p"), usage("base"))
            store.clear()


def test_what_was_committed_is_measured_once():
    store.put("base", BASE)
    expected = usage("base")
    kill_daemon()
    pid = main_pid()
    equal(expected, usage("base"))
    number = rows("SELECT id FROM snapshots WHERE key = 'base'")[0][0]
    os.rename(f"{STATE}/trees/{number}", f"{STATE}/hidden")
    try:
        equal(expected, usage("base"))
    finally:
        os.rename(f"{STATE}/hidden", f"{STATE}/trees/{number}")
    assert pid != main_pid()


def test_many_ask_at_once():
    store.put("base", BASE)
    for i in range(12):
        store.prepare(f"p{i}", "base")
    calls = [subprocess.Popen(["busctl", "call", "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1",
                               "Usage", "sa{sv}", f"p{i % 12}", "0"], stdout=subprocess.PIPE, text=True)
             for i in range(24)]
    answers = {call.communicate()[0] for call in calls}
    assert len(answers) == 1, answers
    assert "shared-size" in answers.pop()


def test_trees_of_any_depth_are_measured():
    store.prepare("deep")
    with store.mount("deep") as path:
        here = os.open(path, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
    equal(3001, usage("deep")["inodes"])
    store.commit("c", "deep")
    equal(3001, usage("c")["inodes"])


def test_cleanup_waits_until_everything_is_deleted():
    store.call("Cleanup")
    freed = store.call("Cleanup")[0][0]
    equal((0, 0), (freed["size"], freed["inodes"]))
    for i in range(4):
        store.put(f"base{i}", BASE)
    expected = [sum(usage(f"base{i}")[what] for i in range(4)) for what in ("size", "inodes")]
    space = os.statvfs(STATE)
    for i in range(4):
        store.remove(f"base{i}")
    freed = store.call("Cleanup")[0][0]
    equal([], os.listdir(f"{STATE}/trash"))
    assert 0 < freed["size"] and 0 < freed["inodes"], freed
    assert freed["size"] < expected[0] + 4 * 65536 and freed["inodes"] <= expected[1] + 4 * 8, (freed, expected)
    assert os.statvfs(STATE).f_ffree >= space.f_ffree


def stopped_emptying():
    """The worker that empties the trash, in the middle of it; None: it was too quick."""
    store.put("many", layer(*(f"d{i}/" for i in range(10000))))
    wait_for(lambda: not worker_pids("crt-tree"), what="the end of the workers")
    store.remove("many")
    for _ in range(1000):
        for pid in worker_pids("crt-tree", "empty-trash"):
            if not stop_process(pid):
                continue
            if os.listdir(f"{STATE}/trash"):
                return pid
            os.kill(pid, signal.SIGCONT)
        if not os.listdir(f"{STATE}/trash"):
            return None
    return None


def io_class(pid):
    return subprocess.run(["ionice", "-p", str(pid)], check=True, text=True, capture_output=True).stdout.strip()


def test_a_cleanup_that_somebody_waits_for_is_not_for_an_idle_disk():
    pid = next(filter(None, (stopped_emptying() for _ in range(20))))
    call = None
    try:
        wait_for(lambda: io_class(pid) == "idle", what="the worker to be idle")
        call = subprocess.Popen(["busctl", "call", "--timeout=300", "org.crt.Snapshots", "/org/crt/Snapshots",
                                 "org.crt.Snapshots1", "Cleanup", "a{sv}", "0"], stdout=subprocess.DEVNULL)
        wait_for(lambda: io_class(pid) != "idle", what="the worker to be urgent")
        equal(None, call.poll())
    finally:
        os.kill(pid, signal.SIGCONT)
        if call:
            equal(0, call.wait(300))
    equal([], os.listdir(f"{STATE}/trash"))


class Executions:
    """How often a program is opened from now on, which is once whenever it is executed."""

    OPEN, CLOSE = 0x20, 0x10  # IN_OPEN and IN_CLOSE_NOWRITE: the kernel makes one event of two that are the same

    def __init__(self, path):
        self.inotify = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self.inotify, path.encode(), self.OPEN | self.CLOSE) >= 0

    def count(self):
        found = 0
        while True:
            try:
                data = os.read(self.inotify, 65536)
            except BlockingIOError:
                return found
            found += sum(1 for _, mask, _, _ in struct.iter_unpack("iIII", data) if mask & self.OPEN)

    def close(self):
        os.close(self.inotify)


def test_containers_that_come_and_go_share_what_deletes_their_trees():
    store.put("base", layer("below"))
    executions = Executions("/usr/libexec/crt/crt-tree")
    begin = time.monotonic()
    for i in range(40):
        store.prepare(f"a{i}", "base")
        store.remove(f"a{i}")
    wait_for(lambda: not os.listdir(f"{STATE}/trash"), what="the trash to be emptied")
    count, seconds = executions.count(), time.monotonic() - begin
    assert 1 <= count <= 1 + seconds / 0.1, (count, seconds)
    store.prepare("a", "base")
    store.remove("a")
    store.call("Cleanup")  # does not wait
    equal([], os.listdir(f"{STATE}/trash"))
    executions.close()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
