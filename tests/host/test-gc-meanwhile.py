#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is leased or labelled while a collection, or the removal of an image, is under way: it stays, and so does all
that it leads to."""

import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from garbage import (COLLECTOR, GLib, LABEL_EXPIRE, LABEL_ROOT, Lease, begin, call, clear_leases, collect,  # noqa: E402
                     content, digests, end, equal, hold, images, inventory, record_of, release, sealed, set_labels,
                     snapshots, sweep_some)
from content_store import STATE, Store, connect, sha256, worker_pids, write  # noqa: E402
from interfaces import kill_processes  # noqa: E402
from image_pulls import Gio, Images, clear, failure, registry, run_cases, wait_for  # noqa: E402

BUSYBOX, EDGE, NAME = "localhost:5000/busybox:latest", "localhost:5000/layers:edge", "localhost:5000/leased"
ROUNDS = 5
REF = "org.crt.gc.ref.content"
SERVICES = ("Content", "Snapshots")


def clean():
    clear_leases()
    clear()


def put(text, **options):
    return Store(**options).put(text.encode())[0]


def prepare(key, parent="", **entries):
    call(images.connection, "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1", "Prepare",
         GLib.Variant("(ssa{sv})", (key, parent, entries)))


def mount(key):
    call(images.connection, "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1", "Mount",
         GLib.Variant("(sa{sv})", (key, {})))


class Epochs:
    """Open in both owners, and ended in any case."""

    def __enter__(self):
        self.numbers = {service: begin(service) for service in SERVICES}
        return self

    def __exit__(self, *_):
        for service, number in self.numbers.items():
            end(service, number)

    def look(self):
        for service, number in self.numbers.items():
            inventory(service, epoch=number, roots=True)

    def changed(self, service):
        answer = hold(service, self.numbers[service])
        release(service, self.numbers[service])
        return answer


class Later:
    """A call on a connection of its own, whose answer is not waited for at once."""

    def __init__(self, name, path, interface, member, arguments):
        self.answers = []
        self.connection = connect()
        self.connection.call(name, path, interface, member, arguments, None, Gio.DBusCallFlags.NONE, 300000, None,
                             lambda connection, result: self.answers.append(self.take(connection, result)))
        self.connection.flush_sync()

    @staticmethod
    def take(connection, result):
        try:
            connection.call_finish(result)
            return True
        except GLib.Error as error:
            return error

    def is_answered(self):
        while GLib.MainContext.default().iteration(False):
            pass
        return self.answers == [True]


# ---- the owners ----

def test_an_owner_tells_of_all_that_keeps_something_new():
    blob, other = put("one"), put("two")
    prepare("tree")
    lease = Lease("lease")
    late = Store()
    cases = (
        ("Content", True, lambda: lease.add(("content", blob))),
        ("Content", False, lambda: lease.add(("content", blob))),
        ("Content", True, lambda: lease.add(("snapshot", "tree"))),
        ("Content", True, lambda: set_labels("blob", other, {LABEL_ROOT: "yes", LABEL_EXPIRE: "2020-01-01T00:00:00Z"})),
        ("Content", False, lambda: set_labels("blob", other, {"colour": "red"})),
        ("Content", True, lambda: set_labels("blob", other, {LABEL_EXPIRE: ""})),
        ("Content", False, lambda: set_labels("blob", other, {LABEL_ROOT: ""})),
        ("Content", True, lambda: lease.call("Update", "(a{sv})", labels={REF: other})),
        ("Content", False, lambda: content.call("Stat", blob)),
        ("Content", True, lambda: late.put(b"labelled", labels=GLib.Variant("a{ss}", {LABEL_ROOT: "yes"}))),
        ("Content", False, lambda: late.put(b"not labelled")),
        ("Snapshots", False, lambda: prepare("plain")),
        ("Snapshots", False, lambda: set_labels("snapshot", "tree", {"colour": "red"})),
        ("Snapshots", True, lambda: set_labels("snapshot", "tree", {LABEL_ROOT: "yes"})),
        ("Snapshots", False, lambda: set_labels("snapshot", "tree", {LABEL_ROOT: ""})),
        ("Snapshots", True, lambda: prepare("labelled", labels=GLib.Variant("a{ss}", {REF: blob}))),
        # What its label refers to is kept as long as it is in use.
        ("Snapshots", True, lambda: mount("labelled")),
    )
    with Epochs() as epochs:
        for number, (service, expected, action) in enumerate(cases):
            epochs.look()
            equal((number, False), (number, epochs.changed(service)))
            action()
            equal((number, expected), (number, epochs.changed(service)))


def test_who_has_not_looked_is_told_so():
    with Epochs() as epochs:
        equal([True, True], [epochs.changed(service) for service in SERVICES])
        inventory("Content", roots=True)
        equal(True, epochs.changed("Content"))


def test_nothing_goes_from_an_owner_that_does_not_hold():
    blob = put("one")
    with Epochs() as epochs:
        record = f"system\t{blob}\t{record_of('Content', blob)[3]}\n"
        number = epochs.numbers["Content"]
        failure("FailedPrecondition", lambda: sweep_some("Content", number, sealed(record)))
        hold("Content", number)
        release("Content", number)
        failure("FailedPrecondition", lambda: sweep_some("Content", number, sealed(record)))
        hold("Content", number)
        equal((1, 3, 1), sweep_some("Content", number, sealed(record)))


def waiting_calls(lease, blob):
    interface = ("org.crt.Content", "/org/crt/Content", "org.crt.Content1")
    trees = ("org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1")
    labels = {"labels": GLib.Variant("a{ss}", {LABEL_ROOT: "yes"})}
    return [
        Later("org.crt.Content", lease.path, "org.crt.Content1.Lease", "Add",
              GLib.Variant("(a(ss)a{sv})", ([("content", blob)], {}))),
        Later(*interface, "CreateLease", GLib.Variant("(sa{sv})", ("another", labels))),
        Later(*interface, "Update", GLib.Variant("(sa{sv})", (blob, labels))),
        Later(*trees, "Prepare", GLib.Variant("(ssa{sv})", ("late", "", labels))),
        Later(*trees, "Update", GLib.Variant("(sa{sv})", ("tree", labels))),
    ]


def check_waiting(let_go):
    blob, lease = put("one"), Lease("lease")
    prepare("tree")
    numbers = {service: begin(service) for service in SERVICES}
    for service, number in numbers.items():
        hold(service, number)
    later = waiting_calls(lease, blob)
    for _ in range(3):
        # All else is answered.
        content.call("Stat", blob)
        equal(["tree"], snapshots.keys())
        equal([False] * len(later), [one.is_answered() for one in later])
    let_go(numbers)
    wait_for(lambda: all(one.is_answered() for one in later), 30, "the answers")


def test_calls_that_may_keep_something_wait_while_an_owner_holds():
    def let_go(numbers):
        for service, number in numbers.items():
            release(service, number)
            equal(True, hold(service, number))
            end(service, number)
    check_waiting(let_go)


def test_the_end_of_an_epoch_lets_them_go():
    check_waiting(lambda numbers: [end(service, number) for service, number in numbers.items()])


def test_one_epoch_holds_for_itself():
    blob, lease = put("one"), Lease("lease")
    first, second = begin("Content"), begin("Content")
    hold("Content", first)
    hold("Content", second)
    later = waiting_calls(lease, blob)[:1]
    release("Content", first)
    content.call("Stat", blob)
    equal(False, later[0].is_answered())
    end("Content", second)
    wait_for(later[0].is_answered, 30, "the answer")
    end("Content", first)


def is_synced(digest):
    path = os.path.join(STATE, "blobs", "sha256", digest[7:9], digest[7:])
    return os.path.exists(path) and os.stat(path).st_mode & 0o222 == 0


def wait_for_answers(answers):
    """Whatever else the main loop has to do."""
    def came():
        while GLib.MainContext.default().iteration(False):
            pass
        return answers
    wait_for(came, 30, "the answer")


def test_a_commit_that_waits_needs_no_worker():
    data, store = b"waits", Store()
    Lease("keeper").add(("ingest", "waits"))
    stream, _, _ = store.ingest("waits")
    write(stream, data)
    answers = []
    store.connection.call("org.crt.Content", "/org/crt/Content", "org.crt.Content1", "Commit",
                          GLib.Variant("(sa{sv})", ("waits", {})), None, Gio.DBusCallFlags.NONE, 300000, None,
                          lambda connection, result: answers.append(Later.take(connection, result)))
    store.ingests()  # which is answered when the other call has been seen
    number = begin("Content")
    hold("Content", number)
    os.close(stream)
    wait_for(lambda: is_synced(sha256(data)), 30, "the file")
    equal(set(), digests())
    kill_processes(worker_pids())
    wait_for(lambda: not worker_pids(), 30, "the worker's end")
    inventory("Content")
    end("Content", number)
    wait_for_answers(answers)
    equal(([True], {sha256(data)}), (answers, digests()))


def test_who_holds_is_not_held_up_itself():
    blob, lease = put("one"), Lease("lease")
    number = begin("Content")
    hold("Content", number)
    answers = []
    content.connection.call("org.crt.Content", lease.path, "org.crt.Content1.Lease", "Add",
                            GLib.Variant("(a(ss)a{sv})", ([("content", blob)], {})), None, Gio.DBusCallFlags.NONE,
                            300000, None, lambda connection, result: answers.append(connection.call_finish(result)))
    # What only reads passes as well, though it comes from the connection whose call waits.
    equal(b"one", content.read(blob))
    content.call("Stat", blob)
    equal({blob}, digests())
    equal([], answers)
    for service_call in (release, hold, release, end):
        call(content.connection, *COLLECTOR["Content"], service_call.__name__.capitalize(),
             GLib.Variant("(ta{sv})", (number, {})))
    wait_for_answers(answers)


def test_who_holds_and_dies_holds_nobody_up():
    code = "from garbage import *; hold('Content', begin('Content'))"
    here = os.path.dirname(os.path.abspath(__file__))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=here)
    Lease("lease").delete()


# ---- collections and removals ----

def check_lease_beside(begin_work, finish_work):
    """From the moment in which a lease is answered nothing that it leads to goes, early or late as it may be."""
    early = 0
    for number in range(ROUNDS):
        result = images.pull(EDGE, name=NAME)
        # An index, if there is one, is not behind the manifest.
        index = {result["digest"]} - {result["manifest-digest"]}
        blobs, trees = digests() - index, set(snapshots.keys())
        for count in range(60):
            put(f"garbage {count}")
        lease = Lease("lease")
        begin_work()
        for _ in range(number * 3):
            content.call("ListLeases")
        lease.add(("content", result["manifest-digest"]))
        blobs &= digests()
        trees &= set(snapshots.keys())
        finish_work()
        equal((number, set(), set()), (number, blobs - digests(), trees - set(snapshots.keys())))
        early += result["manifest-digest"] in blobs
        lease.delete()
        clear()
    print("#", early, "early of", ROUNDS)


def in_background(action):
    def run():
        try:
            action()
        except Exception as error:  # pylint: disable=broad-except
            problems.append(error)
    problems = []
    thread = threading.Thread(target=run)
    thread.start()
    return thread, problems


def test_a_lease_beside_the_removal_of_an_image():
    work = []
    check_lease_beside(lambda: work.append(in_background(lambda: Images().remove(NAME))),
                       lambda: (work[-1][0].join(), equal([], work[-1][1])))


def test_a_lease_beside_a_collection():
    work = []

    def begin_work():
        # Without its name, and without what tidies up behind it.
        images.pull(BUSYBOX, name=NAME)
        work.append(in_background(lambda: collect(Images())))
    check_lease_beside(begin_work, lambda: (work[-1][0].join(), equal([], work[-1][1])))


def test_a_stream_of_leases_does_not_hold_a_collection_up():
    for count in range(200):
        put(f"garbage {count}")
    kept = put("kept")
    thread, problems = in_background(lambda: collect(Images()))
    lease = Lease("stream")
    lease.add(("content", kept))
    while thread.is_alive():
        lease.add(("image", f"localhost:5000/{os.urandom(8).hex()}"))
    thread.join()
    equal(([], {kept}), (problems, digests()))


if __name__ == "__main__":
    registry("plain")
    run_cases([function for name, function in list(globals().items()) if name.startswith("test_")], clean)
