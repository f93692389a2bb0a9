#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# host: --disk 2G
"""A disk that is full: what nothing needs goes without being asked for, unless that is switched off. Content, or the
names, have a small one of their own; the registry, the snapshots and all else have room."""

import os
import pwd
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from garbage import LABEL_ROOT, GLib, content, digests, equal, images, set_labels  # noqa: E402
from content_store import Store, systemctl  # noqa: E402
from interfaces import unmount  # noqa: E402
from image_pulls import clear, failure, registry, run_cases, snapshots, wait_for  # noqa: E402

DEBIAN, BUSYBOX = "localhost:5000/debian:bookworm", "localhost:5000/busybox:latest"
STATE, NAMES, MIB = "/var/lib/crt/content", "/var/lib/crt/images", 1024 * 1024
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
        unmount(STATE)


def room(path):
    state = os.statvfs(path)
    return state.f_bavail * state.f_frsize


def fill(path):
    """To the last byte that is not root's own: there is no room for what is to be removed to be recorded."""
    with open(path, "ab", buffering=0) as file:
        step = 64 * MIB
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError:
                    step //= 4
        finally:
            os.seteuid(0)
    assert room(path) < 64 * 1024, f"{room(path)} bytes are left"


def pull_without_room():
    """It is Content's disk that is full, no other one, and the answer says so."""
    message = failure("NoSpace", lambda: images.pull(DEBIAN))
    for part in (DEBIAN, "org.crt.Content: ", "No space left on device"):
        assert part in message, message
    for path in ("/var/lib/crt/snapshots", NAMES, "/run", "/tmp", "/var/tmp"):
        assert room(path) > 64 * MIB, f"{path} has {room(path)} bytes"


def test_garbage_goes_when_a_pull_finds_no_room():
    set_variable("0")
    with SmallDisk() as disk:
        fill(f"{STATE}/taken")
        pull_without_room()
        wait_for(lambda: not digests() & disk.garbage, 30, "the garbage to go")
        equal({disk.kept}, digests() & {disk.kept})
        os.unlink(f"{STATE}/taken")
        # Not again and again.
        more = {Store().put(os.urandom(8 * MIB))[0] for _ in range(4)}
        pull_without_room()
        equal(more, digests() & more)


def test_garbage_goes_when_all_have_one_full_disk():
    """There is no room for anybody to record what is removed."""
    set_variable("0")
    kept, garbage = Store().put(os.urandom(MIB))[0], {Store().put(os.urandom(8 * MIB))[0] for _ in range(4)}
    set_labels("blob", kept, {LABEL_ROOT: "yes"})
    images.list()
    snapshots.keys()
    taken = "/var/lib/crt/taken"
    try:
        fill(taken)
        failure("NoSpace", lambda: images.pull(DEBIAN))
        wait_for(lambda: not digests() & garbage, 30, "the garbage to go")
        equal({kept}, digests() & {kept})
        # And what is asked for goes as well.
        fill(taken)
        content.delete(kept)
    finally:
        os.unlink(taken)


def test_services_start_on_a_full_disk():
    """They need room for that, and have kept it."""
    set_variable("no")
    digest, _ = Store().put(os.urandom(MIB))
    images.pull(BUSYBOX)
    snapshots.call("Prepare", "tree", "")
    taken = "/var/lib/crt/taken"
    systemctl("stop", "crt-content", "crt-snapshots", "crt-images")
    try:
        fill(taken)
        snapshots.remove("tree")
        images.remove(BUSYBOX)
        content.delete(digest)
    finally:
        os.unlink(taken)


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


class SmallNames:
    """Of the images; with room for a few of them only."""

    def __enter__(self):
        images.list()
        systemctl("stop", "crt-images")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3M,mode=0700", "tmpfs", NAMES], check=True)
        subprocess.run(["chown", "crt-images:", NAMES], check=True)

    def __exit__(self, *_):
        systemctl("stop", "crt-images")
        unmount(NAMES)


def label_much():
    for number in range(2000):
        set_labels("image", BUSYBOX, {f"label-{number % 200}": f"{number}" * 800})


def tag_much():
    for number in range(2000):
        images.call("Tag", f"localhost:5000/{'x' * 200}{number}", BUSYBOX)


def check_names_without_room(change, sentence):
    set_variable("0")
    with SmallNames():
        images.pull(BUSYBOX)
        needed = digests()
        garbage = {Store().put(os.urandom(MIB))[0] for _ in range(3)}
        message = failure("NoSpace", change)
        assert "org.crt.Images: " in message and sentence in message, message
        assert room(STATE) > 64 * MIB, "it is Content's disk that is full"
        wait_for(lambda: not digests() & garbage, 30, "the garbage to go")
        equal(needed, digests())
        assert BUSYBOX in images.names()


def test_garbage_goes_when_a_label_finds_no_room():
    check_names_without_room(label_much, f"the labels of {BUSYBOX} can't be written: No space left")


def test_garbage_goes_when_a_name_finds_no_room():
    check_names_without_room(tag_much, "can't be written: No space left")


def clean():
    if os.path.exists(DROP_IN):
        os.unlink(DROP_IN)
        systemctl("daemon-reload")
        systemctl("stop", "crt-images")
    clear()


if __name__ == "__main__":
    registry("plain")
    run_cases([function for name, function in list(globals().items()) if name.startswith("test_")], clean)
