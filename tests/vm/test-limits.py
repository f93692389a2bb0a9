#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits that a kernel of its own enforces: memory kills, processes are refused, processor time is cut. What is not
limited is not."""

import glob
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "host"))
from image_pulls import images, registry  # noqa: E402
from task_containers import create, equal, remove_all, run_cases, wait_for  # noqa: E402

IMAGE = "localhost:5000/busybox:latest"
MIB = 1 << 20
FILL = "dd if=/dev/zero of=/dev/shm/filled bs=1M count=48 2>/dev/null"
FORK = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 100 & done; echo all"
SPIN = "while :; do :; done"


def shell(script, **options):
    return create("sh", "-c", script, image=IMAGE, **options)


def cgroup(container):
    (path,) = glob.glob(f"/sys/fs/cgroup/crt.slice/**/crt-*-{container.Id}.scope", recursive=True)
    return path


def read(container, name):
    with open(os.path.join(cgroup(container), name), encoding="ascii") as file:
        return file.read().strip()


def counters(container, name):
    return {key: int(value) for key, value in map(str.split, read(container, name).splitlines())}


def output(container):
    """Of a container that runs now: (status, what it wrote)"""
    read_end, write_end = os.pipe()
    container.start({"stdout": write_end, "stderr": write_end})
    os.close(write_end)
    status = container.wait()
    with os.fdopen(read_end, "rb") as file:
        return status, file.read().decode()


def test_the_kernel_has_the_controllers():
    with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as file:
        assert {"cpu", "io", "memory", "pids"} <= set(file.read().split())


def test_memory_kills():
    container = shell(FILL, memory_max=16 * MIB)
    equal(137, container.run())
    equal(0, shell(FILL, memory_max=96 * MIB).run())
    equal(0, shell(FILL).run())


def test_memory_that_kills_leaves_others_alone():
    neighbour = shell("sleep 1000")
    neighbour.start()
    equal(137, shell(FILL, memory_max=16 * MIB).run())
    equal("running", neighbour.State)
    neighbour.kill()


def test_the_limit_is_the_cgroups():
    container = shell("sleep 1000", memory_max=32 * MIB, tasks_max=17, cpu_quota=50)
    container.start()
    equal(str(32 * MIB), read(container, "memory.max"))
    equal("17", read(container, "pids.max"))
    quota, period = map(int, read(container, "cpu.max").split())
    equal(0.5, quota / period)
    container.kill()


def test_processes_are_refused():
    status, text = output(shell(FORK, tasks_max=10))
    assert status != 0 and "all" not in text.split(), f"{status}: {text}"
    assert "fork" in text, text
    status, text = output(shell(FORK, tasks_max=40))
    equal((0, "all"), (status, text.strip().split("\n")[-1]))


def check_usage(container, seconds, is_right):
    """Several times: the machine may have other things to do."""
    container.start()
    wait_for(lambda: counters(container, "cpu.stat")["usage_usec"] > 50000)
    for _ in range(5):
        used, throttled = usage(container, seconds)
        if is_right(used, throttled):
            break
    container.kill()
    assert is_right(used, throttled), f"uses {used:.2f} processors, was throttled {throttled} times"


def usage(container, seconds):
    """Processors that it uses, and how often it was throttled meanwhile."""
    before, began = counters(container, "cpu.stat"), time.monotonic()
    time.sleep(seconds)
    after, lasted = counters(container, "cpu.stat"), time.monotonic() - began
    return ((after["usage_usec"] - before["usage_usec"]) / 1e6 / lasted,
            after["nr_throttled"] - before["nr_throttled"])


def test_processor_time_is_cut():
    check_usage(shell(SPIN, cpu_quota=20), 3, lambda used, throttled: 0.05 < used < 0.3 and throttled > 5)


def test_processor_time_is_not_cut_without_a_limit():
    check_usage(shell(SPIN), 2, lambda used, throttled: used > 0.4 and throttled == 0)


def test_crtctl_sets_them():
    done = subprocess.run(["crtctl", "run", "--rm", "--memory", "16M", IMAGE, "sh", "-c", FILL], check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    equal(137, done.returncode)


def main():
    registry("plain")
    images.pull(IMAGE)
    run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], remove_all).end()


if __name__ == "__main__":
    sys.exit(main())
