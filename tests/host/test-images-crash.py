#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whoever is killed in the middle of a pull, and whoever cancels it: the same pull succeeds afterwards, fetches
only what is missing, and nothing half-done is seen or left."""

import os
import random
import re
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from content_store import check_disk, unless_gone  # noqa: E402
from interfaces import kill_daemons, run, wait_for_answer  # noqa: E402
from image_pulls import (TRANSFER, GLib, Images, asked, check_empty, clear, content, digests,  # noqa: E402
                         equal, failure, forget, images, let_go, pids_of, registry, run_cases, snapshots,
                         systemctl, unfinished, wait_for)

# A layer of 30 MB, of which so much comes at once and the rest when we say so; and the same one without delay.
HELD = 16_000_000
SLOW, FAST = f"localhost:5003/held-{HELD}/debian:bookworm", "localhost:5003/none/debian:bookworm"
LAYERS = 3


def clean():
    clear()
    check_empty()
    forget()


def begin_and_wait_for_bytes(at_least=8_000_000, client=None):
    path = (client or images).begin(SLOW)
    wait_for(lambda: images.properties(path)["BytesDone"] >= at_least, 10, "some bytes")
    equal("running", images.properties(path)["State"])
    equal([], images.names())
    return path


def kill(*pids):
    assert pids and 0 not in pids, "nobody to kill"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def workers_are_gone():
    return not pids_of("crt-fetch")


def finish(resumed=True):
    """Pulls the same blobs, and shows that the rest of the layer was asked for, and nothing twice."""
    wait_for(workers_are_gone, 5, "the workers to end")
    forget()
    result = images.pull(FAST)
    ranges = [request["range"] for request in asked() if request["range"]]
    if resumed:
        equal(1, len(ranges))
        assert int(re.fullmatch(r"bytes=(\d+)-", ranges[0]).group(1)) >= 4_000_000, ranges
    equal([FAST], images.names())
    assert result["chain-id"] in snapshots.keys()
    equal(LAYERS, len(snapshots.keys()))
    equal([], unfinished())
    equal({}, content.ingests())
    check_disk()


def fails_as_unavailable(path):
    try:
        images.wait(path)
    except GLib.Error as error:
        assert "Unavailable" in str(error) or "NoReply" in str(error), error
        return
    raise AssertionError("the transfer is done all the same")


def test_images_is_killed():
    begin_and_wait_for_bytes()
    assert unfinished()
    kill_daemons("Images")
    equal([], images.names())
    wait_for(lambda: not unfinished(), 15, "what it left to be removed")
    finish()


def test_fetch_worker_is_killed():
    path = begin_and_wait_for_bytes()
    kill(*pids_of("crt-fetch"))
    message = failure("Unavailable", lambda: images.wait(path))
    assert "fetch worker" in message, message
    equal([], unfinished())
    finish()


def test_content_is_killed():
    path = begin_and_wait_for_bytes()
    kill_daemons("Content")
    fails_as_unavailable(path)
    equal([], unfinished())
    finish(resumed=False)


def test_ingest_worker_is_killed():
    path = begin_and_wait_for_bytes()
    kill(*pids_of("crt-ingest"))
    fails_as_unavailable(path)
    equal([], unfinished())
    finish(resumed=False)


def test_ingest_worker_is_killed_while_the_registry_is_silent():
    """All that comes has come, and was told to the last byte: that the stream has no reader is noticed without
    another one, and without asking the registry again."""
    path = images.begin(SLOW)
    wait_for(lambda: HELD in [part[3] for part in images.properties(path)["Parts"]], 10, "all that comes")
    kill(*pids_of("crt-ingest"))
    fails_as_unavailable(path)
    equal([], [request for request in asked() if request["range"]])
    equal([], unfinished())
    finish(resumed=False)


def test_snapshots_is_killed():
    path = begin_and_wait_for_bytes()
    kill_daemons("Snapshots")
    fails_as_unavailable(path)
    wait_for(lambda: not unfinished(), 15, "what it left to be removed")
    finish()


def test_unpack_worker_is_killed():
    path = begin_and_wait_for_bytes()
    kill(*pids_of("crt-unpack"))
    try:
        images.wait(path)
    except GLib.Error:
        pass
    equal([], unfinished())
    clear()
    finish(resumed=False)


def test_all_are_killed_at_once():
    begin_and_wait_for_bytes()
    kill(*pids_of("crt-fetch"))
    kill_daemons("Images", "Content", "Snapshots")
    equal([], images.names())
    wait_for(lambda: not unfinished(), 15, "what they left to be removed")
    finish(resumed=False)


def test_images_is_killed_at_any_moment():
    for _ in range(8):
        Images().begin(FAST)
        time.sleep(random.uniform(0, 0.5))
        kill_daemons("Images")
        wait_for_answer("Images")
    wait_for(lambda: images.names() in ([], [FAST]) and not unfinished(), 15, "what it left to be removed")
    finish(resumed=False)


def test_another_client_cancels():
    path = begin_and_wait_for_bytes(client=Images())
    images.cancel(path)
    message = failure("Cancelled", lambda: images.wait(path))
    assert message, "no sentence"
    equal("cancelled", images.properties(path)["State"])
    equal([], unfinished())
    finish()
    done = [path for path, transfer in images.objects(TRANSFER).items() if transfer["State"] == "done"]
    failure("FailedPrecondition", lambda: images.cancel(done[-1]))


def test_another_client_watches():
    path = begin_and_wait_for_bytes(1_000_000)
    watched = Images().objects(TRANSFER)[path]
    equal((SLOW, "running", "downloading", 0), tuple(watched[key] for key in ("Object", "State", "Phase", "Owner")))
    images.cancel(path)


def test_client_that_goes_away_does_not_stop_it():
    path = begin_and_wait_for_bytes(1_000_000, client=Images())
    let_go()
    images.wait(path)
    equal([SLOW], images.names())


def test_removal_is_finished_after_a_kill():
    images.pull(FAST)
    for _ in range(3):
        try:
            client = Images()
            client.connection.call("org.crt.Images", "/org/crt/Images", "org.crt.Images1", "Remove",
                                   GLib.Variant("(sa{sv})", (FAST, {})), None, 0, 5000, None, None)
            time.sleep(random.uniform(0, 0.01))
            kill_daemons("Images")
        except (GLib.Error, AssertionError, ProcessLookupError):
            pass
        wait_for_answer("Images")
    if images.names():
        unless_gone(images.remove, FAST)
    wait_for(lambda: not digests() and not snapshots.keys(), 10, "the rest to go")


def test_stop_in_the_middle_is_a_cancel():
    begin_and_wait_for_bytes()
    systemctl("stop", "crt-images")
    # Not by the time limit of its unit.
    equal("success", run("systemctl", "show", "-P", "Result", "crt-images").strip())
    equal([], unfinished())
    finish()


if __name__ == "__main__":
    registry("faulty")
    run_cases([value for name, value in list(globals().items()) if name.startswith("test_")], clean)
