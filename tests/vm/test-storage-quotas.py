#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A writable tree, also a container's, does not grow beyond its size, with three drivers on the two file systems that
have project quotas, and what it had is free again when it is gone."""

import ctypes
import errno
import os
import struct
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "host"))
from content_store import equal, failure, run_cases, wait_for  # noqa: E402
from image_pulls import images, registry  # noqa: E402
from snapshot_trees import Snapshots, TakenOver, check_disk, entry, layer, sha256  # noqa: E402
from vm_disk import MIB, STATE, Disk, number_of, put, read_error  # noqa: E402

SIZE = 8 * MIB
IMAGE = "localhost:5000/busybox:latest"
Q_GETQUOTA, PRJQUOTA = 0x800007, 2
PROJECTS = 0x63000000
libc = ctypes.CDLL(None, use_errno=True)


def quota(project):
    """Bytes allowed and used, files allowed and made."""
    with open("/proc/self/mountinfo", encoding="ascii") as table:
        device = [line.split(" - ")[1].split()[1] for line in table if f" {STATE} " in line][-1]
    buffer = ctypes.create_string_buffer(72)
    if libc.quotactl(Q_GETQUOTA << 8 | PRJQUOTA, device.encode(), project, buffer) < 0:
        number = ctypes.get_errno()
        if number in (errno.ENOENT, errno.ESRCH):
            return 0, 0, 0, 0
        raise OSError(number, "quotactl")
    limit, _, used, files_limit, _, files = struct.unpack_from("6Q", buffer)
    return limit * 1024, used, files_limit, files


def usage(project):
    return quota(project)[:2]


def project_of(key):
    return PROJECTS | number_of(key)


def fill(path, size):
    """As somebody whom quotas hold: the error, and what fitted."""
    script = ("import os, sys\n"
              "fd, written = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 0\n"
              "try:\n"
              "    while written < int(sys.argv[2]):\n"
              "        written += os.write(fd, bytes(1 << 20))\n"
              "    os.fsync(fd)\n"
              "    print(0, written)\n"
              "except OSError as error:\n"
              "    print(error.errno, written)\n")
    answer = subprocess.run(["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource", "python3", "-c",
                             script, f"{path}/filler", str(size)], check=True, text=True, capture_output=True)
    return tuple(map(int, answer.stdout.split()))


def check_size_max(store, driver):
    put(store, "base", layer(entry("base", os.urandom(2 * MIB))), driver)
    store.prepare("a", "base", driver=driver, **{"size-max": SIZE})
    store.prepare("b", "base", driver=driver)
    project = project_of("a")
    equal(SIZE, usage(project)[0])
    with store.mount("a") as top:
        error, written = fill(top, 2 * SIZE)
        assert error in (errno.EDQUOT, errno.ENOSPC), (error, written)
        assert SIZE // 2 <= written <= SIZE, written
        equal(2 * MIB, os.path.getsize(f"{top}/base"))
    with store.mount("b") as top:
        equal((0, 2 * SIZE), fill(top, 2 * SIZE))
    assert usage(project)[1] >= SIZE // 2, usage(project)
    store.remove("a")
    store.remove("b")
    check_disk()
    wait_for(lambda: usage(project) == (0, 0), what="the quota to be given back")


def check_full_tree_is_committed(store, driver):
    """What a tree is kept as is not what its maker wrote: it needs not fit."""
    store.prepare("full", "base", driver=driver, **{"size-max": SIZE})
    project = project_of("full")
    with store.mount("full") as top:
        assert fill(top, 2 * SIZE)[0] != 0
    store.commit("kept", "full")
    store.view("v", "kept")
    with store.mount("v") as top:
        equal(0, read_error(f"{top}/filler"))
    for key in ("v", "kept", "base"):
        store.remove(key)
    check_disk()
    wait_for(lambda: usage(project) == (0, 0), what="the quota to be given back")


def check_unpacking_is_held(store, driver, error):
    store.prepare("small", driver=driver, **{"size-max": MIB})
    failure(error, lambda: store.unpack("small", layer(entry("big", os.urandom(3 * MIB)))))
    store.remove("small")
    check_disk()


def check_layer_is_put_on_its_parent(store, driver):
    """What is in the project, and what is not, get into one tree: files are linked and moved, directories made."""
    link = {"kind": tarfile.SYMTYPE}
    put(store, "below", layer("usr/", "usr/lib/", entry("usr/lib/deep/", mode=0o711),
                              entry("usr/lib/deep/er/", mode=0o700), entry("usr/lib/deep/er/old", b"old"),
                              entry("lib", linkname="usr/lib", **link)), driver)
    store.prepare("new", driver=driver, **{"size-max": SIZE})
    store.unpack("new", layer(entry("lib/deep/er/file", b"file"), entry("lib/deep/er/name", kind=tarfile.LNKTYPE,
                                                                        linkname="lib/deep/er/file")))
    store.commit("linked", "new", parent="below")
    store.view("v", "linked")
    with store.mount("v") as top:
        equal(["file", "name", "old"], sorted(os.listdir(f"{top}/usr/lib/deep/er")))
        equal((0o711, 0o700), tuple(os.stat(f"{top}/usr/lib/{name}").st_mode & 0o7777 for name in ("deep", "deep/er")))
        assert os.path.samefile(f"{top}/lib/deep/er/name", f"{top}/usr/lib/deep/er/file")
    for key in ("v", "linked", "below"):
        store.remove(key)
    check_disk()


def check_taken_over(store):
    """Not even a writer that keeps to no rules gets beyond what a layer may be made of."""
    data = layer(entry("file", b"x"))
    for way, position, reached in (("file", 1, 16 * MIB), ("deleted", 1, 16 * MIB), ("many", 3, 100)):
        with TakenOver(way, "CRT_SNAPSHOTS_LAYER_SIZE=16777216 CRT_SNAPSHOTS_LAYER_ENTRIES=100"):
            store.prepare("p")
            project = project_of("p")
            job = store.unpack_begin("p", data, sha256(data))
            wait_for(lambda: quota(project)[position] >= reached, what=f"what '{way}' may take")
            limits = quota(project)
            assert reached <= limits[position - 1] <= 2 * reached and limits[position] <= limits[position - 1], limits
            store.cancel(job)
            failure("Cancelled", lambda: store.wait(job))
            store.remove("p")
            wait_for(lambda: quota(project) == (0, 0, 0, 0), what="the quota to be given back")
    put(store, "honest", data, "overlayfs")
    equal((0, 0), quota(project_of("honest"))[::2])
    store.remove("honest")
    check_disk()


def check_quotas(disk):
    store = Snapshots()
    with disk:
        check_taken_over(store)
        for driver in ("overlayfs", "erofs", "copy"):
            check_size_max(store, driver)
            check_full_tree_is_committed(store, driver)
            check_layer_is_put_on_its_parent(store, driver)
            check_unpacking_is_held(store, driver, "LimitsExceeded" if disk.kind == "ext4" else "NoSpace")


def test_a_container_is_held_by_its_size():
    with Disk("ext4", ["-O", "quota,project", "-E", "quotatype=prjquota"], "prjquota"):
        registry("plain")
        images.pull(IMAGE)
        for count, outcome in ((4, ""), (32, "quota")):
            fill_it = ["dd", "if=/dev/zero", "of=/filler", "bs=1M", f"count={count}"]
            done = subprocess.run(["crtctl", "run", "--rm", "--storage-opt", f"size={SIZE}", IMAGE, *fill_it],
                                  text=True, check=False, stdin=subprocess.DEVNULL, capture_output=True)
            equal(1 if outcome else 0, done.returncode)
            assert outcome in done.stderr, done.stderr


def test_quotas_of_ext4():
    check_quotas(Disk("ext4", ["-O", "quota,project", "-E", "quotatype=prjquota"], "prjquota"))


def test_quotas_of_xfs():
    check_quotas(Disk("xfs", [], "prjquota"))


if __name__ == "__main__":
    run_cases([f for name, f in list(globals().items()) if name.startswith("test_")])
