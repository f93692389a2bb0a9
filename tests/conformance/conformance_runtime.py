# SPDX-License-Identifier: LGPL-2.1-or-later
"""One OCI runtime under test: bundles, its operations by runc's command line, and what it leaves behind."""

import copy
import json
import os
import resource
import shutil
import subprocess
import time

BASE = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs"},
    "hostname": "conformance",
    "process": {
        "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["/bin/true"], "env": ["PATH=/bin"],
        "noNewPrivileges": True,
        "capabilities": {name: ["CAP_KILL", "CAP_MKNOD", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"]
                         for name in ("bounding", "effective", "permitted")},
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=1024k"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
    },
}


# What the scripts of the tables call. The fewer, the faster a root file system is copied.
APPLETS = ("sh awk cat cut df env false grep head hostname id ionice kill ls mkdir readlink sleep sort stat tail touch "
           "tr true umount uname wc xargs").split()


def change(config, changes):
    """Applies {"process.cwd": "/tmp", "mounts+": [item], "hostname": None}: set, append, remove."""
    for path, value in changes.items():
        append = path.endswith("+")
        *parents, last = path.rstrip("+").split(".")
        place = config
        for name in parents:
            place = place.setdefault(name, {})
        if append:
            place.setdefault(last, []).extend(copy.deepcopy(value))
        elif value is None:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return config


def make_rootfs(path):
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc", "mnt", "data"):
        os.makedirs(os.path.join(path, name))
    busybox = os.path.join(path, "bin/busybox")
    shutil.copy("/bin/busybox", busybox)
    for applet in APPLETS:
        os.symlink("busybox", os.path.join(path, "bin", applet))
    os.chmod(os.path.join(path, "tmp"), 0o1777)


class Failed(Exception):
    """What the runtime does is not what the statement says."""


def environment_for(program, scratch):
    """crun 1.8 insists on an unlimited RLIMIT_MEMLOCK, which no kernel since 5.11 needs and which a machine without
    CAP_SYS_RESOURCE can't give: there it is told that it has it."""
    environment = {**os.environ, "CONFORMANCE_OUTSIDE": "1"}
    if os.path.basename(program) != "crun":
        return environment
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return environment
    except (ValueError, PermissionError):
        pass
    source, library = os.path.join(scratch, "memlock.c"), os.path.join(scratch, "memlock.so")
    with open(source, "w", encoding="utf-8") as file:
        file.write("#include <sys/resource.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
                   "int setrlimit(__rlimit_resource_t what, const struct rlimit *to) {\n"
                   "  return what == RLIMIT_MEMLOCK ? 0 : syscall(SYS_prlimit64, 0, what, to, 0);\n}\n")
    subprocess.run(["cc", "-O2", "-w", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, source], check=True)
    return {**environment, "LD_PRELOAD": library}


class Runtime:
    """Each case has a fresh one: a directory with a bundle, a state root, a name of its own."""

    def __init__(self, name, program, environment, scratch, number):
        self.name, self.program, self.environment = name, program, environment
        self.directory = os.path.join(scratch, f"{name}-{number}")
        self.bundle = os.path.join(self.directory, "bundle")
        self.rootfs = os.path.join(self.bundle, "rootfs")
        self.root = os.path.join(self.directory, "state")
        self.id = f"c{number}"
        self.cgroup = f"/conformance/{name}-{number}"
        self.config = copy.deepcopy(BASE)
        os.makedirs(self.bundle)
        os.makedirs(self.root, 0o700)
        shutil.copytree(os.path.join(scratch, "rootfs"), self.rootfs, symlinks=True, copy_function=os.link)

    def write(self, changes, script=None):
        change(self.config, {"linux.cgroupsPath": self.cgroup})
        if script is not None:
            change(self.config, {"process.args": ["/bin/sh", "-c", script]})
        text = json.dumps(change(self.config, changes)).replace("@BUNDLE@", self.bundle)
        self.write_text(text)

    def write_text(self, text):
        with open(os.path.join(self.bundle, "config.json"), "w", encoding="utf-8") as file:
            file.write(text)

    def call(self, *arguments, timeout=200):
        """The finished process; its output goes to files, since a container keeps it open."""
        paths = [os.path.join(self.directory, name) for name in ("stdout", "stderr")]
        with open(paths[0], "w", encoding="utf-8") as out, open(paths[1], "w", encoding="utf-8") as errors:
            try:
                done = subprocess.run([self.program, "--root", self.root, *arguments], stdin=subprocess.DEVNULL,
                                      stdout=out, stderr=errors, timeout=timeout, check=False,
                                      env=self.environment)
                status = done.returncode
            except subprocess.TimeoutExpired:
                status = "timeout"
        texts = []
        for path in paths:
            with open(path, encoding="utf-8", errors="replace") as file:
                texts.append(file.read())
        return status, texts[0], texts[1]

    def succeed(self, *arguments):
        status, output, errors = self.call(*arguments)
        if status != 0:
            raise Failed(f"{arguments[0]}: {errors.strip() or output.strip() or status}")
        return output

    def fail(self, *arguments):
        status, output, errors = self.call(*arguments)
        if status == 0:
            raise Failed(f"{arguments[0]} succeeded")
        if status == "timeout":
            raise Failed(f"{arguments[0]} did not end")
        return errors or output

    def create(self):
        return self.succeed("create", "--bundle", self.bundle, self.id)

    def run(self):
        status, output, errors = self.call("run", "--bundle", self.bundle, self.id)
        return status, output, errors

    def state(self):
        return json.loads(self.succeed("state", self.id))

    def wait_for(self, status, seconds=50):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.state()["status"] == status:
                return
            time.sleep(0.02)
        raise Failed(f"the state does not become {status}")

    def read(self, path, where=None):
        with open(os.path.join(where or self.rootfs, path), encoding="utf-8") as file:
            return file.read()

    def left(self):
        """What is there of a container that is not: state, cgroup, processes, mounts."""
        found = [f"state {name}" for name in os.listdir(self.root) if name == self.id]
        cgroup = "/sys/fs/cgroup" + self.cgroup
        if os.path.isdir(cgroup):
            found.append("cgroup")
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            found += ["mount" for line in mounts if self.directory in line]
        return found

    def close(self):
        self.call("kill", self.id, "KILL")
        self.call("delete", "--force", self.id)
        cgroup = "/sys/fs/cgroup" + self.cgroup
        if os.path.isdir(cgroup):
            with open(cgroup + "/cgroup.kill", "w", encoding="utf-8") as file:
                file.write("1")
            for directory, _, _ in os.walk(cgroup, topdown=False):
                for _ in range(500):
                    try:
                        os.rmdir(directory)
                        break
                    except OSError:
                        time.sleep(0.02)
        shutil.rmtree(self.directory, ignore_errors=True)
