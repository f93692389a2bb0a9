# SPDX-License-Identifier: LGPL-2.1-or-later
# What the tests of crt-oci below containerd share: a containerd of their own, and ctr.
source "$(dirname "${BASH_SOURCE[0]}")/oci.sh"

runtime=$(command -v "${CRT_OCI:-crt-oci}")
address=$scratch/containerd.sock
resources={}

start_containerd() {
        [[ -S $address ]] && return
        cat >"$scratch/config.toml" <<END
version = 2
root = "$scratch/containerd-root"
state = "$scratch/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "$address"
[ttrpc]
  address = "$address.ttrpc"
END
        containerd --config "$scratch/config.toml" >"$scratch/containerd.log" 2>&1 </dev/null &
        echo $! >"$scratch/containerd.pid"
        wait_for 20 ctr --address "$address" version
}

control() { ctr --address "$address" --namespace test "$@"; }

# said COMMAND…: what came out of it. ctr gives up the pipes of what has ended before it could open them.
said() {
        local try text
        for try in {1..10}; do
                text=$("$@") || return
                [[ -z $text ]] || break
        done
        echo "$text"
}

# The configuration is this test's own: ctr's asks for a CPU weight, for which not every host has a controller.
# ctr sets no limits on top of it: they are in $resources.
run_it() {
        local id=$1
        shift
        bundle ".linux.resources += $resources | .root.path = \"$rootfs\" | .linux.cgroupsPath = \"/crt-test-oci/$id\"" "$@"
        control run "${options[@]}" --runc-binary "$runtime" --config "$bundle/config.json" "$id"
}

cleanup() {
        local id
        for id in $(control tasks list --quiet 2>/dev/null); do
                control tasks kill --signal KILL "$id" >/dev/null 2>&1
                control tasks delete --force "$id" >/dev/null 2>&1
        done
        if [[ -e $scratch/containerd.pid ]]; then
                kill "$(cat "$scratch/containerd.pid")" 2>/dev/null
                wait_for 5 eval '! kill -0 "$(cat "$scratch/containerd.pid")" 2>/dev/null'
        fi
        umount -R "$scratch/containerd-state" 2>/dev/null
        oci_cleanup
}

is_state() { [[ -n $(control tasks list | grep "^$1 .*$2") ]]; }
