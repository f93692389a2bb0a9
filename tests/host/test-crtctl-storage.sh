#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a person does by hand with blobs, snapshots and leases.
source "$(dirname "$0")/lib.sh"

setup() { mkdir -p "$scratch/mount"; }

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

test_what_was_promised_must_come() {
        local wrong
        wrong=$(echo other | digest_of)
        fails crtctl content ingest -d "$wrong" third <<<something
        contains "$output" "$wrong"
        equal "" "$(crtctl content ingests -q)"
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
        umount "$scratch/mount"
        wait_for 5 crtctl snapshot commit base work
        crtctl snapshot view look base
        crtctl snapshot mount look "$scratch/mount"
        equal kept "$(<"$scratch/mount/file")"
        fails touch "$scratch/mount/other"
        umount "$scratch/mount"
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

test_damage_of_a_tree_is_found() {
        local status=0
        crtctl snapshot prepare work
        crtctl snapshot mount work "$scratch/mount"
        head -c 100000 /dev/urandom >"$scratch/mount/file"
        umount "$scratch/mount"
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
        umount "$scratch/mount"
        diff_id=$(crtctl snapshot diff -o "$scratch/layer" -c gzip work)
        equal "$diff_id" "$(gzip -dc "$scratch/layer" | digest_of)"
        crtctl snapshot diff work | cmp - <(gzip -dc "$scratch/layer")
        fails crtctl snapshot diff -o "$scratch/layer" work
        contains "$output" "File exists"
        crtctl snapshot prepare again
        fails crtctl snapshot unpack again "$(echo other | digest_of)" <"$scratch/layer"
        wait_for 5 crtctl snapshot rm again
        crtctl snapshot prepare again
        crtctl snapshot unpack again "$diff_id" <"$scratch/layer" 2>/dev/null
        crtctl snapshot commit layer again
        crtctl snapshot view look layer
        crtctl snapshot mount look "$scratch/mount"
        equal 4750 "$(stat -c %a "$scratch/mount/deep/true")"
        equal nowhere "$(readlink "$scratch/mount/link")"
        umount "$scratch/mount"
        wait_for 5 crtctl snapshot rm look
        crtctl snapshot rm layer
        wait_for 5 crtctl snapshot rm work
}

setup
run_tests
