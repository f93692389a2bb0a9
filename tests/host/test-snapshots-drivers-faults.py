#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drivers on disks that are full, killed in the middle of everything, side by side, and with what they can't do."""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, check_disk, entry, equal, failure, kill_daemon, layer  # noqa: E402
from snapshot_disks import Disk, loop_devices, make_loop_nodes  # noqa: E402
from snapshot_trees import slow_layer, use_setting, write  # noqa: E402
from interfaces import GLib, stop_process  # noqa: E402

store = Snapshots()
FILES = [entry(f"d{i % 7}/f{i}", os.urandom(3000)) for i in range(400)]
BASE = layer("./", *(f"d{i}/" for i in range(7)), *FILES)
TOP = layer(entry("d1/.wh.f1"), entry("d2/.wh..wh..opq"), entry("d2/only", b"o"), entry("d3/f3", b"3"))
DRIVERS = (("overlayfs", "ext4"), ("erofs", "ext4"), ("btrfs", "btrfs"), ("copy", "xfs"), ("copy", "ext4"))
CALL = ["busctl", "--timeout=600", "call", "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1"]


def begin(*arguments):
    return subprocess.Popen([*CALL, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check_top(key):
    with store.mount(key) as path:
        equal(["only"], os.listdir(f"{path}/d2"))
        assert "f1" not in os.listdir(f"{path}/d1")
        with open(f"{path}/d3/f3", "rb") as file:
            equal(b"3", file.read())
        with open(f"{path}/d0/f0", "rb") as file:
            equal(FILES[0][1], file.read())


def write_alone(key):
    """Something that has no parent yet."""
    store.prepare(key)
    with store.mount(key) as path:
        os.mkdir(f"{path}/d0")
        with open(f"{path}/d0/mine", "wb") as file:
            file.write(b"mine")


def check_alone(key, merged=False):
    with store.mount(key) as path:
        with open(f"{path}/d0/mine", "rb") as file:
            equal(b"mine", file.read())
        equal(merged, os.listdir(f"{path}/d0") != ["mine"])


def kill_while(call, moment):
    """The daemon, some milliseconds after it was asked; and its workers die with it."""
    process = begin(*call)
    time.sleep(moment)
    kill_daemon()
    process.wait()
    wait_for(lambda: not worker_pids("crt-tree"), what="the end of the workers")


def check_killed():
    store.put("base", BASE)
    store.prepare("layer")
    store.unpack("layer", TOP)
    for moment in (0, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12):
        kill_while(("Prepare", "ssa{sv}", f"p{moment}", "base", "0"), moment)
        if f"p{moment}" in store.keys():  # it was done, and nobody heard of it
            store.remove(f"p{moment}")
        check_disk()
    for moment in (0, 0.01, 0.02, 0.03, 0.05, 0.08):
        if "top" in store.keys():
            break
        kill_while(("Commit", "ssa{sv}", "top", "layer", "1", "parent", "s", "base"), moment)
    if "top" not in store.keys():
        store.commit("top", "layer", parent="base")
    store.view("v", "top")
    check_top("v")
    write_alone("alone")
    for moment in (0, 0.01, 0.02, 0.03, 0.05):
        if "alone" not in store.keys():
            break
        kill_while(("Commit", "ssa{sv}", "merged", "alone", "1", "parent", "s", "top"), moment)
        if "alone" in store.keys():  # it is as it was
            check_alone("alone")
    if "alone" in store.keys():
        store.commit("merged", "alone", parent="top")
    store.view("m", "merged")
    check_top("m")
    check_alone("m", merged=True)
    store.prepare("written", "top")
    with store.mount("written") as path:
        with open(f"{path}/mine", "wb") as file:
            file.write(b"m")
    for moment in (0, 0.01, 0.02, 0.04):
        if "done" in store.keys():
            break
        kill_while(("Commit", "ssa{sv}", "done", "written", "0"), moment)
    if "done" not in store.keys():
        store.commit("done", "written")
    store.view("w", "done")
    check_top("w")
    with store.mount("w") as path:
        equal(b"m", open(f"{path}/mine", "rb").read())
    store.clear()
    check_disk()


def test_killed_at_any_moment():
    for driver, kind in DRIVERS:
        with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            check_killed()


def free(path):
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def fill_disk(leave):
    """All but some bytes of it."""
    with open(f"{STATE}/ballast", "wb", buffering=0) as file:
        while free(STATE) > leave:
            file.write(bytes(min(1 << 20, max(4096, free(STATE) - leave))))
            os.fsync(file.fileno())


def test_a_full_disk_is_an_error_and_nothing_else():
    big = layer(entry("big", os.urandom(24 << 20)), entry("small", b"s"))
    for driver, kind in DRIVERS:
        size = "320M" if kind == "xfs" else "200M"
        with Disk(kind, size=size, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            store.put("base", big)
            store.prepare("layer")
            store.unpack("layer", big)
            write_alone("alone")
            fill_disk(6 << 20)
            # What needs no room works, the rest says so; afterwards all of it does.
            for change in (lambda: store.prepare("a", "base"), lambda: store.commit("top", "layer", parent="base"),
                           lambda: store.commit("merged", "alone", parent="base")):
                try:
                    change()
                except GLib.Error as error:
                    assert "NoSpace" in error.message, (driver, kind, error.message)
            os.unlink(f"{STATE}/ballast")
            wait_for(lambda: "preparing" not in [s["state"] for s in store.list()[0]], what="the cleaning up")
            keys = store.keys()
            if "a" not in keys:
                store.prepare("a", "base")
            if "top" not in keys:
                store.commit("top", "layer", parent="base")
            if "merged" not in keys:
                check_alone("alone")
                store.commit("merged", "alone", parent="base")
            store.prepare("m", "merged")
            with store.mount("m") as path:
                equal(["big", "d0", "small"], sorted(os.listdir(path)))
            with store.mount("a") as path:
                equal(["big", "small"], sorted(os.listdir(path)))
            store.clear()
            check_disk()


def test_trees_of_several_drivers_in_one_chain():
    """What was made before the default was changed stays of use, and others are built on it."""
    chain = ["overlayfs", "erofs", "btrfs", "overlayfs", "copy", "erofs", "overlayfs"]
    with Disk("btrfs", environment="CRT_SNAPSHOTS_DRIVER=overlayfs") as disk:
        parent = ""
        for i, driver in enumerate(chain):
            if i == 2:
                disk.set("CRT_SNAPSHOTS_DRIVER=btrfs")
            store.prepare(f"p{i}", driver=driver)
            store.unpack(f"p{i}", layer("etc/", entry(f"etc/{i}", b"%d" % i), entry(f"etc/.wh.{i - 2}"),
                                        entry("x", b"%d" % i)))
            store.commit(f"c{i}", f"p{i}", **({"parent": parent} if parent else {}))
            parent = f"c{i}"
            equal(driver, store.stat(parent)["driver"])
        for driver in set(chain):
            store.prepare(f"on-{driver}", parent, driver=driver)
            with store.mount(f"on-{driver}") as path:
                equal(["5", "6"], sorted(os.listdir(f"{path}/etc")))
                with open(f"{path}/x", encoding="ascii") as file:
                    equal("6", file.read())
                with open(f"{path}/mine", "w", encoding="ascii"):
                    pass
            store.commit(f"done-{driver}", f"on-{driver}")
            store.view(f"v-{driver}", f"done-{driver}")
            with store.mount(f"v-{driver}") as path:
                equal(["etc", "mine", "x"], sorted(os.listdir(path)))
        store.clear()
        check_disk()


def test_what_a_driver_can_not_do_is_said():
    invalid = "org.freedesktop.DBus.Error.InvalidArgs"
    failure(invalid, lambda: store.prepare("a", driver="zfs"))
    failure("NotSupported", lambda: store.prepare("a", driver="btrfs"))
    equal([], store.keys())
    store.put("base", BASE)
    store.put("other", TOP, "base")
    store.prepare("a", "base", driver="copy")
    failure("FailedPrecondition", lambda: store.commit("c", "a", parent="other"))
    store.commit("c", "a", parent="base")
    failure(invalid, lambda: store.view("v", "base", driver="copy"))


def start_with_erofs():
    use_setting("Environment=CRT_SNAPSHOTS_DRIVER=erofs")
    return store.keys()


def test_images_that_nothing_could_mount_are_not_made():
    """The kernel mounts no file of this host's tmpfs, and the host has no loop devices until a test makes them."""
    control = "/dev/loop-control"
    if os.path.exists(control):
        os.unlink(control)
    failure("NotSupported", lambda: store.prepare("a", driver="erofs"))
    equal([], store.keys())
    try:
        start_with_erofs()
    except GLib.Error as error:
        assert "there are no loop devices" in error.message, error.message
    else:
        raise AssertionError("it starts with a driver that does not work")
    make_loop_nodes()
    equal([], start_with_erofs())
    store.put("base", BASE)
    os.unlink(control)
    store.view("v", "base")
    failure("NotSupported", lambda: store.call("Mount", "v"))
    make_loop_nodes()
    with store.mount("v") as path:
        equal(FILES[0][1], open(f"{path}/d0/f0", "rb").read())
    use_setting(None)
    store.clear()


def test_what_is_committed_can_not_be_written_to_by_who_still_has_it_mounted():
    """A tree that is no overlay can be mounted still when it is committed: what is written then is lost."""
    for driver, kind in (("btrfs", "btrfs"), ("copy", "xfs"), ("copy", "ext4")):
        with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            store.prepare("a")
            with store.mount("a") as path:
                with open(f"{path}/before", "wb"):
                    pass
                store.commit("c", "a")
                store.view("v", "c")
                try:
                    with open(f"{path}/after", "wb"):
                        pass
                except OSError:
                    pass
                with store.mount("v") as other:
                    equal(["before"], os.listdir(other))
            store.clear()
            check_disk()


def test_an_image_is_a_file_that_does_not_depend_on_when_it_was_made():
    with Disk("ext4", environment="CRT_SNAPSHOTS_DRIVER=erofs"):
        images = []
        for name in ("one", "two"):
            store.put(name, BASE)
            number = rows(f"SELECT id FROM snapshots WHERE key = '{name}'")[0][0]
            found = set(os.listdir(f"{STATE}/trees/{number}"))
            assert "layer.erofs" in found and not {"fs", "work"} & found, found
            with open(f"{STATE}/trees/{number}/layer.erofs", "rb") as file:
                images.append(file.read())
            subprocess.run(["fsck.erofs", f"{STATE}/trees/{number}/layer.erofs"], check=True, stdout=subprocess.DEVNULL)
        assert images[0] == images[1]
        store.clear()
        check_disk()


def test_no_loop_device_is_left():
    with Disk("ext4", environment="CRT_SNAPSHOTS_DRIVER=erofs CRT_SNAPSHOTS_LOOP_FALLBACK=yes"):
        def images():
            return [line for line in loop_devices() if "layer.erofs" in line]
        store.put("base", BASE)
        store.view("v", "base")
        tree = store.mount("v")
        equal(1, len(images()))
        kill_daemon()
        equal(1, len(images()))  # of the mount
        tree.close()
        wait_for(lambda: not images(), what="the loop device to be released")
        store.mount("v").close()
        store.remove("v")
        store.remove("base")
        wait_for(lambda: not images(), what="the loop device to be released")
        store.clear()
        check_disk()


def test_subvolumes_that_a_container_made_go_with_its_tree():
    with Disk("btrfs", environment="CRT_SNAPSHOTS_DRIVER=btrfs"):
        store.put("base", BASE)
        store.prepare("a", "base")
        with store.mount("a") as path:
            for name in ("sub", "sub/deeper"):
                subprocess.run(["btrfs", "-q", "subvolume", "create", f"{path}/{name}"], check=True)
            with open(f"{path}/sub/deeper/file", "wb"):
                pass
        store.remove("a")
        store.clear()
        check_disk()
        equal("", subprocess.run(["btrfs", "subvolume", "list", STATE], check=True, text=True,
                                 capture_output=True).stdout)


def test_a_disk_that_fails_does_not_change_the_driver():
    """Nobody finds trees kept another way because the question could not be answered for once."""
    with Disk("xfs"):
        equal("overlayfs", made_with())
        for error in ("EIO", "EUCLEAN"):
            use_setting(f"SystemCallFilter=~setxattr:{error}")
            message = failure("Failed" if error == "EIO" else "Unavailable", made_with)
            assert "Can't find out whether overlayfs can write" in message, message
        use_setting("SystemCallFilter=~setxattr:ENOTSUP")
        equal("copy", made_with())
        use_setting("SystemCallFilter=~setxattr:ENOSPC")
        equal("overlayfs", made_with())
        use_setting("Environment=")


def made_with():
    store.prepare("a")
    driver = store.stat("a")["driver"]
    store.remove("a")
    return driver


def test_an_unpacking_that_a_read_only_disk_ended_is_known_to_have_failed():
    with Disk("ext4"):
        store.put("kept", BASE)
        store.prepare("p")
        job, write_end, rest = slow_layer("p", store)
        subprocess.run(["mount", "-o", "remount,abort", STATE], check=True)  # as after an error of the disk
        try:
            write(write_end, rest)
        except OSError:
            pass
        os.close(write_end)
        failure("ReadOnly", lambda: store.wait(job))
        equal("failed", store.stat("p")["state"])
        equal(["failed"], [s["state"] for s in store.list()[0] if s["key"] == "p"])
        try:
            store.remove("p")
            raise AssertionError("it was removed")
        except GLib.Error as error:
            assert "Read-only" in error.message or "Input/output" in error.message, error.message
        equal("ready", store.stat("kept")["state"])


def one_is_stopped(key):
    """Whether it was, and did not end before that."""
    wait_for(lambda: not worker_pids("crt-tree", "fill"), what="the end of the workers")
    call = begin("Prepare", "ssa{sv}", key, "base", "0")
    wait_for(lambda: worker_pids("crt-tree", "fill") or call.poll() is not None, what="the worker")
    stopped = [pid for pid in worker_pids("crt-tree", "fill") if stop_process(pid)]
    try:
        if stopped:
            for use in (lambda: store.mount(key), lambda: store.remove(key), lambda: store.commit("c", key)):
                assert "prepared" in failure("FailedPrecondition", use)
            store.prepare(f"quick-{key}")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    equal(0, call.wait(600))
    return bool(stopped)


def test_a_stopped_worker_holds_nobody_up():
    with Disk("xfs", environment="CRT_SNAPSHOTS_DRIVER=copy"):
        store.put("base", BASE)
        assert any(one_is_stopped(f"slow{i}") for i in range(50)), "every worker was quicker than we are"
        store.clear()
        check_disk()


def clean():
    use_setting(None)
    store.clear()
    check_disk()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
