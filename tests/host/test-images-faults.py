#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A registry that is broken or hostile gets a clear error and leaves nothing; one that only stumbles is put up with."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import image_registry  # noqa: E402
from image_pulls import (FIXTURES, asked, check_empty, clear, content, digests, equal, failure, forget,  # noqa: E402
                         images, registry, run_cases, snapshots, systemctl, wait_for)

REGISTRY = "localhost:5003"
OWN = f"localhost:{image_registry.PORT}"


def clean():
    clear()
    check_empty()
    forget()


def refused(fault, error, *parts, image="layers:edge", **options):
    """The pull fails so, the sentence has these parts, and nothing is left."""
    message = failure(error, lambda: images.pull(f"{REGISTRY}/{fault}/{image}", **options))
    for part in parts:
        assert part in message, f"'{part}' is not in: {message}"
    check_empty()
    return message


def passes(fault, image="layers:edge"):
    result = images.pull(f"{REGISTRY}/{fault}/{image}")
    assert result["chain-id"] in snapshots.keys()


# ---- hostile ----

def test_wrong_bytes():
    refused("wrong-digest", "DigestMismatch", "sha256:")


def test_wrong_config():
    refused("wrong-config", "DigestMismatch", "sha256:")


def test_wrong_manifest():
    refused("wrong-manifest", "DigestMismatch", "sha256:")


def test_wrong_bytes_of_a_large_layer_that_is_unpacked_meanwhile():
    refused("wrong-digest", "DigestMismatch", image="debian:bookworm-gzip")


def test_wrong_digest_of_what_unpacks_well():
    for image in ("busybox", "debian:bookworm-gzip"):
        message = failure("DigestMismatch", lambda: images.pull(f"{OWN}/recompressed/{image}"))  # pylint: disable=W0640
        assert OWN in message, message
        check_empty()


def test_truncated_layer():
    refused("truncated", "BadContent", REGISTRY, "by the registry's account", "by its descriptor")


def test_layer_that_is_too_long():
    refused("longer", "BadContent", REGISTRY, "by its descriptor")


def refused_by_own(fault, error, *parts):
    message = failure(error, lambda: images.pull(f"{OWN}/{fault}/layers:edge"))
    for part in parts:
        assert part in message, f"'{part}' is not in: {message}"
    check_empty()


def test_garbage_manifest():
    refused_by_own("consistent-garbage", "BadContent", OWN, "sha256:", "manifest")


def test_deep_manifest():
    refused_by_own("consistent-deep", "BadContent", "sha256:")


def test_huge_manifest():
    refused_by_own("consistent-huge", "BadContent", "at most 4194304 are taken")


def test_manifest_that_the_config_contradicts():
    refused_by_own("consistent-layers", "BadContent", "the config tells of 12 layers, the manifest has 11")


def test_manifest_of_docker_schema_1():
    refused_by_own("consistent-old", "NotSupported")


def test_manifests_that_differ_by_tag_and_digest():
    refused("garbage-manifest", "NotFound", "MANIFEST_UNKNOWN")


def test_credentials_stay_with_the_registry():
    failure("Unauthorized", lambda: images.pull(f"{OWN}/guarded/busybox"))
    images.pull(f"{OWN}/guarded/busybox", username="crt", password="secret")
    elsewhere = [request for request in own.log if request["port"] == image_registry.OTHER_PORT]
    equal(2, len(elsewhere))
    equal([None, None], [request["authorization"] for request in elsewhere])


def test_redirect_to_a_file():
    refused("redirect-file", "BadContent", "redirected to what is no address")


def test_redirects_without_end():
    refused("redirect-loop", "BadContent", "redirected more than")


def test_token_that_is_never_accepted():
    refused("auth-loop", "Unauthorized", REGISTRY)
    tokens = [request for request in asked() if "/token" in request["path"]]
    assert len(tokens) <= 5, tokens


def test_token_service_that_is_no_address():
    refused("auth-elsewhere", "Unauthorized")


def test_header_without_end():
    refused("headers", "Unavailable", REGISTRY, "headers")


# ---- broken ----

def unavailable(fault, *parts, **options):
    """What has come may be of use to the next try; no image and no snapshot is left."""
    message = failure("Unavailable", lambda: images.pull(f"{REGISTRY}/{fault}/layers:edge", **options))
    for part in parts:
        assert part in message, f"'{part}' is not in: {message}"
    equal([], images.names())
    equal([], [key for key in snapshots.keys() if key.startswith("unpack-")])


def test_layer_that_always_ends_early():
    unavailable("short-length", REGISTRY, "the connection ended after", "bytes")


def test_server_that_never_recovers():
    unavailable("always-error", "HTTP status 500")


def test_missing_layer():
    message = failure("NotFound", lambda: images.pull(f"{REGISTRY}/missing-blob/layers:edge"))
    assert "HTTP status 404 (BLOB_UNKNOWN" in message, message
    equal([], images.names())


def test_wrong_range():
    """The rest is not what was asked for: nothing is put together from it."""
    message = failure("BadContent", lambda: images.pull(f"{REGISTRY}/wrong-range/busybox"))
    assert "asked for" in message, message
    check_empty()


# ---- stumbling ----

def test_reset_in_the_middle_is_continued():
    passes("reset", "busybox")
    layer = [request for request in asked() if request["method"] == "GET" and "range" in str(request).lower()]
    assert layer, "no request for a range"


def test_reset_without_ranges():
    passes("reset-no-range", "busybox")


def test_without_a_length():
    passes("no-length", "busybox")


def test_in_chunks():
    passes("chunked", "busybox")


def test_redirect_without_credentials():
    passes("redirect", "busybox")


def test_server_that_recovers():
    passes("server-error", "busybox")


def test_too_many_requests_are_put_off():
    begin = time.monotonic()
    passes("too-many", "busybox")
    assert time.monotonic() - begin >= 2, "Retry-After was not waited for"


# ---- what the errors are worth ----

def test_a_good_image_beside_a_bad_one_is_untouched():
    good = images.pull(f"{REGISTRY}/none/busybox")
    before = digests(), snapshots.keys()
    failure("DigestMismatch", lambda: images.pull(f"{REGISTRY}/wrong-digest/layers:edge"))
    equal(before, (digests(), snapshots.keys()))
    equal(good["digest"], images.pull(f"{REGISTRY}/none/busybox")["digest"])


def test_after_a_failure_the_same_pull_works_from_where_it_was():
    """Half of each layer has come: the other half is asked for."""
    failure("Unavailable", lambda: images.pull(f"{REGISTRY}/short-length/busybox"))
    kept = [ingest["Offset"] for ingest in content.ingests().values()]
    equal(1, len(kept))
    forget()
    images.pull(f"{REGISTRY}/none/busybox")
    gets = [request for request in asked() if "/blobs/" in request["path"] and request["method"] == "GET"]
    assert any(f"bytes={kept[0]}-" in str(request) for request in gets), gets


def test_wrong_size_of_an_interrupted_try_is_not_in_the_way():
    """Somebody began the layer, by a descriptor that lied about its size, and did not come to the end."""
    digest = [b["digest"] for b in content_of("busybox") if b["size"] > 100000][0]
    stream, _, _ = content.ingest(f"{digest}+4000", digest=digest, size=4000)
    os.write(stream, b"x" * 100)
    os.close(stream)
    stream, _, _ = content.ingest(digest, digest=digest, size=17)
    os.close(stream)
    wait_for(lambda: not any(ingest["Writing"] for ingest in content.ingests().values()), what="the end of the streams")
    passes("none", "busybox")


def content_of(image):
    images.pull(f"{REGISTRY}/none/{image}")
    blobs = content.list()[0]
    clear()
    return blobs


def test_workers_have_ended():
    systemctl("stop", "crt-images")
    units = ["systemctl", "list-units", "--plain", "--no-legend", "crt-fetch@*"]
    wait_for(lambda: not subprocess.run(units, check=True, capture_output=True).stdout, what="the end of the workers")


if __name__ == "__main__":
    registry("faulty")
    own = image_registry.start(FIXTURES)
    run_cases([value for name, value in list(globals().items()) if name.startswith("test_")], clean)
