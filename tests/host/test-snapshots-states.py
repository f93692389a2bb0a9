#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What becomes of a snapshot by which call: every way that there is, and those that are refused."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, entry, equal, failure, layer  # noqa: E402

store = Snapshots()
BASE = layer("d/", entry("d/f", b"base"), entry("d/gone", b"x"))
NEXT = layer(entry("d/g", b"next"), entry("d/f", b"next"))


def clean():
    store.clear()
    check_disk()


def test_keys_and_names_are_one_space():
    store.put("base", BASE)
    store.prepare("a")
    for key in ("base", "a"):
        failure("AlreadyExists", lambda: store.prepare(key))
        failure("AlreadyExists", lambda: store.view(key, "base"))
    failure("AlreadyExists", lambda: store.commit("base", "a"))
    store.commit("a", "a")
    equal("committed", store.stat("a")["kind"])
    store.prepare("a", namespace="elsewhere")


def test_every_transition():
    def made(kind):
        store.clear()
        store.put("base", BASE)
        if kind == "active":
            store.prepare("s", "base")
        elif kind == "fresh":
            store.prepare("s")
        elif kind == "view":
            store.view("s", "base")
        elif kind == "committed":
            store.put("s", NEXT, "base")
        elif kind == "unpacked":
            store.prepare("s")
            store.unpack("s", NEXT)
        elif kind == "failed":
            store.prepare("s")
            failure("BadContent", lambda: store.unpack("s", b"no archive" * 100))

    calls = {
        "Prepare": lambda: store.prepare("t", "s"),
        "View": lambda: store.view("t", "s"),
        "Commit": lambda: store.commit("t", "s"),
        "Unpack": lambda: store.unpack("s", NEXT),
        "Mount": lambda: store.mount("s").close(),
        "Remove": lambda: store.remove("s"),
    }
    allowed = {
        "active": {"Commit", "Mount", "Remove"},
        "fresh": {"Commit", "Unpack", "Mount", "Remove"},
        "view": {"Mount", "Remove"},
        "committed": {"Prepare", "View", "Remove"},
        "unpacked": {"Commit", "Remove"},
        "failed": {"Remove"},
    }
    for kind, good in allowed.items():
        for name, call in calls.items():
            made(kind)
            before = store.stat("s")
            if name in good:
                call()
            else:
                assert "'s'" in failure("FailedPrecondition", call), (kind, name)
                equal(before, store.stat("s"))


def test_children_protect_their_parents():
    store.put("base", BASE)
    for make in (store.prepare, store.view):
        make("child", "base")
        assert "built on" in failure("FailedPrecondition", lambda: store.remove("base"))
        store.remove("child")
    store.remove("base")


def contents(key):
    store.view("look", key)
    with store.mount("look") as path:
        found = {name: open(f"{path}/d/{name}", "rb").read() for name in os.listdir(f"{path}/d")}
    store.remove("look")
    return found


def test_what_was_made_on_a_parent_goes_where_the_same_is_below():
    store.put("base", BASE)
    store.put("same", BASE)
    store.put("next", NEXT, "same")
    store.put("other", NEXT)

    def made():
        store.prepare("s", "base")
        with store.mount("s") as path:
            os.unlink(f"{path}/d/gone")
            with open(f"{path}/d/own", "wb") as file:
                file.write(b"own")

    made()
    for parent, kind in (("other", "made on 'base'"), ("s", "not committed")):
        assert kind in failure("FailedPrecondition", lambda: store.commit("t", "s", parent=parent))
    failure("NotFound", lambda: store.commit("t", "s", parent="none"))
    store.commit("on-base", "s", parent="base")
    equal({"f": b"base", "own": b"own"}, contents("on-base"))
    made()
    store.commit("on-same", "s", parent="same")
    equal("same", store.stat("on-same")["parent"])
    equal({"f": b"base", "own": b"own"}, contents("on-same"))
    made()
    store.commit("on-next", "s", parent="next")
    equal({"f": b"next", "g": b"next", "own": b"own"}, contents("on-next"))


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
