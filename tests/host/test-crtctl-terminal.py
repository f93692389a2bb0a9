#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""crtctl on a terminal, with the real services behind it: keys, window, detaching, progress, what is left."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from interfaces import Cases, wait_for  # noqa: E402
from polkit_rules import journal  # noqa: E402

IMAGE = "localhost:5000/busybox:latest"
REGISTRY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "registry")


def crtctl(*arguments):
    return subprocess.run(["crtctl", *arguments], check=True, capture_output=True, text=True, timeout=120).stdout


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command, rows=24, columns=100):
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (rows, columns))
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                        env=dict(os.environ, TERM="xterm", LANG="C.UTF-8"))
        self.text = b""

    def until(self, pattern, seconds=120):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"waited in vain for {pattern}: {self.text!r}")
            self.text += os.read(self.master, 4096)

    def type(self, data):
        os.write(self.master, data)

    def end(self):
        """Exit status; the terminal must be as it was."""
        status = self.process.wait(timeout=120)
        while select.select([self.master], [], [], 0.05)[0]:
            self.text += os.read(self.master, 4096)
        unchanged = termios.tcgetattr(self.slave) == self.before
        os.close(self.slave)
        os.close(self.master)
        if not unchanged:
            raise AssertionError("the terminal was left changed")
        return status


def keys_and_screen_are_the_containers():
    terminal = Terminal("crtctl", "run", "--rm", "-ti", IMAGE, "sh", "-c",
                        "stty size; tty; read x; echo got-$x; exit 5", rows=31, columns=77)
    terminal.until(rb"31 77")
    terminal.until(rb"/dev/")
    terminal.type(b"word\r")
    terminal.until(rb"got-word")
    return terminal.end() == 5


def ctrl_c_is_the_containers():
    terminal = Terminal("crtctl", "run", "--rm", "-ti", IMAGE, "sh", "-c",
                        "trap 'echo interrupted; exit 4' INT; echo up; while :; do sleep 0.05; done")
    terminal.until(rb"up")
    terminal.type(b"\x03")
    terminal.until(rb"interrupted")
    return terminal.end() == 4


def window_changes_are_passed_on():
    terminal = Terminal("crtctl", "run", "--rm", "-ti", IMAGE, "sh", "-c",
                        "trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.05; done")
    terminal.until(rb"up")
    termios.tcsetwinsize(terminal.slave, (50, 120))
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.until(rb"50 120")
    return terminal.end() == 0


def ctrl_p_ctrl_q_leaves_a_container_that_goes_on():
    terminal = Terminal("crtctl", "run", "--name", "left", "-ti", IMAGE, "sh", "-c", "echo up; exec sleep 100")
    terminal.until(rb"up")
    terminal.type(b"\x10\x11")
    status = terminal.end()
    time.sleep(0.3)
    rows = json.loads(crtctl("ps", "--json=short"))
    crtctl("rm", "-f", "left")
    return status == 0 and [(r["id"], r["state"]) for r in rows] == [("left", "running")]


def all_output_arrives():
    terminal = Terminal("crtctl", "run", "--rm", "-t", IMAGE, "seq", "20000")
    terminal.until(rb"20000\r\n")
    return terminal.end() == 0 and len(terminal.text.split()) == 20000


def own_terminal_is_not_given_away():
    terminal = Terminal("crtctl", "run", "--rm", "-i", IMAGE, "sh", "-c",
                        "for i in 0 1 2; do test -t $i && echo leaked; done; cat; echo end")
    terminal.type(b"hello\n\x04")
    terminal.until(rb"end")
    return terminal.end() == 0 and b"leaked" not in terminal.text and terminal.text.count(b"hello") == 2


def terminal_is_whole_after_a_failure():
    terminal = Terminal("crtctl", "run", "--rm", "-ti", IMAGE, "/no/such/command")
    return terminal.end() == 127


def terminal_is_whole_after_the_container_was_killed():
    terminal = Terminal("crtctl", "run", "--rm", "--name", "killed", "-ti", IMAGE,
                        "sh", "-c", "echo up; exec sleep 100")
    terminal.until(rb"up")
    crtctl("kill", "killed")
    return terminal.end() == 137


def progress_is_shown_and_gone_afterwards():
    crtctl("rmi", IMAGE)
    terminal = Terminal("crtctl", "pull", IMAGE)
    terminal.until(rb"busybox:latest: [0-9a-f]{12} \(linux/")
    return terminal.end() == 0


def agent_for_passwords_is_there_while_we_ask():
    """Whether somebody can answer is the host's business; that polkit has an agent to ask is ours."""
    terminal = Terminal("setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", "crtctl", "pull", IMAGE)
    agent = f"unix-process:{terminal.process.pid}:"
    try:
        terminal.until(rb"crtctl: .*org.crt.images.pull|AUTHENTICATING")
    finally:
        terminal.process.terminate()
        terminal.end()
    # polkit notices the end later than we do.
    wait_for(lambda: f"Unregistered Authentication Agent for {agent}" in journal("-u", "polkit"), what="its end")
    return re.search(rf"Registered Authentication Agent for {agent}.*pkttyagent", journal("-u", "polkit"))


def main():
    subprocess.run([REGISTRY, "start", "plain"], check=True)
    crtctl("pull", "-q", IMAGE)
    cases = Cases()
    for function in (keys_and_screen_are_the_containers, ctrl_c_is_the_containers, window_changes_are_passed_on,
                     ctrl_p_ctrl_q_leaves_a_container_that_goes_on, all_output_arrives, own_terminal_is_not_given_away,
                     terminal_is_whole_after_a_failure, terminal_is_whole_after_the_container_was_killed,
                     progress_is_shown_and_gone_afterwards, agent_for_passwords_is_there_while_we_ask):
        try:
            problems = [] if function() else ["it did not end as it should"]
        except (AssertionError, subprocess.SubprocessError) as error:
            problems = [repr(error)]
        cases.case(function.__name__.replace("_", " "), problems)
    crtctl("rmi", IMAGE)
    subprocess.run([REGISTRY, "stop"], check=True)
    cases.end()


if __name__ == "__main__":
    main()
