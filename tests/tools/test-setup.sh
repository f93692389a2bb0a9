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

test_nothing_to_install_is_quick() {
        local begin end
        "$setup"
        begin=$(date +%s%N)
        "$setup"
        end=$(date +%s%N)
        (( end - begin < 500000000 )) || fail "took $(((end - begin) / 1000000)) ms"
}

test_unknown_group_is_refused() {
        fails "$setup" nonsense
        contains "$output" nonsense
}

run_tests
