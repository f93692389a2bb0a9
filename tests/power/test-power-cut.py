#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The power is cut while images are pulled and removed, layers committed, containers made and things collected: at
every point, with what was not flushed written, lost or in pieces, nothing that was answered for is gone, nothing is
wrong, and all can go on. $LONG: several hundred points on three file systems; $SEED, $POINTS, $FILE_SYSTEM,
$AT: right after all answers about the thing of that name."""

import os
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from power_disk import PowerDisk, Recording, Replay, make_image  # noqa: E402
from power_state import Cases, State, check_blobs, check_databases, check_expected, check_no_leak  # noqa: E402
from power_state import check_trees, power_off, power_on, try_call  # noqa: E402
from power_work import IMAGES, LARGE, Work, expected, finish_ingest  # noqa: E402

LONG = bool(os.environ.get("LONG"))
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
FOLDER = "/tmp/power"
# Kind, options of the mount, points, images. A journal that commits seldom makes a missing sync seen.
SHORT_FORM = [("ext4", "commit=300", 10, IMAGES), ("btrfs", "commit=300", 6, IMAGES)]
LONG_FORM = [("ext4", "commit=300", 200, IMAGES), ("xfs", "", 60, IMAGES), ("btrfs", "commit=300", 60, IMAGES),
             ("ext4", "", 30, [LARGE, *IMAGES])]


def learn(images):
    """{key: tree} of all that will be committed, as it is without a cut."""
    state = State()
    for name in images:
        state.images.pull(name)
    work = Work(None, images)
    for key, (data, parent) in work.layers.items():
        state.snapshots.put(key, data, parent)
    trees = {key: state.tree(key) for key in state.committed()}
    chains = {name: state.images.pull(name)["chain-id"] for name in images}
    state.remove_everything()
    return work.layers, trees, chains


def record(folder, kind, options, images, layers):
    os.makedirs(folder, exist_ok=True)
    image = os.path.join(folder, "image")
    make_image(image, kind)
    disk = PowerDisk(folder, image)
    power_off()
    power_on(disk.file, options, kind)
    try:
        work = Work(disk, images)
        work.layers = layers
        work.everything()
        disk.mark(state="done", step=0, verb="end", kind="", name="")
    finally:
        power_off()
        disk.close()
    return Recording(disk.base, disk.log)


def between(recording, verb, kind):
    """After each flush of such a step and of what it leaves for later: a record has gone, what it named has not."""
    found = []
    for at, mark in recording.marks.items():
        if (mark["state"], mark["verb"], mark["kind"]) == ("begin", verb, kind):
            end = min((index for index, other in recording.marks.items() if index > at and other["state"] == "begin"),
                      default=len(recording.records))
            found += [index + 1 for index in recording.flushes() if at < index < end]
    return found


def choose(recording, count, chance):
    """[(index, choice)]: right after answers, with nothing but what was flushed; while a snapshot is removed, and
    while things are collected; before and after flushes; anywhere."""
    if os.environ.get("AT"):
        return [(index + 1, "none") for index, mark in recording.marks.items()
                if mark["state"] == "done" and mark["name"] == os.environ["AT"]]
    answers = [index + 1 for index, mark in recording.marks.items() if mark["state"] == "done"]
    flushes = recording.flushes()
    points = [(index, "none") for index in chance.sample(answers, min(len(answers), count // 3))]
    for verb, kind in (("take", "snapshot"), ("collect", "")):
        removals = between(recording, verb, kind)
        points += [(chance.choice(removals), choice) for choice in ("none", "all", chance)[:count // 4] if removals]
    for number in range(count - len(points)):
        index = chance.choice(flushes) + chance.randrange(2) if number % 2 else chance.randrange(len(recording.records))
        points.append((index, ("all", "none", chance, chance)[number % 4]))
    return sorted(points, key=lambda point: point[0])


def finish(state, images, trees, chains):
    """What was not finished can be."""
    for name in images:
        chain = state.images.pull(name)["chain-id"]
        if chain != chains[name]:
            yield f"{name} has become {chain}"
    yield from check_trees(state, trees)
    yield from finish_ingest(state)


def look(wanted, images, trees, chains):
    yield from check_databases()
    state = State()
    yield from try_call("what was answered for", lambda: check_expected(state, wanted))
    yield from try_call("blobs", lambda: check_blobs(state))
    yield from try_call("snapshots", lambda: check_trees(state, trees))
    yield from try_call("finishing", lambda: finish(state, images, trees, chains))
    yield from try_call("collecting", lambda: check_no_leak(state))


def run(cases, number, form, known):
    kind, options, count, images = form
    count = int(os.environ.get("POINTS") or count)
    layers, trees, chains = known
    folder = os.path.join(FOLDER, str(number))
    chance = random.Random(SEED + number)
    recording = record(folder, kind, options, images, layers)
    replay, target = Replay(recording, folder), os.path.join(folder, "cut")
    began, problems = time.monotonic(), []
    for index, choice in choose(recording, count, chance):
        replay.cut(index, choice, target)
        power_on(target, kind=kind)
        found = list(look(expected(recording.marks, index), images, trees, chains))
        if found:
            steps = [mark for at, mark in recording.marks.items() if at < index]
            problems.append(f"record {index} of {len(recording.records)}, unsynced: {choice}, after {steps[-1:]}")
            problems += [f"    {line[:600]}" for line in found[:6]]
        power_off()
        os.unlink(target)
    replay.close()
    shutil.rmtree(folder)
    cases.case(f"power cuts on {kind}{' with ' + options if options else ''}, {count} of {len(recording.records)} "
               f"points, seed {SEED}, {time.monotonic() - began:.0f} s", problems)


def main():
    cases = Cases()
    subprocess.run(["/usr/src/crt/tools/registry", "start"], check=True)
    forms = LONG_FORM if LONG else SHORT_FORM
    if os.environ.get("FILE_SYSTEM"):
        forms = [form for form in LONG_FORM if form[0] == os.environ["FILE_SYSTEM"]]
    known = learn(forms[-1][-1])
    for number, form in enumerate(forms):
        run(cases, number, form, known)
    cases.end()


if __name__ == "__main__":
    main()
