#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Outside parent of one private host: gives its PID 1 a console, keeps what is printed there, reaps it.

host-monitor.py STATE CGROUP COMMAND…

CGROUP/monitor is for this process, CGROUP/host becomes the root of the host's cgroup namespace.
STATE/pid gets the host's PID 1 as seen from here, STATE/console.log what it prints.
"""

import fcntl
import os
import pty
import subprocess
import sys
import termios

CONSOLE_MAX = 4 << 20


def join_cgroup(path):
    with open(os.path.join(path, "cgroup.procs"), "w", encoding="ascii") as procs:
        procs.write("0")


def start(cgroup, slave, command):
    """Runs COMMAND (unshare --fork …) with the console on its three standard fds."""

    def prepare():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        join_cgroup(os.path.join(cgroup, "host"))

    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=prepare)
    return child


def first_child(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return children.read().split()[0]
    except (FileNotFoundError, IndexError):
        return None


def copy_console(master, path, on_output):
    """Until the last process that holds the console is gone."""
    size = 0
    with open(path, "wb", buffering=0) as log:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                return
            if not data:
                return
            on_output()
            if size < CONSOLE_MAX:
                log.write(data)
                size += len(data)


def main():
    state, cgroup, *command = sys.argv[1:]
    join_cgroup(os.path.join(cgroup, "monitor"))

    master, slave = pty.openpty()
    os.environ["CRT_HOST_CONSOLE"] = os.ttyname(slave)
    child = start(cgroup, slave, command)
    os.close(slave)
    known = []

    def on_output():
        # unshare(1) itself must leave the root of the namespace: a cgroup that has processes
        # can't hand controllers down.
        pid = None if known else first_child(child.pid)
        if pid is None:
            return
        known.append(pid)
        with open(os.path.join(cgroup, "monitor", "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(child.pid))
        with open(os.path.join(state, "pid.new"), "w", encoding="ascii") as out:
            out.write(pid + "\n")
        os.rename(os.path.join(state, "pid.new"), os.path.join(state, "pid"))

    copy_console(master, os.path.join(state, "console.log"), on_output)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
