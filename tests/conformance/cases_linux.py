# SPDX-License-Identifier: LGPL-2.1-or-later
"""config-linux.md: namespaces, mappings, devices, cgroups, sysctl, seccomp, paths, propagation, personality."""

import os
import subprocess

from conformance_case import Does, Failed, Inside, Refused, equal

FILE_SYSTEMS = "config-linux.md, Default Filesystems"
NAMESPACES = "config-linux.md, Namespaces"
MAPPINGS = "config-linux.md, User namespace mappings"
TIME = "config-linux.md, Offset for Time Namespace"
DEVICES = "config-linux.md, Devices"
DEFAULTS = "config-linux.md, Default Devices"
CGROUPS = "config-linux.md, Cgroups Path"
ALLOWED = "config-linux.md, Allowed Device list"
UNIFIED = "config-linux.md, Unified"
HUGE = "config-linux.md, Huge page limits"
SYSCTL = "config-linux.md, Sysctl"
SECCOMP = "config-linux.md, Seccomp"
PROPAGATION = "config-linux.md, Rootfs Mount Propagation"
MASKED = "config-linux.md, Masked Paths"
READONLY = "config-linux.md, Readonly Paths"
PERSONALITY = "config-linux.md, Personality"

ALL = ("pid", "network", "ipc", "uts", "mount")


def namespaces(*types, **paths):
    return {"linux.namespaces": [{"type": name} for name in types] +
                                [{"type": name, "path": path} for name, path in paths.items()]}


def mapped(*more):
    ids = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    return {"linux.namespaces": [{"type": name} for name in (*ALL, "user", *more)], "linux.uidMappings": ids,
            "linux.gidMappings": ids,
            "process.capabilities": None}


def of_host(kind):
    return os.readlink(f"/proc/self/ns/{kind}")


def is_own(kind, member):
    def does(runtime):
        runtime.create()
        inside = os.readlink(f"/proc/{runtime.state()['pid']}/ns/{kind}")
        if inside == of_host(kind):
            raise Failed(f"the {kind} namespace is the runtime's")
    types = (*ALL, member) if member not in ALL else ALL
    return Does(NAMESPACES, "MUST", f"{member}: a new one without a path", namespaces(*types), does=does)


def is_inherited(kind, member):
    def does(runtime):
        runtime.create()
        equal(of_host(kind), os.readlink(f"/proc/{runtime.state()['pid']}/ns/{kind}"), f"the {kind} namespace")
    changes = namespaces(*[name for name in ALL if name != member])
    if member == "uts":
        changes["hostname"] = None
    return Does(NAMESPACES, "MUST", f"{member}: inherited when it is not listed", changes, does=does)


def is_joined(kind, member):
    def does(runtime):
        with subprocess.Popen(["unshare", "--" + kind, "sleep", "100"]) as holder:
            try:
                path = f"/proc/{holder.pid}/ns/{kind}"
                while os.readlink(path) == of_host(kind):
                    pass
                runtime.write(namespaces(*[name for name in ALL if name != member], **{member: path}), "sleep 100")
                runtime.create()
                equal(os.readlink(path), os.readlink(f"/proc/{runtime.state()['pid']}/ns/{kind}"), "the namespace")
            finally:
                holder.kill()
    return Does(NAMESPACES, "MUST", f"{member}: joined by path", does=does)


def device(path, kind="c", major=1, minor=3, **more):
    return {"path": path, "type": kind, "major": major, "minor": minor, **more}


def in_cgroup(runtime):
    runtime.create()
    with open(f"/proc/{runtime.state()['pid']}/cgroup", encoding="utf-8") as file:
        path = [line for line in file if line.startswith("0::")][0][3:].strip()
    if not path.endswith(runtime.cgroup) and runtime.cgroup + "/" not in path:
        raise Failed(f"the process is in {path}")


def cgroup_populated(runtime):
    """Somebody else's processes are in it."""
    cgroup = "/sys/fs/cgroup" + runtime.cgroup
    os.makedirs(cgroup)
    with subprocess.Popen(["sleep", "100"]) as other:
        try:
            with open(cgroup + "/cgroup.procs", "w", encoding="utf-8") as file:
                file.write(str(other.pid))
            status, _, _ = runtime.call("create", "--bundle", runtime.bundle, runtime.id)
            if status == 0:
                runtime.call("delete", "--force", runtime.id)
                if other.poll() is not None:
                    raise Failed("took the cgroup, and killed who was in it")
                raise Failed("takes a cgroup that has processes")
        finally:
            other.kill()


def cgroup_frozen(runtime):
    cgroup = "/sys/fs/cgroup" + runtime.cgroup
    os.makedirs(cgroup)
    with open(cgroup + "/cgroup.freeze", "w", encoding="utf-8") as file:
        file.write("1")
    try:
        status, _, _ = runtime.call("create", "--bundle", runtime.bundle, runtime.id, timeout=60)
    finally:
        with open(cgroup + "/cgroup.freeze", "w", encoding="utf-8") as file:
            file.write("0")
    if status == "timeout":
        raise Failed("create hangs on a frozen cgroup")


def seccomp(*rules, **more):
    return {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                              "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                              "syscalls": [{"names": names, **rule} for names, rule in rules], **more}}


MKDIR = ["mkdir", "mkdirat"]


def controllers():
    try:
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="utf-8") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


# tests/vm/test-cloud-oci.sh sets such limits where there is one in any case.
NO_HUGE_PAGES = "" if "hugetlb" in controllers() else "there is no hugetlb controller here"


def missing_controller(runtime):
    """What can't be had is an error, never silence."""
    missing = [name for name in ("memory", "pids", "cpu") if name not in controllers()]
    if not missing:
        return
    key = {"memory": ("memory", {"limit": 33554432}), "pids": ("pids", {"limit": 50}),
           "cpu": ("cpu", {"quota": 50000, "period": 100000})}[missing[0]]
    runtime.write({"linux.resources." + key[0]: key[1]}, "sleep 100")
    runtime.fail("create", "--bundle", runtime.bundle, runtime.id)


CASES = [
    Inside(FILE_SYSTEMS, "SHOULD", "/proc, /sys, /dev/pts and /dev/shm", {},
           "for m in /proc /sys /dev/pts /dev/shm; do stat -f -c %T $m; done", "~^proc\nsysfs\ndevpts\ntmpfs$"),

    is_own("pid", "pid"), is_own("net", "network"), is_own("ipc", "ipc"), is_own("uts", "uts"), is_own("mnt", "mount"),
    is_own("cgroup", "cgroup"), is_own("time", "time"),
    Does(NAMESPACES, "MUST", "user: a new one without a path", mapped(),
         does=lambda r: (r.create(), equal(False, os.readlink(f"/proc/{r.state()['pid']}/ns/user") == of_host("user"),
                                           "the same user namespace"))),
    is_inherited("pid", "pid"), is_inherited("net", "network"), is_inherited("ipc", "ipc"), is_inherited("uts", "uts"),
    is_joined("net", "network"), is_joined("ipc", "ipc"), is_joined("uts", "uts"),
    Refused(NAMESPACES, "MUST", "a path of another type is an error",
            namespaces("pid", "ipc", "uts", "mount", network="/proc/self/ns/uts")),
    Refused(NAMESPACES, "MUST", "a path that is no namespace is an error",
            namespaces("pid", "ipc", "uts", "mount", network="/dev/null")),
    Refused(NAMESPACES, "MUST", "a path that is not there is an error",
            namespaces("pid", "ipc", "uts", "mount", network="/nowhere")),
    Refused(NAMESPACES, "MUST", "a type given twice is an error", namespaces(*ALL, "pid")),
    Refused(NAMESPACES, "MUST", "an unknown type is an error", namespaces(*ALL, "nonsense")),
    Inside(NAMESPACES, "MUST", "pid: only its own processes are seen", {},
           "ls -d /proc/[0-9]* | head -n 1; echo $$", "/proc/1\n1"),
    Inside(NAMESPACES, "MUST", "cgroup: its own cgroup is the root",
           {"linux.namespaces": [{"type": name} for name in (*ALL, "cgroup")]},
           "grep ^0:: /proc/self/cgroup", "0::/"),

    Inside(MAPPINGS, "MUST", "uidMappings and gidMappings", mapped(),
           "awk '{print $1, $2, $3}' /proc/self/uid_map /proc/self/gid_map", "0 100000 1000\n0 100000 1000"),
    Inside(MAPPINGS, "MUST", "the process is user 0 of the namespace", mapped(), "id -u", "0"),
    Inside(TIME, "MUST", "boottime is set off",
           {"linux.namespaces": [{"type": name} for name in (*ALL, "time")],
            "linux.timeOffsets": {"boottime": {"secs": 100000000}}},
           "[ $(cut -d. -f1 /proc/uptime) -ge 100000000 ] && echo ok", "ok"),
    Refused(TIME, "MUST", "offsets without a time namespace are an error",
            {"linux.timeOffsets": {"boottime": {"secs": 1000}}}),

    Inside(DEVICES, "MUST", "a character device", {"linux.devices": [device("/dev/other")]},
           "stat -c %t:%T /dev/other; ls -l /dev/other | cut -c1", "1:3\nc"),
    Inside(DEVICES, "MUST", "a block device", {"linux.devices": [device("/dev/block", "b", 7, 0)]},
           "ls -l /dev/block | cut -c1", "b"),
    Inside(DEVICES, "MUST", "a FIFO", {"linux.devices": [{"path": "/dev/fifo", "type": "p", "fileMode": 0o622}]},
           "ls -l /dev/fifo | cut -c1", "p"),
    Inside(DEVICES, "MUST", "fileMode, uid and gid",
           {"linux.devices": [device("/dev/other", fileMode=0o640, uid=5, gid=6)]},
           "stat -c %a:%u:%g /dev/other", "640:5:6"),
    Inside(DEVICES, "MAY", "a path outside of /dev", {"linux.devices": [device("/devices/other")]},
           "ls -l /devices/other | cut -c1", "c"),
    Refused(DEVICES, "MUST", "a file at path that is another one is an error",
            {"linux.devices": [device("/bin/busybox")]}),
    Refused(DEVICES, "MUST", "an unknown type is an error", {"linux.devices": [device("/dev/other", "x")]}),
    Inside(DEFAULTS, "MUST", "null, zero, full, random, urandom and tty",
           {}, "for d in null zero full random urandom tty; do stat -c %t:%T /dev/$d; done | xargs",
           "1:3 1:5 1:7 1:8 1:9 5:0"),
    Inside(DEFAULTS, "MUST", "null can be written to by anybody", {"process.user": {"uid": 5, "gid": 5}},
           "echo x >/dev/null && echo ok", "ok"),
    Inside(DEFAULTS, "MUST", "ptmx is the container's own", {}, "ls -l /dev/ptmx | grep -q pts/ptmx && echo ok || "
           "stat -c %t:%T /dev/ptmx", "~ok|5:2"),

    Does(CGROUPS, "MUST", "an absolute path is relative to the cgroups' mount point", does=in_cgroup),
    Does(CGROUPS, "MUST", "cgroups are made, and deleted with the container", does=lambda r: (
        r.create(), equal(True, os.path.isdir("/sys/fs/cgroup" + r.cgroup), "cgroup is there"))),
    Does("config-linux.md, Control groups", "MUST", "a cgroup with processes is an error, if it is checked",
         does=cgroup_populated),
    Does("config-linux.md, Control groups", "MUST", "a frozen cgroup does not hang", does=cgroup_frozen),
    Does("config-linux.md, Control groups", "MUST", "a limit that no controller is there for is an error",
         does=missing_controller),

    Inside(ALLOWED, "MUST", "what is denied can't be opened",
           {"linux.devices": [device("/dev/other", "c", 1, 11)]}, "cat </dev/other", "~^$"),
    Inside(ALLOWED, "MUST", "what is allowed can be opened",
           {"linux.devices": [device("/dev/mem2", "c", 1, 9)],
            "linux.resources.devices": [{"allow": False, "access": "rwm"},
                                        {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "r"}]},
           "head -c 4 /dev/mem2 | wc -c", "4"),
    Inside(ALLOWED, "MUST", "entries are applied in the listed order: the last that fits decides",
           {"linux.devices": [device("/dev/fuse2", "c", 10, 200)],
            "linux.resources.devices": [{"allow": False, "access": "rwm"},
                                        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
                                        {"allow": False, "type": "c", "major": 10, "minor": 200, "access": "rwm"}]},
           "cat /dev/fuse2 2>&1", "~not permitted"),
    Inside(ALLOWED, "MUST", "access: only what is given",
           {"linux.devices": [device("/dev/ours", "c", 1, 5, fileMode=0o666)],
            "linux.resources.devices": [{"allow": False, "access": "rwm"}]},
           "head -c 1 /dev/zero | wc -c", "1"),

    Inside(UNIFIED, "MUST", "files of the cgroup are written",
           {"linux.resources.unified": {"hugetlb.2MB.max": "6291456"},
           "linux.namespaces": [{"type": name} for name in (*ALL, "cgroup")],
           "mounts+": [{"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup", "options": ["ro"]}]},
           "cat /sys/fs/cgroup/hugetlb.2MB.max", "6291456", otherwise=NO_HUGE_PAGES),
    Inside(UNIFIED, "MUST", "files of the cgroup's core are written, too",
           {"linux.resources.unified": {"cgroup.max.depth": "3", "cgroup.max.descendants": "7"},
            "linux.namespaces": [{"type": name} for name in (*ALL, "cgroup")],
            "mounts+": [{"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup", "options": ["ro"]}]},
           "cat /sys/fs/cgroup/cgroup.max.depth /sys/fs/cgroup/cgroup.max.descendants | xargs", "3 7"),
    Refused(UNIFIED, "MUST", "a file that the cgroup has not is an error",
            {"linux.resources.unified": {"hugetlb.nonsense": "1"}}),
    Refused(UNIFIED, "MUST", "a path instead of a file is an error",
            {"linux.resources.unified": {"../cgroup.procs": "1"}}),
    Inside(HUGE, "MUST", "a limit for huge pages",
           {"linux.resources.hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
            "linux.namespaces": [{"type": name} for name in (*ALL, "cgroup")],
            "mounts+": [{"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup", "options": ["ro"]}]},
           "cat /sys/fs/cgroup/hugetlb.2MB.max", "4194304", otherwise=NO_HUGE_PAGES),

    Inside(SYSCTL, "MUST", "a parameter of the network namespace", {"linux.sysctl": {"net.ipv4.ip_forward": "1"}},
           "cat /proc/sys/net/ipv4/ip_forward", "1"),
    Inside(SYSCTL, "MUST", "a parameter of the IPC namespace", {"linux.sysctl": {"kernel.msgmax": "4096"}},
           "cat /proc/sys/kernel/msgmax", "4096"),
    Refused(SYSCTL, "MUST", "a parameter of the host is an error", {"linux.sysctl": {"kernel.sysrq": "0"}}),
    Refused(SYSCTL, "MUST", "a parameter of a namespace that is not new is an error",
            {**namespaces("pid", "ipc", "uts", "mount"), "linux.sysctl": {"net.ipv4.ip_forward": "1"}}),

    Inside(SECCOMP, "MUST", "SCMP_ACT_ERRNO gives EPERM", seccomp((MKDIR, {"action": "SCMP_ACT_ERRNO"})),
           "mkdir /tmp/d 2>&1", "~not permitted"),
    Inside(SECCOMP, "MUST", "errnoRet", seccomp((MKDIR, {"action": "SCMP_ACT_ERRNO", "errnoRet": 5})),
           "mkdir /tmp/d 2>&1", "~Input/output error"),
    Inside(SECCOMP, "MUST", "SCMP_ACT_KILL_PROCESS", seccomp((MKDIR, {"action": "SCMP_ACT_KILL_PROCESS"})),
           "mkdir /tmp/d; echo $?", "159"),
    Inside(SECCOMP, "MUST", "arguments: SCMP_CMP_EQ",
           seccomp((["kill"], {"action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 30, "op": "SCMP_CMP_EQ"}]})),
           "sleep 9 & kill -30 $! 2>&1; kill -9 $! && echo killed", "~not permitted\nkilled"),
    Inside(SECCOMP, "MUST", "arguments: SCMP_CMP_MASKED_EQ",
           seccomp((["kill"], {"action": "SCMP_ACT_ERRNO",
                               "args": [{"index": 1, "value": 16, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}]})),
           "sleep 9 & kill -30 $! 2>&1; kill -9 $! && echo killed", "~not permitted\nkilled"),
    Inside(SECCOMP, "MUST", "defaultAction, with what is allowed",
           {"linux.seccomp": {"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86_64"],
                              "syscalls": [{"names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]}},
           "mkdir /tmp/d 2>&1", "~Argument list too long"),
    Inside(SECCOMP, "MAY", "a system call that nobody knows may be allowed where the default is to log",
           {"linux.seccomp": {"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86_64"],
                              "syscalls": [{"names": ["call_of_a_later_kernel", *MKDIR], "action": "SCMP_ACT_ALLOW"}]}},
           "mkdir /tmp/d && echo made", "made"),
    Refused(SECCOMP, "MUST", "an unknown action is an error", seccomp((MKDIR, {"action": "SCMP_ACT_NONSENSE"}))),
    Refused(SECCOMP, "MUST", "an unknown architecture is an error",
            seccomp((MKDIR, {"action": "SCMP_ACT_ERRNO"}), architectures=["SCMP_ARCH_NONSENSE"])),
    Refused(SECCOMP, "MUST", "an unknown operator is an error",
            seccomp((MKDIR, {"action": "SCMP_ACT_ERRNO",
                             "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_NONSENSE"}]}))),
    Refused(SECCOMP, "MUST", "SCMP_ACT_NOTIFY without listenerPath is an error",
            seccomp((MKDIR, {"action": "SCMP_ACT_NOTIFY"}))),

    Inside(PROPAGATION, "MUST", "shared", {"linux.rootfsPropagation": "shared"},
           "grep ' / / ' /proc/self/mountinfo || grep ' / [a-z]' /proc/self/mountinfo | head -n 1", "~shared:"),
    Inside(PROPAGATION, "MUST", "private", {"linux.rootfsPropagation": "private"},
           "awk '$5 == \"/\"' /proc/self/mountinfo | grep -c -e shared: -e master:", "0"),
    Inside(PROPAGATION, "MUST", "unbindable", {"linux.rootfsPropagation": "unbindable"},
           "awk '$5 == \"/\"' /proc/self/mountinfo", "~unbindable"),
    Refused(PROPAGATION, "MUST", "an unknown value is an error", {"linux.rootfsPropagation": "nonsense"}),

    Inside(MASKED, "MUST", "a file can't be read", {"linux.maskedPaths": ["/proc/version"]},
           "wc -c </proc/version", "0"),
    Inside(MASKED, "MUST", "a directory can't be read", {"linux.maskedPaths": ["/proc/driver"]},
           "ls /proc/driver | wc -l", "0"),
    Inside(MASKED, "MUST", "a path that is not there is passed over", {"linux.maskedPaths": ["/nowhere/at/all"]},
           "echo ok", "ok"),
    Inside(READONLY, "MUST", "a file can't be written", {"linux.readonlyPaths": ["/etc"]},
           "touch /etc/file 2>&1", "~Read-only file system"),
    Inside(READONLY, "MUST", "/proc/sys can't be written", {"linux.readonlyPaths": ["/proc/sys"]},
           "echo x 2>/dev/null >/proc/sys/kernel/domainname || echo refused", "refused"),
    Inside(READONLY, "MUST", "a path that is not there is passed over", {"linux.readonlyPaths": ["/nowhere/at/all"]},
           "echo ok", "ok"),
    Inside(PERSONALITY, "MUST", "LINUX32", {"linux.personality": {"domain": "LINUX32"}}, "uname -m", "~^i.86$"),
    Refused(PERSONALITY, "MUST", "an unknown domain is an error", {"linux.personality": {"domain": "NONSENSE"}}),
]
