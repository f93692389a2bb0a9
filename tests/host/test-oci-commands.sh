#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The commands that the specification does not have: list, ps, pause, resume, update, events, spec, features; what is
# said and logged; and what is left of crt-oci itself when it is killed.
source "$(dirname "$0")/oci.sh"

status_of() { oci state "$1" | jq -r .status; }

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

test_list_as_table_json_and_names() {
        equal "ID          PID         STATUS      BUNDLE      CREATED     OWNER" "$(oci list)"
        equal "[]" "$(oci list --format json)"
        equal "" "$(oci list --quiet)"
        up '.annotations = {"a": "b"}'
        local pid
        pid=$(oci state box | jq .pid)
        equal "box" "$(oci list -q)"
        output=$(oci list | tail -n 1)
        [[ $output =~ ^box\ +$pid\ +running\ +$bundle\ +20[0-9T:.-]+Z\ +root$ ]] || fail "$output"
        equal '["box",'"$pid"',"running","root","b"]' \
                "$(oci list -f json | jq -c '.[0] | [.id, .pid, .status, .owner, .annotations.a]')"
        fails oci list --format yaml
        contains "$output" "'yaml' is not table or json"
        down
}

test_ps_knows_the_containers_processes() {
        up . sh -c 'sleep 1000 & sleep 1000 & wait'
        wait_for 5 eval '(( $(oci ps --format json box | jq length) == 3 ))'
        equal "$(sort -n /sys/fs/cgroup/crt-test-oci/box/cgroup.procs | jq -sc .)" "$(oci ps -f json box)"
        contains "$(oci ps box | head -n 1)" "PID"
        equal 3 "$(oci ps box | grep -c sleep)"
        # Between fork and exec it is a shell, too.
        wait_for 5 eval '[[ $(oci ps box -eo pid,comm | tail -n +2 | awk "{print \$2}" | sort | xargs) == "sh sleep sleep" ]]'
        fails oci ps box -eo comm
        contains "$output" "no column PID"
        down
}

test_pause_and_resume() {
        up . sh -c 'while :; do date +%s%N >/tmp/ticks; sleep 0.02; done'
        wait_for 5 test -s "$rootfs/tmp/ticks"
        oci pause box
        equal paused "$(status_of box)"
        local before
        before=$(cat "$rootfs/tmp/ticks")
        sleep 0.3
        equal "$before" "$(cat "$rootfs/tmp/ticks")"
        fails oci pause box; contains "$output" "is paused, not running"
        oci resume box
        equal running "$(status_of box)"
        wait_for 5 eval "[[ \$(cat '$rootfs/tmp/ticks') != '$before' ]]"
        fails oci resume box; contains "$output" "is running, not paused"
        oci pause box
        # Killed all the same.
        oci kill box KILL
        wait_for 5 eval '[[ $(status_of box) == stopped ]]'
        fails oci pause box; contains "$output" "is stopped, not running"
        down
        rm -f "$rootfs/tmp/ticks"
}

test_update() {
        up '.linux.devices = [{path: "/dev/memory", type: "c", major: 1, minor: 1}]'
        local cgroup=/sys/fs/cgroup/crt-test-oci/box
        fails oci update box; contains "$output" "nothing to change"
        fails oci update --memory lots box; contains "$output" "--memory: 'lots' is not a number"
        fails oci update --cpu-rt-period 5 box; contains "$output" "cgroup v2 has nothing like it"
        echo '{ "unified": { "cgroup.max.depth": "5" } }' | oci update -r - box
        equal 5 "$(cat "$cgroup/cgroup.max.depth")"
        echo '{ "hugepageLimits": [ { "pageSize": "2MB", "limit": 8388608 } ] }' >"$scratch/resources.json"
        if grep -qw hugetlb /sys/fs/cgroup/cgroup.controllers; then
                oci update --resources "$scratch/resources.json" box
                equal 8388608 "$(cat "$cgroup/hugetlb.2MB.max")"
                echo '{ "unified": { "hugetlb.2MB.max": "4194304" } }' | oci update -r - box
                equal 4194304 "$(cat "$cgroup/hugetlb.2MB.max")"
        else
                fails oci update --resources "$scratch/resources.json" box; contains "$output" "hugetlb"
        fi
        echo '{ "memory": { "limit": "much" } }' >"$scratch/resources.json"
        fails oci update -r "$scratch/resources.json" box; contains "$output" "resources.memory.limit"
        # The devices stay filtered as they were.
        echo '{ "devices": [ { "allow": true, "access": "rwm" } ] }' | oci update -r - box
        fails oci exec box cat /dev/memory
        contains "$output" "not permitted"
        if grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
                oci update --memory 67108864 --memory-swap 134217728 box
                equal "67108864 67108864" "$(cat "$cgroup/memory.max" "$cgroup/memory.swap.max" | xargs)"
                oci update --memory -1 box
                equal max "$(cat "$cgroup/memory.max")"
        else
                fails oci update --memory 67108864 box; contains "$output" "memory"
        fi
        down
}

test_events() {
        up .
        output=$(oci events --stats box)
        equal '["stats","box"]' "$(jq -c '[.type, .id]' <<<"$output")"
        equal '["blkio","cpu","cpuset","hugetlb","intel_rdt","memory","network_interfaces","pids"]' \
                "$(jq -c '.data | keys' <<<"$output")"
        [[ $(jq '.data.cpu.usage.total' <<<"$output") -gt 0 ]]
        oci events --interval 100ms box >"$scratch/events" &
        local pid=$!
        wait_for 5 eval '(( $(wc -l <"$scratch/events") >= 3 ))'
        oci kill box KILL
        wait "$pid"
        fails oci events --stats box; contains "$output" "is not running"
        fails oci events --interval never box; contains "$output" "'never' is not a time"
        down
}

test_spec_makes_a_bundle_that_runs() {
        mkdir "$scratch/spec"
        oci spec --bundle "$scratch/spec"
        fails oci spec -b "$scratch/spec"
        contains "$output" "File config.json exists. Remove it first"
        jq '.process.terminal = false | .process.args = ["echo", "ran"] | .linux.cgroupsPath = "/crt-test-oci/box"' \
                "$scratch/spec/config.json" >"$scratch/changed"
        mv "$scratch/changed" "$scratch/spec/config.json"
        cp -a "$rootfs" "$scratch/spec/rootfs"
        equal ran "$(oci run -b "$scratch/spec" box)"
        rm -r "$scratch/spec"
        nothing_left
}

test_what_is_printed_fits_the_schemas() {
        local schemas=$source_root/tests/data/runtime-spec/schema
        [[ -d $schemas ]] || skip "the schemas are not among the tests' data"
        up .
        oci state box >"$scratch/state.json"
        oci features >"$scratch/features.json"
        equal '["org.systemd.property."]' "$(jq -c .potentiallyUnsafeConfigAnnotations "$scratch/features.json")"
        equal '[true,true,true,7,3]' "$(jq -c '.linux | [.intelRdt[], (.memoryPolicy.modes | length), (.memoryPolicy.flags | length)]' "$scratch/features.json")"
        python3 -W ignore - "$schemas" "$scratch" <<'END'
import json, jsonschema, sys
for name in ("state", "features"):
    path = f"{sys.argv[1]}/{name}-schema.json"
    resolver = jsonschema.RefResolver(f"file://{path}", json.load(open(path)))
    jsonschema.validate(json.load(open(f"{sys.argv[2]}/{name}.json")), resolver.referrer, resolver=resolver)
END
        down
}

test_while_it_is_created_its_state_says_so() {
        bundle ".hooks = {createRuntime: [{path: \"/bin/sh\", args: [\"sh\", \"-c\", \"touch $scratch/hook; while [ -e $scratch/hook ]; do sleep 0.05; done\"], env: [\"PATH=/bin:/usr/bin\"]}]}" sleep 100
        oci create -b "$bundle" box &
        local pid=$!
        wait_for 5 test -e "$scratch/hook"
        equal '["creating","box"]' "$(oci state box | jq -c '[.status, .id]')"
        equal "$bundle" "$(oci state box | jq -r .bundle)"
        contains "$(oci list)" creating
        rm "$scratch/hook"
        wait "$pid"
        equal created "$(status_of box)"
        down
}

# At every place where it can be: after each of its system calls. What runs on is found and removed.
killed_at_each_call() {
        local n status left=0 ended=0
        for (( n = 1; n < 1000 && ! ended; n += $1 )); do
                status=0
                strace -qq -o /dev/null -e inject=all:signal=SIGKILL:when="$n" "${CRT_OCI:-crt-oci}" --root "$state" \
                        "${@:2}" </dev/null >/dev/null 2>&1 || status=$?
                (( status == 137 )) || ended=1
                timeout 200 "${CRT_OCI:-crt-oci}" --root "$state" delete --force box || fail "delete failed after call $n"
                equal "" "$(oci list -q)"
                [[ ! -e /sys/fs/cgroup/crt-test-oci/box ]] || fail "the cgroup is left after call $n"
                # Those that see that their maker was killed end by themselves, not at once.
                wait_for 5 eval '! pgrep -f -- "$bundle"' || fail "$(pgrep -af -- "$bundle") after call $n"
        done
        (( n > 20 ))
}

test_create_killed_at_any_point() {
        strace -qq -o /dev/null true 2>/dev/null || skip "strace does not work here"
        bundle . sleep 1000
        killed_at_each_call 4 create -b "$bundle" box
        nothing_left
}

test_delete_killed_at_any_point() {
        strace -qq -o /dev/null true 2>/dev/null || skip "strace does not work here"
        local n status=137
        for (( n = 10; n < 500 && status == 137; n += 6 )); do
                up .
                status=0
                strace -qq -o /dev/null -e inject=all:signal=SIGKILL:when="$n" "${CRT_OCI:-crt-oci}" --root "$state" \
                        delete --force box </dev/null >/dev/null 2>&1 || status=$?
                oci delete --force box
                nothing_left
        done
}

test_operations_that_race() {
        bundle . sleep 1000
        local i
        for i in 1 2 3 4 5; do
                oci create -b "$bundle" box
                oci start box 2>/dev/null & local first=$!
                oci delete --force box & local second=$!
                wait "$first" || true
                wait "$second"
                nothing_left
        done
}

test_debug_says_what_is_done() {
        bundle . true
        contains "$(oci --debug run -b "$bundle" box 2>&1)" "level=debug"
        oci --debug --log "$scratch/log" --log-format json run -b "$bundle" box
        jq -es 'all(.level == "debug") and (map(.msg) | join(" ") | contains("is deleted"))' "$scratch/log" >/dev/null
        rm "$scratch/log"
        oci --log "$scratch/log" run -b "$bundle" box
        [[ ! -s $scratch/log ]]
        nothing_left
}

test_options_in_every_form() {
        bundle . true
        oci run --bundle="$bundle" box
        oci run "-b$bundle" box
        oci run box --bundle "$bundle"
        oci run --keep=true -b "$bundle" -- box
        oci delete box
        fails oci run --keep=perhaps -b "$bundle" box; contains "$output" "'perhaps' is not true or false"
        fails oci run --bundle; contains "$output" "run: --bundle needs a value"
        fails oci run -x box; contains "$output" "run: -x is not known"
        fails oci --nonsense list; contains "$output" "--nonsense is not known"
        fails oci --log-level loud list; contains "$output" "'loud' is not error, warning, info or debug"
        fails oci --cgroup-manager other list; contains "$output" "'other' is not cgroupfs or systemd"
        fails oci; contains "$output" "a command is missing"
        fails oci exec box; contains "$output" "needs a program"
        contains "$(oci exec --help)" "--additional-gids GID"
        contains "$(oci help exec)" "--additional-gids GID"
        nothing_left
}

test_many_in_a_row_are_as_fast_as_the_first() {
        bundle . true
        local first last i used
        # What the children that were waited for have had of the processor, in its ticks: cutime and cstime.
        look() {
                local fields
                read -ra fields <"/proc/$BASHPID/stat"
                used=$(( fields[15] + fields[16] ))
        }
        time_some() {
                local before
                look
                before=$used
                for i in {1..20}; do oci run -b "$bundle" box; done
                look
                used=$(( used - before ))
        }
        time_some
        first=$used
        for i in {1..100}; do oci run -b "$bundle" "box$i"; done
        time_some
        last=$used
        (( first > 0 ))
        # Twice: the machine has other things to do. What grows with the number of containers grows by more.
        (( last < first * 2 + 20 )) || fail "20 took $first ticks at first, $last after 120"
        nothing_left
}

run_tests
