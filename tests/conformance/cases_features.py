# SPDX-License-Identifier: LGPL-2.1-or-later
"""features.md and features-linux.md: what the runtime says of itself, held against what it does."""

import json

from conformance_case import Does, Failed

FEATURES = "features.md, Features structure"
LINUX = "features-linux.md"


def features(runtime):
    return json.loads(runtime.succeed("features"))


def members(runtime):
    said = features(runtime)
    for name in ("ociVersionMin", "ociVersionMax"):
        if not isinstance(said.get(name), str):
            raise Failed(f"{name} is {said.get(name)!r}")


def namespaces_hold(runtime):
    said = features(runtime)["linux"]["namespaces"]
    if "time" in said:
        runtime.config["linux"]["namespaces"].append({"type": "time"})
        runtime.write({}, "sleep 100")
        runtime.create()


def options_hold(runtime):
    """Each option that it knows, it takes; on a file system that takes them all."""
    skip = {"remount", "bind", "rbind", "idmap", "ridmap", "acl", "noacl", "mand", "iversion", "lazytime", "sync",
            "dirsync", "tmpcopyup", "copy-symlink", "dest-nofollow", "src-nofollow", "nolazytime", "noiversion",
            "nomand"}
    words = [word for word in features(runtime)["mountOptions"] if word not in skip]
    runtime.write({"mounts+": [{"destination": f"/mnt/{number}", "type": "tmpfs", "source": "x", "options": [word]}
                               for number, word in enumerate(words)]}, "sleep 100")
    runtime.create()


def hooks_hold(runtime):
    kinds = features(runtime)["hooks"]
    runtime.write({f"hooks.{kind}": [{"path": "/bin/true"}] for kind in kinds}, "true")
    runtime.create()
    runtime.succeed("start", runtime.id)


def flags_hold(runtime):
    said = features(runtime)["linux"]["seccomp"]
    for flag in said.get("supportedFlags", []):
        if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":
            continue
        runtime.write({"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag]}}, "sleep 100")
        runtime.create()
        runtime.succeed("delete", "--force", runtime.id)


CASES = [
    Does(FEATURES, "MUST", "ociVersionMin and ociVersionMax", does=members),
    Does(FEATURES, "MUST", "hooks: what is listed is taken", does=hooks_hold),
    Does(FEATURES, "MUST", "mountOptions: what is listed is taken", does=options_hold),
    Does(LINUX, "MUST", "namespaces: what is listed is taken", does=namespaces_hold),
    Does(LINUX, "MUST", "seccomp.supportedFlags: what is listed is taken", does=flags_hold),
]
