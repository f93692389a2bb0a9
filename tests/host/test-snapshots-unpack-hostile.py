#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# host: --disk 2G
"""Hostile layers (hostile_layers.py) against the real worker: each is refused with its error and its sentence, and
nothing outside of its tree has changed; and the worker's processes hold nothing worth taking them over for."""

import functools
import hashlib
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import refuses_to_start_with  # noqa: E402
from hostile_layers import CASES, GOOD  # noqa: E402
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import GLib, STATE, Snapshots, check_disk, main_pid, part_pids, run_cases, sha256  # noqa: E402

store = Snapshots()
OUTSIDE = ("/outside", "/etc/crt-outside", f"{STATE}/outside", f"{STATE}/trees/outside", "/var/lib/crt/outside")


def clean():
    use_setting(None)
    store.clear()
    check_disk()


def plain(data):
    """The archive that a DiffID is about, as far as it can be had."""
    for magic, tool in ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")):
        if data.startswith(magic):
            return subprocess.run([tool, "-dc"], input=data, capture_output=True).stdout
    return data


def fingerprint(path):
    st = os.lstat(path)
    fields = [path, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_size, st.st_mtime_ns, st.st_ctime_ns]
    if os.path.isfile(path):
        with open(path, "rb") as file:
            fields.append(hashlib.sha256(file.read()).hexdigest())
        fields.append(os.listxattr(path))
    return fields


def sentinels():
    """What lies around: files that escapes would hit, another tree, and the places where devices would appear."""
    found = [fingerprint(path) for path in OUTSIDE]
    for directory, _, files in os.walk(SENTINEL_TREE):
        found += [fingerprint(os.path.join(directory, name)) for name in ("", *sorted(files))]
    found.append(sorted(os.listdir("/")) + sorted(os.listdir("/etc")) + sorted(os.listdir("/dev")))
    return found


def make_sentinels():
    for path in OUTSIDE:
        with open(path, "w", encoding="ascii") as file:
            file.write("untouched")
        os.chmod(path, 0o600)
    store.put("sentinel", layer("d/", entry("d/f", b"untouched"), entry("outside", b"untouched")))
    return f"{STATE}/trees/{rows('SELECT id FROM snapshots')[0][0]}"


def outcome(data, options):
    """What Unpack says: None, or (error's name, sentence)."""
    store.prepare("x")
    try:
        store.unpack("x", data, sha256(plain(data)), **options)
    except GLib.Error as error:
        return error.message.split(": ", 2)[-2].replace("GDBus.Error:", "").strip(), error.message
    return None


def check_case(name, make, before):
    data, error, say, options = make()
    got = outcome(data, options)
    if error is None:
        assert got is None, f"{name}: {got}"
    else:
        assert got, f"{name}: was taken"
        assert error in got[1] and say in got[1], f"{name}: {got[1]}"
        assert len(got[1]) < 1500 and all(" " <= c <= "~" for c in got[1]), f"{name}: {got[1]!r}"
    after = sentinels()
    assert before == after, f"{name}: {[(b, a) for b, a in zip(before, after) if b != a]}"
    tree = [t for t in os.listdir(f"{STATE}/trees") if t.isdigit() and f"{STATE}/trees/{t}" != SENTINEL_TREE]
    assert len(tree) <= 1 and (not tree or set(os.listdir(f"{STATE}/trees/{tree[0]}")) <= {"fs", "work", "notes"}), name
    store.remove("x")


def check_all(cases):
    global SENTINEL_TREE
    SENTINEL_TREE = make_sentinels()
    before, problems = sentinels(), []
    for name, make in cases.items():
        try:
            check_case(name, make, before)
        except AssertionError as problem:
            problems.append(str(problem)[:300])
            store.clear()
            SENTINEL_TREE = make_sentinels()
            before = sentinels()
    assert not problems, "\n".join(problems)


def test_every_hostile_layer_is_refused_by_name():
    assert len(CASES) >= 100, len(CASES)
    check_all(CASES)


def test_strange_layers_are_taken():
    check_all(GOOD)


def set_variable(name, value):
    use_setting(f"Environment={name}={value}")


def test_an_administrator_sets_lower_limits():
    many, large = layer(*[entry(f"{i}", b"x") for i in range(20)]), layer(entry("f", bytes(2 << 20)))
    use_setting("Environment=CRT_SNAPSHOTS_LAYER_SIZE=1048576 CRT_SNAPSHOTS_LAYER_ENTRIES=10")
    for data, say, options in ((many, "more than 10 entries", {}), (many, "more than 5 entries", {"max-entries": 5}),
                               (large, "more than 1048576 bytes", {}), (large, "than 4096 bytes", {"max-size": 4096})):
        got = outcome(data, options)
        assert got and "LimitsExceeded" in got[1] and say in got[1], got
        store.remove("x")
    for options in ({"max-size": 0}, {"max-size": (1 << 20) + 1}, {"max-entries": 0}, {"max-entries": 11}):
        got = outcome(many, options)
        assert got and "InvalidArgs" in got[1] and f"'{next(iter(options))}': must be from 1 to 1" in got[1], got
        store.remove("x")
    assert outcome(layer(*[entry(f"{i}", b"x") for i in range(10)]), {}) is None
    store.remove("x")
    for variable in ("LAYER_SIZE", "LAYER_ENTRIES", "BYTES_PER_USER"):
        name = f"CRT_SNAPSHOTS_{variable}"
        refuses_to_start_with(name, functools.partial(set_variable, name), store.keys)
    use_setting(None)
    assert outcome(many, {}) is None


# ---- what could be won by taking over one of the processes ----

def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def check_part(pid, capabilities, opened):
    wait_for(lambda: status(pid)["Seccomp"] == "2", what="the filter")
    for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        equal(capabilities if kind in ("CapPrm", "CapEff") else 0, int(status(pid)[kind], 16))
    equal("1", status(pid)["NoNewPrivs"])
    for kind in ("mnt", "net", "ipc", "uts", "pid"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/{main_pid()}/ns/{kind}"), kind
    with open(f"/proc/{pid}/mountinfo", encoding="ascii") as table:
        lines = table.read().splitlines()
    equal(1, len(lines))
    for flag in ("nosuid", "nodev", "noexec", "nosymfollow"):
        assert flag in lines[0].split()[5].split(","), lines[0]
    # Besides standard input and output, and stderr.
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2]
    equal(sorted(opened), sorted(link.split(":")[0].split("/")[-1] for link in links))


def test_a_worker_reaches_nothing_but_its_tree():
    store.prepare("other")
    store.prepare("p")
    job, write_end, rest = slow_layer("p", store)
    worker = worker_pids()[0]
    wait_for(lambda: len(part_pids(worker)) == 3, what="all three")
    relay, decompress, writer = part_pids(worker)
    wait_for(lambda: os.listdir(f"/proc/{writer}/root"), what="the first directory")
    equal(["first"], os.listdir(f"/proc/{writer}/root"))
    # CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP
    check_part(writer, 0x8800001b, ["", "file", "first", "notes", "socket"])
    check_part(decompress, 0, ["pipe", "socket"])
    check_part(relay, 0, ["socket"] * 4)  # the journal, the daemon, the two others
    write(write_end, rest)
    os.close(write_end)
    store.wait(job)


def sentence(job):
    try:
        return f"succeeded with {store.wait(job)}"
    except GLib.Error as error:
        return error.message


def test_a_process_that_dies_is_explained():
    for which, what in ((1, "decompresses"), (2, "writes")):
        store.prepare("p")
        job, write_end, _ = slow_layer("p", store)
        worker = worker_pids()[0]
        wait_for(lambda: len(part_pids(worker)) == 3, what="all three")
        os.kill(part_pids(worker)[which], signal.SIGKILL)
        message = sentence(job)
        assert f"The process that {what} the layer was killed by SIGKILL" in message, message
        wait_for(lambda: not worker_pids(), what="the end of the workers")
        os.close(write_end)
        store.remove("p")


def test_nothing_is_left_of_a_worker_that_dies():
    store.prepare("p")
    job, write_end, _ = slow_layer("p", store)
    worker = worker_pids()[0]
    wait_for(lambda: len(part_pids(worker)) == 3, what="all three")
    parts = part_pids(worker)
    os.kill(parts[0], signal.SIGKILL)
    assert "killed by SIGKILL" in sentence(job)
    wait_for(lambda: not [pid for pid in parts if os.path.exists(f"/proc/{pid}")], what="the end of all parts")
    os.close(write_end)


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
