#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# containerd (Debian's, with its runc shim) with crt-oci in runc's place.
source "$(dirname "$0")/containerd.sh"

test_run_gives_output_and_exit_status() {
        start_containerd
        options=(--rm)
        equal hello "$(said run_it one echo hello)"
        local status=0
        run_it one sh -c 'exit 7' || status=$?
        equal 7 "$status"
}

test_a_program_that_is_not_there() {
        start_containerd
        options=(--rm)
        fails run_it none no-such-program
        contains "$output" "executable file not found in \$PATH"
        control containers delete none 2>/dev/null || true
}

test_exec_kill_pause_and_metrics() {
        start_containerd
        options=(--detach)
        run_it two sleep 1000
        is_state two RUNNING
        equal "uid=0 gid=0" "$(said control tasks exec --exec-id e1 two id)"
        contains "$(said control tasks exec --exec-id e2 --user 5:6 two id)" "uid=5 gid=6"
        local status=0
        control tasks exec --exec-id e4 two sh -c 'exit 4' || status=$?
        equal 4 "$status"
        fails control tasks exec --exec-id e5 two no-such-program
        contains "$output" "executable file not found"
        contains "$(control tasks ps two)" "$(control tasks list | awk '$1 == "two" { print $2 }')"
        control tasks pause two
        wait_for 5 is_state two PAUSED
        control tasks resume two
        wait_for 5 is_state two RUNNING
        contains "$(control tasks metrics two)" "two"
        control tasks kill --signal TERM two
        control tasks kill --signal KILL two
        wait_for 10 is_state two STOPPED
        control tasks delete two || true
        control containers delete two
        [[ ! -d /sys/fs/cgroup/crt-test-oci/two ]]
}

test_a_terminal() {
        start_containerd
        options=(--rm --tty)
        bundle ".root.path = \"$rootfs\" | .linux.cgroupsPath = \"/crt-test-oci/tty\" | .process.terminal = true" \
                sh -c 'tty; stty size'
        output=$(script -qec "stty rows 21 cols 77; ctr --address '$address' --namespace test run --rm --tty --runc-binary '$runtime' --config '$bundle/config.json' tty" /dev/null </dev/null | tr -d '\r')
        contains "$output" /dev/pts/0
}

test_containers_outlive_containerd() {
        start_containerd
        options=(--detach)
        run_it four sleep 1000
        kill -KILL "$(cat "$scratch/containerd.pid")"
        rm -f "$address"
        start_containerd
        wait_for 10 is_state four RUNNING
        equal hello "$(said control tasks exec --exec-id e1 four echo hello)"
        control tasks kill --signal KILL four
        wait_for 10 is_state four STOPPED
        control tasks delete four || true
        control containers delete four
}

run_tests
