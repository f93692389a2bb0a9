#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A commit that fails late, or is killed, costs nothing: what somebody has mounted is there, and the same tree."""

import contextlib
import errno
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, check_disk, entry, equal, failure, kill_daemon, layer  # noqa: E402
from snapshot_trees import processor_seconds  # noqa: E402
from snapshot_disks import Disk  # noqa: E402
from hostile_layers import old_sparse  # noqa: E402
from interfaces import GLib, kill_processes  # noqa: E402

store = Snapshots()
BASE = layer("d/", entry("d/below", b"below"))
TREES = (("copy", "xfs"), ("copy", "ext4"), ("btrfs", "btrfs"))
CALL = ["busctl", "--timeout=600", "call", "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1"]


def number_of(key):
    return rows(f"SELECT id FROM snapshots WHERE key = '{key}'")[0][0]


def text_of(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def put_text(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


class Late:
    """The worker gets as far as the manifest, and no further: it fails there, or waits."""

    def __init__(self, key, waits=False):
        self.path, self.waits = f"{STATE}/trees/{number_of(key)}/manifest", waits

    def __enter__(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        (os.mkfifo if self.waits else os.mkdir)(self.path)
        return self.path

    def __exit__(self, *_):
        (os.unlink if self.waits else os.rmdir)(self.path)


def parts_of(key):
    return sorted(os.listdir(f"{STATE}/trees/{number_of(key)}"))


def begin_commit(name, key):
    """Until its worker has put another tree into the place of this one, and waits for a reader of the manifest."""
    call = subprocess.Popen([*CALL, "Commit", "ssa{sv}", name, key, "0"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    tree = f"{STATE}/trees/{number_of(key)}"
    wait_for(lambda: os.path.exists(f"{tree}/old/fs") and os.path.exists(f"{tree}/fs"), what="the copy of the tree")
    return call


def check_live(path, key):
    """The tree that is mounted at path is the one that the snapshot has, and all of it is there."""
    equal("below", text_of(f"{path}/d/below"))
    equal("mine", text_of(f"{path}/mine"))
    put_text(f"{path}/again", "written afterwards")
    with store.mount(key) as other:
        equal("written afterwards", text_of(f"{other}/again"))
        equal(os.stat(path).st_ino, os.stat(other).st_ino)


@contextlib.contextmanager
def live_tree(driver, kind):
    """The place of a snapshot "a" that is mounted and written to. In the end it is committed, with all of it there."""
    with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
        store.put("base", BASE)
        store.prepare("a", "base")
        with store.mount("a") as path:
            put_text(f"{path}/mine", "mine")
            yield path
            store.commit("c", "a")
        store.view("v", "c")
        with store.mount("v") as path:
            equal("mine", text_of(f"{path}/mine"))
            equal("written afterwards", text_of(f"{path}/again"))
        store.clear()
        check_disk()


def test_a_tree_outlives_a_commit_that_fails_late():
    for driver, kind in TREES:
        with live_tree(driver, kind) as path:
            with Late("a"):
                failure("Failed", lambda: store.commit("c", "a"))
                wait_for(lambda: not os.listdir(f"{STATE}/trash"), what="the trash to be emptied")
            check_live(path, "a")
            equal(["fs"], parts_of("a"))
            equal(["a", "base"], store.keys())


def test_a_tree_outlives_a_commit_that_is_killed_late():
    for driver, kind in TREES:
        with live_tree(driver, kind) as path:
            for end in ("worker", "service"):
                with Late("a", waits=True):
                    call = begin_commit("c", "a")
                    if end == "worker":
                        os.kill(worker_pids("crt-tree", "finish")[0], signal.SIGKILL)
                    else:
                        kill_daemon()
                    assert call.wait(600) != 0, "it succeeded"
                    equal(["a", "base"], store.keys())
                    wait_for(lambda: not os.listdir(f"{STATE}/trash"), what="the trash to be emptied")
                check_live(path, "a")
                equal(["fs"], parts_of("a"))


def test_what_was_to_be_an_image_can_be_mounted_again():
    with Disk("ext4", environment="CRT_SNAPSHOTS_DRIVER=erofs"):
        store.put("base", BASE)
        store.prepare("a", "base")
        with store.mount("a") as path:
            put_text(f"{path}/mine", "mine")
        with Late("a"):
            failure("Failed", lambda: store.commit("c", "a"))
        equal(["fs", "work"], parts_of("a"))
        with store.mount("a") as path:
            equal("mine", text_of(f"{path}/mine"))
            put_text(f"{path}/more", "more")
        store.commit("c", "a")
        store.view("v", "c")
        with store.mount("v") as path:
            equal(["d", "mine", "more"], sorted(os.listdir(path)))
        store.clear()
        check_disk()


def attributes_of(path):
    info = os.stat(path)
    return oct(info.st_mode), info.st_uid, info.st_gid, info.st_mtime


def test_nothing_stays_of_the_parent_of_a_commit_that_failed():
    store.put("first", layer(entry("./", mode=0o700, uid=3), entry("d/", mode=0o2770, gid=33, mtime=77), "other/",
                             entry("e/", uid=5, pax_headers={"SCHILY.xattr.user.first": "x"})))
    store.put("second", layer(entry("./", mode=0o711, mtime=8), entry("d/", mode=0o750, mtime=9)))
    seen = {}
    for key, parent in (("a", "second"), ("b", "second"), ("c", ""), ("d", "")):
        store.prepare(key)
        store.unpack(key, layer(entry("d/x", b"x"), entry("e/x", b"x")))
        if key in "bd":
            with Late(key):
                failure("Failed", lambda: store.commit("tried", key, parent="first"))
        store.commit(f"{key}-done", key, **({"parent": parent} if parent else {}))
        store.view(f"v{key}", f"{key}-done")
        with store.mount(f"v{key}") as path:
            seen[key] = [attributes_of(f"{path}/{name}") for name in (".", "d", "e")]
            equal([], [name for name in os.listxattr(f"{path}/e") if name.startswith("user.")])
            equal(["d", "e"], sorted(os.listdir(path)))
    # What nobody describes has the time of its unpacking.
    for one, other, timeless in (("a", "b", (2,)), ("c", "d", (0, 1, 2))):
        for i in range(3):
            equal(seen[one][i][:3], seen[other][i][:3])
            assert i in timeless or seen[one][i] == seen[other][i], (i, seen)
            assert i not in timeless or abs(seen[one][i][3] - seen[other][i][3]) < 300, (i, seen)
    store.clear()


def test_one_that_fails_does_not_take_others_along():
    with Disk("xfs", environment="CRT_SNAPSHOTS_DRIVER=copy"):
        store.put("base", BASE)
        for key in ("a", "b"):
            store.prepare(key, "base")
            with store.mount(key) as path:
                put_text(f"{path}/mine", key)
        with Late("a"):
            calls = [subprocess.Popen([*CALL, "Commit", "ssa{sv}", f"c{key}", key, "0"], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL) for key in ("a", "b")]
            equal([True, False], [call.wait(600) != 0 for call in calls])
        equal(["a", "base", "cb"], store.keys())
        store.commit("ca", "a")
        for key in ("a", "b"):
            store.view(f"v{key}", f"c{key}")
            with store.mount(f"v{key}") as path:
                equal(key, text_of(f"{path}/mine"))
        store.clear()
        check_disk()


def clean():
    use_setting(None)
    store.clear()
    check_disk()


def leave_unsettled(key):
    """As if nothing could be put in order after a commit that failed: what it made stands where the tree was."""
    tree = f"{STATE}/trees/{number_of(key)}"
    os.mkdir(f"{tree}/old")
    os.rename(f"{tree}/fs", f"{tree}/old/fs")
    os.mkdir(f"{tree}/fs")
    put_text(f"{tree}/fs/wrong", "wrong")


def test_a_tree_is_put_in_order_before_it_is_used():
    with Disk("ext4", environment="CRT_SNAPSHOTS_DRIVER=copy"):
        store.put("base", BASE)
        store.prepare("a", "base")
        with store.mount("a") as path:
            put_text(f"{path}/mine", "mine")
        leave_unsettled("a")
        with store.mount("a") as path:
            equal(["d", "mine"], sorted(os.listdir(path)))
        equal(["fs"], parts_of("a"))
        leave_unsettled("a")
        (handle, job), fds = store.call("Diff", "a")
        with os.fdopen(fds.steal_fds()[handle], "rb") as stream:
            data = stream.read()
        store.wait(job)
        assert b"mine" in data and b"wrong" not in data
        store.prepare("fresh")
        leave_unsettled("fresh")
        store.unpack("fresh", BASE)
        store.commit("c", "fresh")
        store.view("v", "c")
        with store.mount("v") as path:
            equal(["d"], os.listdir(path))
        store.clear()
        check_disk()


def test_a_tree_that_can_not_be_put_in_order_does_not_keep_the_others_from_being_used():
    store.prepare("p")
    before = trees()
    store.prepare("q")
    old = f"{STATE}/trees/{(trees() - before).pop()}/old"
    os.makedirs(f"{old}/strange")
    kill_daemon()
    equal(["active", "active"], [store.stat(key)["kind"] for key in ("p", "q")])
    assert os.path.isdir(old)
    for use in (lambda: store.mount("q"), lambda: store.call("Diff", "q"), lambda: store.unpack("q", BASE)):
        assert "in order" in failure("Failed", use)
    store.mount("p").close()
    os.rmdir(f"{old}/strange")
    kill_daemon()
    equal("active", store.stat("q")["kind"])
    assert not os.path.exists(old)


# ---- what goes wrong with one tree is no matter of the others ----

@contextlib.contextmanager
def others_committing():
    """A layer of somebody else's that is unpacked and not committed, and one whose commit has begun: both succeed."""
    for key in ("theirs", "theirs-too"):
        store.prepare(key, namespace="other")
        store.unpack(key, BASE, namespace="other")
    with Late("theirs-too", waits=True) as path:
        call = subprocess.Popen([*CALL, "Commit", "ssa{sv}", "second", "theirs-too", "1", "namespace", "s", "other"])
        try:
            wait_for(lambda: worker_pids("crt-tree", "finish"), what="the worker")
            theirs = worker_pids("crt-tree", "finish")
            yield lambda: set(worker_pids("crt-tree", "finish")) - set(theirs)
            equal("unpacked", store.stat("theirs", namespace="other")["state"])
            with open(path, "rb") as manifest:  # what the worker of the second one waits for
                assert manifest.read()
            equal(0, call.wait(600))
            store.commit("first", "theirs", namespace="other")
        finally:
            kill_processes(worker_pids("crt-tree", "finish"))
            call.wait(600)
    equal(["first", "second"], store.keys(namespace="other"))


def test_a_worker_that_is_killed_costs_nobody_else_anything():
    with others_committing() as own_workers:
        for key in ("a", "b"):  # the second one waits for the first
            store.prepare(key)
            store.unpack(key, BASE)
        with Late("a", waits=True):
            call = subprocess.Popen([*CALL, "Commit", "ssa{sv}", "c", "a", "0"], stderr=subprocess.PIPE, text=True)
            wait_for(own_workers, what="the worker")
            after = subprocess.Popen([*CALL, "Commit", "ssa{sv}", "d", "b", "0"])
            kill_processes(own_workers())
            _, sentence = call.communicate(timeout=600)
            assert call.returncode != 0 and "crt-tree was killed by SIGKILL" in sentence, sentence
            equal(0, after.wait(600))
        equal("unpacked", store.stat("a")["state"])
        store.commit("c", "a")
    equal("", store.wait(store.call("Verify", "")[0][0])["damaged"])


def test_notes_that_make_no_sense_cost_nobody_else_anything():
    with others_committing():
        for notes in (b"\xff\xfe\0garbage", b"id", b"i../../../outside\0", b"omissing\0", bytes(4096)):
            store.prepare("a")
            store.unpack("a", BASE)
            with open(f"{STATE}/trees/{number_of('a')}/notes", "wb") as file:
                file.write(notes)
            assert "does not fit its tree" in failure("BadContent", lambda: store.commit("c", "a"))
            equal("unpacked", store.stat("a")["state"])
            store.remove("a")


def limit_of(pid, what):
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        return next(line[26:].split()[0] for line in file if line.startswith(what))


def check_confined(pid, root):
    """Nothing of the host is seen, no way leads out of root, and there are limits."""
    at = f"/proc/{pid}"
    equal([], os.listdir(f"{at}/root/"))
    for fd in os.listdir(f"{at}/fd"):
        if os.path.isdir(f"{at}/fd/{fd}/"):
            assert not os.path.samefile("/", f"{at}/fd/{fd}" + "/.." * 9), os.readlink(f"{at}/fd/{fd}")
    assert os.path.samefile(root, f"{at}/fd/4" + "/.." * 9)
    assert limit_of(pid, "Max cpu time").isdigit()
    with open(f"{at}/maps", encoding="utf-8") as file:  # whose shadows take terabytes
        assert "libasan" in file.read() or limit_of(pid, "Max address space").isdigit()


def test_workers_see_the_trees_and_no_host():
    for driver in ("overlayfs", "copy"):
        with Disk("xfs", environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            store.put("base", BASE)
            store.prepare("a")
            store.unpack("a", BASE)
            with Late("a", waits=True):
                call = subprocess.Popen([*CALL, "Commit", "ssa{sv}", "c", "a", "1", "parent", "s", "base"])
                wait_for(lambda: worker_pids("crt-tree", "finish"), what="the worker")
                pid = worker_pids("crt-tree", "finish")[0]
                wait_for(lambda: limit_of(pid, "Max cpu time") != "unlimited", what="the limits")
                check_confined(pid, STATE)
                with open(f"{STATE}/trees/{number_of('a')}/manifest", "rb") as manifest:
                    assert manifest.read()
                equal(0, call.wait(600))
            manifest = f"{STATE}/trees/{number_of('base')}/manifest"
            os.unlink(manifest)
            os.mkfifo(manifest)
            job = store.call("Verify", "base")[0][0]
            wait_for(lambda: [pid for pid in worker_pids("crt-tree", "verify")
                              if limit_of(pid, "Max cpu time") != "unlimited"], what="the worker")
            pid = worker_pids("crt-tree", "verify")[0]
            check_confined(pid, f"{STATE}/trees")
            try:
                os.close(os.open(f"/proc/{pid}/fd/4/written", os.O_WRONLY | os.O_CREAT))
                raise AssertionError("it can write")
            except OSError as error:
                equal(errno.EROFS, error.errno)
            store.cancel(job)
            store.clear()
            check_disk()


def test_a_hole_is_not_read():
    size = 200 << 30
    data = old_sparse([(0, 512), (size - 512, 512)], size, b"x" * 1024) + bytes(1024)
    for driver in ("overlayfs", "erofs", "copy"):
        with Disk("xfs", environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            store.prepare("a")
            store.unpack("a", data)
            before = processor_seconds()
            store.commit("c", "a")
            equal("", store.wait(store.call("Verify", "c")[0][0])["damaged"])
            assert processor_seconds() - before < 10, processor_seconds() - before
            store.view("v", "c")
            with store.mount("v") as path, open(f"{path}/sparse", "rb") as file:
                equal(size, os.fstat(file.fileno()).st_size)
                for offset, expected in ((0, b"x"), (size // 2, b"\0"), (size - 1, b"x")):
                    equal(expected, os.pread(file.fileno(), 1, offset))
            store.clear()
            check_disk()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
