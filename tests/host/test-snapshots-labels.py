#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Labels of snapshots, what a list can be filtered by, and what is known about each."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, entry, equal, failure, kill_daemon, layer  # noqa: E402
from interfaces import GLib  # noqa: E402

store = Snapshots()
INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
DATA = layer("d/", entry("d/f", b"x"))


def clean():
    store.clear()
    check_disk()


def labels(**entries):
    return GLib.Variant("a{ss}", {key.replace("__", "."): value for key, value in entries.items()})


def filtered(*texts):
    return store.keys(filters=GLib.Variant("as", texts))


def test_they_are_given_at_creation_and_survive():
    store.prepare("p", labels=labels(a="1", b="x=y"))
    kill_daemon()
    equal({"a": "1", "b": "x=y"}, store.stat("p")["labels"])
    store.unpack("p", DATA)
    store.commit("base", "p", labels=labels(a="", c="3"))
    equal({"b": "x=y", "c": "3"}, store.stat("base")["labels"])
    store.view("v", "base", labels=labels(look="only"))
    equal({"look": "only"}, store.stat("v")["labels"])


def test_update_merges_deletes_and_replaces():
    store.prepare("p", labels=labels(a="1", b="2"))
    created = store.stat("p")["created"]
    store.call("Update", "p", labels=labels(b="", c="3"))
    equal({"a": "1", "c": "3"}, store.stat("p")["labels"])
    assert store.stat("p")["updated"] > created
    store.call("Update", "p", labels=labels(d="4"), **{"replace-labels": True})
    equal({"d": "4"}, store.stat("p")["labels"])
    store.call("Update", "p", labels=labels(), **{"replace-labels": True})
    equal({}, store.stat("p")["labels"])
    failure("NotFound", lambda: store.call("Update", "q", labels=labels(a="1")))
    failure(INVALID, lambda: store.call("Update", "p"))


def test_reserved_ones_are_checked_and_there_are_limits():
    bad = [{"org__crt__other": "1"}, {"org__crt__gc__expire": "soon"}, {"org__crt__gc__ref__content": "x"}]
    for entries in bad:
        failure(INVALID, lambda: store.prepare("p", labels=labels(**entries)))
    store.prepare("p", labels=labels(org__crt__gc__expire="2040-01-01T00:00:00Z", org__crt__gc__root="1"))
    for entries in bad:
        failure(INVALID, lambda: store.call("Update", "p", labels=labels(**entries)))
        failure(INVALID, lambda: store.commit("c", "p", labels=labels(**entries)))
    for entries in ({f"k{i}": "v" for i in range(300)}, {"k": "v" * 4096}):
        failure("LimitsExceeded", lambda: store.call("Update", "p", labels=labels(**entries)))
    equal({"org.crt.gc.expire": "2040-01-01T00:00:00Z", "org.crt.gc.root": "1"}, store.stat("p")["labels"])


def test_what_is_known_about_each():
    store.put("base", DATA)
    store.prepare("p", "base")
    info = store.stat("p")
    equal(("p", "base", "active", "ready", "", 0), tuple(info[k] for k in ("key", "parent", "kind", "state", "diff-id",
                                                                          "owner")))
    equal(("base", "", "committed", "ready", sha256(DATA)),
          tuple(store.stat("base")[k] for k in ("key", "parent", "kind", "state", "diff-id")))
    equal(store.stat("p"), [s for s in store.list()[0] if s["key"] == "p"][0])
    job, write_end, _ = slow_layer_of("u")
    equal("unpacking", store.stat("u")["state"])
    os.close(write_end)
    failure("BadContent", lambda: store.wait(job))
    equal("failed", store.stat("u")["state"])


def slow_layer_of(key):
    store.prepare(key)
    return slow_layer(key, store)


def test_lists_are_filtered():
    store.put("base", DATA)
    store.prepare("p", "base", labels=labels(web="1", env="production"))
    store.prepare("q", "base", labels=labels(env="test"))
    store.view("v", "base")
    for expected, texts in (
            (["base", "p", "q", "v"], []),
            (["base"], ["kind==committed"]),
            (["p", "q"], ["kind==active"]),
            (["p", "q", "v"], ["parent==base"]),
            (["p"], ["labels.web"]),
            (["q"], ["labels.env==test,kind==active"]),
            (["p", "q"], ["labels.env~=t"]),
            (["p", "v"], ["labels.env==production", "kind==view"]),
            (["p", "q"], ["name~=/^[pq]$/"]),
            (["base"], [f"diff-id=={sha256(DATA)}"]),
            (["base", "p", "q", "v"], ["state==ready"]),
            ([], ["driver==none"])):
        equal(expected, filtered(*texts))
    failure(INVALID, lambda: filtered("colour==red"))
    # Two at a time, whatever is passed over.
    after, found = "", []
    while True:
        page, after = store.list(after=after, limit=GLib.Variant("u", 1), filters=GLib.Variant("as", ["kind==active"]))
        found += [s["key"] for s in page]
        if not after:
            break
    equal(["p", "q"], found)


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
