#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# vm: --kernel qemu --memory 2G
"""fs-verity, which Debian's kernel has: blobs and images of layers are sealed, and what changes on the disk below is
found and not served."""

import errno
import fcntl
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "host"))
from content_store import Store, equal, failure, run_cases, sha256  # noqa: E402
import content_store  # noqa: E402
from interfaces import kill_daemons  # noqa: E402
from snapshot_trees import Snapshots, check_disk, entry, layer  # noqa: E402
import snapshot_trees  # noqa: E402
from vm_disk import IMAGE, MIB, Disk, drop_caches, number_of, put, read_error, stop  # noqa: E402

FS_IOC_MEASURE_VERITY = 0xC0046686
FS_IOC_ENABLE_VERITY = 0x40806685


# ---- files and what is below them ----

def blob_file(digest):
    algorithm, name = digest.split(":")
    return f"{content_store.STATE}/blobs/{algorithm}/{name[:2]}/{name}"


def is_sealed(path):
    """Its digest by fs-verity."""
    buffer = bytearray(struct.pack("HH", 0, 64) + bytes(64))
    with open(path, "rb") as file:
        try:
            fcntl.ioctl(file, FS_IOC_MEASURE_VERITY, buffer)
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOTTY):
                return None
            raise
    return bytes(buffer[4:])


def seal(path):
    """As a worker does it."""
    with open(path, "rb") as file:
        fcntl.ioctl(file, FS_IOC_ENABLE_VERITY, struct.pack("IIIIQIIQ88x", 1, 1, 4096, *5 * (0,)))


def damage(path, offset):
    """Turns a bit of it on the disk, below its file system."""
    os.sync()
    shown = subprocess.run(["filefrag", "-b1", "-v", path], check=True, text=True, capture_output=True).stdout
    for line in shown.splitlines():
        match = re.match(r"\s*\d+:\s*(\d+)\.\.\s*(\d+):\s*(\d+)\.\.", line)
        if match and int(match[1]) <= offset <= int(match[2]):
            place = int(match[3]) + offset - int(match[1])
            break
    else:
        raise AssertionError(f"{path} has no byte {offset} on the disk: {shown}")
    with open(IMAGE, "r+b") as disk:
        disk.seek(place)
        byte = disk.read(1)[0]
        disk.seek(place)
        disk.write(bytes([byte ^ 1]))
    drop_caches()


def exchange(path):
    """For a copy, which looks the same."""
    subprocess.run(["sh", "-c", 'cp -p "$0" "$0.new" && mv -f "$0.new" "$0"', path], check=True)
    assert not is_sealed(path)


def replace(path, by):
    """Sealed, too."""
    subprocess.run(["cp", "-p", by, f"{path}.new"], check=True)
    with open(f"{path}.new", "rb") as file:
        fcntl.ioctl(file, FS_IOC_ENABLE_VERITY, struct.pack("IIII", 1, 1, 4096, 0).ljust(128, b"\0"))
    os.rename(f"{path}.new", path)
    equal(is_sealed(by), is_sealed(path))


# ---- blobs ----

def damaged(store):
    return [blob["digest"] for blob in store.list()[0] if blob["state"] == "damaged"]


def verify(store, digest=""):
    return store.wait(store.call("Verify", digest)[0][0])


def check_repair(store, data):
    digest = sha256(data)
    failure("DigestMismatch", lambda: store.read(digest))
    failure("DigestMismatch", lambda: store.call("Stat", digest))
    equal([digest], damaged(store))
    equal(digest, store.put(data)[0])
    equal(data, store.read(digest))
    equal([], damaged(store))


def check_that_verify_seals(disk):
    """The file system learns of fs-verity later; what is damaged by then is not taken for good."""
    store = Store()
    good, bad = os.urandom(MIB), os.urandom(MIB)
    for data in (good, bad):
        store.put(data)
        assert store.call("Stat", sha256(data))[0][0]["verity"] is False
        equal("0", verify(store, sha256(data))["damaged"])
        assert not is_sealed(blob_file(sha256(data)))
    disk.unmount()
    subprocess.run(["tune2fs", "-O", "verity", IMAGE], check=True, capture_output=True)
    disk.mount()
    damage(blob_file(sha256(bad)), 5)
    equal(good, store.read(sha256(good)))
    equal(sha256(bad), verify(store)["digests"])
    assert store.call("Stat", sha256(good))[0][0]["verity"] is True
    assert is_sealed(blob_file(sha256(good)))
    equal(0o444, os.stat(blob_file(sha256(good))).st_mode & 0o777)
    equal(good, store.read(sha256(good)))
    check_repair(store, bad)


def check_that_verifications_beside_each_other_seal(disk):
    """None takes what another one has in hand for a file system without fs-verity."""
    store = Store()
    blobs = sorted((os.urandom(MIB // 2) for _ in range(8)), key=sha256)
    for data in blobs:
        store.put(data)
    disk.unmount()
    subprocess.run(["tune2fs", "-O", "verity", IMAGE], check=True, capture_output=True)
    disk.mount()
    jobs = [store.call("Verify", digest)[0][0] for digest in ("", *map(sha256, blobs))]
    equal({"0"}, {store.wait(job)["damaged"] for job in jobs})
    for data in blobs:
        path = blob_file(sha256(data))
        assert is_sealed(path) and store.call("Stat", sha256(data))[0][0]["verity"] is True, path
        equal(0o444, os.stat(path).st_mode & 0o777)


def check_sealed(data):
    store = Store()
    store.put(data)
    found = store.call("Stat", sha256(data))[0][0]
    assert found["verity"] is True, found
    path = blob_file(sha256(data))
    assert is_sealed(path)
    equal(0o444, os.stat(path).st_mode & 0o777)
    try:
        with open(path, "ab"):
            raise AssertionError("root can write to it")
    except PermissionError:
        pass


def check_that_damage_is_not_read():
    """It is found by whoever reads there, and by nobody else before."""
    store, data, other = Store(), os.urandom(5 * MIB), os.urandom(MIB)
    for one in (data, other):
        store.put(one)
    damage(blob_file(sha256(data)), 3 * MIB + 5)
    (handle, _), fds = store.call("Open", sha256(data))
    fd = fds.get(handle)
    equal(data[:MIB], os.pread(fd, MIB, 0))
    try:
        os.pread(fd, 4096, 3 * MIB)
        raise AssertionError("damaged bytes were read")
    except OSError as error:
        equal(errno.EIO, error.errno)
    os.close(fd)
    result = verify(store)
    equal(("1", sha256(data)), (result["damaged"], result["digests"]))
    equal(other, store.read(sha256(other)))
    check_repair(store, data)
    assert is_sealed(blob_file(sha256(data)))
    equal("0", verify(store)["damaged"])


def check_that_the_seal_is_required():
    """Somebody has put another file in its place."""
    store, data = Store(), os.urandom(MIB)
    store.put(data)
    exchange(blob_file(sha256(data)))
    check_repair(store, data)
    assert is_sealed(blob_file(sha256(data)))


def kill_when_sealed(store, data, lost_state):
    """All that a commit does before the record, and the service is gone, or all of the machine."""
    stream, _, path = store.ingest("r", size=len(data))
    content_store.write(stream, data)
    os.close(stream)
    content_store.wait_for(lambda: not store.ingests()[path]["Writing"])
    kill_daemons("Content")
    (number,) = content_store.rows("SELECT number FROM ingests")[0]
    file, blob = f"{content_store.STATE}/ingest/{number}.data", blob_file(sha256(data))
    seal(file)
    os.chmod(file, 0o444)
    os.makedirs(os.path.dirname(blob), mode=0o700, exist_ok=True)
    os.link(file, blob)
    if lost_state:
        os.truncate(f"{content_store.STATE}/ingest/{number}.state", 0)
    subprocess.run(["chown", "-R", "crt-content:", content_store.STATE], check=True)
    return path


def check_that_a_sealed_ingest_goes_on(lost_state):
    """It needs no more bytes, and takes none."""
    store, data = Store(), os.urandom(2 * MIB + 17)
    path = kill_when_sealed(store, data, lost_state)
    equal(len(data), store.ingests()[path]["Offset"])
    content_store.check_disk()
    equal(set(), content_store.files("blobs"))
    stream, offset, _ = store.ingest("r")
    equal(len(data), offset)
    os.close(stream)
    equal((sha256(data), len(data)), store.commit("r"))
    assert is_sealed(blob_file(sha256(data))) and store.call("Stat", sha256(data))[0][0]["verity"] is True
    equal(data, store.read(sha256(data)))
    store.delete(sha256(data))
    kill_when_sealed(store, data, lost_state)
    store.abort("r")
    content_store.check_disk()
    equal(set(), content_store.files("blobs") | content_store.files("ingest"))


def test_killed_when_it_was_sealed():
    with Disk("ext4", ["-O", "verity"]):
        for lost_state in (False, True):
            check_that_a_sealed_ingest_goes_on(lost_state)


def test_verifications_beside_each_other():
    disk = Disk("ext4", ["-O", "^verity"])
    with disk:
        check_that_verifications_beside_each_other_seal(disk)
        content_store.check_disk()


def test_fs_verity_of_blobs():
    disk = Disk("ext4", ["-O", "^verity"])
    with disk:
        check_that_verify_seals(disk)
        for data in (b"", b"x", os.urandom(5 * MIB + 17)):
            check_sealed(data)
        check_that_damage_is_not_read()
        check_that_the_seal_is_required()
        content_store.check_disk()


# ---- images of layers ----

def image_file(key):
    return f"{snapshot_trees.STATE}/trees/{number_of(key)}/layer.erofs"


def recorded_seal(key):
    ((seal,),) = snapshot_trees.rows(f"SELECT verity FROM snapshots WHERE key = '{key}'")
    return seal


def check_that_images_are_sealed(store, data):
    put(store, "base", layer(entry("small", b"small"), entry("big", data)), "erofs")
    assert is_sealed(image_file("base"))
    equal("1:" + is_sealed(image_file("base"))[:32].hex(), recorded_seal("base"))
    assert not os.path.exists(os.path.dirname(image_file("base")) + "/verity")
    store.view("v", "base")
    with store.mount("v") as top, open(f"{top}/big", "rb") as file:
        equal(data, file.read())
    store.remove("v")


def check_that_damage_below_an_image_is_found(store):
    stop()
    damage(image_file("base"), 2 * MIB)
    store.view("v", "base")
    with store.mount("v") as top:
        equal(errno.EIO, read_error(f"{top}/big"))
    store.remove("v")
    assert store.wait(store.call("Verify", "base")[0][0])["damaged"] != "0"
    failure("FailedPrecondition", lambda: store.prepare("a", "base"))
    store.remove("base")


def check_that_an_exchanged_image_is_not_mounted(store):
    """Without fs-verity, and with that of another image; nothing beside it says what it must be."""
    put(store, "base", layer(entry("small", b"small")), "erofs")
    put(store, "other", layer(entry("small", b"other")), "erofs")
    for forge in (lambda: exchange(image_file("base")), lambda: replace(image_file("base"), image_file("other"))):
        stop()
        forge()
        store.view("v", "base")
        assert "changed since" in failure("DigestMismatch", lambda: store.mount("v"))
        store.remove("v")
    stop()
    snapshot_trees.change_records("UPDATE snapshots SET verity = NULL WHERE key = 'base'")  # as of before it was kept
    store.view("v", "base")
    with store.mount("v") as top, open(f"{top}/small", "rb") as file:
        equal(b"other", file.read())
    store.clear()


def test_fs_verity_of_images():
    store = Snapshots()
    with Disk("ext4", ["-O", "verity"]):
        check_that_images_are_sealed(store, os.urandom(4 * MIB))
        check_that_damage_below_an_image_is_found(store)
        check_that_an_exchanged_image_is_not_mounted(store)
        check_disk()


def test_fs_verity_of_btrfs():
    with Disk("btrfs"):
        check_sealed(os.urandom(MIB))
        check_that_images_are_sealed(Snapshots(), os.urandom(MIB))


if __name__ == "__main__":
    run_cases([f for name, f in list(globals().items()) if name.startswith("test_")])
