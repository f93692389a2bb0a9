# SPDX-License-Identifier: LGPL-2.1-or-later
# What the shell tests on a private host share. A test is a file tests/host/test-*.sh:
#
#     source "$(dirname "$0")/lib.sh"
#     test_pull_twice() { crtctl pull "$image"; …; }
#     run_tests
#
# Every function whose name begins with test_ is one case, run in a subshell with errexit on and in the
# order of the file; what it prints is shown only when it fails. "skip REASON" ends a case as skipped.

set -uo pipefail

test_directory=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
source_root=$(dirname "$(dirname "$test_directory")")
scratch=$(mktemp -d "/tmp/$(basename "$0" .sh).XXXXXX")
skip_status=77

skip() { echo "$*" >"$scratch/skip"; exit "$skip_status"; }

fail() { echo "FAILED: $*" >&2; exit 1; }

# as USER COMMAND…: as an ordinary user with nothing of root left.
as() {
        local user=$1
        shift
        setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups --inh-caps=-all \
                env HOME="$(getent passwd "$user" | cut -d: -f6)" USER="$user" LOGNAME="$user" "$@"
}

# fails COMMAND…: the command must end with an error; what it said is in $output.
fails() {
        if output=$("$@" 2>&1); then
                echo "succeeded, but should not have: $*" >&2
                printf '%s\n' "$output" >&2
                return 1
        fi
}

equal() {
        [[ $1 == "$2" ]] || { printf 'expected: %s\ngot:      %s\n' "$1" "$2" >&2; return 1; }
}

contains() {
        [[ $1 == *"$2"* ]] || { printf 'expected in it: %s\ngot: %s\n' "$2" "$1" >&2; return 1; }
}

# wait_for SECONDS COMMAND…: until the command succeeds. The seconds are an idle machine's; a busy one has ten times
# as many.
wait_for() {
        local end=$((SECONDS + 10 * $1))
        shift
        until "$@" >/dev/null 2>&1; do
                (( SECONDS < end )) || { echo "waited in vain for: $*" >&2; return 1; }
                sleep 0.05
        done
}

# polkit_rule NAME JAVASCRIPT: polkitd has read it when this returns; polkit_rule NAME takes it back. It reads a change
# more than once, and what it says of an earlier one may come late: a file that is no rule has its name complained of.
polkit_rule() {
        local rules=/etc/polkit-1/rules.d mark=11-read-$BASHPID-$RANDOM$RANDOM.rules
        # In one step: it would read what is only half there.
        if (( $# > 1 )); then
                printf '%s\n' "$2" >"$rules/10-test-$1.new" && mv "$rules/10-test-$1.new" "$rules/10-test-$1.rules"
        else
                rm -f "$rules/10-test-$1.rules"
        fi
        echo "no rule (" >"$rules/$mark"
        systemctl start polkit
        wait_for 5 eval "journalctl --sync; [[ \$(journalctl -q -b -u polkit -o cat) == *'$mark'* ]]"
        rm "$rules/$mark"
}

run_one() {
        local name=$1 label status
        label=$(tr _ ' ' <<<"${name#test_}")
        rm -f "$scratch/skip"
        ( set -e; "$name" ) >"$scratch/log" 2>&1 </dev/null
        status=$?
        if (( status == 0 )); then
                echo "ok $label"
        elif (( status == skip_status )) && [[ -s $scratch/skip ]]; then
                echo "skip $label: $(<"$scratch/skip")"
        else
                echo "not ok $label: status $status, $(grep -v '^$' "$scratch/log" | tail -n 1)"
                sed 's/^/    /' "$scratch/log"
                return 1
        fi
}

# Runs all, or those whose names contain $ONLY.
run_tests() {
        local name failed=0
        trap '[[ $(type -t cleanup) != function ]] || cleanup; rm -rf "$scratch"' EXIT
        # In the order in which they stand in the file.
        for name in $(grep -oE '^test_[a-z0-9_]+ *\(\)' "$0" | tr -d ' ()'); do
                [[ $name == *"${ONLY:-}"* ]] || continue
                # Not "run_one || …": bash would then ignore errexit in all that run_one calls.
                run_one "$name"
                (( $? == 0 )) || failed=1
        done
        exit "$failed"
}
