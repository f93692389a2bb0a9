# SPDX-License-Identifier: LGPL-2.1-or-later
"""What polkit says yes to while a test runs, and what the journal has."""

import os
import subprocess
import time

from content_store import wait_for


def journal(*arguments):
    subprocess.run(["journalctl", "--sync"], check=True)
    return subprocess.run(["journalctl", "-q", "-o", "cat", *arguments], check=True, text=True,
                          capture_output=True).stdout


class PolkitRule:
    RULES = "/etc/polkit-1/rules.d"

    def __init__(self, name):
        self.path = f"{self.RULES}/10-test-{name}.rules"

    def write(self, text):
        """None takes it back."""
        if text:
            # In one step: polkitd would read what is only half there.
            with open(f"{self.path}.new", "w", encoding="utf-8") as file:
                file.write(text)
            os.rename(f"{self.path}.new", self.path)
        elif os.path.exists(self.path):
            os.unlink(self.path)
        else:
            return
        self.wait_until_read()

    def wait_until_read(self):
        """polkitd reads a change more than once, and what it says of an earlier one may come late: a file that is no
        rule has its name complained of."""
        mark = f"11-read-{os.getpid()}-{time.monotonic_ns()}.rules"
        with open(f"{self.RULES}/{mark}", "w", encoding="utf-8") as file:
            file.write("no rule (")
        try:
            subprocess.run(["systemctl", "start", "polkit"], check=True)
            wait_for(lambda: mark in journal("-b", "-u", "polkit"), 5, "polkit")
        finally:
            os.unlink(f"{self.RULES}/{mark}")

    def set(self, condition):
        """polkit has read that when this returns."""
        self.write(f"polkit.addRule(function(action, subject) {{ if ({condition}) return polkit.Result.YES; }});"
                   if condition else None)
