#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vm: --kernel qemu --memory 2G
# What crt-oci does with things that Debian's own kernel has: cpuset, huge pages, AppArmor, real-time scheduling, and checkpoint
# and restore, for which its criu was made. What no such machine has (RDMA, resctrl) is an error that says so.
source "$(dirname "$0")/../host/oci.sh"

load_profiles() {
        apparmor_parser --replace --skip-cache <<'END'
profile crt-test flags=(attach_disconnected, mediate_deleted) {
        file,
        capability,
        signal,
        deny /etc/secret r,
        deny /tmp/** w,
}
profile crt-test-other flags=(attach_disconnected, mediate_deleted) {
        file,
        signal,
}
END
}

look='cat /proc/self/attr/current; cat /etc/secret; echo x >/tmp/written; echo $?'

test_a_profile_of_apparmor_holds() {
        local new
        [[ $(cat /sys/module/apparmor/parameters/enabled) == Y ]]
        load_profiles
        echo secret >"$rootfs/etc/secret"
        for new in true false; do
                inside ".process.noNewPrivileges = $new" sh -c "$look" || fail "$output"
                contains "$output" $'\nsecret\n0'
                inside ".process.noNewPrivileges = $new | .process.apparmorProfile = \"crt-test\"" sh -c "$look" || fail "$output"
                contains "$output" "crt-test (enforce)"
                contains "$output" "/etc/secret': Permission denied"
                contains "$output" "/tmp/written: Permission denied"
                [[ $output != *$'\nsecret'* ]] || fail "$output"
        done
        nothing_left
}

test_exec_is_under_the_profile_too() {
        load_profiles
        bundle '.process.apparmorProfile = "crt-test"' sleep 1000
        oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        equal "crt-test (enforce)" "$(oci exec box cat /proc/self/attr/current)"
        fails oci exec box cat /etc/secret
        contains "$output" "Permission denied"
        equal "crt-test-other (enforce)" "$(oci exec --apparmor crt-test-other box cat /proc/self/attr/current)"
        fails oci exec --apparmor crt-test-missing box true
        contains "$output" "apparmorProfile: crt-test-missing"
        oci delete --force box
        refused '.process.apparmorProfile = "crt-test-missing"' "config.process.apparmorProfile: crt-test-missing"
}

test_processors_are_kept_to() {
        inside '.linux.resources += {cpu: {cpus: "0", mems: "0"}}' \
                grep -E 'Cpus_allowed_list|Mems_allowed_list' /proc/self/status || fail "$output"
        equal $'Cpus_allowed_list:\t0\nMems_allowed_list:\t0' "$output"
        bundle '.linux.resources.cpu = {cpus: "500"}'
        fails oci run -b "$bundle" box
        nothing_left
}

test_huge_pages() {
        inside '.linux.resources += {hugepageLimits: [{pageSize: "2MB", limit: 4194304}]}' \
                sh -c 'cat /sys/fs/cgroup/hugetlb.2MB.max; cat /sys/fs/cgroup/hugetlb.2MB.rsvd.max' || fail "$output"
        equal $'4194304\n4194304' "$output"
}

# Nice value, real-time priority and policy: fields 19, 40 and 41 of proc_pid_stat(5).
scheduled() { inside ".process.scheduler = $1" sh -c 'cut -d" " -f19,40,41 /proc/1/stat' || fail "$output"; }

test_real_time_scheduling() {
        scheduled '{policy: "SCHED_FIFO", priority: 3}'
        equal "0 3 1" "$output"
        scheduled '{policy: "SCHED_RR", priority: 9}'
        equal "0 9 2" "$output"
        scheduled '{policy: "SCHED_DEADLINE", runtime: 1000000, deadline: 50000000, period: 100000000}'
        equal 6 "${output##* }"
        bundle '.process.scheduler = {policy: "SCHED_FIFO", priority: 3}' sleep 1000
        oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        equal "0 3 1" "$(oci exec box sh -c 'cut -d" " -f19,40,41 /proc/self/stat')"
        oci delete --force box
}

test_what_no_such_machine_has_is_said() {
        refused '.linux.resources.rdma = {mlx5_0: {hcaHandles: 3}}' "config.linux.resources.rdma"
        refused '.linux.intelRdt = {closID: "box"}' "config.linux.intelRdt: no resctrl file system is mounted"
        bundle . sleep 1000
        oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        fails oci update --l3-cache-schema L3:0=f box
        contains "$output" "the container was made without config.linux.intelRdt"
        oci delete --force box
        nothing_left
}

# A program that counts, and whose every descriptor is the container's own.
start_counting() {
        bundle '.mounts |= map(select(.destination != "/dev/mqueue")) | del(.linux.namespaces[] | select(.type == "network"))' \
                sh -c 'exec <>/dev/null >/tmp/count 2>&1; i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done'
        rm -f "$rootfs/tmp/count"
        oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        wait_for 30 eval '[[ $(tail -n 1 "$rootfs/tmp/count") -ge 3 ]]'
}

test_what_is_saved_goes_on_where_it_was() {
        start_counting
        oci checkpoint --image-path "$scratch/images" box
        fails oci state box
        local before
        before=$(tail -n 1 "$rootfs/tmp/count")
        oci restore --detach --image-path "$scratch/images" -b "$bundle" box </dev/null >/dev/null 2>&1
        equal running "$(oci state box | jq -r .status)"
        wait_for 60 eval "[[ \$(tail -n 1 '$rootfs/tmp/count') -gt $((before + 3)) ]]"
        equal hello "$(oci exec box echo hello)"
        grep -qx "$(oci state box | jq .pid)" /sys/fs/cgroup/crt-test-oci/box/cgroup.procs
        oci delete --force box
        nothing_left
}

# Its master is outside and not saved: a new one takes its place.
test_a_terminal_goes_on_too() {
        cat >"$scratch/terminal.py" <<'END'
import array, os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
for _ in range(2):
    connection = listener.accept()[0]
    ancillary = connection.recvmsg(100, socket.CMSG_SPACE(4))[1]
    terminal = array.array("i", ancillary[0][2])[0]
    try:
        while True:
            sys.stdout.write(os.read(terminal, 4096).decode())
            sys.stdout.flush()
    except OSError:
        print("--- hung up", flush=True)
END
        rm -f "$scratch/console"
        python3 "$scratch/terminal.py" "$scratch/console" >"$scratch/terminal" 2>&1 </dev/null &
        local reader=$!
        wait_for 20 test -S "$scratch/console"
        bundle '.process.terminal = true | .mounts |= map(select(.destination != "/dev/mqueue"))
                | del(.linux.namespaces[] | select(.type == "network"))' sh -c 'i=0; while :; do i=$((i + 1)); echo number $i; sleep 0.1; done'
        oci run --detach --console-socket "$scratch/console" -b "$bundle" box </dev/null >/dev/null 2>&1
        wait_for 20 grep -q "number 3" "$scratch/terminal"
        oci checkpoint --image-path "$scratch/images-terminal" box
        wait_for 20 grep -q "hung up" "$scratch/terminal"
        local before
        before=$(grep number "$scratch/terminal" | tail -n 1 | tr -dc 0-9)
        oci restore --detach --console-socket "$scratch/console" --image-path "$scratch/images-terminal" -b "$bundle" box </dev/null >/dev/null 2>&1
        wait_for 20 grep -q "number $((before + 5))" "$scratch/terminal"
        oci delete --force box
        wait "$reader"
        equal 2 "$(grep -c 'hung up' "$scratch/terminal")"
        nothing_left
}

test_it_can_be_left_running() {
        start_counting
        oci checkpoint --leave-running --image-path "$scratch/images2" box
        equal running "$(oci state box | jq -r .status)"
        [[ -s $scratch/images2/inventory.img ]]
        oci delete --force box
        nothing_left
}

run_tests
