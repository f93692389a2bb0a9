# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens on the disk while it is recorded, with a mark before and after each step."""

import os
import random
import threading

from power_state import GLib, State, content_store, sha256, wait_for
from snapshot_trees import entry, layer
import task_containers

IMAGES = ["localhost:5000/layers:edge", "localhost:5000/busybox:latest"]
LARGE = "localhost:5000/debian:bookworm"
LABEL, NO_LABEL = (GLib.Variant("a{ss}", {"power": value}) for value in ("on", ""))


def own_layers():
    """{key: (layer, parent)}: what is committed without an image."""
    files = [entry(f"many/{number}", f"file {number}\n".encode() * number) for number in range(120)]
    return {
        "first": (layer("many/", *files, entry("large", os.urandom(1 << 20) * 2)), ""),
        "second": (layer(entry("many/7", b"changed\n"), entry("many/.wh.8", b""), entry("empty", b"")), "first"),
        "other": (layer("a/", "a/b/", entry("a/b/c", b"c" * 70000)), ""),
    }


def batch_layers():
    """What is collected together: the records of many things go at once."""
    return {f"batch{number}": (layer(entry(f"batch/{number}", os.urandom(5000))),
                               f"batch{number - 1}" if number % 4 else "") for number in range(8)}


# What is never sent to its end, so that it is continued after every cut.
UNFINISHED, ARRIVED = random.Random(1).randbytes(7 << 20), 5 << 20


def finish_ingest(state):
    """From where it was left; what is hashed is what is sent from there, and what was there."""
    stream, offset, _ = state.store.ingest("unfinished")
    content_store.write(stream, UNFINISHED[offset:])
    os.close(stream)
    digest, size = state.store.commit("unfinished")
    if (digest, size) != (sha256(UNFINISHED), len(UNFINISHED)) or state.store.read(digest) != UNFINISHED:
        yield f"the ingest went on at {offset} to {digest} of {size} bytes"


class Work:
    """Every step makes or takes away one thing. A client's answer is known when its mark is in the log."""

    def __init__(self, disk, images):
        self.disk, self.images = disk, images
        self.layers = {**own_layers(), **batch_layers()}
        self.lock = threading.Lock()
        self.containers = {}
        self.steps = 0

    def step(self, verb, kind, name, action):
        with self.lock:
            self.steps += 1
            number = self.steps
            self.disk.mark(step=number, verb=verb, kind=kind, name=name, state="begin")
        action()
        with self.lock:
            self.disk.mark(step=number, verb=verb, kind=kind, name=name, state="done")

    def pull(self, state, name):
        self.step("make", "image", name, lambda: state.images.pull(name))

    def remove_image(self, state, name):
        self.step("take", "image", name, lambda: state.images.remove(name))

    def put(self, state, data):
        self.step("make", "blob", sha256(data), lambda: state.store.put(data))

    def delete(self, state, data):
        self.step("take", "blob", sha256(data), lambda: state.store.delete(sha256(data)))

    def begin_ingest(self, state):
        """It is told of as one that has ended when all of it outlives the power."""
        def begin():
            stream, _, path = state.store.ingest("unfinished", size=len(UNFINISHED))
            content_store.write(stream, UNFINISHED[:ARRIVED])
            os.close(stream)
            wait_for(lambda: not state.store.ingests()[path]["Writing"], what="the end of the stream")
        self.step("make", "ingest", f"unfinished at {ARRIVED}", begin)

    def label(self, state, data):
        self.step("make", "label", "blob", lambda: state.store.call("Update", sha256(data), labels=LABEL))

    def unlabel(self, state, data):
        self.step("take", "label", "blob", lambda: state.store.call("Update", sha256(data), labels=NO_LABEL))

    def lease(self, state, data):
        """Two steps: it is there, and it names that."""
        made = []
        self.step("make", "lease", "kept", lambda: made.append(state.store.call("CreateLease", "kept")[0][0]))
        self.step("make", "leased", sha256(data),
                  lambda: state.store.lease(made[0]).call("Add", [("content", sha256(data))]))
        return state.store.lease(made[0])

    def release(self, lease, data):
        self.step("take", "leased", sha256(data), lambda: lease.call("Remove", [("content", sha256(data))]))
        self.step("take", "lease", "kept", lambda: lease.call("Delete"))

    def share(self, state, shareable):
        self.step("make" if shareable else "take", "shared", "system",
                  lambda: state.store.call("UpdateNamespace", shareable=shareable))

    def commit(self, state, key):
        data, parent = self.layers[key]
        self.step("make", "snapshot", key, lambda: state.snapshots.put(key, data, parent))

    def remove_snapshot(self, state, key):
        self.step("take", "snapshot", key, lambda: state.snapshots.remove(key))

    def create(self, name, *command):
        """Its tree is kept when it ends."""
        self.step("make", "container", name,
                  lambda: self.containers.update({name: task_containers.create(*command, id=name, image=IMAGES[-1])}))

    def remove_container(self, name):
        self.step("take", "container", name, lambda: self.containers[name].delete(force=True))

    def collect(self, state):
        """What no image and no container needs may go from now on."""
        self.step("collect", "", "", state.collect)

    # ---- all of it ----

    def together(self, *actions):
        failures = []

        def run(action):
            try:
                action(State())
            except (GLib.Error, AssertionError, OSError) as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(action,)) for action in actions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def everything(self):
        """One after the other, so that no other's flush hides a missing one; then all at once."""
        state = State()
        blobs = [os.urandom(size) for size in (0, 1, 70000, 3 << 20)]
        for name in self.images:
            self.pull(state, name)
        for data in blobs:
            self.put(state, data)
        self.begin_ingest(state)
        lease = self.lease(state, blobs[2])
        self.label(state, blobs[2])
        self.share(state, True)
        for key in ("first", "second"):
            self.commit(state, key)
        self.create("sleeper", "sleep", "1000")
        self.create("writer", "sh", "-c", "dd if=/dev/urandom of=/data bs=64k count=20; sync")
        self.containers["sleeper"].start()
        self.containers["writer"].run()
        self.create("late", "true")
        self.delete(state, blobs[1])
        self.remove_snapshot(state, "second")
        self.remove_image(state, self.images[0])
        for key in batch_layers():
            self.commit(state, key)
        for number in range(20):
            self.put(state, b"collected with others %d" % number)
        self.collect(state)
        self.unlabel(state, blobs[2])
        self.release(lease, blobs[2])
        self.share(state, False)
        self.together(lambda other: self.pull(other, self.images[0]), lambda other: self.commit(other, "other"),
                      lambda other: self.put(other, b"at the same time" * 9999),
                      lambda _: self.remove_container("writer"))
        self.together(lambda other: self.remove_image(other, self.images[0]), self.collect,
                      lambda other: self.put(other, os.urandom(100000)))


def forget_what_may_be_collected(found):
    """Of that, nothing is expected any more."""
    found.update({thing: None for thing, there in found.items() if thing[0] in ("blob", "snapshot") and there})


def expected(marks, index):
    """{(kind, name): True, False or None} when the power goes before record number index."""
    found, running = {}, {}
    for at, mark in sorted(marks.items()):
        if at >= index:
            break
        if mark["state"] == "begin":
            running[mark["step"]] = mark
        else:
            running.pop(mark["step"], None)
            if mark["kind"]:
                found[mark["kind"], mark["name"]] = mark["verb"] == "make"
        if mark["verb"] == "collect" and mark["state"] == "done":
            forget_what_may_be_collected(found)
        found.update({(one["kind"], one["name"]): None for one in running.values() if one["kind"]})
    # A collection's plan may be younger than what was made beside it.
    if any(one["verb"] == "collect" for one in running.values()):
        forget_what_may_be_collected(found)
    return found
