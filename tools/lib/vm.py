# SPDX-License-Identifier: LGPL-2.1-or-later
"""A virtual machine: a kernel of its own, Debian with systemd as PID 1, all cgroup controllers, and crt installed in
it as tools/host does. No virtualization by the processor is needed.

tools/vm start [OPTIONS]                     make one and wait until it is up
tools/vm exec [OPTIONS] -- COMMAND…          run a command in it
tools/vm stop [--name NAME]                  take its power away: what was not written to its disk is lost
tools/vm run [OPTIONS] -- COMMAND…           a fresh one for one command
tools/vm list                                those that run

  --name NAME                which machine (default: $CRT_VM, else "default")
start, run:
  --kernel uml|qemu          User Mode Linux (up in seconds, one processor, slow system calls; no cpuset, no
                             hugetlb), or Debian's cloud kernel on an emulated processor (has everything, half
                             a minute); default: uml
  --build DIR                install from this build directory (default: build/, built when needed)
  --no-build                 install what the build directory holds without building
  --no-install               a machine without crt
  --disk SIZE|FILE           /var/lib/crt on an ext4 of this size (4G), or on this disk, which stays when the
                             machine is gone, instead of a tmpfs
  --memory SIZE              1G unless told
  --timeout SECONDS          for coming up: 180 for uml, 600 for qemu unless told
exec, run:
  --user NAME                run as this user (root; alice and bob exist)
  --env NAME=VALUE           set a variable; the environment is clean otherwise

Disks and kernels are made once and kept in build/vm, or $CRT_VM_CACHE.
"""

import argparse
import base64
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import vmimage

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

STATES = "/run/crt-vm"
CHUNK = 1024
# Ten times what an idle machine needs.
TIMEOUTS = {"uml": 180, "qemu": 600}
IS_UP = ["systemctl", "is-system-running", "--wait"]


def die(text):
    sys.exit(f"tools/vm: {text}")


def say(text):
    print(f"tools/vm: {text}", file=sys.stderr, flush=True)


class Running(Exception):
    """And not to be touched."""


class Machine:
    def __init__(self, name):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", name):
            die(f"'{name}' is no name for a machine (a-z, 0-9, -)")
        self.name = name
        self.state = os.path.join(STATES, name)

    def path(self, name):
        return os.path.join(self.state, name)

    def pid(self):
        """Of the monitor, or of who makes the machine just now; 0 if it does not run."""
        try:
            with open(self.path("pid"), encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return pid if re.search(b"vm-monitor.py|tools/vm", file.read()) else 0
        except (OSError, ValueError):
            return 0

    def set_pid(self, pid):
        with open(self.path("pid"), "w", encoding="ascii") as file:
            file.write(str(pid))

    # ---- start ----

    def make_disk(self, disk):
        """The path of the disk, and whether it goes with the machine."""
        if os.path.exists(disk):
            return os.path.realpath(disk)
        handle, image = tempfile.mkstemp(prefix=f"crt-vm-{self.name}.", dir=os.environ.get("TMPDIR") or "/var/tmp")
        os.close(handle)
        with open(self.path("image"), "w", encoding="utf-8") as file:
            file.write(image)
        for command in (["truncate", "-s", disk, image], ["mkfs.ext4", "-q", image]):
            if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode != 0:
                die(f"'{disk}' is neither a size nor a disk")
        return image

    def command_uml(self, layers, disk, options):
        names = [f"/dev/ubd{chr(ord('a') + number)}" for number in range(len(layers) + 1)]
        drives = [f"ubd{number}rc={path}" for number, path in enumerate(layers)]
        append = [f"crt.layers={','.join(reversed(names[1:len(layers)]))}", "crt.agent=/dev/ttyS0"]
        if disk:
            drives.append(f"ubd{len(layers)}={disk}")
            append.append(f"crt.disk={names[len(layers)]}")
        return ["linux.uml", f"mem={options.memory}", *drives, "root=/dev/ubda", "ro", "rootfstype=ext4",
                "init=/usr/lib/crt-vm/init", f"uml_dir={self.state}/", "umid=uml", "con=null", "con0=null,fd:1",
                "ssl=null", "ssl0=fd:@AGENT@", "quiet", *append]

    def command_qemu(self, kernel, layers, disk, options):
        names = [f"/dev/vd{chr(ord('a') + number)}" for number in range(len(layers) + 1)]
        drives = [f"file={path},if=virtio,format=raw,readonly=on" for path in layers]
        append = ["console=ttyS0", "quiet", "panic=-1", f"crt.root={names[0]}", "crt.agent=/dev/vport0p1",
                  f"crt.layers={','.join(reversed(names[1:len(layers)]))}"]
        if disk:
            drives.append(f"file={disk},if=virtio,format=raw")
            append.append(f"crt.disk={names[len(layers)]}")
        return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", options.memory,
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                "-kernel", os.path.join(kernel, "vmlinuz"), "-initrd", os.path.join(kernel, "initrd"),
                "-append", " ".join(append), "-device", "virtio-serial,max_ports=2",
                "-chardev", "socket,id=agent,fd=@AGENT@", "-device", "virtserialport,chardev=agent,name=crt,nr=1",
                *(word for drive in drives for word in ("-drive", drive))]

    def prepare(self, options, build):
        """All but what is kept, made anew. The command that is the machine."""
        kernel = vmimage.cloud_kernel(say) if options.kernel == "qemu" else None
        modules = os.path.join(kernel, "modules") if kernel else vmimage.uml_modules(say)
        layers = [vmimage.base(say), modules, vmimage.fixtures(say), self.path("tree")]
        with vmimage.locked():
            if self.pid():
                raise Running(f"{self.name} is running already")
            self.remove()
            os.makedirs(self.state)
            self.set_pid(os.getpid())
        vmimage.installed(build, self.path("tree"))
        disk = self.make_disk(options.disk) if options.disk else None
        if kernel:
            return self.command_qemu(kernel, layers, disk, options)
        return self.command_uml(layers, disk, options)

    def launch(self, command):
        """In a PID namespace, whose end no process survives."""
        unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL",
                   "--mount-proc", "--ipc", "--uts"]
        environment = {"PATH": os.environ["PATH"], "HOME": self.state, "TMPDIR": "/dev/shm"}
        monitor = subprocess.Popen([os.path.join(TOP, "tools/lib/vm-monitor.py"), self.state, *unshare, "--", *command],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment,
                                   stderr=open(self.path("monitor.log"), "wb"), start_new_session=True)
        self.set_pid(monitor.pid)
        return monitor

    def wait_until_up(self, monitor, timeout):
        end = time.monotonic() + timeout
        while not os.path.exists(self.path("socket")):
            if monitor.poll() is not None or time.monotonic() > end:
                return False
            time.sleep(0.02)
        output = []
        status = self.execute(IS_UP, {}, "root", end - time.monotonic(), lambda _key, data: output.append(data), None)
        word = b"".join(output).decode().strip()
        if word == "degraded":
            say(f"units of {self.name} failed:")
            self.execute(["systemctl", "--failed", "--plain", "--no-legend", "--no-pager"], {}, "root", 60,
                         lambda _key, data: sys.stderr.buffer.write(data), None)
        return word in ("running", "degraded") or (status is not None and word == "")

    def start(self, options, build):
        try:
            monitor = self.launch(self.prepare(options, build))
        except Running as error:
            die(error)
        except BaseException:
            self.remove()
            raise
        if not self.wait_until_up(monitor, options.timeout or TIMEOUTS[options.kernel]):
            say(f"{self.name} did not come up; its console:")
            for name in ("monitor.log", "console.log"):
                if os.path.exists(self.path(name)):
                    with open(self.path(name), encoding="utf-8", errors="replace") as file:
                        sys.stderr.write(file.read()[-8000:])
            self.remove()
            sys.exit(1)

    # ---- exec ----

    def feed(self, client, source):
        """What comes on standard input, as the agent's lines."""
        data = b"-"
        try:
            while data:
                data = os.read(source, CHUNK)
                text = base64.b64encode(data).decode() if data else None
                client.sendall(json.dumps({"stdin": text}).encode() + b"\n")
        except OSError:
            pass

    def execute(self, argv, environment, user, timeout, on_output, source):
        """The status; None if the machine ended meanwhile, or was too slow."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(timeout)
        try:
            client.connect(self.path("socket"))
            client.sendall(json.dumps({"argv": argv, "environment": environment, "user": user}).encode() + b"\n")
            if source is None:
                client.sendall(b'{"stdin": null}\n')
            else:
                threading.Thread(target=self.feed, args=(client, source), daemon=True).start()
            for line in client.makefile("rb"):
                message = json.loads(line)
                if "exit" in message:
                    return message["exit"]
                for key in ("out", "err"):
                    if key in message:
                        on_output(key, base64.b64decode(message[key]))
        except (OSError, ValueError):
            pass
        finally:
            client.close()
        return None

    def exec(self, argv, options):
        if not self.pid():
            die(f"{self.name} is not running")

        def on_output(key, data):
            target = sys.stdout.buffer if key == "out" else sys.stderr.buffer
            target.write(data)
            target.flush()
        environment = dict(variable.split("=", 1) for variable in options.env)
        source = 0 if can_be_read(0) else None
        status = self.execute(argv, environment, options.user, None, on_output, source)
        if status is None:
            say(f"{self.name} ended meanwhile; its console:")
            with open(self.path("console.log"), encoding="utf-8", errors="replace") as file:
                sys.stderr.write(file.read()[-4000:])
            return 125
        return status

    # ---- stop ----

    def processes(self):
        """Those that are this machine: each has its directory among its arguments."""
        found, mark = [], os.fsencode(self.state) + b"/"
        programs = re.compile(rb"vm-monitor.py|linux.uml|qemu-system")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read()
                    if mark in words and programs.search(words):
                        found.append(pid)
            except OSError:
                continue
        return found

    def wait_until_gone(self):
        """The end of the monitor kills the others, which takes a moment."""
        end = time.monotonic() + 60
        while left := self.processes():
            if time.monotonic() > end:
                die(f"processes of {self.name} do not end: {' '.join(left)}")
            time.sleep(0.02)

    def remove(self):
        pid = self.pid()
        if pid not in (0, os.getpid()):
            death = os.pidfd_open(pid)
            os.kill(pid, signal.SIGTERM)
            if not select.select([death], [], [], 60)[0]:
                signal.pidfd_send_signal(death, signal.SIGKILL)
                select.select([death], [], [], 60)
            os.close(death)
        self.wait_until_gone()
        try:
            with open(self.path("image"), encoding="utf-8") as file:
                os.unlink(file.read())
        except OSError:
            pass
        shutil.rmtree(self.state, ignore_errors=True)
        try:
            os.rmdir(STATES)
        except OSError:
            pass


def can_be_read(fd):
    try:
        return os.fstat(fd) and not os.isatty(fd) and os.readlink(f"/proc/self/fd/{fd}") != "/dev/null"
    except OSError:
        return False


def prepare_build(options):
    if not options.install:
        return None
    build = os.path.realpath(options.build or os.path.join(TOP, "build"))
    if options.compile and subprocess.run([os.path.join(TOP, "tools", "build"), build], check=False).returncode != 0:
        die("the build failed")
    if not os.path.exists(os.path.join(build, "build.ninja")):
        die(f"{build} is not a build directory")
    return build


def parse():
    parser = argparse.ArgumentParser(prog="tools/vm", usage=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("verb", nargs="?", default="help")
    parser.add_argument("--name", default=os.environ.get("CRT_VM"))
    parser.add_argument("--kernel", choices=["uml", "qemu"], default="uml")
    parser.add_argument("--build")
    parser.add_argument("--no-build", dest="compile", action="store_false")
    parser.add_argument("--no-install", dest="install", action="store_false")
    parser.add_argument("--disk")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--user", default="root")
    parser.add_argument("--env", action="append", default=[])
    parser.error = lambda text: die(f"{text}; see tools/vm --help")
    words, command = sys.argv[1:], []
    if "--" in words:
        command = words[words.index("--") + 1:]
        words = words[:words.index("--")]
    if any(word in ("-h", "--help") for word in words):
        words = ["help"]
    return parser.parse_args(words), command


def start(machine, options):
    if os.geteuid() != 0:
        die("only root can start a machine")
    subprocess.run([os.path.join(TOP, "tools", "setup"), "build", "test", "vm"], check=True)
    machine.start(options, prepare_build(options))


def main():
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    options, command = parse()
    name = options.name or (f"run-{os.getpid()}" if options.verb == "run" else "default")
    machine = Machine(name)
    if options.verb in ("exec", "run") and not command:
        die(f"{options.verb} needs a command after --")
    try:
        if options.verb == "start":
            start(machine, options)
        elif options.verb == "exec":
            return machine.exec(command, options)
        elif options.verb == "stop":
            machine.remove()
        elif options.verb == "run":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            try:
                start(machine, options)
                return machine.exec(command, options)
            finally:
                machine.remove()
        elif options.verb == "list":
            for name in sorted(os.listdir(STATES)) if os.path.isdir(STATES) else []:
                if Machine(name).pid():
                    print(name)
        elif options.verb == "help":
            print(__doc__)
        else:
            die(f"'{options.verb}' is not understood; see tools/vm --help")
    except vmimage.Failed as error:
        machine.remove()
        die(error)
    except KeyboardInterrupt:
        if options.verb in ("start", "run"):
            machine.remove()
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
