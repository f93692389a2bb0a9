#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tools/vm as a tool: machines beside each other, true exit statuses, a disk that outlives its machine and loses what
# was not synced, and nothing left behind however a machine ended. With $LONG on an emulated processor, too.
source "$(dirname "$0")/../host/lib.sh"

vm=$source_root/tools/vm
prefix=t$$
one=$prefix-one two=$prefix-two

cleanup() {
        local name
        for name in "$one" "$two"; do "$vm" stop --name "$name"; done
}

start() { "$vm" start --no-install --name "$@"; }
on() { local name=$1; shift; "$vm" exec --name "$name" -- "$@"; }

processes() {
        local pid
        for pid in /proc/[0-9]*; do
                grep -qs "^State:.Z" "$pid/status" && continue
                tr '\0' ' ' 2>/dev/null <"$pid/cmdline" | grep -s "/run/crt-vm/$prefix-" || true
        done
}

left_behind() {
        grep "crt-vm/$prefix-" /proc/self/mountinfo
        find /run/crt-vm /var/tmp /tmp -maxdepth 1 -name "*$prefix-*" 2>/dev/null
        processes
}

is_as_before() { equal "" "$(left_behind)"; }

# What still goes on its way out has its time; what stays is said.
nothing_is_left() { wait_for 10 is_as_before || is_as_before; }

test_a_machine_has_a_kernel_and_a_systemd_of_its_own() {
        start "$one"
        fails equal "$(uname -r)" "$(on "$one" uname -r)"
        equal running "$(on "$one" systemctl is-system-running)"
        equal systemd "$(on "$one" cat /proc/1/comm)"
        contains " $(on "$one" cat /sys/fs/cgroup/cgroup.controllers) " " memory "
        contains "$("$vm" list)" "$one"
}

test_exit_status_and_stdio_pass_through() {
        local status=0
        on "$one" sh -c 'exit 37' || status=$?
        equal 37 "$status"
        equal "in and out" "$(echo "in and out" | on "$one" cat)"
        equal "error" "$(on "$one" sh -c 'echo error >&2; echo output' 2>&1 >/dev/null)"
        status=0
        on "$one" sh -c 'kill -9 $$' || status=$?
        equal 137 "$status"
        status=0
        on "$one" no-such-command 2>/dev/null || status=$?
        equal 127 "$status"
}

test_much_output_arrives_whole() {
        equal "$(seq 30000 | sha256sum)" "$(on "$one" seq 30000 | sha256sum)"
        equal "$(seq 5000 | sha256sum)" "$(seq 5000 | on "$one" sha256sum)"
}

test_arguments_environment_and_user_are_as_told() {
        equal "a b|\$c|" "$(on "$one" printf '%s|' 'a b' '$c')"
        equal "" "$(SECRET=1 on "$one" printenv SECRET || true)"
        equal "x y" "$("$vm" exec --name "$one" --env "V=x y" -- printenv V)"
        equal alice "$("$vm" exec --name "$one" --user alice -- id -un)"
}

test_commands_run_beside_each_other() {
        "$vm" exec --name "$one" -- sleep 100 & local long=$!
        equal here "$(on "$one" echo here)"
        kill "$long"
        # What nobody listens to any more ends.
        wait_for 10 fails on "$one" pgrep -x sleep
}

test_a_running_machine_is_not_started_again() {
        fails start "$one"
        contains "$output" "running already"
        equal here "$(on "$one" echo here)"
}

test_a_second_machine_beside_it_has_its_own_disk() {
        local disk=$scratch/disk
        truncate -s 64M "$disk"
        mkfs.ext4 -q "$disk"
        start "$two" --disk "$disk"
        on "$one" touch /etc/mark
        fails on "$two" test -e /etc/mark
        on "$two" sh -c 'echo synced >/var/lib/crt/synced; sync; echo lost >/var/lib/crt/lost'
        "$vm" stop --name "$two"
        start "$two" --disk "$disk"
        equal synced "$(on "$two" cat /var/lib/crt/synced)"
        fails on "$two" cat /var/lib/crt/lost
        "$vm" stop --name "$two"
        [[ -s $disk ]]
}

test_a_machine_that_ends_is_noticed() {
        local status=0
        output=$(on "$one" sh -c 'sleep 1; echo o >/proc/sysrq-trigger; sleep 60' 2>&1) || status=$?
        equal 125 "$status"
        contains "$output" "ended meanwhile"
        fails on "$one" true
        contains "$output" "not running"
}

test_nothing_is_left() {
        "$vm" stop --name "$one"
        nothing_is_left
}

test_run_leaves_nothing() {
        local status=0
        "$vm" run --no-install --name "$one" --disk 100M -- sh -c 'touch /var/lib/crt/x; exit 5' || status=$?
        equal 5 "$status"
        nothing_is_left
}

test_interrupted_run_leaves_nothing() {
        "$vm" run --no-install --name "$one" --disk 100M -- sleep 100 & local run=$!
        wait_for 20 test -e "/run/crt-vm/$one/console.log"
        kill -TERM "$run"
        wait "$run" || true
        nothing_is_left
}

test_a_machine_that_does_not_come_up_says_why() {
        fails start "$one" --memory 8M --timeout 20
        contains "$output" "did not come up; its console"
        nothing_is_left
}

test_wrong_options_are_refused() {
        fails "$vm" start --no-such-option
        fails "$vm" start --name 'a/b'
        fails "$vm" run --name "$one"
        fails start "$one" --disk nonsense
        nothing_is_left
}

test_an_emulated_processor_has_all_controllers() {
        [[ -n ${LONG:-} ]] || skip "only in the long form"
        "$vm" run --no-install --kernel qemu --name "$one" -- cat /sys/fs/cgroup/cgroup.controllers >"$scratch/controllers"
        contains " $(<"$scratch/controllers") " " cpuset "
        contains " $(<"$scratch/controllers") " " hugetlb "
        nothing_is_left
}

run_tests
