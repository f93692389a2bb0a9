#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The limits of config.linux.resources prove themselves, on a kernel of its own: memory kills, processes are refused, processor
# time is cut, I/O is slowed down, devices are closed, a frozen container stands still. Processors and huge pages: test-cloud-oci.sh.
source "$(dirname "$0")/../host/containerd.sh"

# limited RESOURCES COMMAND…: in a container with these resources besides the devices.
limited() {
        local resources=$1
        shift
        inside ".linux.resources += $resources" "$@"
}

fill='dd if=/dev/zero of=/dev/shm/filled bs=1M count=48 2>/dev/null && echo filled'
# Whoever runs this test may be spared by the kernel.
room='.process.oomScoreAdj = 0 | (.mounts[] | select(.destination == "/dev/shm")).options |= map(if startswith("size=") then "size=64m" else . end)'

test_memory_kills() {
        inside "$room | .linux.resources.memory = {limit: 16777216, swap: 16777216}" sh -c "$fill" && fail "$output"
        [[ $output != *filled* ]] || fail "$output"
        inside "$room | .linux.resources.memory = {limit: 134217728}" sh -c "$fill" || fail "$output"
        equal filled "$output"
}

test_memory_files() {
        limited '{memory: {limit: 33554432, reservation: 16777216, swap: 67108864}, unified: {"memory.high": "25165824"}}' \
                sh -c 'cd /sys/fs/cgroup && cat memory.max memory.low memory.high; cat memory.swap.max 2>/dev/null' || fail "$output"
        equal $'33554432\n16777216\n25165824' "$(head -n 3 <<<"$output")"
        [[ $(sed -n 4p <<<"$output") == "" || $(sed -n 4p <<<"$output") == 33554432 ]]
}

test_a_memory_limit_below_what_is_in_use() {
        bundle "$room" sh -c "$fill && sleep 100"
        oci create -b "$bundle" box
        oci start box
        wait_for 10 eval '(( $(cat /sys/fs/cgroup/crt-test-oci/box/memory.current) > 40000000 ))'
        fails oci update -r - box <<<'{"memory": {"limit": 8388608, "checkBeforeUpdate": true}}'
        contains "$output" "is below what is in use"
        equal running "$(oci state box | jq -r .status)"
        oci update --memory 268435456 box
        equal 268435456 "$(cat /sys/fs/cgroup/crt-test-oci/box/memory.max)"
        oci update --memory -1 box
        equal max "$(cat /sys/fs/cgroup/crt-test-oci/box/memory.max)"
        oci delete --force box
}

test_limits_are_properties_of_a_scope() {
        bundle '.linux.cgroupsPath = "system.slice:crt:box" | .linux.resources += {memory: {limit: 67108864, swap: 67108864}, pids: {limit: 20}, cpu: {shares: 1024, quota: 20000}}' \
                sleep 1000
        oci --systemd-cgroup create -b "$bundle" box
        equal $'200ms\n67108864\n0\n20' \
                "$(systemctl show --value -p MemoryMax -p MemorySwapMax -p TasksMax -p CPUQuotaPerSecUSec crt-box.scope)"
        oci delete --force box
}

test_a_scopes_new_limits_outlive_a_reload() {
        bundle '.linux.cgroupsPath = "system.slice:crt:box" | .linux.resources += {memory: {limit: 67108864}, pids: {limit: 20}}' sleep 1000
        oci --systemd-cgroup create -b "$bundle" box
        local scope=/sys/fs/cgroup/system.slice/crt-box.scope
        limits() { echo "$(cat $scope/memory.max) $(cat $scope/pids.max)$( [[ ! -e $scope/cpu.max ]] || echo " $(cat $scope/cpu.max)")"; }
        equal "67108864 20" "$(limits | cut -d" " -f1,2)"
        oci update --memory 134217728 --pids-limit 33 box
        [[ ! -e $scope/cpu.max ]] || oci update --cpu-quota 30000 --cpu-period 60000 box
        [[ ! -e $scope/cpu.max ]] || oci update --cpu-quota 15000 box
        local before
        before=$(limits)
        [[ $before == "134217728 33" || $before == "134217728 33 15000 60000" ]] || fail "$before"
        systemctl daemon-reload
        # Something that makes systemd write all that it knows.
        systemctl set-property --runtime crt-box.scope IOWeight=200
        equal "$before" "$(limits)"
        oci delete --force box
}

test_processes_are_refused() {
        limited '{pids: {limit: 8}}' sh -c 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 20 & done; echo all' && fail "$output"
        contains "$output" fork
        limited '{pids: {limit: 30}}' sh -c 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 20 & done; echo all'
        contains "$output" all
        limited '{pids: {limit: -1}}' cat /sys/fs/cgroup/pids.max
        equal max "$output"
}

used() { sed -n 's/^usage_usec //p' /sys/fs/cgroup/crt-test-oci/box/cpu.stat; }

test_processor_time_is_cut() {
        bundle '.linux.resources.cpu = {quota: 10000, period: 50000, burst: 5000, shares: 2048}' sh -c 'while :; do :; done'
        oci create -b "$bundle" box
        oci start box
        equal "10000 50000" "$(cat /sys/fs/cgroup/crt-test-oci/box/cpu.max)"
        [[ ! -e /sys/fs/cgroup/crt-test-oci/box/cpu.max.burst ]] || equal 5000 "$(cat /sys/fs/cgroup/crt-test-oci/box/cpu.max.burst)"
        (( $(cat /sys/fs/cgroup/crt-test-oci/box/cpu.weight) > 100 ))
        sleep 1
        local before after began lasted
        began=$(date +%s%N) before=$(used)
        sleep 2
        after=$(used) lasted=$(( ($(date +%s%N) - began) / 1000 ))
        oci delete --force box
        (( (after - before) * 10 < lasted * 6 )) || fail "$(( after - before )) us of $lasted"
        (( after > before ))
}

test_an_idle_cgroup() {
        [[ -e /sys/fs/cgroup/system.slice/cpu.idle || -e /sys/fs/cgroup/init.scope/cpu.idle ]] || skip "no cpu.idle"
        limited '{cpu: {idle: 1, shares: 100}}' cat /sys/fs/cgroup/cpu.idle || fail "$output"
        equal 1 "$output"
}

# A disk, and what it takes to write 4 MiB to it past the page cache.
test_writing_is_slowed_down() {
        local image=$scratch/image numbers started limited
        truncate -s 32M "$image"
        device=$(losetup --find --show "$image") || skip "no loop devices"
        trap "losetup -d $device" EXIT
        numbers=$(printf '{"major": %d, "minor": %d' "0x$(stat -c %t "$device")" "0x$(stat -c %T "$device")")
        local rule='.linux.devices = [{path: "/dev/disk", type: "b", major: $d.major, minor: $d.minor}]
                | .linux.resources.devices += [{allow: true, type: "b", major: $d.major, minor: $d.minor, access: "rwm"}]'
        started=$SECONDS
        inside "$numbers} as \$d | $rule | .linux.resources.blockIO = {throttleWriteBpsDevice: [\$d + {rate: 524288}]}" \
                sh -c 'cat /sys/fs/cgroup/io.max; dd if=/dev/zero of=/dev/disk bs=1M count=4 oflag=direct' || fail "$output"
        contains "$output" "wbps=524288"
        limited=$(( SECONDS - started ))
        (( limited >= 6 )) || fail "took $limited s"
        local try
        for try in 1 2 3; do # the machine may have other things to do
                started=$SECONDS
                inside "$numbers} as \$d | $rule" dd if=/dev/zero of=/dev/disk bs=1M count=4 oflag=direct || fail "$output"
                (( SECONDS - started >= limited )) || return 0
        done
        fail "took $(( SECONDS - started )) s without a limit"
}

# Every form of a rule, and their order: the last that matches decides.
test_devices() {
        local made='["CAP_MKNOD"] as $c | .process.capabilities = {bounding: $c, permitted: $c, effective: $c, inheritable: $c, ambient: $c}
                | .linux.devices = [{path: "/dev/kmsg", type: "c", major: 1, minor: 11}, {path: "/dev/loop-control", type: "c", major: 10, minor: 237}]'
        local try='for d in kmsg loop-control; do (exec 3</dev/$d) 2>/dev/null && echo -n "$d "; (exec 3>/dev/$d) 2>/dev/null && echo -n "$d-write "; done; echo'
        devices() {
                inside "$made | .linux.resources.devices = [$1]" sh -c "$try"
                equal "$2" "${output% }"
        }
        devices '{allow: false, access: "rwm"}' ""
        devices '{allow: false}, {allow: true, type: "c", major: 1, minor: 11, access: "r"}' kmsg
        devices '{allow: false}, {allow: true, type: "c", major: 1, access: "rw"}' "kmsg kmsg-write"
        devices '{allow: false}, {allow: true, type: "c", minor: 11, access: "w"}' kmsg-write
        devices '{allow: true}, {allow: false, type: "c", major: 1, minor: 11, access: "rwm"}' "loop-control loop-control-write"
        devices '{allow: true, type: "a", access: "rwm"}' "kmsg kmsg-write loop-control loop-control-write"
        devices '{allow: false}, {allow: true, type: "b"}' ""
        devices '{allow: true}, {allow: false, type: "c", access: "w"}' "kmsg loop-control"
        devices '{allow: false, type: "c", major: 1, minor: 11}, {allow: true, type: "c", major: 1, minor: 11, access: "r"}, {allow: false, access: "w"}' kmsg
        devices '' ""
}

test_a_frozen_container_stands_still() {
        bundle . sh -c 'while :; do echo x >>/tmp/grows; done'
        oci create -b "$bundle" box
        oci start box
        wait_for 5 test -s "$rootfs/tmp/grows"
        oci pause box
        local size
        size=$(stat -c %s "$rootfs/tmp/grows")
        sleep 1
        equal "$size" "$(stat -c %s "$rootfs/tmp/grows")"
        oci resume box
        wait_for 5 eval '(( $(stat -c %s "$rootfs/tmp/grows") > '"$size"' ))'
        oci delete --force box
        rm "$rootfs/tmp/grows"
}

test_unified() {
        limited '{unified: {"memory.high": "33554432", "pids.max": "77", "memory.oom.group": "1"}}' \
                sh -c 'cd /sys/fs/cgroup; cat memory.high pids.max memory.oom.group' || fail "$output"
        equal $'33554432\n77\n1' "$output"
        refused '.linux.resources.unified = {"memory.high": "much"}' "config.linux.resources.unified"
        refused '.linux.resources.unified = {"nonsense.max": "1"}' "config.linux.resources.unified: this kernel or this cgroup has no nonsense.max"
}

test_scopes_have_limits_as_properties() {
        [[ -d /run/systemd/system ]] || skip "no systemd"
        bundle '.linux.cgroupsPath = "system.slice:crt:box" | .linux.resources += {memory: {limit: 67108864}, pids: {limit: 20}, cpu: {shares: 1024, quota: 20000}}' sleep 100
        oci --systemd-cgroup create -b "$bundle" box
        equal 67108864 "$(systemctl show -P MemoryMax crt-box.scope)"
        equal 20 "$(systemctl show -P TasksMax crt-box.scope)"
        equal 200ms "$(systemctl show -P CPUQuotaPerSecUSec crt-box.scope)"
        equal 67108864 "$(cat /sys/fs/cgroup/system.slice/crt-box.scope/memory.max)"
        systemctl daemon-reload
        equal 67108864 "$(cat /sys/fs/cgroup/system.slice/crt-box.scope/memory.max)"
        oci delete --force box
}

test_containerd_sets_limits() {
        start_containerd
        options=(--detach) resources='{memory: {limit: 67108864}}'
        run_it one sleep 1000
        equal 67108864 "$(cat /sys/fs/cgroup/crt-test-oci/one/memory.max)"
        contains "$(control tasks metrics --format json one)" '"usage_limit": 67108864'
        control tasks kill --signal KILL one
        wait_for 10 is_state one STOPPED
        control tasks delete one || true
        control containers delete one
}

run_tests
