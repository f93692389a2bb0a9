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

# By the user's own manager, as a user's service: there systemd takes care of the user's cgroups.
test_a_scope_of_the_users_own_manager() {
        [[ -d /run/systemd/system ]] || skip "systemd is not here"
        local uid number=0
        uid=$(id -u "$user")
        systemctl start "user@$uid.service" || skip "$user has no manager"
        of_user() { as "$user" env XDG_RUNTIME_DIR="/run/user/$uid" "$@"; }
        # Each call is a service of its own.
        managed() {
                of_user systemd-run --user --quiet --pipe --wait --collect --unit "oci-$((++number))" -p KillMode=process \
                        "$(command -v "${CRT_OCI:-crt-oci}")" --root "$scratch/run/crt-oci" --systemd-cgroup "$@"
        }
        value() { of_user systemctl --user show -P "$1" crt-box.scope; }
        spec '.linux.cgroupsPath = "app-crt.slice:crt:box" | .annotations = {} | .linux.resources = {}' sleep 1000
        managed run --detach --bundle "$home/bundle" box </dev/null >/dev/null 2>&1
        equal "active app-crt.slice yes" "$(value ActiveState) $(value Slice) $(value Delegate)"
        local path=/user.slice/user-$uid.slice/user@$uid.service/app.slice/app-crt.slice/crt-box.scope
        equal "$path" "$(value ControlGroup)"
        grep -qx "$(mine state box | jq .pid)" "/sys/fs/cgroup$path/cgroup.procs"
        equal 0 "$(managed exec box id -u)"
        managed pause box
        equal paused "$(mine state box | jq -r .status)"
        managed resume box
        managed update --pids-limit -1 --memory -1 box
        equal "infinity infinity" "$(value TasksMax) $(value MemoryMax)"
        equal true "$(mine features | jq .linux.cgroup.systemdUser)"
        managed delete --force box
        wait_for 10 eval '[[ ! -e /sys/fs/cgroup'"$path"' ]]'
        # Out of a session there is no right to move a process there.
        spec '.linux.cgroupsPath = "app-crt.slice:crt:box" | .linux.resources = {}' true
        fails of_user "${CRT_OCI:-crt-oci}" --root "$scratch/run/crt-oci" --systemd-cgroup run --bundle "$home/bundle" box
        contains "$output" "this process is in no unit of a systemd user manager"
        systemctl stop "user@$uid.service"
        nobodys_left
}

run_tests
