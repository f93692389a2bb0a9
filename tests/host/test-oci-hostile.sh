#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images and configurations that mean ill, and failures at every step: nothing of the host is touched, nothing is
# left behind.
source "$(dirname "$0")/oci.sh"

# with_rootfs COMMAND…: a root file system of the case's own, in $rootfs.
with_rootfs() {
        rootfs=$scratch/own-rootfs
        rm -rf "$rootfs"
        make_rootfs "$rootfs"
        victim=$scratch/victim
        rm -rf "$victim"
        mkdir "$victim"
        echo precious >"$victim/file"
}

victim_is_unharmed() {
        equal file "$(ls "$victim")"
        equal precious "$(cat "$victim/file")"
        equal "" "$(grep -F "$victim" /proc/self/mountinfo)"
}

test_dev_that_is_a_link_to_the_host() {
        with_rootfs
        rmdir "$rootfs/dev"
        ln -s "$victim" "$rootfs/dev"
        refused . "a symbolic link"
        refused 'del(.mounts[] | select(.destination | startswith("/dev")))' "symbolic link"
        # Also where it leads upwards.
        ln -sfn ../../victim "$rootfs/dev"
        refused . "a symbolic link"
        victim_is_unharmed
}

test_proc_and_sys_that_are_links() {
        with_rootfs
        rmdir "$rootfs/proc"
        mkdir "$rootfs/fake"
        ln -s /fake "$rootfs/proc"
        refused . "/proc: a symbolic link is in the way"
        rm "$rootfs/proc"
        mkdir "$rootfs/proc"
        rmdir "$rootfs/sys"
        ln -s fake "$rootfs/sys"
        refused . "/sys: a symbolic link is in the way"
        victim_is_unharmed
}

test_mount_targets_behind_links_stay_inside() {
        with_rootfs
        ln -s "$victim" "$rootfs/data"
        ln -s ../../../../../../../../"$victim" "$rootfs/up"
        ln -s /proc/self/root/../../.."$victim" "$rootfs/magic"
        # A link that dangles inside the root is an error, wherever it leads outside.
        refused '.mounts += [{destination: "/data/sub", type: "tmpfs", source: "tmpfs"}]' "/data/sub: No such file"
        mkdir -p "$rootfs$victim"
        inside '.mounts += [{destination: "/data/sub", type: "tmpfs", source: "tmpfs"},
                {destination: "/up", type: "tmpfs", source: "tmpfs"}]' \
                sh -c 'touch /data/sub/x /up/y; readlink -f /data; grep -c victim /proc/mounts' || fail "$output"
        contains "$output" "$victim"
        victim_is_unharmed
        [[ -d $rootfs$victim/sub ]]
        bundle '.mounts += [{destination: "/magic", type: "tmpfs", source: "tmpfs"}]'
        fails oci run -b "$bundle" box
        victim_is_unharmed
        nothing_left
}

test_a_target_that_leads_to_the_root_itself() {
        with_rootfs
        ln -s / "$rootfs/data"
        refused '.mounts += [{destination: "/data", type: "tmpfs", source: "tmpfs"}]' "/data: leads to the root itself"
}

test_binds_below_proc() {
        with_rootfs
        refused '.mounts += [{destination: "/proc/self/attr", type: "tmpfs", source: "tmpfs"}]' \
                "is inside a mounted proc file system"
        ln -s /proc/sys "$rootfs/innocent"
        refused '.mounts += [{destination: "/innocent", type: "tmpfs", source: "tmpfs"}]' \
                "is inside a mounted proc file system"
        inside '.mounts += [{destination: "/proc/uptime", type: "bind", source: "'"$victim"'/file"}]' cat /proc/uptime
        equal precious "$output"
}

test_masked_paths_behind_links_stay_inside() {
        with_rootfs
        ln -s "$victim" "$rootfs/masked"
        ln -s "$victim/file" "$rootfs/readonly"
        inside '.linux.maskedPaths += ["/masked", "/masked/file"] | .linux.readonlyPaths += ["/readonly"]' true
        echo more >>"$victim/file"
        equal $'precious\nmore' "$(cat "$victim/file")"
        equal "" "$(grep -F "$victim" /proc/self/mountinfo)"
}

# CVE-2019-16884, CVE-2025-52881: what the runtime writes into /proc must not end up in a file that somebody has put there.
test_a_proc_that_is_none_is_not_written_to() {
        with_rootfs
        mkdir -p "$victim/self/attr" "$victim/thread-self/attr/apparmor" "$victim/sys/net/core" "$victim/real"
        local file
        for file in self/attr/exec thread-self/attr/apparmor/exec sys/net/core/somaxconn self/timens_offsets self/oom_score_adj; do
                echo untouched >"$victim/$file"
        done
        local real
        inside '(.mounts[] | select(.type == "proc")) = {destination: "/proc", type: "bind", source: "'"$victim"'", options: ["rbind"]}
                | .mounts += [{destination: "/real", type: "proc", source: "proc"}] | .linux.sysctl = {"net.core.somaxconn": "1234"}
                | .process.oomScoreAdj = 55 | .linux.maskedPaths = [] | .linux.readonlyPaths = []' \
                cat /real/sys/net/core/somaxconn /real/self/oom_score_adj || fail "$output"
        equal $'1234\n55' "$output"
        for file in self/attr/exec thread-self/attr/apparmor/exec sys/net/core/somaxconn self/timens_offsets self/oom_score_adj; do
                equal untouched "$(cat "$victim/$file")"
        done
        rm -rf "$victim"/{self,thread-self,sys,real}
        victim_is_unharmed
}

# CVE-2021-30465, CVE-2019-19921, CVE-2024-45310: the image's content changes while it is mounted on.
test_directories_that_turn_into_links_meanwhile() {
        with_rootfs
        mkdir "$rootfs/race" "$rootfs/race/real"
        ln -s "$victim" "$rootfs/race/link"
        mkdir "$rootfs/race/target"
        python3 - "$rootfs/race" <<'END' &
import ctypes, os, sys, time
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None)
end = time.monotonic() + 6
while time.monotonic() < end and not os.path.exists("stop"):
    for _ in range(200):  # RENAME_EXCHANGE
        libc.renameat2(-100, b"target", -100, b"link", 2)
END
        local swapper=$! i
        bundle '.mounts += [{destination: "/race/target", type: "tmpfs", source: "tmpfs"},
                {destination: "/race/target/made/here", type: "tmpfs", source: "tmpfs"},
                {destination: "/race/target/file", type: "bind", source: "'"$victim"'/file"}]
                | .linux.maskedPaths += ["/race/target/file"] | .linux.readonlyPaths += ["/race/target"]' true
        for ((i = 0; i < 40; i++)); do
                oci run -b "$bundle" box >/dev/null 2>&1 || true
        done
        touch "$rootfs/race/stop"
        wait $swapper
        victim_is_unharmed
        echo more >>"$victim/file"
        equal $'precious\nmore' "$(cat "$victim/file")"
        nothing_left
}

# CVE-2025-52565: the terminal's own name inside is not used to find it.
test_a_terminal_with_a_link_in_its_place() {
        with_rootfs
        rm -rf "$rootfs/dev/pts"
        ln -s "$victim" "$rootfs/dev/pts"
        bundle '.process.terminal = true | .mounts |= map(select(.destination | startswith("/dev") | not)) |
                .mounts += [{destination: "/dev/pts", type: "devpts", source: "devpts"}]' true
        fails oci run -b "$bundle" box
        contains "$output" "/dev/pts: a symbolic link is in the way"
        victim_is_unharmed
        nothing_left
}

# CVE-2024-3154: an annotation is no property of a unit unless root's own runtime is asked for a unit.
test_annotations_reach_no_unit() {
        with_rootfs
        inside '.annotations = {"org.systemd.property.ExecStopPost": "['"'/bin/touch $victim/owned'"']", "run.oci.hooks.stdout": "'"$victim"'/owned",
                "org.criu.config": "'"$victim"'/owned"}' true || fail "$output"
        victim_is_unharmed
}

# CVE-2016-9962 and the launcher: whoever lives in a namespace that is joined does not get at the runtime.
test_processes_in_a_joined_namespace_see_nothing_of_the_runtime() {
        with_rootfs
        cp /bin/busybox "$rootfs/bin/busybox"
        unshare --user --map-root-user --pid --fork --mount-proc sh -c '
                while :; do
                        for p in /proc/[0-9]*; do
                                [ "${p#/proc/}" -gt 3 ] 2>/dev/null || continue
                                if ls "$p/fd" >/dev/null 2>&1 && readlink "$p/exe" 2>/dev/null | grep -q crt-oci; then echo "$p" >>'"$victim"'/seen; fi
                        done
                done' </dev/null >/dev/null 2>&1 &
        local spy=$! inner i
        wait_for 5 pgrep -P $spy
        inner=$(pgrep -P $spy)
        bundle '.linux.namespaces |= map(if .type == "pid" then .path = "/proc/'"$inner"'/ns/pid" else . end)
                | .linux.namespaces += [{type: "user", path: "/proc/'"$inner"'/ns/user"}]' true
        for ((i = 0; i < 15; i++)); do oci run -b "$bundle" box >/dev/null 2>&1 || true; done
        kill -9 "$inner" "$spy"
        wait 2>/dev/null
        victim_is_unharmed
}

test_masks_do_not_come_from_the_image() {
        with_rootfs
        # CVE-2025-31133: a /dev/null of the image's own must not become what covers /proc/keys.
        ln -s /etc/shadow "$rootfs/dev/null"
        refused 'del(.mounts[] | select(.destination | startswith("/dev")))' "/dev/null"
        rm "$rootfs/dev/null"
        inside 'del(.mounts[] | select(.destination | startswith("/dev")))' sh -c 'stat -c %t:%T /proc/keys'
        equal 1:3 "$output"
}

test_a_console_that_is_a_link() {
        with_rootfs
        ln -s "$victim/file" "$rootfs/dev/console"
        bundle '.process.terminal = true | .mounts |= map(select(.destination | startswith("/dev") | not)) |
                .mounts += [{destination: "/dev/pts", type: "devpts", source: "devpts"}]' true
        fails oci run -b "$bundle" box
        contains "$output" "/dev/console"
        victim_is_unharmed
        nothing_left
        rm "$rootfs/dev/console"
        # A device is covered, not opened.
        mknod "$rootfs/dev/console" c 10 130
        oci run -b "$bundle" box
}

test_devices_are_not_made_through_links() {
        with_rootfs
        ln -s "$victim" "$rootfs/devices"
        mkdir -p "$rootfs$victim"
        refused '.linux.devices = [{path: "/devices/mine", type: "c", major: 1, minor: 3}]' "config.linux.devices[0]"
        victim_is_unharmed
}

test_a_user_namespace_does_not_open_what_the_host_has_closed() {
        with_rootfs
        local userns='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 0, size: 65536}]
                | .linux.gidMappings = .linux.uidMappings | ["CAP_SYS_ADMIN", "CAP_MKNOD"] as $c
                | .process.capabilities = {bounding: $c, permitted: $c, effective: $c}'
        # Mapped to root itself: only the mount's own flags stand between it and the file.
        mount --bind "$victim" "$victim"
        mount -o remount,bind,ro,nosuid,nodev "$victim"
        for how in remount,bind,rw,nosuid,nodev remount,bind,ro,suid,nodev remount,bind,ro,nosuid,dev; do
                inside "$userns"' | .mounts += [{destination: "/data", type: "bind", source: "'"$victim"'", options: ["rbind"]},
                        {destination: "/asked", type: "bind", source: "'"$rootfs"'/tmp", options: ["bind", "ro", "nosuid", "nodev"]}]' \
                        sh -c "mount -o $how /data; mount -o $how /asked; echo x >/data/new; echo x >/asked/new; grep -E '/(data|asked) ' /proc/mounts" || true
                equal 2 "$(grep -c ' ro,nosuid,nodev,' <<<"$output")"
                equal file "$(ls "$victim")"
        done
        inside "$userns"' | .mounts += [{destination: "/data", type: "bind", source: "'"$victim"'", options: ["rbind"]}]' \
                sh -c 'mkdir /tmp/m; mount --bind /data /tmp/m && mount -o remount,bind,rw /tmp/m; echo x >/tmp/m/new' || true
        umount "$victim"
        victim_is_unharmed
}

test_no_descriptor_leaks() {
        exec 5<"$scratch" 6<"$rootfs/bin/busybox"
        bundle . sh -c 'ls -l /proc/self/fd | wc -l; ls /proc/1/fd; true'
        output=$(oci run -b "$bundle" box </dev/null 2>/dev/null)
        exec 5<&- 6<&-
        # A line of "total", 0 to 2, and the directory that ls reads; then those of init itself, 10 the shell's own.
        equal $'5\n0\n1\n2' "$(sed '/^10$/d' <<<"$output")"
}

test_a_working_directory_outside() {
        local number
        exec 5<"$scratch"
        for number in 3 4 5 6 7 8 9 10 11 12; do
                bundle '.process.cwd = "/proc/self/fd/'$number'"' pwd
                fails oci run -b "$bundle" box
                contains "$output" "config.process.cwd"
                bundle '.process.cwd = "/proc/self/fd/'$number'/../.."' pwd
                fails oci run -b "$bundle" box
                contains "$output" "config.process.cwd"
        done
        exec 5<&-
        nothing_left
}

test_the_waiting_init_is_closed_to_others_in_its_pid_namespace() {
        bundle 'del(.linux.namespaces[] | select(.type == "pid"))' true
        oci create -b "$bundle" box
        local pid
        pid=$(oci state box | jq .pid)
        equal 0 "$(stat -c %u "/proc/$pid/exe")"
        fails setpriv --reuid 0 --bounding-set -all --inh-caps=-all readlink "/proc/$pid/exe"
        oci delete --force box
}

test_failures_at_every_step_leave_nothing() {
        local cases=(
                '.root.path = "/no/such/rootfs"' "config.root.path"
                '.root.path = "rootfs/bin/busybox"' "is not a directory"
                '.mounts += [{destination: "/x", type: "nosuchfs", source: "x"}]' "config.mounts[7]: type nosuchfs"
                '.mounts += [{destination: "/dev/x", type: "tmpfs", source: "x", options: ["size=lots"]}]' "config.mounts[7]: size=lots"
                '.mounts += [{destination: "/dev/x", type: "tmpfs", source: "x", options: ["nosuch=1"]}]' "nosuch"
                '.mounts += [{destination: "/bin/busybox", type: "tmpfs", source: "x"}]' "is no directory"
                '.mounts += [{destination: "/bin", type: "bind", source: "/etc/passwd"}]' "is a directory"
                '.linux.devices = [{path: "/dev/null/x", type: "c", major: 1, minor: 3}]' "config.linux.devices[0]"
                '.process.terminal = true | del(.mounts[] | select(.type == "devpts"))' "config.process.terminal: "
                '.process.cwd = "/bin/busybox"' "config.process.cwd"
                '.process.args = ["no-such-program"]' "no-such-program: executable file not found"
                '.process.args = ["/no/such/program"]' "/no/such/program: No such file"
                '.process.args = ["/etc"]' "/etc: Is a directory"
                '.process.args = ["/proc/version"]' "/proc/version: Permission denied"
                '.process.scheduler = {policy: "SCHED_DEADLINE", runtime: 10, deadline: 5, period: 5}' "config.process.scheduler"
                '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "900"}' "config.linux.memoryPolicy"
                '.linux.namespaces += [{type: "time"}] | .linux.timeOffsets = {boottime: {secs: -1000000000}}' "config.linux.timeOffsets"
                '.linux.intelRdt = {closID: "x"}' "config.linux.intelRdt: no resctrl file system is mounted"
                '.linux.netDevices = {absent: {}}' "config.linux.netDevices.absent"
                '.hooks = {createContainer: [{path: "/bin/false"}]}' "config.hooks.createContainer[0]: /bin/false: ended with status 1"
                '.hooks = {startContainer: [{path: "/no/such"}]} | .process.args = ["/no/such/program"]' "/no/such/program"
                '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/no/agent", syscalls: [{names: ["chroot"], action: "SCMP_ACT_NOTIFY"}]}' "listenerPath"
                '.mounts += [{destination: "/x", source: "/proc/sys", options: ["bind", "idmap=uids=0-1-1;gids=0-1-1"]}]' "be id-mapped"
                '.mounts += [{destination: "/etc", type: "tmpfs", source: "x", options: ["tmpcopyup", "size=lots"]}]' "config.mounts[7]: size=lots"
                '.linux.resources.unified = {"no.such": "1"}' "config.linux.resources.unified"
                '.linux.resources.rdma = {x: {hcaHandles: 1}}' "rdma"
                '.vm = {x: 1}' "config.vm"
                '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 1, hard: 99999999999}]' "config.process.rlimits[0]"
                '.linux.sysctl = {"net.core.somaxconn": "no number"}' "config.linux.sysctl.net.core.somaxconn"
                '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 5, hostID: 5, size: 1}] | .linux.gidMappings = .linux.uidMappings' "becoming user 0"
        )
        local i before
        before=$(ls "/proc/$$/fd" | wc -l)
        for ((i = 0; i < ${#cases[@]}; i += 2)); do
                echo "case: ${cases[i]}"
                refused "${cases[i]}" "${cases[i + 1]}"
        done
        equal "$before" "$(ls "/proc/$$/fd" | wc -l)"
}

test_a_taken_cgroup_is_refused_and_kept() {
        mkdir -p /sys/fs/cgroup/crt-test-oci/box
        sleep 100 &
        local sleeper=$!
        echo $sleeper >/sys/fs/cgroup/crt-test-oci/box/cgroup.procs
        bundle .
        fails oci run -b "$bundle" box
        contains "$output" "the cgroup /crt-test-oci/box has processes"
        kill -0 $sleeper
        kill $sleeper
        wait $sleeper || true
        rmdir /sys/fs/cgroup/crt-test-oci/box
        nothing_left
}

test_a_create_killed_at_any_point_is_cleaned_up_by_delete() {
        local delay
        bundle . sleep 100
        for delay in 0.001 0.002 0.003 0.004 0.005 0.006 0.008 0.010 0.015 0.020; do
                timeout --signal KILL "$delay" "${CRT_OCI:-crt-oci}" --root "$state" create -b "$bundle" box || true
                oci delete --force box
                equal "" "$(ls "$state")"
                # Who has killed it (timeout, itself included) has not waited for its end.
                wait_for 5 eval '! pgrep -f -- "$bundle"'
                # An empty cgroup may remain, of which no note was taken yet.
                wait_for 5 eval '[[ -z $(cat /sys/fs/cgroup/crt-test-oci/box/cgroup.procs) ]]'
                rmdir /sys/fs/cgroup/crt-test-oci/box 2>/dev/null || true
        done
}

test_a_killed_create_is_known_as_such() {
        mkdir -p "$state/box"
        fails oci start box
        [[ $(oci state box 2>/dev/null | jq -r .status) != running ]]
        oci delete --force box
        nothing_left
}

run_tests
