#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a layer that was unpacked alone gets from the parents it is put on: what its archive does not say."""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, entry, equal, failure, layer, processor_seconds  # noqa: E402
from interfaces import stop_process  # noqa: E402

store = Snapshots()
LINK = {"kind": tarfile.SYMTYPE}
BASE = layer(entry("./", mode=0o711, uid=9), entry("usr/"), entry("usr/bin/"), entry("usr/bin/sh", b"sh"),
             entry("bin", linkname="usr/bin", **LINK), entry("srv/", mode=0o2770, gid=33, mtime=77),
             entry("srv/deep/", mode=0o700, uid=5), entry("srv/file", b"f"))


def clean():
    store.clear()
    check_disk()


def seen(*layers):
    """A layer after the other, and the mount of them all."""
    store.clear()
    parent = ""
    for i, data in enumerate(layers):
        store.put(f"l{i}", data, parent)
        parent = f"l{i}"
    store.view("v", parent)
    return store.mount("v")


def fields(path):
    st = os.stat(path)
    return oct(st.st_mode & 0o7777), st.st_uid, st.st_gid


def test_directories_and_root_that_are_not_described():
    with seen(BASE, layer("other/"), layer(entry("srv/deep/x", b"x"))) as path:
        equal(("0o711", 9, 0), fields(path))
        equal(("0o2770", 0, 33), fields(f"{path}/srv"))
        equal(77, int(os.stat(f"{path}/srv").st_mtime))
        equal(("0o700", 5, 0), fields(f"{path}/srv/deep"))


def test_what_is_described_stays():
    with seen(BASE, layer(entry("./", mode=0o755), entry("srv/", mode=0o750), entry("srv/deep/x", b"x"))) as path:
        equal(("0o755", 0, 0), fields(path))
        equal(("0o750", 0, 0), fields(f"{path}/srv"))
        equal(("0o700", 5, 0), fields(f"{path}/srv/deep"))


def test_what_was_removed_in_between_gives_nothing():
    with seen(BASE, layer(entry(".wh.srv")), layer(entry("srv/deep/x", b"x"))) as path:
        equal(("0o755", 0, 0), fields(f"{path}/srv"))
        equal(["deep"], os.listdir(f"{path}/srv"))
    with seen(BASE, layer("srv/", entry("srv/.wh..wh..opq")), layer(entry("srv/deep/x", b"x"))) as path:
        equal(("0o755", 0, 0), fields(f"{path}/srv/deep"))
        equal(["deep"], os.listdir(f"{path}/srv"))
    with seen(BASE, layer(entry(".wh.srv"), entry("srv/new", b"x"))) as path:
        equal(["new"], os.listdir(f"{path}/srv"))


def test_what_the_layer_itself_removed_gives_nothing():
    with seen(BASE, layer(entry(".wh.srv"), entry("srv/deep/x", b"x"))) as path:
        equal(["deep"], os.listdir(f"{path}/srv"))
        equal(("0o755", 0, 0), fields(f"{path}/srv/deep"))


def test_names_that_sort_between_a_directory_and_what_is_in_it():
    base = layer(entry("a/", uid=1), entry("a/b/", uid=2), entry("a-b/", uid=3), entry("a-b/c/", uid=4),
                 entry("a.d/", uid=5), entry("ab/", uid=6))
    top = layer(*(entry(f"{name}/x", b"x") for name in ("ab", "a/b", "a-b/c", "a.d", "a/new/deep")))
    with seen(base, layer("other/"), top) as path:
        for name, owner in {"a": 1, "a/b": 2, "a-b": 3, "a-b/c": 4,
            "a.d": 5, "ab": 6, "a/new": 0, "a/new/deep": 0}.items():
            equal(owner, os.stat(f"{path}/{name}").st_uid)


def deep(depth):
    return "/".join(["d"] * depth)


def test_depth_times_layers_times_directories_takes_seconds():
    """What was an image of 55 kB kept the worker running for minutes."""
    path, parent = deep(900), ""
    for i in range(10):
        store.put(f"l{i}", layer(entry(f"{path}/f{i}", b"x")), parent)
        parent = f"l{i}"
    store.prepare("p")
    store.unpack("p", layer(*(entry(f"{path}/leaf{i}/x", b"x") for i in range(3000))))
    before = processor_seconds()
    store.commit("c", "p", parent=parent)
    took = processor_seconds() - before
    assert took < 10, f"the commit took {took:.1f} s of the processor"


def test_a_link_is_not_hidden_by_accident():
    with seen(BASE, layer(entry("bin/tool", b"x"), entry("bin/sub/tool", b"y"))) as path:
        equal("usr/bin", os.readlink(f"{path}/bin"))
        equal(["sh", "sub", "tool"], sorted(os.listdir(f"{path}/usr/bin")))
        equal("y", open(f"{path}/bin/sub/tool", encoding="ascii").read())
    for said in (layer("bin/", entry("bin/tool", b"x")), layer(entry(".wh.bin"), entry("bin/tool", b"x"))):
        with seen(BASE, said) as path:
            equal(["tool"], os.listdir(f"{path}/bin"))
            equal("sh", open(f"{path}/usr/bin/sh", encoding="ascii").read())


def test_one_bad_layer_does_not_fail_the_commits_of_others():
    store.put("base", BASE)
    good, bad = layer(entry("srv/x", b"x")), layer(entry("bin/sh", b"x"), entry("usr/bin/sh", b"y"))
    calls = {}
    for i in range(6):
        store.prepare(f"p{i}")
        store.unpack(f"p{i}", bad if i == 3 else good)
    for i in range(6):
        calls[i] = subprocess.Popen(["busctl", "call", "org.crt.Snapshots", "/org/crt/Snapshots",
                                     "org.crt.Snapshots1", "Commit", "ssa{sv}", f"c{i}", f"p{i}", "1",
                                     "parent", "s", "base"],
    stderr=subprocess.PIPE,
     text=True)
    for i, process in calls.items():
        _, sentence = process.communicate()
        equal(i == 3, "symbolic link" in sentence)
    equal([f"c{i}" for i in range(6) if i != 3], [key for key in store.keys() if key.startswith("c")])


def test_one_slow_commit_does_not_stop_those_of_other_namespaces():
    names = [f"d{i}" for i in range(10000)]
    store.put("base", layer(*(f"{name}/" for name in names)), namespace="slow")
    store.prepare("p", namespace="slow")
    store.unpack("p", layer(*(entry(f"{name}/x", b"x") for name in names)), namespace="slow")
    store.prepare("q")
    command = ["busctl", "--timeout=600", "call", "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1",
               "Commit", "ssa{sv}"]
    wait_for(lambda: not worker_pids("crt-tree", "finish"), what="the end of the workers")
    with subprocess.Popen(command + ["c", "p", "2", "parent", "s", "base", "namespace", "s", "slow"]) as slow:
        wait_for(lambda: worker_pids("crt-tree", "finish"), what="the worker")
        worker = worker_pids("crt-tree", "finish")[0]
        assert stop_process(worker), "the worker was quicker than we are"
        try:
            subprocess.run(command + ["c", "q", "0"], check=True, timeout=100)
            equal(None, slow.poll())
        finally:
            os.kill(worker, signal.SIGCONT)
        equal(0, slow.wait())
    equal(["base", "c"], store.keys(namespace="slow"))


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
