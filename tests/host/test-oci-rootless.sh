#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Containers of an ordinary user: no right but those over its own files and, perhaps, over a cgroup that it was given.
source "$(dirname "$0")/oci.sh"

user=nobody
group=$(id -gn "$user")
uid=$(id -u "$user") gid=$(id -g "$user")
[[ $(sysctl -n user.max_user_namespaces) != 0 ]] || { echo "skip all: no user namespaces"; exit 0; }

own=$scratch/own
mkdir -p "$own/state"
rm -rf "$rootfs"
rootfs=$own/rootfs
make_rootfs "$rootfs"
cp "${CRT_OCI:-$(command -v crt-oci)}" "$own/crt-oci"
chown -R "$user:$group" "$own"
state=$own/state
bundle=$own/bundle

ordinary() { setpriv --reuid "$uid" --regid "$gid" --clear-groups --inh-caps=-all env HOME="$own" "$@"; }
oci() { ordinary "$own/crt-oci" --root "$state" "$@"; }

# Its own id alone is mapped; what needs more than that is left out.
single='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: '$uid', size: 1}]
        | .linux.gidMappings = [{containerID: 0, hostID: '$gid', size: 1}]
        | (.mounts[] | select(.type == "devpts")).options |= map(select(. != "gid=5"))
        | .linux.resources = {} | del(.linux.cgroupsPath)'

test_an_ordinary_users_container() {
        inside "$single" sh -c 'id -u; cat /proc/self/uid_map | tr -s " "; cat /proc/self/setgroups; echo $$; hostname
                touch /made && stat -c %u /made /proc /dev/shm; echo x >/dev/null && cat /proc/keys; ls /sys/class/net; mount -t tmpfs x /tmp 2>&1 | tail -n 1' || fail "$output"
        contains "$output" " 0 $uid 1"
        equal 0 "$(head -n 1 <<<"$output")"
        contains "$output" $'\ndeny\n1\nbox\n0\n'
        contains "$output" $'\nlo'
        equal "$uid" "$(stat -c %u "$rootfs/made")"
        rm "$rootfs/made"
        equal "" "$(ls "$state" | grep -v '^\.')"
}

test_create_start_kill_delete() {
        bundle "$single" sleep 100
        oci create -b "$bundle" box
        equal created "$(oci state box | jq -r .status)"
        oci start box
        equal running "$(oci state box | jq -r .status)"
        oci kill box KILL
        wait_for 5 eval '[[ $(oci state box | jq -r .status) == stopped ]]'
        oci delete box
        equal "" "$(ls "$state" | grep -v '^\.')"
}

test_mounts_stay_as_the_host_has_them() {
        mkdir -p "$own/data"
        chown "$user" "$own/data"
        mount --bind "$own/data" "$own/data"
        mount -o remount,bind,ro,nosuid,nodev "$own/data"
        inside "$single"' | ["CAP_SYS_ADMIN"] as $c | .process.capabilities = {bounding: $c, permitted: $c, effective: $c}
                | .mounts += [{destination: "/data", source: "'"$own"'/data", options: ["bind"]}]' \
                sh -c 'mount -o remount,bind,rw,nosuid,nodev /data; touch /data/x; grep " /data " /proc/mounts' || true
        umount "$own/data"
        contains "$output" " ro,nosuid,nodev"
        [[ ! -e $own/data/x ]]
}

test_what_is_not_possible_is_said() {
        bundle "$single"' | .process.user.additionalGids = [4]'
        fails oci run -b "$bundle" box
        contains "$output" "config.process.user.additionalGids: an ordinary user's single group can't be changed"
        bundle "$single"' | .linux.resources = {pids: {limit: 5}}'
        fails oci run -b "$bundle" box
        [[ $output == *cgroup* ]] || fail "$output"
        bundle "$single"' | .linux.uidMappings[0].size = 2'
        fails oci run -b "$bundle" box
        [[ $output == *newuidmap* ]] || fail "$output"
        bundle 'del(.linux.cgroupsPath)'
        fails oci run -b "$bundle" box
        equal "" "$(ls "$state" | grep -v '^\.')"
}

test_more_ids_by_newuidmap() {
        grep -q "^$user:" /etc/subuid 2>/dev/null || {
                echo "$user:700000:1000" >>/etc/subuid
                echo "$user:700000:1000" >>/etc/subgid
        }
        local many='.linux.uidMappings += [{containerID: 1, hostID: 700000, size: 1000}] | .linux.gidMappings += [{containerID: 1, hostID: 700000, size: 1000}]'
        inside "$single | $many | .process.user = {uid: 5, gid: 6, additionalGids: [7]}" \
                sh -c 'id -u; id -G; wc -l </proc/self/uid_map; cat /proc/self/setgroups' || fail "$output"
        equal $'5\n6 7\n2\nallow' "$output"
        sed -i "/^$user:700000:/d" /etc/subuid /etc/subgid
}

test_hooks_and_limits_of_an_ordinary_user() {
        printf '#!/bin/sh\ncat >"%s/hook-state"; echo >>"%s/hook-state"; id -u >>"%s/hook-state"\n' "$own" "$own" "$own" >"$own/hook"
        chmod +x "$own/hook"
        inside "$single"' | .hooks = {createRuntime: [{path: "'"$own"'/hook", env: ["PATH=/bin"]}]} | .process.oomScoreAdj = 900
                | .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 50, hard: 60}] | .linux.namespaces += [{type: "time"}]
                | .linux.timeOffsets = {boottime: {secs: 1000000}}' sh -c 'cat /proc/self/oom_score_adj; ulimit -Hn' || fail "$output"
        equal $'900\n60' "$output"
        equal "$uid" "$(tail -n 1 "$own/hook-state")"
}

# The agent gets the listener from a process that the user's own init has.
test_a_seccomp_listener() {
        local new
        for new in true false; do
                rm -rf "$own/agent" "$own/told"*
                ordinary python3 "$(dirname "$0")/seccomp_agent.py" "$own/agent" "$own/told" </dev/null >"$scratch/agent.log" 2>&1 &
                wait_for 20 test -e "$own/told.ready"
                inside "$single"' | .process.noNewPrivileges = '$new' | .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW",
                        listenerPath: "'"$own"'/agent", listenerMetadata: "of a user",
                        syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_NOTIFY"}]}' mkdir /tmp/x && fail "mkdir went through"
                contains "$output" "Protocol error"
                wait_for 20 test -s "$own/told"
                equal '["seccompFd"] of a user box' "$(jq -rc '"\(.fds) \(.metadata) \(.state.id)"' "$own/told")"
        done
        wait
}

run_tests
