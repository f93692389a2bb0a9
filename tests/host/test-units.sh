#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What an installation consists of: units, system users, directories, sockets, and what the processes of each unit can
# reach, as README.md, ARCHITECTURE.md and the manual pages say it.
source "$(dirname "$0")/lib.sh"

units=/usr/lib/systemd/system
services=(content images snapshots tasks)
port=18080

cleanup() {
        systemctl --quiet disable --now crt-fetch.socket crt-tasks.socket 2>/dev/null
        [[ ! -s $scratch/pids ]] || xargs kill <"$scratch/pids" 2>/dev/null
}

# ask SERVICE: a request, which starts it.
ask() { busctl call "org.crt.${1^}" "/org/crt/${1^}" "org.crt.${1^}1" List 'a{sv}' 0 >/dev/null; }

# main_pid SERVICE: of a service that runs.
main_pid() { ask "$1" && systemctl show -P MainPID "crt-$1.service"; }

# status_field PID NAME: from /proc.
status_field() { sed -n "s/^$2:\t*//p" "/proc/$1/status" | tr '\t' ' '; }

exposure() { systemd-analyze security --no-pager "$1" | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p'; }

# claim PROCESS COLUMN: what the table of privileges in ARCHITECTURE.md says: 3 the user, 4 the network.
claim() {
        sed -n '/^## Privileges/,$p' "$source_root/ARCHITECTURE.md" |
                awk -F ' *[|] *' -v name="$1" -v column="$2" '$2 == name { print $column }'
}

# A server on the machine's loopback that answers to whoever can reach it.
serve() {
        python3 -m http.server --bind 127.0.0.1 --directory "$scratch" "$port" >/dev/null 2>&1 &
        echo $! >>"$scratch/pids"
        wait_for 10 reaches_server $$
}

# reaches_server PID: from the network of that process.
reaches_server() { nsenter -t "$1" -n curl -sf -o /dev/null --max-time 30 "http://127.0.0.1:$port/"; }

# A fetch worker as crt-imagesd gets one; its process is $fetch. It ends with the connection, that one with $keeper.
start_fetch() {
        wait_for 10 nothing_fetches
        systemctl start crt-fetch.socket
        python3 -c 'import socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect("/run/crt/fetch.sock"); time.sleep(600)' &
        keeper=$!
        echo "$keeper" >>"$scratch/pids"
        wait_for 10 fetch_runs
        fetch=$(pgrep -x crt-fetch)
}

fetch_runs() { [[ $(pgrep -cx crt-fetch) == 1 ]]; }
nothing_fetches() { ! pgrep -x crt-fetch; }
no_fetch_units() { [[ -z $(systemctl list-units --all --plain --no-legend 'crt-fetch@*') ]]; }

test_nothing_runs_before_it_is_asked() {
        [[ ! -e /var/lib/crt/content ]] || skip "this host was used before"
        equal "" "$(pgrep -f ^/usr/libexec/crt/)"
        equal "" "$(systemctl list-units --plain --no-legend --state=active 'crt*')"
        equal "static static static static" \
                "$(systemctl is-enabled crt-{content,images,snapshots,tasks}.service | xargs)"
}

test_units_load_without_a_warning() {
        local unit
        equal "" "$(systemd-analyze verify --man=no "$units"/crt* 2>&1)"
        for unit in "$units"/crt*; do
                unit=${unit##*/}
                equal loaded "$(systemctl show -P LoadState "${unit/@./@x.}")"
        done
        equal "" "$(journalctl -b -q -o cat -p warning _PID=1 -g '/crt[-.][^ ]*:[0-9]+:')"
}

test_every_program_and_unit_has_its_manual_page() {
        local name
        for name in crt crtctl crt-oci $(ls /usr/libexec/crt) \
                    $(sed -n 's/^Documentation=man:\([a-z-]*\)(.)$/\1/p' "$units"/crt*); do
                test -s /usr/share/man/man[178]/"$name".[178] || fail "$name has no page"
        done
}

test_installing_as_the_readme_says() {
        local sockets
        sockets=$(grep -o 'systemctl enable --now [^`]*' "$source_root/README.md")
        equal "systemctl enable --now crt-fetch.socket crt-tasks.socket crt-gc.timer" "$sockets"
        $sockets 2>"$scratch/said"
        equal "active active active" "$(systemctl is-active crt-fetch.socket crt-tasks.socket crt-gc.timer | xargs)"
        equal "enabled enabled enabled" "$(systemctl is-enabled crt-fetch.socket crt-tasks.socket crt-gc.timer | xargs)"
        systemd-sysusers --dry-run >/dev/null
        systemd-tmpfiles --create --prefix /var/lib/crt --prefix /run/crt
}

test_sockets_listen_and_are_closed_to_others() {
        connect() { python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[1])); s.connect(sys.argv[2])' "$@"; }
        systemctl start crt-fetch.socket crt-tasks.socket
        equal "600 crt-images" "$(stat -c '%a %U' /run/crt/fetch.sock)"
        equal "600 root" "$(stat -c '%a %U' /run/crt/tasks.sock)"
        for user in alice crt-content; do
                fails as "$user" bash -c "$(declare -f connect)"'; connect SOCK_SEQPACKET /run/crt/fetch.sock'
                contains "$output" "PermissionError"
                fails as "$user" bash -c "$(declare -f connect)"'; connect SOCK_STREAM /run/crt/tasks.sock'
                contains "$output" "PermissionError"
        done
        as crt-images bash -c "$(declare -f connect)"'; connect SOCK_SEQPACKET /run/crt/fetch.sock'
        wait_for 10 no_fetch_units
}

test_exposure_is_what_it_is_known_to_be() {
        local unit threshold
        # In tenths; what becomes better is to be lowered here.
        while read -r unit threshold; do
                systemd-analyze security --no-pager --threshold="$threshold" "$unit" >/dev/null ||
                        fail "$unit: $(exposure "$unit")"
        done <<'END'
crt-content.service   6
crt-images.service    2
crt-gc.service        7
crt-fetch@x.service   11
crt-snapshots.service 31
crt-tasks.service     92
END
        # Why it is so much stands in the page, with the figure.
        grep -q "$(exposure crt-tasks.service)" /usr/share/man/man8/crt-tasksd.8
}

test_system_users_can_not_log_in_and_own_nothing_else() {
        local name user
        for name in content images; do
                user=crt-$name
                equal "/var/lib/crt/$name:/usr/sbin/nologin" "$(getent passwd "$user" | cut -d: -f6,7)"
                equal "$user" "$(id -nG "$user")"
                [[ $(getent shadow "$user" | cut -d: -f2) == '!'* ]]
                fails su - "$user" -c true
                ask "$name"
                equal "" "$(find /etc /home /opt /root /srv /usr /var -xdev -user "$user" 2>/dev/null)"
        done
        # The state is on a file system of its own here, and is all that they have.
        equal "" "$(find /var/lib/crt /run/crt -xdev -user crt-content ! -path '/var/lib/crt/content*' \
                ! -path '/run/crt/content*')"
        equal "" "$(find /var/lib/crt /run/crt -xdev -user crt-images ! -path '/var/lib/crt/images*' \
                ! -path /run/crt/fetch.sock)"
        fails as crt-images ls /var/lib/crt/content
        fails as crt-content ls /var/lib/crt/images
        fails as crt-content touch /var/lib/crt/x
        fails getent passwd crt-fetch
}

test_directories_are_closed_to_everybody_else() {
        local service directory
        for service in "${services[@]}"; do ask "$service"; done
        equal "755 root 755 root" "$(stat -c '%a %U' /var/lib/crt /run/crt | xargs)"
        for service in "${services[@]}"; do
                directory=/var/lib/crt/$service
                equal "700 $(systemctl show -P User "crt-$service.service" | sed 's/^$/root/')" \
                        "$(stat -c '%a %U' "$directory")"
                equal 600 "$(stat -c %a "$directory/$service.db")"
                equal "" "$(find "$directory" -maxdepth 1 -type f -perm /077)"
                fails as alice ls "$directory"
        done
        equal "700 crt-content" "$(stat -c '%a %U' /run/crt/content)"
        equal "700 root" "$(stat -c '%a %U' /run/crt/tasks)"
}

test_processes_run_as_the_documents_say() {
        local service pid
        for service in "${services[@]}"; do
                pid=$(main_pid "$service")
                equal "$(claim "crt-${service}d" 3 | cut -d, -f1)" "$(ps -o user:32= "$pid" | xargs)"
        done
        start_fetch
        equal dynamic "$(claim crt-fetch 3)"
        (( $(ps -o uid= "$fetch") >= 61184 ))
        kill "$keeper"
        wait_for 10 nothing_fetches
}

test_only_those_with_a_network_have_one() {
        local service pid network
        serve
        for service in "${services[@]}"; do
                pid=$(main_pid "$service")
                network=$(claim "crt-${service}d" 4)
                if [[ $network == none ]]; then
                        [[ $(readlink "/proc/$pid/ns/net") != "$(readlink /proc/1/ns/net)" ]]
                        equal lo "$(nsenter -t "$pid" -n ip -o link | sed 's/^[0-9]*: \([^:]*\):.*/\1/')"
                        equal "" "$(nsenter -t "$pid" -n ip route show table all | grep -v 'dev lo')"
                        fails reaches_server "$pid"
                else
                        equal host "$network"
                        reaches_server "$pid"
                fi
        done
        equal "none none none host" "$(for service in "${services[@]}"; do claim "crt-${service}d" 4; done | xargs)"
        start_fetch
        reaches_server "$fetch"
        kill "$keeper"
}

test_services_have_lost_what_they_do_not_need() {
        local service pid
        for service in content images; do
                pid=$(main_pid "$service")
                equal 0000000000000000 "$(status_field "$pid" CapBnd)"
        done
        for service in content images snapshots; do
                pid=$(main_pid "$service")
                equal 1 "$(status_field "$pid" NoNewPrivs)"
                equal 2 "$(status_field "$pid" Seccomp)"
                fails touch "/proc/$pid/root/usr/crt-test"
                contains "$output" "Read-only"
        done
        # CHOWN DAC_OVERRIDE FOWNER FSETID SETGID SETUID SYS_ADMIN MKNOD SETFCAP
        equal 00000000882000db "$(status_field "$(main_pid snapshots)" CapBnd)"
}

test_fetch_worker_reaches_neither_the_store_nor_the_bus() {
        local root
        for service in "${services[@]}"; do ask "$service"; done
        [[ -n $(ls -A /var/lib/crt) && -S /run/dbus/system_bus_socket ]]
        start_fetch
        root=/proc/$fetch/root
        equal "" "$(ls -A "$root/var/lib/crt")"
        equal "" "$(ls -A "$root/run/dbus")"
        equal "0 d---------" "$(stat -c '%u %A' "$root/var/lib/crt")"
        equal 0000000000000000 "$(status_field "$fetch" CapBnd)"
        equal 2 "$(status_field "$fetch" Seccomp)"
        fails touch "$root/usr/crt-test"
        contains "$output" "Read-only"
        # Nothing is inherited but the connection and the journal.
        equal 3 "$(ls "/proc/$fetch/fd" | awk '$1 < 3' | wc -l)"
        fails grep -q /var/lib/crt <(readlink "/proc/$fetch/fd/"*)
        kill "$keeper"
        wait_for 10 nothing_fetches
        wait_for 10 no_fetch_units
}

test_nothing_stays_that_nobody_asks_for() {
        local service
        for service in "${services[@]}"; do
                mkdir -p "/run/systemd/system/crt-$service.service.d"
                printf '[Service]\nEnvironment=CRT_IDLE_SECONDS=0\n' \
                        >"/run/systemd/system/crt-$service.service.d/idle.conf"
        done
        systemctl daemon-reload
        systemctl stop crt-{content,images,snapshots,tasks}.service
        for service in "${services[@]}"; do ask "$service"; done
        wait_for 15 sh -c '! pgrep -f ^/usr/libexec/crt/'
        rm -rf /run/systemd/system/crt-*.service.d
        systemctl daemon-reload
}

run_tests
