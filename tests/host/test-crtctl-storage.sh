#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a person does by hand with blobs, snapshots and leases.
source "$(dirname "$0")/lib.sh"

setup() { mkdir -p "$scratch/mount"; }

# The bus, and its library, may still be closing what they had of it.
unmount() { wait_for 10 umount "$scratch/mount"; }

digest_of() { echo "sha256:$(sha256sum | cut -d' ' -f1)"; }

test_a_blob_goes_in_and_comes_out() {
        head -c 3000000 /dev/urandom >"$scratch/data"
        local digest
        digest=$(digest_of <"$scratch/data")
        equal "$digest" "$(crtctl content ingest first <"$scratch/data")"
        crtctl content cat "$digest" | cmp - "$scratch/data"
        equal 3000000 "$(crtctl content stat "$digest" | jq .size)"
        contains "$(crtctl content ls -q)" "$digest"
        crtctl content rm "$digest"
        fails crtctl content cat "$digest"
        contains "$output" "crtctl: "
}

test_a_broken_ingest_is_continued() {
        head -c 2000000 /dev/urandom >"$scratch/data"
        local digest
        digest=$(digest_of <"$scratch/data")
        fails crtctl content ingest -s 2000000 second < <(head -c 1200000 "$scratch/data")
        equal "1200000" "$(crtctl content ingests --json=short | jq '.[0].offset')"
        # From a pipe, where what is there already is read and passed over.
        equal "$digest" "$(cat "$scratch/data" | crtctl content ingest -s 2000000 second)"
        equal "[]" "$(crtctl content ingests --json=short)"
        crtctl content rm "$digest"
}

test_a_blob_is_named_by_another_algorithm() {
        local digest
        digest="sha512:$(echo named | sha512sum | cut -d' ' -f1)"
        equal "$digest" "$(crtctl content ingest --algorithm sha512 named <<<named)"
        crtctl content rm "$digest"
        fails crtctl content ingest --algorithm md5 named <<<named
        contains "$output" "md5"
}

# ingest_is REFERENCE OFFSET STATE
ingest_is() {
        [[ "$2 $3" == "$(crtctl content ingests --json=short |
                jq -r --arg name "$1" '.[] | select(.reference == $name) | "\(.offset) \(.state)"')" ]]
}

test_an_input_that_is_shorter_than_what_is_there_is_refused() {
        head -c 1048576 /dev/urandom >"$scratch/data"
        echo short >"$scratch/short"
        mkfifo "$scratch/fifo"
        crtctl content ingest broken <"$scratch/fifo" >/dev/null 2>&1 9>&- &
        local pid=$!
        exec 9>"$scratch/fifo"
        cat "$scratch/data" >&9
        wait_for 10 ingest_is broken 1048576 writing
        kill -KILL "$pid"
        exec 9>&-
        wait_for 10 ingest_is broken 1048576 waiting
        fails crtctl content ingest broken <"$scratch/short"
        contains "$output" "shorter than what is there"
        wait_for 10 ingest_is broken 1048576 waiting
        fails crtctl content ingest broken < <(cat "$scratch/short")
        contains "$output" "shorter than what is there"
        wait_for 10 ingest_is broken 1048576 waiting
        cat "$scratch/short" "$scratch/data" "$scratch/short" >"$scratch/longer"
        # As far as the shell has read it, it counts for nobody.
        { read -r; crtctl content ingest broken >"$scratch/digest"; } <"$scratch/longer"
        equal "$(cat "$scratch/data" "$scratch/short" | digest_of)" "$(cat "$scratch/digest")"
        crtctl content rm "$(cat "$scratch/digest")"
}

test_what_was_promised_must_come() {
        local wrong
        wrong=$(echo other | digest_of)
        fails crtctl content ingest -d "$wrong" third <<<something
        contains "$output" "$wrong"
        equal "" "$(crtctl content ingests -q)"
}

test_what_was_left_is_committed() {
        local digest ingest="busctl -q call org.crt.Content /org/crt/Content org.crt.Content1 Ingest sa{sv} fifth 0"
        digest=$(digest_of </dev/null)
        # Whoever made these calls ended before Commit.
        $ingest
        fails crtctl content commit -d "$(echo other | digest_of)" fifth
        contains "$output" "crtctl: fifth: "
        equal "" "$(crtctl content ingests -q)"
        $ingest
        equal "$digest" "$(crtctl content commit --label by=hand fifth)"
        equal "$digest" "$(crtctl content ls -q -f labels.by==hand)"
        crtctl content rm "$digest"
}

test_no_more_is_taken_than_was_said() {
        fails crtctl content ingest --at-most 3 sixth <<<long
        contains "$output" "crtctl: sixth: "
        equal "" "$(crtctl content ingests -q)"
        fails crtctl content ingest --at-most 0 sixth <<<long
        contains "$output" "at least 1"
}

test_a_namespace_is_shared() {
        local digest
        digest=$(crtctl content ingest shared <<<shared)
        fails crtctl content share maybe
        contains "$output" "yes or no"
        fails crtctl -n other content ingest -d "$digest" -s 7 known </dev/null
        crtctl -n other content abort known
        crtctl content share yes
        equal true "$(crtctl content usage | jq .shareable)"
        fails crtctl -n other content ingest -d "$digest" -s 7 known </dev/null
        contains "$output" "known"
        equal shared "$(crtctl -n other content cat "$digest")"
        crtctl content share no
        equal false "$(crtctl content usage | jq .shareable)"
        crtctl content rm "$digest"
        crtctl -n other content rm "$digest"
}

test_an_ingest_is_forgotten() {
        fails crtctl content ingest -s 10 fourth <<<short
        equal fourth "$(crtctl content ingests -q)"
        crtctl content abort fourth
        equal "" "$(crtctl content ingests -q)"
}

test_labels_and_filters() {
        local one two
        one=$(crtctl content ingest --label tier=front --label "a b=x" one <<<one)
        two=$(crtctl content ingest --label tier=back two <<<two)
        equal "$one" "$(crtctl content ls -q -f labels.tier==front)"
        equal "$one" "$(crtctl content ls -q -f 'labels."a b"~=^x$,size==4')"
        equal "$(printf '%s\n' "$one" "$two" | sort)" \
              "$(crtctl content ls -q -f labels.tier==front -f labels.tier==back)"
        crtctl content label "$one" tier= new=1
        equal '{"a b":"x","new":"1"}' "$(crtctl content stat "$one" | jq -c .labels)"
        crtctl content label -r "$one" only=this
        equal '{"only":"this"}' "$(crtctl content stat "$one" | jq -c .labels)"
        fails crtctl content label "$one" nonsense
        contains "$output" "KEY=VALUE"
        fails crtctl content ls -f labls.x
        contains "$output" "there is no field 'labls'"
        crtctl content rm "$one" "$two"
}

test_damage_is_found() {
        local good bad status=0
        good=$(crtctl content ingest good <<<good)
        bad=$(crtctl content ingest bad <<<bad)
        equal "2 blobs, 0 damaged" "$(crtctl content verify 2>/dev/null)"
        local file
        file=$(find /var/lib/crt/content/blobs -name "*${bad:9}*")
        chmod u+w "$file"
        printf X | dd of="$file" conv=notrunc status=none
        crtctl content verify >"$scratch/verified" 2>/dev/null || status=$?
        equal 1 "$status"
        contains "$(<"$scratch/verified")" "1 damaged"
        contains "$(<"$scratch/verified")" "$bad"
        fails crtctl content cat "$bad"
        equal "$bad" "$(crtctl content ls -q -f state==damaged)"
        equal "$bad" "$(crtctl content ingest again <<<bad)"
        equal bad "$(crtctl content cat "$bad")"
        crtctl content rm "$good" "$bad"
}

test_leases() {
        local id
        id=$(crtctl lease create --until 1h --label why=test)
        equal "$id" "$(crtctl lease ls -q -f labels.why==test)"
        crtctl lease add "$id" "sha256:$(printf '0%.0s' {1..64})" snapshot:some image:localhost/x ingest:y
        equal "content image ingest snapshot" \
              "$(crtctl lease show "$id" --json=short | jq -r '[.[].type] | sort | join(" ")')"
        crtctl lease drop "$id" image:localhost/x
        equal 3 "$(crtctl lease show "$id" --json=short | jq length)"
        fails crtctl lease add "$id" nonsense
        contains "$output" "content:"
        crtctl lease rm "$id"
        equal "" "$(crtctl lease ls -q)"
        fails crtctl lease show "$id"
}

test_a_lease_is_changed() {
        local before
        crtctl lease create --until 1h --label why=test --label old=yes changed >/dev/null
        before=$(crtctl lease ls --json=short | jq '.[0].until')
        crtctl lease update --until 3h changed old= new=1
        equal true "$(crtctl lease ls --json=short | jq ".[0].until > $before")"
        equal '{"new":"1","why":"test"}' "$(crtctl lease ls --json=short | jq -cS '.[0].labels')"
        crtctl lease update --until never changed
        equal 0 "$(crtctl lease ls --json=short | jq '.[0].until')"
        crtctl lease update -r changed only=this
        equal '{"only":"this"}' "$(crtctl lease ls --json=short | jq -c '.[0].labels')"
        fails crtctl lease update --until nonsense changed
        contains "$output" "--until=nonsense"
        fails crtctl lease update changed nonsense
        contains "$output" "KEY=VALUE"
        crtctl lease rm changed
        fails crtctl lease update changed a=b
        contains "$output" "crtctl: changed: "
}

test_a_lease_ends_with_its_process() {
        sleep 1000 &
        local process=$!
        crtctl lease create --pid "$process" bound >/dev/null
        equal "process $process" "$(crtctl lease ls --json=short | jq -r '.[0] | "\(.bound) \(.owner)"')"
        kill "$process"
        wait "$process" || true
        wait_for 5 eval '[[ -z $(crtctl lease ls -q) ]]'
        fails crtctl lease create --pid 0 bound
        contains "$output" "--pid=0"
        fails crtctl lease create --pid "$process" bound
        contains "$output" "--pid=$process"
}

test_a_lease_ends_with_its_unit() {
        systemd-run -q --unit=crt-test-lease sleep 1000
        crtctl lease create --unit crt-test-lease.service bound >/dev/null
        equal bound "$(crtctl lease ls -q)"
        systemctl stop crt-test-lease
        wait_for 5 eval '[[ -z $(crtctl lease ls -q) ]]'
}

test_trees_are_made_by_hand() {
        crtctl snapshot prepare work
        crtctl snapshot mount work "$scratch/mount"
        echo kept >"$scratch/mount/file"
        unmount
        wait_for 5 crtctl snapshot commit base work
        crtctl snapshot view look base
        crtctl snapshot mount look "$scratch/mount"
        equal kept "$(<"$scratch/mount/file")"
        fails touch "$scratch/mount/other"
        unmount
        equal "base
  look" "$(crtctl snapshot tree)"
        equal look "$(crtctl snapshot ls -q -f kind==view)"
        equal "made by hand" "$(crtctl snapshot stat base | jq -r '.labels["org.crt.gc.root"]')"
        fails crtctl snapshot rm base
        contains "$output" "crtctl: base: "
        crtctl snapshot label look a=b
        equal look "$(crtctl snapshot ls -q -f labels.a==b)"
        wait_for 5 crtctl snapshot rm look
        crtctl snapshot rm base
        equal "" "$(crtctl snapshot ls -q)"
}

test_how_a_tree_is_kept_is_said() {
        crtctl snapshot prepare --driver copy work
        crtctl snapshot prepare other
        equal work "$(crtctl snapshot ls -q -f driver==copy)"
        contains "$(crtctl snapshot ls)" DRIVER
        equal "copy overlayfs" "$(crtctl snapshot ls --json=short | jq -r 'map(.driver) | sort | join(" ")')"
        fails crtctl snapshot prepare --driver none third
        contains "$output" "no driver 'none'"
        fails crtctl snapshot prepare --size-max 10M third
        contains "$output" quota
        fails crtctl snapshot prepare --size-max 0 third
        contains "$output" "at least 1"
        fails crtctl snapshot view --driver copy look work
        contains "$output" "not known"
        fails busctl call org.crt.Snapshots /org/crt/Snapshots org.crt.Snapshots1 Prepare 'ssa{sv}' third "" 1 size-max t 0
        contains "$output" "option 'size-max'"
        wait_for 5 crtctl snapshot rm work other
}

test_owners_are_mapped() {
        local process
        crtctl snapshot prepare work
        crtctl snapshot mount --uid-map 0:100000:65536 --gid-map 0:200000:65536 work "$scratch/mount"
        equal 100000:200000 "$(stat -c %u:%g "$scratch/mount")"
        unmount
        unshare --user sleep 1000 &
        process=$!
        # Refused as long as it is still in ours.
        wait_for 5 eval 'echo 0 300000 1000 2>/dev/null >"/proc/$process/uid_map"'
        echo 0 400000 1000 >"/proc/$process/gid_map"
        wait_for 5 crtctl snapshot mount -r --userns "$process" work "$scratch/mount"
        equal 300000:400000 "$(stat -c %u:%g "$scratch/mount")"
        unmount
        wait_for 5 crtctl snapshot mount --userns "/proc/$process/ns/user" work "$scratch/mount"
        equal 300000:400000 "$(stat -c %u:%g "$scratch/mount")"
        unmount
        kill "$process"
        for map in 0:1 0:1:2:3 0:x:1 0:4294967296:1; do
                fails crtctl snapshot mount --uid-map "$map" --gid-map 0:1:1 work "$scratch/mount"
                contains "$output" "--uid-map=$map: CONTAINER:HOST:COUNT"
        done
        fails crtctl snapshot mount --uid-map 0:1:1 work "$scratch/mount"
        contains "$output" gid-map
        fails crtctl snapshot mount --userns /nowhere work "$scratch/mount"
        contains "$output" "--userns=/nowhere"
        wait_for 5 crtctl snapshot rm work
}

test_a_tree_goes_with_its_mount() {
        crtctl snapshot prepare work
        crtctl snapshot mount --bound work "$scratch/mount"
        echo kept >"$scratch/mount/file"
        equal work "$(crtctl snapshot ls -q)"
        unmount
        wait_for 20 eval '[[ -z $(crtctl snapshot ls -q) ]]'
}

test_damage_of_a_tree_is_found() {
        local status=0
        crtctl snapshot prepare work
        crtctl snapshot mount work "$scratch/mount"
        head -c 100000 /dev/urandom >"$scratch/mount/file"
        unmount
        wait_for 5 crtctl snapshot commit tree work
        equal true "$(crtctl snapshot usage tree | jq '.size >= 100000 and .inodes >= 1')"
        equal "1 snapshots, damaged: none" "$(crtctl snapshot verify 2>/dev/null)"
        truncate -s 0 "$(find /var/lib/crt/snapshots -name file -size +90k)"
        crtctl snapshot verify tree >"$scratch/verified" 2>/dev/null || status=$?
        equal 1 "$status"
        equal "1 snapshots, damaged: tree" "$(<"$scratch/verified")"
        equal tree "$(crtctl snapshot ls -q -f state==damaged)"
        crtctl snapshot rm tree
        crtctl snapshot cleanup | jq -e '.inodes >= 0' >/dev/null
}

test_a_layer_is_made_and_unpacked() {
        local diff_id
        crtctl snapshot prepare work
        crtctl snapshot mount work "$scratch/mount"
        install -m 4750 -D /bin/true "$scratch/mount/deep/true"
        ln -s nowhere "$scratch/mount/link"
        unmount
        diff_id=$(crtctl snapshot diff -o "$scratch/layer" -c gzip work)
        equal "$diff_id" "$(gzip -dc "$scratch/layer" | digest_of)"
        crtctl snapshot diff work | cmp - <(gzip -dc "$scratch/layer")
        fails crtctl snapshot diff -o "$scratch/layer" work
        contains "$output" "File exists"
        crtctl snapshot prepare again
        fails crtctl snapshot unpack again "$(echo other | digest_of)" <"$scratch/layer"
        wait_for 5 crtctl snapshot rm again
        crtctl snapshot prepare again
        fails crtctl snapshot unpack --max-entries 1 again "$diff_id" <"$scratch/layer"
        contains "$output" "1 entries"
        wait_for 5 crtctl snapshot rm again
        crtctl snapshot prepare again
        fails crtctl snapshot unpack --max-size 1K again "$diff_id" <"$scratch/layer"
        contains "$output" "1024 bytes"
        wait_for 5 crtctl snapshot rm again
        crtctl snapshot prepare again
        fails crtctl snapshot unpack --security-labels some again "$diff_id" <"$scratch/layer"
        contains "$output" "'drop' or 'keep'"
        fails crtctl snapshot unpack --max-size 0 again "$diff_id" <"$scratch/layer"
        contains "$output" "at least 1"
        crtctl snapshot unpack again "$diff_id" <"$scratch/layer" 2>/dev/null
        crtctl snapshot commit layer again
        crtctl snapshot view look layer
        crtctl snapshot mount look "$scratch/mount"
        equal 4750 "$(stat -c %a "$scratch/mount/deep/true")"
        equal nowhere "$(readlink "$scratch/mount/link")"
        unmount
        wait_for 5 crtctl snapshot rm look
        crtctl snapshot rm layer
        wait_for 5 crtctl snapshot rm work
}

setup
run_tests
