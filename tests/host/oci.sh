# SPDX-License-Identifier: LGPL-2.1-or-later
# What the tests of crt-oci share: a root file system of one static busybox, bundles, and a look at what is left.
# $CRT_OCI names another crt-oci to test.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$scratch/state
rootfs=$scratch/rootfs
chmod 0755 "$scratch"

oci() { "${CRT_OCI:-crt-oci}" --root "$state" "$@"; }

# The links in one process: some machines that this runs on take a while for each.
make_rootfs() {
        local root=$1
        mkdir -p "$root"/{bin,proc,dev,sys,tmp,etc}
        cp /bin/busybox "$root/bin/busybox"
        "$root/bin/busybox" --list | python3 -c '
import os, sys
for applet in sys.stdin.read().split():
    place = os.path.join(sys.argv[1], applet)
    if applet != "busybox" and not os.path.lexists(place):
        os.symlink("busybox", place)' "$root/bin"
}

base_config() {
        cat <<'END'
{ "ociVersion": "1.0.2",
  "root": { "path": "rootfs" },
  "hostname": "box",
  "process": {
    "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": [ "/bin/true" ],
    "env": [ "PATH=/bin", "TERM=xterm" ], "noNewPrivileges": true },
  "mounts": [
    { "destination": "/proc", "type": "proc", "source": "proc" },
    { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
      "options": [ "nosuid", "strictatime", "mode=755", "size=65536k" ] },
    { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
      "options": [ "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" ] },
    { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
      "options": [ "nosuid", "noexec", "nodev", "mode=1777", "size=64k" ] },
    { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
      "options": [ "nosuid", "noexec", "nodev" ] },
    { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [ "nosuid", "noexec", "nodev", "ro" ] },
    { "destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup",
      "options": [ "nosuid", "noexec", "nodev", "ro" ] } ],
  "linux": {
    "cgroupsPath": "/crt-test-oci/box",
    "resources": { "devices": [ { "allow": false, "access": "rwm" } ] },
    "namespaces": [ { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                    { "type": "mount" }, { "type": "cgroup" } ],
    "maskedPaths": [ "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/acpi" ],
    "readonlyPaths": [ "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" ] } }
END
}

# bundle JQ_FILTER [ARGUMENT…]: writes $bundle with this change to the base and these arguments of the process.
bundle=$scratch/bundle
bundle() {
        local filter=$1
        shift
        rm -rf "$bundle"
        mkdir "$bundle"
        ln -s "$rootfs" "$bundle/rootfs"
        (( $# )) && filter=".process.args = \$ARGS.positional | $filter"
        base_config | jq "$filter" --args -- "$@" >"$bundle/config.json"
}

# inside JQ_FILTER ARGUMENT…: runs it in a container; what it says is in $output, its status is the caller's.
inside() {
        bundle "$@"
        output=$(oci run -b "$bundle" box 2>&1)
}

# refused JQ_FILTER SENTENCE: no container comes of it, and nothing is left.
refused() {
        bundle "$1"
        fails oci run -b "$bundle" box
        contains "$output" "$2"
        nothing_left
        fails oci create -b "$bundle" box
        contains "$output" "$2"
        nothing_left
}

# No state, no cgroup, no process, no mount.
nothing_left() {
        equal "" "$(ls "$state" 2>/dev/null)"
        equal "" "$(find /sys/fs/cgroup/crt-test-oci -mindepth 1 -type d 2>/dev/null)"
        equal "" "$(grep -F "$scratch" /proc/self/mountinfo)"
        equal "" "$(pgrep -f -- "$bundle")"
}

oci_cleanup() {
        local id
        for id in $(ls "$state" 2>/dev/null); do oci delete --force "$id"; done
        rmdir /sys/fs/cgroup/crt-test-oci 2>/dev/null
}
cleanup() { oci_cleanup; }

make_rootfs "$rootfs"
