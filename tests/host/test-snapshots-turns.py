#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who asks for much work waits himself, and nobody else does: trees that are filled, and trees that are measured."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import Snapshots, check_disk, entry, equal, layer, main_pid, parent_of, set_rule  # noqa: E402
from snapshot_trees import subprocess, use_setting, wait_for  # noqa: E402

LIBEXEC, HELD = "/usr/libexec/crt", "/usr/local/libexec-held"
HOLD = f"{HELD}/hold"
USERS = ("alice", "bob", "games")
RULE = " || ".join(f'subject.user == "{user}"' for user in USERS)
store = Snapshots()


def uid(user):
    return int(subprocess.check_output(["id", "-u", user]))


class Workers:
    """"with": workers of the service begin when they are let go."""

    def __enter__(self):
        os.makedirs(HELD, exist_ok=True)
        for name in os.listdir(LIBEXEC):
            if name != "crt-tree" and not os.path.lexists(f"{HELD}/{name}"):
                os.symlink(f"{LIBEXEC}/{name}", f"{HELD}/{name}")
        with open(f"{HELD}/crt-tree", "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\nwhile [ -e {HOLD} ]; do sleep 0.05; done\nexec {LIBEXEC}/crt-tree "$@"\n')
        os.chmod(f"{HELD}/crt-tree", 0o755)
        use_setting(f"Environment=CRT_LIBEXECDIR={HELD}")
        return self

    def hold(self):
        with open(HOLD, "w", encoding="ascii"):
            pass

    def let_go(self):
        if os.path.exists(HOLD):
            os.unlink(HOLD)

    def waiting(self, task):
        """The service's own children: what waits is a shell, and in between two."""
        found, service = 0, main_pid()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if parent_of(pid) != service:
                continue
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    found += file.read().split("\0")[1:3] == [f"{HELD}/crt-tree", task]
            except OSError:
                pass
        return found

    def __exit__(self, *_):
        self.let_go()
        use_setting(None)
        subprocess.run(["rm", "-rf", HELD], check=True)


def ask(user, method, *arguments):
    """In the background, as that user in their own namespace."""
    command = ["busctl", "call", "--timeout=300", "org.crt.Snapshots", "/org/crt/Snapshots", "org.crt.Snapshots1",
               method, *arguments]
    if user != "root":
        command = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", *command]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(calls):
    answers = [(call.communicate()[0], call.returncode) for call in calls]
    assert all(status == 0 for _, status in answers), answers


def check_turns(workers, task, ask_one):
    """Two of four for whoever asks for many, one for everybody at all, and root's are apart."""
    workers.hold()
    calls = []
    for user, count, expected in (("alice", 6, 2), ("bob", 6, 4), ("games", 3, 5), ("root", 6, 9)):
        calls += [ask_one(user, i) for i in range(count)]
        wait_for(lambda: workers.waiting(task) >= expected, 60, f"{expected} workers")  # pylint: disable=W0640
    # All are asked for before an answer to what comes after them.
    store.keys()
    equal(9, workers.waiting(task))
    workers.let_go()
    end(calls)
    wait_for(lambda: workers.waiting(task) == 0, 60, "the workers to end")


def test_nobody_waits_for_what_others_ask_for():
    set_rule(RULE)
    data = layer(entry("file", b"x"))
    try:
        with Workers() as workers:
            for user in (*USERS, "root"):
                namespace = "system" if user == "root" else f"u{uid(user)}"
                store.put("base", data, namespace=namespace)
            check_turns(workers, "fill", lambda user, i: ask(user, "Prepare", "ssa{sv}", f"p{i}", "base", "1",
                                                             "driver", "s", "copy"))
            check_turns(workers, "measure", lambda user, i: ask(user, "Usage", "sa{sv}", f"p{i % 3}", "0"))
    finally:
        set_rule(None)
        store.clear()
        check_disk()


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], lambda: None)
