# SPDX-License-Identifier: LGPL-2.1-or-later
"""Headers begin with "#pragma once" and what they are, and compile alone; file names are unique in the tree.
The arguments are the compiler's command."""

import concurrent.futures
import os
import subprocess
import sys

import source_tree

NAMED = (".c", ".h", ".py", ".sh", ".xml")


def check_beginning(name):
    lines = source_tree.read(name).split("\n")
    if len(lines) < 4 or lines[1] != "#pragma once":
        yield f'{name}:2: the second line must be "#pragma once"'
    for line in lines[2:]:
        if line.startswith("/*"):
            return
        if line and not line.startswith(" "):
            break
    yield f"{name}:3: a comment must say what this is, before anything else"


def check_names(names):
    seen = {}
    for name in names:
        base = os.path.basename(name)
        if base in seen:
            yield f"{name}:1: {seen[base]} has the same name"
        seen.setdefault(base, name)


def check_alone(name, compiler):
    command = compiler + ["-std=gnu17", "-D_GNU_SOURCE", "-I", source_tree.ROOT, "-fsyntax-only", "-Wall",
                          "-Werror=implicit-function-declaration", "-x", "c", "-"]
    # Twice: so that the pragma does its work.
    text = f'#include "{name}"\n' * 2
    result = subprocess.run(command, input=text.encode(), capture_output=True)
    if result.returncode != 0:
        first = next((line for line in result.stderr.decode().split("\n") if "error" in line), "fails")
        return f"{name}:1: does not compile alone: {first}"
    return None


def main():
    headers = source_tree.files(".h")
    problems = [problem for name in headers for problem in check_beginning(name)]
    problems += check_names(source_tree.files(*NAMED))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        problems += filter(None, pool.map(lambda name: check_alone(name, sys.argv[1:]), headers))
    source_tree.finish(problems, "headers")


main()
