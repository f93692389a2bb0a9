# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes OCI image layouts: layers, configs, manifests and indexes, every byte of them reproducible."""

import hashlib
import io
import json
import os
import subprocess
import tarfile

EPOCH = 1735689600
CREATED = "2025-01-01T00:00:00Z"

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
COMPRESSORS = {"gzip": ["gzip", "-n", "-6"], "zstd": ["zstd", "-q", "-9", "-c"], None: None}


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Tar:
    """A layer in the making."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, kind=tarfile.REGTYPE, data=b"", mode=None, **fields):
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.mtime = EPOCH
        entry.mode = mode if mode is not None else (0o755 if kind == tarfile.DIRTYPE else 0o644)
        for key, value in fields.items():
            setattr(entry, key, value)
        if kind == tarfile.REGTYPE:
            entry.size = len(data)
        self.tar.addfile(entry, io.BytesIO(data) if kind == tarfile.REGTYPE else None)

    def directory(self, name, mode=0o755):
        self.add(name, tarfile.DIRTYPE, mode=mode)

    def symlink(self, name, target):
        self.add(name, tarfile.SYMTYPE, linkname=target, mode=0o777)

    def hardlink(self, name, target):
        """With the mode of its target, as tar(1) writes it: most unpackers apply it to both."""
        self.add(name, tarfile.LNKTYPE, linkname=target, mode=self.tar.getmember(target).mode)

    def whiteout(self, name):
        folder, base = os.path.split(name)
        self.add(os.path.join(folder, ".wh." + base), mode=0)

    def opaque(self, name):
        self.add(os.path.join(name, ".wh..wh..opq"), mode=0)

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


class Layout:
    """One directory in the OCI image layout."""

    def __init__(self, path):
        self.path = path
        self.entries = []
        os.makedirs(os.path.join(path, "blobs", "sha256"), exist_ok=True)

    def blob(self, data, media_type, **extra):
        digest = sha256(data)
        with open(os.path.join(self.path, "blobs", *digest.split(":")), "wb") as out:
            out.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **extra}

    def json(self, value, media_type, **extra):
        return self.blob(json.dumps(value, separators=(",", ":")).encode(), media_type, **extra)

    def layer(self, tar, compression="gzip"):
        """Returns the layer's descriptor and its DiffID."""
        command = COMPRESSORS[compression]
        data = tar
        if command is not None:
            data = subprocess.run(command, input=tar, stdout=subprocess.PIPE, check=True).stdout
        suffix = "" if compression is None else "+" + compression
        return self.blob(data, LAYER + suffix), sha256(tar)

    def image(self, layers, architecture, config, comments=None):
        """layers: what layer() returned, lowest first. Returns the manifest's descriptor."""
        platform = {"architecture": architecture, "os": "linux"}
        if architecture == "arm64":
            platform["variant"] = "v8"
        comments = comments or ["layer"] * len(layers)
        image = {
            "created": CREATED,
            "author": "crt fixtures",
            **platform,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
            "history": [{"created": CREATED, "created_by": comment} for comment in comments],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.json(image, CONFIG),
            "layers": [descriptor for descriptor, _ in layers],
            "annotations": {"org.opencontainers.image.created": CREATED},
        }
        return self.json(manifest, MANIFEST, platform=platform)

    def index(self, manifests):
        return self.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)

    def name(self, descriptor, reference):
        entry = {key: value for key, value in descriptor.items() if key != "platform"}
        entry["annotations"] = {"org.opencontainers.image.ref.name": reference}
        self.entries.append(entry)

    def close(self):
        with open(os.path.join(self.path, "oci-layout"), "w", encoding="ascii") as out:
            json.dump({"imageLayoutVersion": "1.0.0"}, out)
        with open(os.path.join(self.path, "index.json"), "w", encoding="ascii") as out:
            json.dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}, out)
