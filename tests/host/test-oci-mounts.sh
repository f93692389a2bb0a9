#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# config.mounts beyond the everyday ones: id mappings, copies, links, recursive attributes, propagation, changes of what is there.
source "$(dirname "$0")/oci.sh"

source_tree=$scratch/source
rm -rf "$source_tree"
mkdir -p "$source_tree/below"
touch "$source_tree/root" "$source_tree/alice"
chown 1000:1000 "$source_tree/alice"

# mount ITEM…: a filter that adds these mounts.
mounts() { local IFS=,; printf '.mounts += [%s]' "$*"; }

userns='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
        | .linux.gidMappings = .linux.uidMappings'

mkdir -p "$rootfs/data"
owners() { inside "$1 | $(mounts "$2")" stat -c '%n %u:%g' /data/root /data/alice; }

# An ext4 of its own: not every file system can be mapped.
on_mappable() {
        local image=$scratch/image
        if [[ ! -e $image ]]; then
                truncate -s 16M "$image"
                mkfs.ext4 -q "$image"
        fi
        mkdir -p "$scratch/mapped"
        mount -o loop "$image" "$scratch/mapped" 2>/dev/null || mount -t tmpfs mapped "$scratch/mapped"
        touch "$scratch/mapped/root" "$scratch/mapped/alice"
        chown 1000:1000 "$scratch/mapped/alice"
}

test_mappings_of_a_mount() {
        on_mappable
        trap 'umount "$scratch/mapped"' EXIT
        local own='uidMappings: [{containerID: 0, hostID: 5, size: 1}, {containerID: 1000, hostID: 7, size: 1}], gidMappings: [{containerID: 0, hostID: 6, size: 1}, {containerID: 1000, hostID: 8, size: 1}]'
        owners . "{destination: \"/data\", source: \"$scratch/mapped\", options: [\"bind\"], $own}" || fail "$output"
        equal $'/data/root 5:6\n/data/alice 7:8' "$output"
        # crun's form of the same
        owners . "{destination: \"/data\", source: \"$scratch/mapped\", options: [\"bind\", \"idmap=uids=0-5-1#1000-7-1;gids=0-6-1#1000-8-1\"]}" || fail "$output"
        equal $'/data/root 5:6\n/data/alice 7:8' "$output"
        # In a user namespace the files are its own.
        owners "$userns" "{destination: \"/data\", source: \"$scratch/mapped\", options: [\"bind\", \"idmap\"]}" || fail "$output"
        equal $'/data/root 0:0\n/data/alice 1000:1000' "$output"
        owners "$userns" "{destination: \"/data\", source: \"$scratch/mapped\", options: [\"bind\"]}" || fail "$output"
        equal $'/data/root 65534:65534\n/data/alice 65534:65534' "$output"
        # Without it, "idmap" means nothing.
        refused "$(mounts "{destination: \"/data\", source: \"$scratch/mapped\", options: [\"bind\", \"idmap\"]}")" \
                "the container has no user namespace whose mappings could be meant" || true
        equal 0:0 "$(stat -c %u:%g "$scratch/mapped/root")"
}

test_mappings_of_all_that_is_below() {
        on_mappable
        mkdir -p "$scratch/mapped/inner"
        mount -t tmpfs inner "$scratch/mapped/inner"
        trap 'umount -R "$scratch/mapped"' EXIT
        touch "$scratch/mapped/inner/root"
        mkdir -p "$rootfs/deep" "$rootfs/flat"
        inside "$userns | $(mounts "{destination: \"/deep\", source: \"$scratch/mapped\", options: [\"rbind\", \"ridmap\"]}" \
                "{destination: \"/flat\", source: \"$scratch/mapped\", options: [\"rbind\", \"idmap\"]}")" \
                stat -c '%n %u' /deep/root /deep/inner/root /flat/root /flat/inner/root || fail "$output"
        equal $'/deep/root 0\n/deep/inner/root 0\n/flat/root 0\n/flat/inner/root 65534' "$output"
        rmdir "$rootfs/deep" "$rootfs/flat"
}

test_mappings_that_can_not_be() {
        refused "$(mounts '{destination: "/x", type: "tmpfs", source: "x", uidMappings: [{containerID: 0, hostID: 5, size: 1}], gidMappings: [{containerID: 0, hostID: 5, size: 1}]}')" \
                "config.mounts[7].uidMappings: go with bind mounts only"
        refused "$(mounts '{destination: "/x", source: "/proc/sys", options: ["bind"], uidMappings: [{containerID: 0, hostID: 5, size: 1}], gidMappings: [{containerID: 0, hostID: 5, size: 1}]}')" \
                "the file system of /proc/sys can't be id-mapped"
        refused "$(mounts '{destination: "/x", source: "/etc", options: ["bind", "idmap=uids=0-1;gids=1"]}')" "idmap is not like"
}

test_copies_of_what_a_tmpfs_covers() {
        mkdir -p "$rootfs/covered/sub/dir"
        echo text >"$rootfs/covered/file"
        chmod 4755 "$rootfs/covered/file"
        chown 3:4 "$rootfs/covered/file"
        chmod 4755 "$rootfs/covered/file"
        touch -d 2001-02-03 "$rootfs/covered/file"
        ln -s /etc/shadow "$rootfs/covered/link"
        mkfifo "$rootfs/covered/fifo"
        mknod "$rootfs/covered/device" c 1 3
        chmod 0710 "$rootfs/covered"
        inside "$(mounts '{destination: "/covered", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "ro"]}')" sh -c '
                stat -c "%n %a %u:%g %F" /covered /covered/file /covered/sub/dir; stat -c %y /covered/file | cut -c1-10
                cat /covered/file; readlink /covered/link; ls /covered | tr "\n" " "; touch /covered/x' && fail written
        equal "/covered 710 0:0 directory
/covered/file 4755 3:4 regular file
/covered/sub/dir 755 0:0 directory
2001-02-03
text
/etc/shadow
file link sub touch: /covered/x: Read-only file system" "$output"
        inside "$(mounts '{destination: "/covered", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "mode=1777", "size=64k"]}')" \
                sh -c 'stat -c %a /covered; echo more >/covered/new; cat /covered/file /covered/new'
        equal $'1777\ntext\nmore' "$output"
        equal text "$(cat "$rootfs/covered/file")"
        # What does not fit is an error, not half a copy.
        head -c 200000 /dev/zero >"$rootfs/covered/big"
        refused "$(mounts '{destination: "/covered", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "size=64k"]}')" \
                "options: tmpcopyup of /covered: No space left on device"
        # A link does not lead the copy astray.
        ln -s /etc "$rootfs/astray"
        inside "$(mounts '{destination: "/astray", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"]}')" ls /etc
        [[ $output != *shadow* ]] || fail "the host's /etc was copied"
        rm -rf "$rootfs/covered" "$rootfs/astray"
}

test_links_are_followed_made_or_covered() {
        echo linked >"$source_tree/file"
        ln -sfn file "$source_tree/link"
        inside "$(mounts "{destination: \"/followed\", source: \"$source_tree/link\", options: [\"bind\"]}" \
                "{destination: \"/made/link\", source: \"$source_tree/link\", options: [\"bind\", \"copy-symlink\"]}" \
                "{destination: \"/itself\", source: \"$source_tree/link\", options: [\"bind\", \"src-nofollow\"]}")" \
                sh -c 'cat /followed; readlink /made/link; readlink /itself; ls -l /itself | cut -c1' || fail "$output"
        equal $'linked\nfile\nfile\nl' "$output"
        # The last component of a destination is covered itself; without the option it is followed, inside the root.
        ln -s /etc/target "$rootfs/point"
        inside "$(mounts "{destination: \"/point\", source: \"$source_tree/link\", options: [\"bind\", \"src-nofollow\", \"dest-nofollow\"]}")" \
                readlink /point || fail "$output"
        equal file "$output"
        rm -rf "$rootfs"/{followed,made,itself,point}
        ln -s elsewhere "$rootfs/taken"
        refused "$(mounts "{destination: \"/taken\", source: \"$source_tree/link\", options: [\"bind\", \"copy-symlink\"]}")" \
                "/taken: is there already, and no link to file"
        rm "$rootfs/taken"
}

test_recursive_attributes() {
        mount -t tmpfs inner "$source_tree/below"
        local word seen=""
        for word in rro rnosuid rnodev rnoexec rnoatime rnodiratime rnosymfollow; do
                inside "$(mounts "{destination: \"/data\", source: \"$source_tree\", options: [\"rbind\", \"$word\"]}")" \
                        grep /data/below /proc/mounts || fail "$word: $output"
                seen+="$word $(awk '{print $4}' <<<"$output")"$'\n'
        done
        umount "$source_tree/below"
        local flag
        for flag in ro nosuid nodev noexec noatime nodiratime nosymfollow; do
                grep -qE "^r$flag (.*,)?$flag(,|$)" <<<"$seen" || fail "$flag: $seen"
        done
}

test_access_times() {
        local word
        for word in noatime relatime nodiratime strictatime; do
                inside "$(mounts "{destination: \"/data\", source: \"$source_tree\", options: [\"bind\", \"$word\"]}" \
                        "{destination: \"/new\", type: \"tmpfs\", source: \"x\", options: [\"$word\"]}")" \
                        grep -E ' /(data|new) ' /proc/mounts
                case $word in
                strictatime) equal 0 "$(grep -cE 'noatime|relatime' <<<"$output")" ;;
                *) equal 2 "$(grep -c "[ ,]$word[ ,]" <<<"$output")" ;;
                esac
        done
        rmdir "$rootfs/new"
}

test_propagation_of_a_bind() {
        mount -t tmpfs shared "$source_tree/below"
        mount --make-shared "$source_tree/below"
        mkdir "$source_tree/below/point"
        trap 'umount -R "$source_tree/below"' EXIT
        local how seen=
        for how in rprivate rslave rshared runbindable private; do
                inside "$(mounts "{destination: \"/data\", source: \"$source_tree/below\", options: [\"rbind\", \"$how\"]}")" \
                        awk '$5 == "/data"' /proc/self/mountinfo || fail "$output"
                seen+="$how $(grep -oE 'shared:|master:|unbindable' <<<"$output" | tr '\n' ' ' || true)"$'\n'
        done
        equal $'rprivate \nrslave master: \nrshared shared: \nrunbindable unbindable \nprivate \n' "$seen"
}

test_propagation_of_the_root() {
        local how seen=
        for how in private shared slave unbindable rshared; do
                inside ".linux.rootfsPropagation = \"$how\"" awk '$5 == "/"' /proc/self/mountinfo || fail "$output"
                seen+="$how $(grep -oE 'shared:|unbindable' <<<"$output" | tr '\n' ' ' || true)"$'\n'
        done
        contains "$seen" "rshared shared:"
        contains "$seen" $'\nshared shared:'
        contains "$seen" "unbindable unbindable"
}

# As in an initramfs, which pivot_root(2) does not work in.
without_pivot() {
        systemd-run -q --pipe --wait -p SystemCallFilter=~pivot_root:EINVAL "$(command -v "${CRT_OCI:-crt-oci}")" \
                --root "$state" "$@"
}

# Without pivot_root(2): the host's root stays below, and nothing that was mounted on it.
test_a_root_that_is_moved_over_the_hosts() {
        bundle . sleep 1000
        mkdir -p "$scratch/a place"
        mount -t tmpfs a-place "$scratch/a place"
        mount -t tmpfs on-top "$scratch/a place"
        # And one that lies hidden, directly on the root.
        mkdir -p /crt-hidden/below
        mount -t tmpfs below /crt-hidden/below
        touch /crt-hidden/below/seen
        mount -t tmpfs above /crt-hidden
        without_pivot run --no-pivot --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        umount "$scratch/a place" "$scratch/a place" /crt-hidden /crt-hidden/below
        equal "$(ls "$rootfs")" "$(oci exec box ls /)"
        equal "" "$(oci exec box cut -d" " -f5 /proc/self/mountinfo | grep -v -e '^/$' -e '^/proc' -e '^/dev' -e '^/sys')"
        cat >"$scratch/escape.py" <<'END'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
space = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
def enter():
    assert libc.setns(space, 0x20000) == 0, ctypes.get_errno()
enter()
up = os.open("/", os.O_RDONLY)
os.chroot("/tmp")
os.fchdir(up)
for _ in range(20):
    os.chdir("..")
print(" ".join(sorted(os.listdir("."))))
os.chroot(".")
# Who may unmount finds the host's root without what was mounted on it.
assert libc.umount2(b"/", 2) == 0, ctypes.get_errno()
enter()
print(os.path.exists("/usr"), os.path.exists("/proc/self"), os.path.exists("/sys/kernel"), os.listdir("/crt-hidden/below"))
END
        output=$(python3 "$scratch/escape.py" "$(oci state box | jq .pid)")
        equal "$(ls "$rootfs" | xargs)" "$(sed -n 1p <<<"$output")"
        equal "True False False []" "$(sed -n 2p <<<"$output")"
        oci delete --force box
        rm -r /crt-hidden
        nothing_left
        # With hooks the root is first where they look for it.
        bundle '.hooks = {createRuntime: [{path: "/bin/true"}]} | .linux.rootfsPropagation = "shared"' \
                awk '$5 == "/"' /proc/self/mountinfo
        contains "$(without_pivot run --no-pivot -b "$bundle" box)" shared:
        nothing_left
        fails without_pivot run -b "$bundle" box
        contains "$output" "only --no-pivot"
        nothing_left
        # Where pivot_root(2) works, nothing is below.
        bundle . sleep 1000
        oci run --no-pivot --detach -b "$bundle" box </dev/null >/dev/null 2>&1
        equal False "$(python3 -c '
import ctypes, os, sys
libc, space = ctypes.CDLL(None), os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
assert libc.setns(space, 0x20000) == 0
if libc.umount2(b"/", 2) == 0:
    assert libc.setns(space, 0x20000) == 0
print(os.path.exists("/usr"))' "$(oci state box | jq .pid)")"
        oci delete --force box
        nothing_left
        bundle '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
                | .linux.gidMappings = .linux.uidMappings' true
        fails oci run --no-pivot -b "$bundle" box
        contains "$output" "--no-pivot: not with a user namespace"
        nothing_left
}

test_what_is_mounted_is_changed() {
        inside "$(mounts '{destination: "/dev/shm", type: "none", source: "none", options: ["remount", "ro", "nosuid"]}')" sh -c 'touch /dev/shm/x' && fail written
        contains "$output" "Read-only file system"
        refused "$(mounts '{destination: "/etc", type: "none", source: "none", options: ["remount", "ro"]}')" \
                "config.mounts[7]: /etc: nothing is mounted there that could be changed"
        refused "$(mounts '{destination: "/dev/shm", type: "tmpfs", source: "x", options: ["remount", "size=1k"]}')" \
                "'size=1k' is not an option of a remount"
}

test_options_of_file_systems() {
        inside "$(mounts '{destination: "/new", type: "tmpfs", source: "name", options: ["sync", "dirsync", "lazytime", "nr_inodes=10", "uid=4", "mode=0711", "size=1m", "nosuid"]}')" \
                sh -c 'grep " /new " /proc/mounts; stat -c "%a %u" /new'
        contains "$output" "name /new tmpfs rw,sync,dirsync,lazytime,nosuid,relatime,size=1024k,nr_inodes=10,mode=711,uid=4"
        contains "$output" "711 4"
        refused "$(mounts '{destination: "/new", type: "tmpfs", source: "name", options: ["huge=sometimes"]}')" "config.mounts[7]: huge=sometimes"
        rmdir "$rootfs/new"
}

test_a_relative_source_is_the_bundles() {
        bundle "$(mounts '{destination: "/data", source: "own", options: ["bind"]}')" ls /data
        mkdir "$bundle/own"
        touch "$bundle/own/here"
        equal here "$(cd / && oci run -b "$bundle" box 2>&1)"
        rmdir "$rootfs/data"
}

run_tests
