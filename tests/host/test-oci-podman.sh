#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# podman (Debian's) with crt-oci in crun's place.
# host: --disk 2G
source "$(dirname "$0")/oci.sh"

runtime=$(command -v "${CRT_OCI:-crt-oci}")
store=$scratch/podman

# Everything of its own, in a directory of its own, as little as possible from the machine's configuration. A
# limit that no controller is there for is not asked for: podman's default is 2048 processes.
pod_man() {
        local limit=()
        if [[ $1 == run || $1 == create ]] && ! grep -qw pids /sys/fs/cgroup/cgroup.controllers; then
                limit=(--pids-limit -1)
        fi
        CONTAINERS_CONF=$scratch/containers.conf podman --root "$store/root" --runroot "$store/run" --tmpdir "$store/tmp" --storage-driver vfs \
                --events-backend file --cgroup-manager "${manager:-cgroupfs}" --runtime "$runtime" \
                "$1" "${limit[@]}" "${@:2}"
}

# run OPTION… IMAGE COMMAND…: thrown away at its end; no network of podman's making.
run() { pod_man run --rm --network none "$@"; }

have_image() {
        mkdir -p "$store"
        # podman's own defaults are above what this host may give.
        printf '[containers]\ndefault_ulimits = ["nofile=%s:%s", "nproc=%s:%s"]\n' 512 1024 1000 1000 \
                >"$scratch/containers.conf"
        pod_man image exists localhost/box 2>/dev/null && return
        tar -C "$rootfs" -c . | pod_man import - localhost/box >/dev/null 2>&1
}

cleanup() {
        pod_man pod rm --all --force >/dev/null 2>&1
        pod_man rm --all --force --time 0 >/dev/null 2>&1
        umount -R "$store/root" 2>/dev/null
        [[ ! -e $scratch/subuid ]] || umount /etc/subuid /etc/subgid
}

has_state() { [[ $(pod_man inspect --format '{{.State.Status}}' "$1") == "$2" ]]; }

test_run_gives_output_and_exit_status() {
        have_image
        equal "hello" "$(run localhost/box echo hello)"
        local status=0
        run localhost/box sh -c 'exit 7' || status=$?
        equal 7 "$status"
        equal "from stdin" "$(echo "from stdin" | run -i localhost/box cat)"
}

test_a_program_that_is_not_there_is_status_127() {
        have_image
        local status=0
        run localhost/box /no/such/program 2>"$scratch/said" || status=$?
        equal 127 "$status"
        status=0
        run localhost/box nothing 2>"$scratch/said" || status=$?
        equal 127 "$status"
        status=0
        run localhost/box /etc 2>"$scratch/said" || status=$?
        equal 126 "$status"
}

test_exec_logs_pause_and_stop() {
        have_image
        pod_man run -d --name one --network none localhost/box \
                sh -c 'trap "echo stopped; exit 0" TERM; echo started; while :; do sleep 0.1; done' >/dev/null
        wait_for 10 eval '[[ $(pod_man logs one) == started ]]'
        equal "uid=0 gid=0" "$(pod_man exec one id)"
        equal "uid=5 gid=6" "$(pod_man exec --user 5:6 one id)"
        equal "/tmp X=1" "$(pod_man exec --workdir /tmp --env X=1 one sh -c 'echo $PWD X=$X')"
        local status=0
        pod_man exec one sh -c 'exit 4' || status=$?
        equal 4 "$status"
        status=0
        pod_man exec one nothing 2>/dev/null || status=$?
        equal 127 "$status"
        contains "$(pod_man exec --tty one tty)" /dev/pts/
        pod_man pause one >/dev/null
        has_state one paused
        fails pod_man exec one true
        pod_man unpause one >/dev/null
        has_state one running
        pod_man stop --time 100 one >/dev/null
        equal $'started\nstopped' "$(pod_man logs one)"
        equal 0 "$(pod_man inspect --format '{{.State.ExitCode}}' one)"
        pod_man rm one >/dev/null
}

test_kill_and_restart() {
        have_image
        pod_man run -d --name two --network none localhost/box sleep 1000 >/dev/null
        pod_man kill --signal KILL two >/dev/null
        wait_for 10 has_state two exited
        equal 137 "$(pod_man inspect --format '{{.State.ExitCode}}' two)"
        pod_man start two >/dev/null
        has_state two running
        contains "$(pod_man top two pid comm)" sleep
        pod_man rm --force --time 0 two >/dev/null
}

test_volumes_and_a_read_only_root() {
        have_image
        mkdir -p "$scratch/volume"
        run -v "$scratch/volume:/data" localhost/box sh -c 'echo kept >/data/file'
        equal kept "$(cat "$scratch/volume/file")"
        fails run -v "$scratch/volume:/data:ro" localhost/box touch /data/other
        contains "$output" "Read-only file system"
        fails run --read-only localhost/box touch /file
        contains "$output" "Read-only file system"
        run --read-only --tmpfs /tmp:size=1m localhost/box touch /tmp/file
        pod_man volume create vol >/dev/null
        run -v vol:/data localhost/box touch /data/file
        run -v vol:/data localhost/box ls /data/file >/dev/null
        pod_man volume rm vol >/dev/null
}

test_privileges_are_dropped_and_given() {
        have_image
        fails run --cap-drop all localhost/box chown 5 /etc
        run --cap-drop all --cap-add chown localhost/box chown 5 /etc
        contains "$(run --security-opt no-new-privileges localhost/box cat /proc/self/status)" $'NoNewPrivs:\t1'
        contains "$(run localhost/box cat /proc/self/status)" $'Seccomp:\t2'
        contains "$(run --ulimit nofile=77:88 --ulimit nproc=1000:1000 localhost/box sh -c 'ulimit -n')" 77
        contains "$(run --hostname other localhost/box hostname)" other
}

# Numbers of this test's own, whatever the machine gives to whom.
give_ids() {
        mountpoint -q /etc/subuid && return
        echo "containers:1000000:1000000" >"$scratch/subuid"
        touch /etc/subuid /etc/subgid
        mount --bind "$scratch/subuid" /etc/subuid
        mount --bind "$scratch/subuid" /etc/subgid
}

test_user_namespaces() {
        have_image
        give_ids
        equal "0 100000 5000" "$(run --uidmap 0:100000:5000 --gidmap 0:100000:5000 localhost/box \
                                  sh -c 'read a b c </proc/self/uid_map; echo $a $b $c')"
        output=$(run --userns=auto:size=3000 localhost/box sh -c 'read a b c </proc/self/uid_map; echo $a $b $c; id -u; touch /file')
        contains "$output" "0 1000000 3000"
        pod_man run -d --name mapped --userns=auto --network none localhost/box sleep 1000 >/dev/null
        equal "uid=0 gid=0" "$(pod_man exec mapped id)"
        equal "1" "$(pod_man exec mapped sh -c 'touch /of-root; ls /of-root | wc -l')"
        pod_man rm --force --time 0 mapped >/dev/null
}

test_health_checks() {
        have_image
        pod_man run -d --name well --network none --health-cmd 'test -e /healthy' --health-interval disable \
                localhost/box sh -c 'touch /healthy; sleep 1000' >/dev/null
        wait_for 10 pod_man healthcheck run well
        pod_man exec well rm /healthy
        fails pod_man healthcheck run well
        pod_man rm --force --time 0 well >/dev/null
}

# Its first container is one that does nothing and holds the namespaces: of busybox here, as nothing is fetched.
test_a_pod_shares_namespaces() {
        have_image
        pod_man pod create --name pod --network none --share ipc,uts,net --share-parent=false --infra-image localhost/box \
                --infra-command "/bin/sleep 1000" --hostname podhost >/dev/null
        pod_man run -d --pod pod --name first localhost/box sleep 1000 >/dev/null
        equal podhost "$(pod_man run --rm --pod pod localhost/box hostname)"
        equal "$(pod_man exec first readlink /proc/self/ns/net)" \
                "$(pod_man run --rm --pod pod localhost/box readlink /proc/self/ns/net)"
        pod_man pod stop --time 0 pod >/dev/null
        pod_man pod rm --force --time 0 pod >/dev/null
}

test_scopes_of_systemd() {
        [[ -d /run/systemd/system ]] || skip "no systemd runs here"
        have_image
        local manager=systemd
        equal hello "$(run localhost/box echo hello)"
        pod_man run -d --name scoped --network none localhost/box sleep 1000 >/dev/null
        contains "$(cat "/proc/$(pod_man inspect --format '{{.State.Pid}}' scoped)/cgroup")" ".scope"
        equal "uid=0 gid=0" "$(pod_man exec scoped id)"
        pod_man rm --force --time 0 scoped >/dev/null
        wait_for 5 eval '[[ -z $(systemctl list-units --no-legend "libpod-*.scope" | grep -v conmon) ]]'
}

test_limits() {
        have_image
        if grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
                equal 33554432 "$(run --memory 32m localhost/box cat /sys/fs/cgroup/memory.max)"
        fi
        if grep -qw pids /sys/fs/cgroup/cgroup.controllers; then
                equal 33 "$(run --pids-limit 33 localhost/box cat /sys/fs/cgroup/pids.max)"
        else
                # Never silence: what can't be had is an error.
                fails run --pids-limit 33 localhost/box true
                contains "$output" "the pids controller is not available"
        fi
}

test_nothing_is_left_of_thrown_away_containers() {
        have_image
        run localhost/box true
        wait_for 5 eval '[[ -z $(pod_man ps --all --quiet) ]]'
        wait_for 5 eval '[[ -z $("$runtime" list --quiet) ]]'
}

run_tests
