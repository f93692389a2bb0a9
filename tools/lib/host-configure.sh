# SPDX-License-Identifier: LGPL-2.1-or-later
# What distinguishes a private host's files from the machine's, done in its overlay. Part of host-init.

# Leaves of the machine's configuration what any Debian has, and nothing that it starts on its own.
clean_machine() {
        local directory link unit

        rm -rf "$root"/etc/systemd/{system,network,*.conf.d} "$root"/etc/crypttab "$root"/etc/.updated \
               "$root"/etc/polkit-1/rules.d/* "$root"/var/lib/polkit-1/localauthority "$root"/var/lib/crt \
               "$root"/run/* "$root"/etc/sysctl.d
        mkdir -p "$root"/etc/systemd/{system,system.conf.d,journald.conf.d,system-generators}
        : >"$root/etc/fstab"
        : >"$root/etc/environment"

        for directory in "$root"/usr/lib/systemd/system/*.target.wants; do
                for link in "$directory"/*; do
                        unit=${link##*/}
                        [[ " ${wanted[*]} " == *" $unit "* ]] || rm -f "$link"
                done
        done
        # Generators make units from the machine's fstab, init scripts, gettys and databases.
        for link in "$root"/usr/lib/systemd/system-generators/*; do
                ln -sf /dev/null "$root/etc/systemd/system-generators/${link##*/}"
        done
}

configure_host() {
        tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
        rm -f "$root/var/lib/dbus/machine-id"
        echo "$name" >"$root/etc/hostname"
        hostname "$name"
        if [[ $network == private ]]; then
                printf '127.0.0.1 localhost %s\n::1 localhost\n' "$name" >"$root/etc/hosts"
                rm -f "$root/etc/resolv.conf"
                : >"$root/etc/resolv.conf"
        else
                printf '127.0.0.1 %s\n' "$name" >>"$root/etc/hosts"
                cp --remove-destination -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
        fi

        ln -sf /dev/null "$root/etc/systemd/system/systemd-networkd-wait-online.service"
        if [[ $CRT_HOST_BUS == broker ]]; then
                ln -sf /lib/systemd/system/dbus-broker.service "$root/etc/systemd/system/dbus.service"
        fi
        printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nAudit=no\n' \
                >"$root/etc/systemd/journald.conf.d/50-crt-host.conf"
        {
                echo "[Manager]"
                echo "DefaultTimeoutStartSec=30s"
                echo "DefaultTimeoutStopSec=15s"
                [[ -z $CRT_HOST_SANITIZERS ]] || echo "DefaultEnvironment=$CRT_HOST_SANITIZERS"
        } >"$root/etc/systemd/system.conf.d/50-crt-host.conf"
}

# Two people without any rights, for tests.
add_users() {
        local user
        for user in alice bob; do
                ! grep -q "^$user:" "$root/etc/passwd" || continue
                useradd --root "$root" --create-home --shell /bin/bash "$user"
        done
}

install_crt() {
        [[ -n $build ]] || return 0
        meson install -C "$build" --no-rebuild --quiet --destdir "$root" >&2
        # sysusers.d and tmpfiles.d are read again when /usr is newer than what was seen last.
        touch "$root/usr"
}

# The repository and the build, read-only and at the same place in every host.
show_sources() {
        local target
        mkdir -p "$root/usr/src/crt" "$root/usr/src/crt-build"
        mount --bind "$top" "$root/usr/src/crt"
        mount -o remount,bind,ro "$root/usr/src/crt"
        [[ -n $build ]] || return 0
        mount --bind "$build" "$root/usr/src/crt-build"
        mount -o remount,bind,ro "$root/usr/src/crt-build"
}
