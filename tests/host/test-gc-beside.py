#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Collections at full speed beside pulls, containers and removals, and with services that are killed in the middle:
not one byte that somebody needs is lost, and in the end nothing is left over."""

import hashlib
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import Store  # noqa: E402
from garbage import GLib, call, collect, content, digests, equal, images, plan, snapshots  # noqa: E402
from image_pulls import Images, Snapshots, clear, pid_of, registry, run_cases, wait_for  # noqa: E402
from interfaces import kill_processes  # noqa: E402

DEBIAN, BUSYBOX, EDGE = "localhost:5000/debian:bookworm", "localhost:5000/busybox:latest", "localhost:5000/layers:edge"
# How calls end whose service was killed just now, or while it was started.
GOING = ("NoReply", "Unavailable", "ServiceUnknown", "NameHasNoOwner", "Disconnected")
SECONDS = int(os.environ.get("CRT_GC_SECONDS", "15"))


def crtctl(*arguments, check=True):
    return subprocess.run(["crtctl", *arguments], check=check, text=True, capture_output=True)


def clean():
    subprocess.run("crtctl rm -f $(crtctl ps -a -q)", shell=True, check=False, capture_output=True)
    clear()


# ---- every byte ----

def tree_of(top):
    """Everything that can be read of a tree, by path."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            about = [status.st_mode, status.st_uid, status.st_gid, status.st_nlink if name in files else 0]
            if os.path.islink(path):
                about.append(os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    about.append(hashlib.file_digest(file, "sha256").hexdigest())
            found[os.path.relpath(path, top)] = about
    return found


def snapshot_tree(chain):
    key = f"look-{os.getpid()}-{time.monotonic_ns()}"
    interface = ("org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1")
    labels = GLib.Variant("a{ss}", {"org.crt.gc.root": "test"})
    call(images.connection, *interface, "View", GLib.Variant("(ssa{sv})", (key, chain, {"labels": labels})))
    (index,), fds = call(images.connection, *interface, "Mount", GLib.Variant("(sa{sv})", (key, {})))
    mount = fds.get(index)
    try:
        return tree_of(f"/proc/self/fd/{mount}/")
    finally:
        os.close(mount)
        del fds
        wait_for(lambda: removed(key), what="the mount to go")


def removed(key):
    """The bus and its library may still be closing their copies of the mount."""
    try:
        snapshots.remove(key)
        return True
    except GLib.Error as error:
        assert "in use" in error.message, error.message
        return False


def check_image(name, trees):
    """Its blobs are what their digests say, and its tree is the one that it was the first time."""
    image = {entry["Name"]: entry for entry in images.list()}[name]
    here = digests()
    for digest in (image["Digest"], image["ManifestDigest"], image["ConfigDigest"]):
        assert digest in here, f"{digest} of {name} is gone"
    tree = snapshot_tree(image["ChainId"])
    equal(trees.setdefault(image["ChainId"], tree), tree)


def check_blobs():
    for digest in digests():
        equal(digest, "sha256:" + hashlib.sha256(content.read(digest)).hexdigest())


# ---- at full speed ----

class Beside(threading.Thread):
    """One that does the same again and again: for so long, and so often."""

    def __init__(self, action, until=0.0, at_least=1):
        super().__init__()
        self.action, self.until, self.at_least, self.count, self.problem = action, until, at_least, 0, None

    def run(self):
        while self.problem is None and (time.monotonic() < self.until or self.count < self.at_least):
            try:
                self.action()
                self.count += 1
            except Exception as error:  # pylint: disable=broad-except
                self.problem = error


def pull_and_remove(reference, name, keep=0.0):
    client = Images()

    def action():
        result = client.pull(reference, name=name)
        assert result["chain-id"] in Snapshots().keys(), f"{name} has no tree"
        time.sleep(keep)
        client.remove(name)
    return action


def run_containers():
    said = crtctl("run", "--rm", DEBIAN, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").stdout
    equal("bookworm", said.strip())


def container_without_a_name():
    """The image goes away while a container of it is there; the container still runs."""
    name = "localhost:5000/passing:latest"
    images_here = Images()
    images_here.pull(BUSYBOX, name=name)
    crtctl("create", "--name", "passing", name, "echo", "still here")
    images_here.remove(name)
    equal("still here", crtctl("start", "--attach", "passing").stdout.strip())
    crtctl("rm", "passing")


def write_and_label():
    """A blob that is labelled as soon as it is there, or that an ingest promises, is not lost."""
    store = Store()
    data = os.urandom(2000)
    digest = store.put(data, labels=GLib.Variant("a{ss}", {"org.crt.gc.root": "test"}))[0]
    equal(data, store.read(digest))
    store.call("Update", digest, labels=GLib.Variant("a{ss}", {"org.crt.gc.root": ""}))


def test_collections_beside_everything():
    trees = {}
    for reference in (DEBIAN, EDGE):
        images.pull(reference)
        check_image(reference, trees)
    collector = Images()
    until = time.monotonic() + SECONDS
    threads = [Beside(action, until, at_least=2) for action in (
        lambda: collect(collector, all_namespaces=True), pull_and_remove(BUSYBOX, "localhost:5000/one"),
        pull_and_remove(EDGE, "localhost:5000/two", 0.01), pull_and_remove(DEBIAN, "localhost:5000/three", 0.1),
        run_containers, container_without_a_name, write_and_label)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for thread in threads:
        assert thread.problem is None, repr(thread.problem)
    print("#", *(thread.count for thread in threads))
    for reference in (DEBIAN, EDGE):
        check_image(reference, trees)
    check_blobs()
    images.remove(DEBIAN)
    images.remove(EDGE)
    collect(all_namespaces=True)
    wait_for(lambda: collect()["snapshots"] == 0, 10, "the last tree to go")
    equal((set(), []), (digests(), snapshots.keys()))


# ---- killed in the middle ----

def make_garbage():
    store = Store()
    for number in range(40):
        store.put(b"garbage %i" % number)
    for number in range(6):
        snapshots.call("Prepare", f"garbage-{number}", "")


def kill(unit):
    kill_processes(filter(None, [pid_of(unit)]))


def check_killed(unit):
    trees = {}
    images.pull(EDGE)
    check_image(EDGE, trees)
    needed = digests(), sorted(snapshots.keys())
    chance = random.Random(unit)
    for _ in range(4):
        make_garbage()
        client = Images()
        running = Beside(lambda c=client: collect(c, all_namespaces=True))
        running.start()
        time.sleep(chance.random() * 0.04)
        kill(unit)
        running.join()
        wait_for(lambda: collects(client), 20, "a collection that finishes")
        equal(needed, (digests(), sorted(snapshots.keys())))
    check_image(EDGE, trees)
    check_blobs()
    equal([], plan()[0])


def collects(client):
    """A service that is being killed in this moment takes the call with it."""
    try:
        collect(client, all_namespaces=True)
        return True
    except GLib.Error as error:
        assert any(name in str(error) for name in GOING), str(error)
        return False


def test_content_killed():
    check_killed("crt-content.service")


def test_snapshots_killed():
    check_killed("crt-snapshots.service")


def test_images_killed():
    check_killed("crt-images.service")


def test_tasks_killed():
    check_killed("crt-tasks.service")


if __name__ == "__main__":
    registry("plain")
    run_cases([function for name, function in list(globals().items()) if name.startswith("test_")], clean)
