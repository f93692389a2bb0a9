#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The operations of the runtime specification, and the command line that other programs call.
source "$(dirname "$0")/oci.sh"

status_of() { oci state "$1" | jq -r .status; }
is_status() { [[ $(status_of "$1") == "$2" ]]; }

test_create_start_kill_delete() {
        bundle . sleep 100
        oci create -b "$bundle" --pid-file "$scratch/pid" box
        equal created "$(status_of box)"
        equal "$(cat "$scratch/pid")" "$(oci state box | jq .pid)"
        equal crt-oci "$(tr '\0' '\n' <"/proc/$(cat "$scratch/pid")/cmdline" | head -n 1 | xargs basename)"
        oci start box
        equal running "$(status_of box)"
        equal sleep "$(tr '\0' '\n' <"/proc/$(cat "$scratch/pid")/cmdline" | head -n 1)"
        oci kill box KILL
        wait_for 5 is_status box stopped
        oci delete box
        nothing_left
}

test_state_is_as_the_specification_says() {
        bundle '.annotations = {"org.example.key": "value"}' sleep 100
        oci create -b "$bundle" box
        local state_json
        state_json=$(oci state box)
        equal '["1.0.2","box","created","value"]' \
                "$(jq -c '[.ociVersion, .id, .status, .annotations["org.example.key"]]' <<<"$state_json")"
        equal "$(readlink -f "$bundle")" "$(jq -r .bundle <<<"$state_json")"
        oci delete --force box
}

test_operations_out_of_order_are_refused() {
        bundle . sleep 100
        fails oci start box; contains "$output" "does not exist"
        fails oci kill box; contains "$output" "does not exist"
        fails oci delete box; contains "$output" "does not exist"
        oci delete --force box
        oci create -b "$bundle" box
        fails oci create -b "$bundle" box; contains "$output" "exists already"
        oci start box
        fails oci start box; contains "$output" "is running, not created"
        fails oci delete box; contains "$output" "is running; stop it first"
        oci kill box 9
        wait_for 5 is_status box stopped
        fails oci kill box; contains "$output" "is not running"
        fails oci start box; contains "$output" "is stopped, not created"
        oci delete box
        nothing_left
}

# As callers of runc count on it.
test_what_was_created_only_is_deleted_without_force() {
        local hook=$scratch/deleted
        bundle '.hooks = {poststop: [{path: "/bin/touch", args: ["touch", "'"$hook"'"]}]}' sleep 100
        oci create -b "$bundle" box
        oci delete box
        [[ -e $hook ]]
        nothing_left
}

test_run_gives_the_exit_status() {
        bundle . sh -c 'exit 7'
        oci run -b "$bundle" box && status=0 || status=$?
        equal 7 "$status"
        bundle . sh -c 'sh -c "kill -9 \$\$"; exit $?'
        oci run -b "$bundle" box && status=0 || status=$?
        equal 137 "$status"
        nothing_left
}

test_run_forwards_signals() {
        bundle . sh -c 'trap "exit 5" TERM; echo ready; while :; do sleep 0.05; done'
        oci run -b "$bundle" box >"$scratch/out" &
        local pid=$! status=0
        wait_for 5 grep -q ready "$scratch/out"
        kill -TERM "$(pgrep -P $pid -f crt-oci || echo $pid)"
        wait $pid || status=$?
        equal 5 "$status"
        nothing_left
}

test_run_leaves_a_successor_of_its_name_alone() {
        bundle . sh -c 'echo ready; sleep 100'
        "${CRT_OCI:-crt-oci}" --root "$state" run -b "$bundle" box >"$scratch/out" &
        local first=$!
        wait_for 5 grep -q ready "$scratch/out"
        kill -STOP "$first"
        oci delete --force box
        oci run --detach -b "$bundle" box >/dev/null
        kill -CONT "$first"
        wait "$first" || true
        equal running "$(status_of box)"
        oci delete --force box
        nothing_left
}

test_run_detached_and_kept() {
        bundle . sh -c 'sleep 100'
        oci run --detach -b "$bundle" box
        equal running "$(status_of box)"
        oci delete --force box
        bundle . true
        oci run --keep -b "$bundle" box
        equal stopped "$(status_of box)"
        oci delete box
        nothing_left
}

test_a_program_that_can_not_be_executed_is_reported_by_start() {
        printf 'no program' >"$rootfs/tmp/garbage"
        chmod +x "$rootfs/tmp/garbage"
        bundle . /tmp/garbage
        oci create -b "$bundle" box
        fails oci start box
        contains "$output" "config.process.args[0]: /tmp/garbage: Exec format error"
        wait_for 5 is_status box stopped
        oci delete box
        fails oci run -b "$bundle" box
        contains "$output" "Exec format error"
        rm "$rootfs/tmp/garbage"
        nothing_left
}

test_kill_all_reaches_every_process() {
        bundle 'del(.linux.namespaces[] | select(.type == "pid"))' sh -c 'sleep 100 & sleep 100 & echo ready; wait'
        oci run --detach -b "$bundle" box >"$scratch/out"
        wait_for 5 grep -q ready "$scratch/out"
        equal 3 "$(wc -l </sys/fs/cgroup/crt-test-oci/box/cgroup.procs)"
        oci kill --all box KILL
        wait_for 5 grep -q 'populated 0' /sys/fs/cgroup/crt-test-oci/box/cgroup.events
        oci delete box
        nothing_left
}

test_delete_takes_processes_that_init_left_behind() {
        bundle 'del(.linux.namespaces[] | select(.type == "pid"))' sh -c 'sleep 100 >/dev/null 2>&1 & exit 0'
        oci run -b "$bundle" box
        nothing_left
}

test_pid_numbers_of_others_are_not_mistaken_for_init() {
        bundle . sleep 100
        oci run --detach -b "$bundle" box
        jq -c '.startTime += 1' "$state/box/state.json" >"$scratch/changed"
        cp "$scratch/changed" "$state/box/state.json"
        equal stopped "$(status_of box)"
        fails oci kill box KILL
        oci delete --force box
        nothing_left
}

test_errors_are_logged_as_callers_of_runc_read_them() {
        bundle '.process.cwd = "relative"'
        fails oci --log "$scratch/log.json" --log-format json create -b "$bundle" box
        equal '["error","config.process.cwd: must be an absolute path"]' \
                "$(jq -c '[.level, .msg]' "$scratch/log.json")"
        fails oci --log "$scratch/log.text" create -b "$bundle" box
        contains "$(cat "$scratch/log.text")" 'level=error msg="config.process.cwd'
}

test_command_lines_that_are_not_understood() {
        bundle .
        fails oci frobnicate box; contains "$output" "'frobnicate' is not known"
        fails oci create --frobnicate box; contains "$output" "--frobnicate is not known"
        fails oci create; contains "$output" "needs a container's name"
        fails oci create -b "$bundle" a b; contains "$output" "one argument too many"
        fails oci create -b "$bundle" ../box; contains "$output" "is not a container's name"
        fails oci create -b "$bundle" .hidden; contains "$output" "is not a container's name"
        fails oci --systemd-cgroup create -b "$bundle" box; contains "$output" "--systemd-cgroup"
        fails oci kill box SIGNONSENSE; contains "$output" "'SIGNONSENSE' is not a signal"
        fails oci create -b /no/such/bundle box; contains "$output" "/no/such/bundle"
        contains "$(oci --help)" "crt-oci [GLOBAL OPTIONS] COMMAND"
        contains "$(oci --version)" "crt-oci version"
}

test_descriptors_are_handed_on() {
        echo "through 3" >"$scratch/three"
        bundle . sh -c 'cat <&3; ls /proc/self/fd | wc -w'
        output=$(oci run --preserve-fds 1 -b "$bundle" box 3<"$scratch/three" 4</dev/null)
        contains "$output" "through 3"
        # 0, 1, 2, 3 and the one by which ls reads the directory.
        contains "$output" $'\n5'
        fails oci run --preserve-fds 500 -b "$bundle" box
        contains "$output" "which is to be handed on"
        nothing_left
}

test_terminal_goes_to_the_console_socket() {
        bundle '.process.terminal = true | .process.consoleSize = {height: 33, width: 99} | .process.user.uid = 7' \
                sh -c 'stty size; tty; stat -c %t:%T:%u /dev/console; echo to the terminal >/dev/tty'
        cat >"$scratch/receive.py" <<'END'
import array, os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
connection = listener.accept()[0]
data, ancillary = connection.recvmsg(100, socket.CMSG_SPACE(4))[:2]
terminal = array.array("i", ancillary[0][2])[0]
while True:
    try:
        print(os.read(terminal, 4096).decode(), end="")
    except OSError:
        break
END
        python3 "$scratch/receive.py" "$scratch/console" >"$scratch/out" &
        wait_for 5 test -S "$scratch/console"
        oci run --console-socket "$scratch/console" -b "$bundle" box
        wait $!
        output=$(tr -d '\r' <"$scratch/out")
        equal $'33 99\n/dev/pts/0\n88:0:7\nto the terminal' "$output"
        fails oci create -b "$bundle" box
        contains "$output" "needs a --console-socket"
        fails oci run --detach -b "$bundle" box
        contains "$output" "needs a --console-socket"
        nothing_left
}

test_run_in_the_foreground_is_on_the_callers_terminal() {
        bundle '.process.terminal = true' sh -c 'stty size; read line; echo "got $line"; head -c 100000 /dev/zero | tr "\\0" x; exit 3'
        cat >"$scratch/foreground.py" <<'END'
import fcntl, os, pty, struct, sys, termios
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 123, 0, 0))
    os.execvp(sys.argv[1], sys.argv[1:])
os.write(master, b"hello\n")
seen = b""
while True:
    try:
        seen += os.read(master, 65536)
    except OSError:
        break
status = os.waitstatus_to_exitcode(os.wait()[1])
print(seen.replace(b"\r", b"").replace(b"x" * 100000, b"all").decode(), end="")
print("status", status)
END
        output=$(python3 "$scratch/foreground.py" "${CRT_OCI:-crt-oci}" --root "$state" run -b "$bundle" box)
        contains "$output" "41 123"
        contains "$output" $'got hello\nallstatus 3'
        nothing_left
}

test_cgroups_deeper_than_the_limit_of_descriptors() {
        bundle . sleep 100
        oci create -b "$bundle" box </dev/null >/dev/null 2>&1
        python3 -c '
import os
os.chdir("/sys/fs/cgroup/crt-test-oci/box")
for i in range(100):
    os.mkdir("d")
    os.chdir("d")'
        ( ulimit -Sn 40; oci delete --force box )
        nothing_left
}

test_two_creations_of_one_name_make_one_container() {
        bundle . sleep 100
        local made=0 i pids=()
        for i in 1 2 3 4; do oci create -b "$bundle" box 2>/dev/null & pids+=($!); done
        for i in "${pids[@]}"; do if wait "$i"; then made=$((made + 1)); fi; done
        equal 1 "$made"
        equal created "$(status_of box)"
        oci delete --force box
        nothing_left
}

run_tests
