#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers unpacked, stacked, mounted and written to, as a container sees them."""

import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, compress, entry, equal, failure, layer  # noqa: E402
from interfaces import GLib  # noqa: E402

store = Snapshots()
BASE = layer(entry("./", mode=0o751), "etc/", entry("etc/passwd", b"root"), entry("etc/old", b"old"),
             entry("tmp/", mode=0o1777, uid=5), "var/", "var/lib/", entry("var/lib/a", b"a"), entry("var/lib/b", b"b"))
# What was deleted, a directory that was made anew, and a parent that is not described.
TOP = layer("etc/", ".wh..wh.plnk", entry("etc/.wh.old"), "var/", "var/lib/", entry("var/lib/.wh..wh..opq"),
            entry("var/lib/c", b"c"), entry("tmp/new", b"new"))


def clean():
    use_setting(None)
    store.clear()
    check_disk()


def read(*parts):
    with open(os.path.join(*parts), encoding="ascii") as file:
        return file.read()


def check_merged(path):
    equal(["passwd"], os.listdir(f"{path}/etc"))
    equal("root", read(path, "etc/passwd"))
    equal(["c"], os.listdir(f"{path}/var/lib"))
    equal("new", read(path, "tmp/new"))
    # The upper layer says nothing about these, so they are what they were.
    equal((0o41777, 5, 1000000000), (os.stat(f"{path}/tmp").st_mode, os.stat(f"{path}/tmp").st_uid,
                                     int(os.stat(f"{path}/tmp").st_mtime)))
    equal(0o40751, os.stat(path).st_mode)


def put_chain():
    store.put("base", BASE)
    store.put("top", TOP, "base")


def test_a_layer_on_its_parent():
    put_chain()
    store.view("v", "top")
    with store.mount("v") as path:
        check_merged(path)
        try:
            os.mkdir(f"{path}/x")
            raise AssertionError("a view is writable")
        except OSError as error:
            equal(30, error.errno)
    equal([], mounts())
    info = store.stat("top")
    equal(("top", "base", "committed", sha256(TOP)), tuple(info[key] for key in ("key", "parent", "kind", "diff-id")))


def test_a_root_that_no_layer_describes_is_open_to_all_users():
    store.put("base", layer(entry("f", b"x")))
    store.prepare("a", "base")
    store.prepare("b")
    for key in ("a", "b"):
        with store.mount(key) as path:
            equal(0o40755, os.stat(path).st_mode)


def test_layers_unpacked_at_once_and_chained_afterwards():
    jobs = []
    for i in range(8):
        store.prepare(f"p{i}")
    for i in range(8):
        data = layer(entry(f"dir/f{i}", b"%d" % i), entry("dir/last", b"%d" % i),
                     entry(f"dir/.wh.f{i - 2}") if i > 1 else "dir/")
        jobs.append(store.unpack_begin(f"p{i}", compress("gzip", data), sha256(data)))
    for job in jobs:
        store.wait(job)
    for i in range(8):
        store.commit(f"c{i}", f"p{i}", **({"parent": f"c{i - 1}"} if i else {}))
    store.view("v", "c7")
    with store.mount("v") as path:
        equal(["f6", "f7", "last"], sorted(os.listdir(f"{path}/dir")))
        equal("7", read(path, "dir/last"))


def test_compressions_are_told_apart():
    for i, data in enumerate((BASE, compress("gzip", BASE), compress("zstd", BASE))):
        store.prepare(f"p{i}")
        result = store.unpack(f"p{i}", data, sha256(BASE))
        equal(sha256(BASE), result["diff-id"])
        equal("9", result["size"])
    store.prepare("p3")
    failure("BadContent", lambda: store.unpack("p3", BASE, sha256(BASE), compression="gzip"))


def test_what_is_written_is_committed():
    put_chain()
    store.prepare("a", "top")
    with store.mount("a") as path:
        check_merged(path)
        os.unlink(f"{path}/etc/passwd")
        with open(f"{path}/etc/shadow", "w", encoding="ascii") as file:
            file.write("secret")
        os.rename(f"{path}/tmp/new", f"{path}/tmp/newer")
    store.commit("written", "a")
    failure("NotFound", lambda: store.stat("a"))
    store.prepare("b", "written")
    with store.mount("b") as path:
        equal(["shadow"], os.listdir(f"{path}/etc"))
        equal(["newer"], os.listdir(f"{path}/tmp"))


def test_a_writable_tree_is_mounted_once_at_a_time():
    put_chain()
    store.prepare("a", "top")
    with store.mount("a") as path:
        with open(f"{path}/mine", "w", encoding="ascii"):
            pass
        for change in (lambda: store.mount("a"), lambda: store.mount("a", **{"read-only": True}),
                       lambda: store.remove("a"), lambda: store.commit("c", "a")):
            assert "in use" in failure("FailedPrecondition", change)
        systemctl("restart", "crt-snapshots")  # whoever has not seen the mount asks the kernel
        assert "in use" in failure("FailedPrecondition", lambda: store.remove("a"))
    with store.mount("a", **{"read-only": True}) as path:
        equal(True, os.path.exists(f"{path}/mine"))
        equal(["c"], os.listdir(f"{path}/var/lib"))
    with store.mount("a") as path:
        equal(True, os.path.exists(f"{path}/mine"))
    systemctl("restart", "crt-snapshots")
    store.remove("a")


def test_volatile_trees_are_mounted_again_until_the_next_boot():
    put_chain()
    store.prepare("a", "top")
    for i in range(2):
        with store.mount("a", volatile=True) as path:
            os.mkdir(f"{path}/{i}")
    with store.mount("a") as path:
        equal(True, os.path.exists(f"{path}/1"))


def test_a_tree_without_a_parent_is_writable_too():
    store.prepare("a")
    with store.mount("a") as path:
        os.mkdir(f"{path}/x")
    with store.mount("a", **{"read-only": True}) as path:
        equal(["x"], os.listdir(path))
    store.commit("c", "a")


def test_what_is_committed_is_not_written_to_any_more():
    store.prepare("a")
    with store.mount("a") as path:
        os.mkdir(f"{path}/x")
        for change in (lambda: store.commit("c", "a"), lambda: store.remove("a"), lambda: store.mount("a")):
            assert "in use" in failure("FailedPrecondition", change)
        systemctl("restart", "crt-snapshots")
        assert "in use" in failure("FailedPrecondition", lambda: store.commit("c", "a"))
    store.commit("c", "a")
    store.prepare("b", "c")
    with store.mount("b") as path:
        equal(["x"], os.listdir(path))


def flags(path):
    """Of the mount, as statvfs() knows them, that matter here."""
    found = os.statvfs(path).f_flag
    return {name for name in ("RDONLY", "NOSUID", "NODEV", "NOEXEC") if found & getattr(os, f"ST_{name}")}


def check_devices_are_shut(path):
    try:
        open(f"{path}/null", "rb").close()
        raise AssertionError("a device node of a snapshot can be opened")
    except PermissionError:
        pass


def check_what_a_mount_lets_pass():
    store.put("base", layer(entry("null", kind=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
                            entry("su", b"x", mode=0o4755)))
    store.view("v", "base")
    store.prepare("a", "base")
    store.prepare("alone")
    with store.mount("v") as path:
        equal({"RDONLY", "NODEV"}, flags(path))
        check_devices_are_shut(path)
        equal(0o104755, os.stat(f"{path}/su").st_mode)
    for key in ("a", "alone"):
        with store.mount(key) as path:
            equal({"NODEV"}, flags(path))
            if key == "alone":
                os.mknod(f"{path}/null", 0o20666, os.makedev(1, 3))
            check_devices_are_shut(path)


def test_device_nodes_can_not_be_opened_and_setuid_is_kept_for_root():
    check_what_a_mount_lets_pass()


def test_nor_can_they_be_on_older_kernels():
    use_setting("Environment=CRT_SNAPSHOTS_MOUNT_FALLBACK=yes")
    check_what_a_mount_lets_pass()


def test_parents_are_protected_and_names_are_one_space():
    put_chain()
    store.prepare("a", "top")
    assert "built on" in failure("FailedPrecondition", lambda: store.remove("base"))
    failure("FailedPrecondition", lambda: store.remove("top"))
    failure("AlreadyExists", lambda: store.prepare("top"))
    failure("AlreadyExists", lambda: store.commit("base", "a"))
    failure("FailedPrecondition", lambda: store.prepare("b", "a"))
    failure("FailedPrecondition", lambda: store.commit("b", "a", parent="base"))
    failure("NotFound", lambda: store.prepare("b", "nothing"))
    failure("FailedPrecondition", lambda: store.commit("b", "top"))
    failure("FailedPrecondition", lambda: store.mount("top"))
    failure("org.freedesktop.DBus.Error.InvalidArgs", lambda: store.view("v", ""))
    failure("org.freedesktop.DBus.Error.InvalidArgs", lambda: store.prepare("with space"))
    store.prepare("top", namespace="elsewhere")
    equal(["top"], store.keys(namespace="elsewhere"))


def test_lists_come_in_pages():
    for i in range(5):
        store.prepare(f"k{i}")
    page, after = store.list(limit=GLib.Variant("u", 2))
    equal((["k0", "k1"], "k1"), ([s["key"] for s in page], after))
    page, after = store.list(limit=GLib.Variant("u", 3), after=after)
    equal((["k2", "k3", "k4"], ""), ([s["key"] for s in page], after))


def check_unpack_fails(name, data, diff_id=None, **options):
    store.prepare("p")
    sentence = failure(name, lambda: store.unpack("p", data, diff_id, **options))
    for use in (lambda: store.mount("p"), lambda: store.commit("c", "p"), lambda: store.unpack("p", BASE)):
        failure("FailedPrecondition", use)
    check_disk()
    store.remove("p")
    return sentence


def test_what_is_not_what_it_should_be_is_nothing():
    sentence = check_unpack_fails("DigestMismatch", BASE, sha256(TOP))
    assert sha256(BASE) in sentence and sha256(TOP) in sentence, sentence
    packed = compress("gzip", BASE)
    check_unpack_fails("BadContent", packed[:-20], sha256(BASE))
    check_unpack_fails("BadContent", packed + b"garbage", sha256(BASE))
    check_unpack_fails("BadContent", compress("zstd", BASE)[:-5], sha256(BASE))
    check_unpack_fails("BadContent", b"this is no archive" * 100)
    check_unpack_fails("BadContent", layer(entry("../../etc/evil", b"x")))
    check_unpack_fails("BadContent", layer(entry("l", kind=b"2", linkname="l"), entry("l/evil", b"x")))
    check_unpack_fails("BadContent", layer(entry("bad\udcff\n/../x", b"x")))


def test_arguments_of_unpack_are_checked():
    store.prepare("p")
    invalid = "org.freedesktop.DBus.Error.InvalidArgs"
    failure(invalid, lambda: store.unpack_begin("p", BASE, "sha256:short"))
    failure(invalid, lambda: store.unpack_begin("p", BASE, sha256(BASE), compression="lzma"))
    for path, flags in (("/etc", os.O_RDONLY), ("/dev/zero", os.O_RDONLY), ("/etc/passwd", os.O_PATH),
                        ("/tmp", os.O_TMPFILE | os.O_WRONLY)):
        fd = os.open(path, flags)
        failure(invalid, lambda fd=fd: store.unpack_begin("p", fd, sha256(BASE)))
        os.close(fd)
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        ends = socket.socketpair(socket.AF_UNIX, kind)
        failure(invalid, lambda ends=ends: store.unpack_begin("p", ends[0].fileno(), sha256(BASE)))
        for end in ends:
            end.close()
    store.unpack("p", BASE)
    assert "commit it first" in failure("FailedPrecondition", lambda: store.mount("p"))
    failure("FailedPrecondition", lambda: store.unpack_begin("p", BASE, sha256(BASE)))


def test_mounts_as_older_kernels_want_them():
    use_setting("Environment=CRT_SNAPSHOTS_MOUNT_FALLBACK=yes")
    put_chain()
    store.view("v", "top")
    store.view("w", "base")
    store.prepare("a", "top")
    with store.mount("v") as path:
        check_merged(path)
    with store.mount("w") as path:
        equal("old", read(path, "etc/old"))
    with store.mount("a", volatile=True) as path:
        check_merged(path)
        os.mkdir(f"{path}/x")
        assert "in use" in failure("FailedPrecondition", lambda: store.remove("a"))
    with store.mount("a") as path:
        equal(True, os.path.exists(f"{path}/x"))


def stack(count):
    parent = ""
    for i in range(count):
        store.prepare(f"p{i}")
        store.unpack(f"p{i}", layer(entry(f"f{i}", b"x")))
        store.commit(f"c{i}", f"p{i}", **({"parent": parent} if parent else {}))
        parent = f"c{i}"
    store.prepare("a", parent)


def test_a_hundred_layers_and_more():
    stack(130)
    with store.mount("a") as path:
        equal(130, len(os.listdir(path)))
    use_setting("Environment=CRT_SNAPSHOTS_MOUNT_FALLBACK=yes")
    with store.mount("a") as path:
        equal(130, len(os.listdir(path)))


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
