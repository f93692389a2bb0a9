#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Daemons and workers are killed at random moments while several clients pull, remove, commit, create and collect:
what was answered for stays, nothing is wrong, all goes on, nothing is leaked. $LONG: 600 kills; $KILLS, $SEED."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from power_state import SERVICES, Cases, GLib, State, check_blobs, check_expected, check_no_leak  # noqa: E402
from power_state import check_trees, error_name, sha256, try_call, wait_for  # noqa: E402
from content_store import write  # noqa: E402
from interfaces import wait_for_answer  # noqa: E402
from power_work import IMAGES, own_layers  # noqa: E402
from snapshot_trees import worker_pids  # noqa: E402
import task_containers  # noqa: E402

KILLS = int(os.environ.get("KILLS") or (600 if os.environ.get("LONG") else 24))
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
KILLS_IN_A_ROUND = 12
WORKERS = ("crt-fetch", "crt-ingest", "crt-unpack", "crt-tree", "crt-inflate", "crt-supervisor")
# What may come of it that somebody was killed, or that something was done half when it was asked for again.
EXPECTED_ERRORS = {"Unavailable", "NoReply", "NotFound", "AlreadyExists", "FailedPrecondition", "Cancelled", "Failed",
                   "ServiceUnknown", "NameHasNoOwner", "UnknownObject", "StartFailed", "Timeout", "Disconnected"}


class Client(threading.Thread):
    """Makes and removes things of its own, one after the other, and knows what it was told about each."""

    def __init__(self, seed, steps):
        super().__init__()
        self.chance, self.steps = random.Random(seed), steps
        self.expected, self.problems, self.count = {}, [], 0
        self.over = threading.Event()

    def attempt(self, kind, name, there, action):
        self.expected[kind, name] = None
        self.count += 1
        try:
            action()
            self.expected[kind, name] = there
        except GLib.Error as error:
            if error_name(error).split(".")[-1] not in EXPECTED_ERRORS:
                self.problems.append(f"{kind} {name}: {error_name(error)}: {error.message}")
        except BrokenPipeError:
            pass  # of a stream whose worker was killed

    def run(self):
        while not self.over.is_set():
            state = State()
            for kind, name, there, action in self.steps(self.chance, state):
                if self.over.is_set():
                    break
                self.attempt(kind, name, there, action)


def image_steps(name):
    def steps(_chance, state):
        yield "image", name, True, lambda: state.images.pull(name)
        yield "image", name, False, lambda: state.images.remove(name)
    return steps


def blob_steps(chance, state):
    data = chance.randbytes(chance.choice((10, 5000, 900000)))
    yield "blob", sha256(data), True, lambda: state.store.put(data)
    yield "blob", sha256(data), False, lambda: state.store.delete(sha256(data))


def ingest_steps(chance, state):
    """In pieces, each from where the last one was left, whoever was killed meanwhile."""
    data = chance.randbytes(3000000)
    reference = sha256(data)

    def send(size):
        stream, offset, _ = state.store.ingest(reference, size=len(data))
        try:
            write(stream, data[offset:size])
        finally:
            os.close(stream)

    yield "piece", reference, None, lambda: send(1000000)
    yield "piece", reference, None, lambda: send(2000000)
    yield "piece", reference, None, lambda: send(len(data))
    yield "blob", reference, True, lambda: state.store.commit(reference)
    yield "blob", reference, False, lambda: state.store.delete(reference)


def lease_steps(chance, state):
    name, data, made = f"l{chance.randrange(1 << 30)}", chance.randbytes(5000), []
    yield "lease", name, True, lambda: made.append(state.store.call("CreateLease", name)[0][0])
    if not made:
        return
    lease = state.store.lease(made[0])
    yield "blob", sha256(data), True, lambda: state.store.put(data, lease=name)
    yield "leased", sha256(data), True, lambda: lease.call("Add", [("content", sha256(data))])
    yield "label", f"blob {sha256(data)}", True, \
        lambda: state.store.call("Update", sha256(data), labels=GLib.Variant("a{ss}", {"power": "on"}))
    yield "leased", sha256(data), False, lambda: lease.call("Remove", [("content", sha256(data))])
    yield "lease", name, False, lambda: lease.call("Delete")


def snapshot_steps(layers):
    def steps(chance, state):
        name = f"own-{chance.randrange(1 << 30)}"
        yield "snapshot", name, True, lambda: state.snapshots.put(name, layers["first"][0])
        yield "snapshot", name, False, lambda: state.snapshots.remove(name)
    return steps


def container_steps(chance, _state):
    name, made = f"c{chance.randrange(1 << 30)}", []
    yield "container", name, True, lambda: made.append(task_containers.create("true", id=name, image=IMAGES[-1]))
    if made:
        yield "container", name, None, made[0].run
        yield "container", name, False, lambda: made[0].delete(force=True)


def collect_steps(_chance, state):
    yield "collection", "", None, state.collect


def kill_somebody(chance):
    """A daemon, or one of the workers that there are just now."""
    time.sleep(chance.uniform(0, 0.25))
    if chance.random() < 0.5:
        unit = f"crt-{chance.choice(SERVICES)}.service"
        pid = int(subprocess.run(["systemctl", "show", "-P", "MainPID", unit], check=True, text=True,
                                 capture_output=True).stdout)
        pids = [pid] if pid else []
    else:
        pids = [pid for name in WORKERS for pid in worker_pids(name)]
    if not pids:
        return 0
    try:
        os.kill(chance.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def settle(state):
    """What was interrupted is tidied up by those that did not know of it."""
    def is_quiet():
        transfers = state.images.objects("org.crt.Images1.Transfer").values()
        return all(one["State"] != "running" for one in transfers) and \
            not any(key.startswith("unpack-") for key in state.snapshots.keys())
    wait_for(is_quiet, 60, "what was interrupted to be tidied up")


def look(clients, trees):  # pylint: disable=cell-var-from-loop
    state = State()
    yield from try_call("settling", lambda: settle(state) or ())
    for client in clients:
        yield from client.problems
        yield from try_call("what was answered for", lambda: check_expected(state, client.expected))
    yield from try_call("blobs", lambda: check_blobs(state))
    yield from try_call("trees", lambda: check_trees(state, trees))
    for name in IMAGES:
        yield from try_call(f"pulling {name}", lambda: state.images.pull(name) and ())
    yield from try_call("collecting", lambda: check_no_leak(state))


class Trees(dict):
    """By key; what clients made is all alike."""

    def __contains__(self, key):
        return key.startswith("own-") or super().__contains__(key)

    def __missing__(self, key):
        return self["first"]


def run_round(number, layers, trees):
    """(kills, calls, problems)"""
    chance = random.Random(SEED + number)
    State().images.pull(IMAGES[-1])
    # What nothing refers to goes with a collection: then only images and containers are there for good.
    with_collection = number % 2 == 1
    steps = [image_steps(IMAGES[0]), container_steps]
    steps += [collect_steps] if with_collection else [blob_steps, ingest_steps, lease_steps, snapshot_steps(layers)]
    clients = [Client(chance.randrange(1 << 30), one) for one in steps]
    for client in clients:
        client.start()
    kills = 0
    while kills < KILLS_IN_A_ROUND:
        kills += kill_somebody(chance)
    for client in clients:
        client.over.set()
    for client in clients:
        client.join()
    wait_for_answer("Content", "Snapshots", "Images", "Tasks")
    for client in clients:
        client.expected = {thing: there for thing, there in client.expected.items()
                           if thing[0] not in ("collection", "piece")}
    return kills, sum(client.count for client in clients), list(look(clients, trees))


def main():
    cases = Cases()
    subprocess.run(["/usr/src/crt/tools/registry", "start"], check=True)
    layers, state = own_layers(), State()
    for name in IMAGES:
        state.images.pull(name)
    state.snapshots.put("first", layers["first"][0])
    trees = Trees({key: state.tree(key) for key in state.committed()})
    state.remove_everything()
    kills = calls = number = 0
    problems = []
    while kills < KILLS:
        done, made, found = run_round(number, layers, trees)
        kills, calls, number = kills + done, calls + made, number + 1
        problems += [f"round {number}: {line[:500]}" for line in found]
        if found:
            break
    cases.case(f"{kills} kills among {calls} calls, seed {SEED}", problems[:20])
    cases.end()


if __name__ == "__main__":
    main()
