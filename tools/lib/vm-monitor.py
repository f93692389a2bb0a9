#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Outside parent of one virtual machine: starts its kernel, keeps its console, passes commands to vm-agent.py in it.

vm-monitor.py STATE COMMAND…

@AGENT@ in COMMAND becomes the number of a descriptor, the other end of the agent's serial line. STATE/socket takes
clients (tools/vm exec): one request for each connection, in the agent's words. The machine ends with this process.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1
CONSOLE_MAX = 4 << 20
# What may be on its way to the agent: a serial line of User Mode Linux that had to be stopped does not go on again.
ON_THE_WAY = 2048


class Machine:
    def __init__(self, state, command):
        self.state = state
        self.line, other = socket.socketpair()
        self.lock = threading.Lock()
        self.taken = threading.Condition()
        self.on_the_way = 0
        self.clients = {}
        self.count = 0
        self.counting = threading.Lock()
        self.hello = threading.Event()
        command = [word.replace("@AGENT@", str(other.fileno())) for word in command]
        libc = ctypes.CDLL(None)
        self.kernel = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, pass_fds=[other.fileno()], start_new_session=True,
                                       preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        other.close()

    def copy_console(self):
        """Until the kernel has ended."""
        size = 0
        with open(os.path.join(self.state, "console.log"), "wb", buffering=0) as log:
            while data := self.kernel.stdout.read1(65536):
                if size < CONSOLE_MAX:
                    log.write(data)
                    size += len(data)
                if b"Kernel panic" in data:
                    return  # some kernels would wait for somebody to press a key

    def send(self, message):
        data = json.dumps(message).encode() + b"\n"
        with self.lock:
            for start in range(0, len(data), ON_THE_WAY // 2):
                piece = data[start:start + ON_THE_WAY // 2]
                with self.taken:
                    self.taken.wait_for(lambda: self.on_the_way + len(piece) <= ON_THE_WAY)
                    self.on_the_way += len(piece)
                self.line.sendall(piece)

    def listen_to_agent(self):
        for text in self.line.makefile("rb"):
            try:
                message = json.loads(text)
            except ValueError:
                continue
            if "hello" in message:
                self.hello.set()
            if "got" in message:
                with self.taken:
                    self.on_the_way -= message["got"]
                    self.taken.notify()
            client = self.clients.get(message.get("id"))
            if client:
                try:
                    client.sendall(json.dumps(message).encode() + b"\n")
                except OSError:
                    pass

    def serve(self, client):
        self.hello.wait()
        with self.counting:
            self.count += 1
            number = self.count
        self.clients[number] = client
        try:
            for text in client.makefile("rb"):
                self.send({**json.loads(text), "id": number})
        except OSError:
            pass
        del self.clients[number]
        # Has it ended already, nobody listens to that.
        self.send({"id": number, "kill": True})
        client.close()

    def accept(self, listener):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()


def main():
    state, *command = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    machine = Machine(state, command)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(state, "socket.new"))
    listener.listen(64)
    os.rename(os.path.join(state, "socket.new"), os.path.join(state, "socket"))
    for target, arguments in ((machine.listen_to_agent, ()), (machine.accept, (listener,))):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    try:
        machine.copy_console()
    finally:
        machine.kernel.kill()
        machine.kernel.wait()


if __name__ == "__main__":
    main()
