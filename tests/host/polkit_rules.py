# SPDX-License-Identifier: LGPL-2.1-or-later
"""What polkit says yes to while a test runs, and what the journal has."""

import os
import subprocess

from content_store import wait_for


def journal(*arguments):
    subprocess.run(["journalctl", "--sync"], check=True)
    return subprocess.run(["journalctl", "-q", "-o", "cat", *arguments], check=True, text=True,
                          capture_output=True).stdout


class PolkitRule:
    def __init__(self, name):
        self.path = f"/etc/polkit-1/rules.d/10-test-{name}.rules"

    def set(self, condition):
        """polkit has read that when this returns; None takes it back."""
        if not condition and not os.path.exists(self.path):
            return
        cursor = journal("-n", "0", "--show-cursor").split("cursor: ")[1].strip()
        if condition:
            # In one step: polkitd would read what is only half there, and say that it has.
            with open(f"{self.path}.new", "w", encoding="utf-8") as file:
                file.write("polkit.addRule(function(action, subject) {"
                           f" if ({condition}) return polkit.Result.YES; }});")
            os.rename(f"{self.path}.new", self.path)
        else:
            os.unlink(self.path)
        subprocess.run(["systemctl", "start", "polkit"], check=True)
        wait_for(lambda: "Finished loading" in journal("-u", "polkit", "--after-cursor", cursor), 5, "polkit")
