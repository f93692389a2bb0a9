#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""That tools/test counts truly: what failed, was skipped, crashed or never ran is not called passed."""

import contextlib
import io
import os
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tools", "lib"))
import testrun  # noqa: E402


def counted(function, *arguments):
    results = testrun.Results()
    with contextlib.redirect_stdout(io.StringIO()):
        function(results, *arguments)
    return results.passed, len(results.failures), results.skipped


def script(text):
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as out:
        out.write("#!/bin/sh\n" + text)
        out.flush()
        return counted(testrun.run_script, "x: ", ["/bin/sh", out.name])


def tap(text, result="OK", code=0):
    return counted(testrun.meson_test, "",
                   {"name": "crt / x", "result": result, "stdout": text, "returncode": code})


CASES = {
    "tap counts each line": (tap, "1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP no root\n", (1, 1, 1)),
    "tap that skips without a reason fails": (tap, "ok 1 - a # SKIP\n", (0, 1, 0)),
    "tap without a name counts": (tap, "ok 1\nok 2\n", (2, 0, 0)),
    "comments are no cases": (tap, "# ok 1 - a\nTAP version 13\nokay\nok 1 - b\n", (1, 0, 0)),
    "a test without tap counts once": (tap, "hello\n", (1, 0, 0)),
    "script counts each line": (script, "echo ok a; echo skip b: why; echo not ok c: why; exit 1", (1, 1, 1)),
    "skip without a reason fails": (script, "echo skip b", (0, 1, 0)),
    "script without cases fails": (script, "true", (0, 1, 0)),
    "script with a false status fails": (script, "echo ok a; exit 1", (1, 1, 0)),
    "script that is killed fails": (script, "echo ok a; kill -KILL $$", (1, 1, 0)),
    "other output is no case": (script, "echo okay; echo not okay; echo ok a", (1, 0, 0)),
}


def beside():
    """What three scripts that run beside each other come to, and in how many pieces their cases are shown."""
    def task(name):
        script_text = f"for i in 1 2 3; do echo ok {name}; sleep 0.05; done; exit 1"
        return lambda results: testrun.run_script(results, "", ["/bin/sh", "-c", script_text])

    results, output = testrun.Results(), io.StringIO()
    with contextlib.redirect_stdout(output):
        testrun.side_by_side(results, [task(name) for name in "abc"])
    shown = [line.split()[1] for line in output.getvalue().splitlines() if line.startswith("ok ")]
    runs = sum(1 for before, name in zip([None] + shown, shown) if name != before)
    return results.passed, len(results.failures), runs


def again(at_most, *good):
    """One file for each of them, which passes from that run on: passed, failed, and what is named as unsteady."""
    runs = [0] * len(good)

    def task(number):
        def run(results):
            runs[number] += 1
            results.check(f"case {number}", runs[number] >= good[number])
        return run

    results = testrun.Results()
    with contextlib.redirect_stdout(io.StringIO()):
        testrun.side_by_side(results, [task(number) for number in range(len(good))], at_most)
    return results.passed, len(results.failures), len(results.unsteady)


def special_cases():
    yield "what fails runs once unless told", again(0, 1, 2), (1, 1, 0)
    yield "what passes when run again is named", again(3, 1, 2), (2, 0, 1)
    yield "what fails again has failed", again(3, 1, 3), (1, 1, 0)
    yield "only so many run again", again(1, 2, 2), (1, 1, 1)
    yield "tap that ended early fails", tap("1..2\nok 1 - a\n", "ERROR", 0), (1, 1, 0)
    yield "a test that timed out fails", tap("", "TIMEOUT", -15), (0, 1, 0)
    yield "a crash after good cases fails", tap("ok 1 - a\n", "FAIL", -11), (1, 1, 0)
    yield "scripts side by side are counted, each in one piece", beside(), (9, 3, 3)
    yield "a test skipped as a whole is skipped", tap("", "SKIP", 77), (0, 0, 1)


def main():
    failed = False
    for name, (function, text, expected) in CASES.items():
        failed |= report(name, function(text), expected)
    for name, got, expected in special_cases():
        failed |= report(name, got, expected)
    return 1 if failed else 0


def report(name, got, expected):
    print(f"ok {name}" if got == expected else f"not ok {name}: expected {expected}, got {got}")
    return got != expected


if __name__ == "__main__":
    sys.exit(main())
