#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# That the registries which other tests pull from serve what they should, and the faulty one is as faulty as
# it says. Other programs (skopeo, curl) are the witness: a test of crt must not fail for want of a fault.
source "$(dirname "$0")/lib.sh"

registry=$source_root/tools/registry
faulty=http://localhost:5003
layer= manifest=

cleanup() { "$registry" stop; }

inspect() { skopeo --insecure-policy inspect --tls-verify=false "$@"; }
copy() { skopeo --insecure-policy copy --quiet --src-tls-verify=false "$1" "dir:$scratch/copy"; }
status_of() { curl --silent --output /dev/null --write-out '%{http_code}' "$@"; }
asked() { curl --silent "$faulty/log" | jq -r "$1"; }

setup() {
        "$registry" start plain tls token basic faulty
        layer=$(inspect --raw docker://localhost:5000/busybox | jq -r '.layers[0].digest')
        manifest=$(inspect docker://localhost:5000/busybox:latest | jq -r .Digest)
}

test_plain_serves_index_of_two_platforms() {
        equal 2 "$(inspect --raw docker://localhost:5000/debian:bookworm | jq '.manifests | length')"
        equal 3 "$(inspect docker://localhost:5000/debian:bookworm | jq '.Layers | length')"
        equal another "$(inspect --override-arch arm64 docker://localhost:5000/debian:bookworm | jq -r '
                if (.Layers | length) == 1 then "another" else "same" end')"
}

test_plain_serves_docker_schema_2() {
        contains "$(inspect --raw docker://localhost:5000/busybox-docker | jq -r .mediaType)" \
                docker.distribution
}

test_zstd_layer_is_served() {
        contains "$(inspect --raw docker://localhost:5000/layers:edge | jq -r '.layers[].mediaType')" \
                tar+zstd
}

test_tls_serves_only_to_who_trusts_it() {
        fails curl --silent --show-error https://localhost:5443/v2/
        contains "$output" certificate
        equal 200 "$(status_of --cacert /run/crt-registry/tls/ca.crt https://localhost:5443/v2/)"
}

test_token_is_given_to_anyone_except_for_private() {
        equal 401 "$(status_of http://localhost:5001/v2/)"
        copy docker://localhost:5001/busybox:latest
        fails copy docker://localhost:5001/private/busybox:latest
        skopeo --insecure-policy copy --quiet --src-tls-verify=false --src-creds crt:secret \
                docker://localhost:5001/private/busybox:latest "dir:$scratch/private"
        fails skopeo --insecure-policy copy --quiet --src-tls-verify=false --src-creds crt:wrong \
                docker://localhost:5001/busybox:latest "dir:$scratch/private"
}

test_basic_wants_a_password() {
        equal 401 "$(status_of http://localhost:5002/v2/)"
        equal 200 "$(status_of -u crt:secret http://localhost:5002/v2/)"
}

test_faulty_without_fault_is_a_registry() {
        copy docker://localhost:5003/none/busybox:latest
        copy docker://localhost:5003/chunked/busybox:latest
        copy docker://localhost:5003/no-length/busybox:latest
        copy docker://localhost:5003/redirect/busybox:latest
}

test_wrong_bytes_are_noticed_by_others_too() {
        local fault
        for fault in wrong-digest wrong-config truncated short-length longer garbage-manifest deep-manifest \
                     missing-blob; do
                fails copy "docker://localhost:5003/$fault/busybox:latest"
                echo "$fault: $output"
        done
        fails copy "docker://localhost:5003/wrong-manifest/busybox@$manifest"
}

test_too_many_ends_after_two() {
        local url=$faulty/v2/too-many/busybox/manifests/latest
        curl --silent -X POST "$faulty/reset"
        equal 429,429,200 "$(status_of "$url"),$(status_of "$url"),$(status_of "$url")"
        contains "$(curl --silent --head "$faulty/v2/always-too-many/busybox/manifests/latest")" \
                "Retry-After: 3600"
        equal 500,200 "$(status_of "$faulty/v2/server-error-1/busybox/manifests/latest"),$(
                         status_of "$faulty/v2/server-error-1/busybox/manifests/latest")"
}

test_huge_manifest_is_huge() {
        (( $(curl --silent "$faulty/v2/huge-manifest/busybox/manifests/latest" | wc -c) > 64 << 20 ))
}

test_reset_comes_in_the_middle_and_the_rest_by_range() {
        local url=$faulty/v2/reset/busybox/blobs/$layer
        fails curl --silent --show-error --output "$scratch/blob" "$url"
        contains "$output" reset
        [[ -s $scratch/blob ]]
        curl --silent --continue-at - --output "$scratch/blob" "$url"
        equal "${layer#sha256:}" "$(sha256sum <"$scratch/blob" | cut -d' ' -f1)"
}

test_rest_by_range_can_be_wrong_or_refused() {
        local url=$faulty/v2/wrong-range/busybox/blobs/$layer
        fails curl --silent --output "$scratch/blob" "$url"
        fails curl --silent --show-error --continue-at - --output "$scratch/blob" "$url"
        url=$faulty/v2/reset-no-range/busybox/blobs/$layer
        fails curl --silent --output "$scratch/whole" "$url"
        equal 200 "$(status_of --range 100- "$url")"
}

test_redirects_lead_nowhere() {
        fails curl --silent --show-error --location "$faulty/v2/redirect-loop/busybox/blobs/$layer"
        contains "$output" "redirects"
        fails curl --silent --show-error --location "$faulty/v2/redirect-file/busybox/blobs/$layer"
        contains "$output" "file"
}

test_challenges_are_in_vain() {
        contains "$(curl --silent --head "$faulty/v2/auth-loop/busybox/manifests/latest")" \
                'Bearer realm="http'
        contains "$(curl --silent --head "$faulty/v2/auth-elsewhere/busybox/manifests/latest")" gopher
        fails copy docker://localhost:5003/auth-loop/busybox:latest
}

test_endless_header_is_refused() {
        fails curl --silent --show-error "$faulty/v2/headers/busybox/manifests/latest"
}

test_redirect_target_refuses_authorization() {
        equal 200 "$(status_of --location "$faulty/v2/redirect/busybox/blobs/$layer")"
        # curl itself leaks it only when told to.
        equal 200 "$(status_of --location -u a:b "$faulty/v2/redirect/busybox/blobs/$layer")"
        equal 400 "$(status_of --location-trusted -H 'Authorization: Basic x' \
                     "$faulty/v2/redirect/busybox/blobs/$layer")"
        contains "$(asked 'select(.port == 5004) | .authorization')" "Basic x"
}

test_slow_is_slow() {
        : >"$scratch/slow"
        fails curl --silent --max-time 2 --output "$scratch/slow" "$faulty/v2/slow/busybox/blobs/$layer"
        (( $(stat -c %s "$scratch/slow") < 10 ))
}

setup
run_tests
