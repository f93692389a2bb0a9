#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mounts with other owners, of limited size, and bound to their clients; and what nobody may ask for."""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, check_disk, entry, equal, failure, layer  # noqa: E402
from snapshot_disks import Disk  # noqa: E402
from interfaces import GLib, Gio  # noqa: E402

store = Snapshots()
INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
BASE = layer(entry("./"), entry("root", b"r"), entry("user", b"u", uid=7, gid=8), entry("far", b"f", uid=70000),
             entry("dir/", uid=7, gid=8))
SHIFT = 200000


def clean():
    use_setting(None)
    set_rule(None)
    store.clear()
    check_disk()


def ids(*ranges):
    return GLib.Variant("a(uuu)", ranges)


def maps(first=SHIFT, count=65536):
    return {"uid-map": ids((0, first, count)), "gid-map": ids((0, first, count))}


def owners(path, *names):
    return [(os.stat(f"{path}/{name}").st_uid, os.stat(f"{path}/{name}").st_gid) for name in names]


def as_user(uid, function):
    """In a child of its own; what it raises is reported by its status."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            function()
            os._exit(0)
        except BaseException as error:  # pylint: disable=broad-except
            print(f"# as {uid}: {error!r}", flush=True)
            os._exit(1)
    equal(0, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


# ---- other owners ----

def check_shifted():
    """What container users see and write through the mount has their own numbers on the disk, and in commits."""
    nobody = 65534
    store.prepare("a", "base")
    with store.mount("a", **maps()) as path:
        equal([(SHIFT, SHIFT), (SHIFT + 7, SHIFT + 8), (nobody, SHIFT)], owners(path, "root", "user", "far"))

        def write():
            with open(f"{path}/dir/made", "w", encoding="ascii") as file:
                file.write("mine")
            with open(f"{path}/user", "a", encoding="ascii") as file:
                file.write("more")
        as_user(SHIFT + 7, write)
        equal([(SHIFT + 7, SHIFT + 7), (SHIFT + 7, SHIFT + 8)], owners(path, "dir/made", "user"))
        try:
            with open(f"{path}/by-an-outsider", "w", encoding="ascii"):
                pass
            raise AssertionError("root of the machine is no user of this mount")
        except OSError as error:
            equal(75, error.errno)  # EOVERFLOW
    with store.mount("a") as path:
        equal([(0, 0), (7, 8), (70000, 0), (7, 7)], owners(path, "root", "user", "far", "dir/made"))
    store.commit("c", "a")
    store.view("v", "c")
    with store.mount("v", **maps(300000)) as path:
        equal([(300000, 300000), (300007, 300007)], owners(path, "root", "dir/made"))


def check_shifted_with(driver, kind, more=""):
    with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver} {more}".strip()):
        store.put("lower", layer(entry("below", b"b", uid=1)))
        store.put("base", BASE, "lower")
        check_shifted()
        store.clear()
        check_disk()


def test_a_tree_with_the_owners_of_a_user_namespace():
    for driver, kind in (("overlayfs", "ext4"), ("erofs", "xfs"), ("btrfs", "btrfs"), ("copy", "xfs")):
        check_shifted_with(driver, kind)


def test_the_same_on_older_kernels():
    check_shifted_with("overlayfs", "ext4", "CRT_SNAPSHOTS_MOUNT_FALLBACK=yes")
    check_shifted_with("erofs", "ext4", "CRT_SNAPSHOTS_MOUNT_FALLBACK=yes CRT_SNAPSHOTS_LOOP_FALLBACK=yes")


class UserNamespace:
    """A process in one of its own, owned by a user."""

    def __init__(self, uid, line):
        read, self.end = os.pipe()
        ready, done = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.end)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            libc_unshare(0x10000000)
            os.write(done, b"x")
            os.read(read, 1)
            os._exit(0)
        os.close(read)
        os.read(ready, 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{self.pid}/{name}", "w", encoding="ascii") as file:
                file.write(line)
        self.fd = os.open(f"/proc/{self.pid}/ns/user", os.O_RDONLY)

    def close(self):
        os.close(self.fd)
        os.close(self.end)
        os.waitpid(self.pid, 0)


def libc_unshare(flags):
    import ctypes  # pylint: disable=import-outside-toplevel
    if ctypes.CDLL(None, use_errno=True).unshare(flags) < 0:
        raise OSError(ctypes.get_errno(), "unshare")


def mount_in(client, key, fd, **options):
    fds = Gio.UnixFDList.new()
    handle = fds.append(fd)
    (mount,), back = client.call("Mount", key, fds=fds, userns=GLib.Variant("h", handle), **options)
    return Tree(back.steal_fds()[mount])


def test_a_user_namespace_of_the_caller():
    store.put("base", BASE)
    store.view("v", "base")
    namespace = UserNamespace(1000, f"0 {SHIFT} 1000")
    with mount_in(store, "v", namespace.fd) as path:
        equal([(SHIFT, SHIFT), (SHIFT + 7, SHIFT + 8), (65534, SHIFT)], owners(path, "root", "user", "far"))
    namespace.close()
    for path in ("/proc/self/ns/user", "/proc/self/ns/mnt", "/etc/passwd"):
        fd = os.open(path, os.O_RDONLY)
        failure(INVALID, lambda fd=fd: mount_in(store, "v", fd))
        os.close(fd)


def test_maps_are_checked():
    store.put("base", BASE)
    store.view("v", "base")
    one = ids((0, SHIFT, 10))
    for options in ({"uid-map": one}, {"gid-map": one}, {"uid-map": one, "gid-map": ids((0, 1, 0))},
                    {"uid-map": one, "gid-map": ids((0, 0xfffffff0, 100))},
                    {"uid-map": ids((0, SHIFT, 10), (5, SHIFT + 50, 10)), "gid-map": one},
                    {"uid-map": ids(*[(i, i, 1) for i in range(341)]), "gid-map": one}):
        failure(INVALID, lambda options=options: store.mount("v", **options))
    namespace = UserNamespace(1000, f"0 {SHIFT} 1000")
    failure(INVALID, lambda: mount_in(store, "v", namespace.fd, **maps()))
    namespace.close()


def run_as(user, code):
    """Python in a process of that user, with this file's names."""
    text = (f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})\n"
            "from snapshot_trees import *\nfrom interfaces import GLib, Gio\n"
            f"store = Snapshots()\n{code}")
    answer = subprocess.run(["runuser", "-u", user, "--", sys.executable, "-c", text], text=True, capture_output=True)
    return answer.returncode, answer.stdout + answer.stderr


ASK = """
def ids(*ranges):
    return GLib.Variant("a(uuu)", ranges)
try:
    store.mount("v", **{"uid-map": ids((0, %d, %d)), "gid-map": ids((0, %d, %d))}).close()
    print("mounted")
except GLib.Error as error:
    print(error.message)
"""


def test_users_map_to_themselves_and_to_what_is_theirs():
    set_rule("subject.user == 'alice' && action.id.indexOf('org.crt.snapshots.') == 0")
    uid = int(subprocess.check_output(["id", "-u", "alice"]))
    gid = int(subprocess.check_output(["id", "-g", "alice"]))
    equal((0, ""), run_as("alice", "store.prepare('p'); store.commit('base', 'p'); store.view('v', 'base')"))
    for path in ("/etc/subuid", "/etc/subgid"):
        with open(path, "w", encoding="ascii") as file:
            file.write(f"bob:400000:65536\nalice:500000:1000\n{uid}:600000:10\n{uid + 1}:700000:10\n")
    try:
        for u, un, g, gn in ((uid, 1, gid, 1), (500000, 1000, 500000, 1000), (500100, 5, gid, 1),
                             (600000, 10, 600005, 5)):
            equal((0, "mounted\n"), run_as("alice", ASK % (u, un, g, gn)))
        for u, un, g, gn in ((0, 1, 0, 1), (uid, 2, gid, 1), (500000, 1001, 500000, 1000), (400000, 10, 500000, 10),
                             (500000, 10, 0, 1), (499999, 10, gid, 1), (700000, 10, gid, 1)):
            status, text = run_as("alice", ASK % (u, un, g, gn))
            assert status == 0 and "not yours" in text and "AccessDenied" in text, text
    finally:
        for path in ("/etc/subuid", "/etc/subgid"):
            os.unlink(path)
        store.remove("v", namespace=f"u{uid}")
        store.remove("base", namespace=f"u{uid}")


FOREIGN = """
import os
fds = Gio.UnixFDList.new()
handle = fds.append(%d)
try:
    store.call("Mount", "v", fds=fds, userns=GLib.Variant("h", handle))
    print("mounted")
except GLib.Error as error:
    print(error.message)
"""


def test_user_namespaces_of_others_are_refused():
    set_rule("subject.user == 'alice' && action.id.indexOf('org.crt.snapshots.') == 0")
    uid = int(subprocess.check_output(["id", "-u", "alice"]))
    equal((0, ""), run_as("alice", "store.prepare('p'); store.commit('base', 'p'); store.view('v', 'base')"))
    for owner, expected in ((uid, "mounted"), (0, "not yours"), (uid + 1, "not yours")):
        namespace = UserNamespace(owner, f"0 {SHIFT} 10")
        os.set_inheritable(namespace.fd, True)
        text = (f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})\n"
                "from snapshot_trees import *\nfrom interfaces import GLib, Gio\nstore = Snapshots()\n" +
                FOREIGN % namespace.fd)
        answer = subprocess.run(["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", sys.executable,
                                 "-c", text], text=True, capture_output=True, pass_fds=[namespace.fd])
        assert expected in answer.stdout, (owner, answer.stdout, answer.stderr)
        namespace.close()
    store.remove("v", namespace=f"u{uid}")
    store.remove("base", namespace=f"u{uid}")


# ---- size ----

def fill(path, size):
    """Writes that much; the error that it ends with, and what fitted."""
    written = 0
    with open(f"{path}/filler", "wb", buffering=0) as file:
        try:
            while written < size:
                written += file.write(os.urandom(1 << 20))
                if written % (8 << 20) == 0:
                    os.fsync(file.fileno())
            os.fsync(file.fileno())
        except OSError as error:
            return error.errno, written
    return 0, written


def test_a_writable_tree_does_not_grow_beyond_its_size():
    with Disk("btrfs", size="1G", environment="CRT_SNAPSHOTS_DRIVER=btrfs"):
        assert "quota" in failure("NotSupported", lambda: store.prepare("a", **{"size-max": 32 << 20}))
        equal([], store.keys())
        subprocess.run(["btrfs", "quota", "enable", STATE], check=True)
        store.put("base", layer(entry("big", os.urandom(20 << 20))))
        store.prepare("a", "base", **{"size-max": 32 << 20})
        store.prepare("b", "base")
        equal(32 << 20, store.stat("a")["size-max"])
        with store.mount("a") as path:
            error, written = fill(path, 100 << 20)
            equal(122, error)  # EDQUOT
            assert (16 << 20) <= written <= (40 << 20), written
        with store.mount("b") as path:
            equal((0, 100 << 20), fill(path, 100 << 20))
        store.clear()
        check_disk()


def test_size_is_refused_clearly_where_it_can_not_be_limited():
    for kind, driver in (("ext4", "overlayfs"), ("xfs", "copy"), ("btrfs", "overlayfs")):
        with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
            sentence = failure("NotSupported", lambda: store.prepare("a", **{"size-max": 1 << 20}))
            assert "size-max" in sentence and "quota" in sentence, sentence
            equal([], store.keys())
            check_disk()


# ---- bound to a client ----

def client_that_mounts(key, **options):
    """Another connection, which ends when it is told; its mount is in this process as well."""
    client = Snapshots()
    client.connection = Gio.DBusConnection.new_for_address_sync(
        Gio.dbus_address_get_for_bus_sync(Gio.BusType.SYSTEM),
        Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
    return client, client.mount(key, **options)


def test_a_snapshot_ends_with_its_client():
    store.put("base", BASE)
    store.prepare("a", "base")
    store.prepare("kept", "base")
    store.view("v", "base")
    client, tree = client_that_mounts("a", bound=True)
    client.mount("v", bound=True).close()
    client.mount("kept").close()
    tree.close()
    equal(["a", "base", "kept", "v"], store.keys())
    client.connection.close_sync()
    wait_for(lambda: store.keys() == ["base", "kept"], what="the end of what was bound")
    check_disk()


BIND = """
try:
    store.mount("p", bound=True).close()
    print("bound")
except GLib.Error as error:
    print(error.message)
"""


def test_only_its_maker_can_bind_a_snapshot():
    set_rule("subject.user == 'alice' && action.id.indexOf('org.crt.snapshots.') == 0")
    namespace = f"u{int(subprocess.check_output(['id', '-u', 'alice']))}"
    store.prepare("p", namespace=namespace)
    status, text = run_as("alice", BIND)
    assert status == 0 and "not yours" in text and "AccessDenied" in text, text
    equal(["p"], store.keys(namespace=namespace))
    store.remove("p", namespace=namespace)
    equal((0, "bound\n"), run_as("alice", "store.prepare('p')\n" + BIND))
    wait_for(lambda: store.keys(namespace=namespace) == [], what="the end of what was bound")


def test_what_was_removed_or_committed_is_bound_no_more():
    store.prepare("a")
    store.prepare("b")
    client, tree = client_that_mounts("a", bound=True)
    tree.close()
    client.mount("b", bound=True).close()
    store.remove("a")
    store.commit("kept", "b")
    store.prepare("a")
    client.connection.close_sync()
    time.sleep(0.3)
    equal(["a", "kept"], store.keys())


def test_what_is_still_mounted_goes_when_it_is_not_any_more():
    store.put("base", BASE)
    store.prepare("a", "base")
    client, tree = client_that_mounts("a", bound=True)
    with tree as path:
        client.connection.close_sync()
        time.sleep(0.3)
        equal(["a", "base"], store.keys())
        with open(f"{path}/still", "w", encoding="ascii"):
            pass
    wait_for(lambda: store.keys() == ["base"], what="the end of what was bound")
    check_disk()


def test_a_restart_does_not_forget_who_it_was_bound_to():
    store.put("base", BASE)
    for key in ("a", "b", "c"):
        store.prepare(key, "base")
    client, tree = client_that_mounts("a", bound=True)
    tree.close()
    gone, tree = client_that_mounts("b", bound=True)
    tree.close()
    committed, tree = client_that_mounts("c", bound=True)
    tree.close()
    store.commit("kept", "c")
    systemctl("stop", "crt-snapshots")
    gone.connection.close_sync()
    wait_for(lambda: store.keys() == ["a", "base", "kept"], what="the end of what was bound")
    client.connection.close_sync()
    committed.connection.close_sync()
    wait_for(lambda: store.keys() == ["base", "kept"], what="the end of what was bound")
    check_disk()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
