#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a container finds inside: each section of config.json, seen by the payload.
source "$(dirname "$0")/oci.sh"

capabilities='.process.capabilities = {bounding: $c, permitted: $c, effective: $c, inheritable: $c, ambient: $c}'

test_namespaces_are_new_or_shared() {
        inside . sh -c 'for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done'
        local name
        for name in pid net ipc uts mnt cgroup; do
                [[ $output != *"$(readlink /proc/self/ns/$name)"* ]] || fail "$name is the host's"
        done
        inside 'del(.hostname) | del(.linux.namespaces[] | select(.type == "network" or .type == "uts"))
                | del(.mounts[] | select(.type == "sysfs" or .type == "cgroup2"))' \
                sh -c 'readlink /proc/self/ns/net; readlink /proc/self/ns/uts'
        equal "$(readlink /proc/self/ns/net /proc/self/ns/uts)" "$output"
}

test_namespaces_are_joined() {
        unshare --net --ipc --uts --pid --fork --mount-proc sleep 100 &
        local unshare=$! init filter
        wait_for 5 pgrep -P "$unshare" sleep
        init=$(pgrep -P "$unshare" sleep)
        filter=$(printf '.linux.namespaces = [{type: "mount"}, {type: "cgroup"}%s] | del(.hostname)' \
                "$(for n in pid:pid network:net ipc:ipc uts:uts; do
                        printf ', {type: "%s", path: "/proc/%s/ns/%s"}' "${n%:*}" "$init" "${n#*:}"; done)")
        inside "$filter" sh -c 'for n in pid net ipc uts; do readlink /proc/self/ns/$n; done; echo $$; ps | grep -c sleep'
        local expected
        expected=$(for n in pid net ipc uts; do readlink "/proc/$init/ns/$n"; done)
        kill -9 "$init"
        contains "$output" "$expected"
        [[ ${output##*$'\n'} != 0 ]] || fail "the joined pid namespace's own processes are not seen"
        refused '.linux.namespaces += [{type: "user", path: "/proc/self/ns/net"}]' "is not a user namespace"
}

# A mount namespace that others are in, too: the container's root is a directory there, and nothing is mounted.
test_without_a_mount_namespace_of_its_own() {
        local bare='.mounts = [] | del(.linux.maskedPaths, .linux.readonlyPaths)
                | .linux.namespaces |= map(select(.type != "mount" and .type != "cgroup"))'
        local mounts
        mounts=$(cat /proc/self/mountinfo)
        cp /proc/self/mountinfo "$rootfs/before"
        inside "$bare" sh -c 'ls /; cd /; pwd; ls /../before' || fail "$output"
        contains "$output" $'\n/\n/../before'
        equal "$mounts" "$(cat /proc/self/mountinfo)"
        unshare --mount sh -c 'mount -t tmpfs joined "$1/tmp" && touch "$1/tmp/there" && exec sleep 100' sh "$rootfs" </dev/null >/dev/null 2>&1 &
        local sleeper=$!
        wait_for 5 test -e "/proc/$sleeper/root$rootfs/tmp/there"
        inside "$bare"' | .linux.namespaces += [{type: "mount", path: "/proc/'"$sleeper"'/ns/mnt"}] | .root.path = "'"$rootfs"'"' ls /tmp || fail "$output"
        equal there "$output"
        inside "$bare"' | .linux.namespaces += [{type: "mount", path: "/proc/'"$sleeper"'/ns/mnt"}]' ls /tmp || fail "$output"
        kill -9 "$sleeper"
        equal there "$output"
        rm "$rootfs/before"
        find "$rootfs/dev" -mindepth 1 -delete
        refused 'del(.linux.namespaces[] | select(.type == "mount"))' "config.mounts: needs a mount namespace of the container's own"
        refused "$bare"' | .linux.maskedPaths = ["/x"]' "config.linux.maskedPaths: needs a mount namespace"
}

test_names_and_environment() {
        inside '.domainname = "example.test" | .process.env += ["A=b c"]' sh -c 'hostname; cat /proc/sys/kernel/domainname; echo "$A"; env | wc -l'
        equal $'box\nexample.test\nb c' "$(head -n 3 <<<"$output")"
}

test_home_is_the_users() {
        printf 'root:x:0:0::/root:/bin/sh\nbroken\nx:y:z\nbob:x:7:7::/home/bob:/bin/sh\n' >"$rootfs/etc/passwd"
        inside '.process.user.uid = 7' sh -c 'echo $HOME'
        equal /home/bob "$output"
        inside '.process.user.uid = 8' sh -c 'echo $HOME'
        equal / "$output"
        inside '.process.env += ["HOME=/given"]' sh -c 'echo $HOME'
        equal /given "$output"
        # A pipe that nobody writes into, and a link out of the root.
        rm "$rootfs/etc/passwd"
        mkfifo "$rootfs/etc/passwd"
        inside . sh -c 'echo $HOME'
        equal / "$output"
        rm "$rootfs/etc/passwd"
}

# Whether something opened the fifo is seen by a writer that can go on.
test_what_is_no_passwd_is_not_opened() {
        rm -f "$rootfs/etc/passwd"
        mkfifo "$rootfs/etc/passwd"
        ( echo x >"$rootfs/etc/passwd"; touch "$scratch/opened" ) &
        local writer=$!
        inside . sh -c 'echo $HOME'
        equal / "$output"
        [[ ! -e $scratch/opened ]] || fail "it was opened"
        kill "$writer"
        rm "$rootfs/etc/passwd"
}

test_pipes_are_the_users_and_nothing_else_is() {
        mkfifo -m 0600 "$scratch/fifo"
        bundle '.process.user.uid = 7' sh -c 'echo named >/dev/stdout'
        oci run -b "$bundle" box <>"$scratch/fifo" 2>&1 | equal named "$(cat)"
        equal 0 "$(stat -c %u "$scratch/fifo")"
        rm "$scratch/fifo"
}

test_mounts() {
        inside . cat /proc/mounts
        contains "$output" "proc /proc proc rw"
        contains "$output" "tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755"
        contains "$output" "devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666"
        contains "$output" "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=64k"
        contains "$output" "mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec"
        contains "$output" "sysfs /sys sysfs ro,nosuid,nodev,noexec"
        contains "$output" "cgroup /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec"
        # Nothing of the host's tree is left below.
        equal "" "$(grep -vE '^\S+ (/|/proc\S*|/dev\S*|/sys\S*) ' <<<"$output")"
}

test_binds() {
        mkdir -p "$scratch/source/below"
        mount -t tmpfs inner "$scratch/source/below"
        echo outside >"$scratch/source/file"
        echo deep >"$scratch/source/below/file"
        local mounts='.mounts += [{destination: "/a", type: "bind", source: "'$scratch'/source", options: ["rbind", "ro"]},
                {destination: "/b/made/here", source: "'$scratch'/source", options: ["bind", "rro", "nosuid"]},
                {destination: "/c", source: "'$scratch'/source", options: ["rbind", "rro"]},
                {destination: "/one-file", source: "'$scratch'/source/file", options: ["bind"]}]'
        inside "$mounts" sh -c '
                cat /a/file /a/below/file /one-file
                ls /b/made/here/below
                (echo x >/a/new) 2>/dev/null || echo a is read-only
                (echo x >/a/below/new) && echo below a is not
                (echo x >/b/made/here/new) 2>/dev/null || echo b is read-only
                (echo x >/c/below/new2) 2>/dev/null || echo c is so all the way
                echo written >/one-file
                grep -q " /b/made/here .*nosuid" /proc/mounts && echo b is nosuid'
        umount "$scratch/source/below"
        equal $'outside\ndeep\noutside\na is read-only\nbelow a is not\nb is read-only\nc is so all the way\nb is nosuid' "$output"
        equal written "$(cat "$scratch/source/file")"
        rm -rf "$rootfs"/{a,b,c,one-file}
        refused '.mounts += [{destination: "/a", type: "bind", source: "/no/such/source"}]' \
                "config.mounts[7].source: /no/such/source: No such file"
}

test_what_is_mounted_inside_stays_inside() {
        mkdir -p "$scratch/shared"
        mount -t tmpfs shared "$scratch/shared"
        mount --make-shared "$scratch/shared"
        mkdir "$scratch/shared/point"
        inside '["CAP_SYS_ADMIN"] as $c | '"$capabilities"' | .mounts += [{destination: "/mnt", type: "bind",
                source: "'"$scratch"'/shared", options: ["rbind"]}]' \
                sh -c 'mount -t tmpfs x /mnt/point && touch /mnt/point/hidden && ls /mnt/point'
        equal hidden "$output"
        equal "" "$(ls "$scratch/shared/point")"
        umount "$scratch/shared"
        rmdir "$rootfs/mnt"
}

test_devices() {
        inside '.linux.devices = [{path: "/dev/sub/fuse", type: "c", major: 10, minor: 229, fileMode: 384, uid: 3, gid: 4},
                {path: "/dev/pipe", type: "p"}]' sh -c '
                stat -c "%n %a %t:%T %u:%g" /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/sub/fuse
                stat -c "%n %F" /dev/pipe
                for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done
                head -c 3 /dev/zero | wc -c; echo x >/dev/null'
        equal "/dev/null 666 1:3 0:0
/dev/zero 666 1:5 0:0
/dev/full 666 1:7 0:0
/dev/random 666 1:8 0:0
/dev/urandom 666 1:9 0:0
/dev/tty 666 5:0 0:0
/dev/sub/fuse 600 a:e5 3:4
/dev/pipe fifo
/proc/self/fd
/proc/self/fd/0
/proc/self/fd/1
/proc/self/fd/2
pts/ptmx
3" "$output"
}

test_devices_that_no_rule_allows_are_closed() {
        local made='["CAP_MKNOD"] as $c | '"$capabilities"' |
                .linux.devices = [{path: "/dev/loop-control", type: "c", major: 10, minor: 237}]'
        inside "$made" sh -c 'mknod /dev/mine c 10 237; cat /dev/mine || cat /dev/loop-control' && fail opened
        contains "$output" "Operation not permitted"
        inside "$made"' | .linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 237, access: "r"}]' \
                sh -c 'exec 3</dev/loop-control && echo read; exec 3<>/dev/loop-control' && fail written
        contains "$output" read
        contains "$output" "not permitted"
}

test_masked_and_read_only_paths() {
        inside . sh -c 'cat /proc/keys /proc/timer_list; ls /sys/firmware; echo 1 >/proc/sys/kernel/panic' && fail written
        contains "$output" "Read-only file system"
        inside '.linux.maskedPaths = ["/no/such/path", "/tmp"] | .linux.readonlyPaths = ["/no/such", "/etc"]' \
                sh -c 'ls /tmp | wc -l; touch /tmp/x /etc/x' && fail written
        equal 0 "$(head -n 1 <<<"$output")"
        contains "$output" "/etc/x: Read-only file system"
        contains "$output" "/tmp/x: Read-only file system"
}

test_read_only_root() {
        inside '.root.readonly = true' sh -c 'touch /x; touch /dev/shm/x && echo but shm is not'
        contains "$output" "Read-only file system"
        contains "$output" "but shm is not"
        [[ ! -e $rootfs/x ]]
}

test_capabilities() {
        inside '["CAP_CHOWN", "CAP_KILL"] as $c | '"$capabilities"' | .process.user.uid = 5' grep ^Cap /proc/self/status
        equal $'CapInh:\t0000000000000021\nCapPrm:\t0000000000000021\nCapEff:\t0000000000000021\nCapBnd:\t0000000000000021\nCapAmb:\t0000000000000021' "$output"
        inside . grep ^Cap /proc/self/status
        equal 5 "$(grep -c 0000000000000000 <<<"$output")"
        inside '.process.capabilities = {bounding: ["CAP_CHOWN"], permitted: ["CAP_CHOWN"]} | .process.user.uid = 5' \
                grep ^Cap /proc/self/status
        contains "$output" $'CapPrm:\t0000000000000000'
        contains "$output" $'CapBnd:\t0000000000000001'
}

test_no_new_privileges() {
        inside . grep NoNewPrivs /proc/self/status
        equal $'NoNewPrivs:\t1' "$output"
        inside '.process.noNewPrivileges = false' grep NoNewPrivs /proc/self/status
        equal $'NoNewPrivs:\t0' "$output"
}

test_security_labels_are_not_left_out() {
        if ! grep -qs Y /sys/module/apparmor/parameters/enabled; then
                refused '.process.apparmorProfile = "unconfined"' "AppArmor is not enabled in this kernel"
        else
                inside '.process.apparmorProfile = "unconfined"' cat /proc/self/attr/apparmor/current
                contains "$output" unconfined
                refused '.process.apparmorProfile = "no-such-profile"' "config.process.apparmorProfile"
        fi
        [[ -d /sys/fs/selinux/booleans ]] ||
                refused '.process.selinuxLabel = "system_u:system_r:container_t:s0"' "SELinux is not enabled in this kernel"
}

test_user_groups_umask_and_directory() {
        inside '.process.user = {uid: 11, gid: 12, additionalGids: [13, 14], umask: 63} | .process.cwd = "/made/for/it"' \
                sh -c 'id -u; id -g; id -G; umask; pwd'
        equal $'11\n12\n12 13 14\n0077\n/made/for/it' "$output"
        rm -r "$rootfs/made"
        install -d -m 0700 "$rootfs/secret" && chown 11 "$rootfs/secret"
        inside '.process.user.uid = 11 | .process.cwd = "/secret"' pwd
        equal /secret "$output"
        rmdir "$rootfs/secret"
}

test_signals_are_neither_ignored_nor_blocked() {
        bundle . grep -E '^Sig(Blk|Ign)' /proc/self/status
        output=$(trap '' PIPE INT TERM RTMIN; oci run -b "$bundle" box)
        equal $'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000' "$output"
}

test_limits() {
        inside '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 100, hard: 200}, {type: "RLIMIT_CORE", soft: 0, hard: 0}]
                | .process.oomScoreAdj = 77 | .process.user.uid = 9' \
                sh -c 'ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj'
        equal $'100\n200\n0\n77' "$output"
}

test_sysctl() {
        inside '.linux.sysctl = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "77", "fs/mqueue/msg_max": "9"}' \
                cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max
        equal $'1\n77\n9' "$output"
        refused '.linux.sysctl = {"vm.swappiness": "1"}' "belongs to no namespace and would change the host"
        refused '.linux.sysctl = {"net.ipv4.no_such_thing": "1"}' "config.linux.sysctl.net.ipv4.no_such_thing"
}

profile='.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"],
        action: "SCMP_ACT_ERRNO", errnoRet: 95}, {names: ["chroot"], action: "SCMP_ACT_KILL_PROCESS"}]}'

test_seccomp() {
        inside "$profile" sh -c 'mkdir /tmp/x; grep Seccomp: /proc/self/status; chroot / true; echo status $?'
        contains "$output" "Operation not supported"
        contains "$output" $'Seccomp:\t2'
        contains "$output" "status 159"
        inside "$profile"' | .process.noNewPrivileges = false' grep -E 'Seccomp:|NoNew' /proc/self/status
        equal $'NoNewPrivs:\t0\nSeccomp:\t2' "$output"
        # The second start takes the program from the cache: damaged, it is compiled again.
        local entry
        entry=$(ls "$state"/.seccomp/*.bpf | head -n 1)
        truncate -s 10 "$entry"
        inside "$profile" sh -c 'mkdir /tmp/x'  && fail "mkdir was let through"
        contains "$output" "Operation not supported"
        [[ $(stat -c %s "$entry") -gt 10 ]]
}

test_seccomp_that_forbids_the_start_itself() {
        bundle '.linux.seccomp = {defaultAction: "SCMP_ACT_KILL_PROCESS", syscalls: [{names: ["read"], action: "SCMP_ACT_ALLOW"}]}'
        fails oci run -b "$bundle" box
        contains "$output" "died of SIGSYS while it was set up (the seccomp profile forbids what a start needs)"
        nothing_left
}

test_cgroup() {
        inside . sh -c 'grep ^0: /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs'
        equal $'0::/\n/sys/fs/cgroup/cgroup.procs' "$output"
        inside 'del(.linux.namespaces[] | select(.type == "cgroup"))' \
                sh -c 'grep ^0: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs'
        equal 0::/crt-test-oci/box "$(head -n 1 <<<"$output")"
        nothing_left
}

test_resources() {
        local controllers
        controllers=" $(cat /sys/fs/cgroup/cgroup.controllers) "
        bundle '.linux.resources.pids = {limit: 5} | .linux.resources.memory = {limit: 67108864, swap: 67108864}' \
                sh -c 'cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.swap.max'
        if [[ $controllers == *" pids "* && $controllers == *" memory "* ]]; then
                equal $'5\n67108864\n0' "$(oci run -b "$bundle" box)"
        else
                fails oci run -b "$bundle" box
                contains "$output" "controller is not available in the cgroup /"
        fi
        nothing_left
        refused '.linux.resources.unified = {"hugetlb.no_such.max": "1"}' "config.linux.resources"
}

test_controllers_that_the_kernel_has() {
        grep -qw hugetlb /sys/fs/cgroup/cgroup.controllers || skip "no hugetlb controller"
        inside '.linux.resources.hugepageLimits = [{pageSize: "2MB", limit: 4194304}]' cat /sys/fs/cgroup/hugetlb.2MB.max
        equal 4194304 "$output"
        nothing_left
}

userns='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
        | .linux.gidMappings = .linux.uidMappings'

test_user_namespace() {
        inside "$userns"' | .process.user.uid = 3 | .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 64, hard: 64}]' \
                sh -c 'id -u; cat /proc/self/uid_map; stat -c %u /dev/shm /proc; echo x >/dev/null && ls -l /dev/null; ulimit -n'
        contains "$output" "0     100000      65536"
        equal 3 "$(head -n 1 <<<"$output")"
        equal $'0\n0' "$(sed -n 3,4p <<<"$output" | sed 's/65534/0/')"
        equal 64 "$(tail -n 1 <<<"$output")"
        nothing_left
        refused "$userns"' | .linux.uidMappings[0].size = 4294967295' "config.linux.uidMappings[0].size"
}

test_user_namespace_terminal_and_masks() {
        inside "$userns"' | ["CAP_SYS_ADMIN"] as $c | '"$capabilities" \
                sh -c 'cat /proc/keys; umount /proc/keys && cat /proc/keys | head -n 1; mount -t tmpfs x /tmp && echo mounted'
        contains "$output" mounted
}

run_tests
