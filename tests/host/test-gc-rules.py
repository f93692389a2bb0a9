#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a collection takes away and what it leaves; what Plan and Why tell of it; who may ask for it."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from garbage import (GLib, LABEL_EXPIRE, LABEL_ROOT, Lease, TRANSFER, begin, call, clear_leases, collect,  # noqa: E402
                     content, digests, end, equal, images, inventory, plan, record_of, sealed, set_labels, snapshots,
                     sweep, why)
from content_store import Store  # noqa: E402
from image_pulls import Gio, clear, failure, registry, run_cases, wait_for  # noqa: E402

BUSYBOX, DEBIAN = "localhost:5000/busybox:latest", "localhost:5000/debian:bookworm"
NOTHING = {"images": 0, "snapshots": 0, "blobs": 0, "bytes": 0}


def crtctl(*arguments):
    return subprocess.run(["crtctl", *arguments], check=True, text=True, capture_output=True).stdout


def clean():
    subprocess.run("crtctl rm -f $(crtctl ps -a -q)", shell=True, check=False, capture_output=True)
    clear_leases()
    clear("u1000")


def put(text, **options):
    return Store(**options).put(text.encode())[0]


def snapshot(key, parent="", labels=None):
    entries = {"labels": GLib.Variant("a{ss}", labels)} if labels else {}
    call(images.connection, "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1", "Prepare",
         GLib.Variant("(ssa{sv})", (key, parent, entries)))


def test_what_an_image_needs_stays():
    images.pull(DEBIAN)
    images.pull(BUSYBOX)
    before = digests(), sorted(snapshots.keys())
    equal(([], []), plan())
    equal(NOTHING, collect(all_namespaces=True))
    equal(before, (digests(), sorted(snapshots.keys())))


def test_what_nothing_needs_goes():
    blob = put("nobody's")
    snapshot("stray")
    things, records = plan()
    equal([("blob", "system", blob), ("snapshot", "system", "stray")], sorted(things))
    assert all(int(record[4]) > 0 and int(record[5]) > 0 for record in records)
    equal([], why("blob", blob))
    equal([], why("snapshot", "stray"))
    equal({**NOTHING, "snapshots": 1, "blobs": 1, "bytes": 8}, collect())
    equal((set(), []), (digests(), snapshots.keys()))
    failure("NotFound", lambda: why("blob", blob))
    failure("NotFound", lambda: why("snapshot", "stray"))
    equal(NOTHING, collect())


def test_since_when_a_thing_is_an_orphan_is_remembered():
    put("nobody's")
    since = plan()[1][0][5]
    equal(since, plan()[1][0][5])
    assert int(since) >= int(plan()[1][0][4])


def test_why_tells_the_way_from_the_name():
    result = images.pull(DEBIAN)
    layer = next(digest for digest in digests() if why("blob", digest)[-1][2] == "layer")
    equal([("image", DEBIAN, "its name"), ("blob", result["digest"], "its target"),
           ("blob", result["manifest-digest"], "manifest"), ("blob", layer, "layer")], why("blob", layer))
    chain = why("snapshot", result["chain-id"])
    equal(("image", DEBIAN, "its name"), chain[0])
    equal(("snapshot", result["chain-id"], "unpacked"), chain[-1])
    equal([("image", DEBIAN, "its name")], why("image", "localhost:5000/debian:bookworm"))


def test_labels_keep_and_lead_on():
    keeper, kept = put("keeper"), put("kept")
    snapshot("kept")
    set_labels("blob", keeper, {LABEL_ROOT: "yes", "org.crt.gc.ref.content.one": kept,
                                "org.crt.gc.ref.snapshot": "kept"})
    equal(NOTHING, collect())
    equal([("blob", keeper, "label " + LABEL_ROOT), ("blob", kept, "label org.crt.gc.ref.content")], why("blob", kept))
    equal("label org.crt.gc.ref.snapshot", why("snapshot", "kept")[-1][2])
    set_labels("blob", keeper, {"org.crt.gc.ref.content.one": ""})
    equal({**NOTHING, "blobs": 1, "bytes": 4}, collect())
    set_labels("blob", keeper, {LABEL_EXPIRE: "2020-01-01T00:00:00Z"})
    equal({**NOTHING, "snapshots": 1, "blobs": 1, "bytes": 6}, collect())


def test_a_labelled_snapshot_keeps_those_below():
    result = images.pull(DEBIAN)
    snapshot("mine", result["chain-id"], {LABEL_ROOT: "1"})
    images.remove(DEBIAN)
    equal(4, len(snapshots.keys()))
    equal(set(), digests())
    equal(NOTHING, collect())
    equal([("snapshot", "mine", "label " + LABEL_ROOT), ("snapshot", result["chain-id"], "parent")],
          why("snapshot", result["chain-id"]))
    set_labels("snapshot", "mine", {LABEL_ROOT: ""})
    equal(4, collect()["snapshots"])


def test_a_container_keeps_its_image_without_its_name():
    result = images.pull(DEBIAN)
    everything = digests(), len(snapshots.keys()) + 1
    crtctl("create", "--name", "keeper", DEBIAN, "true")
    images.remove(DEBIAN)
    equal(everything, (digests(), len(snapshots.keys())))
    equal(NOTHING, collect(all_namespaces=True))
    equal(everything, (digests(), len(snapshots.keys())))
    equal(("container", "keeper", "a container"), why("blob", result["manifest-digest"])[0])
    equal(("container", "keeper", "a container"), why("snapshot", result["chain-id"])[0])
    crtctl("rm", "keeper")
    equal({"snapshots": 3, "blobs": len(everything[0])},
          {key: value for key, value in collect().items() if key in ("snapshots", "blobs")})
    equal((set(), []), (digests(), snapshots.keys()))


def test_what_is_mounted_stays():
    snapshot("held")
    (index,), fds = call(images.connection, "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1", "Mount",
                         GLib.Variant("(sa{sv})", ("held", {})))
    mount = fds.get(index)
    equal(NOTHING, collect())
    equal("in use", why("snapshot", "held")[0][2])
    os.close(mount)
    del fds
    wait_for(lambda: collect()["snapshots"] == 1, 10, "the unmounted snapshot to go")


def test_a_lease_keeps_what_it_names_and_what_that_needs():
    result = images.pull(DEBIAN)
    snapshot("mine", result["chain-id"])
    blob = put("leased")
    lease, flat = Lease("keeper"), Lease("flat", flat=True)
    lease.add(("content", result["manifest-digest"]), ("snapshot", "mine"))
    flat.add(("content", blob))
    # Neither the removal nor the collection takes anything but the index, which the lease does not need.
    images.remove(DEBIAN)
    before = digests(), sorted(snapshots.keys())
    assert result["digest"] not in before[0] and len(before[0]) == 6 and len(before[1]) == 4
    equal(NOTHING, collect())
    equal(before, (digests(), sorted(snapshots.keys())))
    equal([("lease", "flat", "a lease"), ("blob", blob, "named by the lease")], why("blob", blob))
    equal("lease", why("snapshot", result["chain-id"])[0][0])
    lease.delete()
    went = collect()
    equal((4, 5), (went["snapshots"], went["blobs"]))
    flat.delete()
    equal(1, collect()["blobs"])


def test_a_flat_lease_keeps_only_what_it_names():
    result = images.pull(DEBIAN)
    lease = Lease("flat", flat=True)
    lease.add(("content", result["manifest-digest"]), ("snapshot", result["chain-id"]))
    images.remove(DEBIAN)
    collect()
    # What a snapshot is built on can't go before it.
    equal(({result["manifest-digest"]}, 3), (digests(), len(snapshots.keys())))
    lease.delete()
    equal(4, len(plan()[0]))
    collect()
    equal((set(), []), (digests(), snapshots.keys()))


def kept_before_its_end(seconds):
    """Whether a collection was done within a lease of so many."""
    end = time.time() + seconds
    blob = put("leased")
    try:
        lease = Lease("short", until=GLib.Variant("t", int(end * 1e6)))
        lease.add(("content", blob))
    except GLib.Error:
        assert time.time() >= end, "it has ended too early"
        return False
    went = collect()
    if time.time() >= end:
        return False
    equal(NOTHING, went)
    return True


def test_a_lease_that_is_over_keeps_nothing():
    for seconds in (0.3, 2, 10, 40):
        if kept_before_its_end(seconds):
            break
        clean()
    else:
        raise AssertionError("nothing was collected in 40 seconds")
    wait_for(lambda: collect()["blobs"] == 1, 10, "the end of the lease")


def test_a_lease_of_an_image_keeps_it_beyond_its_time():
    images.pull(BUSYBOX)
    set_labels("image", BUSYBOX, {LABEL_EXPIRE: "2020-01-01T00:00:00Z"})
    lease = Lease("keeper")
    lease.add(("image", BUSYBOX))
    equal(NOTHING, collect())
    equal([BUSYBOX], images.names())
    lease.delete()
    equal(1, collect()["images"])


def test_a_label_keeps_an_image_whose_time_is_over():
    images.pull(BUSYBOX)
    everything = digests()
    keeper = put("keeper")
    set_labels("blob", keeper, {LABEL_ROOT: "yes", "org.crt.gc.ref.image.one": BUSYBOX})
    set_labels("image", BUSYBOX, {LABEL_EXPIRE: "2020-01-01T00:00:00Z"})
    equal(NOTHING, collect())
    equal([("blob", keeper, "label " + LABEL_ROOT), ("image", BUSYBOX, "label org.crt.gc.ref.image")],
          why("image", BUSYBOX))
    set_labels("blob", keeper, {"org.crt.gc.ref.image.one": ""})
    went = collect()
    equal((1, len(everything)), (went["images"], went["blobs"]))


def test_a_lease_that_comes_in_the_middle_keeps_its_things():
    blob = put("late")
    epoch = begin("Content")
    stamp = record_of("Content", blob)[3]
    lease = Lease("late")
    lease.add(("content", blob))
    equal((0, 0), sweep("Content", epoch, sealed(f"system\t{blob}\t{stamp}\n")))
    end("Content", epoch)
    equal(NOTHING, collect())
    lease.delete()


def test_an_image_whose_time_is_over_goes():
    images.pull(BUSYBOX)
    set_labels("image", BUSYBOX, {LABEL_EXPIRE: "2999-01-01T00:00:00Z", "colour": "red"})
    equal(NOTHING, collect())
    equal([BUSYBOX], [image["Name"] for image in images.list(filters=GLib.Variant("as", ["labels.colour==red"]))])
    images.pull(BUSYBOX)
    equal({LABEL_EXPIRE: "2999-01-01T00:00:00Z", "colour": "red"}, images.list()[0]["Labels"])
    set_labels("image", BUSYBOX, {LABEL_EXPIRE: "2020-01-01T00:00:00Z"})
    assert ("image", "system", BUSYBOX) in plan()[0]
    equal([], why("image", BUSYBOX))
    equal(1, collect()["images"])
    equal(([], set(), []), (images.names(), digests(), snapshots.keys()))


def test_a_pull_of_another_image_under_that_name_leaves_the_old_one_to_the_collection():
    images.pull(DEBIAN, name="localhost:5000/moving")
    images.pull(BUSYBOX, name="localhost:5000/moving")
    assert collect()["snapshots"] == 3
    equal(NOTHING, collect())
    images.remove("localhost:5000/moving")
    equal((set(), []), (digests(), snapshots.keys()))


def test_the_young_are_spared_if_one_wants():
    put("new")
    snapshot("new")
    equal(NOTHING, collect(older_than=3600))
    equal([], plan(older_than=3600)[0])
    equal(2, len(plan()[0]))
    equal(1, collect(older_than=0)["blobs"])


def test_other_namespaces_are_collected_only_if_asked_for():
    put("here")
    put("there", namespace="u1000")
    equal(1, collect()["blobs"])
    equal(1, len(digests(namespace="u1000")))
    equal([("blob", "u1000")], [thing[:2] for thing in plan(all_namespaces=True)[0]])
    equal(1, collect(all_namespaces=True)["blobs"])
    equal(set(), digests(namespace="u1000"))


def test_bytes_that_another_namespace_has_are_not_counted():
    digest = put("shared by two")
    put("shared by two", namespace="u1000")
    equal({**NOTHING, "blobs": 1, "bytes": 0}, collect())
    equal(b"shared by two", content.read(digest, namespace="u1000"))


def test_a_name_that_stands_for_something_else_is_not_removed():
    result = images.pull(BUSYBOX)
    failure("FailedPrecondition", lambda: images.remove(BUSYBOX, digest="sha256:" + "0" * 64))
    images.remove(BUSYBOX, digest=result["digest"])
    equal([], images.names())


# ---- the collectors of the owners ----

def test_an_owner_looks_again_before_anything_goes():
    blob, other = put("one"), put("two")
    snapshot("base")
    epoch, trees = begin("Content"), begin("Snapshots")
    stamps = {name: record_of("Content", name)[3] for name in (blob, other)}
    more = [begin("Content") for _ in range(3)]
    failure("FailedPrecondition", lambda: begin("Content"))
    for number in more:
        end("Content", number)
    failure("FailedPrecondition", lambda: sweep("Content", epoch + 1, sealed("")))
    # Another stamp is another thing.
    equal((0, 0), sweep("Content", epoch, sealed(f"system\t{blob}\t1\n")))
    # Whoever looks something up counts on it.
    content.call("Stat", blob)
    equal((1, 3), sweep("Content", epoch, sealed("".join(f"system\t{d}\t{s}\n" for d, s in stamps.items()))))
    equal({blob}, digests())
    # A label that came meanwhile.
    stamp = record_of("Snapshots", "base")[3]
    set_labels("snapshot", "base", {LABEL_ROOT: "1"})
    equal((0, 0), sweep("Snapshots", trees, sealed(f"system\tbase\t{stamp}\n")))
    end("Content", epoch)
    end("Snapshots", trees)
    failure("FailedPrecondition", lambda: sweep("Content", epoch, sealed("")))
    set_labels("snapshot", "base", {LABEL_ROOT: ""})


def test_an_owner_takes_no_list_that_is_none():
    blob = put("one")
    for service in ("Content", "Snapshots"):
        epoch = begin(service)
        for text in ("no end", "a\tb\tc\td\te\tf\tg\th\ti\tj\tk\n", "\x01\n"):
            failure("BadContent", lambda e=epoch, t=text, s=service: sweep(s, e, sealed(t)))
        for text in ("system\n", "\t\t\n", f"../system\t{blob}\t1\n", "system\tmd5:00\t1\n", f"system\t{blob}\t-1\n"):
            equal((0, 0), sweep(service, epoch, sealed(text)))
        unsealed = os.memfd_create("list", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        failure("org.freedesktop.DBus.Error.InvalidArgs", lambda e=epoch, u=unsealed, s=service: sweep(s, e, u))
        end(service, epoch)
    equal({blob}, digests())


def test_an_epoch_ends_with_its_client():
    code = "from garbage import *; print(call(images.connection, *COLLECTOR['Content'], 'Begin', " \
           "GLib.Variant('(a{sv})', ({},)))[0][0])"
    here = os.path.dirname(os.path.abspath(__file__))
    epoch = int(subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True,
                               cwd=here).stdout)
    failure("FailedPrecondition", lambda: sweep("Content", epoch, sealed("")))
    equal(NOTHING, collect())


def test_one_who_may_not_is_refused():
    code = "from garbage import *\n" \
           "from image_pulls import Gio\n" \
           "def name(action):\n" \
           " try: action()\n" \
           " except GLib.Error as error: return Gio.DBusError.get_remote_error(error)\n" \
           "for action in (collect, plan, lambda: why('blob', 'x'), lambda: collect(all_namespaces=True),\n" \
           "               lambda: inventory('Content')): print(name(action))\n"
    here = os.path.dirname(os.path.abspath(__file__))
    answers = subprocess.run(["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", sys.executable, "-c",
                              code], check=True, text=True, capture_output=True, cwd=here).stdout.split()
    equal(5, len([a for a in answers if a.endswith(("AccessDenied", "InteractiveAuthorizationRequired"))]))


def call_at_once(*calls):
    """The answers to several calls of Collect that are sent before the first one is answered."""
    loop, answers = GLib.MainLoop(), {}

    def on_answer(connection, result, number):
        answers[number] = connection.call_finish(result).unpack()[0]
        if len(answers) == len(calls):
            loop.quit()

    for number, options in enumerate(calls):
        images.connection.call("org.crt.Images", "/org/crt/Images", "org.crt.Images1", "Collect",
                               GLib.Variant("(a{sv})", (options,)), None, Gio.DBusCallFlags.NONE, 300000, None,
                               on_answer, number)
    loop.run()
    return [answers[number] for number in range(len(calls))]


def test_the_same_collection_is_joined_and_can_be_cancelled():
    for _ in range(20):  # the first one may have been done when the second call came
        for i in range(40):
            put(f"blob {i}")
        first, second, other = call_at_once({}, {}, {"older-than": GLib.Variant("t", 1)})
        if first == second:
            break
    assert first == second and first != other
    images.wait(first)
    images.wait(other)
    equal("collect", images.properties(first, TRANSFER)["Verb"])
    equal({"snapshots", "blobs"}, {part[0] for part in images.properties(first, TRANSFER)["Parts"]})
    equal(set(), digests())


if __name__ == "__main__":
    registry("plain")
    run_cases([function for name, function in list(globals().items()) if name.startswith("test_")], clean)
