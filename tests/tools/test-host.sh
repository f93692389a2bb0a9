#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tools/host as a tool: several hosts beside each other, true exit statuses, and nothing left behind however
# a host ended. Runs on the machine itself, as root, and looks only at hosts that it made.
source "$(dirname "$0")/../host/lib.sh"

host=$source_root/tools/host
prefix=t$$
one=$prefix-one two=$prefix-two

cleanup() {
        local name
        for name in "$one" "$two"; do "$host" stop --name "$name"; done
}

start() { "$host" start --no-install --name "$@"; }
on() { local name=$1; shift; "$host" exec --name "$name" -- "$@"; }

processes() {
        local pid
        for pid in /proc/[0-9]*; do
                grep -qs "crt-host-$prefix-" "$pid/cgroup" || continue
                grep -qs '^State:.Z' "$pid/status" || echo "$pid"
        done
        return 0
}

left_behind() {
        grep "crt-host/$prefix-" /proc/self/mountinfo
        find "$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)" -name "crt-host-$prefix-*"
        losetup --list --noheadings --output BACK-FILE | grep "crt-host-$prefix-"
        find /run/crt-host /var/tmp -maxdepth 1 -name "*$prefix-*" 2>/dev/null
        processes
}

is_as_before() { equal "$mounts_before" "$(</proc/self/mountinfo)" && equal "" "$(left_behind)"; }

# What still goes on its way out has its time; what stays is said.
nothing_is_left() { wait_for 10 is_as_before || is_as_before; }

mounts_before=$(</proc/self/mountinfo)

test_two_hosts_run_beside_each_other() {
        start "$one" & start "$two"
        wait $!
        equal "$one" "$(on "$one" hostname)"
        equal "$two" "$(on "$two" hostname)"
        on "$one" touch /etc/mark
        fails on "$two" test -e /etc/mark
        [[ ! -e /etc/mark ]]
        fails equal "$(on "$one" cat /proc/sys/kernel/random/boot_id)" \
                "$(on "$two" cat /proc/sys/kernel/random/boot_id)"
        contains "$("$host" list)" "$one"
}

test_a_running_host_is_not_started_again() {
        fails start "$one"
        contains "$output" "running already"
        equal "$one" "$(on "$one" hostname)"
}

test_exit_status_and_stdio_pass_through() {
        local status=0
        on "$one" sh -c 'exit 37' || status=$?
        equal 37 "$status"
        equal "in and out" "$(echo "in and out" | on "$one" cat)"
        equal "error" "$(on "$one" sh -c 'echo error >&2; echo output >/dev/null' 2>&1 >/dev/null)"
}

test_arguments_pass_unchanged() {
        equal "a b|\$c|" "$(on "$one" printf '%s|' 'a b' '$c')"
}

test_environment_is_clean() {
        equal "" "$(SECRET=1 "$host" exec --name "$one" -- printenv SECRET || true)"
        equal "x y" "$("$host" exec --name "$one" --env "V=x y" -- printenv V)"
}

test_user_is_that_user() {
        equal alice "$("$host" exec --name "$one" --user alice -- id -un)"
        equal /home/bob "$("$host" exec --name "$one" --user bob -- printenv HOME)"
        equal 0000000000000000 "$("$host" exec --name "$one" --user bob -- \
                awk '/CapEff/ { print $2 }' /proc/self/status)"
        fails "$host" exec --name "$one" --user nobody-there -- true
        contains "$output" "no user"
}

test_terminal_is_the_hosts_own() {
        contains "$("$host" exec --name "$one" -t -- tty)" /dev/pts/
}

test_terminal_passes_size_status_and_input() {
        local status=0
        equal "33 77" "$(script -qec "stty rows 33 cols 77; '$host' exec --name '$one' -t -- stty size" \
                         /dev/null | tr -d '\r')"
        "$host" exec --name "$one" -t -- sh -c 'exit 9' || status=$?
        equal 9 "$status"
        contains "$(printf 'in\n' | "$host" exec --name "$one" -t -- head -n 1)" in
}

test_sources_are_visible_and_read_only() {
        on "$one" test -x /usr/src/crt/tools/host
        contains "$(on "$one" tools/host --help)" "a private host"
        equal /usr/src/crt "$(on "$one" tools/../../../../bin/pwd)"
        fails on "$one" touch /usr/src/crt/x
}

test_network_is_private() {
        equal lo "$(on "$one" sh -c 'ip -o link | cut -d: -f2 | tr -d " \n"')"
        contains "$(on "$one" ip -o address show lo)" 127.0.0.1
}

test_mounts_do_not_reach_the_machine() {
        on "$one" mount -t tmpfs crt-host-test /mnt
        equal "$mounts_before" "$(</proc/self/mountinfo)"
}

test_machine_settings_are_untouched() {
        local name
        for name in fs/file-max fs/nr_open kernel/core_pattern kernel/hostname kernel/random/boot_id; do
                equal "$(grep "^$name " "$settings" | cut -d' ' -f2-)" "$(<"/proc/sys/$name")"
        done
}

test_stop_leaves_nothing() {
        on "$one" systemd-run --quiet sleep 1000
        "$host" exec --name "$one" -- sleep 1000 &
        "$host" stop --name "$one"
        wait $! || true
        fails on "$one" true
        contains "$output" "not running"
        # The other one is not touched by that.
        equal "$two" "$(on "$two" hostname)"
        "$host" stop --name "$two"
        nothing_is_left
}

test_stop_of_a_stopped_host_is_no_error() {
        "$host" stop --name "$one"
}

test_stop_after_pid_1_was_killed_leaves_nothing() {
        start "$one" --disk 300M
        on "$one" grep -q ' /var/lib/crt ext4 ' /proc/mounts
        kill -KILL "$(</run/crt-host/"$one"/pid)"
        wait_for 10 test ! -d "/proc/$(</run/crt-host/"$one"/pid)" || true
        fails on "$one" true
        "$host" stop --name "$one"
        nothing_is_left
}

test_start_after_pid_1_was_killed() {
        start "$one"
        kill -KILL "$(</run/crt-host/"$one"/pid)"
        wait_for 10 eval '! grep -qs "^State:.[^Z]" /proc/$(</run/crt-host/'"$one"'/pid)/status'
        start "$one"
        equal "$one" "$(on "$one" hostname)"
        "$host" stop --name "$one"
        nothing_is_left
}

test_run_returns_the_status_and_leaves_nothing() {
        local status=0
        "$host" run --no-install --name "$one" -- sh -c 'exit 5' || status=$?
        equal 5 "$status"
        nothing_is_left
}

test_failed_boot_is_shown_and_leaves_nothing() {
        fails start "$one" --disk nonsense
        contains "$output" "did not come up"
        contains "$output" "nonsense"
        nothing_is_left
}

# What the machine's own PID 1 is does not matter: in a host it is systemd, here it may be anything.
test_a_host_runs_where_systemd_is_pid_1() {
        equal "running running" "$("$host" run --no-install --name "$one" -- bash -c '
                host=/usr/src/crt/tools/host
                echo $($host run --no-install --name inner -- systemctl is-system-running) \
                     $(systemctl is-system-running)')"
        nothing_is_left
}

test_wrong_use_is_refused() {
        fails "$host" start --name 'a/b'
        fails "$host" start --network bridge
        fails "$host" frobnicate
        fails "$host" exec --name "$one"
        contains "$output" "needs a command"
}

settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
for name in fs/file-max fs/nr_open kernel/core_pattern kernel/hostname kernel/random/boot_id; do
        echo "$name $(<"/proc/sys/$name")"
done >"$settings"
run_tests
