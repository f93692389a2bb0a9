#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that is full at any write, has no inodes left, is read-only, or fails to read, write or flush: each gets the
right error, nothing that was there is lost, and all goes on when the disk is well again. $LONG: in many more steps."""

import errno
import os
import re
import stat
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from power_disk import MIB, PowerDisk, copy, make_image, run  # noqa: E402
from power_state import STATE, GLib, State, check_blobs, check_databases, check_expected, check_no_leak  # noqa: E402
from power_state import check_trees, kill_services, power_off, power_on, sha256, try_call  # noqa: E402
from content_store import error_name, run_cases, wait_for, worker_pids, write  # noqa: E402
from interfaces import kill_processes  # noqa: E402
from power_work import IMAGES, own_layers  # noqa: E402
import task_containers  # noqa: E402

LONG = bool(os.environ.get("LONG"))
FOLDER = "/tmp/power"
IMAGE, BASE = os.path.join(FOLDER, "image"), os.path.join(FOLDER, "prepared")
FILLER = os.path.join(STATE, "filler")
EDGE, BUSYBOX = IMAGES
# Half of what the four actions need, to be in their middle.
WRITES = 150
LAYERS = own_layers()
KEPT = os.urandom(100000)
LABELLED = os.urandom(5000)
NEW = os.urandom(1500000)
TREES, DIFF = {}, {}
LABEL = GLib.Variant("a{ss}", {"power": "on"})
WANTED = {("image", BUSYBOX): True, ("blob", sha256(KEPT)): True, ("blob", sha256(LABELLED)): True,
          ("snapshot", "first"): True, ("container", "kept"): True}


# ---- what is tried while the disk is ill ----

def pull(state):
    state.images.pull(EDGE)


def put(state):
    stream, offset, _ = state.store.ingest("new")
    try:
        write(stream, NEW[offset:])
    except BrokenPipeError:
        pass  # the commit says why
    os.close(stream)
    state.store.commit("new")


def commit(state):
    state.snapshots.put("other", LAYERS["other"][0])


def create(_state):
    task_containers.create("true", id="new", image=BUSYBOX).run()


def label_blob(state):
    state.store.call("Update", sha256(LABELLED), labels=LABEL)


def label_snapshot(state):
    state.snapshots.call("Update", "first", labels=LABEL)


def lease(state):
    state.store.call("CreateLease", "new")
    state.store.call("GetLease", "new")


def diff(state):
    """All of it, or an error."""
    (handle, job), fds = state.snapshots.call("Diff", "first")
    with os.fdopen(fds.steal_fds()[handle], "rb") as stream:
        data = stream.read()
    assert state.snapshots.wait(job)["digest"] == sha256(data)
    assert DIFF.setdefault("first", data) == data, "the layer has changed"


def remove(state):
    state.store.delete(sha256(KEPT))


MADE = {pull: ("image", EDGE), put: ("blob", sha256(NEW)), commit: ("snapshot", "other"), create: ("container", "new"),
        label_blob: ("label", "blob"), label_snapshot: ("label", "snapshot"), lease: ("lease", "new"),
        diff: ("snapshot", "first"), remove: ("blob", sha256(KEPT))}
MAKING = [put, label_blob, label_snapshot, lease, diff, commit, pull, create]


# What is said of a disk that fails. A service whose state can't be read or written at all says so as well.
BROKEN = re.compile("Input/output error|Read-only file system|The disk failed|Structure needs cleaning")


def is_right(error, allowed):
    name = error_name(error).split(".")[-1]
    return name in allowed and (name != "Failed" or BROKEN.search(error.message))


def attempt(action, allowed, expected):
    """Problems; expected learns what was answered for."""
    try:
        action(State())
    except GLib.Error as error:
        expected[MADE[action]] = True if action is diff else None
        if not is_right(error, allowed):
            yield f"{action.__name__} fails with {error_name(error)}: {error.message}"
    else:
        expected[MADE[action]] = action is not remove


def undo(state):
    """What was tried can be tried again."""
    for container in list(state.containers() - {"kept"}):
        task_containers.Container(task_containers.call(
            state.images.connection, task_containers.NAME, task_containers.PATH, task_containers.MANAGER, "Get",
            GLib.Variant("(sa{sv})", (container, {})))[0][0]).delete(force=True)
    if EDGE in state.image_names():
        state.images.remove(EDGE)
    for key in set(state.snapshots.keys()) & {"other", "new-other"}:
        state.snapshots.remove(key)
    for ingest in state.store.ingests().values():
        state.store.abort(ingest["Reference"])
    if sha256(NEW) in state.blobs():
        state.store.delete(sha256(NEW))
    for one in state.store.leases():
        one.call("Delete")
    if sha256(KEPT) not in state.blobs():
        state.store.put(KEPT)
    state.store.call("Update", sha256(LABELLED), labels=GLib.Variant("a{ss}", {"power": ""}))
    state.snapshots.call("Update", "first", labels=GLib.Variant("a{ss}", {"power": ""}))


def look(expected):
    """The disk is well again."""
    state = State()
    yield from try_call("what was there", lambda: check_expected(state, expected))
    yield from try_call("blobs", lambda: check_blobs(state))
    yield from try_call("trees", lambda: check_trees(state, TREES))


def go_on(actions):
    """Afterwards the same succeeds."""
    undo(State())
    for action in actions:
        action(State())
    yield from look({**WANTED, **{MADE[action]: action is not remove for action in actions}})


# ---- the disk ----

def prepare():
    """An image with something on it; every case begins with a copy."""
    os.makedirs(FOLDER, exist_ok=True)
    make_image(BASE, options=("-N", "6000"))
    power_off()
    power_on(BASE)
    state = State()
    for name in IMAGES:
        state.images.pull(name)
    for key in ("first", "other"):
        state.snapshots.put(key, LAYERS[key][0])
    TREES.update({key: state.tree(key) for key in state.committed()})
    state.images.remove(EDGE)
    state.snapshots.remove("other")
    state.store.put(KEPT)
    state.store.put(LABELLED)
    diff(state)
    task_containers.create("true", id="kept", image=BUSYBOX)
    power_off()


def begin():
    power_off()
    copy(BASE, IMAGE)
    power_on(IMAGE)


def leave_room(size):
    """About so many bytes: all is filled, and then so much of it given back."""
    fd = os.open(FILLER, os.O_RDWR | os.O_CREAT)
    end, step = os.fstat(fd).st_size, 8 * MIB
    while step >= 4096:
        try:
            os.posix_fallocate(fd, end, step)
            end += step
        except OSError:
            step //= 4
    os.ftruncate(fd, end - size)
    os.close(fd)


def steps(last, short, long):
    """From 0 to last."""
    count = long if LONG else short
    return [last * number // (count - 1) for number in range(count)]


def free_again():
    os.unlink(FILLER)
    os.sync()


def raise_problems(where, problems):
    problems = list(problems)
    if problems:
        raise AssertionError(f"{where}: {'; '.join(problems)[:900]}")


def starve(where, make_room, restart):
    """One round: everything is tried while there is nothing, then there is room again."""
    def round_of_it():
        expected = dict(WANTED)
        if restart:
            kill_services()
        for action in (*MAKING, remove):
            yield from attempt(action, ["NoSpace"], expected)
        make_room()
        yield from look(expected)
        yield from go_on(MAKING)
        undo(State())
    raise_problems(where, round_of_it())


# ---- cases ----

def test_full_at_every_write():
    begin()
    for room in steps(4 * MIB, 4, 80):
        leave_room(room)
        starve(f"{room} bytes free", free_again, restart=room % 3 == 0)
    raise_problems("in the end", check_no_leak(State()))


def test_no_inode_left():
    begin()
    folder = os.path.join(STATE, "inodes")
    for left in steps(600, 2, 40):
        os.makedirs(folder)
        for number in range(max(os.statvfs(STATE).f_ffree - left, 0)):
            os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY))
        starve(f"{left} inodes left", lambda: run("rm", "-rf", folder), restart=left % 2 == 0)
    raise_problems("in the end", check_no_leak(State()))


def test_read_only():
    """By its mount, and because its journal has broken off."""
    for how in ("ro", "abort"):
        begin()
        State().blobs()
        if how == "ro":
            kill_services()
        run("mount", "-o", f"remount,{how}", STATE)
        expected, problems = dict(WANTED), []
        for action in (*MAKING, remove):
            problems += attempt(action, ["ReadOnly"], expected)
        power_off()
        power_on(IMAGE)
        problems += look(expected)
        problems += go_on(MAKING)
        problems += check_no_leak(State())
        raise_problems(how, problems)


def forget_pages(*folders):
    """What is below is read from the disk again."""
    for top in folders:
        for folder, _, files in os.walk(os.path.join(STATE, top)):
            for name in files:
                path = os.path.join(folder, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    with open(path, "rb") as file:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fail_once(kind, skip, count, actions):
    """On a disk that fails so; then the machine starts again with a disk that is well and has what was written."""
    folder = os.path.join(FOLDER, "ill")
    copy(BASE, IMAGE)
    disk = PowerDisk(folder, IMAGE)
    power_off()
    power_on(disk.file)
    expected, problems = dict(WANTED), []
    before = disk.counts()
    try:
        State().blobs()
        if kind == "read":
            kill_services()
            forget_pages(".")
        disk.fail(kind, skip, count)
        for action in actions:
            problems += attempt(action, ["Failed", "ReadOnly"], expected)
    finally:
        seen = disk.counts()[kind] - before[kind]
        disk.heal()
        power_off()
        store = os.path.join(folder, "store")
        disk.close()
    power_on(store)
    problems += check_databases()
    problems += look(expected)
    problems += go_on(MAKING)
    problems += check_no_leak(State())
    power_off()
    os.unlink(store)
    raise_problems(f"{count} {kind}s fail after {skip}", problems)
    return seen


def fail_everywhere(kind, count, short, long):
    """The first is at the beginning, the last after all that is written without a failure."""
    last = fail_once(kind, 1 << 40, 0, MAKING) if LONG else WRITES
    for skip in steps(last, short, long):
        fail_once(kind, skip, count, MAKING)


def test_writes_fail():
    fail_everywhere("write", 1 << 40, 2, 60)


def test_single_writes_fail():
    fail_everywhere("write", 1, 2, 60)


def test_what_is_answered_after_a_failed_write_stays():
    """The log of a database has a gap then, unless it begins anew."""
    for skip in range(7, 10):
        fail_once("write", skip, 1, [put, label_blob, lease])


def test_flushes_fail():
    for skip in steps(60, 20, 20) if LONG else [5]:
        fail_once("flush", skip, 1 << 40, MAKING)


def test_reads_fail():
    # Among the last ones are those of an index that SQLite maps, where only a signal could tell of an error.
    for skip in range(31) if LONG else [4, *range(11, 17)]:
        fail_once("read", skip, 1 << 40, MAKING)


def expect_failed(what, action):
    try:
        action()
    except GLib.Error as error:
        if error_name(error) != "org.crt.Error.Failed" or "Input/output error" not in error.message:
            yield f"{what} fails with {error_name(error)}: {error.message}"
    else:
        yield f"{what} succeeds"


def verify_blobs(state, digest=""):
    return state.store.wait(state.store.call("Verify", digest)[0][0])


def ingest_all(state):
    """All that is missing is the commit, and nobody remembers what has come."""
    stream, _, path = state.store.ingest("new")
    write(stream, NEW)
    os.close(stream)
    wait_for(lambda: not state.store.ingests()[path]["Writing"], what="the end of the stream")
    kill_processes(worker_pids())
    wait_for(lambda: not worker_pids(), what="the end of the worker")
    os.sync()


def verify_snapshot(state):
    return state.snapshots.wait(state.snapshots.call("Verify", "first")[0][0])


def look_at_blobs_that_can_not_be_read(state, count):
    yield from expect_failed("Verify of one blob", lambda: verify_blobs(state, sha256(KEPT)))
    job = state.store.call("Verify", "")[0][0]
    yield from expect_failed("Verify of all blobs", lambda: state.store.wait(job))
    result = state.store.properties(job, "org.crt.Content1.Job")["Result"]
    if (result["unreadable"], result["damaged"]) != (str(count), "0"):
        yield f"Verify of all blobs says {result}"
    forget_pages("content/blobs")
    try:
        state.store.read(sha256(KEPT))
        yield "the blob can be read"
    except OSError as error:
        if error.errno != errno.EIO:
            yield f"reading a blob fails with {error}"


def test_what_can_not_be_read_is_not_damaged():
    """All of it is there again when the disk is well."""
    folder = os.path.join(FOLDER, "ill")
    copy(BASE, IMAGE)
    disk = PowerDisk(folder, IMAGE)
    power_off()
    power_on(disk.file)
    try:
        state = State()
        count = len(state.blobs())
        state.snapshots.list()
        ingest_all(state)
        forget_pages("content/blobs", "content/ingest", "snapshots/trees")
        disk.fail("read")
        problems = list(look_at_blobs_that_can_not_be_read(state, count))
        problems += expect_failed("Diff", lambda: diff(state))
        problems += expect_failed("Verify of a snapshot", lambda: verify_snapshot(state))
        problems += [f"{entry['key']} is {entry['state']}" for entry in state.snapshots.list()[0]
                     if entry["state"] == "damaged"]
        problems += expect_failed("Commit", lambda: state.store.commit("new"))
        disk.heal()
        problems += [] if state.store.commit("new") == (sha256(NEW), len(NEW)) else ["another blob was committed"]
        result = verify_blobs(state)
        if (result["damaged"], result["unreadable"], result["missed"]) != ("0", "0", "0"):
            problems.append(f"afterwards Verify says {result}")
        problems += look(WANTED)
        problems += [str(result)] if (result := verify_snapshot(state))["damaged"] else []
        # What is wrong in passing is no error at all.
        forget_pages("content/blobs")
        disk.fail("read", 0, 1)
        problems += [str(result)] if (result := verify_blobs(state, sha256(KEPT)))["damaged"] != "0" else []
    finally:
        disk.heal()
        power_off()
        disk.close()
    os.unlink(os.path.join(folder, "store"))
    raise_problems("no read succeeds", problems)


if __name__ == "__main__":
    subprocess.run(["/usr/src/crt/tools/registry", "start"], check=True)
    prepare()
    run_cases([f for name, f in list(globals().items()) if name.startswith("test_")])
