#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may pull and remove images, and who sees what; and what the daemon and its worker themselves may."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from image_pulls import (IMAGE, TRANSFER, GLib, Images, check_empty, clear, equal, forget, images, pid_of,  # noqa: E402
                         pids_of, registry, run_cases, set_rule, systemctl, wait_for)
from interfaces import error_name  # noqa: E402

ALICE = 'subject.user == "alice"'
REFUSED = {"org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"}
BUSYBOX, SLOW = "localhost:5003/none/busybox:latest", "localhost:5003/slow-10/debian:bookworm"


def clean():
    set_rule(None)
    clear(own())
    wait_for(lambda: not pids_of("crt-fetch"), what="the end of the workers")
    check_empty()
    check_empty(namespace=own())
    forget()


def own():
    return "u" + subprocess.run(["id", "-u", "alice"], check=True, text=True, capture_output=True).stdout.strip()


def begin_many(client, count, **options):
    return len({client.begin(SLOW, name=f"n{number}", **options) for number in range(count)})


ACTIONS = {
    "Pull": lambda client, name, **options: client.pull(name, **options)["name"],
    "Begin": lambda client, name, **options: client.begin(name, **options),
    "Many": begin_many,
    "Cancel": lambda client, path: client.cancel(path),
    "Wait": lambda client, path: client.wait(path, 2000),
    "Remove": lambda client, name, **options: client.remove(name, **options),
    "Tag": lambda client, name, source, **options: client.call("Tag", name, source, **options)[0],
    "Get": lambda client, name, **options: client.call("Get", name, **options)[0],
    "Resolve": lambda client, name, **options: client.call("Resolve", name, **options)[0]["name"],
    "List": lambda client, **options: " ".join(client.names(**options)),
    "Objects": lambda client: " ".join(sorted([*client.objects(IMAGE), *client.objects(TRANSFER)])),
    "Properties": lambda client, path: client.properties(path, IMAGE)["Name"],
}


def answered(action):
    """The answer as a line: a value, "done" for none, or the name of the error."""
    try:
        answer = action()
    except GLib.Error as error:
        return error_name(error)
    return "done" if answer is None else answer


def as_alice(action, *arguments, **options):
    """What the call answered to her."""
    command = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", sys.executable, __file__, action,
               json.dumps(arguments), json.dumps(options)]
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()


def refused(answer):
    assert answer in REFUSED, f"{answer!r} instead of a refusal"


def test_nothing_is_changed_without_rights():
    images.pull(BUSYBOX)
    for options in ({}, {"namespace": "system"}):
        refused(as_alice("Pull", BUSYBOX, **options))
        refused(as_alice("Remove", BUSYBOX, **options))
        refused(as_alice("Tag", "mine:1", BUSYBOX, **options))
    path = images.begin(SLOW)
    refused(as_alice("Cancel", path))
    equal("running", images.properties(path)["State"])
    equal([BUSYBOX], images.names())


def test_only_ones_own_can_be_seen():
    images.pull(BUSYBOX)
    path = images.call("Get", BUSYBOX)[0]
    equal("", as_alice("List"))
    equal("", as_alice("Objects"))
    equal("org.crt.Error.NotFound", as_alice("Get", BUSYBOX))
    for action in ("Get", "Resolve"):
        refused(as_alice(action, BUSYBOX, namespace="system"))
    refused(as_alice("List", namespace="system"))
    assert as_alice("Properties", path) != BUSYBOX


def test_a_rule_sees_the_name_that_is_given():
    images.pull(BUSYBOX)
    set_rule(f'{ALICE} && action.id == "org.crt.images.update" && action.lookup("image") == "mine:1" || '
             f'{ALICE} && action.id == "org.crt.other-namespaces"')
    refused(as_alice("Tag", "mine:2", BUSYBOX, namespace="system"))
    assert as_alice("Tag", "mine:1", BUSYBOX, namespace="system").startswith("/org/crt/Images/image/system/")
    refused(as_alice("Tag", BUSYBOX, "mine:1", namespace="system", replace=True))


def test_a_rule_sees_what_gets_the_name():
    images.pull(BUSYBOX)
    images.call("Tag", "secret:1", BUSYBOX)
    set_rule(f'{ALICE} && action.id == "org.crt.images.update" && action.lookup("image") == "mine:1" && '
             f'action.lookup("source") == "{BUSYBOX}" || {ALICE} && action.id == "org.crt.other-namespaces" && '
             f'action.lookup("source") == "{BUSYBOX}"')
    refused(as_alice("Tag", "mine:1", "secret:1", namespace="system"))
    assert as_alice("Tag", "mine:1", BUSYBOX, namespace="system").startswith("/org/crt/Images/image/system/")


def test_a_rule_lets_the_same_calls_pass():
    set_rule(f'{ALICE} && action.id.indexOf("org.crt.images.") == 0 && action.lookup("namespace") == "{own()}"')
    equal(BUSYBOX, as_alice("Pull", BUSYBOX))
    equal([BUSYBOX], images.names(namespace=own()))
    equal([], images.names())
    equal(BUSYBOX, as_alice("Resolve", BUSYBOX))
    path = as_alice("Get", BUSYBOX)
    equal(BUSYBOX, as_alice("Properties", path))
    assert path in as_alice("Objects")
    refused(as_alice("Pull", BUSYBOX, namespace="system"))
    equal("done", as_alice("Remove", BUSYBOX))
    equal([], images.names(namespace=own()))


def test_a_rule_can_see_the_image():
    set_rule(f'{ALICE} && action.lookup("verb") == "Pull" && action.lookup("image") == "{BUSYBOX}"')
    equal(BUSYBOX, as_alice("Pull", BUSYBOX))
    refused(as_alice("Pull", "localhost:5003/none/layers:edge"))
    refused(as_alice("Remove", BUSYBOX))


def test_who_began_may_cancel():
    set_rule(f'{ALICE} && action.id == "org.crt.images.pull"')
    path = as_alice("Begin", SLOW)
    equal("running", images.properties(path)["State"])
    equal("done", as_alice("Cancel", path))
    equal("cancelled", images.properties(path)["State"])


def test_one_user_has_a_limit_and_others_do_not_feel_it():
    set_rule(ALICE)
    equal("32", as_alice("Many", 32))
    equal("org.crt.Error.LimitsExceeded", as_alice("Begin", SLOW))
    images.pull(BUSYBOX)


def test_the_daemon_has_no_network_and_no_rights():
    images.list()
    pid = pid_of("crt-images")
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(0, int(status[key], 16))
    equal("1", status["NoNewPrivs"])
    interfaces = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "-o", "link"], check=True, text=True,
                                capture_output=True).stdout
    equal(1, len(interfaces.splitlines()))


def test_the_worker_has_the_network_and_nothing_else():
    images.begin(SLOW)
    wait_for(lambda: pids_of("crt-fetch"), 5, "a worker")
    pid = pids_of("crt-fetch")[0]
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    equal(0, int(status["CapBnd"], 16))
    equal("1", status["NoNewPrivs"])
    assert 0 not in map(int, status["Uid"].split()), status["Uid"]
    for path in ("/var/lib/crt", "/run/dbus"):
        seen = subprocess.run(["nsenter", "-t", str(pid), "-m", "-S", status["Uid"].split()[0], "ls", path],
                              check=False, text=True, capture_output=True)
        assert seen.returncode != 0, f"{path} can be seen: {seen.stdout}"


def test_nobody_else_gets_a_worker():
    systemctl("start", "crt-fetch.socket")
    code = ("import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
            "print(s.connect_ex('/run/crt/fetch.sock'))")
    answer = subprocess.run(["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", sys.executable, "-c",
                             code], check=True, text=True, capture_output=True).stdout
    equal("13", answer.strip())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        action, arguments, options = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
        print(answered(lambda: ACTIONS[action](Images(), *arguments, **options)))
    else:
        registry("faulty")
        run_cases([value for name, value in list(globals().items()) if name.startswith("test_")], clean)
