#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# host: --disk 2G
"""The disk becomes read-only under services that run: what would change anything says so, what only looks goes on. A
service that begins on it says so as well."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from image_pulls import (content, digests, equal, failure, images, pid_of, registry, run_cases,  # noqa: E402
                         snapshots, systemctl, wait_for)

NAME, OTHER = "localhost:5000/busybox:latest", "localhost:5000/layers:edge"
SERVICES = ("crt-images.service", "crt-content.service", "crt-snapshots.service")


def test_running_services_say_so():
    images.pull(NAME)
    image = images.call("Resolve", NAME)[0]
    blobs, keys = digests(), snapshots.keys()
    pids = [pid_of(unit) for unit in SERVICES]
    # As after an error of the disk; a plain remount is refused while a database is open.
    subprocess.run(["mount", "-o", "remount,abort", "/var/lib/crt"], check=True)

    for refused in (lambda: images.pull(OTHER),
                    lambda: images.call("Tag", "another", NAME),
                    lambda: images.remove(NAME),
                    lambda: content.ingest("read-only", size=1),
                    lambda: content.delete(image["config-digest"]),
                    lambda: snapshots.call("Prepare", "read-only", image["chain-id"]),
                    lambda: snapshots.remove(image["chain-id"])):
        failure("ReadOnly", refused)

    equal(image, images.call("Resolve", NAME)[0])
    equal([NAME], images.names())
    equal(blobs, digests())
    equal(keys, snapshots.keys())
    equal(pids, [pid_of(unit) for unit in SERVICES])


def test_services_that_begin_on_it_say_so():
    systemctl("stop", *SERVICES)
    for refused in (images.names, digests, snapshots.keys):
        for _ in range(2):
            message = failure("ReadOnly", refused)
            # And what it is that can't be written.
            assert re.search(r"ReadOnly: .+: Read-only file system$", message), message
    wait_for(lambda: [pid_of(unit) for unit in SERVICES] == [0] * len(SERVICES), what="their end")


if __name__ == "__main__":
    registry("plain")
    run_cases([test_running_services_say_so, test_services_that_begin_on_it_say_so], lambda: None)
