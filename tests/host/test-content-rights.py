#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what with the content store: nobody without rights changes anything, polkit can let them; limits."""

import json
import os
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import STATE, Store, check_disk, equal, outcome, run_cases, sha256, write  # noqa: E402
from polkit_rules import PolkitRule  # noqa: E402

set_rule = PolkitRule("content").set
ALICE = 'subject.user == "alice"'
REFUSED = {"org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"}
store = Store()


def clean():
    set_rule(None)
    store.clear()
    check_disk()


def do_put(client, reference, **options):
    stream, _, _ = client.ingest(reference, **options)
    write(stream, b"of alice")
    os.close(stream)
    return client.commit(reference, **options)


def do_many(client, count):
    streams = []
    for i in range(count):
        streams.append(client.ingest(f"many {i}")[0])
    return len(streams)


def do_leases(client, name, count, **options):
    for i in range(count):
        client.call("CreateLease", f"{name}{i}", **options)


ACTIONS = {
    "Ingest": lambda client, reference, **options: client.ingest(reference, **options)[1],
    "Commit": lambda client, reference, **options: client.commit(reference, **options),
    "Abort": lambda client, reference, **options: client.abort(reference, **options),
    "Delete": lambda client, digest, **options: client.delete(digest, **options),
    "Read": lambda client, digest, **options: len(client.read(digest, **options)),
    "List": lambda client, **options: len(client.list(**options)[0]),
    "Ingests": lambda client: len(client.ingests()),
    "Put": do_put,
    "Many": do_many,
    "Leases": do_leases,
}


def as_alice(action, *arguments, **options):
    """What the call answered to her."""
    command = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", sys.executable, __file__, action,
               json.dumps(arguments), json.dumps(options)]
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()


def refused(answer):
    assert answer in REFUSED, f"{answer!r} instead of a refusal"


def test_nothing_is_changed_without_rights():
    digest = store.put(b"of the system")[0]
    store.ingest("of the system")
    for options in ({}, {"namespace": "system"}):
        for member in ("Ingest", "Commit", "Abort"):
            refused(as_alice(member, "of the system", **options))
        refused(as_alice("Delete", digest, **options))
    equal(1, len(store.ingests()))
    equal(b"of the system", store.read(digest))


def test_only_ones_own_can_be_seen():
    digest = store.put(b"of the system")[0]
    store.ingest("of the system")
    equal("org.crt.Error.NotFound", as_alice("Read", digest))
    equal("done", as_alice("List"))
    equal("done", as_alice("Ingests"))
    for action, *arguments in (("Read", digest), ("List",)):
        refused(as_alice(action, *arguments, namespace="system"))


def test_a_rule_lets_the_same_calls_pass():
    set_rule(f'{ALICE} && action.id.indexOf("org.crt.content.") == 0 && action.lookup("namespace") == "u{uid()}"')
    digest = sha256(b"of alice")
    equal(f"{digest} 8", as_alice("Put", "r"))
    equal("done", as_alice("Delete", digest))
    equal("done", as_alice("Ingest", "r"))
    equal("done", as_alice("Abort", "r"))
    refused(as_alice("Put", "r", namespace="system"))
    refused(as_alice("Put", "r", namespace="elsewhere"))


def uid():
    return subprocess.run(["id", "-u", "alice"], check=True, text=True, capture_output=True).stdout.strip()


def test_a_rule_can_see_verb_and_object():
    set_rule(f'{ALICE} && action.lookup("verb") == "Ingest" && action.lookup("reference") == "mine"')
    equal("done", as_alice("Ingest", "mine"))
    refused(as_alice("Ingest", "yours"))
    refused(as_alice("Abort", "mine"))


def test_a_rule_can_see_the_lease():
    set_rule(f'{ALICE} && action.lookup("verb") == "CreateLease"')
    equal("done", as_alice("Leases", "l", 2))
    set_rule(f'{ALICE} && action.id == "org.crt.content.write" && action.lookup("lease") != "l1"')
    equal("done", as_alice("Ingest", "r", lease="l0"))
    refused(as_alice("Ingest", "s", lease="l1"))
    refused(as_alice("Commit", "r", lease="l1"))
    equal("done", as_alice("Ingest", "s"))


def test_another_namespace_takes_two_rights():
    set_rule(f'{ALICE} && action.id == "org.crt.content.write"')
    refused(as_alice("Put", "r", namespace="system"))
    set_rule(f'{ALICE} && action.id == "org.crt.other-namespaces"')
    refused(as_alice("Put", "r", namespace="system"))
    set_rule(f'{ALICE} && (action.id == "org.crt.content.write" || action.id == "org.crt.other-namespaces")')
    equal(f"{sha256(b'of alice')} 8", as_alice("Put", "r", namespace="system"))
    equal(b"of alice", store.read(sha256(b"of alice")))


def test_one_user_has_a_limit_and_others_do_not_feel_it():
    set_rule(ALICE)
    equal("done", as_alice("Many", 64))
    equal("org.crt.Error.LimitsExceeded", as_alice("Ingest", "one too many"))
    store.put(b"of root")
    for path in [p for p in store.ingests() if "many_200" in p]:
        store.abort("many 0", namespace=path.split("/")[5])
    equal("done", as_alice("Ingest", "one in its place"))


def in_database(sql, *values):
    """Beside the service, which runs."""
    store.list()
    connection = sqlite3.connect(f"{STATE}/content.db")
    connection.execute(sql, values)
    connection.commit()
    connection.close()


def test_leases_count_before_systemd_is_asked():
    set_rule(ALICE)
    in_database("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1023)"
                " INSERT INTO leases (namespace, id, created, until, flat, binding, owner, proof, uid)"
                " SELECT 'u' || ?1, 'l' || i, 1, 0, 0, '', '', '', ?1 FROM n", int(uid()))
    equal("org.crt.Error.FailedPrecondition", as_alice("Leases", "unit", 1, unit="none.service"))
    equal("done", as_alice("Leases", "last", 1))
    equal("org.crt.Error.LimitsExceeded", as_alice("Leases", "unit", 1, unit="none.service"))
    equal("org.crt.Error.LimitsExceeded", as_alice("Leases", "more", 1))
    in_database("DELETE FROM leases")


def test_images_may_act_for_everyone():
    code = "from content_store import *; print(Store(namespace='u4711').put(b'for somebody', 'r')[1])"
    command = ["setpriv", "--reuid", "crt-images", "--regid", "crt-images", "--clear-groups", sys.executable,
               "-c", code]
    answer = subprocess.run(command, cwd=os.path.dirname(os.path.abspath(__file__)), text=True, capture_output=True)
    equal("12", answer.stdout.strip() or answer.stderr)


if len(sys.argv) > 1:
    wanted, wanted_arguments, wanted_options = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    print(outcome(lambda: ACTIONS[wanted](Store(), *wanted_arguments, **wanted_options)))
else:
    run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
