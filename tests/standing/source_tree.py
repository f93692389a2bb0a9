# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of the source tree, and how a standing check reports on them."""

import os
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
SKIP = 77  # what meson takes for "skipped"


def _from_git():
    command = ["git", "-C", ROOT, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
               "--exclude-standard"]
    try:
        result = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name.decode() for name in result.stdout.split(b"\0") if name]


def _from_walk():
    found = []
    for directory, children, names in os.walk(ROOT):
        children[:] = [c for c in children if c != ".git" and c != "__pycache__"
                       and not os.path.exists(os.path.join(directory, c, "build.ninja"))]
        found += [os.path.relpath(os.path.join(directory, name), ROOT) for name in names]
    return found


def files(*suffixes):
    """Paths from the root, of files that end in one of the suffixes (all without any)."""
    names = _from_git()
    if names is None:
        names = _from_walk()
    return sorted(name for name in set(names)
                  if (not suffixes or name.endswith(suffixes))
                  and os.path.isfile(os.path.join(ROOT, name))
                  and not os.path.islink(os.path.join(ROOT, name)))


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def finish(problems, what):
    """Ends the check: every problem is a line "file:line: sentence"."""
    for problem in problems:
        print(problem)
    print(f"{what}: {len(problems)} problems" if problems else f"{what}: ok")
    sys.exit(1 if problems else 0)
