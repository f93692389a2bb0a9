#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers are made, started, watched and ended, and leave nothing."""

import os
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from task_containers import (MANAGER, MOCK, NAME, PATH, Container, Failing, GLib, Gio, bus, call_later,  # noqa: E402
                             command, containers, contains, create, equal, error_name, failure, journal, loop_until,
                             main, read_all, run_directories, scopes, shell, snapshots, terminal_read, wait_for,
                             wait_until_ready)


# ---- what comes out ----

def test_output_goes_to_the_journal():
    container = shell("echo out; echo err >&2", id="journal")
    equal(0, container.run())
    equal("out\n", journal("journal", "CRT_STREAM=stdout"))
    equal("err\n", journal("journal", "CRT_STREAM=stderr", "PRIORITY=3", "CRT_NAMESPACE=system",
                           "SYSLOG_IDENTIFIER=journal"))


def test_long_and_unfinished_lines_reach_the_journal():
    container = shell("head -c 100000 /dev/zero | tr '\\0' x; echo; printf end", id="lines")
    equal(0, container.run())
    text = journal("lines")
    equal(100000 + 3, len(text.replace("\n", "")))
    equal(2, len(journal("lines", "CRT_PARTIAL=1").split()))


def test_much_output_arrives_whole():
    container = shell("seq 1 20000", id="much")
    equal(0, container.run())
    equal([str(i) for i in range(1, 20001)], journal("much").split())


def test_standard_streams_are_those_of_the_caller():
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    container = shell("cat; echo error >&2; exit 3", id="streams")
    container.start({"stdin": stdin_read, "stdout": stdout_write})
    for fd in (stdin_read, stdout_write):
        os.close(fd)
    os.write(stdin_write, b"through")
    os.close(stdin_write)  # is end of file for cat
    equal("through", read_all(stdout_read))
    equal(3, container.wait())
    equal("error\n", journal("streams"))


def test_stdin_is_empty_when_none_is_given():
    equal(0, shell("test -z \"$(cat)\"").run())


def test_descriptors_are_checked():
    container = shell("true")
    for key, fd in (("stdin", os.open("/dev/null", os.O_WRONLY)), ("stdout", os.open("/dev/null", os.O_RDONLY)),
                    ("stdout", os.open("/", os.O_RDONLY)), ("stderr", os.open("/", os.O_PATH))):
        contains(key, failure("InvalidArgs", lambda: container.start({key: fd})))
        os.close(fd)
    equal("created", container.State)


def test_terminal():
    container = shell("tty; stty size; read line; echo got $line; stty size", id="terminal", terminal=True)
    result, terminal = container.start(rows=GLib.Variant("u", 20), columns=GLib.Variant("u", 70))
    contains("/dev/pts/", terminal_read(terminal, "20 70"))
    container.resize(33, 99)
    os.write(terminal, b"hello\n")
    contains("got hello", terminal_read(terminal, "33 99"))
    equal(0, container.wait())
    assert result["pid"] > 0
    contains("has no terminal", failure("FailedPrecondition", lambda: shell("true").resize(1, 1)))
    contains("terminal", failure("InvalidArgs", lambda: container.start({"stdin": 0})))


# ---- how it ends ----

def test_exit_statuses():
    for script, status in (("true", 0), ("exit 1", 1), ("exit 255", 255), ("kill -9 $$", 137)):
        container = shell(f"sh -c '{script}'; exit $?")
        equal(status, container.run())
        equal(status, container.wait())
        equal(status, container.ExitStatus)
        equal("stopped", container.State)
        assert container.Created <= container.Started <= container.Finished
    container = create("sleep", "100")
    container.start()
    container.kill("KILL")
    equal(137, container.wait())


def test_what_cannot_be_executed():
    for argument, status in (("no-such-program", 127), ("/no/such/program", 127), ("/bin/not-executable", 126),
                             ("/etc", 126)):
        container = create(argument)
        contains(argument, failure("StartFailed", container.start))
        equal(("stopped", status), (container.State, container.ExitStatus))
        contains(argument, container.Error)
        equal(status, container.wait())


def test_it_can_be_started_again():
    container = shell("test -e /file && exit 7; touch /file")
    equal(0, container.run())
    equal(7, container.run())
    equal(7, container.run())


def test_wait():
    container = shell("sleep 0.3; exit 5")
    failure("FailedPrecondition", container.wait)
    container.start()
    equal(5, container.wait())
    equal(5, container.wait())


def test_many_wait():
    container = create("sleep", "100")
    container.start()
    results = []
    for _ in range(20):
        call_later(container, "Wait", results.append)
    container.kill("KILL")
    loop_until(lambda: len(results) == 20)
    equal([137] * 20, [status for status, _ in results])


def test_kill():
    container = shell("trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done")
    failure("FailedPrecondition", container.kill)
    container.start()
    wait_until_ready(container)
    failure("InvalidArgs", lambda: container.kill("NOSUCH"))
    container.kill("TERM")  # the first process of a pid namespace has no default actions
    time.sleep(0.2)
    equal("running", container.State)
    container.kill("SIGUSR1")
    equal(9, container.wait())
    failure("FailedPrecondition", container.kill)


def test_kill_all():
    container = shell("trap : TERM; for i in $(seq 150); do sleep 100 & done; echo ready; wait; wait; exit 4", id="all")
    container.start()
    wait_for(lambda: "ready" in journal("all"), what="its processes")
    # Between fork and exec they still have the shell's trap.
    wait_for(lambda: len(command("pgrep", "-x", "sleep").split()) == 150, what="its processes")
    container.kill("TERM", all=True)  # reaches every sleep, which ends
    equal(4, container.wait(timeout=100000))


def test_children_end_with_it():
    container = shell("sleep 100 & sleep 100 & true")
    equal(0, container.run())


def test_delete():
    container = create("sleep", "100", id="gone")
    equal({"system/container-gone"}, snapshots())
    container.start()
    contains("runs", failure("FailedPrecondition", container.delete))
    container.delete(force=True)
    equal(set(), snapshots())
    failure("UnknownObject", container.wait)


def test_auto_remove():
    container = shell("exit 6", id="auto", auto_remove=True)
    container.start()
    time.sleep(0.3)
    equal(6, container.wait())  # late, but not too late
    wait_for(lambda: not containers()[0] and not snapshots(), what="its removal")
    again = shell("exit 8", id="auto", auto_remove=True)
    again.start()
    equal(8, again.wait())


def test_auto_remove_of_what_cannot_be_executed():
    container = create("no-such-program", id="auto", auto_remove=True)
    failure("StartFailed", container.start)
    equal(127, container.wait())
    wait_for(lambda: not snapshots())


# ---- what is in it ----

def test_environment_and_user():
    container = shell("echo $FROM_IMAGE $OWN $HOME $HOSTNAME; id; pwd; hostname",
                      id="env", env=["OWN=2"], user="user", cwd="/tmp", hostname="box")
    equal(0, container.run())
    equal(["1 2 /home/user box", "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)", "/tmp", "box"],
          journal("env").splitlines())


def test_users():
    script = "echo $(id -u):$(id -g) $HOME; grep CapEff /proc/self/status"
    for user, line in (("", "0:0 /root"), ("1000", "1000:1000 /home/user"), ("4711", "4711:0 /"),
                       ("user:extra", "1000:2000 /home/user"), ("4711:4712", "4711:4712 /"), ("root", "0:0 /root")):
        name = "user-" + (user or "none").replace(":", "-")
        equal(0, shell(script, id=name, user=user).run())
        lines = journal(name).splitlines()
        equal(line, lines[0])
        equal(line.startswith("0:"), lines[1].split()[1] != "0" * 16)
    contains("nobody-here", failure("StartFailed", shell("true", user="nobody-here").start))
    failure("InvalidArgs", lambda: shell("true", user="a:b:c"))


def test_it_sees_only_itself():
    container = shell("test $$ = 1 && ip link | grep -q lo && ! ip link | grep -q eth"
                      " && test $(ls -d /proc/[0-9]* | wc -l) -lt 6 && cat /proc/self/cgroup", id="alone")
    equal(0, container.run())
    contains("0::/\n", journal("alone"))


def test_devices_and_masked_paths():
    script = ("set -e; for d in null zero full random urandom tty ptmx; do test -e /dev/$d; done;"
              "head -c 1 /dev/zero >/dev/null;"
              "test ! -s /proc/kcore; ! touch /proc/sys/kernel/x; ! mount -t tmpfs x /tmp; mknod /tmp/n c 1 3;"
              "mknod /tmp/disk b 254 0 && ! head -c 1 /tmp/disk")
    container = shell(script, id="devices")
    status = container.run()
    equal((0, ""), (status, journal("devices", "CRT_STREAM=stdout")))


def test_read_only():
    equal(1, shell("touch /x", read_only=True).run())
    equal(0, shell("touch /dev/shm/x", read_only=True).run())


def mounts(*items):
    return GLib.Variant("a(ssas)", items)


def test_mounts_by_path():
    os.makedirs("/var/lib/crt/mock/shared", exist_ok=True)
    given = mounts(("/var/lib/crt/mock/shared", "/shared", ["rw"]), ("/etc", "/host-etc", ["ro", "bind"]))
    equal(0, shell("echo text >/shared/file && test -e /host-etc/hostname && ! touch /host-etc/x", mounts=given).run())
    with open("/var/lib/crt/mock/shared/file", encoding="ascii") as file:
        equal("text\n", file.read())
    for bad in (("/etc/../etc", "/x", []), ("relative", "/x", []), ("/etc", "x", []), ("/etc", "/", []),
                ("/etc", "/x", ["shared"])):
        failure("InvalidArgs", lambda: shell("true", mounts=mounts(bad)))
    contains("/no-such", failure("StartFailed", shell("true", mounts=mounts(("/no-such", "/x", []))).start))


def bind(path, destination, options=(), **more):
    fds = Gio.UnixFDList.new()
    fd = os.open(path, os.O_PATH)
    index = fds.append(fd)
    os.close(fd)
    return {"fds": fds, "binds": GLib.Variant("a(hsas)", [(index, destination, list(options))]), **more}


def test_binds_by_descriptor():
    os.makedirs("/var/lib/crt/mock/bound", exist_ok=True)
    container = shell("echo $$ >>/bound/file", **bind("/var/lib/crt/mock/bound", "/bound"))
    equal(0, container.run())
    command("systemctl", "stop", "crt-tasks")
    equal(0, container.run())  # found again by what it is
    os.rename("/var/lib/crt/mock/bound", "/var/lib/crt/mock/bound-away")
    os.makedirs("/var/lib/crt/mock/bound")
    equal(0, container.run())  # the descriptor is the directory
    command("systemctl", "stop", "crt-tasks")
    contains("is not the bind source", failure("FailedPrecondition", container.start))
    with open("/var/lib/crt/mock/bound-away/file", encoding="ascii") as file:
        equal("1\n" * 3, file.read())
    contains("neither", failure("InvalidArgs", lambda: shell("true", **bind("/dev/null", "/x"))))


# ---- what is refused ----

def test_ids():
    for bad in ("-x", "a/b", "a--b", "x" * 77, "ä"):
        failure("InvalidArgs", lambda: shell("true", id=bad))
    shell("true", id="twice")
    failure("AlreadyExists", lambda: shell("true", id="twice"))
    equal(32, len(shell("true").Id))


def test_long_ids_and_namespaces():
    container = shell("exit 2", id="x" * 76, namespace="n" * 76)
    equal(2, container.run())
    contains("too long", failure("InvalidArgs", lambda: shell("exit 2", id="x" * 76, namespace="-".join("n" * 38))))


def test_namespaces_that_look_alike():
    a, b = shell("sleep 100", id="b-c", namespace="a"), shell("sleep 100", id="c", namespace="a-b")
    a.start()
    b.start()
    equal({a.Unit, b.Unit}, scopes())
    equal(2, len(scopes()))
    a.delete(force=True)
    equal("running", b.State)
    b.delete(force=True)


def test_what_is_not_there():
    failure("NotFound", lambda: create("true", image="no-such-image"))
    failure("InvalidArgs", lambda: create("true", no_such_option=True))
    failure("InvalidArgs", lambda: create("true", env=["NOVALUE"]))
    failure("InvalidArgs", lambda: create("true", cwd="relative"))
    failure("InvalidArgs", lambda: create("true", hostname="a b"))
    failure("InvalidArgs", lambda: create("true", stop_signal="NOSUCH"))


def test_what_a_container_is_made_with_is_bounded():
    half = ["x" * 1000] * 600
    many = [f"{i}=" for i in range(2000)]
    mount = "a(ssas)"
    for part, options in (("option", {"env": many}), ("option", {"labels": dict.fromkeys(map(str, range(2000)), "")}),
                          ("option 'args'", {"args": half, "cwd": "/" + "x" * 600000}),
                          ("option 'env'", {"args": half, "env": half}),
                          ("option 'hostname'", {"hostname": "x" * 2000000}),
                          ("'mounts'", {"mounts": GLib.Variant(mount, [("/tmp", f"/tmp/{i}", []) for i in range(65)])}),
                          ("'mounts'", {"mounts": GLib.Variant(mount, [("/tmp", "/tmp/x", ["ro"] * 1000000)])})):
        contains(part, failure("LimitsExceeded", lambda given=options: create(id="large", **given)))
    equal(0, create("true", env=[f"V{i}=" for i in range(1000)], labels={"k": "v" * 4000}).run())


def test_limits_need_controllers():
    with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as file:
        controllers = file.read().split()
    for option, controller in (("memory_max", "memory"), ("tasks_max", "pids"), ("cpu_quota", "cpu")):
        if controller in controllers:
            equal(0, create("true", **{option: 50000000}).run())
        else:
            contains(controller, failure("NotSupported", lambda: create("true", **{option: 50})))


def size_file(container):
    return os.path.join(MOCK, "snapshots", container.Namespace, f"container-{container.Id}", "size-max")


def size_of(container):
    with open(size_file(container), encoding="ascii") as file:
        return file.read()


def test_the_size_of_the_tree_is_for_its_owner_to_limit():
    equal("none", size_of(create("true")))
    sized = create("true", rootfs_size_max=5 << 32)
    equal(str(5 << 32), size_of(sized))
    # As after a crash of the machine, of which only the record is left.
    shutil.rmtree(os.path.dirname(size_file(sized)))
    equal(0, sized.run())
    equal(str(5 << 32), size_of(sized))
    contains("from 1 to", failure("InvalidArgs", lambda: create("true", id="small", rootfs_size_max=0)))
    failure("InvalidArgs", lambda: create("true", id="small", rootfs_size_max=1 << 63))
    with Failing("Prepare", "NotSupported"):
        failure("NotSupported", lambda: create("true", id="small", rootfs_size_max=1))
    assert "small" not in [found["Id"] for found in containers()[0]]
    equal(0, create("true", id="small").run())


def test_when_the_siblings_fail():
    with Failing("Resolve", "Unavailable"):
        failure("Unavailable", lambda: shell("true", id="sad"))
    with Failing("Prepare", "NoSpace"):
        failure("NoSpace", lambda: shell("true", id="sad"))
    equal([], containers()[0])
    container = shell("exit 3", id="sad")
    with Failing("Mount", "Unavailable"):
        failure("Unavailable", container.start)
    equal(("stopped", 125), (container.State, container.ExitStatus))
    contains("told to fail", container.Error)
    equal(3, container.run())
    with Failing("Remove", "Unavailable"):
        failure("Unavailable", container.delete)
        contains("is being deleted", failure("FailedPrecondition", container.start))
    wait_for(lambda: not containers()[0] and not snapshots(), what="the deletion that failed to be finished")


def references(answers):
    """References, without waiting: the answer's records, or the error."""
    def on_answer(connection, result):
        try:
            values, fds = connection.call_with_unix_fd_list_finish(result)
            with os.fdopen(fds.get(values.unpack()[0])) as file:
                answers.append(file.read())
        except GLib.Error as error:
            answers.append(error_name(error))
    bus().call_with_unix_fd_list(NAME, PATH, MANAGER, "References", GLib.Variant("(a{sv})", ({},)), None,
                                 Gio.DBusCallFlags.NONE, 60000, None, None, on_answer)


def test_what_is_being_made_is_referred_to():
    made, early, late = [], [], []
    with Failing("Resolve", "Wait") as failing:
        options = {"image": GLib.Variant("s", "busybox")}
        bus().call(NAME, PATH, MANAGER, "Create", GLib.Variant("(sa{sv})", ("made", options)), None,
                   Gio.DBusCallFlags.NONE, 60000, None, lambda connection, result: made.append(result))
        failing.wait()
        references(early)
        loop_until(lambda: early)
        equal(["org.crt.Error.FailedPrecondition"], early)
        references(late)
        equal([], containers()[0])
    loop_until(lambda: made and late)
    contains("container\tsystem\tmade\t", late[0])
    contains("sha256:" + "1" * 64, late[0])


def test_what_delays_a_removal_passes():
    """A mount goes away a moment after the last process in it."""
    for options in {}, {"auto_remove": True}:
        container = shell("exit 3", id="delayed", **options)
        answers = []
        with Failing("Remove", "FailedPrecondition"):
            equal(3, container.run())
            if not options:
                call_later(container, "Delete", answers.append)
            time.sleep(0.5)
            equal({"system/container-delayed"}, snapshots())
        wait_for(lambda: not snapshots() and not run_directories(), what="the removal to be finished")
        loop_until(lambda: options or answers == [()])


def test_force_ends_a_start_that_waits():
    """A start just after the end waits for the supervisor of the last run."""
    for i in range(30):
        container = shell("test -e /again && sleep 100; touch /again", id=f"again{i}")
        answers = []
        container.start()
        equal(0, container.wait())
        call_later(container, "Start", lambda _: None)
        call_later(container, "Delete", answers.append, force=True)
        loop_until(lambda: answers, seconds=5)
        equal([()], answers)


def test_ten_at_once():
    made = [shell(f"exit {i}", id=f"many{i}") for i in range(10)]
    answers = []
    for container in made:
        call_later(container, "Start", answers.append)
    loop_until(lambda: len(answers) == 10)
    equal(list(range(10)), [container.wait() for container in made])


def test_list_is_paged():
    for i in range(5):
        shell("true", id=f"page{i}")
    first, after = containers(limit=GLib.Variant("u", 2))
    second, end = containers(limit=GLib.Variant("u", 3), after=after)
    equal(["page0", "page1", "page2", "page3", "page4"], [entry["Id"] for entry in first + second])
    equal(("page1", ""), (after, end))
    equal(first[0]["Path"], "/org/crt/Tasks/container/system/page0")
    equal("created", Container(first[0]["Path"]).State)


main(globals())
