# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk below /var/lib/crt that remembers every write and flush, and what it may hold after a loss of power."""

import ctypes
import json
import os
import shutil
import stat
import struct
import subprocess
import time

PROGRAM = "/usr/src/crt-build/tests/power/power-disk"
MIB = 1 << 20
WRITE, DISCARD, FLUSH, MARK = 1, 2, 3, 4
HEADER = struct.Struct("=QQQ")
SECTOR = 4096
PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
LOOP_DEVICES = 64
libc = ctypes.CDLL(None, use_errno=True)

FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"], 256 * MIB),
    "xfs": (["mkfs.xfs", "-q", "-K"], 512 * MIB),
    "btrfs": (["mkfs.btrfs", "-q", "-K"], 512 * MIB),
}


def run(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stdout.strip()}")
    return done.stdout


def make_loop_devices():
    """A private host's /dev has none."""
    for name, kind, major, minor in [("loop-control", stat.S_IFCHR, 10, 237),
                                     *((f"loop{n}", stat.S_IFBLK, 7, n) for n in range(LOOP_DEVICES))]:
        if not os.path.exists(f"/dev/{name}"):
            os.mknod(f"/dev/{name}", kind | 0o600, os.makedev(major, minor))


def mount(image, where, options="", kind="ext4"):
    """With a loop device of its own, which goes when the mount does. What else the bytes may look like is not asked:
    a cut leaves much."""
    make_loop_devices()
    run("mount", "-t", kind, "-o", ",".join(filter(None, ["loop,nodev", options])), image, where)
    os.chmod(where, 0o755)


def unmount(where):
    """Whatever still held it was just killed, and may need a moment, on a busy machine a longer one."""
    for _ in range(5000):
        if subprocess.run(["umount", where], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.02)
    run("umount", where)


def copy(source, target):
    run("cp", "--sparse=always", "--reflink=auto", source, target)


def make_image(path, kind="ext4", size=None, options=()):
    command, usual = FILE_SYSTEMS[kind]
    with open(path, "wb") as file:
        file.truncate(size or usual)
    run(*command, *options, path)


class PowerDisk:
    """The program below a loop device; folder gets "disk", "store", "base" and "log"."""

    def __init__(self, folder, image):
        self.file, self.base, self.log = (os.path.join(folder, name) for name in ("disk", "base", "log"))
        store = os.path.join(folder, "store")
        os.makedirs(folder, exist_ok=True)
        shutil.move(image, self.base)
        copy(self.base, store)
        with open(self.file, "wb"):
            pass
        self.process = subprocess.Popen([PROGRAM, self.file, store, self.log], text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "ready\n", "power-disk did not start"

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        return [int(word) for word in self.process.stdout.readline().split()]

    def mark(self, **what):
        self.tell("mark " + json.dumps(what))

    def fail(self, kind, skip=0, count=1 << 60):
        """kind: read, write, flush."""
        self.tell(f"fail {kind} {skip} {count}")

    def heal(self):
        for kind in ("read", "write", "flush"):
            self.fail(kind, 0, 0)

    def counts(self):
        return dict(zip(("read", "write", "flush"), self.tell("count")))

    def close(self):
        """After the unmount."""
        self.process.stdin.close()
        self.process.wait(timeout=300)


class Recording:
    """What a PowerDisk has written down: records (kind, offset, length, position of the data)."""

    def __init__(self, base, log):
        self.base, self.log = base, log
        self.records, self.marks = [], {}
        with open(log, "rb") as file:
            while header := file.read(HEADER.size):
                kind, offset, length = HEADER.unpack(header)
                position = file.tell()
                if kind == MARK:
                    self.marks[len(self.records)] = json.loads(file.read(length))
                elif kind == WRITE:
                    file.seek(length, os.SEEK_CUR)
                self.records.append((kind, offset, length, position))

    def flushes(self):
        return [index for index, record in enumerate(self.records) if record[0] == FLUSH]


class Replay:
    """Disks as they may be after a cut, made in the order of the cuts."""

    def __init__(self, recording, folder):
        self.recording = recording
        self.durable = os.path.join(folder, "durable")
        copy(recording.base, self.durable)
        self.at = 0
        self.log = os.open(recording.log, os.O_RDONLY)

    def close(self):
        os.close(self.log)
        os.unlink(self.durable)

    def apply(self, disk, record, pieces=None):
        """Into the file that disk is open on; pieces: which 4 KiB of it, all unless told."""
        kind, offset, length, position = record
        if kind == DISCARD:
            libc.fallocate(disk, PUNCH_HOLE, ctypes.c_long(offset), ctypes.c_long(length))
        if kind != WRITE:
            return
        data = os.pread(self.log, length, position)
        for start in range(0, length, SECTOR) if pieces is not None else ():
            if pieces():
                os.pwrite(disk, data[start:start + SECTOR], offset + start)
        if pieces is None:
            os.pwrite(disk, data, offset)

    def advance(self, index):
        """All that had been flushed before is on the disk for good."""
        last = max((i for i in self.recording.flushes() if i < index), default=0)
        disk = os.open(self.durable, os.O_WRONLY)
        while self.at < last:
            self.apply(disk, self.recording.records[self.at])
            self.at += 1
        os.close(disk)

    def cut(self, index, choice, target):
        """Before record number index. choice: of what was not flushed, "all" is on the disk, or "none", or a
        random.Random decides for each write, and for each 4 KiB of some."""
        self.advance(index)
        copy(self.durable, target)
        disk = os.open(target, os.O_WRONLY)
        for record in self.recording.records[self.at:index] if choice != "none" else ():
            if choice == "all":
                self.apply(disk, record)
                continue
            fate = choice.random()
            if fate < 0.4:
                self.apply(disk, record)
            elif fate < 0.6:
                self.apply(disk, record, lambda: choice.random() < 0.5)
        os.close(disk)
