#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The rules for polkit that crt(7) shows: each is taken out of the page as it stands there, and does what the page says.
# Nothing needs to exist for that: who is let through is told that it is not there.
source "$(dirname "$0")/lib.sh"

page=$source_root/man/crt.7

cleanup() {
        rm -f /etc/polkit-1/rules.d/10-test-*.rules
        for group in developers operators guests; do groupdel "$group" 2>/dev/null; done
        userdel deploy 2>/dev/null
}

# example NAME: the text of the rule behind the comment "rule: NAME".
example() {
        awk -v mark=".\\\\\" rule: $1" '$0 == mark { found = 1 } found && /^\.Ed/ { exit } inside { print }
                                     found && /^\.Bd/ { inside = 1 }' "$page"
}

use() {
        [[ -n $(example "$1") ]] || fail "crt(7) has no rule $1"
        polkit_rule example "$(example "$1")"
}

# answer USER NAMESPACE SERVICE MEMBER [ARGUMENT]: of a method of a manager, with the namespace as its only option.
answer() {
        local user=$1 namespace=$2 service=$3 member=$4
        shift 4
        as "$user" busctl --timeout=20 call "org.crt.$service" "/org/crt/$service" "org.crt.${service}1" "$member" \
                "$([[ $# == 0 ]] || echo s)a{sv}" "$@" 1 namespace s "$namespace" 2>&1 || true
}

# The same for a method of a container that is not there.
answer_of_container() {
        local user=$1 namespace=$2 member=$3
        shift 3
        as "$user" busctl --timeout=20 call org.crt.Tasks "/org/crt/Tasks/container/$namespace/none" \
                org.crt.Tasks1.Container "$member" "$([[ $# == 0 ]] || echo s)a{sv}" "$@" 0 2>&1 || true
}

# busctl says "Access denied" where polkit said no, and "Interactive authentication required" where it wants a password.
is_refusal() { [[ $1 == *"Access denied"* || $1 == *"nteractive authentication"* ]]; }
passes() { ! is_refusal "$1" || { echo "refused: $1" >&2; return 1; }; }
refused() { is_refusal "$1" || { echo "not refused: $1" >&2; return 1; }; }

own() { echo "u$(id -u "$1")"; }

test_without_a_rule_all_of_it_is_refused() {
        refused "$(answer alice "$(own alice)" Images Pull nothing.invalid/x)"
        refused "$(answer alice "$(own alice)" Tasks Create x)"
        refused "$(answer alice system Tasks List)"
        passes "$(answer alice "$(own alice)" Tasks List)"
}

test_developers_in_their_own_namespaces() {
        groupadd developers
        usermod -aG developers alice
        use own-namespace
        passes "$(answer alice "$(own alice)" Images Remove none)"
        passes "$(answer alice "$(own alice)" Tasks Create x)"
        passes "$(answer alice "$(own alice)" Snapshots Remove none)"
        passes "$(answer_of_container alice "$(own alice)" Kill TERM)"
        refused "$(answer alice system Images Remove none)"
        refused "$(answer alice system Tasks List)"
        refused "$(answer alice "$(own bob)" Tasks Create x)"
        refused "$(answer bob "$(own bob)" Images Remove none)"
}

test_one_user_pulls_from_one_registry() {
        useradd deploy
        use one-registry
        passes "$(answer deploy "$(own deploy)" Images Pull registry.example/a/b:1)"
        refused "$(answer deploy "$(own deploy)" Images Pull registry.example.org/a/b:1)"
        refused "$(answer deploy "$(own deploy)" Images Pull registry.example)"
        refused "$(answer deploy "$(own deploy)" Images Pull docker.io/registry.example/a)"
        refused "$(answer deploy "$(own deploy)" Images Remove registry.example/a/b:1)"
        refused "$(answer deploy system Images Pull registry.example/a/b:1)"
        refused "$(answer alice "$(own alice)" Images Pull registry.example/a/b:1)"
        passes "$(as deploy busctl --timeout=20 call org.crt.Images "/org/crt/Images/transfer/$(own deploy)/4711" \
                org.crt.Images1.Transfer Cancel 'a{sv}' 0 2>&1 || true)"
}

test_operators_see_and_stop_what_is_the_systems() {
        groupadd operators
        usermod -aG operators alice
        use operators
        passes "$(answer alice system Tasks List)"
        passes "$(answer alice system Tasks Get none)"
        passes "$(answer_of_container alice system Wait)"
        passes "$(answer_of_container alice system Kill TERM)"
        refused "$(answer_of_container alice system Start)"
        refused "$(answer_of_container alice system Delete)"
        refused "$(answer alice system Tasks Create x)"
        refused "$(answer alice system Images Remove none)"
        refused "$(answer alice "$(own bob)" Tasks List)"
        refused "$(answer_of_container alice "$(own alice)" Kill TERM)"
        refused "$(answer bob system Tasks List)"
}

test_guests_get_nothing() {
        groupadd guests
        usermod -aG guests bob
        use guests
        refused "$(answer bob "$(own bob)" Tasks List)"
        refused "$(answer bob "$(own bob)" Images List)"
        passes "$(answer alice "$(own alice)" Tasks List)"
}

test_no_rule_of_the_page_is_left_out() {
        local name
        for name in $(sed -n 's/^\.\\" rule: //p' "$page"); do
                grep -q "^ *use $name$" "$0" || fail "the rule $name is not tested"
        done
        equal "$(grep -c 'polkit.addRule' "$page")" "$(grep -c '^\.\\" rule: ' "$page")"
}

run_tests
