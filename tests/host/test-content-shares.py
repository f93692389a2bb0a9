#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""One user who may write what he likes into his own namespace stops no collection, and nobody else."""

import os
import pwd
import shutil
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import STATE, GLib, Store, check_disk, equal, failure, run_cases, sha256, systemctl  # noqa: E402
from garbage import collect, inventory, plan  # noqa: E402
from image_pulls import snapshots  # noqa: E402
from polkit_rules import PolkitRule  # noqa: E402

LIBEXECDIR, WORKERS = "/usr/libexec/crt", "/run/crt-test-workers"
DROP_IN = "/run/systemd/system/crt-content.service.d/test-shares.conf"
DIGEST = sha256(b"nobody's")
ALICE = f"u{pwd.getpwnam('alice').pw_uid}"
set_rule = PolkitRule("shares").set
store, hostile, other = Store(), Store(namespace="u1000"), Store(namespace="u1001")


def full_labels():
    return {f"org.crt.gc.ref.content.{i:03}{'x' * 3900}": DIGEST for i in range(256)}


def labels(entries):
    return GLib.Variant("a{ss}", entries)


def usage(client):
    return client.call("StatNamespace")[0][0]


def in_database(*statements):
    """While the service does not run."""
    store.list()
    systemctl("stop", "crt-content")
    connection = sqlite3.connect(f"{STATE}/content.db")
    connection.execute("PRAGMA foreign_keys = ON")
    for sql in statements:
        connection.execute(sql)
    connection.commit()
    connection.close()


def collections_go_on():
    """Somebody else's garbage is found, and goes."""
    garbage, _ = store.put(b"somebody else's garbage")
    assert ("blob", "system", garbage) in plan()[0]
    assert collect()["blobs"] == 1
    failure("NotFound", lambda: store.read(garbage))


def add_until_refused(action, most):
    for i in range(most):
        try:
            action(i)
        except GLib.Error as error:
            assert "LimitsExceeded" in error.message, error.message
            return i
    raise AssertionError(f"{most} were taken")


def test_labels_have_an_end():
    def label(i):
        digest, _ = hostile.put(str(i).encode())
        hostile.call("Update", digest, labels=labels(full_labels()))

    taken = add_until_refused(label, 250)
    now = usage(hostile)
    assert taken > 0 and now["label-bytes"] <= now["label-limit"] < now["label-bytes"] + (2 << 20), now
    for member, *arguments in (("Ingest", "r"), ("CreateLease", "l")):
        failure("LimitsExceeded", lambda m=member, a=arguments: hostile.call(m, *a, labels=labels(full_labels())))
    assert sum(sum(map(len, record)) for record in inventory("Content")) < 1 << 20
    collections_go_on()

    # Nobody else feels it, and he can take back what he did.
    digest, _ = other.put(b"other")
    other.call("Update", digest, labels=labels(full_labels()))
    first = sha256(b"0")
    hostile.call("Update", first, **{"replace-labels": True})
    hostile.call("Update", first, labels=labels({"a": "1"}))


def test_leases_have_an_end():
    def add(i):
        lease = hostile.lease(hostile.call("CreateLease", f"l{i}", labels=labels({"a": "x" * 4000}))[0][0])
        lease.call("Add", things=[("ingest", f"{k:06}" + "x" * 506) for k in range(8192)])

    add_until_refused(add, 16)
    now = usage(hostile)
    assert now["lease-bytes"] <= now["lease-limit"] < now["lease-bytes"] + (8 << 20), now
    collections_go_on()


def test_blobs_have_an_end():
    limit = usage(hostile)["blob-limit"]
    in_database("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                f"{limit - 1}) INSERT INTO blobs (digest, size) SELECT printf('sha256:%064x', i), 1 FROM n",
                "INSERT INTO namespace_blobs (namespace, digest, created)"
                " SELECT 'u1000', digest, 1700000000000000 FROM blobs")
    try:
        stream, _, _ = hostile.ingest("begun before")
        os.write(stream, b"begun before")
        os.close(stream)
        hostile.put(b"last")
        equal(limit, usage(hostile)["blobs"])
        failure("LimitsExceeded", lambda: hostile.ingest("one more"))
        failure("LimitsExceeded", lambda: hostile.commit("begun before"))
        failure("AlreadyExists", lambda: hostile.ingest("r", digest=sha256(b"last")))
        store.put(b"shared")
        store.call("UpdateNamespace", shareable=True)
        failure("LimitsExceeded", lambda: hostile.ingest("r", digest=sha256(b"shared")))
        store.call("UpdateNamespace", shareable=False)
        other.put(b"other")
        hostile.delete(sha256(b"last"))
        equal(sha256(b"begun before"), hostile.commit("begun before")[0])
    finally:
        in_database("DELETE FROM namespace_blobs WHERE created = 1700000000000000",
                    "DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM namespace_blobs)")


def as_alice(code):
    """What it printed."""
    answer = subprocess.run(["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", sys.executable, "-c",
                             "from content_store import *\n" + code],
                            cwd=os.path.dirname(os.path.abspath(__file__)), text=True, capture_output=True, check=False)
    return answer.stdout.strip() or answer.stderr


LABEL_SNAPSHOTS = """
bus = connect()
labels = {f"org.crt.gc.ref.snapshot.{i:03}{'x' * 3900}": "key" for i in range(256)}
for i in range(1, 100):
    try:
        call(bus, "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1", "Prepare",
             GLib.Variant("(ssa{sv})", (str(i), "", {"labels": GLib.Variant("a{ss}", labels)})))
    except GLib.Error as error:
        print(i, error_name(error))
        break
"""


def test_labels_of_snapshots_have_an_end():
    set_rule('subject.user == "alice"')
    equal("4 org.crt.Error.LimitsExceeded", as_alice(LABEL_SNAPSHOTS))
    collections_go_on()
    equal(3, collect(all_namespaces=True)["snapshots"])
    equal([], snapshots.keys(namespace=ALICE))


VERIFY = """
store = Store()
digests = [store.put(bytes([i]))[0] for i in range(3)]
jobs = []
def verify(digest):
    jobs.append(store.call("Verify", digest)[0][0])
    return len(set(jobs))
print(*[outcome(lambda: (verify(digest),)) for digest in (*digests, digests[0])])
for job in set(jobs):
    store.cancel(job)
store.cancel(store.call("Verify", digests[2])[0][0])
"""


def begin_verifications(count):
    """Of root's: their jobs, and what one more is answered."""
    digests = [store.put(f"{i}".encode())[0] for i in range(count + 1)]
    jobs = [store.call("Verify", digest)[0][0] for digest in digests[:count]]
    failure("LimitsExceeded", lambda: store.call("Verify", digests[count]))
    equal(jobs[0], store.call("Verify", digests[0])[0][0])
    return jobs


def test_verifications_have_an_end():
    """Of which none comes to one."""
    set_rule('subject.user == "alice"')
    store.list()
    systemctl("stop", "crt-content")
    os.makedirs(WORKERS, exist_ok=True)
    for name in os.listdir(LIBEXECDIR):
        if name != "crt-verify":
            os.symlink(os.path.join(LIBEXECDIR, name), os.path.join(WORKERS, name))
    with open(os.path.join(WORKERS, "crt-verify"), "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexec sleep 1000\n")
    os.chmod(os.path.join(WORKERS, "crt-verify"), 0o755)
    os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
    with open(DROP_IN, "w", encoding="ascii") as file:
        file.write(f"[Service]\nEnvironment=CRT_LIBEXECDIR={WORKERS}\n")
    systemctl("daemon-reload")
    try:
        jobs = begin_verifications(16)
        equal("1 2 org.crt.Error.LimitsExceeded 2", as_alice(VERIFY))
        for job in jobs:
            store.cancel(job)
    finally:
        os.unlink(DROP_IN)
        systemctl("daemon-reload")
        systemctl("stop", "crt-content")
        shutil.rmtree(WORKERS)


def clean():
    set_rule(None)
    collect(all_namespaces=True)  # snapshots, too
    store.clear()
    check_disk()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
