#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what with snapshots: nobody without rights changes anything, polkit can let them, and there are limits."""

import ctypes
import errno
import json
import os
import sys
import tarfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, entry, equal, layer, set_rule  # noqa: E402
from content_store import outcome  # noqa: E402

REFUSED = {"org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"}
ALICE = 'subject.user == "alice"'
DATA = layer("d/", entry("d/f", b"x"), entry("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666))
store = Snapshots()


def clean():
    set_rule(None)
    use_setting(None)
    store.clear()
    check_disk()


def do_chain(client, **options):
    client.put("layer", DATA, **options)
    client.prepare("a", "layer", **options)
    client.mount("a", **options).close()
    return ",".join(client.keys(**options))


def do_many(client, count):
    for i in range(count):
        client.prepare(f"many{i}")


def do_flags(client, key, **options):
    """What the mount that one gets lets nobody do."""
    tree = client.mount(key, **options)
    found = os.fstatvfs(tree.fd).f_flag
    tree.close()
    return ",".join(name for name in ("NOSUID", "NODEV") if found & getattr(os, f"ST_{name}"))


def unlock(fd):
    """In a user namespace of one's own: what becomes of the flags of a mount, and of a device node on it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000 | 0x00020000) < 0:  # CLONE_NEWUSER, CLONE_NEWNS
        return f"unshare: {errno.errorcode[ctypes.get_errno()]}"
    found = []
    for flag in (2, 4):  # MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV
        attributes = (ctypes.c_uint64 * 4)(0, flag, 0, 0)
        r = libc.syscall(442, fd, b"", 0x1000, attributes, 32)  # mount_setattr(), AT_EMPTY_PATH
        found.append(errno.errorcode[ctypes.get_errno()] if r < 0 else "taken off")
    try:
        os.close(os.open("null", os.O_RDONLY, dir_fd=fd))
        found.append("opened")
    except OSError as error:
        found.append(errno.errorcode[error.errno])
    return ",".join(found)


def do_unlock(client, key):
    """In a process with one thread, as the kernel wants it."""
    tree = client.mount(key)
    read, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(end, unlock(tree.fd).encode())
        os._exit(0)
    os.close(end)
    os.waitpid(child, 0)
    return os.read(read, 100).decode()


def do_begin(client, key, fd):
    client.prepare(key)
    return client.unpack_begin(key, fd, sha256(DATA))


def do_mount(client, key, **options):
    client.mount(key, **options).close()


ACTIONS = {
    "Prepare": lambda client, key, **options: client.prepare(key, **options),
    "View": lambda client, key, parent, **options: client.view(key, parent, **options),
    "Commit": lambda client, name, key, **options: client.commit(name, key, **options),
    "Remove": lambda client, key, **options: client.remove(key, **options),
    "Unpack": lambda client, key, **options: client.unpack(key, DATA, **options)["diff-id"],
    "Mount": do_mount,
    "Flags": do_flags,
    "Unlock": do_unlock,
    "Begin": do_begin,
    "Stat": lambda client, key, **options: client.stat(key, **options)["kind"],
    "List": lambda client, **options: ",".join(client.keys(**options)) or None,
    "Cancel": lambda client, job: client.cancel(job),
    "Jobs": lambda client, job: client.state(job)["State"],
    "Chain": do_chain,
    "Many": do_many,
}


def as_user(user, action, *arguments, keep=None, **options):
    command = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", sys.executable, __file__, action,
               json.dumps(arguments), json.dumps(options)]
    return subprocess.run(command, check=True, text=True, capture_output=True, pass_fds=[keep] if keep else [],
                          timeout=600).stdout.strip()


def refused(answer):
    assert answer in REFUSED, f"{answer!r} instead of a refusal"


def uid(user="alice"):
    return subprocess.run(["id", "-u", user], check=True, text=True, capture_output=True).stdout.strip()


def test_nothing_is_changed_without_rights():
    store.put("base", DATA)
    store.prepare("a")
    before = store.keys()
    for options in ({}, {"namespace": "system"}):
        for call in (("Prepare", "x"), ("View", "v", "base"), ("Commit", "c", "a"), ("Remove", "a"), ("Unpack", "a"),
                     ("Mount", "a")):
            refused(as_user("alice", *call, **options))
    equal(before, store.keys())
    equal("", ",".join(store.keys(namespace=f"u{uid()}")))


def test_only_ones_own_can_be_seen():
    store.put("base", DATA)
    equal("org.crt.Error.NotFound", as_user("alice", "Stat", "base"))
    equal("done", as_user("alice", "List"))
    refused(as_user("alice", "List", namespace="system"))
    refused(as_user("alice", "Stat", "base", namespace="system"))


def test_a_job_of_another_is_not_cancelled():
    store.prepare("p")
    job, write_end, rest = slow_layer("p", store)
    assert as_user("alice", "Cancel", job) != "done"
    assert as_user("alice", "Jobs", job) != "running"
    write(write_end, rest)
    os.close(write_end)
    store.wait(job)


def test_a_rule_lets_the_same_calls_pass():
    set_rule(f'{ALICE} && action.id.indexOf("org.crt.snapshots.") == 0 && action.lookup("namespace") == "u{uid()}"')
    equal("a,layer", "".join(as_user("alice", "Chain").split()))
    refused(as_user("alice", "Chain", namespace="system"))
    refused(as_user("alice", "Chain", namespace="elsewhere"))
    equal([], store.keys())
    equal(["a", "layer"], store.keys(namespace=f"u{uid()}"))
    refused(as_user("bob", "Prepare", "x"))


def test_a_rule_can_see_verb_and_snapshot():
    set_rule(f'{ALICE} && action.lookup("verb") == "Prepare" && action.lookup("snapshot") == "mine"')
    equal("done", as_user("alice", "Prepare", "mine"))
    refused(as_user("alice", "Prepare", "yours"))
    refused(as_user("alice", "Remove", "mine"))
    refused(as_user("alice", "Mount", "mine"))


def test_a_mount_is_no_way_to_devices_or_to_setuid_files():
    set_rule(ALICE)
    as_user("alice", "Chain")
    as_user("alice", "View", "v", "layer")
    as_user("alice", "Prepare", "alone")
    for key in ("v", "a", "alone"):
        equal("NOSUID,NODEV", as_user("alice", "Flags", key))
    equal("NODEV", do_flags(store, "v", namespace=f"u{uid()}"))


def test_a_user_namespace_does_not_take_the_flags_of_a_mount_off():
    for setting in ("CRT_SNAPSHOTS_DRIVER=overlayfs", "CRT_SNAPSHOTS_MOUNT_FALLBACK=yes", "CRT_SNAPSHOTS_DRIVER=copy"):
        use_setting(f"Environment={setting}")
        set_rule(ALICE)
        as_user("alice", "Chain")
        as_user("alice", "View", "v", "layer")
        for key in ("v", "a"):
            equal("EPERM,EPERM,EACCES", as_user("alice", "Unlock", key))
        clean()


def test_another_namespace_takes_two_rights():
    set_rule(f'{ALICE} && action.id == "org.crt.snapshots.write"')
    refused(as_user("alice", "Prepare", "x", namespace="system"))
    set_rule(f'{ALICE} && action.id == "org.crt.other-namespaces"')
    refused(as_user("alice", "Prepare", "x", namespace="system"))
    set_rule(f'{ALICE} && (action.id == "org.crt.snapshots.write" || action.id == "org.crt.other-namespaces")')
    equal("done", as_user("alice", "Prepare", "x", namespace="system"))
    equal(["x"], store.keys())


def test_one_user_has_a_limit_and_others_do_not_feel_it():
    set_rule(f'{ALICE} || subject.user == "bob"')
    equal("done", as_user("alice", "Many", 1024))
    systemctl("restart", "crt-snapshots")  # the limit is not only in memory
    equal("org.crt.Error.LimitsExceeded", as_user("alice", "Prepare", "x"))
    store.prepare("of-root")
    equal("done", as_user("bob", "Prepare", "x"))
    equal("done", as_user("alice", "Remove", "many7"))
    equal("done", as_user("alice", "Prepare", "x"))


def test_one_user_has_so_many_bytes():
    use_setting("Environment=CRT_SNAPSHOTS_BYTES_PER_USER=1")
    set_rule(f'{ALICE} || subject.user == "bob"')
    equal("done", as_user("alice", "Prepare", "a"))
    as_user("alice", "Unpack", "a")
    equal("done", as_user("alice", "Prepare", "b"))  # counted is what is committed
    equal("done", as_user("alice", "Commit", "mine", "a"))
    equal("org.crt.Error.LimitsExceeded", as_user("alice", "Prepare", "x"))
    equal("org.crt.Error.LimitsExceeded", as_user("alice", "View", "x", "mine"))
    store.put("of-root", DATA)
    store.prepare("x")
    equal("done", as_user("bob", "Prepare", "x"))
    equal("done", as_user("alice", "Remove", "mine"))
    equal("done", as_user("alice", "Prepare", "x"))


def test_users_who_feed_nothing_do_not_keep_others_from_unpacking():
    set_rule('subject.user == "alice" || subject.user == "bob" || subject.user == "daemon"')
    read, write_end = os.pipe()
    for user in ("alice", "bob"):
        for i in range(2):
            equal("/", as_user(user, "Begin", f"p{i}", read, keep=read)[:1])
    wait_for(lambda: len(worker_pids()) == 4, what="the workers")
    equal("done", as_user("daemon", "Prepare", "p"))
    equal(sha256(DATA), as_user("daemon", "Unpack", "p"))
    os.close(read)
    os.close(write_end)


def test_images_may_unpack_for_everyone_but_not_mount():
    equal("done", as_user("crt-images", "Prepare", "l", namespace="u4711"))
    equal(sha256(DATA), as_user("crt-images", "Unpack", "l", namespace="u4711"))
    equal("done", as_user("crt-images", "Commit", "layer", "l", namespace="u4711"))
    equal("done", as_user("crt-images", "View", "v", "layer", namespace="u4711"))
    refused(as_user("crt-images", "Mount", "v", namespace="u4711"))
    refused(as_user("crt-content", "Prepare", "x"))
    equal("done", as_user("crt-images", "Remove", "v", namespace="u4711"))


if len(sys.argv) > 1:
    wanted, wanted_arguments, wanted_options = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])

    def answer():
        result = ACTIONS[wanted](Snapshots(), *wanted_arguments, **wanted_options)
        return (result,) if result else None

    print(outcome(answer))
else:
    run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
