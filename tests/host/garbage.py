# SPDX-License-Identifier: LGPL-2.1-or-later
"""Collections of garbage as their tests use them."""

import fcntl
import mmap
import os

from content_store import equal
from image_pulls import GLib, TRANSFER, content, digests, images, snapshots
from interfaces import Gio, call

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
    entries = {key: GLib.Variant("b" if isinstance(value, bool) else "t", value) for key, value in options.items()}
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


class Lease:
    def __init__(self, name, namespace=None, **options):
        if namespace:
            options["namespace"] = namespace
        self.path = content.call("CreateLease", name, **options)[0][0]

    def call(self, member, signature="(a{sv})", *values, labels=None):
        options = {"labels": GLib.Variant("a{ss}", labels)} if labels else {}
        call(content.connection, "org.crt.Content", self.path, "org.crt.Content1.Lease", member,
             GLib.Variant(signature, (*values, options)))

    def add(self, *resources):
        self.call("Add", "(a(ss)a{sv})", list(resources))

    def delete(self):
        self.call("Delete")


def clear_leases():
    for lease in content.call("ListLeases")[0][0]:
        call(content.connection, "org.crt.Content", content.call("GetLease", lease["id"])[0][0],
             "org.crt.Content1.Lease", "Delete", GLib.Variant("(a{sv})", ({},)))


# ---- the collectors of the owners ----

def sealed(text):
    fd = os.memfd_create("list", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, text.encode())
    fcntl.fcntl(fd, 1033, 1 | 2 | 4 | 8)
    return fd


def hold(service, epoch):
    """Whether anything that keeps things has changed."""
    return call(images.connection, *COLLECTOR[service], "Hold", GLib.Variant("(ta{sv})", (epoch, {})))[0][0]


def release(service, epoch):
    call(images.connection, *COLLECTOR[service], "Release", GLib.Variant("(ta{sv})", (epoch, {})))


def sweep_some(service, epoch, fd):
    """How many have gone, their bytes, and how many were looked at."""
    fds = Gio.UnixFDList.new()
    index = fds.append(fd)
    os.close(fd)
    return call(images.connection, *COLLECTOR[service], "Sweep", GLib.Variant("(tha{sv})", (epoch, index, {})), fds)[0]


def sweep(service, epoch, fd):
    """What has gone of a list that is short enough to be looked at at once."""
    count = os.fstat(fd).st_size and len(os.pread(fd, 1 << 20, 0).splitlines())
    hold(service, epoch)
    try:
        gone, size, seen = sweep_some(service, epoch, fd)
    finally:
        release(service, epoch)
    equal(count, seen)
    return gone, size


def begin(service):
    return call(images.connection, *COLLECTOR[service], "Begin", GLib.Variant("(a{sv})", ({},)))[0][0]


def end(service, epoch):
    call(images.connection, *COLLECTOR[service], "End", GLib.Variant("(ta{sv})", (epoch, {})))


def record_of(service, name):
    return next(r for r in inventory(service) if r[0] in ("blob", "snapshot") and r[2] == name)


__all__ = ["COLLECTOR", "GLib", "LABEL_EXPIRE", "LABEL_ROOT", "Lease", "TRANSFER", "begin", "call", "clear_leases",
           "collect", "content", "digests", "end", "equal", "hold", "images", "inventory", "plan", "record_of",
           "release", "sealed", "set_labels", "snapshots", "sweep", "sweep_some", "why"]
