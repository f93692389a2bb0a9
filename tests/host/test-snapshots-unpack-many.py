#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# host: --disk 2G
"""Images of many layers: all of them at once, in any order, and on top of each other in the end; and deep ones."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hostile_layers import END, file, folder, long_name, zstd  # noqa: E402
from peer_images import plain  # noqa: E402
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, processor_seconds, run_cases, sha256, worker_pids  # noqa: E402

store = Snapshots()
LAYERS = 127  # as many as old graph drivers could have


def clean():
    store.clear()
    check_disk()


def numbered(i):
    """Adds a file, changes one that all have, and removes that of the layer before."""
    before = [file(b"d/.wh.%d" % (i - 1), b"")] if i else [folder(b"d/")]
    return b"".join([file(b"top", b"%d" % i), file(b"d/%d" % i, b"x" * i), *before]) + END


def test_127_layers_in_any_order():
    layers = list(enumerate(numbered(i) for i in range(LAYERS)))
    while layers:  # outcomes of more than 64 are not kept
        some, jobs = layers[-60:], []
        del layers[-60:]
        for i, data in reversed(some):
            store.prepare(f"new-{i}")
            jobs.append(store.unpack_begin(f"new-{i}", data, sha256(data)))
        for job in jobs:
            store.wait(job)
            assert len(worker_pids()) <= 20  # four that work, and those that are just ending
    for i in range(LAYERS):
        store.commit(f"l{i}", f"new-{i}", **({"parent": f"l{i - 1}"} if i else {}))
    store.view("v", f"l{LAYERS - 1}")
    with store.mount("v") as path:
        equal(["d", "top"], sorted(os.listdir(path)))
        equal([str(LAYERS - 1)], os.listdir(f"{path}/d"))
        with open(f"{path}/top", "rb") as top:
            equal(b"%d" % (LAYERS - 1), top.read())


def test_slow_layers_do_not_keep_each_other_waiting():
    """Four at once: all of them come in pieces from pipes, like downloads."""
    data, writers, jobs = layer("a/", entry("a/f", b"x" * (1 << 20))), [], []
    for i in range(4):
        read, write_end = os.pipe()
        store.prepare(f"p{i}")
        jobs.append(store.unpack_begin(f"p{i}", read, sha256(data)))
        os.close(read)
        writers.append(write_end)
    wait_for(lambda: len(worker_pids()) == 4, what="four workers")
    for begin in range(0, len(data), 60000):
        for write_end in writers:
            write(write_end, data[begin:begin + 60000])
    for write_end in writers:
        os.close(write_end)
    for job in jobs:
        store.wait(job)


def seconds(data):
    store.prepare("x")
    begin = processor_seconds()
    store.unpack("x", data, sha256(plain(data)))
    store.commit("y", "x")
    taken = processor_seconds() - begin
    store.remove("y")
    return taken


def directories(count, depth):
    """So many directories with a file each, in chains of that depth."""
    parts = []
    for chain in range(count // depth):
        path = b"%d" % chain
        for _ in range(depth):
            path += b"/d"
            parts += [long_name(path), folder(b"x"), long_name(path + b"/f"), file(b"x", b"")]
    return zstd(b"".join(parts) + END)


def test_depth_costs_nothing():
    flat, deep = seconds(directories(10000, 1)), seconds(directories(10000, 1000))
    print(f"# 10000 directories and files: {flat:.2f} s flat, {deep:.2f} s a thousand deep")
    assert deep < 4 * flat + 3, (flat, deep)


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
