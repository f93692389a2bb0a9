#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whoever is killed while something comes into the content store: nothing is lost, left, sent or hashed twice."""

import contextlib
import glob
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import (STATE, GLib, Store, Waiting, check_disk, equal, failure, files, rows,  # noqa: E402
                           run_cases, sha256, systemctl, traced, wait_for, worker_pids, write)
from interfaces import daemon_pid, kill_daemons, kill_processes, wait_for_answer  # noqa: E402

MIB = 1024 * 1024
DATA = os.urandom(24 * MIB)
PROMISE = {"digest": sha256(DATA), "size": len(DATA)}
store = Store()


def clean():
    store.clear()
    check_disk()
    wait_for(lambda: not worker_pids(), what="the end of the workers")


def data_file():
    found = glob.glob(f"{STATE}/ingest/*.data")
    equal(1, len(found))
    return found[0]


def begin(size=16 * MIB, reference="r"):
    """A stream of which so much has arrived and been hashed."""
    stream, offset, path = store.ingest(reference, **PROMISE)
    write(stream, DATA[offset:size])
    wait_for(lambda: store.ingests()[path]["Offset"] == size, what="the bytes to arrive")
    return stream, path


def close(stream, rest=b""):
    """The other end is gone."""
    try:
        write(stream, rest)
        os.close(stream)
    except BrokenPipeError:
        os.close(stream)


def spoil_first_byte():
    """If what is on disk were hashed again, the digest would be another."""
    with open(data_file(), "r+b") as file:
        file.write(bytes([DATA[0] ^ 0xff]))


def finish(least):
    """Continues, and shows that neither the client nor the hash began anew."""
    spoil_first_byte()
    stream, offset, _ = store.ingest("r")
    assert least <= offset <= len(DATA), f"goes on at {offset}"
    write(stream, DATA[offset:])
    os.close(stream)
    equal((sha256(DATA), len(DATA)), store.commit("r"))
    blob = store.read(sha256(DATA))
    equal(DATA[1:], blob[1:])
    store.delete(sha256(DATA))
    check_disk()


def test_client_is_killed():
    code = ("from content_store import *; import signal\n"
            "stream = Store().ingest('r', digest=sys.argv[1], size=int(sys.argv[2]))[0]\n"
            "write(stream, sys.stdin.buffer.read(16 << 20)); print('.', flush=True); signal.pause()")
    client = subprocess.Popen([sys.executable, "-c", code, PROMISE["digest"], str(PROMISE["size"])],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              cwd=os.path.dirname(os.path.abspath(__file__)))
    client.stdin.write(DATA[:16 * MIB])
    client.stdin.flush()
    client.stdout.read(1)
    failure("FailedPrecondition", lambda: store.ingest("r"))
    client.kill()
    client.wait()
    wait_for(lambda: not list(store.ingests().values())[0]["Writing"])
    finish(16 * MIB)


def test_worker_is_killed():
    stream, path = begin()
    kill_processes(worker_pids())
    wait_for(lambda: not store.ingests()[path]["Writing"])
    close(stream, b"x")
    finish(8 * MIB)


def test_worker_is_killed_while_commit_waits():
    stream, _ = begin()
    waiting = store.commit_later("r")
    kill_processes(worker_pids())
    equal("org.crt.Error.Unavailable", waiting.result())
    close(stream)
    message = failure("FailedPrecondition", lambda: store.commit("r"))
    assert "broke off" in message, message
    finish(8 * MIB)


def is_held(pid):
    """By a tracer."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "t"


def held(pid, name, *options, when=""):
    """A process that is stopped as it is about to make that system call, until the end."""
    return traced(pid, *options, "-e", f"trace={name}", "-e", f"inject={name}:delay_enter=600000000{when}")


def commit_to_dying_worker():
    daemon = daemon_pid("Content")
    with held(daemon, "sendmsg", when=":when=1"):
        waiting = Waiting(store, "r", PROMISE, runs=False)
        wait_for(lambda: is_held(daemon), what="the message to the worker")
        kill_processes(worker_pids())
    return waiting.result()


def test_worker_is_killed_as_commit_comes():
    """The service is held as it is about to tell the worker that the stream is over."""
    for _ in range(5):
        stream, _ = begin()
        result = commit_to_dying_worker()
        close(stream)
        if result != "org.crt.Error.FailedPrecondition":  # it was another message, and the end was seen first
            break
    equal("org.crt.Error.Unavailable", result)
    finish(8 * MIB)


def commit_in(namespace):
    """The same bytes once more."""
    other = Store(namespace=namespace)
    stream, _, path = other.ingest("r")
    write(stream, DATA)
    waiting = other.commit_later("r")
    os.close(stream)
    wait_for(lambda: not store.ingests()[path]["Writing"], what="the end of the stream")
    return waiting


def test_workers_leave_while_others_place_the_same_bytes():
    """They have waited long enough, which is nobody's failure."""
    expected = f"{sha256(DATA)} {len(DATA)}"
    with while_it_is_placed() as (_, first):
        workers = worker_pids()
        others = [commit_in(namespace) for namespace in ("one", "two")]
        wait_for(lambda: worker_pids() == workers, 15, "the other workers to leave")
        equal([None] * 3, [waiting.poll() for waiting in (first, *others)])
    equal([expected] * 3, [waiting.result() for waiting in (first, *others)])
    equal(DATA, Store(namespace="two").read(sha256(DATA)))


def test_workers_die_while_others_place_the_same_bytes():
    """And then the one dies for whom they had waited."""
    with while_it_is_placed() as (_, first):
        workers = worker_pids()
        others = [commit_in(namespace) for namespace in ("one", "two")]
        kill_processes(set(worker_pids()) - set(workers))
        wait_for(lambda: worker_pids() == workers, what="the end of the other workers")
        equal([None] * 3, [waiting.poll() for waiting in (first, *others)])
        kill_processes(workers)
    equal("org.crt.Error.Unavailable", first.result())
    equal([f"{sha256(DATA)} {len(DATA)}"] * 2, [waiting.result() for waiting in others])
    equal((sha256(DATA), len(DATA)), store.commit("r"))
    equal(DATA, Store(namespace="two").read(sha256(DATA)))


def test_worker_that_broke_off_is_not_taken_for_an_end():
    stream, _, path = store.ingest("r")
    write(stream, DATA[:MIB])
    wait_for(lambda: store.ingests()[path]["Offset"] == MIB, what="the bytes to arrive")
    kill_processes(worker_pids())
    wait_for(lambda: not list(store.ingests().values())[0]["Writing"])
    close(stream)
    failure("FailedPrecondition", lambda: store.commit("r"))
    equal(set(), files("blobs"))


def test_daemon_is_killed():
    stream, _ = begin()
    kill_daemons("Content")
    wait_for(lambda: not worker_pids())
    close(stream, b"x")
    finish(8 * MIB)


def test_service_is_stopped():
    stream, _ = begin()
    waiting = store.commit_later("r")
    systemctl("stop", "crt-content")
    equal("org.crt.Error.Unavailable", waiting.result())
    wait_for(lambda: not worker_pids(), what="the end of the worker")
    close(stream, b"x")
    finish(8 * MIB)


def test_complete_ingest_is_committed_by_the_next_daemon():
    stream, _, _ = store.ingest("r")
    write(stream, DATA)
    os.close(stream)
    wait_for(lambda: not list(store.ingests().values())[0]["Writing"])
    kill_daemons("Content")
    equal((sha256(DATA), len(DATA)), store.commit("r"))
    equal(DATA, store.read(sha256(DATA)))


@contextlib.contextmanager
def while_it_is_placed(**promise):
    """The bytes have their place, and what makes that outlive the power is about to begin: (path, answer)."""
    stream, _, path = store.ingest("r", **promise)
    write(stream, DATA)
    waiting = store.commit_later("r")
    (worker,) = worker_pids()
    with held(worker, "fsync", "-P", f"{STATE}/blobs/sha256/{sha256(DATA)[7:9]}"):
        os.close(stream)
        wait_for(lambda: is_held(worker) and is_placed(), what="the worker to sync")
        yield path, waiting


def is_placed():
    return any(os.stat(f"{STATE}/blobs/{name}").st_nlink == 2 for name in files("blobs"))


def check_that_all_is_there(path):
    equal(len(DATA), store.ingests()[path]["Offset"])
    check_disk()
    equal(set(), files("blobs"))
    spoil_first_byte()
    equal((sha256(DATA), len(DATA)), store.commit("r"))
    equal(DATA[1:], store.read(sha256(DATA))[1:])


def test_daemon_is_killed_while_the_bytes_are_placed():
    """Neither those that were promised nor others are sent again."""
    for promise in ({"digest": sha256(DATA)}, {}):
        with while_it_is_placed(**promise) as (path, _):
            kill_daemons("Content")
        check_that_all_is_there(path)
        store.delete(sha256(DATA))


def test_worker_is_killed_while_the_bytes_are_placed():
    with while_it_is_placed() as (path, waiting):
        kill_processes(worker_pids())
    equal("org.crt.Error.Unavailable", waiting.result())  # who is traced ends when the tracer has seen it
    check_that_all_is_there(path)


def test_service_is_killed_since_it_stops_too_slowly():
    with while_it_is_placed() as (path, _):
        subprocess.run(["systemctl", "stop", "--no-block", "crt-content"], check=True)
        wait_for(lambda: active_state() == "deactivating", what="the service to stop")
        kill_daemons("Content")
    wait_for(lambda: active_state() not in ("deactivating", "active"), what="the end of the service")
    check_that_all_is_there(path)


def test_damaged_bytes_are_replaced_by_what_a_killed_daemon_had_placed():
    store.put(DATA)
    (blob,) = files("blobs")
    os.truncate(f"{STATE}/blobs/{blob}", 1)
    failure("DigestMismatch", lambda: store.read(sha256(DATA)))
    with while_it_is_placed(digest=sha256(DATA)) as (path, _):
        kill_daemons("Content")
    failure("DigestMismatch", lambda: store.read(sha256(DATA)))
    equal(len(DATA), store.ingests()[path]["Offset"])
    equal((sha256(DATA), len(DATA)), store.commit("r"))
    equal(DATA, store.read(sha256(DATA)))
    check_disk()


def active_state():
    return subprocess.run(["systemctl", "show", "--property=ActiveState", "--value", "crt-content"], check=True,
                          text=True, capture_output=True).stdout.strip()


def set_rows(sql, *values):
    connection = sqlite3.connect(f"{STATE}/content.db")
    connection.execute(sql, values)
    connection.commit()
    connection.close()


def test_unfinished_ingests_go_after_a_day():
    store.call("CreateLease", "l")
    for reference, hours, options in (("old", 25, {}), ("young", 23, {}), ("leased", 25, {"lease": "l"})):
        stream, _, _ = store.ingest(reference, **options)
        write(stream, b"x")
        os.close(stream)
        systemctl("stop", "crt-content")
        set_rows("UPDATE ingests SET touched = ? WHERE reference = ?",
                 int((time.time() - hours * 3600) * 1e6), reference)
        subprocess.run(["chown", "-R", "crt-content:", STATE], check=True)
    equal(["leased", "young"], sorted(ingest["Reference"] for ingest in store.ingests().values()))
    check_disk()


def test_what_an_end_in_the_middle_left_is_removed():
    kept = store.put(b"kept")[0]
    lost = store.put(b"lost")[0]
    stream, _, _ = store.ingest("r")
    write(stream, b"x")
    os.close(stream)
    wait_for(lambda: not list(store.ingests().values())[0]["Writing"])
    kill_daemons("Content")
    for name in ("blobs/sha256/ab/" + "ab" * 32, "ingest/999.data", "ingest/1000.state"):
        os.makedirs(os.path.dirname(f"{STATE}/{name}"), exist_ok=True)
        with open(f"{STATE}/{name}", "w", encoding="utf-8") as file:
            file.write("left")
    os.unlink("{0}/blobs/{1}/{2:.2}/{2}".format(STATE, *lost.split(":")))
    os.unlink(data_file_of("r"))
    subprocess.run(["chown", "-R", "crt-content:", STATE], check=True)
    wait_for(lambda: {kept: "good", lost: "damaged"} == {blob["digest"]: blob["state"] for blob in store.list()[0]})
    failure("DigestMismatch", lambda: store.read(lost))
    equal({}, store.ingests())
    equal((lost, 4), store.put(b"lost"))
    equal(b"lost", store.read(lost))
    check_disk()


def data_file_of(reference):
    ((number,),) = rows(f"SELECT number FROM ingests WHERE reference = '{reference}'")
    return f"{STATE}/ingest/{number}.data"


def test_another_boot_goes_on_where_it_was_synced():
    """As after a loss of power; and nothing is hashed again then, either."""
    data = DATA[:3 * MIB]
    for reference, promise, size, expected in (("with", {"digest": sha256(data)}, 2 * MIB, 2 * MIB),
                                               ("without", {"size": len(data)}, 2 * MIB, 2 * MIB),
                                               ("little", {}, 1000, 0)):
        stream, _, path = store.ingest(reference, **promise)
        write(stream, data[:size])
        os.close(stream)
        wait_for(lambda path=path: not store.ingests()[path]["Writing"])
        systemctl("stop", "crt-content")
        with open(data_file_of(reference).replace(".data", ".state"), "r+b") as file:
            file.seek(8)
            file.write(b"00000000-of-another-boot")
        with open(data_file_of(reference), "r+b") as file:
            file.write(bytes([data[0] ^ 0xff]))
        stream, offset, _ = store.ingest(reference)
        equal(expected, offset)
        write(stream, data[offset:])
        os.close(stream)
        equal((sha256(data), len(data)), store.commit(reference))
        store.delete(sha256(data))


def test_killed_at_any_moment():
    """Twenty times, or $KILLS: ingest, commit, delete, while the daemon is killed after a random time."""
    random.seed(int(os.environ.get("SEED", "1")))
    data = DATA[:2 * MIB]
    for _ in range(int(os.environ.get("KILLS", "20"))):
        pid = str(daemon_pid("Content"))
        killer = subprocess.Popen(["sh", "-c", f"sleep {random.uniform(0.001, 0.05):.4f}; kill -9 $0", pid],
                                  stderr=subprocess.DEVNULL)
        for step in (lambda: store.put(data, "r"), lambda: store.delete(sha256(data))):
            try:
                step()
            except (GLib.Error, BrokenPipeError):
                pass
        killer.wait()
        wait_for(lambda: not worker_pids())
        systemctl("stop", "crt-content")
        wait_for_answer("Content")
        check_disk()
        for blob in store.list()[0]:
            equal(data, store.read(blob["digest"]))
            store.delete(blob["digest"])
        stream, offset, _ = store.ingest("r")
        close(stream, data[offset:])
        equal((sha256(data), len(data)), store.commit("r"))
        store.delete(sha256(data))


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
