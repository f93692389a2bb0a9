#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# CVE-2019-5736: a container that gets hold of the runtime's own file, and writes to it when it runs no more.
# crt-oci has two ways against that: its processes are apart from their file, or the file is on a read-only mount.
source "$(dirname "$0")/oci.sh"

binary=$(readlink -f "$(command -v "${CRT_OCI:-crt-oci}")")
has_entry() { grep -qF "this is not crt-oci" "$binary"; }
is_static() { [[ $(head -c 4096 "$binary" | tr -d '\0') != */ld-* ]]; }
needs_static() { is_static || skip "this build (a sanitizer's) needs libraries that the container does not have"; }
needs_apart() {
        has_entry || skip "this build has no code for that"
        python3 -c 'import ctypes, sys  # PR_SET_MM_MAP_SIZE
sys.exit(ctypes.CDLL(None).prctl(35, 15, ctypes.byref(ctypes.c_uint()), 0, 0) != 0)' || skip "this kernel has no PR_SET_MM_MAP"
}

# What a container could not change has not changed; if it has, it is put back for the other tests.
keep() { cp -a "$binary" "$scratch/before"; }
unchanged() {
        cmp -s "$binary" "$scratch/before" && return
        mv -f "$scratch/before" "$binary"
        fail "the container has written to $binary"
}

# The second way: where no file in memory can be executed (a pid namespace may say so for itself), if not anyway.
on_a_mount() {
        local holder
        has_entry || return 0
        unshare --pid --fork --mount-proc sleep 1000 &
        holder=$!
        wait_for 10 eval "pgrep -P $holder -x sleep"
        holder=$(pgrep -P "$holder" -x sleep)
        trap "kill -KILL $holder" EXIT
        nsenter -t "$holder" -p -m sh -c 'echo 2 >/proc/sys/vm/memfd_noexec' 2>/dev/null ||
                skip "this kernel has no vm.memfd_noexec"
        printf '#!/bin/sh\nexec nsenter -t %s -p -m -- %s "$@"\n' "$holder" "$binary" >"$scratch/on-a-mount"
        chmod +x "$scratch/on-a-mount"
        CRT_OCI=$scratch/on-a-mount
}

# Whoever may look at the process finds another file, which can't be written to either.
test_what_is_found_in_place_of_the_runtimes_file() {
        needs_apart
        keep
        bundle . true
        oci create -b "$bundle" box
        local pid
        pid=$(oci state box | jq .pid)
        equal "/memfd:crt-oci (deleted)" "$(readlink "/proc/$pid/exe")"
        equal "this is not crt-oci" "$(head -c 19 "/proc/$pid/exe")"
        fails sh -c "echo overwritten >/proc/$pid/exe"
        exec 7<"/proc/$pid/exe"
        fails "/proc/$pid/exe" --version
        contains "$output" "xec format error"
        # What the kernel knows of it otherwise is as it was.
        contains "$(tr '\0' ' ' <"/proc/$pid/cmdline")" "--root $state create -b $bundle box "
        equal "" "$(find "/proc/$pid/fd" -lname "*crt-oci*")"
        oci delete --force box
        fails sh -c 'echo overwritten >/proc/self/fd/7' 7<&7
        contains "$output" "not permitted"
        exec 7<&-
        unchanged
        nothing_left
}

# The runtime is executed in the container: as its program, by an interpreter line, and by exec.
test_a_container_can_not_execute_the_runtime() {
        needs_apart
        keep
        printf '#!/proc/self/exe\n' >"$rootfs/tmp/interpreted"
        chmod +x "$rootfs/tmp/interpreted"
        local program
        for program in /proc/self/exe /tmp/interpreted; do
                bundle '.process.noNewPrivileges = false' "$program"
                fails oci run -b "$bundle" box
                contains "$output" "xec format error"
                bundle '.process.noNewPrivileges = false' sleep 1000
                oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
                fails oci exec box "$program"
                contains "$output" "xec format error"
                oci delete --force box
        done
        rm "$rootfs/tmp/interpreted"
        unchanged
        nothing_left
}

# Standard descriptors that the caller has closed, no environment, and a name of its own.
test_unusual_callers() {
        needs_apart
        bundle . sh -c 'echo $0 here' box
        equal "box here" "$(oci run -b "$bundle" box)"
        equal "box here" "$(env -i "$binary" --root "$state" run -b "$bundle" box)"
        equal "box here" "$(oci run -b "$bundle" box <&- 2>&-)"
        bundle . true
        oci run -b "$bundle" box <&- >&- 2>&-
        (exec -a '' "$binary" --root "$state" create -b "$bundle" box)
        equal "/memfd:crt-oci (deleted)" "$(readlink "/proc/$(oci state box | jq .pid)/exe")"
        oci delete --force box
        nothing_left
}

test_the_file_on_a_mount_can_not_be_written() {
        on_a_mount
        bundle . true
        oci create -b "$bundle" box
        local pid
        pid=$(pgrep -f -- "create -b $bundle box")
        fails sh -c "exec 3<>/proc/$pid/exe"
        [[ $output == *"Read-only file system"* || $output == *"Text file busy"* ]] || fail "$output"
        python3 - "$pid" <<'END_OF_PROGRAM'
import os, sys
fd = os.open(f"/proc/{sys.argv[1]}/exe", os.O_RDONLY)
assert os.fstatvfs(fd).f_flag & os.ST_RDONLY, "the mount is writable"
END_OF_PROGRAM
        # Held open until nothing runs from it any more, it is still on its read-only mount.
        exec 7<"/proc/$pid/exe"
        oci delete --force box
        fails sh -c 'exec 3<>/proc/self/fd/7' 7<&7
        contains "$output" "Read-only file system"
        exec 7<&-
}

# What is executed is the runtime itself, by an interpreter line. There it waits (for a reader of its
# log), and so long that a process of the container gets hold of its file; when it runs no more, that is written to.
test_the_file_on_a_mount_can_not_be_written_when_it_was_executed() {
        needs_static
        on_a_mount
        keep
        printf '#!/proc/self/exe --log=/tmp/fifo\n' >"$rootfs/tmp/interpreted"
        chmod +x "$rootfs/tmp/interpreted"
        rm -f "$rootfs/tmp/fifo" "$rootfs/tmp/held"
        mkfifo "$rootfs/tmp/fifo"
        bundle '.process.noNewPrivileges = false' sh -c '
                while :; do
                        for process in /proc/[0-9]*; do
                                case $(readlink $process/exe) in
                                        ""|*/busybox) ;;
                                        *) exec 9<$process/exe && echo held && break 2 ;;
                                esac
                        done
                        sleep 0.02
                done 2>/dev/null
                echo >/tmp/held
                cat /tmp/fifo >/dev/null
                for i in 1 2 3 4 5 6 7 8 9 10; do
                        sleep 0.05
                        { echo overwritten >/proc/self/fd/9; } && echo written
                done
                echo >/tmp/tried
                sleep 1000'
        oci run --detach -b "$bundle" box </dev/null >"$scratch/init-output" 2>&1
        oci exec box /tmp/interpreted >/dev/null 2>&1 &
        local pid=$!
        wait_for 10 test -e "$rootfs/tmp/held"
        wait "$pid" || true
        wait_for 10 test -e "$rootfs/tmp/tried"
        unchanged
        contains "$(cat "$scratch/init-output")" held
        equal "" "$(grep written "$scratch/init-output" || true)"
        oci delete --force box
        nothing_left
        rm "$rootfs"/tmp/{interpreted,fifo,held,tried}
}

# The same while the runtime is still there: nobody may make the mount of its file writable again, by no name of it.
test_the_mount_can_not_be_changed() {
        needs_static
        on_a_mount
        cat >"$scratch/hook" <<'END'
#!/usr/bin/python3
import ctypes, json, os, struct, sys, time
libc, pid = ctypes.CDLL(None, use_errno=True), json.load(sys.stdin)["pid"]
while b"--log=/tmp/fifo" not in open(f"/proc/{pid}/cmdline", "rb").read():  # init has become the program
    time.sleep(0.01)
program = os.open(f"/proc/{pid}/exe", os.O_PATH)
clear_read_only = struct.pack("QQQQ", 0, 1, 0, 0)
result = libc.syscall(442, program, b"", 0x1000, clear_read_only, 32)  # mount_setattr(2), AT_EMPTY_PATH
with open(sys.argv[1], "w") as file:
    file.write(f"{os.fstat(program).st_ino == os.stat(sys.argv[2]).st_ino} {result} {ctypes.get_errno()}")
END
        chmod +x "$scratch/hook"
        mkfifo "$rootfs/tmp/fifo"
        bundle '.process.noNewPrivileges = false |
                .hooks.poststart = [{path: "'"$scratch/hook"'", args: ["hook", "'"$scratch/changed"'", "'"$binary"'"]}]' \
                /proc/self/exe --log=/tmp/fifo state x
        oci run --bundle "$bundle" --detach box </dev/null >/dev/null 2>&1
        equal "True -1 22" "$(cat "$scratch/changed")"
        oci delete --force box
        rm "$rootfs/tmp/fifo"
}

run_tests
