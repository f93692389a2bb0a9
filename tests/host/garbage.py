# SPDX-License-Identifier: LGPL-2.1-or-later
"""Collections of garbage as their tests use them."""

import mmap
import os

from content_store import equal
from image_pulls import GLib, TRANSFER, content, digests, images, snapshots
from interfaces import call

LABEL_ROOT, LABEL_EXPIRE = "org.crt.gc.root", "org.crt.gc.expire"
COLLECTOR = {"Content": ("org.crt.Content", "/org/crt/Content", "org.crt.Content1.Collector"),
             "Snapshots": ("org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1.Collector")}


def collect(client=images, **options):
    """What went, as numbers."""
    path = client.call("Collect", wait=True, **options)[0]
    result = client.properties(path, TRANSFER)["Result"]
    return {key: int(value) for key, value in result.items()}


def read_records(fds, index):
    fd = fds.get(index)
    try:
        size = os.fstat(fd).st_size
        if size == 0:
            return []
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as data:
            return [line.split("\t") for line in data[:].decode().splitlines()]
    finally:
        os.close(fd)


def call_with_fds(client, member, signature, *values):
    return call(client.connection, "org.crt.Images", "/org/crt/Images", "org.crt.Images1", member,
                GLib.Variant(signature, values))


def plan(client=images, **options):
    """[(kind, namespace, name)], and the bytes that are promised."""
    entries = {key.replace("_", "-"): GLib.Variant("b" if isinstance(value, bool) else
                                                   "s" if isinstance(value, str) else "t", value)
               for key, value in options.items()}
    (index, things, size), fds = call_with_fds(client, "Plan", "(a{sv})", entries)
    records = read_records(fds, index)
    equal(things, len(records))
    equal(size, sum(int(record[3]) for record in records))
    return [tuple(record[:3]) for record in records], records


def why(kind, name, **options):
    return images.call("Why", kind, name, **options)[0]


def inventory(service, **options):
    entries = {key: GLib.Variant("b", value) for key, value in options.items()}
    (index,), fds = call(images.connection, *COLLECTOR[service], "Inventory", GLib.Variant("(a{sv})", (entries,)))
    return read_records(fds, index)


def set_labels(kind, name, labels, **options):
    """Of a blob, snapshot or image; an empty value takes one away."""
    client = {"blob": content, "snapshot": snapshots, "image": images}[kind]
    if kind == "snapshot":
        entries = {"labels": GLib.Variant("a{ss}", labels),
                   **{key: GLib.Variant("s", value) for key, value in options.items()}}
        call(client.connection, "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1", "Update",
             GLib.Variant("(sa{sv})", (name, entries)))
    else:
        client.call("Update", name, labels=GLib.Variant("a{ss}", labels), **options)


__all__ = ["COLLECTOR", "GLib", "LABEL_EXPIRE", "LABEL_ROOT", "TRANSFER", "call", "collect", "content", "digests",
           "equal", "images", "inventory", "plan", "set_labels", "snapshots", "why"]
