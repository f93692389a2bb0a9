# SPDX-License-Identifier: LGPL-2.1-or-later
"""No name is defined by two static libraries: whichever the linker meets first would win, in silence. The argument
is the build directory."""

import collections
import pathlib
import subprocess
import sys

import source_tree

IGNORED = ("__asan", "__odr_asan", "__start_", "__stop_", "__ubsan")  # the sanitizers' own


def globals_of(archive):
    """The names that it defines for others."""
    command = ["nm", "--extern-only", "--defined-only", "--format=posix", str(archive)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in result.stdout.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[1] in "BCDRT" and not fields[0].startswith(IGNORED):
            yield fields[0]


def main():
    build = pathlib.Path(sys.argv[1])
    owners = collections.defaultdict(set)
    for archive in build.rglob("*.a"):
        for name in globals_of(archive):
            owners[name].add(archive.relative_to(build).as_posix())
    problems = [f"{', '.join(sorted(where))}: {name} is defined in each of them"
                for name, where in sorted(owners.items()) if len(where) > 1]
    source_tree.finish(problems, "symbols")


main()
