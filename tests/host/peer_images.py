# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same layers as others unpack them: umoci, containerd (its own daemon, with a state of its own), and crt."""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
import time

from content_store import wait_for
from snapshot_trees import Snapshots, sha256

# Where overlays and all attributes are possible, and deleted with the host.
PLACE = "/var/lib/crt"
DISABLED = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
            "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
            "io.containerd.internal.v1.opt"]


def plain(data):
    for magic, tool in ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x53\x2a\x4d\x18", "zstd")):
        if data.startswith(magic):
            return subprocess.run([tool, "-dc"], input=data, stdout=subprocess.PIPE, check=False).stdout
    return data


def media_type(data):
    return "application/vnd.oci.image.layer.v1.tar" + {
        b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd", b"\x53\x2a": "+zstd"}.get(data[:2], "")


def scratch():
    return tempfile.mkdtemp(prefix="peers-", dir=PLACE)


def remove(path):
    subprocess.run(["rm", "-rf", path], check=True)


def make_layout(where, layers):
    """An OCI image layout with one image, "x"."""
    os.makedirs(f"{where}/blobs/sha256")

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{where}/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": [sha256(plain(data)) for data in layers]}}
    kind = "application/vnd.oci.image."
    manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
                "config": blob(json.dumps(config).encode(), kind + "config.v1+json"),
                "layers": [blob(data, media_type(data)) for data in layers]}
    entry = blob(json.dumps(manifest).encode(), kind + "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    with open(f"{where}/index.json", "w", encoding="ascii") as file:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
    with open(f"{where}/oci-layout", "w", encoding="ascii") as file:
        file.write('{"imageLayoutVersion": "1.0.0"}')


def file_fields(path, st):
    fields = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "mtime": st.st_mtime_ns, "rdev": st.st_rdev,
              "xattrs": sorted((name, os.getxattr(path, name, follow_symlinks=False))
                               for name in os.listxattr(path, follow_symlinks=False)
                               if not name.startswith("trusted."))}
    if os.path.islink(path):
        fields["target"] = os.readlink(path)
    elif os.path.isfile(path):
        with open(path, "rb") as file:
            fields["contents"] = sha256(file.read())
        fields["size"] = st.st_size
    return fields


def describe(top):
    """Each path with all that is known about it. A time of just now is no archive's word."""
    found, links, top = {}, {}, os.fsencode(top)
    recent = (time.time() - 24 * 3600) * 10**9
    for directory, directories, files in os.walk(top):
        for name in sorted([b"", *files, *[d for d in directories if os.path.islink(os.path.join(directory, d))]]):
            path = os.path.join(directory, name) if name else directory
            if not os.path.lexists(path):
                continue  # overlayfs lists a whiteout of what no layer below has, and knows it no more
            relative, st = os.path.relpath(path, top), os.lstat(path)
            fields = file_fields(path, st)
            if not os.path.isdir(path) or os.path.islink(path):
                fields["links"] = st.st_nlink
                fields["same file as"] = links.setdefault(st.st_ino, relative)
            if recent < st.st_mtime_ns < recent + 48 * 3600 * 10**9:
                fields["mtime"] = "now"
            found[os.fsdecode(relative)] = fields
    return found


def differences(one, other):
    """{path: {field: (one, other)}}, or for a path that only one has, "missing" in the other or "more" there."""
    found = {}
    for path in sorted(set(one) | set(other)):
        if path not in one or path not in other:
            found[path] = "missing" if path in one else "more"
            continue
        fields = {field: (one[path].get(field), other[path].get(field)) for field in {**one[path], **other[path]}
                  if one[path].get(field) != other[path].get(field)}
        if "now" in fields.get("mtime", ()):
            del fields["mtime"]
        if fields:
            found[path] = fields
    return found


class Refused(Exception):
    """With what was said."""


def checked(command):
    answer = subprocess.run(command, capture_output=True)
    if answer.returncode != 0:
        raise Refused(answer.stderr.decode(errors="replace").strip()[-200:])
    return answer.stdout


def with_crt(layers, store=Snapshots()):
    parent = ""
    try:
        for i, data in enumerate(layers):
            store.prepare(f"new-{i}")
            store.unpack(f"new-{i}", data, sha256(plain(data)))
            store.commit(f"l{i}", f"new-{i}", **({"parent": parent} if parent else {}))
            parent = f"l{i}"
        store.view("v", parent)
        with store.mount("v") as path:
            return describe(path)
    except Exception as error:  # pylint: disable=broad-except
        raise Refused(str(error)) from error
    finally:
        store.clear()


def with_umoci(layers):
    where = scratch()
    try:
        make_layout(f"{where}/image", layers)
        checked(["umoci", "raw", "unpack", "--image", f"{where}/image:x", f"{where}/rootfs"])
        return describe(f"{where}/rootfs")
    finally:
        remove(where)


class Containerd:
    def __init__(self):
        self.where = scratch()
        with open(f"{self.where}/config.toml", "w", encoding="ascii") as file:
            file.write(f"version = 2\ndisabled_plugins = {json.dumps(DISABLED)}\n")
        self.address = f"{self.where}/sock"
        self.log = open(f"{self.where}/log", "w", encoding="ascii")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            ["containerd", "--config", f"{self.where}/config.toml", "--root", f"{self.where}/root", "--state",
             f"{self.where}/state", "--address", self.address], stdout=self.log, stderr=self.log)
        wait_for(lambda: os.path.exists(self.address), 20, "containerd")

    def ctr(self, *arguments):
        return checked(["ctr", "--address", self.address, "--namespace", "test", *arguments])

    def load(self, layers, where):
        make_layout(f"{where}/image", layers)
        with tarfile.open(f"{where}/image.tar", "w") as archive:
            for name in sorted(os.listdir(f"{where}/image")):
                archive.add(f"{where}/image/{name}", name)
        self.ctr("images", "import", "--base-name", "x", f"{where}/image.tar")

    def forget_images(self):
        for image in self.ctr("images", "ls", "-q").decode().split():
            self.ctr("images", "rm", "--sync", image)

    def unpack(self, layers):
        where = scratch()
        try:
            self.load(layers, where)
            os.mkdir(f"{where}/rootfs")
            image = self.ctr("images", "ls", "-q").decode().split()[0]
            self.ctr("images", "mount", image, f"{where}/rootfs")
            try:
                return describe(f"{where}/rootfs")
            finally:
                subprocess.run(["umount", f"{where}/rootfs"], check=True)
                self.ctr("snapshots", "rm", f"{where}/rootfs")
        finally:
            self.forget_images()
            remove(where)

    def keep_base(self, data):
        """Unpacks one layer, and keeps it as what snapshots are made on. Its name."""
        where = scratch()
        try:
            self.load([data], where)
            self.ctr("snapshots", "prepare", "base-is-kept", sha256(plain(data)))
            return sha256(plain(data))
        finally:
            self.forget_images()
            remove(where)

    def diff(self, base, change):
        """The layer of what change(path) does to a tree on a base."""
        where = tempfile.mkdtemp(prefix="mounted-", dir=PLACE)
        mount = self.ctr("snapshots", "prepare", "--target", where, "changed", base).decode().strip()
        subprocess.run(mount.split(), check=True)
        try:
            change(where)
        finally:
            subprocess.run(["umount", where], check=True)
        data = self.ctr("snapshots", "diff", "--media-type", media_type(b""), "changed")
        self.ctr("snapshots", "rm", "changed")
        remove(where)
        return data

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        remove(self.where)
