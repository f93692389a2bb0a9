# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everything is as clang-format writes it, nothing is left over, and nothing belongs to one machine."""

import re
import shutil
import subprocess
import sys

import source_tree

LEFTOVERS = [
    (re.compile(r"\b(TODO|FIXME|XXX)\b"), "is unfinished"),
    (re.compile(r"(?<![\w.])//(?!\S*//)\s"), "comments are written /* so */"),
    (re.compile(r"[ \t]$"), "ends in blanks"),
    (re.compile(r"/(home|work|root)/\w"), "is a path of one machine"),
]
# A program's own home directory of root is no machine's path: units and tests name it.
HOMES = ("systemd/", "tests/", "tools/", "bench/")


def check_leftovers(name):
    text = source_tree.read(name)
    if text and not text.endswith("\n"):
        yield f"{name}: the last line has no end"
    for number, line in enumerate(text.split("\n"), 1):
        for pattern, why in LEFTOVERS:
            if why.endswith("machine") and name.startswith(HOMES):
                continue
            if (match := pattern.search(line)) and '"' not in line[:match.start()]:
                yield f"{name}:{number}: '{match.group()}' {why}"


def check_format(names):
    command = [shutil.which("clang-format"), "--dry-run", "-Werror", "--ferror-limit=3", "--style=file"]
    result = subprocess.run(command + names, cwd=source_tree.ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        return [line for line in result.stderr.split("\n") if "error:" in line] or ["clang-format failed"]
    return []


def main():
    names = source_tree.files(".c", ".h")
    problems = [problem for name in names for problem in check_leftovers(name)]
    if not shutil.which("clang-format"):
        if not problems:
            print("style: clang-format is not installed")
            sys.exit(source_tree.SKIP)
    else:
        problems += check_format(names)
    source_tree.finish(problems, "style")


main()
