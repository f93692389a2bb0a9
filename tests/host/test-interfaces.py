#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documented interfaces are the ones that the running daemons have: member for member, argument for argument."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from interfaces import Cases, GLib, bus, call, describe, documented, introspect, run, service_of  # noqa: E402

IMAGE = "localhost:5000/busybox:latest"
REGISTRY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "registry")


def objects(connection, interface):
    """Paths of objects that have it."""
    name, root = service_of(interface)
    (tree,), _ = call(connection, name, root, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    return [path for path, interfaces in tree.items() if interface in interfaces]


def make_one_of_each(connection):
    """An image, its transfer and unpack job, a container, an ingest, a lease, a verification."""
    run("crtctl", "pull", IMAGE)
    run("crtctl", "create", "--name", "interfaces", IMAGE, "true")
    call(connection, "org.crt.Content", "/org/crt/Content", "org.crt.Content1", "Ingest",
         GLib.Variant("(sa{sv})", ("interfaces", {})))
    for member, argument in (("CreateLease", "interfaces"), ("Verify", "")):
        call(connection, "org.crt.Content", "/org/crt/Content", "org.crt.Content1", member,
             GLib.Variant("(sa{sv})", (argument, {})))


def remove_them(connection):
    call(connection, "org.crt.Content", "/org/crt/Content", "org.crt.Content1", "Abort",
         GLib.Variant("(sa{sv})", ("interfaces", {})))
    call(connection, "org.crt.Content", "/org/crt/Content/lease/system/interfaces", "org.crt.Content1.Lease", "Delete",
         GLib.Variant("(a{sv})", ({},)))
    run("crtctl", "rm", "interfaces")
    run("crtctl", "rmi", IMAGE)


def compare(connection, interface, element):
    name, root = service_of(interface)
    is_manager = interface.count(".") == 2 or interface.endswith(".Collector")
    paths = [root] if is_manager else objects(connection, interface)
    if not paths:
        return ["no object has it"]
    live = introspect(connection, name, paths[0]).get(interface)
    if live is None:
        return [f"{paths[0]} does not have it"]
    want, have = describe(element), describe(live)
    return [f"documented only: {line}" for line in sorted(want - have)] + \
           [f"undocumented: {line}" for line in sorted(have - want)]


def main():
    cases = Cases()
    connection = bus()
    subprocess.run([REGISTRY, "start"], check=True, stdout=subprocess.DEVNULL)
    make_one_of_each(connection)
    try:
        for interface, element in documented().items():
            cases.case(f"{interface} is as documented", compare(connection, interface, element))
        for service in ("Content", "Images", "Snapshots", "Tasks"):
            live = introspect(connection, f"org.crt.{service}", f"/org/crt/{service}")
            extra = [i for i in live if i.startswith("org.crt.") and i not in documented()]
            cases.case(f"org.crt.{service} has no undocumented interface", extra)
    finally:
        remove_them(connection)
    cases.end()


main()
