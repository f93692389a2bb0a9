#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The size of writable trees where it is limited by project quotas, which the kernel of a private host may not have."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "host"))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, check_disk, entry, equal, layer  # noqa: E402
from snapshot_disks import Disk  # noqa: E402

store = Snapshots()
BASE = layer("d/", entry("d/below", b"below"))


def fill(path, size):
    """As containers are: limits of ext4 are none for CAP_SYS_RESOURCE. What is wrong with writing so many MiB."""
    answer = subprocess.run(["setpriv", "--bounding-set=-sys_resource", "dd", "if=/dev/zero", f"of={path}", "bs=1M",
                             f"count={size}", "conv=fsync", "status=none"], text=True, capture_output=True)
    return answer.stderr


def drivers():
    with open("/proc/filesystems", encoding="ascii") as file:
        return ("copy", "overlayfs", "erofs") if "erofs" in file.read() else ("copy", "overlayfs")


def test_a_commit_does_not_count_against_the_size():
    for driver in drivers():
        with Disk("ext4-projects", options="prjquota", environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            store.put("base", BASE)
            store.prepare("a", "base", **{"size-max": 32 << 20})
            with store.mount("a") as path:
                equal("", fill(f"{path}/big", 24))
                assert "quota" in fill(f"{path}/more", 24), driver
            store.commit("c", "a")
            store.view("v", "c")
            with store.mount("v") as path:
                equal(24 << 20, os.stat(f"{path}/big").st_size)
            store.clear()
            check_disk()


ESCAPE = """
import fcntl, os, struct, sys
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801c581f, 0x401c5820
fd = os.open(sys.argv[1], os.O_RDONLY)
found = bytearray(28)
fcntl.ioctl(fd, FS_IOC_FSGETXATTR, found)
struct.pack_into("I", found, 12, 0)
fcntl.ioctl(fd, FS_IOC_FSSETXATTR, bytes(found))
"""


def test_who_can_leave_the_project():
    """What the documentation of size-max says: nobody in a user namespace of their own, and others can."""
    with Disk("ext4-projects", options="prjquota"):
        store.prepare("a", **{"size-max": 32 << 20})
        with store.mount("a") as path:
            with open(f"{path}/mine", "wb") as file:
                file.write(b"mine")
            escape = [sys.executable, "-c", ESCAPE, f"{path}/mine"]
            inside = subprocess.run(["unshare", "--user", "--map-root-user", *escape], text=True, capture_output=True)
            assert "Invalid argument" in inside.stderr, inside.stderr
            equal(0, subprocess.run(escape, check=False).returncode)
        store.clear()
        check_disk()


def clean():
    use_setting(None)
    store.clear()
    check_disk()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
