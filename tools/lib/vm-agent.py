#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inside a virtual machine: runs commands that come over a serial line, for vm-monitor.py on the other end.

Lines of JSON, each about the command "id". To here: {"argv", "user", "environment"} runs one, {"stdin"} feeds it
(null ends its input), {"kill"} ends it. From here: {"out"} and {"err"}, and "exit" when all of it has been said;
and, about none, {"got"}: so many bytes have been read.
"""

import base64
import json
import os
import pwd
import signal
import subprocess
import sys
import termios
import threading
import tty

CHUNK = 3072


class Line:
    """A serial line, or a port that has no settings."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self.lock = threading.Lock()
        self.rest = b""
        try:
            tty.setraw(self.fd)
        except termios.error:
            pass

    def send(self, **message):
        data = json.dumps(message).encode() + b"\n"
        with self.lock:
            while data:
                data = data[os.write(self.fd, data):]

    def lines(self):
        while True:
            data = os.read(self.fd, 65536)
            self.send(got=len(data))
            *complete, self.rest = (self.rest + data).split(b"\n")
            for line in complete:
                try:
                    yield json.loads(line)
                except ValueError:
                    pass  # what was said before anybody listened


class Command:
    def __init__(self, line, number, message):
        self.line, self.number = line, number
        user = pwd.getpwnam(message["user"])
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
                       "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": "/bin/bash",
                       "TERM": "dumb", **message["environment"]}
        argv = message["argv"]
        if user.pw_uid != 0:
            argv = ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--init-groups",
                    "--inh-caps=-all", *argv]
        self.process = subprocess.Popen(argv, env=environment, cwd="/", stdin=subprocess.PIPE, bufsize=0,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        threads = [threading.Thread(target=self.forward, args=(pipe, key), daemon=True)
                   for pipe, key in ((self.process.stdout, "out"), (self.process.stderr, "err"))]
        for thread in threads:
            thread.start()
        threading.Thread(target=self.reap, args=(threads,), daemon=True).start()

    def forward(self, pipe, key):
        while data := pipe.read(CHUNK):
            self.line.send(id=self.number, **{key: base64.b64encode(data).decode()})

    def reap(self, threads):
        status = self.process.wait()
        # What the command left behind may keep its output open for ever.
        for thread in threads:
            thread.join(2)
        self.line.send(id=self.number, exit=status if status >= 0 else 128 - status)

    def on_message(self, message):
        if "kill" in message:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        elif "stdin" in message:
            try:
                if message["stdin"] is None:
                    self.process.stdin.close()
                else:
                    self.process.stdin.write(base64.b64decode(message["stdin"]))
            except OSError:
                pass  # it does not want to know


def main():
    line, commands = Line(sys.argv[1]), {}
    line.send(hello=True)
    for message in line.lines():
        number = message.get("id")
        if "argv" in message:
            try:
                commands[number] = Command(line, number, message)
            except (OSError, KeyError) as error:
                text = f"tools/vm: {error}\n".encode()
                line.send(id=number, err=base64.b64encode(text).decode())
                line.send(id=number, exit=127)
        elif number in commands:
            commands[number].on_message(message)


if __name__ == "__main__":
    main()
