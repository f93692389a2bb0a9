#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Hooks: which runs when, where, as whom, with what on its standard input; and what becomes of a container when one fails.
source "$(dirname "$0")/oci.sh"

trace=$scratch/trace

# A hook that notes its name, its namespaces and its state. The same file is in the root file system.
hook=$scratch/hook
cat >"$hook" <<'END'
#!/bin/busybox sh
state=$(cat)
{
        echo "$1 mnt=$(readlink /proc/self/ns/mnt) net=$(readlink /proc/self/ns/net) pid=$(readlink /proc/self/ns/pid)"
        echo "$1 state $state"
        echo "$1 cwd $(pwd) uid $(id -u) env $(env | grep -v -E "^(PATH|PWD|SHLVL|_)=" | sort | tr '\n' ' ')"
} >>"${TRACE:-/trace}"
[ "$2" != fail ] || { echo "it is broken" >&2; exit 3; }
[ "$2" != sleep ] || exec sleep 98765
END
chmod 0755 "$hook"
cp "$hook" "$rootfs/hook"
[[ -e /bin/busybox ]]

# with_hooks FILTER: the change to a configuration whose hooks FILTER makes out of these two words.
with_hooks() {
        printf 'def outside(n; w): {path: "%s", args: ["hook", n, w], env: ["TRACE=%s"]};
                def inside(n; w): {path: "/hook", args: ["hook", n, w], env: ["TRACE=/trace"]};
                .hooks = {%s}' "$hook" "$trace" "$1"
}

fresh() {
        rm -f "$trace" "$rootfs/trace"
        oci delete --force box
}

all='prestart: [outside("prestart"; "")], createRuntime: [outside("createRuntime"; "")],
        createContainer: [outside("createContainer"; "")], startContainer: [inside("startContainer"; "")]'

test_order_and_namespaces() {
        fresh
        inside "$(with_hooks "$all")" sh -c 'readlink /proc/self/ns/mnt; readlink /proc/self/ns/net' || fail "$output"
        local own container
        own="net=$(readlink /proc/self/ns/net) pid=$(readlink /proc/self/ns/pid)"
        container=$(tail -n 1 <<<"$output")
        equal $'prestart\ncreateRuntime\ncreateContainer' "$(awk '/mnt=/ {print $1}' "$trace")"
        equal startContainer "$(awk '/mnt=/ {print $1}' "$rootfs/trace")"
        # The first two are in the runtime's namespaces, the others in the container's.
        equal 2 "$(grep -Fc "mnt=$(readlink /proc/self/ns/mnt) $own" "$trace")"
        contains "$(grep 'createContainer mnt' "$trace")" "net=$container"
        contains "$(cat "$rootfs/trace")" "net=$container"
        contains "$(grep 'createContainer mnt' "$trace")" "mnt=$(head -n 1 <<<"$output") "
}

test_they_are_not_run_before_their_time() {
        fresh
        bundle "$(with_hooks "$all")" true
        oci create -b "$bundle" box
        equal 3 "$(grep -c mnt= "$trace")"
        [[ ! -e $rootfs/trace ]]
        oci start box
        wait_for 5 grep -q startContainer "$rootfs/trace"
        oci delete --force box
        equal 3 "$(grep -c mnt= "$trace")"
}

test_state_on_standard_input() {
        fresh
        bundle "$(with_hooks "$all") | .annotations = {\"org.example.x\": \"a b\"}" true
        oci create -b "$bundle" box
        local pid kind
        pid=$(oci state box | jq .pid)
        for kind in prestart createRuntime; do
                equal "{\"annotations\":{\"org.example.x\":\"a b\"},\"bundle\":\"$bundle\",\"id\":\"box\",\"ociVersion\":\"1.0.2\",\"pid\":$pid,\"status\":\"creating\"}" \
                        "$(sed -n "s/^$kind state //p" "$trace" | jq -cS .)"
        done
        equal 1 "$(sed -n 's/^createContainer state //p' "$trace" | jq .pid)"
        oci start box
        wait_for 5 grep -q startContainer "$rootfs/trace"
        equal '"created" 1' "$(sed -n 's/^startContainer state //p' "$rootfs/trace" | jq -r '"\"" + .status + "\" \(.pid)"')"
        oci delete --force box
}

test_environment_directory_and_user() {
        fresh
        touch "$rootfs/trace" && chmod 0666 "$rootfs/trace"
        inside "$(with_hooks "$all") | .process.user.uid = 9 | .process.cwd = \"/tmp\"" true
        equal "$bundle" "$(sed -n 's/^prestart cwd \([^ ]*\) .*/\1/p' "$trace")"
        equal "uid 0 env TRACE=$trace " "$(sed -n 's/^createRuntime cwd [^ ]* //p' "$trace")"
        equal "cwd /tmp uid 9 env TRACE=/trace " "$(sed -n 's/^startContainer \(cwd .*\)/\1/p' "$rootfs/trace")"
}

test_no_descriptor_reaches_a_hook() {
        fresh
        local seen=$scratch/seen
        cat >"$scratch/look" <<'END'
#!/bin/busybox sh
echo $(ls /proc/self/fd) >>SEEN
END
        sed -i "s,SEEN,$seen," "$scratch/look"
        chmod +x "$scratch/look"
        exec 8<"$scratch"
        inside '.hooks = {createRuntime: [{path: "'"$scratch"'/look"}], createContainer: [{path: "'"$scratch"'/look"}]}' true
        exec 8<&-
        # 0 to 2, and what the shell and ls have open themselves.
        equal 2 "$(grep -cE '^0 1 2( 3)?( 10)?$' "$seen")"
}

test_a_hook_that_fails_ends_the_creation() {
        local kind
        for kind in prestart createRuntime createContainer; do
                fresh
                refused "$(with_hooks "$kind: [outside(\"first\"; \"\"), outside(\"second\"; \"fail\"), outside(\"third\"; \"\")]")" \
                        "config.hooks.${kind}[1]: $hook: ended with status 3: it is broken"
                equal "first second first second" "$(awk '/mnt=/ {printf "%s%s", s, $1; s = " "}' "$trace")"
        done
        fresh
        refused '.hooks = {createRuntime: [{path: "/no/such/hook"}]}' "config.hooks.createRuntime[0]: /no/such/hook: No such file"
        refused '.hooks = {createContainer: [{path: "/etc/passwd"}]}' "config.hooks.createContainer[0]: /etc/passwd: Permission denied"
}

test_a_start_container_hook_that_fails() {
        fresh
        bundle "$(with_hooks 'startContainer: [inside("startContainer"; "fail")]')" touch /started
        fails oci run -b "$bundle" box
        contains "$output" "config.hooks.startContainer[0]: /hook: ended with status 3: it is broken"
        [[ ! -e $rootfs/started ]]
        nothing_left
        oci create -b "$bundle" box
        fails oci start box
        contains "$output" "config.hooks.startContainer[0]"
        wait_for 5 eval '[[ $(oci state box | jq -r .status) == stopped ]]'
        oci delete --force box
        nothing_left
}

test_a_hook_that_does_not_end_is_killed() {
        fresh
        local started=$SECONDS
        refused "$(with_hooks 'createRuntime: [outside("slow"; "sleep") + {timeout: 1}]')" \
                "config.hooks.createRuntime[0]: $hook: still runs after 1 s, and was killed"
        (( SECONDS - started < 100 ))
        equal "" "$(pgrep -f "^sleep 98765$")"
}

test_a_hook_of_the_start_hinders_nobody() {
        fresh
        local kind command pid
        for kind in 'startContainer: [inside("slow"; "sleep")]' 'poststart: [outside("slow"; "sleep")]'; do
                for command in start run; do
                        bundle "$(with_hooks "$kind")" sleep 1000
                        if [[ $command == start ]]; then
                                oci create -b "$bundle" box </dev/null >/dev/null 2>&1
                                oci start box </dev/null >/dev/null 2>&1 &
                        else
                                oci run -b "$bundle" box </dev/null >/dev/null 2>&1 &
                        fi
                        wait_for 5 pgrep -f "^sleep 98765$"
                        timeout 100 "${CRT_OCI:-crt-oci}" --root "$state" kill box KILL
                        timeout 100 "${CRT_OCI:-crt-oci}" --root "$state" delete --force box
                        for pid in $(pgrep -f "^sleep 98765$"); do kill -9 "$pid" || true; done
                        wait || true
                        nothing_left
                done
        done
}

# What hooks in the field do: they ask the runtime that runs them. None may wait for the one that waits for it.
test_hooks_may_call_the_runtime() {
        fresh
        local ask=$scratch/ask said=$scratch/said kind program
        program=$(command -v "${CRT_OCI:-crt-oci}")
        cat >"$ask" <<END
#!/bin/bash
exec >>$said 2>&1
export ASAN_OPTIONS=detect_leaks=0 # it would look for itself in a /proc of other numbers
status() { timeout 100 $program --root $state "\$@"; echo "\$1 \$?"; }
echo "\$1"
timeout 100 $program --root $state state box | jq -r .status
status list -q
for command in start pause resume "update --pids-limit 5" ps "events --stats" exec delete "delete --force"; do
        set -- \$command box
        [[ \$1 != exec ]] || set -- exec box true
        status "\$@"
done
END
        chmod +x "$ask"
        for kind in prestart createRuntime createContainer; do
                rm -f "$said"
                inside ".hooks = {$kind: [{path: \"$ask\", args: [\"ask\", \"$kind\"], env: [\"PATH=/usr/bin:/bin\"], timeout: 1000}]}" true ||
                        fail "$output"
                contains "$(cat "$said")" "$kind"$'\ncreating\nbox\nlist 0\n'
                equal 7 "$(grep -c "'box' is being created" "$said")"
                equal 0 "$(grep -c " 124$" "$said")"
                nothing_left
        done
        rm -f "$said"
        bundle ".hooks = {poststart: [{path: \"$ask\", args: [\"ask\", \"poststart\"], env: [\"PATH=/usr/bin:/bin\"], timeout: 1000}]}" sleep 1000
        oci run --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        contains "$(cat "$said")" $'poststart\nrunning\nbox\nlist 0\n'
        contains "$(cat "$said")" "exec 0"
        contains "$(cat "$said")" "delete 0"
        nothing_left
}

test_a_hook_that_writes_all_the_time_is_killed_too() {
        fresh
        local started=$SECONDS
        refused '.hooks = {createRuntime: [{path: "/bin/sh", args: ["sh", "-c", "yes much & yes more & exec yes"], env: ["PATH=/bin:/usr/bin"], timeout: 1}]}' "still runs after 1 s, and was killed"
        printf '#!/bin/sh\nyes much &\necho $! >%s\n' "$scratch/writer" >"$scratch/fork"
        chmod +x "$scratch/fork"
        inside '.hooks = {createRuntime: [{path: "'"$scratch"'/fork", env: ["PATH=/bin:/usr/bin"]}]}' true || fail "$output"
        kill -9 "$(cat "$scratch/writer")" 2>/dev/null || true
        (( SECONDS - started < 100 ))
}

test_the_umask_of_hooks_is_the_callers() {
        fresh
        printf '#!/bin/sh\numask >>%s\n' "$scratch/umasks" >"$scratch/look"
        chmod +x "$scratch/look"
        rm -f "$scratch/umasks"
        ( umask 0027
          inside '.hooks = {createRuntime: [{path: "'"$scratch"'/look"}], createContainer: [{path: "'"$scratch"'/look"}]}' true )
        equal "0027 0027" "$(xargs <"$scratch/umasks")"
}

test_a_hook_that_leaves_something_behind_is_not_waited_for() {
        fresh
        printf '#!/bin/sh\nsleep 98764 &\necho $! >%s\necho much; exit 0\n' "$scratch/behind" >"$scratch/fork"
        chmod +x "$scratch/fork"
        inside '.hooks = {createRuntime: [{path: "'"$scratch"'/fork"}]}' true
        kill -KILL "$(cat "$scratch/behind")"
}

# What tools for devices do: they enter the mount namespace before the pivot and mount below the root's own path.
test_a_hook_can_mount_into_the_root() {
        fresh
        cat >"$scratch/mounter" <<END
#!/bin/bash
pid=\$(jq .pid)
exec nsenter --mount=/proc/\$pid/ns/mnt -- mount -t tmpfs -o size=8k from-hook "$rootfs/tmp"
END
        chmod +x "$scratch/mounter"
        inside '.hooks = {prestart: [{path: "'"$scratch"'/mounter", env: ["PATH=/usr/bin:/bin"]}]}' grep from-hook /proc/mounts ||
                fail "$output"
        contains "$output" "from-hook /tmp tmpfs"
        equal "" "$(grep from-hook /proc/mounts)"
        local userns='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
                | .linux.gidMappings = .linux.uidMappings'
        inside "$userns"' | .hooks = {createContainer: [{path: "'"$hook"'", args: ["hook", "createContainer"], env: ["TRACE=/trace"]}]}' true ||
                [[ $output == *"/trace"* ]] || fail "$output"
}

test_hooks_see_a_profile_that_lets_them() {
        fresh
        inside "$(with_hooks "$all")"' | .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38}]}
                | .process.noNewPrivileges = false' true || fail "$output"
        contains "$(cat "$rootfs/trace")" startContainer
}

run_tests
