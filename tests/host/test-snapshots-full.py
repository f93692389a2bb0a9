#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk without room, without inodes, or that can only be read is an answer, and costs nothing that was there."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, Tree, check_disk, entry, equal, failure, layer, systemctl  # noqa: E402
from snapshot_trees import TakenOver, sha256, wait_for, worker_pids  # noqa: E402
from interfaces import GLib, error_name, unmount  # noqa: E402
from snapshot_trees import journal  # noqa: E402

MIB = 1 << 20
store = Snapshots()
DATA = layer("d/", entry("d/f", b"kept" * 1000))
MANY = layer("d/", *[entry(f"d/{i}", b"x") for i in range(6000)])


class Small:
    """A file system of its own for the state, as the service sees it when it starts again."""

    def __init__(self, options="size=32m"):
        store.keys()
        systemctl("stop", "crt-snapshots")
        self.options = f"mode=700,{options}"

    def __enter__(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", self.options, "tmpfs", STATE], check=True)
        store.put("kept", DATA)
        return self

    def __exit__(self, *_):
        systemctl("stop", "crt-snapshots")
        unmount(STATE)


def remount(mode):
    subprocess.run(["mount", "-o", f"remount,{mode}", STATE], check=True)


def check_kept():
    equal("", store.wait(store.call("Verify", "kept")[0][0])["damaged"])
    check_disk()


def fill():
    """Until not a byte and not a file more goes in."""
    os.makedirs(f"{STATE}/fill", exist_ok=True)
    for block in (MIB, 4096, 1):
        try:
            with open(f"{STATE}/fill/{block}", "ab", buffering=0) as file:
                while True:
                    file.write(b"\0" * block)
        except OSError as error:
            equal(28, error.errno)
    try:
        for i in range(100000):
            with open(f"{STATE}/fill/empty-{i}", "wb"):
                pass
    except OSError as error:
        equal(28, error.errno)


def make_room():
    subprocess.run(["rm", "-rf", f"{STATE}/fill"], check=True)


def fails_and_works_again(data):
    """A layer that has no room; then what was in the way goes, and it has."""
    store.prepare("p")
    assert "space" in failure("NoSpace", lambda: store.unpack("p", data)).lower()
    equal("failed", store.stat("p")["state"])
    check_kept()
    store.remove("p")
    store.call("Cleanup")
    check_kept()


def test_no_room_for_a_layer():
    with Small():
        fails_and_works_again(layer(*[entry(f"{i}", os.urandom(MIB)) for i in range(40)]))
        store.put("big", layer(entry("f", os.urandom(4 * MIB))))
        check_kept()


def test_no_inodes_for_a_layer():
    with Small("size=32m,nr_inodes=1000"):
        fails_and_works_again(MANY)
        store.put("few", layer(*[entry(f"{i}", b"x") for i in range(300)]))
        check_kept()


def free():
    found = os.statvfs(STATE)
    return found.f_bavail * found.f_frsize, found.f_ffree


def test_a_writer_that_was_taken_over_leaves_others_their_room():
    for way, what in (("file", "No space"), ("deleted", "No space"), ("many", "No inodes")):
        with Small("size=64m,nr_inodes=20000"), TakenOver(way):
            before = free()
            store.prepare("p")
            job = store.unpack_begin("p", DATA, sha256(DATA))
            wait_for(lambda: store.state(job)["State"] != "running", what=f"the end of '{way}'")
            assert what in failure("NoSpace", lambda: store.wait(job)), way
            equal("failed", store.stat("p")["state"])
            store.remove("p")
            store.call("Cleanup")
            wait_for(lambda: not worker_pids() and all(now >= 0.9 * then for now, then in zip(free(), before)),
                     what=f"the room that '{way}' took")
            check_kept()


def test_a_copy_leaves_others_their_room():
    with Small("size=64m"):
        store.prepare("new", driver="copy")
        store.unpack("new", DATA)
        store.commit("whole", "new")
        store.prepare("before", "whole", driver="copy")
        with open(f"{STATE}/filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free()[0] - MIB)
        assert "space" in failure("NoSpace", lambda: store.prepare("c", "whole", driver="copy"))
        equal(["before", "kept", "whole"], store.keys())
        os.unlink(f"{STATE}/filler")
        store.prepare("c", "whole", driver="copy")
        store.commit("after", "before")
        check_kept()


def outcome(call):
    try:
        call()
        return ""
    except GLib.Error as error:
        return error_name(error)


def test_every_call_on_a_full_disk():
    allowed = ("", "org.crt.Error.NoSpace")
    with Small():
        for kind in ("prepared", "other", "removed"):
            store.prepare(kind, "kept")
        store.prepare("layer")
        store.unpack("layer", DATA)
        before = {key: store.stat(key) for key in store.keys()}
        fill()
        calls = {
            "Prepare": lambda: store.prepare("new", "kept"),
            "View": lambda: store.view("view", "kept"),
            "Update": lambda: store.call("Update", "kept", labels=GLib.Variant("a{ss}", {"k": "v" * 4000})),
            "Commit": lambda: store.commit("committed", "prepared"),
            "Commit of a layer": lambda: store.commit("chained", "layer", parent="kept"),
            "Mount": lambda: store.mount("other").close(),
            "Usage": lambda: store.call("Usage", "other"),
            "Diff": lambda: store.call("Diff", "kept"),
        }
        answers = {name: outcome(call) for name, call in calls.items()}
        for name, answer in answers.items():
            assert answer in allowed, (name, answer)
        equal(("", ""), (answers["Usage"], answers["Diff"]))
        # What was refused changed nothing, and what was not is there.
        for key, info in before.items():
            if (key, answers["Commit"]) == ("prepared", "") or (key, answers["Commit of a layer"]) == ("layer", ""):
                continue
            got = store.stat(key)
            equal({**info, "labels": None, "updated": None}, {**got, "labels": None, "updated": None})
        equal(answers["Commit"] == "", "committed" in store.keys())
        equal(answers["Prepare"] == "", "new" in store.keys())
        # Room can be made by the service itself.
        make_room()
        fill()
        store.remove("removed")
        store.call("Cleanup")
        make_room()
        for name, call in calls.items():
            if answers[name]:
                call()
        check_kept()
        equal(["chained", "committed", "kept", "new", "other", "view"], store.keys())


def test_the_service_starts_on_a_full_disk():
    with Small():
        store.prepare("p", "kept")
        fill()
        kill_daemon()
        equal(["kept", "p"], store.keys())
        store.remove("p")
        make_room()
        check_kept()


def test_a_file_system_that_can_only_be_read():
    with Small():
        store.prepare("p", "kept")
        systemctl("stop", "crt-snapshots")
        remount("ro")
        assert outcome(store.keys), "it answered"
        assert "read-only" in journal("-u", "crt-snapshots", "-n", "20").lower()
        remount("rw")
        subprocess.run(["systemctl", "reset-failed", "crt-snapshots"], check=False)
        wait_for(lambda: not outcome(store.keys), what="the service to have said why it does not start")
        equal(["kept", "p"], store.keys())
        store.commit("committed", "p")
        check_kept()


def test_everything_can_be_removed_from_a_full_disk():
    with Small():
        for i in range(20):
            store.put(f"layer{i}", layer(entry("f", os.urandom(1000))))
        fill()
        for i in range(20):
            store.remove(f"layer{i}")
        store.call("Cleanup")
        make_room()
        check_kept()
        equal(["kept"], store.keys())


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")])
