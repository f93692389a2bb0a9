#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# host: --disk 3G
"""Every form of layers (layer_forms.py) as umoci and containerd unpack them, compared field by field. Where one of them
differs, that is written down here with the reason why crt does as it does, and is printed as a report."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from layer_forms import FORMS, archives, make_tree  # noqa: E402
from peer_images import Containerd, Refused, describe, differences, remove, scratch, with_crt, with_umoci  # noqa: E402
from snapshot_trees import Snapshots, check_disk, run_cases  # noqa: E402

OLD_UMOCI = "umoci 0.4 does not know this form"
HIDDEN = "containerd, which does not look below for overlayfs, hides the link and all that is behind it; umoci agrees"
BELOW = ("umoci has the whole tree in one directory; who unpacks for overlayfs (containerd) has no such file: layers "
         "link what they have")
WORDS = "both know ACLs as values only (SCHILY.xattr); GNU tar --acls and bsdtar write words, and read them"
KNOWN = {
    ("pax-global", "umoci"): "umoci 0.4 refuses what git-archive writes; containerd reads it and takes nothing from it",
    ("pax-xattrs", "umoci"): "an attribute without a value is one, too",
    ("libarchive-xattrs", "umoci"): "bsdtar writes them so where the value is no text",
    ("libarchive-xattrs", "containerd"): "bsdtar writes them so where the value is no text",
    ("gnu-numbers", "containerd"): "containerd has no time before 1970; the archive has",
    ("times-before-1970", "containerd"): "containerd has no time before 1970; the archive has",
    ("sparse-old", "all"): "both refuse GNU's old form; its meaning is clear",
    ("sparse-old-blocks", "all"): "both refuse GNU's old form; its meaning is clear",
    ("contiguous", "all"): "POSIX: where there are no contiguous files, it is a file",
    ("hard-links", "containerd"): "containerd gives the file the owner of each further name's entry; tar, umoci do not",
    ("hard-link-to-a-file-below", "umoci"): BELOW,
    ("hard-link-to-a-file-below-over-another", "umoci"): BELOW,
    ("hard-link-to-a-link-below", "umoci"): BELOW,
    ("hard-link-to-what-is-hidden", "containerd"): "containerd makes a second whiteout of it; umoci refuses",
    ("capability-and-acl", "containerd"): "containerd lets files inherit what their entries don't have",
    ("acl-in-words", "all"): WORDS,
    ("acl-of-somebody", "all"): "nobody here knows who that is: with the ACL left out, others would get his rights",
    ("labels", "containerd"): "security-labels=drop, the default: labels are the host's to give; umoci agrees",
    ("names", "containerd"): "containerd skips the entry of the root; the archive has it (layer.md)",
    ("dot-entry", "containerd"): "containerd skips the entry of the root; the archive has it (layer.md)",
    ("zstd", "umoci"): OLD_UMOCI,
    ("zstd-frames", "umoci"): OLD_UMOCI,
    ("zstd-skippable-first", "umoci"): OLD_UMOCI,
    ("file-then-whiteout", "containerd"): "containerd stumbles; whiteouts concern lower layers only (layer.md)",
    ("directory-then-whiteout", "containerd"): "containerd stumbles; whiteouts concern lower layers only (layer.md)",
    ("whiteout-then-directory", "containerd"): "containerd forgets the whiteout, and what it hid is back",
    ("opaque-root", "containerd"): "containerd leaves the mark to overlayfs, which ignores it on the root of a layer",
    ("below-a-link", "containerd"): HIDDEN,
    ("below-a-link-of-a-link", "containerd"): HIDDEN,
    ("below-links-in-the-middle", "containerd"): HIDDEN,
    ("below-a-link-to-nothing", "containerd"): HIDDEN,
    ("below-a-link-out-of-the-root", "containerd"): HIDDEN,
    ("below-a-link-to-the-root", "containerd"): HIDDEN,
    ("below-a-link-to-a-file", "containerd"): HIDDEN,
    ("whiteout-below-a-link", "containerd"): HIDDEN,
    ("directories-below-a-link", "containerd"): HIDDEN,
    ("below-a-link-and-where-it-leads", "containerd"): HIDDEN,
    ("below-what-replaced-a-link", "containerd"): "containerd takes modes from behind that link; umoci agrees",
    ("below-what-replaced-a-link-below-a-link", "containerd"): HIDDEN,
    ("below-a-link-to-what-was-replaced", "containerd"): HIDDEN,
    ("directory-then-link", "containerd"): "containerd sets the directory's time in the end, through the link",
}


def clean():
    Snapshots().clear()
    check_disk()


def attempt(unpack, layers):
    try:
        return unpack(layers)
    except Refused as error:
        return " ".join(str(error).encode("ascii", "replace").decode().split())


def compare(name, peer, ours, theirs):
    """What differs, as one line; or nothing."""
    if isinstance(ours, str) or isinstance(theirs, str):
        if isinstance(ours, str) and isinstance(theirs, str):
            return None
        return f"crt refuses: {ours[-150:]}" if isinstance(ours, str) else f"{peer} refuses: {theirs[-150:]}"
    found = differences(ours, theirs)
    return str(found)[:400] if found else None


def check_forms(forms, peers):
    problems = []
    for name, layers in forms:
        ours = attempt(with_crt, layers)
        for peer, unpack in peers.items():
            found = compare(name, peer, ours, attempt(unpack, layers))
            why = KNOWN.get((name, peer)) or KNOWN.get((name, "all"))
            if found and why:
                print(f"# {name}: {found}\n#   {why}")
            elif found:
                problems.append(f"{name}: {peer}: {found}")
            elif why:
                problems.append(f"{name}: {peer} does not differ any more")
    assert not problems, "\n".join(problems)


def test_forms():
    containerd = Containerd()
    try:
        check_forms(FORMS.items(), {"umoci": with_umoci, "containerd": containerd.unpack})
    finally:
        containerd.stop()


def test_what_the_archivers_write_is_what_they_read():
    """GNU tar and bsdtar in all of their forms: the tree that comes out is the one that went in."""
    top, problems = scratch(), []
    make_tree(top)
    expected = describe(top)
    for name, layers in archives(top):
        found = differences(expected, attempt_tree(layers))
        # Forms without attributes, and without devices, fifos or holes, lose what they can't say.
        for path, fields in list(found.items()):
            if isinstance(fields, dict) and path == "usr/bin/capable" and not name.endswith(("xattrs", "pax")):
                fields.pop("xattrs", None)
            if isinstance(fields, dict) and path.startswith("shared") and not name.endswith(("xattrs", "pax", "acls")):
                fields.pop("xattrs", None)
            if name.endswith("=v7") and path in ("fifo", "null"):
                del found[path]
            elif not fields:
                del found[path]
        if found:
            problems.append(f"{name}: {found}")
    remove(top)
    assert not problems, "\n".join(problems)


def attempt_tree(layers):
    found = attempt(with_crt, layers)
    assert not isinstance(found, str), found
    return found


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
