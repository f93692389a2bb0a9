#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Workers and the daemon killed in the middle; what a worker can reach; and unpackings that are cancelled or starve."""

import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, entry, equal, failure, layer, slow_layer  # noqa: E402
from interfaces import run  # noqa: E402

store = Snapshots()
DATA = layer("d/", entry("d/f", b"contents" * 1000))


def clean():
    use_setting(None)
    store.clear()
    check_disk()
    wait_for(lambda: not worker_pids(), what="the end of the workers")


def again(key):
    """The same as before must work now, and leave nothing but the result."""
    store.remove(key)
    store.prepare(key)
    store.unpack(key, DATA)
    store.commit("done", key)
    check_disk()
    equal(1, len(trees()))


def test_a_killed_worker_is_a_failed_job():
    store.prepare("p")
    job, write_end, _ = slow_layer("p", store)
    os.kill(worker_pids()[0], signal.SIGKILL)
    assert "killed by SIGKILL" in failure("Failed", lambda: store.wait(job))
    os.close(write_end)
    equal("failed", store.state(job)["State"])
    failure("FailedPrecondition", lambda: store.commit("c", "p"))
    check_disk()
    again("p")


def test_a_killed_daemon_leaves_nothing_half_done():
    store.prepare("p")
    store.prepare("kept")
    with store.mount("kept") as path:
        os.mkdir(f"{path}/x")
    _, write_end, _ = slow_layer("p", store)
    worker = worker_pids()[0]
    kill_daemon()
    wait_for(lambda: not os.path.exists(f"/proc/{worker}"), what="the end of the worker")
    os.close(write_end)
    failure("FailedPrecondition", lambda: store.commit("c", "p"))
    check_disk()
    store.remove("kept")
    again("p")


def test_killed_again_and_again_while_committing():
    store.put("base", DATA)
    for i in range(12):
        key = f"p{i}"
        store.prepare(key)
        store.unpack(key, DATA)
        call = subprocess.Popen(["busctl", "call", "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1",
                                 "Commit", "ssa{sv}", f"c{i}", key, "1", "parent", "s", "base"],
                                stderr=subprocess.DEVNULL)
        time.sleep(0.003 * i)
        kill_daemon()
        call.wait()
        if f"c{i}" not in store.keys():
            store.commit(f"c{i}", key, parent="base")
        check_disk()
        store.view("v", f"c{i}")
        with store.mount("v") as path:
            equal(["f"], os.listdir(f"{path}/d"))
        store.remove("v")


def test_trees_without_records_and_records_without_trees_are_put_in_order():
    store.prepare("p")
    store.put("base", DATA)
    systemctl("stop", "crt-snapshots")
    change_records(CRASHED)
    os.makedirs(f"{STATE}/trees/4711/fs/left/over")
    os.makedirs(f"{STATE}/trash/abc/x")
    number = rows("SELECT id FROM snapshots WHERE key = 'p'")[0][0]
    subprocess.run(["rm", "-r", f"{STATE}/trees/{number}"], check=True)
    equal(["base"], store.keys())
    check_disk()


def test_what_a_recorded_commit_has_left_is_thrown_away_beside_the_work():
    for i in range(3):
        store.put(f"c{i}", DATA)
    left = [f"{STATE}/trees/{number}/old" for number in sorted(trees())]
    kill_daemon()
    for path in left:
        os.makedirs(f"{path}/fs/d")
    equal(3, len(store.keys()))
    wait_for(lambda: not any(os.path.exists(path) for path in left), what="the end of what was left")
    check_disk()
    store.view("v", "c0")
    with store.mount("v") as path:
        equal(["d"], os.listdir(path))
    systemctl("stop", "crt-snapshots")
    equal([(1,)], rows("SELECT orderly FROM boot"))


def test_no_layer_is_unpacked_into_what_has_files():
    store.prepare("a")
    with store.mount("a") as path:
        with open(f"{path}/mine", "w", encoding="ascii") as file:
            file.write("mine")
    systemctl("stop", "crt-snapshots")
    change_records(BOOTED)
    failure("FailedPrecondition", lambda: store.unpack("a", DATA))
    with store.mount("a") as path:
        equal(["mine"], os.listdir(path))


def test_what_was_not_synced_does_not_outlive_a_boot():
    store.put("base", DATA)
    store.prepare("unpacked")
    store.unpack("unpacked", DATA)
    store.prepare("plain", "base")
    store.prepare("volatile", "base")
    with store.mount("volatile", volatile=True):
        pass
    systemctl("stop", "crt-snapshots")
    change_records(BOOTED)
    failure("FailedPrecondition", lambda: store.commit("c", "unpacked", parent="base"))
    assert "volatile" in failure("FailedPrecondition", lambda: store.mount("volatile"))
    assert "volatile" in failure("FailedPrecondition", lambda: store.commit("c", "volatile"))
    with store.mount("plain") as path:
        equal(["d"], os.listdir(path))
    check_disk()


def test_a_job_can_be_watched_and_cancelled():
    store.prepare("p")
    job, write_end, rest = slow_layer("p", store)
    state = store.state(job)
    equal(("running", "unpack", "p", "system"), (state["State"], state["Verb"], state["Object"], state["Namespace"]))
    wait_for(lambda: store.state(job)["BytesDone"] > 1 << 20, what="progress")
    store.cancel(job)
    equal("cancelled", store.state(job)["State"])
    wait_for(lambda: not worker_pids(), what="the end of the workers")
    os.close(write_end)
    check_disk()
    again("p")


def test_more_layers_than_workers_wait_for_their_turn():
    slow = []
    for i in range(4):
        store.prepare(f"s{i}")
        slow.append(slow_layer(f"s{i}", store))
    store.prepare("late")
    job = store.unpack_begin("late", DATA, sha256(DATA))
    wait_for(lambda: len(worker_pids()) == 4, what="the workers")
    equal("waiting", store.state(job)["Parts"][0][2])
    failure("FailedPrecondition", lambda: store.remove("late"))
    write(slow[0][1], slow[0][2])
    os.close(slow[0][1])
    store.wait(slow[0][0])
    store.wait(job)
    for other, write_end, _ in slow[1:]:
        os.close(write_end)
        failure("BadContent", lambda other=other: store.wait(other))


def test_trees_of_any_depth_are_deleted():
    store.prepare("deep")
    with store.mount("deep") as path:
        here = os.open(path, os.O_RDONLY)
        for _ in range(5000):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
    store.remove("deep")
    check_disk()


COPIES = """INSERT INTO snapshots (namespace, key, kind, state, created, uid, updated, driver)
    SELECT namespace, 'copy' || n, kind, state, created, uid, updated, driver FROM snapshots,
    (WITH RECURSIVE counter (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM counter WHERE n < 8000)
     SELECT n FROM counter) WHERE key = 'base'"""


def fill(folder):
    for number in range(50):
        os.makedirs(f"{folder}/d{number}")


def test_cleanup_waits_for_what_a_crash_has_left_and_counts_it():
    """Before that is thrown away, all trees are looked at, which takes its time."""
    store.put("base", DATA)
    store.call("Cleanup")
    systemctl("stop", "crt-snapshots")
    change_records(COPIES, CRASHED)
    copies = [number for (number,) in rows("SELECT id FROM snapshots WHERE key LIKE 'copy%' ORDER BY id")]
    for number in copies:
        os.mkdir(f"{STATE}/trees/{number}")
    fill(f"{STATE}/trees/{copies[-1]}/old/fs")
    fill(f"{STATE}/trees/{copies[-1] + 1}")
    freed = store.call("Cleanup")[0][0]
    equal(([], False), (os.listdir(f"{STATE}/trash"), os.path.exists(f"{STATE}/trees/{copies[-1]}/old")))
    assert freed["inodes"] > 100, freed
    equal(0, store.call("Cleanup")[0][0]["inodes"])
    systemctl("stop", "crt-snapshots")
    change_records("DELETE FROM snapshots WHERE key LIKE 'copy%'")
    for number in copies:
        shutil.rmtree(f"{STATE}/trees/{number}")


def test_a_stop_ends_what_is_going_on():
    store.prepare("p")
    _, write_end, _ = slow_layer("p", store)
    systemctl("stop", "crt-snapshots")
    # Not by the time limit of its unit.
    equal("success", run("systemctl", "show", "-P", "Result", "crt-snapshots").strip())
    wait_for(lambda: not worker_pids(), what="the end of the workers")
    os.close(write_end)
    again("p")


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
