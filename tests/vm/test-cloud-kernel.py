#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# vm: --kernel qemu --memory 2G --disk 4G
# only: long
"""The same limits with Debian's own kernel for machines in a cloud, which has all controllers."""

import os
import runpy
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "host"))
from interfaces import Cases  # noqa: E402

with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as file:
    missing = {"cpuset", "cpu", "io", "memory", "hugetlb", "pids"} - set(file.read().split())
cases = Cases()
cases.case("the kernel has all controllers", [f"no {name}" for name in sorted(missing)])
try:
    runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test-limits.py"), run_name="__main__")
except SystemExit as end:
    sys.exit(end.code or cases.failed)
