# SPDX-License-Identifier: LGPL-2.1-or-later
"""A FUSE file system of one file, whose server answers only some of those who ask, or only when it is told to."""

import ctypes
import errno
import os
import signal
import stat
import struct
import subprocess
import sys
import tempfile

from content_store import wait_for

LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, BATCH_FORGET = 1, 2, 3, 14, 15, 18, 25, 26, 42
libc = ctypes.CDLL(None, use_errno=True)


def group_of(task):
    """The process of a thread; 0: it is gone."""
    try:
        with open(f"/proc/{task}/status", encoding="utf-8") as file:
            return int(next(line for line in file if line.startswith("Tgid:")).split()[1])
    except (OSError, StopIteration):
        return 0


def name_of(process):
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def attributes(node, size):
    mode = stat.S_IFDIR | 0o755 if node == 1 else stat.S_IFREG | 0o666
    return struct.pack("QQQQQQIIIIIIIIII", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node, body, name, content):
    """What is sent back; an error as a number."""
    if opcode == INIT:
        return struct.pack("IIIIHHIIHHIIHHI", 7, 31, 65536, 0, 12, 10, 65536, 1, 1, 0, 0, 0, 0, 0, 0) + bytes(16)
    if opcode == LOOKUP:
        if body != name + b"\0":
            return errno.ENOENT
        return struct.pack("QQQQII", 2, 0, 0, 0, 0, 0) + attributes(2, len(content))
    if opcode == GETATTR:
        return struct.pack("QII", 0, 0, 0) + attributes(node, len(content))
    if opcode == OPEN:
        return struct.pack("QII", 1, 0, 0)
    if opcode == READ:
        _, offset, size = struct.unpack_from("QQI", body)
        return content[offset:offset + size]
    return b"" if opcode in (FLUSH, RELEASE) else errno.ENOSYS


def serve(device, is_silent, name=b"file", content=bytes(4096)):
    """is_silent(opcode, task): who asks never gets an answer."""
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT):
                continue
            return  # unmounted
        length, opcode, unique, node, _, _, task = struct.unpack_from("IIQQIII", request)
        if opcode in (FORGET, BATCH_FORGET) or is_silent(opcode, task):
            continue
        reply = answer(opcode, node, request[40:length], name, content)
        if isinstance(reply, int):
            os.write(device, struct.pack("IiQ", 16, -reply, unique))
        else:
            os.write(device, struct.pack("IiQ", 16 + len(reply), 0, unique) + reply)


def mount(directory):
    """Its device."""
    if not os.path.exists("/dev/fuse"):
        os.mknod("/dev/fuse", 0o20666, os.makedev(10, 229))
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"silent", directory.encode(), b"fuse", 0, options.encode()) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    return device


class SilentFile:
    """"with": the path of a file whose server never answers these processes, or those of a program. Its end ends all
    who wait for it."""

    def __init__(self, silent_for, program=None):
        self.silent_for, self.program = set(silent_for), program

    def is_silent(self, _, task):
        group = group_of(task)
        try:
            with open(f"/proc/{group}/stat", encoding="utf-8") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            parent = 0
        return {group, parent} & self.silent_for or self.program and name_of(group) == self.program

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="fuse-")
        device = mount(self.directory)
        self.server = os.fork()
        if self.server == 0:
            try:
                serve(device, self.is_silent)
            finally:
                os._exit(0)  # pylint: disable=protected-access
        os.close(device)
        return f"{self.directory}/file"

    def __exit__(self, *_):
        os.kill(self.server, signal.SIGKILL)
        os.waitpid(self.server, 0)
        umount = ["umount", "-l", self.directory]
        wait_for(lambda: subprocess.run(umount, capture_output=True).returncode == 0, what="umount")
        os.rmdir(self.directory)


def serve_gate(directory, name, content, gate):
    """A file whose opening, which GATE.reached tells of, takes until the FIFO GATE was opened and closed."""
    def wait_at_gate(opcode, _):
        if opcode == OPEN:
            with open(gate + ".reached", "wb"):
                pass
            with open(gate, "rb") as file:
                file.read()
        return False
    serve(mount(directory), wait_at_gate, name.encode(), content.encode())


if __name__ == "__main__":
    serve_gate(*sys.argv[1:])
