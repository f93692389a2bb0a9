#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same layers as GNU tar and umoci unpack them: equal in every field of every file."""

import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, entry, layer, sha256  # noqa: E402

store = Snapshots()
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def clean():
    store.clear()
    check_disk()


def make_file(path, data=b"", mode=0o644, owner=(0, 0), when=1234567890):
    with open(path, "wb") as file:
        file.write(data)
    os.chown(path, *owner)
    os.chmod(path, mode)
    os.utime(path, ns=(when * 10**9 + 1, when * 10**9 + 123456789))


def make_everything(top):
    os.makedirs(f"{top}/usr/bin")
    os.makedirs(f"{top}/deep/" + "/".join(["d" * 60] * 8))
    make_file(f"{top}/usr/bin/su", b"s" * 5000, 0o4755, (0, 42))
    make_file(f"{top}/usr/bin/wall", b"w" * 100, 0o2755, (0, 5))
    make_file(f"{top}/usr/bin/ping", b"p" * 3000, 0o755)
    os.setxattr(f"{top}/usr/bin/ping", "security.capability", CAPABILITY)
    os.setxattr(f"{top}/usr/bin/ping", "user.note", b"with \0 in it")
    os.link(f"{top}/usr/bin/su", f"{top}/usr/bin/su-again")
    os.symlink("../../etc/absent", f"{top}/usr/bin/dangling")
    os.symlink("x" * 150, f"{top}/long-link")
    os.lchown(f"{top}/long-link", 1000, 1001)
    make_file(f"{top}/" + "n" * 255, b"long name")
    make_file(f"{top}/größe-🎈", b"utf-8", owner=(2000000, 3000000))
    make_file(os.fsencode(f"{top}/latin-") + b"\xe4\xff", b"no utf-8")
    make_file(f"{top}/empty", b"", 0o000)
    make_file(f"{top}/old", b"1960")
    os.utime(f"{top}/old", (-300000000, -300000000))
    with open(f"{top}/sparse", "wb") as file:
        for offset in (0, 1 << 20, 5 << 20):
            file.seek(offset)
            file.write(b"data" * 1000)
        file.truncate(8 << 20)
    os.mknod(f"{top}/null", 0o20666, os.makedev(1, 3))
    os.mknod(f"{top}/disk", 0o60660, os.makedev(8, 17))
    os.chmod(f"{top}/null", 0o666)
    os.mkfifo(f"{top}/fifo", 0o640)
    os.mkdir(f"{top}/tmp")
    os.chmod(f"{top}/tmp", 0o1777)
    os.mkdir(f"{top}/shared", 0o755)
    os.chown(f"{top}/shared", 7, 8)
    os.chmod(f"{top}/shared", 0o2775)
    make_file(f"{top}/shared/inside", b"x", owner=(7, 9))
    for i in range(300):
        make_file(f"{top}/deep/f{i}", os.urandom(i * 40), owner=(i, i))
    os.utime(f"{top}/deep", (100, 200))
    os.utime(top, (300, 400))


def describe(top):
    found, links = {}, {}
    top = os.fsencode(top)
    for directory, directories, files in os.walk(top):
        for name in [b"", *files, *[d for d in directories if os.path.islink(os.path.join(directory, d))]]:
            path = os.path.join(directory, name) if name else directory
            relative = os.path.relpath(path, top)
            st = os.lstat(path)
            if relative in found:
                continue
            fields = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "mtime": st.st_mtime_ns,
                      "rdev": st.st_rdev}
            if os.path.islink(path):
                fields["target"] = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    fields["contents"] = sha256(file.read())
                fields["links"], fields["size"] = st.st_nlink, st.st_size
                fields["same file as"] = links.setdefault(st.st_ino, relative)
            if not os.path.islink(path):
                fields["xattrs"] = sorted((name, os.getxattr(path, name)) for name in os.listxattr(path)
                                          if not name.startswith("trusted."))
            found[relative] = fields
    return found


def check_same(expected, got, ignore=()):
    for path in sorted(set(expected) | set(got)):
        one, other = expected.get(path), got.get(path)
        assert one and other, f"{path} is missing in one: {one} {other}"
        different = {field: (one[field], other.get(field)) for field in one
                     if field not in ignore and one[field] != other.get(field)}
        assert not different, f"{path}: {different}"


def unpack_here(data):
    store.put("l", data)
    store.view("v", "l")
    with store.mount("v") as path:
        return describe(path)


def scratch():
    # Where overlays and all attributes are possible, and deleted with the host.
    return tempfile.mkdtemp(prefix="peers-", dir="/var/lib/crt")


def tar(*arguments):
    return subprocess.run(["tar", "--numeric-owner", *arguments], check=True, stdout=subprocess.PIPE).stdout


def make_tars(top):
    yield tar("-C", top, "--format=posix", "--xattrs", "--xattrs-include=*", "--sparse", "-c", ".")
    yield tar("-C", top, "--format=gnu", "--sparse", "-c", ".")
    yield tar("-C", top, "--format=posix", "-c", ".")


def test_everything_as_gnu_tar_has_it():
    top = scratch()
    make_everything(top)
    try:
        probe = socket.socket(socket.AF_UNIX)
        probe.bind(f"{top}/socket")  # left out by both
    except OSError:
        pass
    for data in make_tars(top):
        other = scratch()
        subprocess.run(["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", "-", "-C", other],
                       input=data, check=True)
        check_same(describe(other), unpack_here(data))
        subprocess.run(["rm", "-rf", other], check=True)
        store.clear()
    subprocess.run(["rm", "-rf", top], check=True)


def diff_of(key, **options):
    (handle, job), fds = store.call("Diff", key, **options)
    with os.fdopen(fds.steal_fds()[handle], "rb") as stream:
        data = stream.read()
    store.wait(job)
    return data


def umoci_unpack(data, where):
    with open(f"{where}/layer.tar", "wb") as file:
        file.write(data)
    for command in (["init", "--layout", f"{where}/image"], ["new", "--image", f"{where}/image:x"],
                    ["raw", "add-layer", "--image", f"{where}/image:x", f"{where}/layer.tar"],
                    ["raw", "unpack", "--image", f"{where}/image:x", f"{where}/rootfs"]):
        subprocess.run(["umoci", *command], check=True, capture_output=True)
    return describe(f"{where}/rootfs")


def test_everything_as_umoci_has_it():
    top, where = scratch(), scratch()
    make_everything(top)
    data = tar("-C", top, "--format=posix", "--xattrs", "--xattrs-include=*", "-c", ".")
    check_same(umoci_unpack(data, where), unpack_here(data))
    subprocess.run(["rm", "-rf", top, where], check=True)


BELOW_LINKS = {
    "within": ("b/", entry("a", linkname="b", kind=tarfile.SYMTYPE), entry("a/f", b"x")),
    "absolute": ("b/", entry("a", linkname="/b", kind=tarfile.SYMTYPE), entry("a/d/"), entry("a/d/f", b"x")),
    "to what is not there": (entry("a", linkname="b/c", kind=tarfile.SYMTYPE), entry("a/f", b"x")),
    "up": ("b/", "c/", entry("c/a", linkname="../b", kind=tarfile.SYMTYPE), entry("c/a/f", b"x")),
    "out": ("b/", entry("a", linkname="../../../b", kind=tarfile.SYMTYPE), entry("a/f", b"x")),
    "chain": ("b/", entry("a", linkname="c", kind=tarfile.SYMTYPE), entry("c", linkname="b", kind=tarfile.SYMTYPE),
              entry("a/f", b"x")),
    "replaced": ("b/", entry("a", linkname="b", kind=tarfile.SYMTYPE), "a/", entry("a/f", b"x")),
    "hard link": ("b/", entry("b/f", b"x"), entry("a", linkname="b", kind=tarfile.SYMTYPE),
                  entry("h", linkname="a/f", kind=tarfile.LNKTYPE)),
    "whiteouts": ("b/", entry("b/f", b"x"), entry("a", linkname="b", kind=tarfile.SYMTYPE), entry("a/.wh.f"),
                  entry("a/.wh..wh..opq")),
}


def test_entries_below_links_as_umoci_has_them():
    for name, entries in BELOW_LINKS.items():
        data, where = layer(*entries), scratch()
        try:
            # What nobody describes has the time of its unpacking.
            check_same(umoci_unpack(data, where), unpack_here(data), ignore=("mtime",))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        subprocess.run(["rm", "-rf", where], check=True)
        store.clear()


def test_layers_of_ours_as_the_others_have_them():
    store.prepare("p")
    with store.mount("p") as path:
        make_everything(path)
        expected = describe(path)
    data = diff_of("p")
    other, where = scratch(), scratch()
    subprocess.run(["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", "-", "-C", other], input=data,
                   check=True)
    check_same(expected, describe(other))
    check_same(expected, umoci_unpack(data, where))
    subprocess.run(["rm", "-rf", other, where], check=True)


def test_what_umoci_finds_has_changed():
    """umoci tells what differs by its own record of the tree; the same names must be in both layers."""
    store.prepare("p")
    with store.mount("p") as path:
        make_everything(path)
    base, where = diff_of("p"), scratch()
    umoci_unpack(base, where)
    subprocess.run(["umoci", "unpack", "--image", f"{where}/image:x", f"{where}/bundle"], check=True,
                   capture_output=True)
    store.put("base", base)
    store.prepare("q", "base")
    change = ("rm usr/bin/wall; echo more >> empty; chmod 0700 tmp; mkdir -p new/er; echo n > new/er/f; rm -r deep/d*;"
              " ln empty linked; ln -sf elsewhere usr/bin/dangling; rm fifo; mkdir fifo")
    with store.mount("q") as path:
        subprocess.run(["sh", "-e", "-c", change], cwd=path, check=True)
    subprocess.run(["sh", "-e", "-c", change], cwd=f"{where}/bundle/rootfs", check=True)
    subprocess.run(["umoci", "repack", "--image", f"{where}/image:y", f"{where}/bundle"], check=True,
                   capture_output=True)
    theirs = subprocess.run(["sh", "-c", f"umoci stat --image {where}/image:y --json"], check=True, text=True,
                            capture_output=True).stdout
    digest = __import__("json").loads(theirs)["history"][-1]["layer"]["digest"].split(":")[1]
    with tarfile.open(f"{where}/image/blobs/sha256/{digest}") as archive:
        theirs = {os.path.normpath(info.name) for info in archive}
    with tarfile.open(fileobj=__import__("io").BytesIO(diff_of("q"))) as archive:
        ours = {os.path.normpath(info.name) for info in archive}
    # Directories on the way are in ours; the access times of directories alone are nothing to tell.
    missing = {name for name in theirs - ours if not os.path.basename(name).startswith(".wh..wh.")}
    assert not missing, sorted(missing)
    extra = {name for name in ours - theirs if not any(other.startswith(f"{name}/") for other in ours) and name != "."}
    assert not extra, sorted(extra)
    subprocess.run(["rm", "-rf", where], check=True)


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
