# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one kind of test each and reports case by case."""

import concurrent.futures
import contextlib
import functools
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
HOST = os.path.join(TOP, "tools", "host")
VM = os.path.join(TOP, "tools", "vm")
SOURCES_IN_HOST = "/usr/src/crt"
FILE_TIMEOUT = 900
LONG_TIMEOUT = 6 * 3600
# For a host or machine to begin, whose turn must come; for what is asked of it beside the tests; for what a file that
# was too slow tidies up, and for what one that has ended left behind to end as well.
START_TIMEOUT, ASK_TIMEOUT, TIDY_TIMEOUT, LEFT_TIMEOUT = 900, 300, 60, 10
# What takes longer is not repeated.
REPEAT_TIMEOUT = 300
# What a daemon that broke leaves in the journal. SIGKILL is no such sign: tests kill.
CRASHES = (r"AddressSanitizer|runtime error: |UndefinedBehaviorSanitizer"
           r"|status=(4/ILL|6/ABRT|7/BUS|8/FPE|11/SEGV|31/SYS)|dumped core")


class Results:
    """Counts cases and prints them as they come, or holds what is to be printed until they are added to others."""

    def __init__(self, held=False):
        self.passed = self.skipped = self.builds = 0
        self.failures = []
        self.unsteady = []
        self.seconds = 0
        self.held = [] if held else None

    def print(self, text):
        if self.held is None:
            print(text, flush=True)
        else:
            self.held.append(text)

    def add_all(self, others):
        self.passed += others.passed
        self.skipped += others.skipped
        self.failures += others.failures
        for text in others.held:
            self.print(text)

    def text_only(self):
        """What is to be printed, with nothing that counts."""
        text = Results(held=True)
        text.held = self.held
        return text

    def add(self, outcome, name, text=""):
        if outcome == "ok":
            self.passed += 1
        elif outcome == "skip":
            self.skipped += 1
        else:
            self.failures.append(name)
        self.print(f"{outcome} {name}" + (f": {text}" if text else ""))

    def check(self, name, good, text=""):
        self.add("ok" if good else "not ok", name, "" if good else text)
        return good

    def summary(self):
        if self.unsteady:
            print("\nFailed, and passed when run again alone:")
            for name in self.unsteady:
                print(f"  {name}")
        if self.failures:
            print("\nFailed:")
            for name in self.failures:
                print(f"  {name}")
        print(f"{self.passed} passed, {len(self.failures)} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failures else 0


def heading(text, began=[None]):  # pylint: disable=dangerous-default-value
    now = time.monotonic()
    began[0] = began[0] or now
    print(f"\n== {text} ({now - began[0]:.0f} s)", flush=True)


def indent(text, lines=60):
    return "\n".join("    " + line for line in text.rstrip().splitlines()[-lines:])


def build(results, folder, name, options, compiler=None):
    environment = {**os.environ, **({"CC": compiler} if compiler else {})}
    done = subprocess.run([os.path.join(TOP, "tools", "build"), folder, *options], env=environment,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    results.builds += 1
    if not results.check(name, done.returncode == 0, "does not build, or with warnings"):
        results.print(indent(done.stdout))
    return done.returncode == 0


# ---- meson ----

TAP_LINE = re.compile(r"(?P<failed>not )?ok\b(?: \d+)?(?: -)? ?(?P<name>[^#]*)"
                      r"(?:#\s*(?P<directive>\w+)\s*(?P<reason>.*))?")


def tap_cases(output):
    """(outcome, name, text) of each line of TAP; the comment before a failure says why."""
    comment = ""
    for line in output.splitlines():
        match = TAP_LINE.match(line)
        if match is None:
            comment = line[1:].strip() if line.startswith("#") else comment
            continue
        directive = (match["directive"] or "").upper()
        if match["failed"]:
            yield "not ok", match["name"].strip(), comment
        elif directive.startswith("SKIP"):
            if match["reason"]:
                yield "skip", match["name"].strip(), match["reason"]
            else:
                yield "not ok", match["name"].strip(), "skipped without a reason"
        else:
            yield "ok", match["name"].strip(), ""
        comment = ""


def meson_test(results, prefix, test):
    title = prefix + test["name"].split(" / ")[-1]
    failed_before, cases = len(results.failures), 0
    for outcome, name, text in tap_cases(test.get("stdout", "")):
        results.add(outcome, f"{title}: {name}", text)
        cases += 1
    good = test["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
    if cases == 0:
        outcome = "ok" if test["result"] == "OK" else "skip" if good else "not ok"
        results.add(outcome, title, "" if outcome == "ok" else test["result"])
    elif not good and len(results.failures) == failed_before:
        results.add("not ok", title, f"{test['result']}, status {test.get('returncode')}")
    if len(results.failures) > failed_before:
        results.print(indent(test.get("stdout", "")) + "\n" + indent(test.get("stderr", ""), 40))


def meson_tests(results, folder, prefix="", names=(), repeats=None):
    """All unit tests and bus tests of one build; each line of TAP is a case."""
    repeats = repeats or Repeats(0)
    log = os.path.join(folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    environment = {**os.environ, "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
                   "ASAN_OPTIONS": "abort_on_error=1:detect_stack_use_after_return=1"}
    done = subprocess.run(["meson", "test", "-C", folder, "--no-rebuild", "--timeout-multiplier",
                           "5" if prefix else "4", *names], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    failed, tests = 0, 0
    if os.path.exists(log):
        with open(log, encoding="utf-8") as lines:
            for test in map(json.loads, lines):
                held = Results(held=True)
                meson_test(held, prefix, test)
                held.seconds = test.get("duration", 0)
                failed += len(held.failures)
                repeats.add(results, held, functools.partial(meson_tests, folder=folder, prefix=prefix,
                                                             names=[test["name"].split(" / ")[-1]]))
                tests += 1
    if tests == 0 or (done.returncode != 0 and failed == 0):
        results.add("not ok", f"{prefix}meson test", f"{tests} tests, status {done.returncode}")
        results.print(indent(done.stdout))
    repeats.run(results)


def meson_test_names(folder):
    done = subprocess.run(["meson", "test", "-C", folder, "--no-rebuild", "--list"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    return [line.split(" / ")[-1].strip() for line in done.stdout.splitlines() if line.strip()]


# ---- scripts ----

def script_line(results, prefix, line):
    """One line of a script's output: a case, or text about the case before it."""
    for outcome in ("not ok", "ok", "skip"):
        if line.startswith(outcome + " "):
            name, _, text = line[len(outcome) + 1:].partition(": ")
            if outcome == "skip" and not text:
                results.add("not ok", prefix + name, "skipped without a reason")
            else:
                results.add(outcome, prefix + name, text)
            return True
    results.print("    " + line.strip("\n"))
    return False


def read_lines(process, deadline):
    """As they come, until nobody can write any more, or the time is over; after the end of the process itself, what it
    left behind holds its output for a while only."""
    rest, ended = b"", None
    while time.monotonic() < deadline:
        if ended is None and process.poll() is not None:
            ended = time.monotonic()
        if ended is not None and time.monotonic() > ended + LEFT_TIMEOUT:
            break
        if not select.select([process.stdout], [], [], 0.2)[0]:
            continue
        data = os.read(process.stdout.fileno(), 1 << 16)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")


def end_group(process):
    """A process and what it has started, which may tidy up first."""
    for number, seconds in ((signal.SIGTERM, TIDY_TIMEOUT), (signal.SIGKILL, None)):
        if process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
                os.killpg(process.pid, number)
                process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()


def stop_left_behind(process):
    """Hosts and machines that a test of the tools, which names them so, could not stop itself."""
    for tool in (HOST, VM):
        for name in run_quietly(ASK_TIMEOUT, tool, "list").stdout.split():
            if name.startswith(f"t{process.pid}-"):
                run_quietly(ASK_TIMEOUT, tool, "stop", "--name", name)


def run_script(results, prefix, command, long=False, limit=None):  # pylint: disable=too-many-arguments
    """Every script must name at least one case, and end with a status that is true to them, in time. In the long form
    it has $LONG, and the time that it needs."""
    failed_before, cases = len(results.failures), 0
    limit = limit or (LONG_TIMEOUT if long else FILE_TIMEOUT)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**os.environ, "LONG": "1"} if long else None, start_new_session=True)
    deadline = time.monotonic() + limit
    for line in read_lines(process, deadline):
        cases += script_line(results, prefix, line)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
    status = process.poll()
    end_group(process)
    if status is None:
        results.add("not ok", prefix.strip(": "), f"had not ended after {limit} s")
        stop_left_behind(process)
    elif status < 0:
        results.add("not ok", prefix.strip(": "), f"ended by signal {-status}")
    elif cases == 0:
        results.add("not ok", prefix.strip(": "), f"no case ran (status {status})")
    elif status != 0 and len(results.failures) == failed_before:
        results.add("not ok", prefix.strip(": "), f"status {status} though no case failed")


def run_quietly(limit, *command):
    """What it said, and its status; one that takes too long has failed."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False, timeout=limit)
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")
        return subprocess.CompletedProcess(command, 124, f"{said}\nhad not ended after {limit} s\n")


def on_host(tool, name, *command):
    return run_quietly(ASK_TIMEOUT, tool, "exec", "--name", name, "--", *command)


def host_options(tool, path):
    """What a test file asks of its host or machine, in a line of its own: "# host: --disk 2G"."""
    mark = f"# {os.path.basename(tool)}: "
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith(mark):
                return line.removeprefix(mark).split()
    return []


def host_script(results, path, folder, prefix, tool=HOST, long=False):  # pylint: disable=too-many-arguments
    """One test file on a fresh private host, or a fresh virtual machine, that has crt from this build."""
    stem = os.path.splitext(os.path.basename(path))[0].removeprefix("test-")
    name = f"test-{os.getpid()}-{threading.get_native_id()}"
    label = f"{prefix}{stem}: "
    began = time.monotonic()
    started = run_quietly(START_TIMEOUT, tool, "start", "--name", name, "--build", folder, "--no-build",
                          *host_options(tool, path))
    if started.returncode != 0:
        results.add("not ok", label.strip(": "), f"the {os.path.basename(tool)} did not start")
        results.print(indent(started.stdout))
        run_quietly(ASK_TIMEOUT, tool, "stop", "--name", name)
        return
    try:
        inside = os.path.join(SOURCES_IN_HOST, os.path.relpath(path, TOP))
        environment = ["--env", "LONG=1"] if long else []
        run_script(results, label, [tool, "exec", "--name", name, *environment, "--", inside], long)
        crashes = on_host(tool, name, "sh", "-c",
                          f"journalctl --sync; journalctl -q --no-pager -g '{CRASHES}'").stdout
        if not results.check(f"{label}nothing crashed", not crashes.strip(), "see the journal"):
            results.print(indent(on_host(tool, name, "journalctl", "-q", "--no-pager", "-n", "80").stdout, 80))
    finally:
        stopped = run_quietly(ASK_TIMEOUT, tool, "stop", "--name", name)
        if stopped.returncode != 0:
            results.add("not ok", label.strip(": "), f"the {os.path.basename(tool)} did not stop")
            results.print(indent(stopped.stdout))
        results.print(f"    {time.monotonic() - began:.0f} s")


class Repeats:
    """So many files that fail, and are quick enough, run once more, alone, and that counts; what failed before is
    named."""

    def __init__(self, at_most):
        self.left, self.waiting = at_most, []

    def add(self, results, held, task):
        """What came of a file, which counts if it is not repeated."""
        if held.failures and self.left > 0 and held.seconds < REPEAT_TIMEOUT:
            self.left -= 1
            self.waiting.append((task, held.failures))
            held = held.text_only()
        results.add_all(held)

    def run(self, results):
        """When nothing else runs."""
        for task, before in self.waiting:
            results.print("\nagain, alone:")
            held = run_held(task)
            results.add_all(held)
            if not held.failures:
                results.unsteady += before
        self.waiting = []


def one_by_one(results, tasks, repeats=None):
    """Functions that take results; shows each when it has ended."""
    repeats = repeats or Repeats(0)
    for task in tasks:
        repeats.add(results, run_held(task), task)
    repeats.run(results)


def side_by_side(results, tasks, repeats=None):
    """The same, one more at once than there are processors, as each waits for a quarter of its time."""
    repeats = repeats or Repeats(0)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() + 1) as pool:
        running = {pool.submit(run_held, task): task for task in tasks}
        for ended in concurrent.futures.as_completed(running):
            repeats.add(results, ended.result(), running[ended])
    repeats.run(results)


def run_held(task):
    results, began = Results(held=True), time.monotonic()
    task(results)
    results.seconds = time.monotonic() - began
    return results


def main_guard():
    if os.geteuid() != 0:
        sys.exit("tools/test: run me as root")
