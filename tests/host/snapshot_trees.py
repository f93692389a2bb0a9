# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.crt.Snapshots as its tests use it: layers made on the fly, mounts attached, and what is kept on disk."""

import ctypes
import hashlib
import io
import os
import select
import sqlite3
import subprocess
import tarfile
import tempfile
import time

from content_store import connect, equal, failure, run_cases, systemctl, wait_for, wait_until_equal, write
from interfaces import GLib, Gio, call, daemon_pid, kill_daemons, pids_of, run, unmount
from polkit_rules import PolkitRule, journal

NAME, PATH, INTERFACE = "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1"
JOB = "org.crt.Snapshots1.Job"
STATE = "/var/lib/crt/snapshots"
DROP_IN = "/run/systemd/system/crt-snapshots.service.d"
TYPES = {str: "s", bool: "b"}
libc = ctypes.CDLL(None, use_errno=True)
set_rule = PolkitRule("snapshots").set


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def variant(value):
    return value if isinstance(value, GLib.Variant) else GLib.Variant(TYPES.get(type(value), "t"), value)


class Snapshots:
    """Methods raise GLib.Error."""

    def __init__(self, **options):
        self.connection = connect()
        self.options = options

    def call(self, member, *arguments, fds=None, **options):
        entries = {key: variant(value) for key, value in {**self.options, **options}.items()}
        signature = "".join("h" if isinstance(a, int) else "s" for a in arguments)
        return call(self.connection, NAME, PATH, INTERFACE, member,
                    GLib.Variant(f"({signature}a{{sv}})", (*arguments, entries)), fds)

    def prepare(self, key, parent="", **options):
        self.call("Prepare", key, parent, **options)

    def view(self, key, parent, **options):
        self.call("View", key, parent, **options)

    def commit(self, name, key, **options):
        self.call("Commit", name, key, **options)

    def remove(self, key, **options):
        self.call("Remove", key, **options)

    def stat(self, key, **options):
        return self.call("Stat", key, **options)[0][0]

    def list(self, **options):
        return self.call("List", **options)[0]

    def keys(self, **options):
        return [snapshot["key"] for snapshot in self.list(**options)[0]]

    def mount(self, key, **options):
        (handle,), fds = self.call("Mount", key, **options)
        return Tree(fds.steal_fds()[handle])

    def unpack_begin(self, key, layer, diff_id, **options):
        """layer: a descriptor, or bytes. The path of the job."""
        fds, fd = Gio.UnixFDList.new(), layer if isinstance(layer, int) else memfd(layer)
        fds.append(fd)
        if fd != layer:
            os.close(fd)
        return self.call("Unpack", key, 0, fds=fds, **{"diff-id": diff_id, **options})[0][0]

    def wait(self, job):
        return call(self.connection, NAME, job, JOB, "Wait", GLib.Variant("(a{sv})", ({},)))[0][0]

    def cancel(self, job):
        call(self.connection, NAME, job, JOB, "Cancel", GLib.Variant("(a{sv})", ({},)))

    def state(self, job):
        return call(self.connection, NAME, job, "org.freedesktop.DBus.Properties", "GetAll",
                    GLib.Variant("(s)", (JOB,)))[0][0]

    def unpack(self, key, layer, diff_id=None, **options):
        return self.wait(self.unpack_begin(key, layer, diff_id or sha256(layer), **options))

    def put(self, name, layer, parent="", **options):
        """Prepare, unpack, commit."""
        self.prepare(f"new {name}".replace(" ", "-"), **options)
        self.unpack(f"new-{name}", layer, **options)
        self.commit(name, f"new-{name}", **({"parent": parent} if parent else {}), **options)

    def clear(self):
        self.keys()  # starts the service, if it has never run
        for (namespace,) in rows("SELECT DISTINCT namespace FROM snapshots"):
            keys, patience = self.keys(namespace=namespace), 50
            while keys and patience > 0:
                for key in keys:
                    try:
                        self.remove(key, namespace=namespace)
                    except GLib.Error:
                        pass
                before, keys = keys, self.keys(namespace=namespace)
                if keys == before:  # what is still mounted, if only for a moment
                    patience -= 1
                    time.sleep(0.1)
        try:
            self.call("Cleanup")  # at once, where it can
        except GLib.Error:
            pass
        wait_for(lambda: not os.listdir(f"{STATE}/trash"), what="the trash to be emptied")


class Tree:
    """A mount as it came; "with" attaches it in a process-wide place for as long."""

    def __init__(self, fd):
        self.fd = fd

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="tree-")
        # move_mount(fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)
        if libc.syscall(429, self.fd, b"", -100, self.path.encode(), 4) < 0:
            raise OSError(ctypes.get_errno(), "move_mount")
        os.close(self.fd)
        self.watch = watch_end(self.path)
        return self.path

    def __exit__(self, *_):
        unmount(self.path)
        os.rmdir(self.path)
        # Who has begun meanwhile may have a copy of the mount in a mount namespace of their own, for a moment.
        if self.watch:
            select.select([self.watch], [], [], 20)
            os.close(self.watch)


OVERLAYFS = 0x794c7630


def watch_end(path):
    """A descriptor that can be read when the file system is gone, if it is a writable overlay, which is mounted once
    at a time; else None."""
    kind = int(run("stat", "-f", "-c", "%t", path), 16)
    if kind != OVERLAYFS or os.statvfs(path).f_flag & os.ST_RDONLY:
        return None
    watch = libc.inotify_init1(os.O_CLOEXEC)
    libc.inotify_add_watch(watch, path.encode(), 0x400)  # IN_DELETE_SELF; the end of the file system is always told
    return watch


def memfd(data):
    fd = os.memfd_create("layer")
    write(fd, data)
    return fd


# ---- layers ----

def entry(name, data=None, kind=None, **fields):
    """What layer() takes: a file, or a directory when name ends with a slash, or whatever kind says."""
    info = tarfile.TarInfo(name.rstrip("/"))
    info.type = kind or (tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE)
    info.mode = 0o755 if info.isdir() else 0o644
    info.mtime = 1000000000
    info.size = len(data) if data else 0
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def layer(*entries):
    """Each an entry(), or the name of one without more to say."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for item in entries:
            info, data = entry(item) if isinstance(item, str) else item
            archive.addfile(info, io.BytesIO(data) if data else None)
    return buffer.getvalue()


def compress(tool, data):
    return subprocess.run([tool, "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


# What crt calls its own files beside a tree's: a layer may have them, too.
OWN_NAMES = ("fs", "work", "notes", "through", "made", "old", "new", "manifest", "layer.erofs", "layer.unfinished",
             "verity")


# ---- what is on disk, and the service ----

def rows(sql):
    try:
        connection = sqlite3.connect(f"file:{STATE}/snapshots.db?mode=ro", uri=True, timeout=60)
    except sqlite3.OperationalError:
        return []
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def change_records(*statements):
    """While the service does not run."""
    connection = sqlite3.connect(f"{STATE}/snapshots.db")
    for sql in statements:
        connection.execute(sql)
    connection.commit()
    connection.close()


# What makes the next start look at everything, or forget what does not outlive a boot.
CRASHED = "UPDATE boot SET orderly = 0"
BOOTED = "UPDATE boot SET id = 'an earlier one'"


def trees():
    return {int(name) for name in os.listdir(f"{STATE}/trees") if name.isdigit()}


def check_disk():
    """Records and trees agree, and nothing is on its way out."""
    wait_for(lambda: not os.listdir(f"{STATE}/trash"), what="the trash to be emptied")
    # All but views, and those whose unpacking failed.
    wait_until_equal(lambda: ({number for (number,) in rows("SELECT id FROM snapshots WHERE kind != 1 AND state != 3")},
                              trees()))
    wait_until_equal(lambda: ([], mounts()))


def mounts():
    """Of trees, in the host's own table."""
    with open("/proc/self/mountinfo", encoding="ascii") as table:
        return [line for line in table if f"{STATE}/" in line or "upperdir" in line and
                " crt-host " not in line and " crt-vm " not in line]


def main_pid():
    return daemon_pid("Snapshots")


def kill_daemon():
    kill_daemons("Snapshots")


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def does(pid, task):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            return file.read().split("\0")[1:2] == [task]
    except OSError:
        return False


def worker_pids(program="crt-unpack", task=None):
    """Without those that a worker has started itself. The task is the first argument: while one commits, another may be
    deleting what was thrown away before."""
    found = pids_of(program)
    return [pid for pid in found if parent_of(pid) not in found and (task is None or does(pid, task))]


def part_pids(worker):
    """Of crt-unpack: what relays, decompresses, writes."""
    answer = subprocess.run(["pgrep", "--runstates", "DRSTt", "-P", str(worker)], text=True, capture_output=True)
    return [worker, *sorted(int(pid) for pid in answer.stdout.split())]


def processor_seconds():
    """Of the service and its workers: other than a clock's, they are the same on a busy machine."""
    path = run("systemctl", "show", "-P", "ControlGroup", "crt-snapshots").strip()
    with open(f"/sys/fs/cgroup{path}/cpu.stat", encoding="ascii") as file:
        return int(dict(line.split() for line in file)["usage_usec"]) / 1e6


def use_setting(line):
    """Starts the service anew with a line more in its unit; None takes it back."""
    if line:
        os.makedirs(DROP_IN, exist_ok=True)
        with open(f"{DROP_IN}/test.conf", "w", encoding="ascii") as file:
            file.write(f"[Service]\n{line}\n")
    elif os.path.exists(f"{DROP_IN}/test.conf"):
        os.unlink(f"{DROP_IN}/test.conf")
    else:
        return
    systemctl("daemon-reload")
    systemctl("restart", "crt-snapshots")


LIBEXEC, ROGUE = "/usr/libexec/crt", "/usr/src/crt-build/tests/host/rogue-unpack"


class TakenOver:
    """The service with a crt-unpack that takes of the disk what it can (rogue-unpack.c)."""

    def __init__(self, way, environment=""):
        self.way, self.environment = way, environment

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="crt-libexec-", dir="/usr/local/lib")
        os.chmod(self.directory, 0o755)
        for name in os.listdir(LIBEXEC):
            os.symlink(ROGUE if name == "crt-unpack" else f"{LIBEXEC}/{name}", f"{self.directory}/{name}")
        use_setting(f"Environment=CRT_LIBEXECDIR={self.directory} CRT_TEST_ROGUE={self.way} {self.environment}")

    def __exit__(self, *_):
        use_setting(None)
        subprocess.run(["rm", "-r", self.directory], check=True)


def slow_layer(key, store, size=8 << 20):
    """An unpacking that stands in the middle: (job, write end, the rest of the bytes)."""
    data = layer("first/", entry("first/file", b"x" * size), entry("last", b"y"))
    read, write_end = os.pipe()
    job = store.unpack_begin(key, read, sha256(data))
    os.close(read)
    write(write_end, data[:size // 2])
    wait_for(lambda: store.state(job)["Phase"] == "unpacking", what="the unpacking")
    wait_for(worker_pids, what="the worker")
    return job, write_end, data[size // 2:]


__all__ = ["BOOTED", "CRASHED", "JOB", "OWN_NAMES", "STATE", "Snapshots", "TakenOver", "Tree", "change_records",
           "check_disk", "compress", "entry", "equal", "failure", "kill_daemon", "layer", "main_pid",
           "memfd", "mounts", "os", "part_pids", "rows", "run_cases", "set_rule", "sha256", "slow_layer",
           "subprocess", "systemctl", "tarfile", "tempfile", "time", "trees", "use_setting", "wait_for",
           "worker_pids", "write"]
