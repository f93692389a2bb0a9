#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Daemons come with a request and go when idle, and no request falls between.
source "$(dirname "$0")/lib.sh"

digest=sha256:0000000000000000000000000000000000000000000000000000000000000000
units=(crt-content crt-images crt-snapshots crt-tasks)

cleanup() {
        rm -rf /run/systemd/system/crt-*.service.d
        systemctl daemon-reload
        systemctl stop "${units[@]}"
}

idle_at_once() {
        local unit
        for unit in "${units[@]}"; do
                mkdir -p "/run/systemd/system/$unit.service.d"
                printf '[Service]\nEnvironment=CRT_IDLE_SECONDS=0\n[Unit]\nStartLimitIntervalSec=0\n' \
                        >"/run/systemd/system/$unit.service.d/idle.conf"
        done
        systemctl daemon-reload
        systemctl stop "${units[@]}"
}

ask() { busctl call --timeout=200 org.crt.Content /org/crt/Content org.crt.Content1 Stat 'sa{sv}' "$digest" 0 2>&1; }

test_a_request_starts_each_daemon_and_it_goes_again() {
        local name
        idle_at_once
        for name in Content Images Snapshots Tasks; do
                busctl --timeout=200 introspect "org.crt.$name" "/org/crt/$name" >/dev/null
                wait_for 10 sh -c "! systemctl is-active -q crt-${name,,}.service"
                equal success "$(systemctl show -P Result "crt-${name,,}.service")"
        done
}

test_no_request_is_lost_while_it_goes() {
        local i answer
        idle_at_once
        for i in $(seq 60); do
                # Its clock ticks each half second: these calls come at all moments of its end.
                sleep "0.$(printf %03d $(( (i * 37) % 700 )))"
                answer=$(ask) || true
                contains "$answer" "has no blob"
        done
}

test_many_callers_at_once_all_get_an_answer() {
        local i
        idle_at_once
        for i in $(seq 40); do
                ( sleep "0.$(( RANDOM % 9 ))$(( RANDOM % 9 ))"; ask >"$scratch/answer.$i" ) &
        done
        wait
        for i in $(seq 40); do contains "$(<"$scratch/answer.$i")" "has no blob"; done
}

run_tests
