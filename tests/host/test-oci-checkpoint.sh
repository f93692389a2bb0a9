#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# checkpoint and restore, where criu and the kernel get on with each other; a clear error where not.
source "$(dirname "$0")/oci.sh"

works() { criu check >/dev/null 2>&1; }

count() { sed -n '$p' "$scratch/out" 2>/dev/null; }

# A program that counts, and whose every descriptor is the container's own.
start_counting() {
        bundle '.mounts |= map(select(.destination != "/dev/mqueue")) | del(.linux.namespaces[] | select(.type == "network"))' \
                sh -c 'exec <>/dev/null >/tmp/count 2>&1; i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done'
        rm -f "$rootfs/tmp/count"
        oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        wait_for 5 eval '[[ $(tail -n 1 "$rootfs/tmp/count") -ge 3 ]]'
}

test_what_is_saved_goes_on_where_it_was() {
        works || skip "criu does not work with this kernel: $(criu check 2>&1 | head -n 1)"
        start_counting
        oci checkpoint --image-path "$scratch/images" box
        fails oci state box
        local before
        before=$(tail -n 1 "$rootfs/tmp/count")
        oci restore --detach --image-path "$scratch/images" -b "$bundle" box </dev/null >/dev/null 2>&1
        equal running "$(oci state box | jq -r .status)"
        wait_for 10 eval "[[ \$(tail -n 1 '$rootfs/tmp/count') -gt $((before + 3)) ]]"
        equal hello "$(oci exec box echo hello)"
        grep -qx "$(oci state box | jq .pid)" /sys/fs/cgroup/crt-test-oci/box/cgroup.procs
        oci delete --force box
        nothing_left
}

# What stands in for criu makes a sibling, as criu would (clone3(2) with CLONE_PARENT), and no container.
test_after_a_restore_the_runtime_is_where_it_was() {
        cat >"$scratch/criu" <<END
#!/usr/bin/python3
import ctypes, os, sys
with open("$scratch/of-criu", "w") as file:
    file.write(os.readlink("/proc/self/ns/mnt"))
path = next(word.partition("=")[2] for word in sys.argv if word.startswith("--pidfile="))
pid = ctypes.CDLL(None).syscall(435, (ctypes.c_uint64 * 8)(0x8000), 64)
if pid == 0:
    os.execvp("sleep", ["sleep", "1"])
with open(path, "w") as file:
    print(pid, file=file)
END
        printf '#!/bin/sh\nreadlink /proc/self/ns/mnt >%s\n' "$scratch/of-hook" >"$scratch/hook"
        chmod +x "$scratch/criu" "$scratch/hook"
        mkdir -p "$scratch/images3"
        echo '[]' >"$scratch/images3/descriptors.json"
        bundle '.hooks = {poststop: [{path: "'"$scratch"'/hook"}]}' true
        output=$(oci --criu "$scratch/criu" restore --image-path "$scratch/images3" -b "$bundle" box 2>&1) || true
        [[ -s $scratch/of-hook ]] || fail "$output"
        equal "$(readlink /proc/self/ns/mnt)" "$(cat "$scratch/of-hook")"
        [[ $(cat "$scratch/of-criu") != "$(cat "$scratch/of-hook")" ]]
        nothing_left
}

test_it_can_be_left_running() {
        works || skip "criu does not work with this kernel: $(criu check 2>&1 | head -n 1)"
        start_counting
        oci checkpoint --leave-running --image-path "$scratch/images2" box
        equal running "$(oci state box | jq -r .status)"
        [[ -s $scratch/images2/inventory.img ]]
        oci delete --force box
        nothing_left
}

test_a_machine_that_can_not_says_why() {
        ! works || skip "criu works here"
        start_counting
        fails oci checkpoint --image-path "$scratch/images3" box
        contains "$output" "container 'box': criu: "
        equal running "$(oci state box | jq -r .status)"
        mkdir -p "$scratch/images4"
        echo '["/dev/null","/dev/null","/dev/null"]' >"$scratch/images4/descriptors.json"
        fails oci restore --image-path "$scratch/images4" -b "$bundle" other
        contains "$output" "container 'other': "
        oci delete --force box
        nothing_left
}

test_what_can_not_be_saved_or_found_is_refused() {
        bundle . sleep 100
        fails oci checkpoint box; contains "$output" "does not exist"
        oci create -b "$bundle" box
        fails oci checkpoint box; contains "$output" "is created, not running"
        oci start box
        fails oci --criu no-such-program checkpoint box; contains "$output" "no-such-program, which is not installed"
        fails oci checkpoint --manage-cgroups-mode odd --image-path "$scratch/images5" box; contains "$output" "'odd' is not soft"
        fails oci checkpoint --empty-ns odd --image-path "$scratch/images5" box; contains "$output" "--empty-ns: 'odd'"
        fails oci checkpoint --page-server odd --image-path "$scratch/images5" box; contains "$output" "is not ADDRESS:PORT"
        equal running "$(oci state box | jq -r .status)"
        oci delete --force box
        fails oci restore --image-path "$scratch/images6" -b "$bundle" box
        contains "$output" "descriptors.json"
        nothing_left
}

run_tests
