#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers out of snapshots: unpacked again they give the same tree, field by field; and who asks twice gets the same."""

import hashlib
import io
import os
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import (STATE, Snapshots, check_disk, entry, equal, failure, kill_daemon, layer,  # noqa: E402
                            processor_seconds, rows, subprocess, tarfile, wait_for, worker_pids)
from interfaces import GLib  # noqa: E402
from snapshot_disks import Disk  # noqa: E402

store = Snapshots()
BASE = layer("d/", entry("d/f", b"base"), entry("d/gone", b"x"), "gone/", entry("gone/a", b"x"), "replaced/",
             entry("replaced/x", b"x"), "opaque/", entry("opaque/old", b"x"), entry("file", b"file"),
             entry("untouched/deep/f", b"u"), entry("one", b"linked"),
             entry("two", kind=tarfile.LNKTYPE, linkname="one"))


def clean():
    store.clear()
    check_disk()
    wait_for(lambda: not worker_pids("crt-diff"), what="the end of the workers")


def diff(key, **options):
    """(stream, result)"""
    if "level" in options:
        options["level"] = GLib.Variant("u", options["level"])
    (handle, job), fds = store.call("Diff", key, **options)
    fd = fds.steal_fds()[handle]
    stream = io.FileIO(fd).readall()
    return stream, store.wait(job)


def archive_of(stream, result, tool=None):
    equal(("sha256:" + hashlib.sha256(stream).hexdigest(), str(len(stream))), (result["digest"], result["size"]))
    data = subprocess.run([tool, "-dc"], input=stream, stdout=subprocess.PIPE, check=True).stdout if tool else stream
    equal(result["diff-id"], sha256(data))
    return data


def names(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [info.name for info in archive]


def describe(root):
    """Everything about a tree that a layer can say."""
    found, inodes = {}, {}
    for directory, directories, files in os.walk(root):
        for name in ["."] * (directory == root) + directories + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            if stat.S_ISSOCK(info.st_mode):
                continue
            relative = os.path.relpath(path, root)
            links = inodes.setdefault((info.st_dev, info.st_ino), []) if not stat.S_ISDIR(info.st_mode) else []
            links.append(relative)
            attributes = {n: os.getxattr(path, n, follow_symlinks=False) for n in
                          os.listxattr(path, follow_symlinks=False)}
            data = None
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    data = hashlib.sha256(file.read()).hexdigest()
            elif stat.S_ISLNK(info.st_mode):
                data = os.readlink(path)
            found[relative] = (oct(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns, info.st_rdev,
                               info.st_size if data else 0, data, attributes, links)
    return {path: (*fields[:-1], sorted(fields[-1])) for path, fields in found.items()}


def described(key, view=True):
    if view:
        store.view("look", key)
    with store.mount("look" if view else key, **{"read-only": True}) as path:
        found = describe(path)
    if view:
        store.remove("look")
    return found


def same(expected, got):
    for path in sorted(set(expected) | set(got)):
        equal((path, expected.get(path)), (path, got.get(path)))


def image_of(key):
    """What a committed layer is kept as."""
    number = rows(f"SELECT id FROM snapshots WHERE key = '{key}'")[0][0]
    return os.stat(f"{STATE}/trees/{number}/layer.erofs")


def change_everything(path):
    def run(script):
        subprocess.run(["sh", "-e", "-c", script], cwd=path, check=True)

    run("echo more >> d/f; rm d/gone; rm -r gone; rm -r replaced; echo file > replaced; rm file; mkdir file;"
        " echo in > file/in; rm -r opaque; mkdir opaque; echo new > opaque/new; echo x > d/new; ln d/new d/link;"
        " ln -s /nowhere/else dangling; mkfifo pipe; chown 1000:2000 d/new; chmod 4755 d/f; chmod 1777 opaque;"
        " mknod null c 1 3; mknod disk b 8 1; truncate -s 5M sparse; echo end >> sparse; ln one three;"
        " touch -d '1960-06-29 18:40:00 UTC' old; mkdir -p $(printf '%0200d' 1)/$(printf '%0200d' 2);"
        " echo long > $(printf '%0200d' 1)/$(printf '%0200d' 2)/$(printf '%0200d' 3); printf x > \"$(printf 'a\\nb')\";"
        " printf y > $(printf '\\377\\376'); mkdir empty; chmod 0 empty; touch -d @5 untouched/deep")
    os.chown(f"{path}/opaque/new", 3000000, 4000000)
    os.setxattr(f"{path}/d/f", "user.note", b"a\0=\nb")
    os.setxattr(f"{path}/d/f", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    os.setxattr(f"{path}/d", "system.posix_acl_default",
                bytes.fromhex("02000000010007ffffffffff04000500ffffffff20000500ffffffff".replace("07ffffffffff",
                                                                                             "0700ffffffff")))
    __import__("socket").socket(__import__("socket").AF_UNIX).bind(f"{path}/socket")


def made(key="changed", **options):
    store.put("base", BASE)
    store.prepare(key, "base", **options)
    with store.mount(key) as path:
        change_everything(path)


def test_a_layer_unpacked_again_gives_the_same_tree():
    made()
    expected = described("changed", view=False)
    for compression, tool in (("none", None), ("gzip", "gzip"), ("zstd", "zstd")):
        stream, result = diff("changed", compression=compression)
        archive_of(stream, result, tool)
        store.prepare("again")
        equal(result["diff-id"], store.unpack("again", stream, result["diff-id"])["diff-id"])
        store.commit(f"again-{compression}", "again", parent="base")
        same(expected, described(f"again-{compression}"))
    store.commit("done", "changed")
    equal(result["diff-id"], diff("done")[1]["diff-id"])


def check_driver(driver):
    made(driver=driver) if driver == "copy" else made()
    equal(driver, store.stat("changed")["driver"])
    expected = described("changed", view=False)
    stream, result = diff("changed")
    assert "untouched/deep/f" not in names(archive_of(stream, result))
    store.put("again", stream, "base")
    same(expected, described("again"))
    store.commit("done", "changed")
    same(expected, described("done"))
    for one, other in (("base", "done"), ("done", "base"), ("again", "base")):
        store.put(f"{other}-on-{one}", diff(other, lower=one)[0], one)
        same(described(other), described(f"{other}-on-{one}"))
    equal("", store.wait(store.call("Verify", "")[0][0])["damaged"])
    for key in store.keys():
        assert store.call("Usage", key)[0][0]["size"] >= 0


def test_whatever_keeps_the_files():
    check_driver("copy")
    for kind, driver in (("btrfs", "btrfs"), ("ext4", "erofs")):
        with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            check_driver(driver)
            store.clear()
            check_disk()


def test_only_what_differs_is_in_it():
    made()
    found = names(archive_of(*diff("changed")))
    assert "untouched/deep/f" not in found and "d/gone" not in found, found
    for name in ("d/.wh.gone", ".wh.gone", "opaque/.wh.old", "d/f", "untouched", "untouched/deep"):
        assert name in found, (name, found)
    # The link group is told as a whole.
    assert "one" in found and "three" in found, found
    assert "socket" not in found
    store.prepare("nothing", "base")
    equal([], names(archive_of(*diff("nothing"))))


def test_another_snapshot_or_nothing_can_be_the_lower_one():
    made()
    store.commit("done", "changed")
    # Without the parent's word, as if there were none.
    expected = described("done")
    stream, result = diff("done", lower="")
    archive_of(stream, result)
    store.put("whole", stream)
    same(expected, described("whole"))
    # Two trees that have nothing to do with each other; and back.
    for one, other in (("base", "whole"), ("whole", "base")):
        stream, result = diff(other, lower=one)
        store.put(f"{other}-on-{one}", stream, one)
        same(described(other), described(f"{other}-on-{one}"))
    equal([], names(diff("whole", lower="done")[0]))
    store.view("v", "done")
    equal(diff("done", lower="")[1]["diff-id"], diff("v", lower="")[1]["diff-id"])


def test_the_same_tree_gives_the_same_bytes():
    found = set()
    for i in range(2):
        made(f"changed{i}")
        found.add(tuple(diff(f"changed{i}", compression=kind, **{"source-date-epoch": 1000})[1]["digest"]
                        for kind in ("none", "gzip", "zstd")))
        store.remove(f"changed{i}")
        store.remove("base")
        time.sleep(0.02)
    equal(1, len(found))
    made()
    with tarfile.open(fileobj=io.BytesIO(diff("changed", **{"source-date-epoch": 1000})[0])) as archive:
        assert max(info.mtime for info in archive) <= 1000


def write_holes(path):
    """Zeros that are holes, or not, or here and there, and what is between them on no border of blocks."""
    for name, sparse in (("holes", True), ("zeros", False), ("base", True)):
        with open(f"{path}/{name}", "wb") as file:
            for begin, data in ((0, b"begin"), (1 << 20, b"x" * 70000), (3000001, b"y"), (5 << 20, b"end\n")):
                if not sparse:
                    file.write(bytes(begin - file.tell()))
                file.seek(begin)
                file.write(data)
    subprocess.run(["truncate", "-s", "6M", f"{path}/base"], check=True)
    subprocess.run(["truncate", "-s", "1M", f"{path}/nothing"], check=True)
    with open(f"{path}/nothing-dense", "wb") as file:
        file.write(bytes(1 << 20))
    with open(f"{path}/small", "wb") as file:
        file.write(b"a" + bytes(60000))
    os.link(f"{path}/holes", f"{path}/link")


def diff_ids(driver, kind):
    """Of the same tree, before and after a commit, in several ways."""
    found, expected = {}, None
    with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
        store.put("base", BASE_OF_HOLES)
        store.prepare("p", "base")
        with store.mount("p") as path:
            write_holes(path)
            expected = describe(path)
        equal(driver, store.stat("p")["driver"])
        epoch = {"source-date-epoch": 1000}
        found["active"], found["all of it"] = diff("p", **epoch), diff("p", lower="", **epoch)
        store.commit("c", "p")
        store.view("v", "c")
        found["committed"], found["view"], found["all"] = diff("c", **epoch), diff("v", **epoch), diff("c", lower="",
                                                                                                       **epoch)
        for stream, result in found.values():
            archive_of(stream, result)
            assert len(stream) < 1 << 20, (driver, kind, len(stream))
        archive_of(*diff("c"))  # with the holes that the file system knows
        same(expected, described("c"))
        store.put("again", found["committed"][0], "base")
        with store.mount("v") as path:
            contents = {name: fields[6] for name, fields in describe(path).items()}
        equal(contents, {name: fields[6] for name, fields in described("again").items()})
        store.clear()
        check_disk()
    return {way: result["diff-id"] for way, (_, result) in found.items()}


BASE_OF_HOLES = layer(entry("base", b"z" * 100000), entry("below", bytes(1 << 20)), entry("other", b"o"))


def test_the_same_tree_gives_the_same_bytes_whatever_keeps_it():
    found = {f"{driver} on {kind}": diff_ids(driver, kind) for driver, kind in (
        ("overlayfs", "ext4"), ("copy", "ext4"), ("erofs", "ext4"), ("copy", "xfs"), ("erofs", "xfs"),
        ("overlayfs", "btrfs"), ("btrfs", "btrfs"))}
    first = found["overlayfs on ext4"]
    for where, ids in found.items():
        equal((where, first), (where, ids))
    equal(first["active"], first["committed"])
    equal(first["all"], first["all of it"])


def test_an_image_neither_holds_nor_reads_holes():
    """Two hundred gigabytes of nothing on half a gigabyte, in seconds."""
    with Disk("ext4", environment="CRT_SNAPSHOTS_DRIVER=erofs"):
        store.prepare("p")
        with store.mount("p") as path:
            with open(f"{path}/large", "wb") as file:
                for begin, data in ((0, b"begin"), (77 << 30, b"x" * 70000), ((200 << 30) - 3, b"end")):
                    file.seek(begin)
                    file.write(data)
        before = processor_seconds()
        store.commit("c", "p")
        image = image_of("c")
        assert image.st_blocks * 512 < 2 << 20 and image.st_size < 1 << 30, image
        store.view("v", "c")
        with store.mount("v") as path:
            with open(f"{path}/large", "rb") as file:
                equal(200 << 30, os.fstat(file.fileno()).st_size)
                for begin, data in ((0, b"begin\0"), ((77 << 30) - 1, b"\0x"), ((77 << 30) + 69999, b"x\0"),
                                    (100 << 30, b"\0\0"), ((200 << 30) - 4, b"\0end")):
                    equal(data, os.pread(file.fileno(), len(data), begin))
                knows_holes = os.lseek(file.fileno(), 0, os.SEEK_HOLE) < 200 << 30
        if knows_holes:  # else each of them is read, and copied
            for options in ({}, {"source-date-epoch": 1000}):
                assert len(diff("c", **options)[0]) < 1 << 20
            store.prepare("q", "c")
            with store.mount("q") as path:
                os.utime(f"{path}/large", (5, 5))
            equal(["large"], names(diff("q", **{"source-date-epoch": 1000})[0]))
            assert processor_seconds() - before < 60, processor_seconds() - before
        store.clear()
        check_disk()


def test_what_is_asked_wrongly():
    invalid = "org.freedesktop.DBus.Error.InvalidArgs"
    store.prepare("p")
    failure("NotFound", lambda: diff("q"))
    failure("NotFound", lambda: diff("p", lower="q"))
    failure(invalid, lambda: diff("p", compression="lzma"))
    failure(invalid, lambda: diff("p", level=3))
    failure(invalid, lambda: diff("p", compression="gzip", level=10))
    with store.mount("p") as path:
        with open(f"{path}/.wh.x", "wb"):
            pass
    assert "'.wh.x'" in failure("BadContent", lambda: diff("p"))
    store.prepare("u")
    store.unpack("u", BASE)
    failure("FailedPrecondition", lambda: diff("u"))


def big(key="big"):
    store.prepare(key)
    with store.mount(key) as path:
        with open(f"{path}/random", "wb") as file:
            file.write(os.urandom(8 << 20))


def begin(key):
    (handle, job), fds = store.call("Diff", key)
    return io.FileIO(fds.steal_fds()[handle]), job


def test_it_is_a_job():
    big()
    stream, job = begin("big")
    state = store.state(job)
    equal(("running", "diff", "big"), (state["State"], state["Verb"], state["Object"]))
    assert "being read" in failure("FailedPrecondition", lambda: store.remove("big"))
    assert "being read" in failure("FailedPrecondition", lambda: store.commit("c", "big"))
    stream.read(6 << 20)
    store.cancel(job)
    equal("cancelled", store.state(job)["State"])
    assert len(stream.readall()) < 8 << 20
    stream, job = begin("big")
    stream.close()
    assert "Nobody reads" in failure("Cancelled", lambda: store.wait(job))
    wait_for(lambda: not worker_pids("crt-diff"), what="the end of the workers")
    jobs = [begin("big") for _ in range(3)]
    wait_for(lambda: worker_pids("crt-diff"), what="a worker")
    os.kill(worker_pids("crt-diff")[0], 9)
    for stream, job in jobs:
        stream.readall()
    wait_for(lambda: ["done", "done", "failed"] == sorted(store.state(job)["State"] for _, job in jobs),
             what="the end of the jobs")
    store.remove("big")


def test_a_killed_daemon_leaves_nothing():
    big()
    stream, _ = begin("big")
    kill_daemon()
    assert len(stream.readall()) < 8 << 20
    equal("ready", store.stat("big")["state"])
    store.commit("done", "big")


def test_a_tree_that_is_written_to_can_be_read():
    store.put("base", BASE)
    store.prepare("p", "base")
    with store.mount("p") as path:
        with open(f"{path}/log", "wb", buffering=0) as file:
            file.write(b"begin")
            found = names(archive_of(*diff("p")))
            file.write(b"end")
        assert "log" in found, found


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def test_the_worker_reaches_nothing_but_the_trees():
    big()
    stream, job = begin("big")
    wait_for(lambda: worker_pids("crt-diff"), what="the worker")
    pid = worker_pids("crt-diff")[0]
    # DAC_OVERRIDE and SYS_ADMIN; the rest is given up last, and there is a filter from the beginning: the service's.
    wait_for(lambda: int(status(pid)["CapEff"], 16) == 0x200002, what="the sandbox")
    equal("2", status(pid)["Seccomp"])
    equal([], os.listdir(f"/proc/{pid}/root"))
    with open(f"/proc/{pid}/mountinfo", encoding="ascii") as table:
        equal(1, len(table.readlines()))
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.path.isdir(f"/proc/{pid}/fd/{fd}"):
            assert os.statvfs(f"/proc/{pid}/fd/{fd}").f_flag & os.ST_RDONLY, os.readlink(f"/proc/{pid}/fd/{fd}")
    stream.readall()
    store.wait(job)


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
