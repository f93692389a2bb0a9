# SPDX-License-Identifier: LGPL-2.1-or-later
"""runtime.md: state, lifecycle, errors, operations."""

import json
import os
import time

from conformance_case import Does, Failed, equal

STATE = "runtime.md, State"
LIFECYCLE = "runtime.md, Lifecycle"
CREATE = "runtime.md, Create"
START = "runtime.md, Start"
KILL = "runtime.md, Kill"
DELETE = "runtime.md, Delete"
ERRORS = "runtime.md, Errors"
HOOKS = "config.md, POSIX-platform Hooks"

HOOK_KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


def created(runtime):
    runtime.create()
    equal("created", runtime.state()["status"], "status")


def running(runtime):
    runtime.create()
    runtime.succeed("start", runtime.id)


def stopped(runtime):
    running(runtime)
    runtime.succeed("kill", runtime.id, "KILL")
    runtime.wait_for("stopped")


def state_members(runtime):
    runtime.create()
    state = runtime.state()
    for name, kind in (("ociVersion", str), ("id", str), ("status", str), ("pid", int), ("bundle", str)):
        if not isinstance(state.get(name), kind):
            raise Failed(f"{name} is {state.get(name)!r}")
    equal(runtime.id, state["id"], "id")
    equal(os.path.realpath(runtime.bundle), state["bundle"], "bundle")


def state_pid(runtime):
    running(runtime)
    with open(f"/proc/{runtime.state()['pid']}/cmdline", encoding="utf-8") as file:
        equal("/bin/sh", file.read().split("\0")[0], "the process of that pid")


def state_annotations(runtime):
    runtime.create()
    equal({"org.example.key": "value"}, runtime.state()["annotations"], "annotations")


def state_of_stopped(runtime):
    stopped(runtime)
    equal("stopped", runtime.state()["status"], "status")


def state_creating(runtime):
    runtime.create()
    with open(os.path.join(runtime.bundle, "seen"), encoding="utf-8") as file:
        equal("creating", json.load(file)["status"], "status that a createRuntime hook is told")


def program_waits(runtime):
    runtime.create()
    time.sleep(0.2)
    if os.path.exists(os.path.join(runtime.rootfs, "tmp/ran")):
        raise Failed("the program ran before start")
    runtime.succeed("start", runtime.id)
    runtime.wait_for("stopped")
    runtime.read("tmp/ran")


def later_changes(runtime):
    runtime.create()
    runtime.config["process"]["args"] = ["/bin/sh", "-c", "echo later >/tmp/which"]
    runtime.write({})
    runtime.succeed("start", runtime.id)
    runtime.wait_for("stopped")
    equal("first\n", runtime.read("tmp/which"), "program")


def same_id(runtime):
    runtime.create()
    pid = runtime.state()["pid"]
    runtime.fail("create", "--bundle", runtime.bundle, runtime.id)
    equal(("created", pid), (runtime.state()["status"], runtime.state()["pid"]), "the first container")


def bad_id(runtime):
    runtime.fail("create", "--bundle", runtime.bundle, "../escape")
    runtime.fail("create", "--bundle", runtime.bundle, "")


def id_again(runtime):
    stopped(runtime)
    runtime.succeed("delete", runtime.id)
    created(runtime)


def no_bundle(runtime):
    runtime.fail("create", "--bundle", runtime.bundle + "-none", runtime.id)


def no_config(runtime):
    os.unlink(os.path.join(runtime.bundle, "config.json"))
    runtime.fail("create", "--bundle", runtime.bundle, runtime.id)


def start_twice(runtime):
    running(runtime)
    pid = runtime.state()["pid"]
    runtime.fail("start", runtime.id)
    equal(("running", pid), (runtime.state()["status"], runtime.state()["pid"]), "after a second start")


def start_stopped(runtime):
    stopped(runtime)
    runtime.fail("start", runtime.id)
    runtime.wait_for("stopped")


def start_without_process(runtime):
    status, _, _ = runtime.call("create", "--bundle", runtime.bundle, runtime.id)
    if status == 0:
        runtime.fail("start", runtime.id)


def kill_sends(runtime):
    running(runtime)
    for _ in range(2000):
        if os.path.exists(os.path.join(runtime.rootfs, "tmp/ready")):
            break
        time.sleep(0.02)
    runtime.succeed("kill", runtime.id, "USR1")
    runtime.wait_for("stopped")
    equal("got it\n", runtime.read("tmp/signal"), "what the trap wrote")


def kill_created(runtime):
    created(runtime)
    runtime.succeed("kill", runtime.id, "KILL")
    runtime.wait_for("stopped")


def kill_stopped(runtime):
    stopped(runtime)
    runtime.fail("kill", runtime.id, "TERM")
    equal("stopped", runtime.state()["status"], "status")


def delete_running(runtime):
    running(runtime)
    runtime.fail("delete", runtime.id)
    equal("running", runtime.state()["status"], "status")


def delete_created(runtime):
    created(runtime)
    runtime.fail("delete", runtime.id)
    equal("created", runtime.state()["status"], "status")


def delete_undoes(runtime):
    stopped(runtime)
    runtime.succeed("delete", runtime.id)
    left = runtime.left()
    if left:
        raise Failed("left: " + ", ".join(left))
    runtime.fail("state", runtime.id)


def delete_leaves_others(runtime):
    cgroup = "/sys/fs/cgroup" + runtime.cgroup + "-sibling"
    os.makedirs(cgroup)
    try:
        delete_undoes(runtime)
        if not os.path.isdir(cgroup):
            raise Failed("a cgroup that is not the container's is gone")
        runtime.read("config.json", runtime.bundle)
    finally:
        os.rmdir(cgroup)


def refused_leaves_nothing(runtime):
    runtime.fail("create", "--bundle", runtime.bundle, runtime.id)
    left = runtime.left()
    if left:
        raise Failed("left: " + ", ".join(left))


def hook(name, command):
    return {"path": "/bin/sh", "args": ["sh", "-c", command.replace("NAME", name)], "env": ["PATH=/bin:/usr/bin"]}


def all_hooks(command, kinds=HOOK_KINDS):
    return {f"hooks.{kind}": [hook(kind, command)] for kind in kinds}


def hook_order(runtime):
    running(runtime)
    runtime.wait_for("stopped")
    runtime.succeed("delete", runtime.id)
    said = runtime.read("order", runtime.bundle).split() if os.path.exists(runtime.bundle + "/order") else []
    inside = runtime.read("tmp/order").split() if os.path.exists(runtime.rootfs + "/tmp/order") else []
    equal(["prestart", "createRuntime", "createContainer", "poststart", "poststop"], said, "hooks outside")
    equal(["startContainer", "program"], inside, "hooks and program inside")


def hook_state(runtime):
    runtime.create()
    with open(os.path.join(runtime.bundle, "seen"), encoding="utf-8") as file:
        state = json.load(file)
    equal((runtime.id, os.path.realpath(runtime.bundle), runtime.state()["pid"]),
          (state["id"], state["bundle"], state["pid"]), "the state that a hook reads")


def hook_order_within(runtime):
    runtime.create()
    equal("one\ntwo\n", runtime.read("seen", runtime.bundle), "hooks of one kind")


def hook_environment(runtime):
    runtime.create()
    equal("ONLY=this\n", runtime.read("seen", runtime.bundle), "a hook's environment")


def hook_arguments(runtime):
    runtime.create()
    equal("zero one two\n", runtime.read("seen", runtime.bundle), "a hook's arguments")


def failing_hook(stage):
    def does(runtime):
        if stage == "create":
            runtime.fail("create", "--bundle", runtime.bundle, runtime.id)
            runtime.call("delete", "--force", runtime.id)
        else:
            runtime.create()
            runtime.fail("start", runtime.id)
            runtime.call("delete", "--force", runtime.id)
        left = runtime.left()
        if left:
            raise Failed("left: " + ", ".join(left))
        if os.path.exists(runtime.rootfs + "/tmp/ran") and stage != "poststart":
            raise Failed("the program ran")
    return does


def poststop_warns(runtime):
    stopped(runtime)
    runtime.succeed("delete", runtime.id)
    equal("second\n", runtime.read("seen", runtime.bundle), "the hook after one that fails")


def hook_timeout(runtime):
    begin = time.monotonic()
    runtime.fail("create", "--bundle", runtime.bundle, runtime.id)
    if time.monotonic() - begin > 25:
        raise Failed("the timeout did not end it")


def note(where):
    return f"echo NAME >>{where}"


CASES = [
    Does(STATE, "MUST", "has ociVersion, id, status, pid and bundle", does=state_members),
    Does(STATE, "MUST", "pid is that of the container's process on the host", does=state_pid,
         script="sleep 100; exit"),
    Does(STATE, "MUST", "annotations are those of the configuration",
         {"annotations": {"org.example.key": "value"}}, does=state_annotations),
    Does(STATE, "MUST", "status is created after create", does=created),
    Does(STATE, "MUST", "status is running after start",
         does=lambda r: (running(r), equal("running", r.state()["status"], "status"))),
    Does(STATE, "MUST", "status is stopped after the process has ended", does=state_of_stopped),
    Does(STATE, "MUST", "status is creating while the container is being created",
         {"hooks.createRuntime": [hook("x", "cat >@BUNDLE@/seen")]}, does=state_creating),
    Does("runtime.md, Query State", "MUST", "an unknown container is an error",
         does=lambda r: r.fail("state", "unknown")),
    Does("runtime.md, Query State", "MUST", "without an ID it is an error", does=lambda r: r.fail("state")),

    Does(LIFECYCLE, "MUST", "the program does not run before start", script="echo ran >/tmp/ran", does=program_waits),
    Does(LIFECYCLE, "MUST", "changes of config.json after create have no effect",
         script="echo first >/tmp/which", does=later_changes),
    Does(CREATE, "MUST", "an ID that is taken is an error, and the first container is not touched", does=same_id),
    Does(CREATE, "MUST", "an ID that is not valid is an error", does=bad_id),
    Does(CREATE, "MUST", "without an ID it is an error", does=lambda r: r.fail("create", "--bundle", r.bundle)),
    Does(CREATE, "MUST", "a bundle that is not there is an error", does=no_bundle),
    Does("bundle.md, Container Format", "MUST", "a bundle without config.json is an error", does=no_config),
    Does(START, "MUST", "an unknown container is an error", does=lambda r: r.fail("start", "unknown")),
    Does(START, "MUST", "without an ID it is an error", does=lambda r: r.fail("start")),
    Does(START, "MUST", "a running container is an error, and is not touched", does=start_twice),
    Does(START, "MUST", "a stopped container is an error, and is not touched", does=start_stopped),
    Does(START, "MUST", "is an error when process was not set", {"process": None}, does=start_without_process,
         script=None),
    Does(KILL, "MUST", "sends the signal to the container's process",
         script="trap 'echo got it >/tmp/signal; exit' USR1; echo >/tmp/ready; while :; do sleep 0.05; done",
         does=kill_sends),
    Does(KILL, "MUST", "a created container can be killed", does=kill_created),
    Does(KILL, "MUST", "a stopped container is an error, and is not touched", does=kill_stopped),
    Does(KILL, "MUST", "an unknown container is an error", does=lambda r: r.fail("kill", "unknown", "TERM")),
    Does(DELETE, "MUST", "a running container is an error, and is not touched", does=delete_running),
    Does(DELETE, "MUST", "a created container is an error, and is not touched", does=delete_created,
         otherwise="it is killed and deleted, as by runc and crun, on which containerd counts"),
    Does(DELETE, "MUST", "an unknown container is an error", does=lambda r: r.fail("delete", "unknown")),
    Does(DELETE, "MUST", "deletes what create has made", does=delete_undoes),
    Does(DELETE, "MUST", "leaves what it has not made", does=delete_leaves_others),
    Does(DELETE, "MAY", "the ID can be used again", does=id_again),
    Does(ERRORS, "MUST", "an error of create leaves nothing",
         {"mounts+": [{"destination": "/mnt", "type": "no-such-filesystem", "source": "x"}]},
         does=refused_leaves_nothing),
    Does(ERRORS, "MUST", "a program that is not there is an error of create or start",
         {"process.args": ["/no/such/program"]}, does=start_without_process, script=None),

    Does(LIFECYCLE, "MUST", "hooks run in the order of the lifecycle",
         {**all_hooks(note("@BUNDLE@/order"),
                      ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]),
          "hooks.startContainer": [hook("startContainer", note("/tmp/order"))]},
         script="echo program >>/tmp/order", does=hook_order),
    Does(HOOKS, "MUST", "hooks of one kind run in the listed order",
         {"hooks.createRuntime": [hook("x", "echo one >>@BUNDLE@/seen"), hook("x", "echo two >>@BUNDLE@/seen")]},
         does=hook_order_within),
    Does(HOOKS, "MUST", "a hook reads the container's state on its standard input",
         {"hooks.createRuntime": [hook("x", "cat >@BUNDLE@/seen")]}, does=hook_state),
    Does(HOOKS, "MUST", "a hook has the environment that is given, and no other",
         {"hooks.createRuntime": [{"path": "/bin/sh", "env": ["ONLY=this"],
                                   "args": ["sh", "-c", "tr '\\0' '\\n' </proc/$$/environ >@BUNDLE@/seen"]}]},
         does=hook_environment),
    Does(HOOKS, "MUST", "a hook has the arguments that are given",
         {"hooks.createRuntime": [{"path": "/bin/sh",
                                   "args": ["zero", "-c", "echo $0 $1 $2 >@BUNDLE@/seen", "zero", "one", "two"]}]},
         does=hook_arguments),
    Does(HOOKS, "MUST", "a timeout aborts the hook",
         {"hooks.createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "30"], "timeout": 1}]}, does=hook_timeout),
    Does(LIFECYCLE, "MUST", "a prestart hook that fails is an error, and nothing runs",
         {"hooks.prestart": [hook("x", "exit 3")]}, script="echo ran >/tmp/ran", does=failing_hook("create")),
    Does(LIFECYCLE, "MUST", "a createRuntime hook that fails is an error, and nothing runs",
         {"hooks.createRuntime": [hook("x", "exit 3")]}, script="echo ran >/tmp/ran", does=failing_hook("create")),
    Does(LIFECYCLE, "MUST", "a createContainer hook that fails is an error, and nothing runs",
         {"hooks.createContainer": [hook("x", "exit 3")]}, script="echo ran >/tmp/ran", does=failing_hook("create")),
    Does(LIFECYCLE, "MUST", "a startContainer hook that fails is an error, and nothing runs",
         {"hooks.startContainer": [hook("x", "exit 3")]}, script="echo ran >/tmp/ran", does=failing_hook("start")),
    Does(LIFECYCLE, "MUST", "a poststart hook that fails is an error, and the container is stopped",
         {"hooks.poststart": [hook("x", "exit 3")]}, does=failing_hook("poststart")),
    Does(LIFECYCLE, "MUST", "a poststop hook that fails is a warning, and the next one runs",
         {"hooks.poststop": [hook("x", "exit 3"), hook("x", "echo second >>@BUNDLE@/seen")]}, does=poststop_warns),
    Does(HOOKS, "MUST", "a hook's path is absolute", {"hooks.createRuntime": [{"path": "bin/true"}]},
         does=refused_leaves_nothing),
]
