#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# That the private host is a machine to crt: whatever its units and the tests need of systemd, polkit,
# journal and kernel works in it.
source "$(dirname "$0")/lib.sh"

service() { systemd-run --wait --pipe --quiet --collect "$@"; }

cleanup() {
        systemctl stop crt-echo.socket 2>/dev/null
        rm -f /etc/systemd/system/crt-echo*
        rm -rf /var/lib/crt/platform
        systemctl daemon-reload
}

test_manager_is_running() {
        equal running "$(systemctl is-system-running)"
        equal systemd "$(cat /proc/1/comm)"
}

test_scope_is_delegated() {
        systemd-run --scope --quiet -p Delegate=yes --slice=crt.slice bash -ec '
                path=$(sed -n "s/^0:://p" /proc/self/cgroup)
                [[ $path == /crt.slice/* ]]
                mkdir "/sys/fs/cgroup$path/payload"
                echo 0 >"/sys/fs/cgroup$path/payload/cgroup.procs"
                grep -q "/payload$" /proc/self/cgroup'
}

test_dynamic_user_owns_its_state() {
        service -p DynamicUser=yes -p StateDirectory=crt-platform \
                sh -c 'test "$(id -u)" -gt 60000 && touch "$STATE_DIRECTORY/x"'
}

test_private_network_is_empty() {
        equal 1 "$(service -p PrivateNetwork=yes sh -c 'ip -o link | wc -l')"
}

test_system_is_read_only_when_strict() {
        fails service -p ProtectSystem=strict touch /usr/x
        contains "$output" "Read-only"
}

test_address_families_are_restricted() {
        fails service -p RestrictAddressFamilies=AF_UNIX \
                python3 -c 'import socket; socket.socket(socket.AF_INET)'
        contains "$output" "not supported"
}

test_system_calls_are_filtered() {
        fails service -p SystemCallFilter=~@mount -p SystemCallErrorNumber=EPERM mount -t tmpfs x /mnt
        contains "$output" "permission denied"
}

test_private_users_map_only_the_own() {
        equal alice "$(service -p PrivateUsers=yes -p User=alice id -un)"
        fails service -p PrivateUsers=yes -p User=alice chown bob /tmp
}

test_proc_hides_others() {
        fails service -p ProtectProc=invisible -p ProcSubset=pid -p User=alice ls -d /proc/1
}

test_capabilities_are_bounded() {
        contains "$(service -p NoNewPrivileges=yes -p CapabilityBoundingSet=CAP_CHOWN cat /proc/self/status |
                    tr '\t' ' ')" "CapBnd: 0000000000000001"
}

test_hardened_service_gets_credential() {
        equal "$(hostname)" "$(service -p User=alice -p LoadCredential=c:/etc/hostname -p PrivateTmp=yes \
                -p PrivateDevices=yes -p ProtectKernelTunables=yes -p ProtectKernelModules=yes \
                -p ProtectKernelLogs=yes -p ProtectControlGroups=yes -p ProtectClock=yes \
                -p ProtectHostname=yes -p ProtectHome=yes -p RestrictNamespaces=yes -p RestrictRealtime=yes \
                -p RestrictSUIDSGID=yes -p LockPersonality=yes -p MemoryDenyWriteExecute=yes \
                -p SystemCallArchitectures=native -p SystemCallFilter=@system-service -p UMask=0077 \
                -p IPAddressDeny=any -p RemoveIPC=yes -p DevicePolicy=closed -p StateDirectory=q \
                sh -c 'cat "$CREDENTIALS_DIRECTORY/c"')"
}

test_mounts_reach_running_services() {
        mkdir -p "$scratch/m"
        # A directory of root's under /run, as /tmp is hidden by no option here.
        systemd-run --quiet --unit crt-propagate -p ProtectSystem=strict sleep 60
        mount -t tmpfs crt-propagate "$scratch/m"
        nsenter -t "$(systemctl show -P MainPID crt-propagate)" -m \
                grep -q "crt-propagate" /proc/self/mountinfo
        umount "$scratch/m"
        systemctl stop crt-propagate
}

test_socket_starts_a_unit_for_each_connection() {
        printf '[Socket]\nListenStream=/run/crt-echo.sock\nAccept=yes\n' >/etc/systemd/system/crt-echo.socket
        printf '[Service]\nDynamicUser=yes\nPrivateNetwork=yes\nExecStart=cat\nStandardInput=socket\n' \
                >/etc/systemd/system/crt-echo@.service
        systemctl daemon-reload
        systemctl start crt-echo.socket
        equal hello "$(python3 -c 'import socket
s = socket.socket(socket.AF_UNIX); s.connect("/run/crt-echo.sock"); s.send(b"hello"); s.shutdown(1)
print(s.makefile().read())')"
}

test_polkit_rule_counts_at_once() {
        stop_as_alice() { as alice systemctl --no-ask-password stop crt-echo.socket; }
        systemctl start crt-echo.socket
        fails stop_as_alice
        polkit_rule platform 'polkit.addRule(function(action, subject) {
                if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "alice" &&
                    action.lookup("unit") == "crt-echo.socket")
                        return polkit.Result.YES;
        });'
        stop_as_alice
        polkit_rule platform
        systemctl start crt-echo.socket
        fails stop_as_alice
}

test_journal_finds_fields() {
        python3 -c 'import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect("/run/systemd/journal/socket")
s.send(b"MESSAGE=from a container\nCRT_CONTAINER=platform\n")'
        journalctl --sync
        equal "from a container" "$(journalctl -q -o cat CRT_CONTAINER=platform)"
}

test_users_may_make_user_namespaces() {
        as alice unshare --user --map-root-user --mount --net --cgroup --fork --pid sh -c \
                'mount -t proc proc /proc && mount -t sysfs sysfs /sys &&
                 mount -t cgroup2 none /sys/fs/cgroup'
}

test_storage_can_be_an_upper_directory() {
        mkdir -p /var/lib/crt/platform/{lower,upper,work,merged}
        cd /var/lib/crt/platform
        touch lower/file
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
        rm merged/file
        umount merged
        test -c upper/file
}

test_kernel_settings_of_the_machine_are_read_only() {
        fails sh -c 'echo 1 >/proc/sys/kernel/dmesg_restrict'
        echo 1 >/proc/sys/net/ipv4/ip_forward
}

test_other_users_exist_and_have_no_rights() {
        equal alice "$(as alice id -un)"
        equal bob "$(as bob id -Gn)"
        fails as alice systemctl --no-ask-password start crt-echo.socket
}

run_tests
