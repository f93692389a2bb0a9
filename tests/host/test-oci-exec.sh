#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# exec: one more process in a container that runs.
source "$(dirname "$0")/oci.sh"

# up JQ_FILTER [ARGUMENT…]: a container that runs; it sleeps unless told.
up() {
        local filter=$1
        shift
        (( $# )) || set -- sleep 1000
        oci delete --force box
        bundle "$filter" "$@"
        oci run --detach -b "$bundle" box >"$scratch/init-output" 2>&1
}

down() {
        oci delete --force box
        nothing_left
}

test_output_input_and_exit_status() {
        up .
        equal "hello" "$(oci exec box echo hello)"
        equal "through stdin" "$(echo "through stdin" | oci exec box cat)"
        local status=0
        oci exec box sh -c 'exit 7' || status=$?
        equal 7 "$status"
        status=0
        oci exec box sh -c 'kill -9 $$' || status=$?
        equal 137 "$status"
        equal "-x --tty -- a" "$(oci exec box echo -x --tty -- a)"
        down
}

test_what_can_not_be_executed_is_status_255() {
        up .
        local status=0
        output=$(oci exec box no-such-program 2>&1) || status=$?
        equal 255 "$status"
        contains "$output" "executable file not found in \$PATH"
        status=0
        output=$(oci exec box /etc 2>&1) || status=$?
        equal 255 "$status"
        contains "$output" "Is a directory"
        fails oci exec none true
        contains "$output" "container 'none' does not exist"
        down
}

test_every_namespace_is_that_of_init() {
        up '.linux.namespaces += [{"type": "time"}]'
        local pid name
        pid=$(oci state box | jq .pid)
        for name in cgroup ipc mnt net pid time uts; do
                equal "$(readlink "/proc/$pid/ns/$name")" "$(oci exec box readlink "/proc/self/ns/$name")"
                [[ $(readlink "/proc/$pid/ns/$name") != "$(readlink "/proc/self/ns/$name")" ]]
        done
        down
}

test_user_namespaces_are_joined_too() {
        up '.linux.namespaces += [{"type": "user"}] | .process.capabilities = {} |
            .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 1000}] |
            .linux.gidMappings = [{"containerID": 0, "hostID": 100000, "size": 1000}]'
        equal "uid=0 gid=0" "$(oci exec box id)"
        equal "uid=5 gid=6 groups=7" "$(oci exec --user 5:6 --additional-gids 7 box id)"
        oci exec --detach --pid-file "$scratch/pid" box sleep 100
        equal 100000 "$(stat -c %u "/proc/$(cat "$scratch/pid")")"
        fails oci exec --user 2000 box id
        down
}

test_options_change_the_process() {
        up '.process.env += ["OLD=1", "KEPT=2"] | .process.noNewPrivileges = false'
        equal "/tmp" "$(oci exec --cwd /tmp box pwd)"
        equal "uid=5 gid=0" "$(oci exec --user 5 box id)"
        equal "uid=5 gid=6 groups=7,8" "$(oci exec -u 5:6 -g 7 -g 8 box id)"
        equal "3 2 4" "$(oci exec --env OLD=3 -e NEW=4 box sh -c 'echo $OLD $KEPT $NEW')"
        equal $'NoNewPrivs:\t0' "$(oci exec box grep NoNewPrivs /proc/self/status)"
        equal $'NoNewPrivs:\t1' "$(oci exec --no-new-privs box grep NoNewPrivs /proc/self/status)"
        fails oci exec --cwd relative box true
        fails oci exec --env NOTHING box true
        fails oci exec --cwd /nowhere box true
        contains "$output" "/nowhere"
        down
}

test_a_process_as_json() {
        up '.process.rlimits = [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}]'
        cat >"$scratch/process.json" <<'END'
{ "args": ["sh", "-c", "id; pwd; ulimit -n; echo $X; cat /proc/self/oom_score_adj; umask"], "cwd": "/tmp", "env": ["PATH=/bin", "X=x"],
  "user": { "uid": 3, "gid": 4, "additionalGids": [5], "umask": 23 }, "oomScoreAdj": 77,
  "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 100 }] }
END
        equal $'uid=3 gid=4 groups=5\n/tmp\n99\nx\n77\n0027' "$(oci exec --process "$scratch/process.json" box)"
        echo '{ "args": [], "cwd": "/" }' >"$scratch/process.json"
        fails oci exec --process "$scratch/process.json" box
        contains "$output" "args: names no program"
        fails oci exec --process "$scratch/none" box
        fails oci exec --process "$scratch/process.json" box true
        contains "$output" "exclude one another"
        down
}

test_limits_and_seccomp_of_the_configuration_hold() {
        up '.process.rlimits = [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}] |
            .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW",
                              syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 5}]}'
        equal 50 "$(oci exec box sh -c 'ulimit -n')"
        fails oci exec box mkdir /tmp/directory
        contains "$output" "Input/output error"
        down
}

test_capabilities_are_added_but_not_inherited() {
        up '.process.capabilities = {bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"]}'
        local status
        status=$(oci exec --cap CAP_CHOWN --cap net_raw box cat /proc/self/status)
        contains "$status" $'CapEff:\t0000000000002021'
        contains "$status" $'CapBnd:\t0000000000002021'
        # CVE-2022-29162: what it executes as another user gets none of them.
        contains "$status" $'CapInh:\t0000000000000000'
        contains "$status" $'CapAmb:\t0000000000000000'
        fails oci exec --cap CAP_NONSENSE box true
        contains "$output" "'CAP_NONSENSE' is not a capability"
        down
}

# CVE-2026-30892: another runtime took "1" for root.
test_users_are_numbers_and_nothing_else() {
        up .
        equal "uid=1 gid=0" "$(oci exec --user 1 box id)"
        local user
        for user in 1x x1 "" : 1: :1 -1 4294967295 99999999999 " 1" "1 " root 1:x 0x1 1:2:3; do
                [[ -n $user ]] || continue
                fails oci exec --user "$user" box id
                contains "$output" "--user"
        done
        fails oci exec --additional-gids x box id
        contains "$output" "--additional-gids"
        down
}

test_it_is_in_the_containers_cgroup() {
        up .
        local cgroup=/sys/fs/cgroup/crt-test-oci/box
        oci exec --detach --pid-file "$scratch/pid" box sleep 100
        grep -qx "$(cat "$scratch/pid")" "$cgroup/cgroup.procs"
        mkdir "$cgroup/below"
        oci exec --cgroup below --detach --pid-file "$scratch/pid" box sleep 100
        grep -qx "$(cat "$scratch/pid")" "$cgroup/below/cgroup.procs"
        fails oci exec --cgroup none box true
        contains "$output" "--cgroup: none"
        fails oci exec --cgroup ../../ box true
        down
}

test_a_paused_container_is_refused_unless_told() {
        up .
        oci pause box
        equal paused "$(oci state box | jq -r .status)"
        local status=0
        output=$(oci exec box true 2>&1) || status=$?
        equal 255 "$status"
        contains "$output" "cannot exec in a paused container"
        oci exec --ignore-paused box echo thawed >"$scratch/out" &
        local pid=$!
        sleep 0.2
        equal "" "$(cat "$scratch/out")"
        oci resume box
        wait "$pid"
        equal thawed "$(cat "$scratch/out")"
        down
}

test_a_stopped_container_is_refused() {
        up . true
        wait_for 5 eval '[[ $(oci state box | jq -r .status) == stopped ]]'
        fails oci exec box true
        contains "$output" "cannot exec in a stopped container"
        down
}

test_a_created_container_can_be_entered() {
        bundle . sleep 100
        oci create -b "$bundle" box
        equal hello "$(oci exec box echo hello)"
        oci start box
        down
}

test_detached_with_pid_file_and_pidfd() {
        up .
        cat >"$scratch/receive.py" <<'END'
import array, os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
data, ancillary = listener.accept()[0].recvmsg(100, socket.CMSG_SPACE(4))[:2]
fd = array.array("i", ancillary[0][2])[0]
print([line.split()[1] for line in open(f"/proc/self/fdinfo/{fd}") if line.startswith("Pid:")][0])
END
        python3 "$scratch/receive.py" "$scratch/pidfd" >"$scratch/out" &
        wait_for 5 test -S "$scratch/pidfd"
        oci exec --detach --pid-file "$scratch/pid" --pidfd-socket "$scratch/pidfd" box sleep 100
        wait $!
        equal "$(cat "$scratch/pid")" "$(cat "$scratch/out")"
        equal sleep "$(tr '\0' '\n' <"/proc/$(cat "$scratch/pid")/cmdline" | head -n 1)"
        down
}

test_signals_are_passed_on() {
        up .
        oci exec box sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done' >"$scratch/out" &
        local pid=$! status=0
        wait_for 5 grep -q ready "$scratch/out"
        kill -TERM "$(pgrep -P $pid -f crt-oci || echo $pid)"
        wait $pid || status=$?
        equal 9 "$status"
        down
}

test_a_terminal_goes_to_the_console_socket() {
        up .
        cat >"$scratch/receive.py" <<'END'
import array, os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
data, ancillary = listener.accept()[0].recvmsg(100, socket.CMSG_SPACE(4))[:2]
terminal = array.array("i", ancillary[0][2])[0]
while True:
    try:
        print(os.read(terminal, 4096).decode(), end="")
    except OSError:
        break
END
        python3 "$scratch/receive.py" "$scratch/console" >"$scratch/out" &
        wait_for 5 test -S "$scratch/console"
        oci exec --tty --user 7 --console-socket "$scratch/console" box sh -c 'tty; stat -c %u $(tty); echo x >/dev/tty'
        wait $!
        equal $'/dev/pts/0\n7\nx' "$(tr -d '\r' <"$scratch/out")"
        fails oci exec --console-socket "$scratch/console" box true
        contains "$output" "the process has no terminal"
        fails oci exec --tty --detach box true
        contains "$output" "needs a --console-socket"
        down
}

test_a_terminal_in_the_foreground() {
        up .
        echo 'tty; until [ "$(stty size)" = "22 88" ]; do sleep 0.05; done; stty size; exit 3' >"$rootfs/tmp/look"
        output=$(script -qec "stty rows 22 cols 88; '${CRT_OCI:-crt-oci}' --root '$state' exec -t box sh /tmp/look; echo status \$?" /dev/null </dev/null | tr -d '\r')
        contains "$output" "/dev/pts/0"
        contains "$output" "22 88"
        contains "$output" "status 3"
        rm "$rootfs/tmp/look"
        down
}

test_only_what_is_handed_on_is_open() {
        up .
        echo three >"$scratch/three"
        # 0, 1, 2 and the one by which ls reads the directory.
        equal "0 1 2 3" "$(oci exec box ls /proc/self/fd 9</etc/passwd 8</ 7</ | xargs)"
        equal "three" "$(oci exec --preserve-fds 1 box cat /proc/self/fd/3 3<"$scratch/three")"
        output=$(bash -c 'exec env LISTEN_FDS=1 LISTEN_PID=$BASHPID "$@"' x "${CRT_OCI:-crt-oci}" --root "$state" \
                 exec box sh -c '[ "$LISTEN_PID" = $$ ] && echo "$LISTEN_FDS"; cat <&3' 3<"$scratch/three")
        equal $'1\nthree' "$output"
        # Meant for somebody else.
        output=$(LISTEN_FDS=1 LISTEN_PID=1 "${CRT_OCI:-crt-oci}" --root "$state" exec box sh -c 'echo "-$LISTEN_FDS-"' 3<"$scratch/three")
        equal "--" "$output"
        down
}

# What the caller has closed is the null device there, and never what crt-oci itself opens at these numbers
# (CVE-2024-21626).
test_closed_descriptors_stay_closed() {
        up .
        oci exec box stat -L -c %t:%T /proc/self/fd/0 <&- >"$scratch/seen"
        equal 1:3 "$(<"$scratch/seen")"
        oci exec box sh -c 'seen=$(stat -L -c %t:%T /proc/$$/fd/[012]); echo $seen >/tmp/seen' <&- >&- 2>&-
        equal "1:3 1:3 1:3" "$(cat "$rootfs/tmp/seen")"
        rm "$rootfs/tmp/seen"
        fails oci exec --preserve-fds 1 box ls /proc/self/fd/3/ 3<&-
        contains "$output" "descriptor 3, which is to be handed on, is not open"
        fails oci exec --preserve-fds 2 box true 3</dev/null 4<&-
        contains "$output" "descriptor 4, which is to be handed on, is not open"
        down
        bundle . stat -L -c %t:%T /proc/self/fd/0
        equal "1:3" "$(oci run -b "$bundle" box <&-)"
        nothing_left
}

# Its root is a directory of the host's tree, or of the joined one.
test_without_a_mount_namespace_the_root_is_that_of_init() {
        local bare='.mounts = [] | del(.linux.maskedPaths, .linux.readonlyPaths)
                | .linux.namespaces |= map(select(.type != "mount" and .type != "cgroup"))' sleeper
        touch "$rootfs/of-the-container"
        up "$bare"
        equal "/of-the-container" "$(oci exec box ls /of-the-container)"
        equal "/" "$(oci exec box pwd)"
        equal "" "$(oci exec box ls "$scratch" 2>/dev/null)"
        oci delete --force box
        unshare --mount sh -c 'mount -t tmpfs joined "$1/tmp" && touch "$1/tmp/there" && exec sleep 100' sh "$rootfs" </dev/null >/dev/null 2>&1 &
        sleeper=$!
        wait_for 5 test -e "/proc/$sleeper/root$rootfs/tmp/there"
        up "$bare"' | .linux.namespaces += [{type: "mount", path: "/proc/'"$sleeper"'/ns/mnt"}] | .root.path = "'"$rootfs"'"'
        equal there "$(oci exec box ls /tmp)"
        kill -9 "$sleeper"
        rm "$rootfs/of-the-container"
        down
}

test_socket_activation_reaches_init() {
        echo three >"$scratch/three"
        bundle . sh -c 'echo "$LISTEN_FDS $LISTEN_PID"; cat <&3'
        output=$(bash -c 'exec env LISTEN_FDS=1 LISTEN_PID=$BASHPID "$@"' x "${CRT_OCI:-crt-oci}" --root "$state" \
                 run -b "$bundle" box 3<"$scratch/three")
        equal $'1 1\nthree' "$output"
        nothing_left
}

# The configuration is that of the container's creation.
test_a_bundle_that_changed_or_went_does_not_matter() {
        up '.process.env += ["FROM=creation"]'
        mv "$bundle" "$bundle.gone"
        equal creation "$(oci exec box sh -c 'echo $FROM')"
        mv "$bundle.gone" "$bundle"
        down
}

run_tests
