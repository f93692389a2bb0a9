#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""host-terminal.py COMMAND…: runs it on a terminal of the host that this is in."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import sys
import termios
import tty

END_OF_FILE = b"\x04"


def copy_size(master):
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(8)))


def spawn(command):
    """The command runs when its terminal has the right size."""
    ready_read, ready_write = os.pipe()
    pid, master = pty.fork()
    if pid == 0:
        os.close(ready_write)
        os.read(ready_read, 1)
        os.close(ready_read)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    os.close(ready_read)
    copy_size(master)
    os.close(ready_write)
    return pid, master


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def pump(master):
    sources = [master, 0]
    while True:
        readable, _, _ = select.select(sources, [], [])
        if master in readable:
            try:
                data = os.read(master, 65536)
            except OSError:
                return
            if not data:
                return
            write_all(1, data)
        if 0 in readable:
            data = os.read(0, 65536)
            write_all(master, data or END_OF_FILE)
            if not data:
                sources.remove(0)


def main():
    pid, master = spawn(sys.argv[1:])
    signal.signal(signal.SIGWINCH, lambda *_: copy_size(master))
    before = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        if before is not None:
            tty.setraw(0)
        pump(master)
    finally:
        if before is not None:
            termios.tcsetattr(0, termios.TCSAFLUSH, before)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
