#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""That tools/test counts truly: what failed, was skipped, crashed or never ran is not called passed."""

import contextlib
import io
import os
import signal
import sys
import tempfile
import time

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
    def task(number):
        def run(results):
            runs[number] += 1
            results.check(f"case {number}", runs[number] >= good[number])
        return run

    counts = set()
    for run_all in (testrun.side_by_side, testrun.one_by_one):
        results, runs = testrun.Results(), [0] * len(good)
        with contextlib.redirect_stdout(io.StringIO()):
            run_all(results, [task(number) for number in range(len(good))], testrun.Repeats(at_most))
        counts.add((results.passed, len(results.failures), len(results.unsteady)))
    return counts.pop() if len(counts) == 1 else counts


def again_with_seconds(seconds):
    """How often a file ran that fails after so many, and what is named."""
    runs, results = [], testrun.Results()

    def run(held):
        runs.append(1)
        held.check("case", len(runs) > 1)

    repeats, held = testrun.Repeats(3), testrun.run_held(run)
    held.seconds = seconds
    with contextlib.redirect_stdout(io.StringIO()):
        repeats.add(results, held, run)
        repeats.run(results)
    return len(runs), len(results.failures), len(results.unsteady)


MESON = """#!/bin/sh
mkdir -p "$3/meson-logs"
for last in "$@"; do :; done
case $last in test-*) ;; *) last=; echo >>"$3/all";; esac
[ -z "$last" ] || echo "$last" >>"$3/alone"
for name in ${last:-test-good test-shaky test-bad}; do
        result=OK ok=ok
        [ $name = test-bad ] || [ $name = test-shaky ] && [ -z "$last" ] && result=FAIL ok="not ok"
        [ $name != test-bad ] || { result=FAIL; ok="not ok"; }
        printf '{"name": "crt:unit / %s", "result": "%s", ' $name $result
        printf '"stdout": "%s 1 - a case", "duration": 1}\n' "$ok"
done >"$3/meson-logs/testlog.json"
"""


def units_again(at_most):
    """What three tests of a meson that is a stand-in come to; and which ran alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/bin")
        with open(f"{folder}/bin/meson", "w", encoding="utf-8") as file:
            file.write(MESON)
        os.chmod(f"{folder}/bin/meson", 0o755)
        path, results = os.environ["PATH"], testrun.Results()
        os.environ["PATH"] = f"{folder}/bin:{path}"
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                testrun.meson_tests(results, folder, repeats=testrun.Repeats(at_most))
        finally:
            os.environ["PATH"] = path
        alone = open(f"{folder}/alone", encoding="utf-8").read().split() if os.path.exists(f"{folder}/alone") else []
        return results.passed, len(results.failures), len(results.unsteady), *alone


def ends(path):
    """Whether the process whose number is there has ended, or ends."""
    with open(path, encoding="ascii") as file:
        pid = int(file.read())
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] in "XZ":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def too_slow():
    """A script that never ends: what is counted, whether it tidied up, and what is left of it."""
    with tempfile.TemporaryDirectory() as folder:
        text = (f"trap 'sleep 0.2; echo >{folder}/tidy' EXIT; echo ok a; trap '' TERM; sleep 4711 &"
                f" echo $! >{folder}/left; trap - TERM; sleep 4712")
        results, said = testrun.Results(), io.StringIO()
        with contextlib.redirect_stdout(said):
            testrun.run_script(results, "x: ", ["/bin/bash", "-c", text], limit=1)
        return (results.passed, results.failures, "had not ended after 1 s" in said.getvalue(),
                os.path.exists(f"{folder}/tidy"), ends(f"{folder}/left"))


def output_that_is_held():
    """One that has ended, and left something behind that holds its output."""
    testrun.LEFT_TIMEOUT, began = 1, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = script(f"setsid sleep 4714 & echo $! >{folder}/left; echo ok a")
        with open(f"{folder}/left", encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGKILL)
    return counts, time.monotonic() - began < 1000


def special_cases():
    yield "what fails runs once unless told", again(0, 1, 2), (1, 1, 0)
    yield "what passes when run again is named", again(3, 1, 2), (2, 0, 1)
    yield "what fails again has failed", again(3, 1, 3), (1, 1, 0)
    yield "only so many run again", again(1, 2, 2), (1, 1, 1)
    yield "what is slow runs once", again_with_seconds(301), (1, 1, 0)
    yield "what is quick runs again", again_with_seconds(299), (2, 0, 1)
    yield "a unit test runs once unless told", units_again(0), (1, 2, 0)
    yield "a unit test that fails runs again", units_again(3), (2, 1, 1, "test-shaky", "test-bad")
    yield "a script that does not end is ended, says so, and leaves nothing", too_slow(), (1, ["x"], True, True, True)
    yield "output that somebody else holds is not waited for", output_that_is_held(), ((1, 0, 0), True)
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
