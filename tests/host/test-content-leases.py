#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Leases: what they name, how long they last, and whose end they do not outlive, whether the service runs or not."""

import os
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import (STATE, GLib, Store, check_disk, equal, failure, rows, run_cases, sha256,  # noqa: E402
                           systemctl, wait_for)
from interfaces import kill_daemons  # noqa: E402
from polkit_rules import journal  # noqa: E402

store = Store()
INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
NONE = sha256(b"not there")


def clean():
    store.clear()
    check_disk()


def labels(**entries):
    return GLib.Variant("a{ss}", {key.replace("_", "."): value for key, value in entries.items()})


def usec(seconds):
    return int((time.time() + seconds) * 1e6)


def create(name="", **options):
    (path, got), _ = store.call("CreateLease", name, **options)
    return store.lease(path), got


def create_until(end, name):
    """Also on a machine that is so slow that it is over by then."""
    lease, _ = create(name)
    lease.call("Update", until=end)
    return lease


def ids(**options):
    return [lease["id"] for lease in store.call("ListLeases", **options)[0][0]]


def test_a_lease_names_things():
    lease, name = create("mine", labels=labels(a="1"), flat=True)
    equal("mine", name)
    failure("AlreadyExists", lambda: create("mine"))
    failure(INVALID, lambda: create("no/name"))
    lease.call("Add", things=[("content", NONE), ("image", "debian"), ("snapshot", "key"), ("ingest", "r")])
    failure(INVALID, lambda: lease.call("Add", things=[("image", "b"), ("content", "no digest")]))
    failure(INVALID, lambda: lease.call("Add", things=[("thing", "x")]))
    equal([("content", NONE), ("image", "debian"), ("ingest", "r"), ("snapshot", "key")], lease.things())
    (first, after) = lease.call("ListResources", limit=GLib.Variant("u", 3))
    equal("ingest r", after)
    equal(([("snapshot", "key")], ""), lease.call("ListResources", after=after))
    equal(3, len(first))
    failure(INVALID, lambda: lease.call("ListResources", after="nothing"))
    lease.call("Remove", things=[("ingest", "r"), ("image", "not named")])
    equal(3, len(lease.things()))
    properties = lease.properties()
    equal(("mine", "system", "", "", True, {"a": "1"}, 0),
          tuple(properties[key] for key in ("Id", "Namespace", "Bound", "Owner", "Flat", "Labels", "Until")))
    equal(lease.path, store.call("GetLease", "mine")[0][0])
    lease.call("Delete")
    failure("NotFound", lambda: store.call("GetLease", "mine"))
    failure("org.freedesktop.DBus.Error.UnknownObject", lease.things)


def test_a_made_up_id_is_new():
    equal(2, len({create()[1], create()[1]}))


def test_lists_are_filtered_and_paged():
    for name, value in (("a", "1"), ("b", "2"), ("c", "1")):
        create(name, labels=labels(k=value))
    equal(["a", "c"], ids(filters=GLib.Variant("as", ["labels.k==1"])))
    equal(["b"], ids(filters=GLib.Variant("as", ["id==b,flat==false"])))
    equal([], ids(filters=GLib.Variant("as", ["bound~=."])))
    (page, after), _ = store.call("ListLeases", limit=GLib.Variant("u", 2))
    equal(["a", "b"], [lease["id"] for lease in page])
    equal(["c"], ids(after=after))
    equal([], ids(namespace="other"))


def test_labels_are_changed_one_by_one_or_all():
    lease, _ = create("l", labels=labels(a="1", b="2"))
    lease.call("Update", labels=labels(b="", c="3"))
    equal({"a": "1", "c": "3"}, lease.properties()["Labels"])
    lease.call("Update", **{"replace-labels": True})
    equal({}, lease.properties()["Labels"])
    failure(INVALID, lambda: lease.call("Update", labels=labels(org_crt_shareable="yes")))


def seen_before_its_end(seconds):
    """Whether all was asked in that time: a short lease, and a longer one that was as short at first."""
    end = usec(seconds)
    create_until(end, "short")
    longer = create_until(end, "longer")
    try:
        longer.call("Update", until=usec(600))
    except GLib.Error:
        assert usec(0) >= end, "it has ended too early"
        return None
    found = ids()
    if usec(0) >= end:
        return None
    equal(["longer", "short"], found)
    return longer


def test_a_lease_ends_when_its_time_is_over():
    for seconds in (0.7, 3, 10, 40):
        longer = seen_before_its_end(seconds)
        if longer:
            break
        store.clear()
    else:
        raise AssertionError("nothing was answered in 40 seconds")
    wait_for(lambda: not rows("SELECT 1 FROM leases WHERE id = 'short'"), what="the end")
    equal(["longer"], ids())
    longer.call("Update", until=0)
    equal(0, longer.properties()["Until"])
    end = usec(0.5)
    create_until(end, "later")
    systemctl("stop", "crt-content")
    wait_for(lambda: usec(0) > end, what="its end")
    equal(["longer"], ids())
    equal([("longer",)], rows("SELECT id FROM leases"))


def held_before_their_end():
    """Who keeps the database from being changed since a moment before twenty leases end."""
    for seconds in (2, 8, 40):
        end = usec(seconds)
        for name in range(20):
            create_until(end, f"l{name}")
        holder = sqlite3.connect(f"{STATE}/content.db", isolation_level=None, timeout=60)
        holder.execute("BEGIN IMMEDIATE")
        if usec(0) < end:
            return holder
        holder.execute("ROLLBACK")
        holder.close()
        store.clear()
    raise AssertionError("nothing was answered in 40 seconds")


def test_what_can_not_end_now_ends_later():
    cursor = journal("-n", "0", "--show-cursor").split("cursor: ")[1].strip()

    def complaints():
        return journal("-u", "crt-content", "--after-cursor", cursor).count("can't be removed")

    holder = held_before_their_end()
    wait_for(complaints, what="a removal that fails")
    time.sleep(5)  # each try waits two seconds for the holder: there would be more of them
    holder.execute("ROLLBACK")
    holder.close()
    equal(1, complaints())
    equal([(20,)], rows("SELECT COUNT(*) FROM leases"))
    create_until(1, "more")
    wait_for(lambda: not rows("SELECT 1 FROM leases"), what="the end of all")


def test_an_owner_that_ends_when_nothing_can_be_written_ends_its_lease_later():
    cursor = journal("-n", "0", "--show-cursor").split("cursor: ")[1].strip()
    process = subprocess.Popen(["sleep", "1000"])
    bind_to(process)
    holder = sqlite3.connect(f"{STATE}/content.db", isolation_level=None, timeout=60)
    holder.execute("BEGIN IMMEDIATE")
    end(process)
    wait_for(lambda: "whose owner has ended can't be removed" in journal("-u", "crt-content", "--after-cursor", cursor),
             what="a removal that fails")
    holder.execute("ROLLBACK")
    holder.close()
    equal([("bound",)], rows("SELECT id FROM leases"))
    # With the next one that ends, or a minute later.
    create_until(1, "more")
    wait_for(lambda: not rows("SELECT 1 FROM leases"), what="the end of both")


def test_a_label_ends_a_lease():
    """As containerd has it: the first of it and of "until"."""
    def expire(value):
        return GLib.Variant("a{ss}", {"org.crt.gc.expire": value})

    failure(INVALID, lambda: create("over", labels=expire("2020-01-01T00:00:00Z")))
    lease, _ = create("l", labels=expire("2100-01-01T00:00:00Z"))
    equal(4102444800000000, lease.properties()["Until"])
    lease.call("Update", until=4102444800000000 - 5000000)
    equal(4102444800000000 - 5000000, lease.properties()["Until"])
    lease.call("Update", labels=expire(""))
    lease.call("Update", until=0)
    equal(0, lease.properties()["Until"])
    lease.call("Update", labels=expire("2020-01-01T00:00:00Z"))
    wait_for(lambda: not rows("SELECT 1 FROM leases"), what="the end")


def test_no_lease_begins_when_it_is_over():
    failure(INVALID, lambda: create("over", until=1))
    failure(INVALID, lambda: create("late", until=1 << 63))
    create_until(1, "l")
    equal([], ids())


def client(code):
    """A process with a connection of its own, which does this and then waits to be killed."""
    process = subprocess.Popen([sys.executable, "-c", "from content_store import *; import signal\n" + code +
                                "\nprint('.', flush=True); signal.pause()"], stdout=subprocess.PIPE, text=True,
                               cwd=os.path.dirname(os.path.abspath(__file__)))
    assert process.stdout.readline()
    return process


def end(process):
    process.kill()
    process.wait()


def restart():
    """The service, as if it had been idle."""
    systemctl("stop", "crt-content")
    store.list()


def test_a_lease_does_not_outlive_its_caller():
    process = client("store = Store(); store.call('CreateLease', 'bound', bind='caller')")
    equal("caller", store.call("ListLeases")[0][0][0]["bound"])
    restart()
    equal(["bound"], ids())
    end(process)
    wait_for(lambda: not ids(), what="the end of the lease")
    process = client("store = Store(); store.call('CreateLease', 'bound', bind='caller')")
    systemctl("stop", "crt-content")
    end(process)
    equal([], ids())


def test_a_lease_does_not_outlive_its_unit():
    failure("FailedPrecondition", lambda: create("l", unit="crt-test-no-such.service"))
    failure(INVALID, lambda: create("l", unit="crt-test"))
    run_unit()
    create("bound", unit="crt-test-lease.service")
    restart()
    equal(["bound"], ids())
    systemctl("stop", "crt-test-lease")
    wait_for(lambda: not ids(), what="the end of the lease")
    failure("FailedPrecondition", lambda: create("l", unit="crt-test-lease.service"))

    run_unit()
    create("bound", unit="crt-test-lease.service")
    systemctl("stop", "crt-content")
    systemctl("stop", "crt-test-lease")
    run_unit()
    equal([], ids())
    systemctl("stop", "crt-test-lease")


def run_unit():
    subprocess.run(["systemd-run", "-q", "--unit=crt-test-lease", "sleep", "1000"], check=True)


def bind_to(process, name="bound"):
    pidfd = os.pidfd_open(process.pid)
    try:
        return store.bind_lease(name, pidfd)
    finally:
        os.close(pidfd)


def test_a_lease_does_not_outlive_its_process():
    process = subprocess.Popen(["sleep", "1000"])
    bind_to(process)
    equal(str(process.pid), store.call("ListLeases")[0][0][0]["owner"])
    restart()
    equal(["bound"], ids())
    end(process)
    wait_for(lambda: not ids(), what="the end of the lease")

    process = subprocess.Popen(["sleep", "1000"])
    bind_to(process)
    systemctl("stop", "crt-content")
    end(process)
    equal([], ids())

    process = subprocess.Popen(["sleep", "1000"])
    pidfd = os.pidfd_open(process.pid)
    end(process)
    failure("FailedPrecondition", lambda: store.bind_lease("late", pidfd))
    os.close(pidfd)
    with open("/dev/null", "rb") as file:
        failure(INVALID, lambda: store.bind_lease("none", file.fileno()))


def test_one_owner_at_most():
    failure(INVALID, lambda: create("l", bind="caller", unit="crt-content.service"))
    failure(INVALID, lambda: create("l", bind="me"))


def test_leases_outlive_a_killed_daemon():
    lease, _ = create("l", until=usec(600))
    lease.call("Add", things=[("content", NONE)])
    kill_daemons("Content")
    equal([("content", NONE)], lease.things())


def test_what_comes_in_under_a_lease_is_named():
    lease, _ = create("l")
    data = b"leased"
    equal((sha256(data), 6), store.put(data, "r", lease="l", digest=sha256(data)))
    equal([("content", sha256(data))], lease.things())
    other, _ = create("other")
    failure("AlreadyExists", lambda: store.ingest("r", digest=sha256(data), lease="other"))
    equal([("content", sha256(data))], other.things())
    for member in ("Stat", "Open"):  # who may read changes no lease
        failure(INVALID, lambda: store.call(member, sha256(data), lease="other"))
    equal([("content", sha256(data))], other.things())
    failure("NotFound", lambda: store.ingest("s", lease="none"))
    equal({}, store.ingests())


def test_signals_tell_of_leases():
    seen = []
    loop = GLib.MainLoop()
    store.connection.signal_subscribe(
        "org.crt.Content", None, None, None, None, 0,
        lambda _c, _s, path, _i, member, _p: (seen.append(member), member == "InterfacesRemoved" and loop.quit()))
    store.ingests()
    lease, _ = create("l")
    lease.call("Update", until=usec(0.3))
    GLib.timeout_add(100000, loop.quit)
    loop.run()
    equal(["InterfacesAdded", "PropertiesChanged", "InterfacesRemoved"], seen)


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
