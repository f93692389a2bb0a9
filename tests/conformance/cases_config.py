# SPDX-License-Identifier: LGPL-2.1-or-later
"""config.md: version, root, mounts, process, hostname, annotations, extensibility."""

import os

from conformance_case import Does, Failed, Inside, Refused, equal

VERSION = "config.md, Specification version"
ROOT = "config.md, Root"
MOUNTS = "config.md, Mounts"
OPTIONS = "config.md, Linux mount options"
PROCESS = "config.md, Process"
POSIX = "config.md, POSIX process"
LINUX = "config.md, Linux Process"
USER = "config.md, POSIX-platform User"
NAMES = "config.md, Hostname"
EXTENSIBILITY = "config.md, Extensibility"
VALID = "config.md, Valid values"

ALL_CAPABILITIES = ("bounding", "effective", "permitted")


def tmpfs(where, *options):
    return {"destination": where, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def bind(source, where, *options):
    return {"destination": where, "type": "bind", "source": source, "options": ["bind", *options]}


def flags_of(where):
    """The options of the topmost mount there."""
    return f"grep ' {where} ' /proc/self/mountinfo | tail -n 1 | cut -d' ' -f6"


def option(word, expect, where="/mnt", source=None):
    mount = bind(source, where, word) if source else tmpfs(where, word)
    return Inside(OPTIONS, "MUST", f"{word}{' of a bind mount' if source else ''}", {"mounts+": [mount]},
                  flags_of(where), expect)


def capabilities(*names):
    return {f"process.capabilities.{name}": list(names) for name in ALL_CAPABILITIES}


def rlimit(name, soft, hard, letter):
    return Inside(POSIX, "MUST", f"rlimits: {name}",
                  {"process.rlimits": [{"type": name, "soft": soft, "hard": hard}]},
                  f"ulimit -S{letter}; ulimit -H{letter}",
                  f"~^{soft // SCALE.get(letter, 1)}\n{hard // SCALE.get(letter, 1)}$")


# What ulimit counts in.
SCALE = {"c": 512, "f": 512, "s": 1024, "d": 1024, "v": 1024, "l": 1024}


def propagates(runtime):
    """A mount that is made on the host below a shared bind source shows in a slave, not in a private mount."""
    runtime.create()
    pid = runtime.state()["pid"]
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
        line = [line for line in file if " /mnt " in line][-1]
    equal(True, "master:" in line or "shared:" not in line, "peer group of an rslave mount")


def unknown_member(runtime):
    runtime.create()


CASES = [
    Refused(VERSION, "MUST", "ociVersion is required", {"ociVersion": None}),
    Refused(VERSION, "MUST", "ociVersion is in SemVer 2.0.0 format", {"ociVersion": "one"}),
    Inside(VERSION, "MUST", "an older version of the same major is taken", {"ociVersion": "1.0.0"}, "echo ok", "ok"),

    Refused(ROOT, "MUST", "root.path is a directory that exists", {"root.path": "nowhere"}),
    Refused(ROOT, "MUST", "root.path is not a file", {"root.path": "config.json"}),
    Inside(ROOT, "MUST", "root.path may be absolute", {"root.path": "@BUNDLE@/rootfs"}, "echo ok", "ok"),
    Inside(ROOT, "MUST", "readonly: the root is read-only inside", {"root.readonly": True},
           "touch /file 2>&1", "~Read-only file system"),
    Inside(ROOT, "MUST", "without readonly it is writable", {}, "touch /file && echo ok", "ok"),

    Inside(MOUNTS, "MUST", "mounts are made in the listed order",
           {"mounts+": [tmpfs("/mnt"), tmpfs("/mnt/below"), bind("rootfs/bin", "/mnt/below")]},
           "grep -c ' /mnt' /proc/self/mountinfo; ls /mnt/below/busybox", "3\n/mnt/below/busybox"),
    Inside(MOUNTS, "MUST", "a later mount covers an earlier one at the same place",
           {"mounts+": [tmpfs("/mnt", "size=1m"), tmpfs("/mnt", "size=2m")]},
           "df -k /mnt | tail -n 1 | awk '{print $2}'", "2048"),
    Inside(MOUNTS, "MUST", "a destination that is missing is made", {"mounts+": [tmpfs("/new/place")]},
           "touch /new/place/file && echo ok", "ok"),
    Inside(MOUNTS, "MUST", "the source of a bind mount is relative to the bundle",
           {"mounts+": [bind("rootfs/bin", "/mnt")]}, "ls /mnt/busybox", "/mnt/busybox"),
    Inside(MOUNTS, "MUST", "a file can be bound, and its destination is made",
           {"mounts+": [bind("config.json", "/etc/bound")]}, "head -c 1 /etc/bound", "{"),
    Refused(MOUNTS, "MUST", "destination is required", {"mounts+": [{"type": "tmpfs", "source": "tmpfs"}]}),
    Refused(MOUNTS, "MUST", "a bind source that is not there is an error", {"mounts+": [bind("nowhere", "/mnt")]}),
    Refused(MOUNTS, "MUST", "an unknown file system is an error",
            {"mounts+": [{"destination": "/mnt", "type": "nonsense", "source": "x"}]}),
    Inside(MOUNTS, "MUST", "a link in the destination stays inside the root",
           {"mounts+": [bind("rootfs/data", "/tmp/..//mnt")]}, "grep -c ' /mnt ' /proc/self/mountinfo", "1"),
    Inside(MOUNTS, "MUST", "options of the file system reach it", {"mounts+": [tmpfs("/mnt", "mode=711", "uid=5")]},
           "stat -c %a:%u /mnt", "711:5"),

    option("ro", "~(^|,)ro(,|$)"), option("rw", "~(^|,)rw(,|$)"), option("nosuid", "~nosuid"),
    option("nodev", "~nodev"), option("noexec", "~noexec"), option("noatime", "~noatime"),
    option("nodiratime", "~nodiratime"), option("relatime", "~relatime"),
    option("strictatime", "~^rw(,no[a-z]+)*$"), option("nosymfollow", "~nosymfollow"),
    option("ro", "~(^|,)ro(,|$)", source="rootfs/data"), option("nosuid", "~nosuid", source="rootfs/data"),
    option("nodev", "~nodev", source="rootfs/data"), option("noexec", "~noexec", source="rootfs/data"),
    option("noatime", "~noatime", source="rootfs/data"),
    Inside(OPTIONS, "MUST", "rro is recursive: mounts below are read-only, too",
           {"mounts+": [{"destination": "/mnt", "type": "bind", "source": "/sys", "options": ["rbind", "rro"]}]},
           "grep ' /mnt' /proc/self/mountinfo | cut -d' ' -f6 | grep -vc '^ro'", "0"),
    Inside(OPTIONS, "MUST", "ro of a recursive bind is not",
           {"mounts+": [{"destination": "/mnt", "type": "bind", "source": "/dev", "options": ["rbind", "ro"]}]},
           "grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f6", "~^ro"),
    Inside(OPTIONS, "MUST", "rbind brings the mounts below along",
           {"mounts+": [{"destination": "/mnt", "type": "bind", "source": "/proc", "options": ["rbind"]}]},
           "[ -e /mnt/self ] && echo ok", "ok"),
    Does(OPTIONS, "MUST", "rslave", {"mounts+": [bind("rootfs/data", "/mnt", "rslave")]}, does=propagates),
    Inside(OPTIONS, "MUST", "rshared", {"mounts+": [bind("rootfs/data", "/mnt", "rshared")]},
           "grep ' /mnt ' /proc/self/mountinfo", "~shared:"),
    Inside(OPTIONS, "MUST", "rprivate", {"mounts+": [bind("rootfs/data", "/mnt", "rprivate")]},
           "grep ' /mnt ' /proc/self/mountinfo | grep -c -e shared: -e master:", "0"),
    Inside(OPTIONS, "MUST", "runbindable", {"mounts+": [bind("rootfs/data", "/mnt", "runbindable")]},
           "grep ' /mnt ' /proc/self/mountinfo", "~unbindable"),
    Inside(OPTIONS, "SHOULD", "tmpcopyup copies what was there",
           {"mounts+": [tmpfs("/bin", "tmpcopyup")]}, "grep -c ' /bin ' /proc/self/mountinfo", "1"),
    Inside(OPTIONS, "SHOULD", "idmap: a mount with mappings of its own",
           {"mounts+": [{"destination": "/mnt", "type": "bind", "source": "rootfs/data", "options": ["bind", "idmap"],
                         "uidMappings": [{"containerID": 0, "hostID": 7000, "size": 100}],
                         "gidMappings": [{"containerID": 0, "hostID": 7000, "size": 100}]}]},
           "stat -c %u /mnt", "7000"),

    Inside(PROCESS, "MUST", "cwd is the working directory", {"process.cwd": "/tmp"}, "pwd", "/tmp"),
    Refused(PROCESS, "MUST", "cwd is required", {"process.cwd": None}),
    Refused(PROCESS, "MUST", "cwd is absolute", {"process.cwd": "tmp"}),
    Inside(PROCESS, "MUST", "env is the environment", {"process.env": ["PATH=/bin", "ONE=1", "TWO=a b"]},
           "echo $ONE,$TWO", "1,a b"),
    Inside(PROCESS, "MUST", "nothing of the caller's environment comes in", {},
           "env | grep -c CONFORMANCE_OUTSIDE", "0"),
    Refused(POSIX, "MUST", "args is required on POSIX platforms", {"process.args": None}),
    Refused(POSIX, "MUST", "args has one entry at least", {"process.args": []}),
    Inside(POSIX, "MUST", "args[0] is searched in the PATH of env", {"process.env": ["PATH=/nowhere:/bin"]},
           "echo ok", "ok"),
    Inside(PROCESS, "MUST", "terminal false: stdin is no terminal", {}, "[ -t 0 ] || echo none", "none"),

    rlimit("RLIMIT_CORE", 1024, 2048, "c"), rlimit("RLIMIT_NOFILE", 100, 200, "n"),
    rlimit("RLIMIT_FSIZE", 1048576, 2097152, "f"), rlimit("RLIMIT_STACK", 1048576, 2097152, "s"),
    rlimit("RLIMIT_DATA", 104857600, 209715200, "d"), rlimit("RLIMIT_AS", 1048576000, 2097152000, "v"),
    rlimit("RLIMIT_NPROC", 500, 600, "u"), rlimit("RLIMIT_CPU", 500, 600, "t"),
    Refused(POSIX, "MUST", "rlimits: an unknown type is an error",
            {"process.rlimits": [{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]}),
    Refused(POSIX, "MUST", "rlimits: a type given twice is an error",
            {"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2}),

    Inside(USER, "MUST", "uid and gid", {"process.user": {"uid": 5, "gid": 6}}, "id -u; id -g", "5\n6"),
    Inside(USER, "MUST", "additionalGids", {"process.user": {"uid": 5, "gid": 6, "additionalGids": [7, 8]}},
           "id -G", "6 7 8"),
    Inside(USER, "MUST", "no groups of the caller's", {"process.user": {"uid": 5, "gid": 6}}, "id -G", "6"),
    Inside(USER, "MUST", "umask", {"process.user": {"uid": 0, "gid": 0, "umask": 0o027}}, "umask", "~^0*27$"),

    Inside(LINUX, "MUST", "noNewPrivileges true", {"process.noNewPrivileges": True},
           "grep NoNewPrivs /proc/self/status", "~1$"),
    Inside(LINUX, "MUST", "noNewPrivileges false", {"process.noNewPrivileges": False},
           "grep NoNewPrivs /proc/self/status", "~0$"),
    Inside(LINUX, "MUST", "capabilities: exactly those", capabilities("CAP_KILL", "CAP_NET_RAW"),
           "grep -e CapBnd -e CapEff -e CapPrm /proc/self/status | cut -f2 | sort -u", "0000000000002020"),
    Inside(LINUX, "MUST", "capabilities: ambient ones reach a user who is not root",
           {**{f"process.capabilities.{name}": ["CAP_KILL"] for name in (*ALL_CAPABILITIES, "inheritable", "ambient")},
            "process.user": {"uid": 5, "gid": 5}}, "grep CapEff /proc/self/status | cut -f2", "0000000000000020"),
    Inside(LINUX, "MUST", "capabilities: none without ambient for a user who is not root",
           {**capabilities("CAP_KILL"), "process.user": {"uid": 5, "gid": 5}},
           "grep CapEff /proc/self/status | cut -f2", "0000000000000000"),
    Inside(LINUX, "MUST", "capabilities: empty sets", capabilities(),
           "grep -e CapBnd -e CapEff /proc/self/status | cut -f2 | sort -u", "0000000000000000"),
    Inside(LINUX, "SHOULD", "capabilities: one that nobody knows does not make it fail",
           {"process.capabilities.bounding": ["CAP_KILL", "CAP_NONSENSE"]}, "echo ok", "ok"),
    Inside(LINUX, "MUST", "oomScoreAdj", {"process.oomScoreAdj": 123}, "cat /proc/self/oom_score_adj", "123"),
    Inside(LINUX, "MUST", "scheduler: SCHED_BATCH and its nice value",
           {"process.scheduler": {"policy": "SCHED_BATCH", "nice": 5}},
           "cut -d' ' -f19,41 /proc/self/stat", "5 3"),
    Inside(LINUX, "MUST", "scheduler: SCHED_IDLE", {"process.scheduler": {"policy": "SCHED_IDLE"}},
           "cut -d' ' -f41 /proc/self/stat", "5"),
    Inside(LINUX, "MUST", "ioPriority", {"process.ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3}},
           "ionice -p $$", "best-effort: prio 3"),
    Refused(LINUX, "MUST", "ioPriority: an unknown class is an error",
            {"process.ioPriority": {"class": "IOPRIO_CLASS_NONSENSE", "priority": 3}}),
    Refused(LINUX, "MUST", "apparmorProfile where there is no AppArmor is an error, or it holds",
            {"process.apparmorProfile": "no-such-profile"}),
    Refused(LINUX, "MUST", "selinuxLabel where there is no SELinux is an error, or it holds",
            {"process.selinuxLabel": "system_u:system_r:no_such_t:s0"}),

    Inside(NAMES, "MUST", "hostname", {"hostname": "other"}, "hostname", "other"),
    Inside("config.md, Domainname", "MUST", "domainname", {"domainname": "example.org"},
           "cat /proc/sys/kernel/domainname", "example.org"),
    Does(EXTENSIBILITY, "MUST", "a member that nobody knows is no error",
         {"org.example.unknown": None, "unknownMember": {"a": 1}},
         does=unknown_member),
    Does(EXTENSIBILITY, "MUST", "a member of process that nobody knows is no error", {"process.unknownMember": 1},
         does=unknown_member),
    Refused(VALID, "MUST", "a value of the wrong type is an error", {"hostname": 5}),
    Refused(VALID, "MUST", "a value of the wrong type is an error (process.args)", {"process.args": "sh"}),
    Refused("config.md, Annotations", "MUST", "values are strings", {"annotations": {"key": 5}}),
]


def broken_json(runtime):
    runtime.write_text("{ this is no JSON")
    runtime.fail("create", "--bundle", runtime.bundle, runtime.id)
    if runtime.left():
        raise Failed("refused, but left: " + ", ".join(runtime.left()))


def escaping_root(runtime):
    os.symlink("/etc", os.path.join(runtime.rootfs, "link"))
    status, output, _ = runtime.run()
    if status == 0:
        equal("", output.strip(), "the host's /etc through a link of the root")
    if os.path.exists("/etc/of-the-container"):
        os.rmdir("/etc/of-the-container")
        raise Failed("a mount's destination was made outside of the root")


CASES += [
    Does("config.md, Configuration Schema", "MUST", "what is no JSON is an error", does=broken_json),
    Does(MOUNTS, "MUST", "a link of the root file system does not lead out of it",
         {"mounts+": [tmpfs("/link/of-the-container")]}, does=escaping_root, script="cat /link/hostname 2>/dev/null"),
]
