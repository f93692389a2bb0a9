#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The list of packages is in order, and asking for what is there costs nothing.
source "$(dirname "$0")/../host/lib.sh"

list=$source_root/tools/packages
setup=$source_root/tools/setup

test_groups_are_sorted_and_without_doubles() {
        local group
        for group in build test bench; do
                sed -n "/^# $group:\$/,/^\$/p" "$list" | grep -v '^#' | grep . >"$scratch/$group"
                LC_ALL=C sort -cu "$scratch/$group"
        done
        equal "" "$(cat "$scratch/build" "$scratch/test" "$scratch/bench" | sort | uniq -d)"
}

test_nothing_to_install_asks_nobody() {
        "$setup"
        unshare --mount sh -c 'mount --bind /bin/false /usr/bin/apt-get && exec "$0"' "$setup"
}

test_a_bare_machine_needs_no_python() {
        local tool
        for tool in quickstart test host vm setup build; do
                contains "$(head -n 1 "$source_root/tools/$tool")" "sh"
                [[ $(head -n 1 "$source_root/tools/$tool") != *python* ]] || fail "$tool needs Python"
        done
}

test_unknown_group_is_refused() {
        fails "$setup" nonsense
        contains "$output" nonsense
}

run_tests
