#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What of a mount is done before anybody asks for it, and that nobody notices."""

import ctypes
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, check_disk, entry, equal, failure, layer, libc, main_pid  # noqa: E402
from snapshot_disks import Disk  # noqa: E402
from interfaces import GLib, wait_for  # noqa: E402

BUSY = "FailedPrecondition"
KEPT_MAX = 32
PIDFD_OPEN, PIDFD_GETFD, FSCONFIG, CMD_CREATE = 434, 438, 431, 6
KCMP, KCMP_FILE = 312, 0
store = Snapshots()


def clean():
    use_setting(None)
    set_rule(None)
    store.clear()
    check_disk()


def put_chain(name="top", below="base"):
    store.put(below, layer(entry("./"), entry("below", b"b"), entry("both", b"b")))
    store.put(name, layer(entry("above", b"a"), entry("both", b"a")), below)


# ---- what the service has begun ----

def kept():
    """Its descriptors of mounts that are begun."""
    directory, found = f"/proc/{main_pid()}/fd", []
    for name in os.listdir(directory):
        try:
            if os.readlink(f"{directory}/{name}") == "anon_inode:[fscontext]":
                found.append(int(name))
        except FileNotFoundError:
            pass
    return found


def wait_for_kept(count):
    wait_for(lambda: len(kept()) == count, what=f"{count} mounts to be begun")


def system_call(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {arguments[0]}")
    return result


class Begun:
    """The only one, when it is there. It can be told from the next one even if that has its number."""

    def __init__(self):
        wait_for_kept(1)
        pidfd = system_call(PIDFD_OPEN, main_pid(), 0)
        self.copy = system_call(PIDFD_GETFD, pidfd, kept()[0], 0)
        os.close(pidfd)

    def is_kept(self):
        return any(system_call(KCMP, main_pid(), os.getpid(), KCMP_FILE, fd, self.copy) == 0 for fd in kept())

    def spoil(self):
        """Makes it something that can't be gone on with: a mount that failed, as the layers are on mounts of another
        namespace than ours."""
        equal(-1, libc.syscall(FSCONFIG, self.copy, CMD_CREATE, None, None, 0))

    def check_used(self):
        assert not self.is_kept(), "it was not used"
        os.close(self.copy)
        wait_for_kept(1)  # the next one

    def check_kept(self):
        assert self.is_kept(), "it was used"
        os.close(self.copy)


def contents(path):
    found = {}
    for name in sorted(os.listdir(path)):
        with open(f"{path}/{name}", encoding="ascii") as file:
            found[name] = file.read()
    return found


BOTH = {"above": "a", "below": "b", "both": "a"}


def write(path, name="mine"):
    with open(f"{path}/{name}", "w", encoding="ascii") as file:
        file.write(name)


def options_of(path):
    """What the kernel says of a mount, but for its own directories."""
    with open("/proc/self/mountinfo", encoding="ascii") as table:
        line = next(line for line in table if line.split()[4] == path).split()
    return line[5], [option for option in line[-1].split(",") if not option.startswith(("upperdir=", "workdir="))]


# ---- tests ----

def test_the_next_mount_of_the_same_layers_is_begun():
    put_chain()
    equal([], kept())
    for key in ("first", "second"):
        store.prepare(key, "top")
        begun = Begun()
        with store.mount(key) as path:
            begun.check_used()
            equal(BOTH, contents(path))
            write(path)
            equal({**BOTH, "mine": "mine"}, contents(path))
    store.view("v", "top")
    for _ in range(2):
        begun = Begun()
        with store.mount("v") as path:
            begun.check_used()
            equal(BOTH, contents(path))
            try:
                write(path)
                raise AssertionError("a view was written to")
            except OSError as error:
                equal(30, error.errno)  # EROFS


def test_nothing_is_kept_where_there_is_nothing_to_look_up():
    store.put("base", layer(entry("./"), entry("below", b"b")))
    for key, parent in (("alone", ""), ("one", "base")):
        store.prepare(key, parent)
        with store.mount(key):
            pass
        store.stat(key)  # whatever was to be done after the call before is done
        equal([], kept())


def test_it_makes_no_difference_to_the_mount():
    put_chain()
    store.view("v", "top")
    for options in ({}, {"volatile": True}):
        found = []
        for spoiled in (False, True):
            store.prepare(f"a{spoiled}{len(options)}", "top")
            begun = Begun()
            if spoiled:
                begun.spoil()
            with store.mount(f"a{spoiled}{len(options)}", **options) as path:
                begun.check_used()
                found.append(options_of(path))
                equal(BOTH, contents(path))
        equal(found[0], found[1])
        equal(bool(options), "volatile" in ",".join(found[0][1]))
    found = []
    for spoiled in (False, True):
        begun = Begun()
        if spoiled:
            begun.spoil()
        with store.mount("v") as path:
            begun.check_used()
            found.append(options_of(path))
    equal(found[0], found[1])


def test_what_can_not_be_gone_on_with_is_done_again():
    put_chain()
    store.prepare("a", "top")
    begun = Begun()
    begun.spoil()
    with store.mount("a") as path:
        begun.check_used()
        equal(BOTH, contents(path))
        write(path)
    with store.mount("a") as path:
        equal({**BOTH, "mine": "mine"}, contents(path))


def test_only_mounts_of_just_these_layers_use_it():
    put_chain()
    store.prepare("a", "top")
    with store.mount("a") as path:
        write(path)
    store.prepare("b", "top")
    begun = Begun()
    with store.mount("a", **{"read-only": True}) as path:
        equal({**BOTH, "mine": "mine"}, contents(path))
    ids = GLib.Variant("a(uuu)", [(0, 200000, 65536)])
    with store.mount("b", **{"uid-map": ids, "gid-map": ids}) as path:
        equal(BOTH, contents(path))
        equal(200000, os.stat(f"{path}/above").st_uid)
    store.prepare("c", "base")
    with store.mount("c") as path:
        equal({"below": "b", "both": "b"}, contents(path))
    begun.check_kept()


def test_a_tree_is_never_mounted_twice():
    put_chain()
    store.prepare("a", "top")
    with store.mount("a") as path:
        write(path)
        begun = Begun()
        failure(BUSY, lambda: store.mount("a"))
        failure(BUSY, lambda: store.remove("a"))
        failure(BUSY, lambda: store.commit("c", "a"))
        begun.check_kept()
    with store.mount("a") as path:
        equal({**BOTH, "mine": "mine"}, contents(path))


def test_what_is_begun_is_in_nobodys_way():
    put_chain()
    store.prepare("a", "top")
    begun = Begun()
    fds = store.call("Diff", "a")[1].steal_fds()
    while os.read(fds[0], 65536):
        pass
    os.close(fds[0])
    begun.check_kept()
    store.commit("c", "a")
    equal([], kept())
    store.prepare("b", "c")
    wait_for_kept(1)
    for key in ("b", "c", "top", "base"):
        store.remove(key)
    equal([], kept())


def test_removed_layers_leave_their_room():
    with Disk("ext4"):
        store.prepare("warm")
        store.remove("warm")
        store.call("Cleanup")
        free = os.statvfs(STATE).f_ffree
        store.put("base", layer(*(f"d{i}/" for i in range(500))))
        store.put("top", layer(*(f"e{i}/" for i in range(500))), "base")
        store.prepare("a", "top")
        wait_for_kept(1)
        for key in ("a", "top", "base"):
            store.remove(key)
        store.call("Cleanup")
        wait_for(lambda: os.statvfs(STATE).f_ffree >= free, what="the inodes to be free")
        store.clear()


def test_how_many_are_kept_is_limited():
    store.put("base", layer(entry("./"), entry("below", b"b")))
    for i in range(KEPT_MAX + 4):
        store.put(f"top{i}", layer(entry("above", str(i).encode())), "base")
    for i in range(KEPT_MAX + 4):
        store.prepare(f"a{i}", f"top{i}")
        wait_for_kept(min(i + 1, KEPT_MAX))
    for i in (0, KEPT_MAX + 3):  # let go of, and kept
        with store.mount(f"a{i}") as path:
            equal({"above": str(i), "below": "b"}, contents(path))
    wait_for_kept(KEPT_MAX)


def test_it_goes_with_the_service():
    put_chain()
    store.prepare("a", "top")
    wait_for_kept(1)
    kill_daemon()
    check_disk()
    with store.mount("a") as path:
        equal(BOTH, contents(path))
    wait_until_removed("a")
    for key in ("top", "base"):
        store.remove(key)
    equal([], kept())
    check_disk()


def wait_until_removed(key):
    """The kernel may be a moment behind the end of a mount."""
    def gone():
        try:
            store.remove(key)
        except GLib.Error:
            return False
        return True
    wait_for(gone, what=f"{key} to be removed")


def test_the_same_with_images():
    with Disk("xfs", environment="CRT_SNAPSHOTS_DRIVER=erofs"):
        put_chain()
        store.prepare("a", "top")
        store.view("v", "top")
        for key in ("a", "v"):
            begun = Begun()
            with store.mount(key) as path:
                begun.check_used()
                equal(BOTH, contents(path))
            wait_until_removed(key)
        for key in ("top", "base"):
            store.remove(key)
        equal([], kept())
        store.clear()
        check_disk()


def test_older_kernels_begin_nothing():
    use_setting("Environment=CRT_SNAPSHOTS_MOUNT_FALLBACK=yes")
    put_chain()
    store.prepare("a", "top")
    store.view("v", "top")
    for key in ("a", "v"):
        with store.mount(key) as path:
            equal(BOTH, contents(path))
    equal([], kept())


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
