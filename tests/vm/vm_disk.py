# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file system in memory, on which all services keep their state; and what its tests share."""

import os
import subprocess

from content_store import systemctl, wait_for
import snapshot_trees

STATE = "/var/lib/crt"
IMAGE = "/dev/shm/disk"
SERVICES = ("crt-tasks", "crt-images", "crt-snapshots", "crt-content")
MIB = 1 << 20


class Disk:
    """"with": all services keep their state on it."""

    MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-b", "4096"], "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
            "btrfs": ["mkfs.btrfs", "-q", "-f", "-K"]}

    def __init__(self, kind, make=(), options=""):
        self.kind, self.make, self.options = kind, make, options

    def __enter__(self):
        stop()
        with open(IMAGE, "wb") as file:
            file.truncate(512 * MIB)
        subprocess.run([*self.MAKE[self.kind], *self.make, IMAGE], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        self.mount()
        return self

    def mount(self):
        options = ",".join(filter(None, ["loop", self.options]))
        subprocess.run(["mount", "-t", self.kind, "-o", options, IMAGE, STATE], check=True)
        os.chmod(STATE, 0o755)

    def unmount(self):
        stop()
        umount = ["umount", STATE]
        wait_for(lambda: subprocess.run(umount, capture_output=True, check=False).returncode == 0, 60, "umount")

    def __exit__(self, *_):
        self.unmount()
        os.unlink(IMAGE)


def stop():
    systemctl("stop", *(f"{name}.service" for name in SERVICES))


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def read_error(path):
    with open(path, "rb") as file:
        try:
            while file.read(MIB):
                pass
        except OSError as error:
            return error.errno
    return 0


def put(store, name, data, driver):
    store.prepare("new", driver=driver)
    store.unpack("new", data)
    store.commit(name, "new")


def number_of(key):
    ((number,),) = snapshot_trees.rows(f"SELECT id FROM snapshots WHERE key = '{key}'")
    return number
