#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The whole way, through all services: ten at once, and every process of crt killed in the middle of a pull and of a run.
# Afterwards the same command succeeds, and nothing is lost or left.
source "$(dirname "$0")/lib.sh"

image=localhost:5000/debian:bookworm
small=localhost:5000/busybox:latest
"$source_root/tools/registry" start plain >/dev/null

cleanup() { crtctl rm -f $(crtctl ps -a -q) 2>/dev/null; crtctl rmi "$image" "$small" 2>/dev/null; }

# list SERVICE MEMBER-INTERFACE: the first column of what a service lists.
keys() {
        busctl --json=short call "org.crt.$1" "/org/crt/$1" "org.crt.${1}1" List 'a{sv}' 0 |
                jq -r ".data[0][].$2.data"
}

ingests() { busctl tree --list org.crt.Content | grep /ingest/system/ || true; }
scopes() { systemctl list-units --plain --no-legend --all 'crt-*.scope' | cut -d' ' -f1; }
processes() { pgrep -x "crt-ingest|crt-unpack|crt-fetch|crt-supervisor" || true; }

# Chained: errexit does not reach what wait_for calls.
nothing_runs() {
        local snapshots
        equal "" "$(crtctl ps -a -q)" && equal "" "$(scopes)" && snapshots=$(keys Snapshots key) &&
                equal "" "$(grep -v ^sha256: <<<"$snapshots")" && equal "" "$(processes)" &&
                equal "" "$(ls /run/crt/tasks/system 2>/dev/null)" &&
                equal "" "$(grep -E /var/lib/crt/snapshots/trees /proc/self/mountinfo)"
}

no_trees() { equal "" "$(ls /var/lib/crt/snapshots/trees | grep '^[0-9]' || true)"; }

# Blobs and snapshots are those of the images that are there, and no more.
nothing_is_left() {
        wait_for 15 nothing_runs || nothing_runs # which says what is left
        equal "" "$(ingests)"
        crtctl rmi $(crtctl images -q) 2>/dev/null || true
        equal "" "$(keys Content digest)"
        equal "" "$(keys Snapshots key)"
        equal "" "$(find /var/lib/crt/content/blobs /var/lib/crt/content/ingest -type f)"
        wait_for 15 no_trees
}

test_pull_run_remove_leaves_nothing() {
        crtctl pull --quiet "$image"
        equal "bookworm" "$(crtctl run --rm "$image" sh -c '. /etc/os-release; echo $VERSION_CODENAME')"
        equal 7 "$(crtctl run --rm "$image" sh -c 'exit 7' >/dev/null; echo $?)"
        nothing_is_left
}

test_ten_pulls_at_once() {
        local i pids=()
        for i in 1 2 3 4 5; do
                crtctl pull --quiet "$image" & pids+=($!)
                crtctl pull --quiet "$small" & pids+=($!)
        done
        for i in "${pids[@]}"; do wait "$i"; done
        equal 2 "$(crtctl images -q | wc -l)"
        equal "" "$(ingests)"
}

test_ten_containers_at_once() {
        local i pids=()
        crtctl pull --quiet "$image"
        for i in $(seq 10); do
                ( equal "$i" "$(crtctl run --rm "$image" sh -c "sleep 0.$i; echo $i")" ) & pids+=($!)
        done
        for i in "${pids[@]}"; do wait "$i"; done
        wait_for 15 nothing_runs || nothing_runs # which says what is left
}

# killed_while PROCESS DELAY COMMAND…: kills every process of that name so long after the command began.
killed_while() {
        local name=$1 delay=$2 pid victims victim
        shift 2
        "$@" >"$scratch/victim" 2>&1 & pid=$!
        sleep "$delay"
        victims=$(pgrep -x "$name" || true)
        [[ -z $victims ]] || kill -KILL $victims || true
        wait "$pid" || true
        # A call to one that is dying is lost with it.
        for victim in $victims; do wait_for 5 test ! -e "/proc/$victim"; done
        busctl list >/dev/null
}

killed_while_pulling() {
        local delay
        for delay in 0.05 0.2 0.35 0.5 0.7; do
                killed_while "$1" "$delay" crtctl pull --quiet "$image"
                crtctl pull --quiet "$image"
                equal "bookworm" "$(crtctl run --rm "$image" sh -c '. /etc/os-release; echo $VERSION_CODENAME')"
                nothing_is_left
        done
}

test_contentd_killed_while_pulling() { killed_while_pulling crt-contentd; }
test_snapshotsd_killed_while_pulling() { killed_while_pulling crt-snapshotsd; }
test_imagesd_killed_while_pulling() { killed_while_pulling crt-imagesd; }
test_ingest_worker_killed_while_pulling() { killed_while_pulling crt-ingest; }
test_unpack_worker_killed_while_pulling() { killed_while_pulling crt-unpack; }
test_fetch_worker_killed_while_pulling() { killed_while_pulling crt-fetch; }

killed_while_running() {
        local delay
        crtctl pull --quiet "$image"
        for delay in 0.005 0.01 0.02 0.03 0.05 0.1 0.3; do
                killed_while "$1" "$delay" crtctl run --rm "$image" sleep 0.2
                equal again "$(crtctl run --rm "$image" echo again)"
        done
        nothing_is_left
}

test_tasksd_killed_while_running() { killed_while_running crt-tasksd; }
test_snapshotsd_killed_while_running() { killed_while_running crt-snapshotsd; }
test_imagesd_killed_while_running() { killed_while_running crt-imagesd; }
test_contentd_killed_while_running() { killed_while_running crt-contentd; }
test_supervisor_killed_while_running() { killed_while_running crt-supervisor; }

ping() { busctl call "org.crt.$1" "/org/crt/$1" org.freedesktop.DBus.Peer Ping; }

# killed_at_message SERVICE N COMMAND…: the daemon is killed as it is about to send its Nth message to the bus.
# Fails when it did not send as many.
killed_at_message() {
        local service=$1 n=$2 name=crt-${1,}d pid tracer
        shift 2
        wait_for 5 ping "$service"
        pid=$(pgrep -x "$name")
        rm -f "$scratch/strace"
        strace -o /dev/null -e trace=sendmsg -e inject=sendmsg:signal=SIGKILL:when="$n" -p "$pid" \
                2>"$scratch/strace" & tracer=$!
        wait_for 5 grep -q attached "$scratch/strace"
        "$@" >"$scratch/victim" 2>&1 || true
        kill -KILL "$tracer" 2>/dev/null || true # which lets go of the daemon
        wait "$tracer" || true
        ! { ping "$service" && equal "$pid" "$(pgrep -x "$name")"; } 2>/dev/null
}

# SERVICE LEAST: what a service has done, but could not say. Each of its messages (at least so many) is lost once
# with the service, and no matter which one it is, the command goes on with the next run of the service.
killed_at_every_message() {
        local n=1
        crtctl pull --quiet "$image"
        while killed_at_message "$1" "$n" crtctl run --rm "$image" echo once; do
                equal once "$(<"$scratch/victim")" || contains "$(<"$scratch/victim")" "start was interrupted"
                wait_for 15 nothing_runs || nothing_runs
                n=$((n + 1))
        done
        (( n > $2 )) || fail "only $n messages"
        nothing_is_left
}

test_tasksd_killed_at_every_message() { killed_at_every_message Tasks 10; }
test_snapshotsd_killed_at_every_message() { killed_at_every_message Snapshots 2; }
test_imagesd_killed_at_every_message() { killed_at_every_message Images 1; }

run_tests
