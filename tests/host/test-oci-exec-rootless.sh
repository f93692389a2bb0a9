#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The commands of crt-oci by an ordinary user: exec, ps, pause, a cgroup that was given.
source "$(dirname "$0")/oci.sh"

user=$(getent passwd alice >/dev/null && echo alice || echo nobody)
home=$scratch/home

mkdir -p "$home/bundle" "$scratch/run"
make_rootfs "$home/bundle/rootfs"
chmod 0755 "$scratch"
chown -R "$user": "$home" "$scratch/run"

mine() { as "$user" env XDG_RUNTIME_DIR="$scratch/run" "${CRT_OCI:-crt-oci}" "$@"; }

# spec JQ_FILTER ARGUMENT…: what "spec --rootless" writes, with a change.
spec() {
        local filter=$1
        shift
        rm -f "$home/bundle/config.json"
        mine spec --rootless --bundle "$home/bundle"
        jq ".process.terminal = false | .process.args = \$ARGS.positional | $filter" --args -- "$@" \
                <"$home/bundle/config.json" >"$home/changed.json"
        mv "$home/changed.json" "$home/bundle/config.json"
}

nobodys_left() {
        equal "" "$(ls "$scratch/run/crt-oci" 2>/dev/null)"
        equal "" "$(pgrep -f -- "$home/bundle")"
}

cleanup() {
        local id
        for id in $(ls "$scratch/run/crt-oci" 2>/dev/null); do mine delete --force "$id"; done
}

test_run_as_an_ordinary_user() {
        spec . sh -c 'id -u; awk "{print \$1, \$2, \$3}" /proc/self/uid_map; echo $$; hostname'
        equal $'0\n0 '"$(id -u "$user")"$' 1\n1\ncrt' "$(mine run --bundle "$home/bundle" box)"
        spec . sh -c 'exit 7'
        local status=0
        mine run --bundle "$home/bundle" box || status=$?
        equal 7 "$status"
        nobodys_left
}

test_the_whole_life() {
        spec '.root.readonly = false' sleep 1000
        mine create --bundle "$home/bundle" box </dev/null >/dev/null 2>&1
        equal created "$(mine state box | jq -r .status)"
        mine start box
        equal running "$(mine state box | jq -r .status)"
        equal "$user" "$(mine state box | jq -r .owner)"
        contains "$(mine list)" box
        equal 0 "$(mine exec box id -u)"
        mine exec box touch /tmp/of-the-container
        equal "$user" "$(stat -c %U "$home/bundle/rootfs/tmp/of-the-container")"
        equal "[$(mine state box | jq .pid)]" "$(mine ps --format json box)"
        fails mine delete box
        mine kill box KILL
        wait_for 5 eval '[[ $(mine state box | jq -r .status) == stopped ]]'
        mine delete box
        nobodys_left
}

test_the_oom_score_is_that_of_the_configuration() {
        spec '.process.oomScoreAdj = 100' sleep 1000
        mine run --detach --bundle "$home/bundle" box </dev/null >/dev/null 2>&1
        equal 100 "$(mine exec box cat /proc/self/oom_score_adj)"
        jq '.process | .args = ["cat", "/proc/self/oom_score_adj"] | .oomScoreAdj = 200' "$home/bundle/config.json" >"$home/process.json"
        equal 200 "$(mine exec --process "$home/process.json" box)"
        mine delete --force box
        nobodys_left
}

test_what_has_no_rights_is_said() {
        spec '.linux.resources = {pids: {limit: 50}}' true
        fails mine run --bundle "$home/bundle" box
        contains "$output" "cgroup"
        nobodys_left
        spec '.linux.namespaces |= map(select(.type != "user"))' true
        fails mine run --bundle "$home/bundle" box
        nobodys_left
        spec . sleep 1000
        mine run --detach --bundle "$home/bundle" box </dev/null >/dev/null 2>&1
        fails mine pause box
        contains "$output" "has no cgroup"
        mine delete --force box
        fails as "$user" env -u XDG_RUNTIME_DIR "${CRT_OCI:-crt-oci}" list
        contains "$output" "XDG_RUNTIME_DIR"
        nobodys_left
}

test_a_cgroup_that_was_given_is_used() {
        local given=/sys/fs/cgroup/crt-test-rootless
        mkdir -p "$given"
        chown "$user": "$given" "$given"/cgroup.{procs,subtree_control,threads}
        spec '.linux.cgroupsPath = "/crt-test-rootless/box"' sleep 1000
        # To clone into a cgroup one needs to be allowed to write to the one that both have in common: so the caller is in it.
        ( echo "$BASHPID" >"$given/cgroup.procs"; mine run --detach --bundle "$home/bundle" box </dev/null >/dev/null 2>&1 )
        grep -qx "$(mine state box | jq .pid)" "$given/box/cgroup.procs"
        ( echo "$BASHPID" >"$given/cgroup.procs"; mine pause box; equal paused "$(mine state box | jq -r .status)"; mine resume box
          mine exec box true )
        mine delete --force box
        [[ ! -d $given/box ]]
        rmdir "$given"
        nobodys_left
}

# Roots' containers are not this user's, and the other way round.
test_the_containers_of_others() {
        bundle . sleep 1000
        oci run --detach -b "$bundle" box >/dev/null 2>&1
        fails as "$user" "${CRT_OCI:-crt-oci}" --root "$state" state box
        oci delete --force box
}

run_tests
