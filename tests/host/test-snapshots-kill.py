#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""SIGKILL at random points of everything that changes snapshots: nothing is lost that was promised, and nothing stays.

$KILLS: how often (20 if not given). $SEED: to do the same again."""

import os
import random
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, entry, equal, kill_daemon, layer, wait_for, worker_pids  # noqa: E402
from interfaces import GLib  # noqa: E402

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
chance = random.Random(SEED)
store = Snapshots()
LAYERS = [layer(*[entry(f"d{k}/f{i}", bytes([65 + k]) * 20000) for i in range(40)]) for k in range(4)]


def clean():
    store.clear()
    check_disk()


class World:
    """What must be there whatever happens: an answered call has been done; of one that was not, nobody knows."""

    def __init__(self):
        self.committed = {}  # key -> (layer's number, parent or "")
        self.active = {}     # key -> parent or ""
        self.count = 0

    def name(self, kind):
        self.count += 1
        return f"{kind}{self.count}"

    def parents(self):
        return {parent for _, parent in self.committed.values()} | set(self.active.values())


def do_layer(world):
    key, name, kind = world.name("unpacking"), world.name("layer"), chance.randrange(len(LAYERS))
    parent = chance.choice([""] + list(world.committed))
    store.prepare(key)
    store.unpack(key, LAYERS[kind])
    store.commit(name, key, **({"parent": parent} if parent else {}))
    world.committed[name] = (kind, parent)


def do_prepare(world):
    key, parent = world.name("active"), chance.choice([""] + list(world.committed))
    store.prepare(key, parent)
    world.active[key] = parent


def do_view(world):
    if world.committed:
        key, parent = world.name("view"), chance.choice(list(world.committed))
        store.view(key, parent)
        world.active[key] = parent


def do_commit(world):
    kept = [key for key in world.active if key.startswith("active")]
    if kept:
        key, name = chance.choice(kept), world.name("committed")
        parent = world.active.pop(key)
        store.commit(name, key)
        world.committed[name] = (None, parent)


def do_remove(world):
    free = [key for key in [*world.committed, *world.active] if key not in world.parents()]
    if free:
        key = chance.choice(free)
        # Once it is asked for, nobody can count on it.
        world.committed.pop(key, None)
        world.active.pop(key, None)
        store.remove(key)


def do_diff(world):
    if world.committed:
        (handle, job), fds = store.call("Diff", chance.choice(list(world.committed)), lower="")
        with os.fdopen(fds.steal_fds()[handle], "rb") as stream:
            stream.read()
        store.wait(job)


def do_verify(_world):
    equal("", store.wait(store.call("Verify", "")[0][0])["damaged"])


def do_labels(world):
    if world.committed:
        store.call("Update", chance.choice(list(world.committed)),
                   labels=GLib.Variant("a{ss}", {"n": world.name("n")}))


ACTIONS = [do_layer, do_layer, do_layer, do_prepare, do_prepare, do_view, do_commit, do_remove, do_diff, do_verify,
           do_labels]


def check(world):
    store.keys()  # whoever was killed last is started again, and tidies up
    wait_for(lambda: not worker_pids("crt-tree") + worker_pids("crt-diff") + worker_pids(), what="the workers' end")
    check_disk()
    there = {info["key"]: info for info in store.list()[0]}
    for key, (kind, parent) in world.committed.items():
        assert key in there, f"{key} is lost"
        equal(("committed", "ready", parent), tuple(there[key][field] for field in ("kind", "state", "parent")))
        equal("" if kind is None else sha256(LAYERS[kind]), there[key]["diff-id"])
    for key in world.active:
        assert key in there, f"{key} is lost"
    equal("", store.wait(store.call("Verify", "")[0][0])["damaged"])
    equal([], os.listdir(f"{STATE}/aside"))


def take_over(world):
    """What was done though nobody was told, or half done, is taken away, as its owner would after a crash."""
    known = set(world.committed) | set(world.active)
    for _ in range(2):
        for key in store.keys():
            if key not in known:
                try:
                    store.remove(key)
                except GLib.Error:
                    pass  # something was built on it


def test_killed_at_random_points():
    print(f"# seed {SEED}")
    world = World()
    for _ in range(KILLS):
        stopped = threading.Timer(chance.uniform(0.0, 0.25), kill_daemon)
        stopped.start()
        try:
            for _ in range(50):
                chance.choice(ACTIONS)(world)
                if not stopped.is_alive():
                    break
        except GLib.Error as error:
            assert "NoReply" in str(error) or "NameHasNoOwner" in str(error) or "ServiceUnknown" in str(error) or \
                "UnknownObject" in str(error) or "UnknownMethod" in str(error) or "disconnected" in str(error), error
        stopped.join()
        check(world)
        take_over(world)
        check(world)
        if len(world.committed) > 12:
            world = World()
            store.clear()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
