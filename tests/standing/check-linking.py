# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a program can't do, because it does not have the library for it: foreign documents, archives, compressed
streams, addresses and the hashing of bulk are for the workers. The argument is the build directory."""

import pathlib
import subprocess
import sys

import source_tree

PARSERS = ("json-c", "archive", "zstd", "isal", "curl", "seccomp", "crypto")

# Of each program, the libraries that it must not need.
WITHOUT = {
    "services/content/crt-contentd": PARSERS,
    "services/images/crt-imagesd": PARSERS,
    "services/images/crt-document": ("crypto", "curl", "sqlite3", "systemd"),
}


def needed(program):
    result = subprocess.run(["readelf", "--dynamic", "--wide", program], capture_output=True, text=True, check=True)
    return [line.partition("[")[2].rstrip("]") for line in result.stdout.splitlines() if "(NEEDED)" in line]


def main():
    build = pathlib.Path(sys.argv[1])
    problems = []
    for program, libraries in WITHOUT.items():
        for name in needed(build / program):
            if any(name.startswith(f"lib{library}.so") for library in libraries):
                problems.append(f"{program}: needs {name}")
    source_tree.finish(problems, "linking")


main()
