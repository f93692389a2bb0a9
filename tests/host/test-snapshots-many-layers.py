#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""As many layers as the kernel mounts, and one more."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, entry, equal, failure, layer, systemctl, use_setting  # noqa: E402

LAYERS = 505
LARGE = 1000000  # numbers are as long as they are some day
store = Snapshots()


def make_chain():
    """Each is a copy of the first one's record, with a file of its own."""
    store.put("l1", layer("d/", entry("d/1", b"1")))
    first = rows("SELECT id FROM snapshots WHERE key = 'l1'")[0][0]
    systemctl("stop", "crt-snapshots")
    statements = []
    for i in range(2, LAYERS + 1):
        number, below = LARGE + i, LARGE + i - 1 if i > 2 else first
        os.makedirs(f"{STATE}/trees/{number}/fs/d")
        os.mkdir(f"{STATE}/trees/{number}/work")
        with open(f"{STATE}/trees/{number}/fs/d/{i}", "wb"):
            pass
        statements.append("INSERT INTO snapshots"
                          " (id, namespace, key, kind, state, parent, created, uid, updated, driver)"
                          f" SELECT {number}, namespace, 'l{i}', kind, state, {below}, created, uid, updated, driver"
                          f" FROM snapshots WHERE id = {first}")
    change_records(*statements)


def check_seen(key, count):
    store.view("v", key)
    with store.mount("v") as path:
        equal(count, len(os.listdir(f"{path}/d")))
    store.remove("v")


def test_as_many_layers_as_the_kernel_mounts():
    make_chain()
    check_seen("l100", 100)
    check_seen("l500", 500)
    store.view("w", "l501")
    assert "more layers" in failure("LimitsExceeded", lambda: store.mount("w"))
    store.prepare("p", "l500")
    with store.mount("p") as path:
        equal(500, len(os.listdir(f"{path}/d")))


def test_what_older_kernels_take_in_one_string_is_said():
    use_setting("Environment=CRT_SNAPSHOTS_MOUNT_FALLBACK=yes")
    check_seen("l100", 100)
    check_seen("l300", 300)
    store.view("x", "l500")
    assert "more layers" in failure("LimitsExceeded", lambda: store.mount("x"))
    use_setting(None)
    for key in ("p", "w", "x", *(f"l{i}" for i in range(LAYERS, 0, -1))):
        store.remove(key)


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")])
