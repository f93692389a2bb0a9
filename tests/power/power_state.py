# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine around the disk: the power goes and comes back; and what must be true of the state then."""

import hashlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "host"))
import content_store  # noqa: E402
import snapshot_trees  # noqa: E402
from content_store import GLib, sha256, wait_for  # noqa: E402
from image_pulls import Images  # noqa: E402
from interfaces import Cases, error_name  # noqa: E402
import power_disk  # noqa: E402
import task_containers  # noqa: E402

STATE = "/var/lib/crt"
SERVICES = ("tasks", "images", "snapshots", "content")
BOOT_ID = "/run/crt-host/boot-id"


# ---- power ----

def kill_services():
    """All at once, as a loss of power does, with the containers and the workers."""
    units = [f"crt-{name}.service" for name in SERVICES]
    scopes = task_containers.scopes()
    subprocess.run(["systemctl", "kill", "--signal=KILL", *units, "crt-fetch@*.service", *scopes], check=False,
                   capture_output=True)
    subprocess.run(["systemctl", "stop", *units, *scopes], check=False, capture_output=True)


def on_loop_device():
    """Not what the host itself has there, which is below."""
    done = subprocess.run(["findmnt", "-n", "-o", "SOURCE", STATE], check=False, text=True, capture_output=True)
    return done.stdout.strip().split("\n")[-1].startswith("/dev/loop")


def power_off():
    """What is not on the disk is gone."""
    kill_services()
    while on_loop_device():
        power_disk.unmount(STATE)
    for name in os.listdir("/run/crt"):
        if os.path.isdir(f"/run/crt/{name}"):
            shutil.rmtree(f"/run/crt/{name}")


def power_on(image, options="", kind="ext4"):
    """Another boot, on this disk. The first mount replays the journal."""
    with open(BOOT_ID, "w", encoding="ascii") as file:
        file.write(f"{uuid.uuid4()}\n")
    power_disk.mount(image, STATE, options, kind)


# ---- what is there ----

def digest_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else \
            hashlib.sha256(file.read()).hexdigest()


def describe_entry(path, info, links):
    fields = [stat.filemode(info.st_mode), info.st_uid, info.st_gid]
    fields += [f"{name}={os.getxattr(path, name, follow_symlinks=False)!r}"
               for name in sorted(os.listxattr(path, follow_symlinks=False))]
    if stat.S_ISLNK(info.st_mode):
        fields.append(os.readlink(path))
    elif stat.S_ISREG(info.st_mode):
        key = (info.st_dev, info.st_ino)
        if key not in links:
            links[key] = (path, digest_file(path))
        fields += [info.st_size, info.st_mtime_ns, info.st_nlink, links[key][1]]
    elif not stat.S_ISDIR(info.st_mode):
        fields.append(info.st_rdev)
    return " ".join(map(str, fields))


def describe_tree(top):
    """{path: all that a layer can say about it}"""
    found, links = {}, {}
    for folder, directories, files in os.walk(top):
        for name in [".", *directories, *files] if folder == top else directories + files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = describe_entry(path, os.lstat(path), links)
    return found


def differences(expected, got, limit=3):
    lines = [f"{path}: {got.get(path)!r} instead of {expected.get(path)!r}"
             for path in sorted(expected.keys() | got.keys()) if expected.get(path) != got.get(path)]
    return lines[:limit] + ([f"… {len(lines)} in all"] if len(lines) > limit else [])


class State:
    """The services, asked anew: connections of its own, since the old ones may know too much."""

    def __init__(self):
        self.images, self.store, self.snapshots = Images(), content_store.Store(), snapshot_trees.Snapshots()

    def blobs(self):
        return {blob["digest"]: blob["size"] for blob in self.store.list()[0]}

    def committed(self):
        return sorted(entry["key"] for entry in self.snapshots.list()[0] if entry["kind"] == "committed")

    def image_names(self):
        return self.images.names()

    def containers(self):
        return {container["Id"] for container in task_containers.containers()[0]}

    def leases(self):
        return [lease.properties()["Id"] for lease in self.store.leases()]

    def leased(self):
        """What some lease names."""
        return [name for lease in self.store.leases() for _, name in lease.things()]

    def arrived(self):
        """Unfinished ingests, with what of them has arrived."""
        return {ingest["Reference"]: ingest["Offset"] for ingest in self.store.ingests().values()}

    def shared(self):
        if self.store.call("StatNamespace")[0][0]["shareable"]:
            yield "system"

    def labelled(self):
        """What has some blob, or some snapshot, with the label "power"; and which blobs have it."""
        found = [blob["digest"] for blob in self.store.list()[0] if "power" in blob["labels"]]
        yield from ["blob"] * bool(found) + [f"blob {digest}" for digest in found]
        if any("power" in entry["labels"] for entry in self.snapshots.list()[0]):
            yield "snapshot"

    def tree(self, key):
        """What a view of it shows."""
        view = f"look-{uuid.uuid4()}"
        self.snapshots.view(view, key)
        try:
            with self.snapshots.mount(view) as top:
                return describe_tree(top)
        finally:
            self.snapshots.remove(view)

    # ---- finishing and clearing ----

    def collect(self):
        self.images.wait(self.images.call("Collect", older_than=0)[0])

    def remove_everything(self):
        task_containers.remove_all()
        for path, transfer in self.images.objects("org.crt.Images1.Transfer").items():
            if transfer["State"] == "running":
                self.images.cancel(path)
        for name in self.image_names():
            self.images.remove(name)
        before = None
        while (keys := self.snapshots.keys()) and keys != before:
            before = keys
            for key in keys:
                try:
                    self.snapshots.remove(key)
                except GLib.Error:
                    pass  # another one is built on it
        self.store.clear()


# ---- what must be true ----

def check_databases():
    """As they are before a daemon has touched them, on a copy: looking replays the log."""
    for name in SERVICES:
        if not os.path.exists(f"{STATE}/{name}/{name}.db"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for suffix in ("", "-wal"):
                if os.path.exists(f"{STATE}/{name}/{name}.db{suffix}"):
                    shutil.copy(f"{STATE}/{name}/{name}.db{suffix}", folder)
            connection = sqlite3.connect(os.path.join(folder, f"{name}.db"))
            for pragma in ("integrity_check", "foreign_key_check"):
                rows = connection.execute(f"PRAGMA {pragma}").fetchall()
                if rows not in ([("ok",)], []):
                    yield f"{name}.db: {pragma}: {rows[:3]}"
            connection.close()


def check_blobs(state):
    for digest, size in state.blobs().items():
        try:
            data = state.store.read(digest)
        except (GLib.Error, AssertionError) as error:
            if digest not in state.blobs():
                continue  # a removal that the cut had interrupted goes on meanwhile
            yield f"blob {digest} of {size} bytes can't be read: {error}"
            continue
        if sha256(data) != digest:
            yield f"blob {digest} is wrong: {len(data)} bytes of {sha256(data)}"


def check_trees(state, references):
    for key in state.committed():
        if key not in references:
            yield f"nobody has committed a snapshot {key}"
            continue
        try:
            tree = state.tree(key)
        except GLib.Error as error:
            if key not in state.committed():
                continue
            yield f"snapshot {key} can't be looked at: {error.message}"
            continue
        for line in differences(references[key], tree):
            yield f"snapshot {key}: {line}"


def check_expected(state, expected):
    """expected: {(kind, name): True, False, or None where both may be}"""
    present = {"image": set(state.image_names()), "blob": set(state.blobs()), "snapshot": set(state.committed()),
               "container": state.containers(), "lease": set(state.leases()), "label": set(state.labelled()),
               "leased": set(state.leased()), "shared": set(state.shared()),
               "ingest": {f"{reference} at {offset}" for reference, offset in state.arrived().items()}}
    for (kind, name), there in expected.items():
        if there is not None and there != (name in present[kind]):
            yield f"{kind} {name} was " + ("answered for, but is not there" if there else "removed, but is there")


def settle():
    wait_for(lambda: not os.path.isdir(f"{STATE}/snapshots/trash") or not os.listdir(f"{STATE}/snapshots/trash"), 30,
             "the trash to be emptied")


def check_no_leak(state):
    """Records and files agree while everything is there, and nothing is left after all was removed."""
    for what, action in (("after a collection", lambda: None),
                         ("after everything was removed", state.remove_everything)):
        action()
        state.collect()
        settle()
        for check in (content_store.check_disk, snapshot_trees.check_disk):
            try:
                check()
            except AssertionError as error:
                yield f"{what}: {check.__module__}: {str(error)[:400]}"
    for folder in ("content/blobs", "content/ingest"):
        left = [name for _, _, files in os.walk(f"{STATE}/{folder}") for name in files]
        if left:
            yield f"{folder} still has {left[:3]} after everything was removed"


def try_call(what, action):
    """Problems instead of errors."""
    try:
        yield from action()
    except GLib.Error as error:
        yield f"{what}: {error_name(error)}: {error.message}"
    except AssertionError as error:
        yield f"{what}: {error}"
