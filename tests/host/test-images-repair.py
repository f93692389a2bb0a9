#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Content or Snapshots have found to be damaged is fetched, or unpacked, again by the next pull."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from garbage import GLib, call, content, digests, equal, images, snapshots  # noqa: E402
from image_pulls import clear, failure, registry, run_cases  # noqa: E402

IMAGE = "localhost:5000/debian:bookworm"
TREES = "/var/lib/crt/snapshots/trees"


def file_of(digest):
    algorithm, text = digest.split(":")
    return f"/var/lib/crt/content/blobs/{algorithm}/{text[:2]}/{text}"


def damage(path):
    """The same size and times, and one bit is another."""
    status = os.stat(path)
    with open(path, "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def verify(service, name):
    interface = f"org.crt.{service}1"
    (job,), _ = call(images.connection, f"org.crt.{service}", f"/org/crt/{service}", interface, "Verify",
                     GLib.Variant("(sa{sv})", (name, {})))
    try:
        call(images.connection, f"org.crt.{service}", job, interface + ".Job", "Wait", GLib.Variant("(a{sv})", ({},)))
    except GLib.Error:
        pass # it says so when there is damage


def test_damaged_blobs():
    images.pull(IMAGE)
    for digest in sorted(digests()):
        damage(file_of(digest))
        verify("Content", digest)
        failure("DigestMismatch", lambda d=digest: content.read(d))
        images.pull(IMAGE)
        equal(True, len(content.read(digest)) > 0)
    equal("sha256:", images.list()[0]["ChainId"][:7])


def test_a_document_that_is_found_damaged_when_it_is_read():
    result = images.pull(IMAGE)
    os.truncate(file_of(result["manifest-digest"]), 10)
    images.pull(IMAGE)
    assert len(content.read(result["manifest-digest"])) > 10


def files_below(top):
    for directory, _, names in os.walk(top):
        paths = (os.path.join(directory, name) for name in sorted(names))
        yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def state_of(key):
    return {entry["key"]: entry for entry in snapshots.call("List")[0]}[key]["state"]


def test_damaged_snapshots():
    result = images.pull(IMAGE)
    parents, key, stack = snapshots.parents(), result["chain-id"], []
    while key:
        stack.append(key)
        key = parents[key]
    for number in sorted(os.listdir(TREES)):
        path = next((p for p in files_below(f"{TREES}/{number}/fs") if os.path.getsize(p) > 0), None)
        if path:
            damage(path)
    for key in stack:
        verify("Snapshots", key)
    damaged = [key for key in stack if state_of(key) == "damaged"]
    assert damaged
    images.pull(IMAGE)
    for key in stack:
        verify("Snapshots", key)
        assert state_of(key) != "damaged", key
    equal(parents.keys(), snapshots.parents().keys())


if __name__ == "__main__":
    registry("plain")
    run_cases([function for name, function in list(globals().items()) if name.startswith("test_")], clear)
