#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# vm: --kernel qemu --memory 2G
# only: long
"""The power is cut while blobs and images of layers are sealed with fs-verity, which Debian's kernel has: each is
there, sealed and right, or gone, and can be made again. $POINTS, $SEED."""

import fcntl
import os
import random
import struct
import subprocess
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "host"), os.path.join(TESTS, "power")]
from power_disk import MIB, PowerDisk, Recording, Replay, make_image  # noqa: E402
from power_state import BOOT_ID, Cases, check_databases, power_off, power_on, try_call  # noqa: E402
from content_store import Store, sha256  # noqa: E402
import content_store  # noqa: E402
from snapshot_trees import Snapshots, entry, layer  # noqa: E402
from vm_disk import number_of, put  # noqa: E402
import snapshot_trees  # noqa: E402

FS_IOC_MEASURE_VERITY = 0xC0046686
FOLDER = "/dev/shm/power"
POINTS = int(os.environ.get("POINTS") or 40)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
# One block of hashes, two levels of them, none.
BLOBS = [os.urandom(size) for size in (3 * MIB + 17, 1, 100000, 4096, 600000)] + [b""]
LAYERS = {name: os.urandom(size) for name, size in (("first", 300000), ("second", 2 * MIB))}


def prepare():
    """A boot id that the test sets, and devices."""
    for module in ("fuse", "loop"):
        subprocess.run(["modprobe", module], check=True)
    for folder in (os.path.dirname(BOOT_ID), "/run/crt", FOLDER):
        os.makedirs(folder, exist_ok=True)
    with open(BOOT_ID, "w", encoding="ascii") as file:
        file.write("00000000-0000-0000-0000-000000000000\n")
    subprocess.run(["mount", "--bind", BOOT_ID, "/proc/sys/kernel/random/boot_id"], check=True)


def make_snapshot(name):
    put(Snapshots(), name, layer(entry("small", b"small"), entry("large", LAYERS[name])), "erofs")


def record():
    image = os.path.join(FOLDER, "image")
    make_image(image, size=96 * MIB, options=("-O", "verity", "-b", "4096"))
    disk = PowerDisk(FOLDER, image)
    power_off()
    power_on(disk.file, "commit=300")
    try:
        for data in BLOBS:
            disk.mark(state="begin", kind="blob", name=sha256(data))
            Store().put(data)
            disk.mark(state="done", kind="blob", name=sha256(data))
        for name in LAYERS:
            disk.mark(state="begin", kind="snapshot", name=name)
            make_snapshot(name)
            disk.mark(state="done", kind="snapshot", name=name)
    finally:
        power_off()
        disk.close()
    return Recording(disk.base, disk.log)


def choose(recording, chance):
    """Around flushes, and anywhere, while something is made; what was not flushed is there, is not, or is in pieces."""
    first = min(recording.marks)
    flushes = [index for index in recording.flushes() if index > first]
    points = []
    for number in range(POINTS):
        index = chance.choice(flushes) + chance.randrange(2) if number % 2 else \
            chance.randrange(first, len(recording.records))
        points.append((index, ("all", "none", chance, chance)[number // 2 % 4]))
    return sorted(points, key=lambda point: point[0])


def is_sealed(path):
    with open(path, "rb") as file:
        try:
            fcntl.ioctl(file, FS_IOC_MEASURE_VERITY, bytearray(struct.pack("HH", 0, 64) + bytes(64)))
        except OSError:
            return False
    return True


def look_at_blobs(store, wanted):
    found = {blob["digest"]: blob for blob in store.list()[0]}
    yield from (f"blob {digest} is gone" for digest in wanted if digest not in found)
    for digest, blob in found.items():
        name = digest.split(":")[1]
        if sha256(store.read(digest)) != digest:
            yield f"blob {digest} is wrong"
        if blob["state"] != "good" or not blob["verity"] or \
                not is_sealed(f"{content_store.STATE}/blobs/sha256/{name[:2]}/{name}"):
            yield f"blob {digest}: {blob}"


def look_at_snapshots(store, wanted):
    found = [one["key"] for one in store.list()[0] if one["kind"] == "committed"]
    yield from (f"snapshot {name} is gone" for name in wanted if name not in found)
    for name in found:
        if not is_sealed(f"{snapshot_trees.STATE}/trees/{number_of(name)}/layer.erofs"):
            yield f"the image of {name} is not sealed"
        if not snapshot_trees.rows(f"SELECT id FROM snapshots WHERE key = '{name}' AND verity LIKE '1:%'"):
            yield f"the record of {name} does not say how its image is sealed"
        store.view("look", name)
        with store.mount("look") as top, open(f"{top}/large", "rb") as file:
            if file.read() != LAYERS[name]:
                yield f"snapshot {name} is wrong"
        store.remove("look")


def make_again(store, snapshots):
    for data in BLOBS:
        store.put(data)
    there = [one["key"] for one in snapshots.list()[0]]
    if "new" in there:
        snapshots.remove("new")
    for name in LAYERS.keys() - set(there):
        make_snapshot(name)
    yield from look_at_blobs(store, map(sha256, BLOBS))
    yield from look_at_snapshots(snapshots, LAYERS)
    content_store.check_disk()
    snapshot_trees.check_disk()


def look(recording, index):
    answered = {"blob": [], "snapshot": []}
    for at, mark in recording.marks.items():
        if at < index and mark["state"] == "done":
            answered[mark["kind"]].append(mark["name"])
    yield from check_databases()
    store, snapshots = Store(), Snapshots()
    yield from try_call("blobs", lambda: look_at_blobs(store, answered["blob"]))
    yield from try_call("snapshots", lambda: look_at_snapshots(snapshots, answered["snapshot"]))
    yield from try_call("again", lambda: make_again(store, snapshots))


def main():
    cases, problems, chance = Cases(), [], random.Random(SEED)
    prepare()
    recording = record()
    replay, target = Replay(recording, FOLDER), os.path.join(FOLDER, "cut")
    for index, choice in choose(recording, chance):
        replay.cut(index, choice, target)
        power_on(target)
        problems += [f"record {index} of {len(recording.records)}, unsynced: {choice}: {line[:600]}"
                     for line in look(recording, index)]
        power_off()
        os.unlink(target)
    replay.close()
    cases.case(f"power cuts while things are sealed, {POINTS} of {len(recording.records)} points, seed {SEED}",
               problems)
    cases.end()


if __name__ == "__main__":
    main()
