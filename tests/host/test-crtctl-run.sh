#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a person does with crtctl, with the real services behind it.
source "$(dirname "$0")/lib.sh"

image=localhost:5000/busybox:latest

setup() {
        "$source_root/tools/registry" start plain
        # Tests may have to do with an image that was pulled.
        crtctl pull -q "$image" >/dev/null
}

cleanup() {
        local left
        left=$(crtctl ps -aq)
        # shellcheck disable=SC2086 # ids
        [[ -z $left ]] || crtctl rm -f $left
        crtctl rmi "$image"
        "$source_root/tools/registry" stop
        rm -f /etc/polkit-1/rules.d/10-test-crtctl.rules
}

container() { crtctl run --rm "$@"; }

exits() {
        local expected=$1 status=0
        shift
        "$@" || status=$?
        equal "$expected" "$status"
}

test_exit_status_is_the_containers() {
        container "$image" true
        exits 7 container "$image" sh -c 'exit 7'
        exits 255 container "$image" sh -c 'exit 255'
        exits 143 container "$image" sh -c 'sh -c "kill -TERM \$\$"; exit $?'
}

test_missing_and_unusable_commands_have_their_status() {
        exits 127 container "$image" /no/such/command 2>"$scratch/error"
        contains "$(<"$scratch/error")" "crtctl: "
        exits 126 container "$image" /etc 2>/dev/null
        equal "" "$(crtctl ps -aq)"
}

test_a_size_is_refused_where_it_can_not_be_limited() {
        exits 125 container --storage-opt size=10M "$image" true 2>"$scratch/error"
        contains "$(<"$scratch/error")" "quota"
        fails crtctl create --storage-opt size=10M "$image"
        contains "$output" "quota"
        equal "" "$(crtctl ps -aq)"
        equal "" "$(crtctl snapshot ls -q -f kind==active)"
}

test_streams_are_handed_over() {
        equal X "$(echo x | container -i "$image" tr a-z A-Z)"
        equal "" "$(echo x | container "$image" cat)"
        container "$image" sh -c 'echo out; echo err >&2' >"$scratch/out" 2>"$scratch/err"
        equal out "$(<"$scratch/out")"
        equal err "$(<"$scratch/err")"
}

test_megabytes_pass_unchanged() {
        head -c 20000000 /dev/urandom >"$scratch/data"
        container -i "$image" cat <"$scratch/data" | cmp - "$scratch/data"
}

test_end_of_input_is_passed_on() {
        equal 3 "$(printf '1\n2\n3\n' | timeout 100 crtctl run --rm -i "$image" wc -l | tr -d ' ')"
}

test_environment_directory_user_and_host_name() {
        equal "b /tmp 65534 h" "$(container -e A=b -w /tmp -u 65534:65534 --hostname=h "$image" \
                sh -c 'echo $A $(pwd) $(id -u) $(hostname)')"
        printf 'FROM_FILE=1\n# no\n' >"$scratch/env"
        equal 1 "$(container --env-file "$scratch/env" "$image" sh -c 'echo $FROM_FILE')"
}

test_entrypoint_replaces_the_images() {
        equal "hello" "$(container --entrypoint=/bin/echo "$image" hello)"
}

test_root_can_be_read_only() {
        fails container --read-only "$image" touch /x
        contains "$output" "Read-only"
}

test_volumes_are_mounted() {
        mkdir -p "$scratch/volume"
        echo here >"$scratch/volume/file"
        equal here "$(container -v "$scratch/volume:/data:ro" "$image" cat /data/file)"
        fails container -v "$scratch/volume:/data:ro" "$image" touch /data/new
        container -v "$scratch/volume:/data" "$image" touch /data/new
        test -e "$scratch/volume/new"
        exits 125 container -v "$scratch/nothing:/data" "$image" true 2>"$scratch/error"
        contains "$(<"$scratch/error")" "nothing"
}

test_detached_logs_kill_and_rm() {
        equal web "$(crtctl run -d --name web "$image" sh -c 'echo hello; echo bad >&2; exec sleep 100')"
        wait_for 5 eval '[[ $(crtctl logs web 2>&1 | sort) == $(printf "bad\nhello") ]]'
        equal hello "$(crtctl logs web 2>/dev/null)"
        equal bad "$(crtctl logs web 2>&1 >/dev/null)"
        equal web "$(crtctl ps -q)"
        fails crtctl rm web
        contains "$output" "--force"
        crtctl kill -s KILL web
        equal 137 "$(crtctl wait web)"
        equal "" "$(crtctl ps -q)"
        equal web "$(crtctl ps -aq)"
        crtctl rm web
        equal "" "$(crtctl ps -aq)"
        # Its logs are still there; those of nobody are not.
        equal hello "$(crtctl logs web 2>/dev/null)"
        fails crtctl logs nobody
        contains "$output" "no container of this name"
}

test_logs_are_followed_to_the_end() {
        crtctl run -d --name follow "$image" sh -c 'for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done' >/dev/null
        equal "line 1 line 2 line 3 line 4 line 5" "$(timeout 200 crtctl logs -f follow | tr '\n' ' ' | sed 's/ $//')"
        equal "line 4 line 5" "$(crtctl logs -n 2 follow | tr '\n' ' ' | sed 's/ $//')"
        equal "" "$(crtctl logs --since "@$(($(date +%s) + 100))" follow)"
        equal "line 5" "$(crtctl logs --json=short -n 1 follow | jq -r .message)"
        crtctl rm follow
}

test_forged_log_entries_are_not_shown() {
        crtctl run -d --name forged "$image" echo true >/dev/null
        as alice python3 -c 'import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect("/run/systemd/journal/socket")
s.send(b"MESSAGE=false\nCRT_CONTAINER=forged\nCRT_NAMESPACE=system\nCRT_STREAM=stdout\n")'
        crtctl wait forged >/dev/null
        journalctl --sync
        equal true "$(crtctl logs forged)"
        contains "$(journalctl -q -o cat CRT_CONTAINER=forged)" false
        crtctl rm forged
}

test_stop_and_start_again() {
        # The first process ignores what it does not handle: TERM has no effect, and KILL follows.
        crtctl run -d --name deaf "$image" sleep 100 >/dev/null
        crtctl stop -t 300ms deaf
        equal 137 "$(crtctl wait deaf)"
        crtctl run -d --name polite "$image" sh -c 'trap "exit 3" TERM; echo up; while :; do sleep 0.05; done' >/dev/null
        wait_for 10 eval '[[ $(crtctl logs polite) == up ]]'
        crtctl stop -t 100s polite
        equal 3 "$(crtctl wait polite)"
        crtctl rm deaf polite
        crtctl create --name again "$image" sh -c 'echo once more; exit 4' >/dev/null
        exits 4 crtctl start -a again >"$scratch/out"
        equal "once more" "$(<"$scratch/out")"
        exits 4 crtctl start -a again >/dev/null
        crtctl rm again
}

test_tables_and_json() {
        crtctl run -d --name shown "$image" sleep 100 >/dev/null
        contains "$(crtctl ps)" "ID "
        contains "$(crtctl ps --no-legend)" "shown $image sleep 100"
        equal "shown running $image" "$(crtctl ps --json=short | jq -r '.[] | "\(.id) \(.state) \(.image)"')"
        equal shown "$(crtctl inspect shown | jq -r '.[0].Id')"
        equal "$image" "$(crtctl inspect "$image" | jq -r '.[0].Name')"
        equal "$image" "$(crtctl images --json=pretty | jq -r '.[].name')"
        equal "$(crtctl images --json=short | jq -r '.[0].digest')" \
              "$(crtctl content ls --json=short | jq -r '.[].digest' |
                 grep "$(crtctl images --json=short | jq -r '.[0].digest')")"
        crtctl content cat "$(crtctl images --json=short | jq -r '.[0].digest')" | jq -e .config >/dev/null
        contains "$(crtctl snapshot ls -q)" "sha256:"
        crtctl rm -f shown
}

test_missing_images_are_pulled() {
        crtctl rmi "$image"
        equal "" "$(crtctl images -q)"
        exits 125 container --pull=never "$image" true 2>/dev/null
        equal ok "$(container "$image" echo ok)"
        equal "$image" "$(crtctl images -q)"
        exits 125 container localhost:5000/no/such true 2>"$scratch/error"
        contains "$(<"$scratch/error")" "localhost:5000/no/such"
}

test_signals_reach_the_container() {
        crtctl run --rm "$image" sh -c 'trap "exit 9" TERM; echo up; while :; do sleep 0.05; done' >"$scratch/up" &
        wait_for 10 grep -q up "$scratch/up"
        kill -TERM $!
        exits 9 wait $!
}

test_containers_outlive_their_client() {
        crtctl run --rm --name orphan "$image" sleep 100 &
        wait_for 10 eval '[[ $(crtctl ps -q) == orphan ]]'
        kill -KILL $!
        wait $! || true
        equal orphan "$(crtctl ps -q)"
        crtctl rm -f orphan
}

test_service_may_go_while_the_client_waits() {
        mkdir -p "$scratch/gate"
        crtctl run --rm --name stays -v "$scratch/gate:/gate" "$image" \
                sh -c 'until [ -e /gate/open ]; do sleep 0.05; done; exit 6' &
        wait_for 10 eval '[[ $(crtctl ps --json=short | jq -r .[].state) == running ]]'
        systemctl kill -s KILL crt-tasks
        touch "$scratch/gate/open"
        exits 6 wait $!
}

test_usage_has_hints() {
        exits 125 crtctl run --bogus "$image" 2>"$scratch/error"
        contains "$(<"$scratch/error")" "--bogus"
        contains "$(<"$scratch/error")" "crtctl run --help"
        exits 1 crtctl frobnicate 2>"$scratch/error"
        contains "$(<"$scratch/error")" "crtctl --help"
        exits 1 crtctl lease 2>"$scratch/error"
        contains "$(<"$scratch/error")" "lease: what of it? See 'crtctl lease --help'"
        exits 1 crtctl lease frobnicate --help 2>"$scratch/error"
        contains "$(<"$scratch/error")" "'lease frobnicate' is no verb"
        contains "$(crtctl lease --help)" "  lease ls "
        crtctl --help lease | { ! grep "content ls"; }
        contains "$(crtctl --help)" $'\n  run IMAGE'
        man --warnings -l "$source_root/man/crtctl.1" 2>&1 >/dev/null | equal "" "$(cat)"
}

test_user_without_rights_is_told_which_action() {
        fails as alice crtctl pull "$image"
        contains "$output" "org.crt.images.pull"
        contains "$output" "crtctl: "
        equal 1 "$(wc -l <<<"$output")"
        fails as alice crtctl -n system kill web
        contains "$output" "org.crt.other-namespaces"
}

test_user_with_rights_has_containers() {
        polkit_rule crtctl 'polkit.addRule(function(action, subject) {
                if (subject.user == "alice" && action.id.startsWith("org.crt.") &&
                    action.id != "org.crt.other-namespaces")
                        return polkit.Result.YES;
        });'
        as alice crtctl pull -q "$image"
        equal "$image" "$(as alice crtctl images -q)"
        exits 5 as alice crtctl run --rm "$image" sh -c 'exit 5'
        mkdir -p /home/alice/data
        echo hers >/home/alice/data/file
        chown -R alice /home/alice/data
        equal hers "$(as alice crtctl run --rm -v /home/alice/data:/data:ro "$image" cat /data/file)"
        as alice crtctl run --name hers "$image" true
        fails as alice crtctl logs hers
        contains "$output" "systemd-journal"
        as alice crtctl rm hers
        as alice crtctl rmi "$image"
        polkit_rule crtctl
}

test_completion_knows_verbs_options_and_names() {
        [[ -e /usr/share/bash-completion/bash_completion ]] || skip "bash-completion is not installed"
        equal "rmi run rm|--rm --read-only|$image|cat" "$(bash -c '
                source /usr/share/bash-completion/bash_completion
                source /usr/share/bash-completion/completions/crtctl
                complete_words() {
                        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMPREPLY=()
                        _crtctl
                        printf "%s%s" "$separator" "${COMPREPLY[*]}"
                        separator="|"
                }
                complete_words crtctl r
                complete_words crtctl run --r
                complete_words crtctl rmi ""
                complete_words crtctl content ca')"
}

setup
run_tests
