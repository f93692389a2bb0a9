#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Diff beside `ctr snapshots diff`: the same changes of the same tree, entry by entry and field by field; and what one
of them made, applied by the others."""

import io
import math
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import (Snapshots, check_disk, entry, equal, layer, run_cases, sha256, subprocess,  # noqa: E402
                            tarfile)
from peer_images import Containerd, describe, differences, with_crt, with_umoci  # noqa: E402

store = Snapshots()
BASE = layer("d/", entry("d/f", b"base", mtime=1000), entry("d/gone", b"x"), "gone/", entry("gone/a", b"x"), "gone/b/",
             entry("gone/b/c", b"x"), "file-over/", entry("file-over/x", b"x"), entry("directory-over", b"file"),
             entry("link-over", b"file"), entry("link", kind=tarfile.SYMTYPE, linkname="d/f"), "opaque/",
             entry("opaque/old", b"x"), entry("opaque/again", b"x"), "opaque/sub/", entry("opaque/sub/old", b"x"),
             "same/", entry("same/deep", b"u"), entry("one", b"linked"),
             entry("two", kind=tarfile.LNKTYPE, linkname="one"), entry("plain", b"p", uid=5, gid=6),
             entry("su", b"s", mode=0o4755), entry("node", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
             entry("fifo", kind=tarfile.FIFOTYPE), entry("attributes", b"a"))
CAPABILITY = "0x0100000200040000000000000000000000000000"
LONG = "$(printf '%0200d' 1)"

# What is done to the tree.
CHANGES = {
    "nothing": "true",
    "additions": "echo n > n; mkdir -p new/er; echo x > new/er/x; ln -s /nowhere/else dangling; : > empty;"
                 f" echo u > größe; echo l > $(printf 'a\\nb'); mkdir -p {LONG}/{LONG}; echo l > {LONG}/{LONG}/{LONG};"
                 f" ln -s {LONG}/{LONG} long-link; chown 3000000:4000000 n; touch -d @5 new/er/x;"
                 " touch -d @1234567890.987654321 n",
    "times before 1970 and after 2242": "echo o > old; touch -d '1960-06-29 18:40:00 UTC' old; echo f > far;"
                                        " touch -d @8700000000 far",
    "changes of contents": "echo more >> d/f; echo other > same/deep; : > plain",
    "the same contents with another time": "touch -d @77 d/f same/deep; touch -d @78 same",
    "a link to elsewhere": "ln -sfn elsewhere link",
    "deletions": "rm d/gone; rm -r gone; rm link node fifo; rm opaque/sub/old",
    "deletions of everything": "rm -r *",
    "an opaque directory": "rm -r opaque; mkdir opaque; echo n > opaque/new; echo a > opaque/again; mkdir opaque/sub",
    "an opaque directory with nothing in it": "rm -r opaque; mkdir opaque",
    "a renamed directory": "cp -a gone moved; rm -r gone",
    "hard links": "echo h > h1; ln h1 h2; mkdir in; ln h1 in/h3; ln -s h1 s; ln -P s s2",
    "a further name of an old file": "ln one three",
    "one of two names removed": "rm one",
    "a file of two names changed": "echo more >> two",
    "extended attributes": f"setfattr -n security.capability -v {CAPABILITY} attributes; echo n > ping;"
                           f" setfattr -n security.capability -v {CAPABILITY} ping",
    "extended attributes of users": "setfattr -n user.note -v text attributes; setfattr -n user.d -v text d",
    "devices": "mknod null c 1 3; mknod disk b 259 1048575; mkfifo pipe; rm node; mknod node b 8 1; chmod 666 null",
    "modes": "chmod 700 d; chmod 4755 plain; chmod 1777 opaque; chmod 000 d/f; chmod 755 su; chmod 2755 same",
    "owners": "chown 7:8 d plain; chown -h 9:10 link",
    "replaced types": "rm -r file-over; echo f > file-over; rm directory-over; mkdir directory-over;"
                      " echo in > directory-over/in; rm link-over; ln -s d link-over; rm link; mkdir link; rm fifo;"
                      " echo f > fifo; rm -r gone; mkfifo gone; rm -r opaque; ln -s same opaque",
    "a sparse file": "truncate -s 1M sparse; echo end >> sparse",
    "a socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'",
}

EVERYTHING = "; ".join((
    "echo more >> d/f; rm d/gone one; rm -r gone; rm -r file-over; echo f > file-over; rm directory-over",
    "mkdir directory-over; echo in > directory-over/in; rm link-over; ln -s d link-over; rm fifo; mkdir fifo",
    CHANGES["an opaque directory"], CHANGES["additions"], CHANGES["hard links"], CHANGES["extended attributes"],
    "ln two further; mknod null c 1 3; mknod disk b 259 1048575; mkfifo pipe; chmod 4755 plain; chmod 1777 opaque",
    "chown 7:8 d su; chmod 4711 su; chmod 000 same/deep; touch -d @77 d same", CHANGES["a sparse file"]))


def clean():
    store.clear()
    check_disk()


def apply_change(script, path):
    subprocess.run(["sh", "-e", "-c", script], cwd=path, check=True)


def diff_of_crt(script):
    """The layer, and the tree as it is then."""
    store.put("base", BASE)
    store.prepare("changed", "base")
    with store.mount("changed") as path:
        apply_change(script, path)
        tree = describe(path)
    (handle, job), fds = store.call("Diff", "changed")
    with os.fdopen(fds.steal_fds()[handle], "rb") as stream:
        data = stream.read()
    store.wait(job)
    return data, tree


# ---- what an archive says ----

def entry_fields(archive, info):
    fields = {"type": "file" if info.isreg() else info.type, "mode": oct(info.mode), "owner": (info.uid, info.gid),
              "mtime": math.floor(info.mtime), "xattrs": {name: value for name, value in info.pax_headers.items()
                                                          if name.startswith("SCHILY.xattr.")}}
    if abs(info.mtime - time.time()) < 24 * 3600:
        fields["mtime"] = "now"
    if info.isreg():
        fields["size"], fields["contents"] = info.size, sha256(archive.extractfile(info).read())
    if info.issym():
        fields["target"] = info.linkname
    if info.ischr() or info.isblk():
        fields["device"] = (info.devmajor, info.devminor)
    return fields


def entries(data):
    """{path: what the archive says of it}, with each name of a file as if that were the first."""
    found, names = {}, {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            name = os.path.normpath(info.name)
            assert name not in found, f"{name!r} comes twice"
            first = os.path.normpath(info.linkname) if info.islnk() else name
            names.setdefault(first, set()).add(name)
            found[name] = found[first] if info.islnk() else entry_fields(archive, info)
    return {name: {**fields, "names": sorted(next(group for group in names.values() if name in group))}
            for name, fields in found.items()}


def is_whiteout(path):
    return os.path.basename(path).startswith(".wh.")


def check_order(data):
    """Image specification, layer.md, "Whiteouts": they should come before the entries beside them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        others = set()
        for name in (os.path.normpath(name) for name in archive.getnames()):
            assert not is_whiteout(name) or os.path.dirname(name) not in others, f"{name!r} comes late"
            if not is_whiteout(name) and name != ".":
                others.add(os.path.dirname(name))


def check_same(ours, theirs, more):
    """more: what only ours tells, {path: the extended attributes that make it differ}."""
    # The root is a directory as any other, with a time (layer.md, "Change Types"); containerd leaves it out.
    ours.pop(".", None)
    for path, attributes in more.items():
        equal((path, attributes), (path, ours.pop(path)["xattrs"]))
    for path in sorted(set(ours) | set(theirs)):
        one, other = ours.get(path, {}), theirs.get(path, {})
        # An empty file with a name is all that the specification says of a whiteout; 1.6 gives it the time of now.
        different = {field: (one.get(field), other.get(field)) for field in {**one, **other}
                     if one.get(field) != other.get(field) and not (field == "mtime" and is_whiteout(path))}
        assert one and other and not different, f"{path!r}: {different}"


# Everything that a layer can say (layer.md, "File Attributes": xattrs) is in ours; containerd 1.6 has none of users.
MORE = {"extended attributes of users": {"attributes": {"SCHILY.xattr.user.note": "text"},
                                         "d": {"SCHILY.xattr.user.d": "text"}}}


def make_comparison(peer, base, name, script):
    def compare():
        ours, _ = diff_of_crt(script)
        check_order(ours)
        theirs = peer.diff(base, lambda path: apply_change(script, path))
        check_same(entries(ours), entries(theirs), MORE.get(name, {}))

    compare.__name__ = f"test_{name.replace(' ', '_')}"
    return compare


# ---- one's layer as others apply it ----

def cut_times(tree):
    """containerd 1.6 cuts them off to seconds."""
    return {path: {**fields, "mtime": fields["mtime"] if fields["mtime"] == "now" else fields["mtime"] // 10**9 * 10**9}
            for path, fields in tree.items()}


def check_applied(peer, data, expected):
    for name, unpack in (("crt", with_crt), ("umoci", with_umoci), ("containerd", peer.unpack)):
        different = differences(expected, unpack([BASE, data]))
        assert not different, f"{name}: {different}"


def main():
    peer = Containerd()
    base = peer.keep_base(BASE)

    def test_a_layer_of_crt_applied_by_the_others():
        data, tree = diff_of_crt(EVERYTHING)
        clean()
        check_applied(peer, data, tree)

    def test_a_layer_of_containerd_applied_by_the_others():
        _, tree = diff_of_crt(EVERYTHING)
        clean()
        check_applied(peer, peer.diff(base, lambda path: apply_change(EVERYTHING, path)), cut_times(tree))

    try:
        run_cases([make_comparison(peer, base, name, script) for name, script in CHANGES.items()] +
                  [test_a_layer_of_crt_applied_by_the_others, test_a_layer_of_containerd_applied_by_the_others], clean)
    finally:
        peer.stop()


main()
