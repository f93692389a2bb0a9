#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# exec into a container whose processes want out, or want to stop it.
source "$(dirname "$0")/oci.sh"

up() {
        local filter=$1
        shift
        (( $# )) || set -- sleep 1000
        oci delete --force box
        bundle "$filter" "$@"
        oci run --detach -b "$bundle" box >"$scratch/init-output" 2>&1
}

down() {
        oci delete --force box
        nothing_left
}

# CVE-2024-21626: a directory of the host that is open somewhere on the way must not become the working
# directory, by number or by a link that the container has made.
test_the_working_directory_is_inside() {
        up .
        local i
        for i in {0..20}; do
                if output=$(oci exec --cwd "/proc/self/fd/$i" box sh -c 'cat ../../../../../../../../../../../etc/passwd' 2>&1 </); then
                        fail "out of the container by descriptor $i: $output"
                fi
                ln -sfn "/proc/self/fd/$i" "$rootfs/tmp/link"
                if output=$(oci exec --cwd /tmp/link box sh -c 'cat ../../../../../../../../../../../etc/passwd' 2>&1 </); then
                        fail "out of the container by a link to descriptor $i: $output"
                fi
        done
        rm "$rootfs/tmp/link"
        down
}

# CVE-2016-9962: until its execve the new process has descriptors of the host, and memory of the runtime.
test_a_process_that_comes_can_not_be_inspected() {
        up '.process.noNewPrivileges = false' sh -c '
                echo $$ >/tmp/watcher
                while :; do
                        for process in /proc/[0-9]*; do
                                [ "$process" = /proc/1 ] && continue
                                for link in $process/exe $process/cwd $process/root $process/fd/*; do
                                        target=$(readlink "$link") && case $target in *crt-oci*|*/state*|/run/*|*cgroup*) echo "seen $link $target";; esac
                                done
                        done 2>/dev/null
                done'
        local i
        for i in {1..30}; do oci exec box true </dev/null; done
        equal "" "$(grep seen "$scratch/init-output" || true)"
        down
}

test_the_containers_user_database_may_be_anything() {
        up .
        local kind
        for kind in fifo device loop out large; do
                rm -rf "$rootfs/etc/passwd"
                case $kind in
                        fifo) mkfifo "$rootfs/etc/passwd" ;;
                        device) mknod "$rootfs/etc/passwd" c 1 9 ;;
                        loop) ln -s passwd "$rootfs/etc/passwd" ;;
                        out) ln -s ../../../../../../../etc/passwd "$rootfs/etc/passwd" ;;
                        large) truncate -s 100G "$rootfs/etc/passwd" ;;
                esac
                equal "/" "$(timeout 100 "${CRT_OCI:-crt-oci}" --root "$state" exec box sh -c 'echo $HOME')"
        done
        rm "$rootfs/etc/passwd"
        printf 'root:x:0:0::/here:/bin/sh\nu:x:5:5::/there:/bin/sh\n' >"$rootfs/etc/passwd"
        equal "/here" "$(oci exec box sh -c 'echo $HOME')"
        equal "/there" "$(oci exec --user 5 box sh -c 'echo $HOME')"
        equal "/given" "$(oci exec --user 5 --env HOME=/given box sh -c 'echo $HOME')"
        rm "$rootfs/etc/passwd"
        down
}

test_a_terminal_only_of_the_containers_devpts() {
        up 'del(.process.capabilities) | .process.capabilities = ({bounding: ["CAP_SYS_ADMIN"]} | .permitted = .bounding | .effective = .bounding)' \
                sh -c 'umount -l /dev/pts; mkdir -p /dev/pts; touch /dev/pts/ptmx; touch /tmp/ready; sleep 1000'
        wait_for 5 test -e "$rootfs/tmp/ready"
        rm "$rootfs/tmp/ready"
        fails script -qec "'${CRT_OCI:-crt-oci}' --root '$state' exec -t box true" /dev/null
        contains "$output" "is not devpts"
        down
}

# A /proc of the container's making: nothing is looked up there.
test_a_false_proc_deceives_nobody() {
        mkdir -p "$rootfs/false/self/fd" "$rootfs/false/thread-self/attr"
        ln -s /etc "$rootfs/false/self/ns"
        up '.mounts |= map(select(.destination != "/proc")) | .linux.maskedPaths = [] | .linux.readonlyPaths = [] |
            .mounts += [{destination: "/proc", type: "bind", source: "rootfs/false", options: ["bind"]}]'
        equal hello "$(oci exec box echo hello)"
        equal "uid=5 gid=6" "$(oci exec --user 5:6 box id)"
        down
        rm -r "$rootfs/false"
}

test_a_container_that_kills_whoever_comes() {
        up . sh -c 'while :; do kill -9 -1; done'
        local i status
        for i in {1..10}; do
                status=0
                timeout 200 "${CRT_OCI:-crt-oci}" --root "$state" exec box sleep 100 >"$scratch/said" 2>&1 || status=$?
                (( status == 137 || status == 255 )) || fail "status $status: $(cat "$scratch/said")"
        done
        down
}

test_the_device_filter_holds_before_the_program_runs() {
        up '.linux.devices = [{path: "/dev/memory", type: "c", major: 1, minor: 1}]'
        fails oci exec box sh -c 'cat </dev/memory'
        contains "$output" "peration not permitted"
        down
}

# It comes in with nothing of its caller: no ignored signals, mask, session, group or key.
test_nothing_of_the_caller_comes_in() {
        up .
        output=$(trap '' INT QUIT USR1; oci exec box cat /proc/self/status)
        contains "$output" $'SigIgn:\t0000000000000000'
        contains "$output" $'SigBlk:\t0000000000000000'
        output=$(umask 077; oci exec box sh -c 'echo $(id -G) $SECRET')
        equal "0" "$(SECRET=x oci exec box sh -c 'echo $(id -G) $SECRET')"
        # Its parent and session are outside of what it can see.
        equal "0" "$(oci exec box sh -c 'cut -d" " -f4 /proc/$$/stat')"
        down
}

# A namespace that init has made for itself later is the one that it is in: what it was given is not left behind.
test_init_in_other_namespaces_than_at_first() {
        up 'del(.process.capabilities) | .process.capabilities = ({bounding: ["CAP_SYS_ADMIN"]} | .permitted = .bounding | .effective = .bounding)' \
                unshare -u sh -c 'hostname changed; sleep 1000'
        wait_for 5 eval '[[ $(oci exec box hostname) == changed ]]'
        down
}

run_tests
