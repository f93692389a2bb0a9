#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# checkpoint and restore with what stands in for criu, and a clear error where criu and the kernel do not get on with each other.
# With both as they should be: tests/vm/test-cloud-oci.sh.
source "$(dirname "$0")/oci.sh"

# What stands in for criu is asked as criu is, and makes a sibling (clone3(2) with CLONE_PARENT), which is no container.
stand_in() {
        cat >"$scratch/criu" <<END
#!/usr/bin/python3
import array, ctypes, os, signal, socket, sys
assert sys.argv[1:] == ["swrk", "3"], sys.argv
channel = socket.socket(fileno=3)
with open("$scratch/request", "wb") as file:
    file.write(channel.recv(65536))
with open("$scratch/of-criu", "w") as file:
    file.write(os.readlink("/proc/self/ns/mnt"))
def number(n):
    return bytes([n & 127 | 128]) + number(n >> 7) if n > 127 else bytes([n])
def tell(script, fds=()):
    said = bytes([10, len(script)]) + script + b"\\x10" + number(pid)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([b"\\x08\\x06\\x10\\x01\\x2a" + bytes([len(said)]) + said], rights)
    return channel.recv(100) == b"\\x08\\x06\\x18\\x01"
master, slave = os.openpty() if "$1" == "terminal" else (-1, -1)
pid = ctypes.CDLL(None).syscall(435, (ctypes.c_uint64 * 8)(0x8000), 64)
if pid == 0:
    for fd in range(3) if slave >= 0 else []:
        os.dup2(slave, fd)
    channel.close()
    os.execvp("sh", ["sh", "-c", "echo from the restored; exec sleep ${2:-1}"])
good = tell(b"setup-namespaces") and (master < 0 or tell(b"orphan-pts-master", [master]))
if not good:
    os.kill(pid, signal.SIGKILL)
    channel.send(b"\\x08\\x02\\x10\\x00")
    sys.exit(1)
answer = b"\\x08" + number(pid)
channel.send(b"\\x08\\x02\\x10\\x01\\x22" + bytes([len(answer)]) + answer)
END
        chmod +x "$scratch/criu"
        mkdir -p "$scratch/images3"
        echo '[]' >"$scratch/images3/descriptors.json"
}

restore() { oci --criu "$scratch/criu" restore --image-path "$scratch/images3" -b "$bundle" "$@"; }

test_after_a_restore_the_runtime_is_where_it_was() {
        stand_in none
        printf '#!/bin/sh\nreadlink /proc/self/ns/mnt >%s\n' "$scratch/of-hook" >"$scratch/hook"
        chmod +x "$scratch/hook"
        bundle '.hooks = {poststop: [{path: "'"$scratch"'/hook"}]}' true
        output=$(restore box 2>&1) || true
        [[ -s $scratch/of-hook ]] || fail "$output"
        equal "$(readlink /proc/self/ns/mnt)" "$(cat "$scratch/of-hook")"
        [[ $(cat "$scratch/of-criu") != "$(cat "$scratch/of-hook")" ]]
        contains "$(tr -c '[:print:]' ' ' <"$scratch/request")" "$bundle/rootfs"
        nothing_left
}

test_hooks_of_a_restore() {
        stand_in none 1000
        cat >"$scratch/hook" <<END
#!/bin/sh
exec >>$scratch/hooks
echo "\$1 \$(readlink /proc/self/ns/mnt) \$(jq -r '"\\(.status) \\(.pid)"')"
exit \$2
END
        chmod +x "$scratch/hook"
        rm -f "$scratch/hooks"
        local hooks='def hook(n; s): {path: "'"$scratch"'/hook", args: ["hook", n, s], env: ["PATH=/usr/bin:/bin"]}; .hooks = '
        bundle "$hooks"'{prestart: [hook("prestart"; "0")], createRuntime: [hook("createRuntime"; "0")], poststop: [hook("poststop"; "0")]} | .linux.intelRdt = {closID: "x"}' true
        restore --detach box </dev/null >/dev/null 2>"$scratch/warning"
        contains "$(<"$scratch/warning")" "config.linux.intelRdt: what is restored is in no class of its own"
        local pid host
        pid=$(oci state box | jq .pid) host=$(readlink /proc/self/ns/mnt)
        # It is in no class of resctrl that could be removed with it.
        equal false "$(jq .resctrl "$state/box/state.json")"
        equal "prestart $host creating $pid"$'\n'"createRuntime $host creating $pid" "$(cat "$scratch/hooks")"
        oci delete --force box
        equal "poststop $host stopped null" "$(tail -n 1 "$scratch/hooks")"
        nothing_left
        # One that fails ends it, and what was made before ends, too.
        bundle "$hooks"'{createRuntime: [hook("createRuntime"; "3")], poststop: [hook("after"; "0")]}' true
        fails restore --detach box
        contains "$output" "config.hooks.createRuntime[0]: $scratch/hook: ended with status 3"
        contains "$(tail -n 1 "$scratch/hooks")" after
        nothing_left
}

# Which is held until criu is in it: systemd ends an empty one.
test_a_restore_into_a_scope() {
        [[ -d /run/systemd/system ]] || skip "systemd is not here"
        stand_in none 1000
        mkfifo "$scratch/gate"
        # Its mount goes with the server.
        python3 -B "$test_directory/fuse_server.py" "$scratch/images3" descriptors.json '[]' "$scratch/gate" &
        local server=$!
        wait_for 10 mountpoint "$scratch/images3"
        bundle '.linux.cgroupsPath = "system.slice:crt:box"' true
        oci --criu "$scratch/criu" --systemd-cgroup restore --detach --image-path "$scratch/images3" -b "$bundle" box </dev/null >/dev/null 2>&1 &
        local runtime=$!
        # Opened when the runtime reads it, which is before it starts criu.
        wait_for 20 test -e "$scratch/gate.reached"
        exec 9>"$scratch/gate"
        [[ -n $(cat /sys/fs/cgroup/system.slice/crt-box.scope/cgroup.procs) ]] || fail "the scope is empty"
        exec 9>&-
        wait "$runtime"
        kill -9 "$server"
        umount -l "$scratch/images3"
        equal "0::/system.slice/crt-box.scope" "$(grep ^0: "/proc/$(oci state box | jq .pid)/cgroup")"
        equal active "$(systemctl show -P ActiveState crt-box.scope)"
        oci delete --force box
        nothing_left
}

test_the_terminal_of_a_restore() {
        stand_in terminal 1
        bundle '.process.terminal = true' true
        fails restore --detach box
        contains "$output" "needs a --console-socket"
        contains "$(restore box 2>&1)" "from the restored"
        nothing_left
        cat >"$scratch/receive.py" <<'END'
import array, os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
connection = listener.accept()[0]
ancillary = connection.recvmsg(100, socket.CMSG_SPACE(4))[1]
print(os.read(array.array("i", ancillary[0][2])[0], 100).decode())
END
        python3 "$scratch/receive.py" "$scratch/console" >"$scratch/out" 2>&1 </dev/null &
        wait_for 20 test -S "$scratch/console"
        restore --detach --console-socket "$scratch/console" box </dev/null >/dev/null 2>&1
        wait_for 20 grep -q "from the restored" "$scratch/out"
        wait
        oci delete --force box
        bundle . true
        fails restore --detach box
        contains "$output" "a terminal that the configuration does not have"
        nothing_left
}

test_a_machine_that_can_not_says_why() {
        local criu=criu
        if criu check >/dev/null 2>&1; then
                criu=$scratch/criu
                printf '#!/bin/sh\nexit 1\n' >"$criu"
                chmod +x "$criu"
        fi
        bundle . sleep 1000
        oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        fails oci --criu "$criu" checkpoint --image-path "$scratch/images3" box
        contains "$output" "container 'box': criu: "
        equal running "$(oci state box | jq -r .status)"
        mkdir -p "$scratch/images4"
        echo '["/dev/null","/dev/null","/dev/null"]' >"$scratch/images4/descriptors.json"
        fails oci --criu "$criu" restore --image-path "$scratch/images4" -b "$bundle" other
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
        mkdir -p "$scratch/images6"
        mkfifo "$scratch/images6/descriptors.json"
        fails timeout 60 "${CRT_OCI:-crt-oci}" --root "$state" restore --image-path "$scratch/images6" -b "$bundle" box
        contains "$output" "descriptors.json: is not a regular file"
        nothing_left
}

run_tests
