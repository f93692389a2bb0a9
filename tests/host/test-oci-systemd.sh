#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# --systemd-cgroup: a container is a scope of systemd, with limits as properties of the unit.
source "$(dirname "$0")/oci.sh"

[[ -d /run/systemd/system ]] || { echo "skip all: systemd is not here"; exit 0; }

sd() { oci --systemd-cgroup "$@"; }

# scoped FILTER COMMAND…: a bundle whose cgroup is that scope.
scoped() {
        local filter=$1
        shift
        bundle '.linux.cgroupsPath = "crt-test.slice:crt:box" | '"$filter" "$@"
}

property() { systemctl show -P "$1" crt-box.scope; }

no_scope() {
        wait_for 5 eval '! systemctl is-active -q crt-box.scope'
        wait_for 5 test ! -e /sys/fs/cgroup/crt.slice/crt-test.slice/crt-box.scope
        nothing_left
}

cleanup() {
        local id
        for id in $(ls "$state" 2>/dev/null); do oci delete --force "$id"; done
        systemctl stop crt-test.slice crt.slice 2>/dev/null
        rmdir /sys/fs/cgroup/crt-test-oci 2>/dev/null
}

test_a_scope_for_its_life() {
        scoped . sleep 100
        sd create -b "$bundle" box
        equal active "$(property ActiveState)"
        equal crt-test.slice "$(property Slice)"
        equal yes "$(property Delegate)"
        equal /crt.slice/crt-test.slice/crt-box.scope "$(property ControlGroup)"
        local pid
        pid=$(oci state box | jq .pid)
        # The process that held the place is gone.
        equal "$pid" "$(cat /sys/fs/cgroup/crt.slice/crt-test.slice/crt-box.scope/cgroup.procs)"
        equal 0::/crt.slice/crt-test.slice/crt-box.scope "$(grep ^0: "/proc/$pid/cgroup")"
        oci start box
        oci kill box KILL
        wait_for 5 eval '[[ $(oci state box | jq -r .status) == stopped ]]'
        oci delete box
        no_scope
}

test_again_and_again_under_one_name() {
        local i
        scoped . true
        for i in 1 2 3 4 5; do sd run -b "$bundle" box || fail "round $i"; done
        no_scope
}

test_a_default_scope() {
        bundle 'del(.linux.cgroupsPath)' cat /proc/1/cgroup
        bundle 'del(.linux.cgroupsPath) | del(.linux.namespaces[] | select(.type == "cgroup"))' grep ^0: /proc/self/cgroup
        equal 0::/system.slice/crt-box.scope "$(sd run -b "$bundle" box)"
        no_scope
}

# Properties, which systemd keeps and writes again, also where this machine has no controllers for them.
test_update_tells_systemd() {
        scoped '.annotations = {"org.systemd.property.MemoryMax": "uint64 67108864", "org.systemd.property.TasksMax": "uint64 20",
                "org.systemd.property.MemoryLow": "uint64 4096"}' sleep 100
        sd create -b "$bundle" box
        equal "67108864 20 4096" "$(property MemoryMax) $(property TasksMax) $(property MemoryLow)"
        oci update --memory -1 --memory-reservation -1 box
        equal "infinity 20 0" "$(property MemoryMax) $(property TasksMax) $(property MemoryLow)"
        oci update --pids-limit -1 box
        systemctl daemon-reload
        equal "infinity infinity 0" "$(property MemoryMax) $(property TasksMax) $(property MemoryLow)"
        # What systemd refuses is said.
        fails env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/no/such/bus "${CRT_OCI:-crt-oci}" --root "$state" update --pids-limit -1 box
        contains "$output" "the scope crt-box.scope: No such file"
        oci delete --force box
        no_scope
        # It ends with the scope.
        sd create -b "$bundle" box
        equal 67108864 "$(property MemoryMax)"
        oci delete box
        no_scope
}

test_what_has_no_property_is_written() {
        grep -qw hugetlb /sys/fs/cgroup/cgroup.controllers || skip "no hugetlb controller"
        scoped '.linux.resources.hugepageLimits = [{pageSize: "2MB", limit: 4194304}]' cat /sys/fs/cgroup/hugetlb.2MB.max
        equal 4194304 "$(sd run -b "$bundle" box 2>&1)"
        no_scope
}

test_properties_by_annotation() {
        scoped '.annotations = {"org.systemd.property.Description": "'"'my own'"'", "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
                "org.systemd.property.Documentation": "['"'man:a(1)', 'man:b(2)'"']", "org.systemd.property.SendSIGHUP": "true"}' sleep 100
        sd create -b "$bundle" box
        equal "my own" "$(property Description)"
        equal 5s "$(property TimeoutStopUSec)"
        equal "man:a(1) man:b(2)" "$(property Documentation | tr -d \")"
        equal yes "$(property SendSIGHUP)"
        oci delete --force box
        no_scope
        # Only with this driver do they mean anything.
        inside '.annotations = {"org.systemd.property.Description": "nonsense"}' true
}

test_what_is_wrong_is_said() {
        local case
        for case in '.linux.cgroupsPath = "/absolute/path"|is not slice:prefix:name' '.linux.cgroupsPath = "a:b:c:d"|is not slice:prefix:name' \
                '.linux.cgroupsPath = "noslice:b:c"|is not the name of a slice' '.linux.cgroupsPath = "a--b.slice:b:c"|is not the name of a slice' \
                '.linux.cgroupsPath = "a.slice:b:x.slice"|is not the name of a scope' '.annotations = {"org.systemd.property.NoSuchThing": "5"}|Cannot set property NoSuchThing' \
                '.annotations = {"org.systemd.property.Description": "unquoted text"}|is not understood' '.annotations = {"org.systemd.property.a b": "5"}|names no property'; do
                scoped "${case%%|*}" true
                fails sd run -b "$bundle" box
                contains "$output" "${case#*|}"
                no_scope
        done
        scoped . true
        fails env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/no/such/bus "${CRT_OCI:-crt-oci}" --root "$state" --systemd-cgroup run -b "$bundle" box
        contains "$output" "--systemd-cgroup: the scope crt-box.scope: No such file"
        no_scope
}

test_a_failure_ends_the_scope() {
        scoped '.process.args = ["/no/such"]'
        fails sd run -b "$bundle" box
        contains "$output" "/no/such"
        no_scope
}

test_an_active_scope_is_not_taken_over() {
        systemd-run -q --scope --unit crt-box sleep 100 </dev/null >/dev/null 2>&1 &
        wait_for 5 systemctl is-active crt-box.scope
        scoped . true
        fails sd run -b "$bundle" box
        contains "$output" "crt-box.scope"
        systemctl is-active -q crt-box.scope
        systemctl stop crt-box.scope
        no_scope
}

run_tests
