# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/test [--long] [--again] [PART|NAME]…: from a bare Debian 12 to all tests passed.

Parts, in their order (all of them unless told):
  unit       build with gcc; unit and bus tests
  clang      build with clang; both compilers without a warning
  sanitize   build with address and undefined sanitizers; unit and bus tests again
  tools      tests/tools on the machine
  host       tests/host, each file on a fresh private host
  host-sanitize   the same with the sanitizers' build
  power      tests/power on private hosts: power cuts, disks that fail
  vm         tests/vm, each file in a fresh virtual machine

Hosts and machines run side by side, one more than there are processors. NAME runs only the tests that have it in their
file's name, without clang and sanitizers. With --long those of tools, power and vm that have a longer form run
it, which takes hours. With --again up to three files (or unit tests) that fail run once more, alone, and the second
outcome counts, unless the first took five minutes; those that needed it are named before the last line. The last line
is "N passed, N failed, N skipped", and the exit status says the same.
"""

import functools
import glob
import os
import subprocess
import sys

import testrun

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

PARTS = ["unit", "clang", "sanitize", "tools", "host", "host-sanitize", "power", "vm"]
AGAIN_AT_MOST = 3
ON_HOSTS = {"host", "host-sanitize", "power", "vm"}
BUILD = os.path.join(TOP, "build")
CLANG = os.path.join(TOP, "build-clang")
SANITIZE = os.path.join(TOP, "build-sanitize")
SANITIZE_OPTIONS = ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Doptimization=1"]


def only_long(path):
    """A line of its own in a test file: "# only: long"."""
    with open(path, encoding="utf-8") as file:
        return "# only: long\n" in file


def scripts(folder, names, long=False):
    found = sorted(glob.glob(os.path.join(TOP, "tests", folder, "test-*.sh")) +
                   glob.glob(os.path.join(TOP, "tests", folder, "test-*.py")))
    return [path for path in found if (long or not only_long(path)) and
            (not names or any(name in os.path.basename(path) for name in names))]


def run_unit(results, names, repeats):
    testrun.heading("gcc")
    if not testrun.build(results, BUILD, "builds with gcc without warnings", []):
        return False
    if names:
        names = [test for test in testrun.meson_test_names(BUILD) if any(name in test for name in names)]
        if names:
            testrun.meson_tests(results, BUILD, names=names, repeats=repeats)
    else:
        testrun.meson_tests(results, BUILD, repeats=repeats)
    return True


def run_clang(results):
    testrun.heading("clang")
    testrun.build(results, CLANG, "builds with clang without warnings", [], compiler="clang")


def build_sanitize(results):
    return testrun.build(results, SANITIZE, "builds with sanitizers", SANITIZE_OPTIONS)


def run_sanitize(results, repeats):
    testrun.heading("address and undefined sanitizers")
    if build_sanitize(results):
        testrun.meson_tests(results, SANITIZE, "sanitized ", repeats=repeats)


def run_tools(results, names, long, repeats):
    paths = scripts("tools", names, long)
    if paths:
        testrun.heading("tools")

    def task(path):
        stem = os.path.splitext(os.path.basename(path))[0].removeprefix("test-")
        return functools.partial(testrun.run_script, prefix=f"tools/{stem}: ", command=[path], long=long)

    testrun.one_by_one(results, [task(path) for path in paths], repeats)


def host_tasks(parts, names, long):
    """What runs on hosts and machines of its own, the longest first: these can run side by side."""
    tasks = []

    def add(part, where, folder, prefix, tool=testrun.HOST):
        if part in parts:
            tasks.extend(functools.partial(testrun.host_script, path=path, folder=folder, prefix=prefix, tool=tool,
                                           long=long) for path in scripts(where, names, long))

    add("vm", "vm", BUILD, "vm/", testrun.VM)
    add("power", "power", BUILD, "power/")
    add("host-sanitize", "host", SANITIZE, "sanitized ")
    add("host", "host", BUILD, "")
    return tasks


def run_parts(results, parts, names, options):
    """In their order; what needs a host needs the fixtures, and a build that is good."""
    repeats = testrun.Repeats(AGAIN_AT_MOST if "--again" in options else 0)
    built = run_unit(results, names, repeats) if "unit" in parts else True
    if "clang" in parts:
        run_clang(results)
    if "sanitize" in parts:
        run_sanitize(results, repeats)
    if "tools" in parts:
        run_tools(results, names, "--long" in options, repeats)
    if ON_HOSTS.intersection(parts):
        subprocess.run([os.path.join(TOP, "tools", "fixtures")], stdout=subprocess.DEVNULL, check=True)
    if ON_HOSTS.intersection(parts) - {"host-sanitize"} and "unit" not in parts:
        built = testrun.build(results, BUILD, "builds with gcc without warnings", [])
    runnable = {part for part in ON_HOSTS.intersection(parts)
                if (build_sanitize(results) if part == "host-sanitize" else built)}
    tasks = host_tasks(runnable, names, "--long" in options)
    if tasks:
        testrun.heading(" ".join(part for part in PARTS if part in runnable))
        testrun.side_by_side(results, tasks, repeats)


def main():
    testrun.main_guard()
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if any(argument in ("-h", "--help") for argument in sys.argv[1:]):
        print(__doc__)
        return 0
    options = {"--long", "--again"}.intersection(sys.argv[1:])
    arguments = [argument for argument in sys.argv[1:] if argument not in options]
    parts = [argument for argument in arguments if argument in PARTS]
    names = [argument for argument in arguments if argument not in PARTS]
    if not parts:
        parts = ["unit", "tools", "host", "power", "vm"] if names else PARTS

    groups = ["build", "test"] + (["vm"] if {"tools", "power", "vm"}.intersection(parts) else [])
    subprocess.run([os.path.join(TOP, "tools", "setup"), *groups], check=True)
    results = testrun.Results()
    run_parts(results, parts, names, options)
    print()
    if results.passed + len(results.failures) + results.skipped == results.builds:
        results.add("not ok", "tools/test", f"no test is named {' or '.join(names)}")
    return results.summary()


if __name__ == "__main__":
    sys.exit(main())
