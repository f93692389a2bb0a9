# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems made in files, mounted where org.crt.Snapshots keeps its state for as long as a test needs them."""

import fcntl
import os
import struct
import subprocess
import tempfile

from content_store import systemctl, unmount
from snapshot_trees import STATE, use_setting

MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "ext4-projects": ["mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
LOOPS = 64


def make_loop_nodes():
    """A private host has none of its own."""
    if not os.path.exists("/dev/loop-control"):
        os.mknod("/dev/loop-control", 0o20600, os.makedev(10, 237))
    for i in range(LOOPS):
        if not os.path.exists(f"/dev/loop{i}"):
            os.mknod(f"/dev/loop{i}", 0o60600, os.makedev(7, i))


class Disk:
    """"with": the service keeps its state on a fresh file system of that type, and starts with these settings."""

    def __init__(self, kind, size="512M", options="", environment=""):
        self.kind, self.size, self.options, self.environment = kind, size, options, environment

    def __enter__(self):
        make_loop_nodes()
        systemctl("stop", "crt-snapshots")
        os.makedirs(STATE, mode=0o700, exist_ok=True)  # as the service's first start does
        handle, self.image = tempfile.mkstemp(prefix="disk-", dir="/tmp")
        os.close(handle)
        subprocess.run(["truncate", "-s", self.size, self.image], check=True)
        subprocess.run([*MAKE[self.kind], self.image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        options = ",".join(filter(None, ["loop", self.options]))
        subprocess.run(["mount", "-o", options, self.image, STATE], check=True)
        os.chmod(STATE, 0o700)
        use_setting(f"Environment={self.environment}" if self.environment else "Environment=")
        return self

    def set(self, environment):
        """Starts the service anew with other settings."""
        self.environment = environment
        use_setting(f"Environment={environment}")

    def __exit__(self, *_):
        systemctl("stop", "crt-snapshots")
        unmount(STATE)
        os.unlink(self.image)
        use_setting(None)


def loop_devices():
    """Files of the state's own file system that are read through loop devices now: other hosts have some, too."""
    found, get_status, device = [], 0x4C05, os.stat(STATE).st_dev  # LOOP_GET_STATUS64
    for i in range(LOOPS):
        try:
            with open(f"/sys/block/loop{i}/loop/backing_file", encoding="utf-8") as file:
                name = file.read().strip()
            with open(f"/dev/loop{i}", "rb") as loop:
                status = bytearray(232)
                fcntl.ioctl(loop, get_status, status)
        except OSError:
            continue
        if struct.unpack_from("Q", status)[0] == device:
            found.append(name)
    return found
