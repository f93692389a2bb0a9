#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers and the service that made them, when one of the two goes: stopped, killed at any moment, started again."""

import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from interfaces import daemon_pid, kill_daemons, owner_pid  # noqa: E402
from task_containers import (NAME, RUN, Container, Failing, GLib, call_later, command, containers,  # noqa: E402
                             contains, create, equal, error_name, failure, gated, journal, loop_until, main,
                             open_gate, run_directories, scopes, set_drop_in, shell, snapshots, supervisors,
                             systemctl, terminal_read, wait_for, wait_until_ready)


def kill_service():
    kill_daemons("Tasks")


def is_active():
    return subprocess.run(["systemctl", "is-active", "-q", "crt-tasks"], check=False).returncode == 0


def file_of(container, name):
    return os.path.join(RUN, "system", container.rsplit("/", maxsplit=1)[-1], name)


def test_running_containers_survive_the_service():
    for number, stop in enumerate((lambda: systemctl("stop", "crt-tasks"), lambda: systemctl("restart", "crt-tasks"),
                                   kill_service)):
        container = shell("sleep 100", id=f"survivor{number}")
        result, _ = container.start()
        before = (container.Pid, container.Unit, container.Started)
        stop()
        equal(before, (container.Pid, container.Unit, container.Started))
        equal(("running", result["pid"]), (container.State, container.Pid))
        contains("runs", failure("FailedPrecondition", container.start))
        container.kill("KILL")
        equal(137, container.wait())


def test_an_end_is_seen_when_the_service_comes_back():
    container = gated("exit 7", id="seen")
    container.start()
    kill_service()
    open_gate()
    wait_for(lambda: not supervisors(), what="the end")
    equal(("stopped", 7), (container.State, container.ExitStatus))
    equal(7, container.wait())


def test_an_end_starts_the_service():
    container = gated("exit 7", id="activates", auto_remove=True)
    container.start()
    systemctl("stop", "crt-tasks")
    equal({"system/container-activates"}, snapshots())
    equal(False, is_active())
    open_gate()
    wait_for(is_active, what="the service to be activated")
    wait_for(lambda: not snapshots(), what="the container to be removed")
    wait_for(lambda: not run_directories(), what="the container's directory to be removed")


def test_output_and_terminal_survive():
    container = shell("for i in $(seq 20); do echo $i; sleep 0.05; done", id="talks")
    container.start()
    kill_service()
    systemctl("start", "crt-tasks")
    equal(0, container.wait())
    equal([str(i) for i in range(1, 21)], journal("talks").split())
    container = shell("read x; stty size", id="term", terminal=True)
    _, terminal = container.start()
    kill_service()
    container.resize(12, 34)
    wait_for(lambda: os.get_terminal_size(terminal) == (34, 12), what="the new size")
    os.write(terminal, b"\n")
    equal(0, container.wait())
    terminal_read(terminal, "12 34")


def test_who_waits_hears_that_the_service_stops():
    container = create("sleep", "100")
    container.start()
    answers = []
    call_later(container, "Wait", answers.append)
    call_later(container, "Wait", answers.append)
    equal("running", container.State)  # which is answered when the others have been seen
    systemctl("stop", "crt-tasks")
    # Not by the time limit of its unit.
    equal("success", systemctl("show", "-P", "Result", "crt-tasks"))
    loop_until(lambda: len(answers) == 2)
    contains("ask again", str(answers[0]))
    equal("running", container.State)


def test_killed_supervisor():
    container = shell("sleep 100", id="orphan")
    container.start()
    answers = []
    call_later(container, "Wait", answers.append)
    GLib.MainContext.default().iteration(False)
    pid = container.Pid
    os.kill(supervisors()[0], signal.SIGKILL)
    loop_until(lambda: answers)
    equal(255, answers[0][0])
    contains("supervisor was killed", container.Error)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="the container to be killed")


def test_killed_supervisor_while_the_service_is_away():
    container = shell("sleep 100", id="orphan")
    container.start()
    pid = container.Pid
    systemctl("stop", "crt-tasks")
    os.kill(supervisors()[0], signal.SIGKILL)
    wait_for(lambda: not supervisors(), what="the end of the supervisor")
    equal(("stopped", 255), (container.State, container.ExitStatus))
    contains("supervisor was killed", container.Error)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="the container to be killed")


def test_stopped_scope():
    """Whoever stops the scope stops the container, and its status is known."""
    container = shell("trap 'exit 11' TERM; echo ready; while :; do sleep 0.05; done", id="scope")
    container.start()
    wait_until_ready(container)
    systemctl("stop", container.Unit)
    equal(11, container.wait())
    container = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done", id="stubborn")
    container.start()
    wait_until_ready(container)
    systemctl("stop", container.Unit)
    equal(137, container.wait())


def test_stop_signal():
    container = shell("trap 'exit 12' USR2; echo ready; while :; do sleep 0.05; done", id="signal", stop_signal="USR2")
    container.start()
    wait_until_ready(container)
    systemctl("stop", container.Unit)
    equal(12, container.wait())


def test_service_is_killed_before_go():
    container = shell("exit 3", id="early")
    with Failing("Mount", "Hang"):
        answers = []
        call_later(container, "Start", answers.append)
        loop_until(lambda: os.path.exists(file_of(container.path, "supervisor")))
        kill_service()
        loop_until(lambda: answers)
    wait_for(lambda: not supervisors(), what="the supervisor to end")
    wait_for(lambda: not scopes(), what="the scope to go")
    assert container.State in ("created", "stopped"), container.State
    equal(3, container.run())


def test_deleted_before_go():
    container = shell("exit 3", id="early")
    with Failing("Mount", "Hang"):
        answers = []
        call_later(container, "Start", answers.append)
        loop_until(lambda: os.path.exists(file_of(container.path, "supervisor")))
        container.delete(force=True)
        loop_until(lambda: answers)
    assert isinstance(answers[0], GLib.Error), answers
    equal(set(), snapshots())


def test_interrupted_create():
    for member in ("Resolve", "Prepare"):
        with Failing(member, "Hang") as failing:
            code = "from task_containers import *; shell('true', id='half')"
            process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL,
                                       cwd=os.path.dirname(os.path.abspath(__file__)))
            failing.wait()
            equal([], containers()[0])
            kill_service()
            process.wait()
        equal([], containers()[0])
        wait_for(lambda: not run_directories(), what="its directory to go")


def test_interrupted_delete():
    container = shell("true", id="going")
    with Failing("Remove", "Hang"):
        answers = []
        call_later(container, "Delete", answers.append)
        loop_until(lambda: os.path.exists(file_of(container.path, "deleting")))
        kill_service()
        loop_until(lambda: answers)
    systemctl("start", "crt-tasks")
    wait_for(lambda: not snapshots() and not run_directories(), what="the deletion to be finished")
    equal([], containers()[0])


def test_a_removal_that_failed_is_continued():
    """By the next run of the service."""
    for options in {}, {"auto_remove": True}:
        container = shell("exit 3", id="later", **options)
        with Failing("Remove", "Unavailable"):
            equal(3, container.run())
            if not options:
                failure("Unavailable", container.delete)
            systemctl("stop", "crt-tasks")
            equal({"system/container-later"}, snapshots())
        systemctl("start", "crt-tasks")
        wait_for(lambda: not snapshots() and not run_directories(), what="the removal to be continued")


def restart_journal():
    systemctl("stop", "systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket",
              "systemd-journald.service")
    systemctl("start", "systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald.service")


def test_containers_survive_the_journal():
    """Its socket is made anew while a container waits for it to take more."""
    container = shell("yes | head -n 50000; echo written; sleep 100", id="writes")
    pid = int(systemctl("show", "-P", "MainPID", "systemd-journald"))
    os.kill(pid, signal.SIGSTOP)
    try:
        container.start()
        time.sleep(0.5)
    finally:
        os.kill(pid, signal.SIGKILL)
        restart_journal()
    wait_for(lambda: "written" in journal("writes"), seconds=20, what="what it wrote in the end")
    equal("running", container.State)
    container.delete(force=True)


def test_after_the_machine_went_down():
    """What is left of a crash: the database, and nothing in /run."""
    running, kept = shell("sleep 100", id="running"), shell("exit 4", id="kept")
    passing = shell("sleep 100", id="passing", auto_remove=True)
    running.start()
    passing.start()
    equal(4, kept.run())
    systemctl("stop", "crt-tasks")
    for pid in supervisors():
        os.kill(pid, signal.SIGKILL)
    for scope in scopes():
        subprocess.run(["systemctl", "kill", "-s", "KILL", scope], check=False, capture_output=True)
    wait_for(lambda: not scopes())
    command("rm", "-rf", os.path.join(RUN, "system"))
    command("rm", "-rf", "/var/lib/crt/mock/snapshots/system/container-kept")
    equal(("stopped", 255), (running.State, running.ExitStatus))
    contains("machine went down", running.Error)
    equal(("stopped", 4), (kept.State, kept.ExitStatus))
    wait_for(lambda: "system/container-passing" not in snapshots(), what="what removes itself to be removed")
    equal(4, kept.run())  # its snapshot is made anew


def test_foreign_directories_in_run_are_removed():
    systemctl("stop", "crt-tasks")
    os.makedirs(os.path.join(RUN, "system/stranger"))
    equal([], containers()[0])
    equal(set(), run_directories())


def test_idle_service_goes_while_containers_run():
    set_drop_in("idle", "[Service]\nEnvironment=CRT_IDLE_SECONDS=0\n")
    try:
        container = shell("sleep 100", id="long")
        container.start()
        systemctl("restart", "crt-tasks")
        wait_for(lambda: not is_active(), what="the service to go")
        equal("running", container.State)
        container.kill()
        equal(137, container.wait())
        wait_for(lambda: not is_active(), what="the service to go")
    finally:
        set_drop_in("idle", None)
        systemctl("restart", "crt-tasks")


def attempt(action):
    try:
        return action()
    except GLib.Error as error:
        assert error_name(error).split(".")[-1] in (
            "NoReply", "Disconnected", "FailedPrecondition", "NotFound", "UnknownObject", "AlreadyExists",
            "ServiceUnknown", "NameHasNoOwner", "StartFailed", "Unavailable"), error_name(error)
        return None


def test_killed_at_any_moment():
    """Create, start, wait, delete; the service is killed after a random time. Then all is consistent, and goes on."""
    random.seed(2)
    for round_number in range(25):
        name = f"random{round_number}"
        systemctl("start", "crt-tasks")
        pid = daemon_pid("Tasks")
        killer = subprocess.Popen(["sh", "-c", f"sleep {random.uniform(0.001, 0.08):.4f}; kill -9 {pid}"],
                                  stderr=subprocess.DEVNULL)
        container = attempt(lambda: shell("exit 9", id=name))
        if container:
            attempt(container.start)
            attempt(container.wait)
            attempt(container.delete)
        killer.wait()
        wait_for(lambda: pid not in (owner_pid(NAME), daemon_pid("Tasks")), what="the bus and systemd to notice")
        wait_for(lambda: not supervisors(), what="supervisors to end")
        wait_for(lambda: not scopes(), what=f"scopes to go: {scopes()}")
        for entry in containers()[0]:
            left = Container(entry["Path"])
            # It may go at any time: a deletion that was interrupted is finished.
            wait_for(lambda: attempt(lambda: left.State) in (None, "created", "stopped"))
            status = attempt(lambda: left.ExitStatus)
            assert status in (None, -1, 9, 125), status
            if attempt(left.run):  # else its deletion goes on
                equal(9, left.ExitStatus)
                left.delete()
        wait_for(lambda: not snapshots(), what="snapshots to go")
        wait_for(lambda: not containers()[0], what="containers to go")


main(globals())
