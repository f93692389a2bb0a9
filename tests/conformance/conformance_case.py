# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of rows that the tables are made of."""

import dataclasses
import re
import typing

from conformance_runtime import Failed, Runtime


@dataclasses.dataclass
class Case:
    section: str  # document and heading of the runtime specification
    level: str    # MUST, SHOULD or MAY: what a difference weighs
    says: str     # the statement, in a few words
    changes: dict = dataclasses.field(default_factory=dict)
    otherwise: str = dataclasses.field(default="", kw_only=True)  # why the runtime under test may do something else

    def prepare(self, runtime):
        runtime.write(self.changes)

    def check(self, runtime: Runtime):
        raise NotImplementedError


@dataclasses.dataclass
class Inside(Case):
    """A script in the container prints what is expected: the same text, or one that "~REGEX" matches."""
    script: str = ""
    expect: str = ""

    def prepare(self, runtime):
        runtime.write(self.changes, self.script)

    def check(self, runtime):
        status, output, errors = runtime.run()
        output = output.strip()
        if self.expect.startswith("~"):
            fits = re.search(self.expect[1:], output, re.MULTILINE)
        else:
            fits = output == self.expect
        if not fits:
            said = output or errors.strip().splitlines()[-1:] or status
            raise Failed(f"expected {self.expect!r}, got {str(said)[:200]!r}")


@dataclasses.dataclass
class Refused(Case):
    """create gives an error, and nothing is left ("Errors" of runtime.md)."""

    def check(self, runtime):
        runtime.fail("create", "--bundle", runtime.bundle, runtime.id)
        left = runtime.left()
        if left:
            raise Failed("refused, but left: " + ", ".join(left))


@dataclasses.dataclass
class Does(Case):
    """A function of the runtime that raises Failed."""
    does: typing.Callable = None
    script: str = "sleep 100"

    def prepare(self, runtime):
        runtime.write(self.changes, self.script)

    def check(self, runtime):
        self.does(runtime)


def equal(expected, got, what):
    if expected != got:
        raise Failed(f"{what}: expected {expected!r}, got {got!r}")
