#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# How the kernel treats a container's process: clocks, scheduling, memory policy, personality, seccomp in all its forms.
source "$(dirname "$0")/oci.sh"

time_namespace='.linux.namespaces += [{type: "time"}]'

test_clocks_of_its_own() {
        [[ -e /proc/self/ns/time ]] || skip "no time namespaces"
        local uptime
        inside "$time_namespace" readlink /proc/self/ns/time || fail "$output"
        [[ $output != "$(readlink /proc/self/ns/time)" ]] || fail "the host's"
        inside "$time_namespace"' | .linux.timeOffsets = {boottime: {secs: 1000000}, monotonic: {secs: 5, nanosecs: 7}}' \
                sh -c 'cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets' || fail "$output"
        uptime=$(cut -d. -f1 /proc/uptime)
        (( $(head -n 1 <<<"$output") - uptime > 999990 )) || fail "$output"
        equal "monotonic 5 7 boottime 1000000 0" "$(tail -n +2 <<<"$output" | tr -s ' \n' ' ' | sed 's/ $//')"
        local userns=' | .linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
                | .linux.gidMappings = .linux.uidMappings'
        inside "$time_namespace$userns"' | .linux.timeOffsets = {boottime: {secs: 1000000}}' cut -d. -f1 /proc/uptime || fail "$output"
        (( output - uptime > 999990 )) || fail "$output"
        refused '.linux.timeOffsets = {boottime: {secs: 1}}' "config.linux.timeOffsets: needs a new time namespace"
        refused "$time_namespace"' | .linux.timeOffsets = {boottime: {secs: -1000000000}}' "config.linux.timeOffsets"
}

test_clocks_are_joined() {
        [[ -e /proc/self/ns/time ]] || skip "no time namespaces"
        unshare --time --boottime 2000000 --fork sleep 100 </dev/null >/dev/null 2>&1 &
        local unshare=$! init
        wait_for 5 pgrep -P "$unshare" sleep
        init=$(pgrep -P "$unshare" sleep)
        inside '.linux.namespaces += [{type: "time", path: "/proc/'"$init"'/ns/time"}]' cut -d. -f1 /proc/uptime || fail "$output"
        kill -9 "$init"
        (( output - $(cut -d. -f1 /proc/uptime) > 1999990 )) || fail "$output"
}

# Nice value, real-time priority and policy: fields 19, 40 and 41 of proc_pid_stat(5).
scheduled() { inside ".process.scheduler = $1" sh -c 'cut -d" " -f19,40,41 /proc/1/stat' || fail "$output"; }

test_a_capability_that_nobody_knows_is_left_out() {
        inside '.process.capabilities = {bounding: ["CAP_OF_TOMORROW", "CAP_KILL"], permitted: ["CAP_OF_TOMORROW"]}' \
                grep CapBnd /proc/self/status || fail "$output"
        equal 1 "$(grep -c "'CAP_OF_TOMORROW' is not known, and left out" <<<"$output")"
        contains "$output" 0000000000000020
}

test_scheduler() {
        scheduled '{policy: "SCHED_BATCH", nice: 7}'
        equal "7 0 3" "$output"
        scheduled '{policy: "SCHED_IDLE"}'
        equal "0 0 5" "$output"
        scheduled '{policy: "SCHED_OTHER", nice: -3}'
        equal "-3 0 0" "$output"
        if chrt -f 1 true 2>/dev/null; then
                scheduled '{policy: "SCHED_FIFO", priority: 3}'
                equal "0 3 1" "$output"
        fi
        refused '.process.scheduler = {policy: "SCHED_DEADLINE", runtime: 10, deadline: 5, period: 5}' "config.process.scheduler"
        refused '.process.scheduler = {policy: "SCHED_BEST"}' "'SCHED_BEST' is not known"
}

test_io_priority() {
        inside '.process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 6}' ionice -p 1 || fail "$output"
        equal "best-effort: prio 6" "$output"
        inside '.process.ioPriority = {class: "IOPRIO_CLASS_IDLE"}' ionice -p 1
        contains "$output" idle
}

test_personality() {
        inside '.linux.personality = {domain: "LINUX32"}' uname -m || fail "$output"
        [[ $output == i686 || $(uname -m) != x86_64 ]] || fail "$output"
        inside '.linux.personality = {domain: "LINUX"}' uname -m
        equal "$(uname -m)" "$output"
}

test_memory_policy() {
        inside '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"]}' cat /proc/self/numa_maps
        if [[ ! -e /proc/self/numa_maps ]]; then
                contains "$output" "config.linux.memoryPolicy: this kernel has no NUMA policies"
        else
                contains "$output" "bind=static:0"
        fi
        refused '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "900"}' "config.linux.memoryPolicy"
}

agent=$(dirname "$0")/seccomp_agent.py

notify_profile() {
        printf '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", listenerPath: "%s", listenerMetadata: "a b",
                syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_NOTIFY"}]}' "$scratch/agent"
}

test_seccomp_listener() {
        local new
        for new in true false; do
                rm -f "$scratch/agent" "$scratch/told"*
                python3 "$agent" "$scratch/agent" "$scratch/told" </dev/null >"$scratch/agent.log" 2>&1 &
                wait_for 5 test -e "$scratch/told.ready"
                inside "$(notify_profile) | .process.noNewPrivileges = $new | .annotations = {\"x\": \"y\"}" mkdir /tmp/x && fail "mkdir went through"
                contains "$output" "Protocol error"
                wait_for 5 test -s "$scratch/told"
                equal '{"fds":["seccompFd"],"id":"box","metadata":"a b","same":true,"status":"creating","version":"1.0.2","x":"y"}' \
                        "$(jq -cS '{fds, metadata, version: .ociVersion, id: .state.id, status: .state.status, same: (.pid == .state.pid), x: .state.annotations.x}' "$scratch/told")"
        done
        wait
}

# One agent for init, one for a process that joins it, which is told of both.
test_the_listener_of_a_process_that_joins() {
        local init
        rm -f "$scratch/agent" "$scratch/told"*
        python3 "$agent" "$scratch/agent" "$scratch/told" </dev/null >"$scratch/agent.log" 2>&1 &
        wait_for 20 test -e "$scratch/told.ready"
        bundle "$(notify_profile)" sleep 1000
        oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        wait_for 20 test -s "$scratch/told"
        init=$(oci state box | jq .pid)
        rm -f "$scratch/agent" "$scratch/told"*
        python3 "$agent" "$scratch/agent" "$scratch/told" </dev/null >"$scratch/agent.log" 2>&1 &
        wait_for 20 test -e "$scratch/told.ready"
        fails oci exec box mkdir /tmp/x
        contains "$output" "Protocol error"
        wait_for 20 test -s "$scratch/told"
        equal "running $init false" "$(jq -r '"\(.state.status) \(.state.pid) \(.pid == .state.pid)"' "$scratch/told")"
        oci delete --force box
        wait
        nothing_left
}

test_seccomp_listener_flags_and_failures() {
        rm -f "$scratch/agent" "$scratch/told"*
        refused "$(notify_profile)" "config.linux.seccomp.listenerPath: $scratch/agent: No such file"
        python3 "$agent" "$scratch/agent" "$scratch/told" </dev/null >"$scratch/agent.log" 2>&1 &
        wait_for 5 test -e "$scratch/told.ready"
        inside "$(notify_profile)"' | .linux.seccomp.flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]' mkdir /tmp/x && fail through
        contains "$output" "Protocol error"
        wait
        refused 'del(.x) | .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}' "goes with SCMP_ACT_NOTIFY"
        refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir"], action: "SCMP_ACT_NOTIFY"}]}' "listenerPath: is missing"
        refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/agent", syscalls: [{names: ["write"], action: "SCMP_ACT_NOTIFY"}]}' \
                "config.linux.seccomp.syscalls: SCMP_ACT_NOTIFY must not be for write"
        refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_X"]}' "'SECCOMP_FILTER_FLAG_X' is not known"
}

# rule ACTION EXTRA: what becomes of a mkdir under it.
rule() {
        inside '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"], action: "'"$1"'"'"$2"'}]}' \
                sh -c 'mkdir /tmp/rule 2>&1; echo status $?; rmdir /tmp/rule 2>/dev/null; true'
}

test_seccomp_actions() {
        rule SCMP_ACT_ERRNO ', errnoRet: 95'; contains "$output" "Operation not supported"
        rule SCMP_ACT_ERRNO ''; contains "$output" "Operation not permitted"
        rule SCMP_ACT_KILL_PROCESS ''; contains "$output" "status 159"
        rule SCMP_ACT_KILL_THREAD ''; contains "$output" "status 159"
        rule SCMP_ACT_KILL ''; contains "$output" "status 159"
        rule SCMP_ACT_TRAP ''; contains "$output" "status 159"
        # Nobody traces it: the call fails as if the kernel did not have it.
        rule SCMP_ACT_TRACE ', errnoRet: 3'; contains "$output" "Function not implemented"
        rule SCMP_ACT_LOG ''; contains "$output" "status 0"
        rule SCMP_ACT_ALLOW ''; contains "$output" "status 0"
        refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir"], action: "SCMP_ACT_PANIC"}]}' "'SCMP_ACT_PANIC' is not known"
        refused '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_VAX"]}' "'SCMP_ARCH_VAX' is not known"
}

# The mode of mkdir is its second argument (0777 = 511), of mkdirat its third.
compare() {
        inside '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir"], action: "SCMP_ACT_ERRNO", errnoRet: 95,
                args: [{index: 1, op: "'"$1"'", value: '"$2"', valueTwo: '"${3:-0}"'}]}]}' \
                sh -c 'mkdir /tmp/compare && rmdir /tmp/compare && echo let through'
}

test_seccomp_comparisons() {
        [[ $(uname -m) == x86_64 ]] || skip "mkdir(2) is not everywhere"
        local denied allowed
        for denied in "EQ 511" "NE 1" "LT 512" "LE 511" "GE 511" "GT 510" "MASKED_EQ 448 448"; do
                # shellcheck disable=SC2086
                compare SCMP_CMP_$denied && fail "$denied: let through"
                contains "$output" "Operation not supported"
        done
        for allowed in "EQ 510" "NE 511" "LT 511" "LE 510" "GE 512" "GT 511" "MASKED_EQ 448 64"; do
                # shellcheck disable=SC2086
                compare SCMP_CMP_$allowed || fail "$allowed: $output"
        done
}

test_a_cgroup_that_is_seen_writable_is_the_users() {
        local writable='(.mounts[] | select(.type == "cgroup2")).options |= map(select(. != "ro"))'
        inside "$writable | .process.user.uid = 9" sh -c 'mkdir /sys/fs/cgroup/own && stat -c "%n %u" /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/cgroup.freeze' || fail "$output"
        equal $'/sys/fs/cgroup 9\n/sys/fs/cgroup/cgroup.procs 9\n/sys/fs/cgroup/cgroup.freeze 0' "$output"
        nothing_left
        inside '.process.user.uid = 9' stat -c %u /sys/fs/cgroup
        equal 0 "$output"
}

test_sections_for_others_are_refused() {
        refused '.vm = {hypervisor: {path: "/x"}}' "config.vm: crt-oci runs no virtual machines"
        refused '.windows = {layerFolders: ["x"]}' "config.windows: is for another platform"
        refused '.linux.resources.memory = {swappiness: 10}' "config.linux.resources.memory.swappiness: cgroup v2 has nothing like it"
        refused '.linux.resources.network = {classID: 5}' "config.linux.resources.network.classID: cgroup v2 has nothing like it"
        refused '.linux.resources.cpu = {realtimePeriod: 5}' "config.linux.resources.cpu.realtimePeriod: cgroup v2 has nothing like it"
        inside '.solaris = {} | .whatever = {x: 1} | .linux.future = 5' echo fine
        equal fine "$output"
}

run_tests
