# SPDX-License-Identifier: LGPL-2.1-or-later
"""The disks and kernels of virtual machines. Those that seldom change are kept, named by what they were made of."""

import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile

LIB = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(LIB))
CACHE = os.environ.get("CRT_VM_CACHE") or os.path.join(TOP, "build", "vm")
UML_MODULES = "/usr/lib/uml/modules"
CLOUD_KERNEL = "linux-image-cloud-amd64"
PARTS_OF_BASE = ("vm-init", "vm-agent.py", "vm-configure", "host-configure.sh")
UNNEEDED = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]
# What the first disk's file system is read with, before the root is there that could load modules.
EARLY_MODULES = ["virtio_pci", "virtio_blk", "ext4", "overlay", "virtio_console"]


class Failed(Exception):
    pass


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, **options)
    if done.returncode != 0:
        raise Failed(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def key_of(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def packages(group):
    lines, inside = [], False
    for line in read(os.path.join(TOP, "tools", "packages")).splitlines():
        if match := re.fullmatch(r"# ([a-z]+):", line):
            inside = match[1] == group
        elif inside and line and not line.startswith("#"):
            lines.append(line)
    return lines


@contextlib.contextmanager
def locked():
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(kind, key, make, say):
    """The path of CACHE/kind-key, made by make(path, work) if it is not there; others of its kind go."""
    path = os.path.join(CACHE, f"{kind}-{key}")
    with locked():
        if not os.path.exists(path):
            say(f"making {kind}")
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".new-") as work:
                make(os.path.join(work, "result"), work)
                for old in glob.glob(os.path.join(CACHE, f"{kind}-*")):
                    shutil.rmtree(old) if os.path.isdir(old) else os.unlink(old)
                os.rename(os.path.join(work, "result"), path)
    return path


def merge_usr(tree):
    """The disk is stacked on a root whose /lib and so on are links into /usr."""
    for name in ("bin", "sbin", "lib", "lib64"):
        old, new = os.path.join(tree, name), os.path.join(tree, "usr", name)
        if os.path.isdir(old) and not os.path.islink(old):
            shutil.copytree(old, new, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(old)


def tree_size(top):
    return sum(max(os.lstat(os.path.join(folder, name)).st_size, 4096) + 1024
               for folder, directories, files in os.walk(top) for name in directories + files)


def make_disk(path, tree):
    """An ext4 that holds this tree and is only read."""
    with open(path, "wb") as file:
        file.truncate(tree_size(tree) * 11 // 10 + (8 << 20))
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0", "-d", tree, path)


def apt_sources():
    """Where this machine itself gets bookworm from."""
    for attempt in range(2):
        lines = run("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
                    "Created-By: Packages").splitlines()
        if lines or attempt:
            return sorted({line for line in lines if re.search(r" bookworm\S* main$", line)})
        run("apt-get", "-q", "update")


# ---- disks ----

def make_debian(path, work):
    sources = os.path.join(work, "sources.list")
    with open(sources, "w", encoding="ascii") as out:
        out.write("\n".join(apt_sources()) + "\n")
    run("mmdebstrap", "--variant=minbase", "--skip=output/dev", f"--include={','.join(packages('machine'))}",
        "--format=tar", *[f"--dpkgopt=path-exclude={name}" for name in UNNEEDED], "bookworm", path, sources)


def base(say):
    debian = cached("debian", key_of(*packages("machine")), make_debian, say)

    def make(path, work):
        root = os.path.join(work, "root")
        os.makedirs(root)
        run("tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file", debian, "-C", root)
        for pattern in ("var/cache/*/*", "var/lib/apt/lists/*"):
            for folder in glob.glob(os.path.join(root, pattern)):
                shutil.rmtree(folder, ignore_errors=True)
        run("unshare", "--uts", os.path.join(LIB, "vm-configure"), root)
        make_disk(path, root)
    return cached("base", key_of(debian, *(read(os.path.join(LIB, name)) for name in PARTS_OF_BASE)), make, say)


def fixtures(say):
    folder = run(os.path.join(TOP, "tools", "fixtures")).strip()

    def make(path, work):
        shutil.copytree(folder, os.path.join(work, "tree/usr/src/crt/build/fixtures"), symlinks=True,
                        ignore=shutil.ignore_patterns(".lock", ".new-*"))
        make_disk(path, os.path.join(work, "tree"))
    return cached("fixtures", key_of(read(os.path.join(folder, "version"))), make, say)


def copy_program(build, path, tree):
    """One of the tests', if it was built."""
    if os.path.exists(os.path.join(build, path)):
        os.makedirs(os.path.dirname(os.path.join(tree, path)))
        shutil.copy(os.path.join(build, path), os.path.join(tree, path))


def installed(build, path):
    """What this build installs, and the repository without what was built but for programs of tests."""
    with tempfile.TemporaryDirectory(prefix="crt-vm-") as tree:
        os.chmod(tree, 0o755)
        if build:
            run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", tree)
            merge_usr(tree)
            for program in ("tests/power/power-disk", "tests/host/rogue-unpack"):
                copy_program(build, program, os.path.join(tree, "usr/src/crt-build"))
        shutil.copytree(TOP, os.path.join(tree, "usr/src/crt"), symlinks=True,
                        ignore=shutil.ignore_patterns("build", "build-*", ".git", "__pycache__"))
        # sysusers.d and tmpfiles.d are read again when /usr is newer than what was seen last.
        os.utime(os.path.join(tree, "usr"))
        make_disk(path, tree)


# ---- kernels ----

def uml_modules(say):
    def make(path, work):
        for version in os.listdir(UML_MODULES):
            shutil.copytree(os.path.join(UML_MODULES, version), os.path.join(work, "tree/usr/lib/modules", version))
        make_disk(path, os.path.join(work, "tree"))
    return cached("uml", key_of(*os.listdir(UML_MODULES)), make, say)


def module_files(tree, version, names):
    """In the order in which they must be loaded."""
    files, depends = [], {}
    folder = os.path.join(tree, "usr/lib/modules", version)
    for line in read(os.path.join(folder, "modules.dep")).splitlines():
        name, _, needed = line.partition(": ")
        depends[name.rstrip(":")] = needed.split()
    by_name = {os.path.basename(path).split(".")[0].replace("-", "_"): path for path in depends}
    for name in names:
        path = by_name.get(name)
        for needed in [*reversed(depends.get(path, [])), path]:
            if needed and needed not in files:
                files.append(needed)
    return [os.path.join(folder, name) for name in files]


EARLY_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
disk=$(/bin/busybox sed -n 's/.*crt.root=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
/bin/busybox mount -t ext4 -o ro,nodev,noatime "$disk" /root
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /usr/lib/crt-vm/init
"""


def make_initrd(path, tree, version, work):
    root = os.path.join(work, "initrd")
    for name in ("bin", "modules", "root", "proc", "dev"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    files = module_files(tree, version, EARLY_MODULES)
    for file in files:
        shutil.copy(file, os.path.join(root, "modules"))
    with open(os.path.join(root, "modules/order"), "w", encoding="ascii") as out:
        out.write("".join(f"{os.path.basename(file)}\n" for file in files))
    with open(os.path.join(root, "init"), "w", encoding="ascii") as out:
        out.write(EARLY_INIT)
    os.chmod(os.path.join(root, "init"), 0o755)
    names = "\n".join(os.path.relpath(os.path.join(folder, name), root) for folder, directories, files in os.walk(root)
                      for name in directories + files)
    with open(path, "wb") as out:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(), stdout=out, check=True,
                       stderr=subprocess.DEVNULL)


def make_cloud_kernel(path, work):
    """Debian's package, taken apart without being installed."""
    os.makedirs(path)
    depends = run("apt-cache", "depends", CLOUD_KERNEL)
    package = re.search(r"Depends: (linux-image-\S+)", depends)[1]
    run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
    tree = os.path.join(work, "tree")
    run("dpkg-deb", "-x", glob.glob(os.path.join(work, "linux-image-*.deb"))[0], tree)
    shutil.move(glob.glob(os.path.join(tree, "boot/vmlinuz-*"))[0], os.path.join(path, "vmlinuz"))
    shutil.rmtree(os.path.join(tree, "boot"))
    shutil.rmtree(os.path.join(tree, "usr"))
    merge_usr(tree)
    (version,) = os.listdir(os.path.join(tree, "usr/lib/modules"))
    run("depmod", "-b", os.path.join(tree, "usr"), version)
    make_initrd(os.path.join(path, "initrd"), tree, version, work)
    make_disk(os.path.join(path, "modules"), tree)


def cloud_kernel(say):
    """A folder with vmlinuz, initrd and modules."""
    policy = run("apt-cache", "policy", CLOUD_KERNEL)
    candidate = re.search(r"Candidate: (\S+)", policy)
    return cached("cloud", key_of(candidate[1] if candidate else "", EARLY_INIT), make_cloud_kernel, say)
