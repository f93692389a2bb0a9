#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same snapshots with every driver on every file system: one tree, field by field."""

import hashlib
import os
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, change_records, check_disk, entry, equal, failure  # noqa: E402
from snapshot_trees import kill_daemon, layer, rows, systemctl  # noqa: E402
from snapshot_disks import Disk, loop_devices  # noqa: E402

store = Snapshots()
CAPABILITY = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"  # cap_net_bind_service
PAX = {"SCHILY.xattr.user.note": "said", "SCHILY.xattr.security.capability": CAPABILITY}
LINK = {"kind": tarfile.SYMTYPE}

BASE = layer(
    entry("./", mode=0o751, mtime=1111111111), "etc/", entry("etc/passwd", b"root"), entry("etc/gone", b"x"),
    entry("bin/", mode=0o2755, gid=7), entry("bin/su", b"#!", mode=0o4755, uid=3, gid=4),
    entry("bin/ping", b"elf", pax_headers=PAX), entry("bin/sh", linkname="su", **LINK),
    entry("bin/dash", linkname="bin/ping", kind=tarfile.LNKTYPE), "dev/", "run/",
    entry("dev/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    entry("run/fifo", kind=tarfile.FIFOTYPE, mode=0o600), entry("tmp/", mode=0o1777, uid=5),
    entry("opaque/", uid=8), entry("opaque/old", b"old"), entry("opaque/sub/"), entry("opaque/sub/deep", b"deep"),
    entry("was-file", b"f"), entry("was-directory/"), entry("was-directory/inside", b"i"),
    entry("was-link", linkname="/etc", **LINK), entry("big", os.urandom(300000)), entry("empty", b""),
    *(entry(name, name.encode()) for name in OWN_NAMES), *(entry(f"run/{name}/", uid=9) for name in OWN_NAMES),
    entry("long-link", linkname="x" * 1000, **LINK), "a" * 200 + "/", entry("a" * 200 + "/" + "b" * 200, b"long"))

# Whiteouts, opaque directories, other types in the place of some, a directory that only its contents imply.
TOP = layer(
    entry("etc/.wh.gone"), entry("opaque/.wh..wh..opq"), entry("opaque/new", b"new"), entry("was-file/", mode=0o700),
    entry("was-file/in", b"in"), entry("was-directory", b"now a file", mode=0o640),
    entry("was-link/"), entry("was-link/real", b"real"), entry("tmp/implied", b"implied"),
    entry("bin/.wh.sh"), entry("etc/passwd", b"changed", mode=0o600, mtime=999999999))
BROTHERS = [layer(entry(f"etc/brother{i}", b"%d" % i), entry(f"etc/.wh.brother{i - 1}")) for i in range(4)]


def attributes(path):
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
            if not name.startswith(("trusted.overlay", "security.selinux"))}


def describe(path):
    """One entry: everything that a container can see of it, but not where it is stored."""
    st = os.lstat(path)
    fields = [stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns, attributes(path)]
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as file:
            fields += [st.st_size, st.st_nlink, hashlib.sha256(file.read()).hexdigest()]
    elif stat.S_ISLNK(st.st_mode):
        fields += [st.st_size, os.readlink(path)]
    elif not stat.S_ISDIR(st.st_mode):
        fields.append(st.st_rdev)
    return fields


def walk(root):
    tree = {"": describe(root)}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            tree[os.path.relpath(path, root)] = describe(path)
    return tree


def seen(key, **options):
    with store.mount(key, **options) as path:
        return walk(path)


def change(path):
    """As a container would, with times that are the same everywhere."""
    os.unlink(f"{path}/etc/passwd")
    os.rename(f"{path}/opaque/new", f"{path}/opaque/newer")
    with open(f"{path}/big", "r+b") as file:
        file.seek(100000)
        file.write(b"changed")
    os.chown(f"{path}/bin/su", 11, 12)
    os.mkdir(f"{path}/added")
    os.link(f"{path}/big", f"{path}/added/link")
    os.symlink("nowhere", f"{path}/added/symlink")
    os.mknod(f"{path}/added/zero", 0o20644, os.makedev(1, 5))
    os.setxattr(f"{path}/added", "user.note", b"x")
    os.unlink(f"{path}/was-file/in")
    os.rmdir(f"{path}/was-file")
    with open(f"{path}/was-file", "wb"):
        pass
    for name in ("added/link", "added/symlink", "added/zero", "added", "was-file", "bin/su", "opaque/newer", "opaque",
                 "etc", "."):
        os.utime(f"{path}/{name}", (5, 5), follow_symlinks=False)


def compare(what, expected, found, where):
    for path in sorted(set(expected) | set(found)):
        if expected.get(path) != found.get(path):
            raise AssertionError(f"{what}, {where}: {path}: {expected.get(path)} became {found.get(path)}")


def life():
    """From two layers to a committed change of them; what was seen on the way."""
    trees_seen = {}
    store.put("base", BASE)
    store.put("top", TOP, "base")
    for i, data in enumerate(BROTHERS):
        store.put(f"brother{i}", data, f"brother{i - 1}" if i else "top")
    check_disk()  # what the trees were made from is gone, too: it may have the same files
    for name in ("base", "top", "brother3"):
        store.view(f"view-{name}", name)
        trees_seen[name] = seen(f"view-{name}")
    store.prepare("active", "top")
    trees_seen["prepared"] = seen("active")
    with store.mount("active") as path:
        change(path)
        trees_seen["changed"] = walk(path)
    trees_seen["read-only"] = seen("active", **{"read-only": True})
    store.commit("written", "active")
    check_disk()
    store.view("view-written", "written")
    trees_seen["written"] = seen("view-written")
    store.prepare("after", "written")
    trees_seen["after"] = seen("after")
    trees_seen["base again"] = seen("view-base")
    for one, other in (("base", "base again"), ("top", "prepared"), ("changed", "read-only"), ("changed", "written"),
                       ("changed", "after")):
        compare(one, trees_seen[one], trees_seen[other], other)
    return trees_seen


REFERENCE = {}


def check_driver(kind, driver, more=""):
    with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver} {more}".strip()):
        found = life()
        equal({driver}, {store.stat(key)["driver"] for key in store.keys()})
        if not REFERENCE:
            REFERENCE.update(found)
        for name, tree in REFERENCE.items():
            compare(name, tree, found[name], f"{driver} on {kind}")
        store.clear()
        check_disk()
        equal([], [line for line in loop_devices() if "layer.erofs" in line])


UNDER = layer(
    entry("./", mode=0o751, uid=3, mtime=1111111111), entry("merged/", mode=0o700, uid=4), entry("merged/below", b"b"),
    entry("merged/both", b"below"), entry("moved/", uid=5), entry("moved/below", b"m"), entry("was-file", b"f"),
    entry("was-directory/"), entry("was-directory/inside", b"i"), entry("was-link", linkname="merged", **LINK),
    entry("one", b"linked"), entry("two", linkname="one", kind=tarfile.LNKTYPE), "untouched/",
    entry("untouched/f", b"u", pax_headers=PAX))


def write_alone(path):
    """What a container leaves that has no parent."""
    def put(name, text):
        with open(f"{path}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    for name in ("merged", "merged/new", "was-file", "was-link", "before"):
        os.mkdir(f"{path}/{name}")
    os.rename(f"{path}/before", f"{path}/moved")
    for name in ("merged/both", "merged/new/deep", "moved/f", "was-file/in", "was-link/real", "was-directory", "gone",
                 "mine"):
        put(name, name)
    os.unlink(f"{path}/gone")
    os.link(f"{path}/mine", f"{path}/merged/linked")
    os.symlink("nowhere", f"{path}/link")
    os.mknod(f"{path}/null", 0o20644, os.makedev(1, 3))
    os.setxattr(f"{path}/merged", "user.note", b"x")
    os.chown(f"{path}/merged", 11, 12)
    os.chmod(path, 0o711)
    for name in (*(os.path.relpath(os.path.join(at, name), path) for at, directories, files in os.walk(path)
                   for name in directories + files), "."):
        os.utime(f"{path}/{name}", (7, 7), follow_symlinks=False)


def merge(below, above):
    """Directories of both are merged; everything else takes the place of what has its name."""
    files = [f"{name}/" for name, fields in above.items() if fields[0][0] != "d"]
    return {**{name: fields for name, fields in below.items() if not name.startswith(tuple(files))}, **above}


def check_put_on_a_parent(kind, driver, below=""):
    """Something that was written without a parent, on one, as a commit puts it there and as its layer does."""
    with Disk(kind, environment=f"CRT_SNAPSHOTS_DRIVER={driver}"):
        store.prepare("new", driver=below)
        store.unpack("new", UNDER)
        store.commit("under", "new")
        check_disk()  # what the trees were made from is gone, too: it may have the same files
        store.view("look", "under")
        lower = seen("look")
        store.prepare("alone")
        with store.mount("alone") as path:
            write_alone(path)
            above = walk(path)
        (handle, job), fds = store.call("Diff", "alone")
        with os.fdopen(fds.steal_fds()[handle], "rb") as stream:
            data = stream.read()
        store.put("unpacked", data, "under")
        equal(store.wait(job)["diff-id"], store.stat("unpacked")["diff-id"])
        store.commit("committed", "alone", parent="under")
        equal("under", store.stat("committed")["parent"])
        equal({driver}, {store.stat(key)["driver"] for key in ("alone", "committed") if key in store.keys()})
        check_disk()
        expected = merge(lower, above)
        assert "merged/below" in expected and "moved/below" in expected and "was-directory/inside" not in expected
        for key in ("unpacked", "committed"):
            store.prepare(f"on-{key}", key)
            compare(key, expected, seen(f"on-{key}"), f"{driver} on {kind}")
            store.view(f"of-{key}", key)
            compare(key, expected, seen(f"of-{key}"), f"{driver} on {kind}")
        compare("under", lower, seen("look"), f"{driver} on {kind}")
        equal("", store.wait(store.call("Verify", "")[0][0])["damaged"])
        store.clear()
        check_disk()


def test_what_was_written_alone_is_put_on_a_parent():
    for kind, driver in (("ext4", "overlayfs"), ("ext4", "erofs"), ("ext4", "copy"), ("xfs", "copy"),
                         ("btrfs", "btrfs")):
        check_put_on_a_parent(kind, driver)
    for driver, under in (("copy", "erofs"), ("erofs", "copy"), ("overlayfs", "copy")):
        check_put_on_a_parent("ext4", driver, under)


def test_overlayfs_on_ext4():
    check_driver("ext4", "overlayfs")
    tree = REFERENCE["top"]
    equal(["opaque", "opaque/new"], sorted(path for path in tree if path.startswith("opaque")))
    assert "etc/gone" not in tree and "bin/sh" not in tree and "was-directory/inside" not in tree
    equal(5, tree["tmp"][1])
    equal({"user.note": b"said", "security.capability": CAPABILITY.encode("latin-1")}, tree["bin/ping"][4])
    equal(["etc", "etc/brother3", "etc/passwd"], sorted(p for p in REFERENCE["brother3"] if p.startswith("etc")))


def test_overlayfs_on_btrfs_and_xfs():
    check_driver("btrfs", "overlayfs")
    check_driver("xfs", "overlayfs")


def test_btrfs():
    check_driver("btrfs", "btrfs")


def test_subvolumes_in_a_tree_are_committed_with_it():
    with Disk("btrfs", environment="CRT_SNAPSHOTS_DRIVER=btrfs"):
        store.put("base", layer(entry("below", b"b")))
        store.prepare("a", "base")
        with store.mount("a") as path:
            for name in ("one", "one/two"):
                subprocess.run(["btrfs", "-q", "subvolume", "create", f"{path}/{name}"], check=True)
                with open(f"{path}/{name}/file", "w", encoding="ascii") as file:
                    file.write(name)
        store.commit("c", "a")
        store.prepare("next", "c")
        with store.mount("next") as path:
            for name, expected in (("below", "b"), ("one/file", "one"), ("one/two/file", "one/two")):
                with open(f"{path}/{name}", encoding="ascii") as file:
                    equal(expected, file.read())
        store.clear()
        check_disk()


def test_copies_with_and_without_reflinks():
    check_driver("xfs", "copy")
    check_driver("ext4", "copy")
    check_driver("btrfs", "copy")


def test_erofs_images():
    check_driver("ext4", "erofs")
    check_driver("xfs", "erofs")


def check_mount_of_base(*changes, refused):
    """The image is looked at when it is mounted anew, with these changes of the records."""
    systemctl("stop", "crt-snapshots")
    change_records(*changes)
    store.view("v", "base")
    if refused:
        assert "changed since" in failure("DigestMismatch", lambda: store.mount("v"))
    else:
        with store.mount("v") as path:
            equal(["file"], os.listdir(path))
    store.remove("v")


def test_the_seal_that_is_recorded_is_required():
    """Here no file system has fs-verity: an image that had it is not the one that was written (tests/vm: with it)."""
    with Disk("ext4", environment="CRT_SNAPSHOTS_DRIVER=erofs"):
        store.put("base", layer(entry("file", b"data")))
        ((number, seal),) = rows("SELECT id, verity FROM snapshots WHERE key = 'base'")
        equal(None, seal)
        check_mount_of_base(refused=False)
        check_mount_of_base(f"UPDATE snapshots SET verity = '1:00ff' WHERE id = {number}", refused=True)
        check_mount_of_base(f"UPDATE snapshots SET verity = NULL WHERE id = {number}", refused=False)
        note = f"{STATE}/trees/{number}/verity"
        with open(note, "w", encoding="ascii") as file:  # where earlier versions kept it
            file.write("1:00ff")
        check_mount_of_base(refused=True)
        os.unlink(note)
        check_mount_of_base(refused=False)
        store.clear()
        check_disk()


def test_attributes_that_an_image_can_not_count_are_refused():
    with Disk("xfs", environment="CRT_SNAPSHOTS_DRIVER=erofs"):
        store.prepare("a")
        with store.mount("a") as path:
            for i in range(5):
                os.setxattr(path, f"user.{i}", bytes(60000))
        assert "extended attributes" in failure("LimitsExceeded", lambda: store.commit("c", "a"))
        equal(["a"], store.keys())
        store.clear()


def test_erofs_images_through_loop_devices():
    check_driver("ext4", "erofs", "CRT_SNAPSHOTS_LOOP_FALLBACK=yes")


def test_all_as_older_kernels_want_it():
    check_driver("ext4", "erofs", "CRT_SNAPSHOTS_LOOP_FALLBACK=yes CRT_SNAPSHOTS_MOUNT_FALLBACK=yes")
    check_driver("btrfs", "btrfs", "CRT_SNAPSHOTS_MOUNT_FALLBACK=yes")


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], lambda: None)
