#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Blobs and ingests as they are seen: labels, filters, what a namespace has and shares, damage and its repair."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import (STATE, GLib, Store, check_disk, equal, failure, files, refuses_to_start_with,  # noqa: E402
                           run_cases, sha256, systemctl, wait_for, write)

INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
DROP_IN = "/run/systemd/system/crt-content.service.d/test.conf"
store = Store()
other = Store(namespace="other")


def clean():
    if os.path.exists(DROP_IN):
        limit_users(None)
    for namespace in ("system", "other"):
        store.call("UpdateNamespace", namespace=namespace, shareable=False)
    store.clear()
    check_disk()


def labels(**entries):
    return GLib.Variant("a{ss}", {key.replace("__", ".").replace("_", "-"): value for key, value in entries.items()})


def filters(*texts):
    return GLib.Variant("as", texts)


def stat(digest, **options):
    return store.call("Stat", digest, **options)[0][0]


def digests(*texts, **options):
    return [blob["digest"] for blob in store.list(filters=filters(*texts), **options)[0]]


def test_labels_come_with_the_blob_and_can_be_changed():
    stream, _, _ = store.ingest("r", labels=labels(a="1", b="2"))
    write(stream, b"bytes")
    os.close(stream)
    equal({"a": "1", "b": "2"}, store.call("StatIngest", "r")[0][0]["labels"])
    digest, _ = store.commit("r", labels=labels(b="3", c="4"))
    equal({"a": "1", "b": "3", "c": "4"}, stat(digest)["labels"])
    store.call("Update", digest, labels=labels(a="", d="5"))
    info = stat(digest)
    equal({"b": "3", "c": "4", "d": "5"}, info["labels"])
    assert info["updated"] > info["created"], info
    store.call("Update", digest, labels=labels(e="6"), **{"replace-labels": True})
    equal({"e": "6"}, stat(digest)["labels"])
    failure("NotFound", lambda: store.call("Update", sha256(b"none"), labels=labels(a="1")))


def test_reserved_labels_are_known_ones():
    digest, _ = store.put(b"bytes")
    for key, value in (("org.crt.gc.root", "yes"), ("org.crt.gc.ref.content.l.0", digest), ("org.crt.shareable", "1"),
                       ("org.crt.gc.expire", "2030-01-01T00:00:00Z")):
        store.call("Update", digest, labels=GLib.Variant("a{ss}", {key: value}))
    for key, value in (("org.crt.nothing", "x"), ("org.crt.gc.ref.content", "x"), ("org.crt.gc.expire", "soon")):
        failure(INVALID, lambda key=key, value=value:
                store.call("Update", digest, labels=GLib.Variant("a{ss}", {key: value})))
        failure(INVALID, lambda key=key, value=value:
                store.ingest("r", labels=GLib.Variant("a{ss}", {key: value})))
    failure("LimitsExceeded", lambda: store.call("Update", digest, labels=labels(long="x" * 4096)))
    equal(4, len(stat(digest)["labels"]))


def test_lists_are_filtered():
    made = {}
    for i in range(30):
        data = b"x" * (i + 1)
        stream, _, _ = store.ingest("r", labels=labels(number=str(i), kind="odd" if i % 2 else "even"))
        write(stream, data)
        os.close(stream)
        made[i] = store.commit("r")[0]
    equal([made[7]], digests("labels.number==7"))
    equal(sorted(made[i] for i in range(30) if i % 2), digests("labels.kind==odd"))
    equal(sorted(made[i] for i in (3, 5, 12)), digests("labels.number==12", "labels.kind==odd,labels.number~=^[35]$"))
    equal([made[9]], digests("size==10"))
    equal([made[4]], digests(f"digest=={made[4]}"))
    equal([], digests("state==damaged"))
    failure(INVALID, lambda: digests("color==red"))
    failure(INVALID, lambda: digests("labels.number~=("))
    found, after = [], ""
    while True:
        (page, after), _ = store.call("List", filters=filters("labels.kind==even"), after=after,
                                      limit=GLib.Variant("u", 4))
        assert len(page) <= 4
        found += [blob["digest"] for blob in page]
        if not after:
            break
    equal(sorted(made[i] for i in range(30) if i % 2 == 0), found)


def test_ingests_are_seen_and_listed():
    begun = time.time() * 1e6
    stream, _, _ = store.ingest("b", size=10, digest=sha256(b"x"))
    write(stream, b"12345")
    other_stream, _, _ = store.ingest("a", **{"at-most": 100})
    os.close(other_stream)
    wait_for(lambda: store.call("StatIngest", "b")[0][0]["offset"] == 5)
    info = store.call("StatIngest", "b")[0][0]
    equal(("b", sha256(b"x"), 10, "writing", 0, {}),
          tuple(info[key] for key in ("reference", "digest", "size", "state", "owner", "labels")))
    assert begun - 1e6 < info["started"] <= info["touched"], info
    assert "at-most" not in info and store.call("StatIngest", "a")[0][0]["at-most"] == 100
    (found, _), _ = store.call("ListIngests")
    equal(["a", "b"], [ingest["reference"] for ingest in found])
    equal(["b"], [ingest["reference"] for ingest in store.call("ListIngests", filters=filters("state==writing"))[0][0]])
    (page, after), _ = store.call("ListIngests", limit=GLib.Variant("u", 1))
    equal(("a", "a"), (page[0]["reference"], after))
    equal(["b"], [ingest["reference"] for ingest in store.call("ListIngests", after="a")[0][0]])
    equal([], store.call("ListIngests", namespace="other")[0][0])
    failure("NotFound", lambda: store.call("StatIngest", "none"))
    os.close(stream)


def test_at_most_so_much_is_taken():
    stream, _, _ = store.ingest("r", **{"at-most": 1000})
    try:
        write(stream, b"x" * 100000)
    except BrokenPipeError:
        pass
    os.close(stream)
    message = failure("LimitsExceeded", lambda: store.commit("r"))
    assert "1000" in message, message
    equal([], store.call("ListIngests")[0][0])


def test_at_most_so_much_is_taken_whatever_is_promised():
    """Commit comes before the bytes, and expects more of them."""
    stream, _, _ = store.ingest("r", **{"at-most": 1000})
    waiting = store.commit_later("r", size=100000)
    try:
        write(stream, b"x" * 100000)
    except BrokenPipeError:
        pass
    os.close(stream)
    equal("org.crt.Error.LimitsExceeded", waiting.result())
    equal([], store.call("ListIngests")[0][0])
    equal(set(), files("blobs"))
    failure("org.freedesktop.DBus.Error.InvalidArgs", lambda: store.ingest("r", size=1001, **{"at-most": 1000}))
    stream, _, _ = store.ingest("r", size=1000, **{"at-most": 1000})
    write(stream, b"x" * 1000)
    os.close(stream)
    equal((sha256(b"x" * 1000), 1000), store.commit("r"))


def test_what_is_shared_need_not_be_sent():
    digest, _ = store.put(b"bytes")
    stream, _, _ = other.ingest("r", digest=digest)
    os.close(stream)
    other.abort("r")
    store.call("Update", digest, labels=labels(org__crt__shareable="yes"))
    failure("AlreadyExists", lambda: other.ingest("r", digest=digest))
    equal(b"bytes", other.read(digest))
    equal({}, other.call("Stat", digest)[0][0]["labels"])

    second, _ = store.put(b"more")
    failure("NotFound", lambda: other.read(second))
    store.call("UpdateNamespace", shareable=True)
    failure("AlreadyExists", lambda: other.ingest("r", digest=second))
    equal(b"more", other.read(second))
    store.call("UpdateNamespace", shareable=False)
    third, _ = store.put(b"third")
    stream, _, _ = other.ingest("r", digest=third)
    os.close(stream)


def test_a_namespace_knows_what_it_has():
    for data in (b"12345", b"123"):
        store.put(data)
    other.put(b"12345")
    stream, _, _ = store.ingest("r", size=100)
    info = store.call("StatNamespace")[0][0]
    equal(("system", 2, 8, 1, 100, 0, False), tuple(info[key] for key in (
        "namespace", "blobs", "bytes", "ingests", "ingest-bytes", "limit", "shareable")))
    equal(5, store.call("StatNamespace", namespace="other")[0][0]["bytes"])
    store.delete(sha256(b"123"))
    equal((1, 5), tuple(store.call("StatNamespace")[0][0][key] for key in ("blobs", "bytes")))
    equal(1 << 40, store.call("StatNamespace", namespace="u4711")[0][0]["limit"])
    os.close(stream)


def limit_users(size):
    systemctl("stop", "crt-content")
    if size:
        os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
        with open(DROP_IN, "w", encoding="utf-8") as file:
            file.write(f"[Service]\nEnvironment=CRT_CONTENT_BYTES_PER_USER={size}\n")
    else:
        os.unlink(DROP_IN)
    systemctl("daemon-reload")


def test_a_user_has_room_for_so_much():
    limit_users(1000000)
    user = Store(namespace="u4711")
    user.put(b"x" * 400000)
    failure("LimitsExceeded", lambda: user.ingest("big", size=600001))
    stream, _, _ = user.ingest("promised", size=300000)
    os.close(stream)
    failure("LimitsExceeded", lambda: user.ingest("big", size=300001))
    stream, _, _ = user.ingest("flood")
    try:
        write(stream, b"y" * 2000000)
    except BrokenPipeError:
        pass
    os.close(stream)
    failure("LimitsExceeded", lambda: user.commit("flood"))
    assert user.call("StatIngest", "flood")[0][0]["offset"] <= 300000
    user.abort("promised")
    equal((sha256(b"z" * 300000), 300000), user.put(b"z" * 300000))
    Store(namespace="u4712").put(b"x" * 900000)
    store.put(b"x" * 1100000)


def test_a_limit_that_is_not_understood_is_not_passed_over():
    refuses_to_start_with("CRT_CONTENT_BYTES_PER_USER", limit_users, store.list)
    limit_users(None)
    equal([], store.list()[0])


def blob_file(digest):
    return "{0}/blobs/{1}/{2:.2}/{2}".format(STATE, *digest.split(":"))


def spoil(digest):
    """One bit in the middle."""
    path = blob_file(digest)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    os.chmod(path, 0o444)


def verify(digest="", **options):
    (path,), _ = store.call("Verify", digest, **options)
    return store.wait(path)


def test_verify_finds_what_is_damaged():
    good, _ = store.put(b"good" * 1000)
    bad, _ = store.put(b"bad" * 1000000)
    other.put(b"bad" * 1000000)
    equal(("2", "3004000", "0", ""), tuple(verify()[key] for key in ("blobs", "bytes", "damaged", "digests")))
    equal([0o444, 0o444], [os.stat(blob_file(digest)).st_mode & 0o777 for digest in (good, bad)])
    spoil(bad)
    equal("0", verify(good)["damaged"])
    equal(b"good" * 1000, store.read(good))
    result = verify()
    equal(("2", "1", bad), tuple(result[key] for key in ("blobs", "damaged", "digests")))
    for client in (store, other):
        failure("DigestMismatch", lambda client=client: client.read(bad))
        failure("DigestMismatch", lambda client=client: client.call("Stat", bad))
        equal({bad: "damaged"}, {blob["digest"]: blob["state"] for blob in client.list()[0] if blob["digest"] == bad})
    equal([bad], digests("state==damaged"))
    failure("NotFound", lambda: verify(sha256(b"none")))
    equal("1", verify(bad)["damaged"])

    # whoever has the bytes repairs it for all
    equal((bad, 3000000), other.put(b"bad" * 1000000, digest=bad))
    equal(b"bad" * 1000000, store.read(bad))
    equal("0", verify()["damaged"])
    check_disk()


def test_bytes_that_come_repair_what_was_lost():
    lost, _ = store.put(b"lost" * 1000)
    os.unlink(blob_file(lost))
    equal("good", stat(lost)["state"])  # nobody has looked
    equal((lost, 4000), other.put(b"lost" * 1000, "r"))
    equal(b"lost" * 1000, other.read(lost))
    equal(b"lost" * 1000, store.read(lost))
    check_disk()


def watched(digest):
    """Whether all was asked before the verification was done."""
    (first,), _ = store.call("Verify", digest)
    (second,), _ = store.call("Verify", digest)
    properties = store.properties(first, "org.crt.Content1.Job")
    equal(("verify", digest), tuple(properties[key] for key in ("Verb", "Object")))
    if second != first or properties["State"] != "running":
        return False
    equal(stat(digest)["size"], properties["BytesTotal"])
    try:
        store.cancel(first)
    except GLib.Error as error:
        assert "FailedPrecondition" in error.message, error.message
        return False
    failure("Cancelled", lambda: store.wait(first))
    return True


def test_a_verification_can_be_watched_joined_and_cancelled():
    """Of so many bytes that we are in time, on some machine at some time."""
    for size in (64, 64, 128, 256, 512):
        digest, _ = store.put(os.urandom(size << 20))
        if watched(digest):
            break
        store.delete(digest)
    else:
        raise AssertionError("every verification was done before it was asked about")
    equal("good", stat(digest)["state"])


def test_what_goes_meanwhile_is_not_damaged():
    digests_made = [store.put(os.urandom(1 << 20))[0] for _ in range(8)]
    (path,), _ = store.call("Verify", "")
    for digest in digests_made[4:]:
        store.delete(digest)
    result = store.wait(path)
    equal("0", result["damaged"])
    assert 4 <= int(result["blobs"]) + int(result["missed"]) <= 8, result


def test_a_lost_file_is_found_when_it_is_read():
    digest, _ = store.put(b"lost")
    os.unlink(blob_file(digest))
    failure("DigestMismatch", lambda: store.read(digest))
    equal((digest, 4), store.put(b"lost", digest=digest))
    equal(b"lost", store.read(digest))


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
