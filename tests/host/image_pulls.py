# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.crt.Images as its tests use it, with the registries that they pull from."""

import json
import os
import subprocess
import urllib.request

from content_store import (GLib, Store, TYPES, connect, equal, failure, outcome, run_cases, systemctl, unless_gone,
                           wait_for)
from interfaces import SOURCE_ROOT, Gio, call, pids_of
from polkit_rules import PolkitRule, journal

NAME, PATH, INTERFACE = "org.crt.Images", "/org/crt/Images", "org.crt.Images1"
TRANSFER, IMAGE = INTERFACE + ".Transfer", INTERFACE + ".Image"
SNAPSHOTS = ("org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1")
REGISTRY = os.path.join(SOURCE_ROOT, "tools", "registry")
CA = "/run/crt-registry/tls/ca.crt"
FAULTY = "http://localhost:5003"
FIXTURES = os.environ.get("CRT_FIXTURES") or os.path.join(SOURCE_ROOT, "build", "fixtures")
set_rule = PolkitRule("images").set


class Images:
    """Methods raise GLib.Error; see failure()."""

    def __init__(self):
        self.connection = connect()

    def call(self, member, *arguments, fds=None, **options):
        entries = {key.replace("_", "-"): value if isinstance(value, GLib.Variant) else
                   GLib.Variant(TYPES.get(type(value), "t"), value) for key, value in options.items()}
        signature = "(" + "s" * len(arguments) + "a{sv})"
        packed = GLib.Variant(signature, (*arguments, entries))
        return call(self.connection, NAME, PATH, INTERFACE, member, packed, fds)[0]

    def begin(self, reference, ca=None, **options):
        """The path of the transfer."""
        if ca is None:
            return self.call("Pull", reference, **options)[0]
        fds = Gio.UnixFDList.new()
        with open(ca, "rb") as file:
            options["ca"] = GLib.Variant("h", fds.append(file.fileno()))
            return self.call("Pull", reference, fds=fds, **options)[0]

    def wait(self, path, timeout=300000):
        return call(self.connection, NAME, path, TRANSFER, "Wait", GLib.Variant("(a{sv})", ({},)), None, timeout)[0][0]

    def cancel(self, path):
        call(self.connection, NAME, path, TRANSFER, "Cancel", GLib.Variant("(a{sv})", ({},)))

    def pull(self, reference, ca=None, **options):
        return self.wait(self.begin(reference, ca, **options))

    def properties(self, path, interface=TRANSFER):
        return call(self.connection, NAME, path, "org.freedesktop.DBus.Properties", "GetAll",
                    GLib.Variant("(s)", (interface,)))[0][0]

    def objects(self, interface):
        tree = call(self.connection, NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")[0][0]
        return {path: interfaces[interface] for path, interfaces in tree.items() if interface in interfaces}

    def list(self, **options):
        return self.call("List", **options)[0]

    def names(self, **options):
        return [image["Name"] for image in self.list(**options)]

    def remove(self, name, **options):
        self.call("Remove", name, **options)


class Snapshots:
    def __init__(self):
        self.connection = connect()

    def call(self, member, *arguments, **options):
        entries = {key: GLib.Variant("s", value) for key, value in options.items()}
        signature = "(" + "s" * len(arguments) + "a{sv})"
        return call(self.connection, *SNAPSHOTS, member, GLib.Variant(signature, (*arguments, entries)))[0]

    def keys(self, **options):
        return [entry["key"] for entry in self.call("List", **options)[0]]

    def parents(self, **options):
        return {entry["key"]: entry["parent"] for entry in self.call("List", **options)[0]}

    def remove(self, key, **options):
        self.call("Remove", key, **options)


images, snapshots, content = Images(), Snapshots(), Store()


def registry(*kinds):
    subprocess.run([REGISTRY, "start", *kinds], check=True)


def asked(reset=False):
    """What the faulty registry was asked since the last reset."""
    with urllib.request.urlopen(FAULTY + "/log") as answer:
        log = [json.loads(line) for line in answer.read().decode().splitlines()]
    if reset:
        forget()
    return log


def tell(path):
    urllib.request.urlopen(urllib.request.Request(FAULTY + path, method="POST", data=b"")).close()


def forget():
    tell("/reset")


def let_go():
    """Those whose layers the faulty registry holds."""
    tell("/go")


def digests(**options):
    return {blob["digest"] for blob in content.list(**options)[0]}


def check_empty(**options):
    """Nothing is left of anything in the namespace."""
    equal([], images.names(**options))
    equal(set(), digests(**options))
    equal([], snapshots.keys(**options))
    namespace = options.get("namespace", "system")
    equal({}, {path: ingest for path, ingest in content.ingests().items() if ingest["Namespace"] == namespace})


def clear(*namespaces):
    """Takes away all that tests have made."""
    for path, transfer in images.objects(TRANSFER).items():
        if transfer["State"] == "running":
            images.cancel(path)
    for options in ({}, *({"namespace": namespace} for namespace in namespaces)):
        for name in images.names(**options):
            unless_gone(images.remove, name, **options)
        while keys := snapshots.keys(**options):
            for key in set(keys) - set(snapshots.parents(**options).values()):
                unless_gone(snapshots.remove, key, **options)
    content.clear()


def unfinished(**options):
    return [key for key in snapshots.keys(**options) if key.startswith("unpack-")]


def pid_of(unit):
    return int(subprocess.run(["systemctl", "show", "-P", "MainPID", unit], check=True, text=True,
                              capture_output=True).stdout)


__all__ = ["CA", "FAULTY", "FIXTURES", "IMAGE", "TRANSFER", "GLib", "Images", "asked", "check_empty", "clear",
           "content", "digests", "equal", "failure", "forget", "images", "journal", "let_go", "outcome",
           "pid_of", "pids_of", "registry", "run_cases", "set_rule", "snapshots", "systemctl", "unfinished", "wait_for"]
