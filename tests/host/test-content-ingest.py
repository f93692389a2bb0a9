#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What comes into the content store by a stream comes out of it by a descriptor, or not at all."""

import fcntl
import hashlib
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import (STATE, Gio, GLib, Store, check_disk, connect, equal, failure, files, rows,  # noqa: E402
                           run_cases, sha256, wait_for, worker_pids, write)

INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
MIB = 1024 * 1024
store = Store()


def clean():
    store.clear()
    check_disk()


def test_bytes_come_back_as_they_went_in():
    for size in (0, 1, 4096, MIB - 1, MIB, MIB + 1, 9 * MIB + 17):
        data = os.urandom(size)
        equal((sha256(data), size), store.put(data, digest=sha256(data), size=size))
        equal(data, store.read(sha256(data)))
        check_disk()


def test_a_blob_can_be_read_and_not_written():
    data = b"read me"
    store.put(data)
    (handle, _), fds = store.call("Open", sha256(data))
    fd = fds.get(handle)
    equal(os.O_RDONLY, fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE)
    equal(0o444, os.fstat(fd).st_mode & 0o777)
    os.close(fd)


def test_without_a_promise_the_name_is_the_sha256():
    data = b"x" * 70000
    equal((sha256(data), len(data)), store.put(data, "a name of my own"))


def test_sha512_is_taken_when_promised():
    data = os.urandom(3 * MIB)
    digest = "sha512:" + hashlib.sha512(data).hexdigest()
    equal((digest, len(data)), store.put(data, "r", digest=digest))
    equal(data, store.read(digest))


def test_sha512_is_taken_without_a_promise():
    data = os.urandom(3 * MIB)
    digest = "sha512:" + hashlib.sha512(data).hexdigest()
    for promise in ({}, {"digest": digest, "size": len(data)}):
        stream, _, _ = store.ingest("r", algorithm="sha512")
        write(stream, data[:MIB])
        os.close(stream)
        wait_for(lambda: not list(store.ingests().values())[0]["Writing"])
        equal("sha512", store.call("StatIngest", "r")[0][0]["algorithm"])
        message = failure("FailedPrecondition", lambda: store.ingest("r", algorithm="sha256"))
        assert "sha512" in message, message
        message = failure(INVALID, lambda: store.commit("r", digest=sha256(data)))
        assert "sha512" in message and "algorithm" in message, message
        stream, offset, _ = store.ingest("r")
        equal(MIB, offset)
        write(stream, data[offset:])
        os.close(stream)
        equal((digest, len(data)), store.commit("r", **promise))
        equal(data, store.read(digest))
        store.delete(digest)


def test_an_algorithm_is_one_that_is_known_and_fits():
    failure("NotSupported", lambda: store.ingest("r", algorithm="md5"))
    failure(INVALID, lambda: store.ingest("r", algorithm="sha512", digest=sha256(b"x")))
    failure(INVALID, lambda: store.commit("r", algorithm="sha512"))
    equal({}, store.ingests())
    equal((sha256(b"x"), 1), store.put(b"x", "r", algorithm="sha256", digest=sha256(b"x")))


def test_wrong_bytes_are_refused_and_leave_nothing():
    stream, _, _ = store.ingest("r", digest=sha256(b"right"))
    write(stream, b"wrong")
    os.close(stream)
    message = failure("DigestMismatch", lambda: store.commit("r"))
    assert sha256(b"wrong") in message and sha256(b"right") in message, message
    failure("NotFound", lambda: store.commit("r"))
    equal(set(), files("ingest") | files("blobs"))


def test_a_promise_made_at_commit_counts_too():
    stream, _, _ = store.ingest("r")
    write(stream, b"wrong")
    os.close(stream)
    failure("DigestMismatch", lambda: store.commit("r", digest=sha256(b"right")))
    equal({}, store.ingests())
    stream, _, _ = store.ingest("r")
    write(stream, b"right")
    os.close(stream)
    failure("org.freedesktop.DBus.Error.InvalidArgs", lambda: store.commit("r", digest="sha512:" + "0" * 128))
    failure("FailedPrecondition", lambda: store.commit("r", size=6))
    equal((sha256(b"right"), 5), store.commit("r", size=5, digest=sha256(b"right")))


def test_too_many_bytes_are_refused_and_not_read():
    stream, _, _ = store.ingest("r", size=10)
    try:
        for _ in range(64):
            write(stream, b"0" * MIB)
        raise AssertionError("64 MiB were taken where 10 bytes were promised")
    except BrokenPipeError:
        pass
    os.close(stream)
    failure("FailedPrecondition", lambda: store.commit("r"))
    equal({}, store.ingests())
    equal(set(), files("ingest"))


def test_too_few_bytes_stay_and_can_be_continued():
    data = os.urandom(2 * MIB)
    promise = {"size": len(data), "digest": sha256(data)}
    stream, offset, _ = store.ingest("r", **promise)
    equal(0, offset)
    write(stream, data[:MIB + 5])
    os.close(stream)
    message = failure("FailedPrecondition", lambda: store.commit("r"))
    assert str(MIB + 5) in message, message
    stream, offset, _ = store.ingest("r")
    equal(MIB + 5, offset)
    write(stream, data[offset:])
    os.close(stream)
    equal((sha256(data), len(data)), store.commit("r"))
    equal(data, store.read(sha256(data)))


def test_commit_waits_for_the_end_of_the_stream():
    stream, _, _ = store.ingest("r")
    write(stream, b"first ")
    waiting = store.commit_later("r")
    failure("FailedPrecondition", lambda: store.commit("r"))
    equal(None, waiting.poll())
    write(stream, b"second")
    os.close(stream)
    equal(f"{sha256(b'first second')} 12", waiting.result())


def test_commit_does_not_wait_when_all_that_was_promised_is_there():
    stream, _, _ = store.ingest("r", size=5)
    write(stream, b"12345")
    equal((sha256(b"12345"), 5), store.commit("r", timeout=50000))
    os.close(stream)
    stream, _, _ = store.ingest("r")
    write(stream, b"1234567")
    equal((sha256(b"1234567"), 7), store.commit("r", size=7, timeout=50000))
    os.close(stream)


def test_only_one_may_write():
    stream, _, _ = store.ingest("r")
    failure("FailedPrecondition", lambda: store.ingest("r"))
    failure("FailedPrecondition", lambda: store.ingest("r", restart=True))
    write(stream, b"x")
    os.close(stream)
    wait_for(lambda: not list(store.ingests().values())[0]["Writing"])
    stream, offset, _ = store.ingest("r")
    equal(1, offset)
    os.close(stream)


def test_a_promise_is_not_changed_later():
    stream, _, _ = store.ingest("r", digest=sha256(b"a"), size=1)
    os.close(stream)
    wait_for(lambda: not list(store.ingests().values())[0]["Writing"])
    failure("FailedPrecondition", lambda: store.ingest("r", digest=sha256(b"b")))
    failure("FailedPrecondition", lambda: store.ingest("r", size=2))
    stream, _, _ = store.ingest("r", digest=sha256(b"bc"), size=2, restart=True)
    write(stream, b"bc")
    os.close(stream)
    equal((sha256(b"bc"), 2), store.commit("r"))


def test_what_an_ingest_was_begun_with_is_not_dropped_later():
    """Labels and "at-most": whoever goes on may leave them out, or say the same, or begin anew."""
    def labels(**entries):
        return GLib.Variant("a{ss}", entries)

    def begin(reference, **options):
        os.close(store.ingest(reference, **options)[0])
        wait_for(lambda: not any(ingest["Writing"] for ingest in store.ingests().values()))

    begin("r", labels=labels(a="1", b="2"), **{"at-most": 100})
    begin("r")
    begin("r", labels=labels(b="2", a="1", c=""), **{"at-most": 100})
    for options in ({"labels": labels(a="1")}, {"labels": labels()}, {"labels": labels(a="1", b="3")}, {"at-most": 99}):
        message = failure("FailedPrecondition", lambda o=options: store.ingest("r", **o))
        assert "this ingest was begun with " in message, message
    begin("r", labels=labels(d="4"), restart=True, **{"at-most": 99})
    info = store.call("StatIngest", "r")[0][0]
    equal(({"d": "4"}, 99), (info["labels"], info["at-most"]))
    begin("s", size=10)
    begin("s", **{"at-most": 5})  # counts where no size was promised
    equal(10, store.call("StatNamespace")[0][0]["ingest-bytes"])  # that was, though nothing has come


def test_restart_forgets_what_was_there():
    stream, _, _ = store.ingest("r")
    write(stream, b"old")
    os.close(stream)
    wait_for(lambda: not list(store.ingests().values())[0]["Writing"])
    stream, offset, _ = store.ingest("r", restart=True)
    equal(0, offset)
    write(stream, b"new")
    os.close(stream)
    equal((sha256(b"new"), 3), store.commit("r"))


def test_a_namespace_pays_for_what_it_sees_and_bytes_are_stored_once():
    data = os.urandom(100000)
    digest = sha256(data)
    one, two = Store(namespace="one"), Store(namespace="two")
    one.put(data, digest=digest)
    equal(data, one.read(digest))
    failure("AlreadyExists", lambda: one.ingest("again", digest=digest))
    for look in (two.read, lambda d: two.call("Stat", d), two.delete):
        failure("NotFound", lambda look=look: look(digest))
    two.put(data, digest=digest)
    equal(data, two.read(digest))
    equal(1, len(files("blobs")))
    one.delete(digest)
    failure("NotFound", lambda: one.read(digest))
    equal(data, two.read(digest))
    two.delete(digest)
    equal(set(), files("blobs"))


def test_the_same_bytes_at_once_in_many_namespaces():
    data = os.urandom(MIB)
    stores = [Store(namespace=f"n{i}") for i in range(8)]
    streams = [s.ingest("r")[0] for s in stores]
    for stream in streams:
        write(stream, data)
        os.close(stream)
    threads = [threading.Thread(target=s.commit, args=("r",)) for s in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for s in stores:
        equal(data, s.read(sha256(data)))
    equal(1, len(files("blobs")))
    check_disk()


def test_ten_ingests_at_once():
    blobs = [os.urandom(3 * MIB + i) for i in range(10)]
    answers = [None] * 10

    def put(i):
        answers[i] = Store().put(blobs[i], digest=sha256(blobs[i]), size=len(blobs[i]))

    threads = [threading.Thread(target=put, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for data, answer in zip(blobs, answers):
        equal((sha256(data), len(data)), answer)
        equal(data, store.read(sha256(data)))
    check_disk()


def test_abort_ends_the_stream_and_who_waits():
    stream, _, _ = store.ingest("r")
    waiting = store.commit_later("r")
    store.abort("r")
    equal("org.crt.Error.Cancelled", waiting.result())
    equal(set(), files("ingest"))
    wait_for(lambda: not worker_pids())
    try:
        write(stream, b"x")
        raise AssertionError("the stream is still read")
    except BrokenPipeError:
        os.close(stream)
    failure("NotFound", lambda: store.abort("r"))


def test_a_late_commit_finds_the_worker_gone():
    data = os.urandom(100)
    stream, _, _ = store.ingest("r", digest=sha256(data))
    write(stream, data)
    os.close(stream)
    wait_for(lambda: not worker_pids(), 15, "the worker to leave")
    equal((sha256(data), 100), store.commit("r"))


def watch(last, action):
    """(signals as (member, path, arguments) while action runs, and until last() of them is true)"""
    connection, seen, context, begin = connect(), [], GLib.MainContext.default(), time.monotonic()

    def on_signal(_connection, _sender, path, _interface, member, values):
        seen.append((member, path, values.unpack()))

    connection.signal_subscribe("org.crt.Content", None, None, None, None, Gio.DBusSignalFlags.NONE, on_signal)
    # Signals are addressed to those who have called.
    connection.call_sync("org.crt.Content", "/org/crt/Content", "org.freedesktop.DBus.ObjectManager",
                         "GetManagedObjects", None, None, Gio.DBusCallFlags.NONE, -1, None)
    thread = threading.Thread(target=action)
    thread.start()
    while thread.is_alive() or not last(seen):
        context.iteration(False)
        time.sleep(0.005)
        assert thread.is_alive() or time.monotonic() < begin + 100, f"waited in vain for the last signal: {seen[-5:]}"
    return seen


def test_everybody_can_watch_but_not_too_often():
    data = os.urandom(16 * 65536)

    def slowly():
        stream, _, _ = store.ingest("watched", size=len(data))
        for i in range(0, len(data), 65536 // 4):
            write(stream, data[i:i + 65536 // 4])
            time.sleep(0.03)
        os.close(stream)
        store.commit("watched")

    begin = time.monotonic()
    seen = watch(lambda seen: any(member == "InterfacesRemoved" for member, _, _ in seen), slowly)
    path = "/org/crt/Content/ingest/system/watched"
    added = [values for member, _, values in seen if member == "InterfacesAdded"]
    equal(path, added[0][0])
    equal((True, len(data), "watched", "system"),
          tuple(added[0][1]["org.crt.Content1.Ingest"][k] for k in ("Writing", "Size", "Reference", "Namespace")))
    equal([path], [values[0] for member, _, values in seen if member == "InterfacesRemoved"])
    changes = [values[1] for member, p, values in seen if member == "PropertiesChanged" and p == path]
    assert len(changes) >= 4, f"only {len(changes)} changes in two seconds"
    offsets = [values["Offset"] for values in changes]
    equal(sorted(offsets), offsets)
    equal((len(data), False), (changes[-1]["Offset"], changes[-1]["Writing"]))
    # Five a second; 64 pieces have come. When each of them is seen here depends on who else wants to run.
    lasted = time.monotonic() - begin
    assert len(changes) <= 5 * lasted + 2, f"{len(changes)} changes in {lasted:.3f} seconds"


def test_lists_come_in_pages():
    digests = sorted(store.put(bytes([i]))[0] for i in range(7))
    got, after = [], {}
    while True:
        page, following = store.list(limit=GLib.Variant("u", 3), **after)
        got.extend(page)
        if not following:
            break
        after = {"after": following}
    equal(digests, [blob["digest"] for blob in got])
    now = time.time() * 1e6
    for blob in got:
        equal(1, blob["size"])
        assert now - 60e6 < blob["created"] <= now, blob
    equal(got[0], store.call("Stat", digests[0])[0][0])
    equal(([], ""), store.list(namespace="nobody"))


def test_nonsense_is_refused_with_a_sentence():
    invalid = "org.freedesktop.DBus.Error.InvalidArgs"
    for reference in ("", "x" * 513, "new\nline"):
        failure(invalid, lambda reference=reference: store.ingest(reference))
    failure(invalid, lambda: store.ingest("r", digest="sha256:short"))
    failure("NotSupported", lambda: store.ingest("r", digest="md5:" + "0" * 32))
    failure(invalid, lambda: store.ingest("r", size=2 ** 63))
    failure(invalid, lambda: store.ingest("r", unknown=1))
    failure(invalid, lambda: store.ingest("r", size="1"))
    failure(invalid, lambda: store.commit("r", restart=True))
    failure(invalid, lambda: store.read("../../etc/passwd"))
    failure(invalid, lambda: store.list(limit=GLib.Variant("u", 0)))
    failure(invalid, lambda: store.list(limit=GLib.Variant("u", 10001)))
    failure(invalid, lambda: store.ingest("r", namespace="../x"))
    failure("NotFound", lambda: store.commit("nobody began this"))
    equal({}, store.ingests())
    equal([], rows("SELECT * FROM ingests"))


def test_a_strange_reference_is_a_name_like_any_other():
    reference = "../../ü %/\"'; DROP TABLE ingests; --"
    stream, _, path = store.ingest(reference)
    equal([path], list(store.ingests()))
    write(stream, b"x")
    os.close(stream)
    equal((sha256(b"x"), 1), store.commit(reference))
    equal({"content.db", "content.db-shm", "content.db-wal", "blobs", "ingest", "reserve"}, set(os.listdir(STATE)))


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
