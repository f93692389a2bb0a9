#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# host: --disk 2G
"""A disk that is full: what nothing needs goes without being asked for, unless that is switched off."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from garbage import LABEL_ROOT, GLib, content, digests, equal, images, set_labels  # noqa: E402
from content_store import Store, systemctl  # noqa: E402
from image_pulls import clear, registry, run_cases, wait_for  # noqa: E402

DEBIAN = "localhost:5000/debian:bookworm"
STATE, MIB = "/var/lib/crt/content", 1024 * 1024
DROP_IN = "/run/systemd/system/crt-images.service.d/full.conf"


def set_variable(value):
    """What an administrator writes with systemctl edit."""
    os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
    with open(DROP_IN, "w", encoding="utf-8") as file:
        file.write(f"[Service]\nEnvironment=CRT_COLLECT_WHEN_FULL={value}\n")
    systemctl("daemon-reload")
    systemctl("stop", "crt-images")


class SmallDisk:
    """For what Content keeps: almost full of something that nothing needs, and of something that is."""

    def __enter__(self):
        content.list()
        systemctl("stop", "crt-content")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48M,mode=0700", "tmpfs", STATE], check=True)
        subprocess.run(["chown", "crt-content:", STATE], check=True)
        store = Store()
        self.kept = store.put(os.urandom(MIB))[0]
        set_labels("blob", self.kept, {LABEL_ROOT: "yes"})
        self.garbage = {store.put(os.urandom(8 * MIB))[0] for _ in range(4)}
        return self

    def __exit__(self, *_):
        systemctl("stop", "crt-content")
        subprocess.run(["umount", STATE], check=True)


def pull_without_room():
    try:
        images.pull(DEBIAN)
    except GLib.Error:
        return
    raise AssertionError("there was room")


def test_garbage_goes_when_a_pull_finds_no_room():
    set_variable("0")
    with SmallDisk() as disk:
        pull_without_room()
        wait_for(lambda: not digests() & disk.garbage, 30, "the garbage to go")
        equal({disk.kept}, digests() & {disk.kept})
        # Not again and again.
        more = {Store().put(os.urandom(8 * MIB))[0] for _ in range(4)}
        pull_without_room()
        equal(more, digests() & more)


def test_it_can_be_switched_off():
    set_variable("no")
    with SmallDisk() as disk:
        pull_without_room()
        images.list()
        equal(disk.garbage, digests() & disk.garbage)


def test_what_is_young_stays_by_itself():
    set_variable("")
    with SmallDisk() as disk:
        pull_without_room()
        images.call("Collect", wait=True, **{"older-than": GLib.Variant("t", 3000)})
        equal(disk.garbage, digests() & disk.garbage)


def clean():
    if os.path.exists(DROP_IN):
        os.unlink(DROP_IN)
        systemctl("daemon-reload")
        systemctl("stop", "crt-images")
    clear()


if __name__ == "__main__":
    registry("plain")
    run_cases([function for name, function in list(globals().items()) if name.startswith("test_")], clean)
