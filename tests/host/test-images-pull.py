#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An image comes from a registry into blobs, snapshots and a name, and goes away again; nothing is fetched twice."""

import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from image_pulls import (CA, IMAGE, TRANSFER, GLib, Images, asked, check_empty, clear, content, digests,  # noqa: E402
                         equal, failure, forget, images, let_go, registry, run_cases, snapshots, wait_for)
from snapshot_trees import use_setting  # noqa: E402

BUSYBOX, DEBIAN = "localhost:5000/busybox", "localhost:5000/debian:bookworm"


def clean():
    use_setting(None)
    clear()
    check_empty()
    forget()


def check_image(name, result):
    """Everything that the record names is there."""
    image = {entry["Name"]: entry for entry in images.list()}[name]
    equal(result["digest"], image["Digest"])
    equal(result["manifest-digest"], image["ManifestDigest"])
    equal(result["chain-id"], image["ChainId"])
    assert {image["Digest"], image["ManifestDigest"], image["ConfigDigest"]} <= digests()
    equal(image, {**images.properties(image["Path"], IMAGE), "Path": image["Path"]})
    equal(image["Path"], images.call("Get", name)[0])
    if result["chain-id"]:
        assert result["chain-id"] in snapshots.keys()
    return image


def test_index_of_platforms_with_three_layers():
    result = images.pull(DEBIAN)
    image = check_image(DEBIAN, result)
    assert image["MediaType"].endswith("index.v1+json") and image["Digest"] != image["ManifestDigest"]
    equal(6, len(digests()))
    # The layers stand on each other.
    parents, key, depth = snapshots.parents(), result["chain-id"], 0
    while key:
        key, depth = parents.pop(key), depth + 1
    equal((3, {}), (depth, parents))


def test_an_administrator_limits_what_layers_unpack_to():
    use_setting("Environment=CRT_SNAPSHOTS_LAYER_ENTRIES=3")
    assert "more than 3 entries" in failure("LimitsExceeded", lambda: images.pull(BUSYBOX))
    use_setting(None)
    check_image(f"{BUSYBOX}:latest", images.pull(BUSYBOX))


def test_docker_schema_2():
    result = images.pull("localhost:5000/busybox-docker")
    image = check_image("localhost:5000/busybox-docker:latest", result)
    assert "docker.distribution.manifest.v2" in image["MediaType"]


def test_every_kind_of_compression():
    check_image("localhost:5000/layers:edge", images.pull("localhost:5000/layers:edge"))
    equal(12, len(snapshots.keys()))


def test_tls_with_a_certificate_of_ones_own():
    failure("Unavailable", lambda: images.pull("localhost:5443/busybox"))
    message = failure("Unavailable", lambda: images.pull("localhost:5443/busybox"))
    assert "certificate is not trusted" in message, message
    check_empty()
    check_image("localhost:5443/busybox:latest", images.pull("localhost:5443/busybox", ca=CA))


def test_many_layers_side_by_side_over_http2():
    for reference in ("localhost:5443/layers:edge", "localhost:5443/debian:bookworm"):
        check_image(reference, images.pull(reference, ca=CA))


def test_anonymous_token():
    check_image("localhost:5001/busybox:latest", images.pull("localhost:5001/busybox"))


def test_token_for_a_user():
    message = failure("Unauthorized", lambda: images.pull("localhost:5001/private/busybox"))
    assert "localhost:5001" in message and "private/busybox" in message, message
    failure("Unauthorized", lambda: images.pull("localhost:5001/private/busybox", username="crt", password="wrong"))
    check_empty()
    images.pull("localhost:5001/private/busybox", username="crt", password="secret")


def test_basic_authentication():
    failure("Unauthorized", lambda: images.pull("localhost:5002/busybox"))
    message = failure("Unauthorized", lambda: images.pull("localhost:5002/busybox", username="crt", password="wrong"))
    assert "wrong" in message, message
    images.pull("localhost:5002/busybox", username="crt", password="secret")


def test_second_pull_fetches_nothing():
    reference = "localhost:5003/none/layers:edge"
    images.pull(reference)
    assert len(asked(reset=True)) > 12
    result = images.pull(reference)
    equal(["HEAD"], [request["method"] for request in asked()])
    check_image(reference, result)
    transfer = [t for t in images.objects(TRANSFER).values() if t["Object"] == reference][-1]
    equal(transfer["BytesDone"], transfer["BytesTotal"])


def test_digest_that_is_there_needs_no_registry():
    digest = images.pull("localhost:5003/none/busybox")["digest"]
    forget()
    result = images.pull(f"localhost:5003/none/busybox@{digest}")
    equal([], asked())
    equal(digest, result["digest"])


def test_missing_asks_only_for_what_is_missing():
    reference = "localhost:5003/none/busybox"
    images.pull(reference, policy="missing")
    assert asked(reset=True)
    result = images.pull(reference, policy="missing")
    equal([], asked())
    check_image(reference + ":latest", result)
    failure("org.freedesktop.DBus.Error.InvalidArgs", lambda: images.pull(reference, policy="sometimes"))


def test_name_of_ones_own():
    images.pull(BUSYBOX, name="mine")
    equal(["docker.io/library/mine:latest"], images.names())
    equal("docker.io/library/mine:latest", images.call("Resolve", "mine")[0]["name"])


def test_digest_that_is_asked_for_is_what_comes():
    digest = images.pull(BUSYBOX)["manifest-digest"]
    clear()
    equal(digest, images.pull(f"{BUSYBOX}@{digest}")["digest"])
    wrong = "sha256:" + "0" * 64
    failure("NotFound", lambda: images.pull(f"{BUSYBOX}@{wrong}"))


def test_platform_that_is_asked_for():
    result = images.pull(DEBIAN, platform="linux/arm64")
    equal("linux/arm64", result["platform"])
    message = failure("NotFound", lambda: images.pull(DEBIAN, platform="linux/s390x"))
    assert "linux/amd64" in message, message
    failure("org.freedesktop.DBus.Error.InvalidArgs", lambda: images.pull(DEBIAN, platform="a/b/c/d/e"))


def test_without_unpacking():
    result = images.pull(BUSYBOX, unpack=False)
    equal("", result["chain-id"])
    equal([], snapshots.keys())
    failure("FailedPrecondition", lambda: images.call("Resolve", BUSYBOX))
    # Later, with what is there.
    assert images.pull(BUSYBOX)["chain-id"]


def test_config_is_resolved():
    images.pull("localhost:5000/layers:edge")
    image = images.call("Resolve", "localhost:5000/layers:edge")[0]
    for key, expected in {"user": "app:extra", "working-dir": "/stack", "stop-signal": "SIGINT",
                          "entrypoint": ["/bin/cat"], "cmd": ["/stack/top"], "volumes": ["/data"],
                          "exposed-ports": ["8080/tcp"], "labels": {}}.items():
        equal(expected, image[key])
    equal(["A=1", "B=two words"], image["env"][1:])


def test_what_does_not_exist():
    for reference in ("localhost:5000/nothing", "localhost:5000/busybox:none"):
        message = failure("NotFound", lambda: images.pull(reference))  # pylint: disable=cell-var-from-loop
        assert "localhost:5000" in message, message
    failure("Unavailable", lambda: images.pull("localhost:5999/busybox"))
    failure("org.freedesktop.DBus.Error.InvalidArgs", lambda: images.pull("UPPER case"))
    for member in ("Get", "Resolve", "Remove"):
        failure("NotFound", lambda: images.call(member, "nothing"))  # pylint: disable=cell-var-from-loop
    check_empty()


def test_image_gets_another_name():
    name, other = "localhost:5000/layers:edge", "localhost:5000/debian:bookworm-gzip"
    images.pull(name)
    path = images.call("Tag", "mine:1", name)[0]
    image = images.properties(path, IMAGE)
    equal("docker.io/library/mine:1", image["Name"])
    equal(images.call("Resolve", name)[0] | {"name": image["Name"]}, images.call("Resolve", "mine:1")[0])
    failure("AlreadyExists", lambda: images.call("Tag", "mine:1", name))
    failure("NotFound", lambda: images.call("Tag", "mine:2", "nothing"))
    failure("NotFound", lambda: images.call("Tag", "mine:2", name, namespace="elsewhere"))
    wrong = "mine@sha256:" + "0" * 64
    assert "stands for" in failure("org.freedesktop.DBus.Error.InvalidArgs", lambda: images.call("Tag", wrong, name))
    images.call("Tag", f"mine@{image['Digest']}", name)
    images.remove(f"mine@{image['Digest']}")

    # The one that had the name goes with the next collection, the other names keep what they share.
    images.pull(other)
    both = digests()
    images.call("Tag", other, "mine:1", replace=True)
    equal(image["Digest"], images.call("Resolve", other)[0]["digest"])
    images.remove(name)
    images.remove("mine:1")
    equal([other], images.names())
    images.wait(images.call("Collect")[0])
    assert digests() < both
    assert images.call("Resolve", other)[0]["chain-id"] in snapshots.keys()
    subprocess.run(["crtctl", "tag", other, "by-hand"], check=True)
    equal(["docker.io/library/by-hand:latest", other], images.names())
    assert subprocess.run(["crtctl", "tag", other, "by-hand"], stderr=subprocess.DEVNULL).returncode != 0
    subprocess.run(["crtctl", "tag", "-r", other, "by-hand"], check=True)


def test_removal_takes_what_nothing_else_needs():
    images.pull(DEBIAN)
    whole = digests()
    images.pull("localhost:5000/debian:bookworm-gzip")
    images.remove(DEBIAN)
    gone = whole - digests()
    # Its own index, manifest, config and zstd layer; the other two layers are shared.
    equal(4, len(gone))
    equal(3, len(snapshots.keys()))
    failure("NotFound", lambda: images.call("Get", DEBIAN))
    images.call("Resolve", "localhost:5000/debian:bookworm-gzip")
    images.remove("localhost:5000/debian:bookworm-gzip")
    check_empty()


def test_snapshot_in_use_stays():
    chain_id = images.pull(BUSYBOX)["chain-id"]
    snapshots.call("Prepare", "container", chain_id)
    images.remove(BUSYBOX)
    equal({"container", chain_id}, set(snapshots.keys()))
    equal(set(), digests())


def test_namespaces_pay_for_themselves():
    reference = "localhost:5003/none/busybox"
    images.pull(reference)
    forget()
    images.pull(reference, namespace="elsewhere")
    equal(3, len([request for request in asked() if request["method"] == "GET"]))
    equal([reference + ":latest"], images.names(namespace="elsewhere"))
    images.remove(reference)
    images.call("Resolve", reference, namespace="elsewhere")
    clear("elsewhere")


def test_lists_come_in_pages():
    for name in ("c", "a", "b"):
        images.pull(BUSYBOX, name=name)
    first, more = images.call("List", limit=GLib.Variant("u", 2))
    second, end = images.call("List", after=more)
    equal(["docker.io/library/a:latest", "docker.io/library/b:latest", "docker.io/library/c:latest"],
          [image["Name"] for image in first + second])
    equal("", end)
    equal(3, len(images.objects(IMAGE)))


def test_same_pull_is_joined():
    reference = "localhost:5003/held-1000/busybox"
    first = images.begin(reference)
    equal(first, Images().begin("localhost:5003/held-1000/busybox:latest"))
    other = images.begin(reference, name="other")
    assert first != other
    # Of the one that fetches the layer: the other one waits for it.
    wait_for(lambda: any(images.properties(path)["BytesDone"] >= 1000 for path in (first, other)), 5, "the first bytes")
    let_go()
    equal(images.wait(first)["chain-id"], images.wait(other)["chain-id"])
    gets = [request["path"] for request in asked() if request["method"] == "GET"]
    equal(len(set(gets)), len(gets))


def test_ten_pulls_at_once():
    results = {}

    def pull(number):
        client = Images()
        try:
            results[number] = client.pull("localhost:5003/none/layers:edge", name=f"n{number}")
        except GLib.Error as error:
            results[number] = error

    threads = [threading.Thread(target=pull, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results.values():
        assert isinstance(result, dict), result
    equal(1, len({result["chain-id"] for result in results.values()}))
    equal(10, len(images.names()))
    equal(12, len(snapshots.keys()))
    # Together they have fetched each blob once.
    gets = [request["path"] for request in asked() if request["method"] == "GET"]
    equal(len(set(gets)), len(gets))


def test_parts_are_announced_and_bytes_counted():
    path = images.begin("localhost:5003/held-1000/busybox")
    wait_for(lambda: images.properties(path)["Parts"], 5, "the table of parts")
    transfer = images.properties(path)
    equal(["manifest", "config", "layer"], [part[1] for part in transfer["Parts"]])
    equal(sum(part[4] for part in transfer["Parts"]), transfer["BytesTotal"])
    equal("downloading", transfer["Phase"])
    wait_for(lambda: 0 < images.properties(path)["BytesDone"] < transfer["BytesTotal"], 5, "progress")
    wait_for(lambda: images.properties(path)["BytesDone"] >= 1000, 5, "the first bytes")
    let_go()
    images.wait(path)
    transfer = images.properties(path)
    equal(("done", "", transfer["BytesTotal"]), (transfer["State"], transfer["Phase"], transfer["BytesDone"]))
    equal({"done"}, {part[2] for part in transfer["Parts"]})


def test_blobs_that_are_there_by_other_ways_are_taken():
    images.pull(BUSYBOX)
    layer = [blob for blob in content.list()[0] if blob["size"] > 10000][0]["digest"]
    data = content.read(layer)
    clear()
    content.put(data, digest=layer, size=len(data))
    images.pull("localhost:5003/none/busybox")
    assert not [request for request in asked() if layer in request["path"]]


if __name__ == "__main__":
    registry("plain", "tls", "token", "basic", "faulty")
    run_cases([value for name, value in list(globals().items()) if name.startswith("test_")], clean)
