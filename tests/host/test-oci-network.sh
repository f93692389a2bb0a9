#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Network interfaces that move into a container, in a network namespace that stands for the host's.
# host: --network private
source "$(dirname "$0")/oci.sh"

# A host with these interfaces: every case runs in a network namespace of its own.
if [[ -z ${IN_OWN_NETWORK:-} ]]; then
        rm -rf "$scratch"
        IN_OWN_NETWORK=1 exec unshare --net "$0"
fi

make_interface() {
        ip link add "$1" type ifb
        ip address add 192.0.2.7/24 dev "$1"
        ip -6 address add 2001:db8::7/64 dev "$1" nodad
        ip link set "$1" up
}

gone() { ! ip link show "$1" >/dev/null 2>&1; }

test_an_interface_moves_with_its_addresses() {
        make_interface outer
        inside '.linux.netDevices = {outer: {name: "inner"}}' ip address show inner || fail "$output"
        contains "$output" "192.0.2.7/24"
        contains "$output" "2001:db8::7/64"
        contains "$output" ",UP"
        equal 1 "$(grep -c 'inet6' <<<"$(grep -v fe80 <<<"$output")")"
        gone outer
}

test_names() {
        make_interface outer
        inside '.linux.netDevices = {outer: {}}' ip link show outer || fail "$output"
        make_interface one
        ip link add two type ifb
        inside '.linux.netDevices = {one: {name: "eth%d"}, two: {name: "eth%d"}}' ip -o link show || fail "$output"
        contains "$output" "eth0:"
        contains "$output" "eth1:"
}

test_into_a_user_namespace() {
        make_interface outer
        inside '.linux.netDevices = {outer: {}} | .linux.namespaces += [{type: "user"}]
                | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings' \
                ip address show outer || fail "$output"
        contains "$output" "192.0.2.7/24"
}

test_into_a_namespace_that_is_joined() {
        make_interface outer
        unshare --net sleep 100 </dev/null >/dev/null 2>&1 &
        local sleeper=$!
        wait_for 5 eval '[[ $(readlink /proc/'$sleeper'/ns/net) != "$(readlink /proc/self/ns/net)" ]]'
        # Its number is taken there.
        nsenter --net=/proc/$sleeper/ns/net ip link add taken index "$(cat /sys/class/net/outer/ifindex 2>/dev/null || ip -o link show outer | cut -d: -f1)" type ifb
        inside '(.linux.namespaces[] | select(.type == "network")).path = "/proc/'$sleeper'/ns/net" | .linux.netDevices = {outer: {name: "moved"}}' \
                ip address show moved || fail "$output"
        kill -9 $sleeper
        contains "$output" "192.0.2.7/24"
}

test_what_can_not_move() {
        make_interface outer
        refused '.linux.netDevices = {absent: {}}' "config.linux.netDevices.absent: No such device"
        refused '.linux.netDevices = {outer: {name: "lo"}}' "config.linux.netDevices.outer: moving it to lo: File exists"
        # Back as it was, also when it is another step that fails.
        refused '.linux.netDevices = {outer: {name: "inner%d"}} | .process.args = ["/no/such"]' "/no/such"
        contains "$(ip address show outer)" "192.0.2.7/24"
        contains "$(ip address show outer)" "2001:db8::7/64"
        refused '.linux.netDevices = {outer: {}} | del(.linux.namespaces[] | select(.type == "network"))' \
                "config.linux.netDevices: needs a network namespace"
}

run_tests
