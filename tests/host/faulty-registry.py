#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""faulty-registry.py PORT OTHER-PORT FIXTURES: a registry that misbehaves as the repository's name says.

localhost:PORT/FAULT/IMAGE:TAG serves the fixture IMAGE with one of the faults below; "none" has none, and
FAULT may be "FAULT-N" with a number. GET /log gives what was asked for, one JSON object a line, with the
headers that matter; POST /reset forgets it and all counters, POST /go lets those go on that are held.

wrong-digest        the last byte of each blob is changed
wrong-config        only the config blob is changed
truncated           half of each layer, a Content-Length to match it
short-length        half of each layer, the Content-Length of all of it, then the connection is closed
longer              each layer is followed by a kilobyte of zeros
garbage-manifest    the manifest is no JSON
deep-manifest       the manifest is JSON of a hundred thousand nested arrays
huge-manifest       the manifest is a valid one with 64 MiB of annotations
wrong-manifest      the manifest does not have the digest that it was asked by
missing-blob        404 for every layer
too-many            429 with Retry-After: 1 for the first two requests of each path (N: how many)
always-too-many     429 with Retry-After: 3600, for ever
server-error        500 for the first two requests of each path (N: how many), then all is well
always-error        500 for ever
redirect            blobs are at localhost:OTHER-PORT, which refuses who sends Authorization
redirect-loop       blobs redirect to themselves
redirect-file       blobs redirect to file:///etc/passwd
slow                one byte of a layer each second (N: bytes a second), for ever
held                the first N bytes of each layer, the rest, if any, after the next POST /go
chunked             no Content-Length, chunked transfer
no-length           no Content-Length, the end of the connection is the end of the blob
reset               connection reset in the middle of each layer; Range requests get the rest
reset-no-range      the same, but Range is ignored: 200 with everything, in full only the second time
wrong-range         as reset, but the answer to a Range request begins at another byte
auth-loop           401 with a bearer challenge whose token is never accepted
auth-elsewhere      401 with a realm that is no URL
headers             an endless header line
"""

import fcntl
import hashlib
import json
import os
import re
import socket
import struct
import sys
import termios
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INDEX = "application/vnd.oci.image.index.v1+json"
CHUNK = 65536


class Fixture:
    """One image in the OCI layout."""

    def __init__(self, path):
        self.path = path
        with open(os.path.join(path, "index.json"), encoding="ascii") as index:
            self.entries = json.load(index)["manifests"]

    def blob_path(self, digest):
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or not re.fullmatch("[0-9a-f]{64}", value):
            return None
        path = os.path.join(self.path, "blobs", "sha256", value)
        return path if os.path.exists(path) else None

    def resolve(self, reference):
        for entry in self.entries:
            if entry["annotations"]["org.opencontainers.image.ref.name"] == reference:
                return entry["digest"]
        return reference

    def read(self, digest):
        path = self.blob_path(digest)
        if path is None:
            return None
        with open(path, "rb") as blob:
            return blob.read()


def kind_of(data):
    """config, or layer."""
    if data[:1] == b"{":
        return "config"
    return "layer"


class State:
    def __init__(self, fixtures, other_port):
        self.fixtures = fixtures
        self.other_port = other_port
        self.lock = threading.Lock()
        self.log = []
        self.counts = {}
        self.go = threading.Event()

    def count(self, key):
        with self.lock:
            self.counts[key] = self.counts.get(key, 0) + 1
            return self.counts[key]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "faulty"

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    # ---- the parts of an answer ----

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code, **headers):
        body = json.dumps({"errors": [{"code": code, "message": "as the fault wants it"}]}).encode()
        self.answer(status, body, Content_Type="application/json", **headers)

    def hang_up(self, reset=False):
        self.wfile.flush()
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        if reset:
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)

    def range_start(self):
        match = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", ""))
        return int(match.group(1)) if match else None

    def send_blob(self, data, honour_range=True, shift=0):
        start = self.range_start() if honour_range else None
        if start is None:
            self.answer(200, data, Content_Type="application/octet-stream", Accept_Ranges="bytes")
        elif start >= len(data):
            self.answer(416, Content_Range=f"bytes */{len(data)}")
        else:
            start = max(0, start - shift)
            self.answer(206, data[start:], Content_Type="application/octet-stream",
                        Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")

    # ---- faults of all requests of a repository ----

    def common_fault(self, fault, number):
        if fault in ("too-many", "always-too-many"):
            if fault == "always-too-many":
                self.error(429, "TOOMANYREQUESTS", Retry_After="3600")
                return True
            if self.server.state.count(self.path) <= (number or 2):
                self.error(429, "TOOMANYREQUESTS", Retry_After="1")
                return True
        if fault == "always-error" or (fault == "server-error" and
                                       self.server.state.count(self.path) <= (number or 2)):
            self.error(500, "UNKNOWN")
            return True
        if fault == "auth-loop":
            host = f"http://localhost:{self.server.server_port}"
            self.error(401, "UNAUTHORIZED", WWW_Authenticate=f'Bearer realm="{host}/token",service="loop"')
            return True
        if fault == "auth-elsewhere":
            self.error(401, "UNAUTHORIZED", WWW_Authenticate='Bearer realm="gopher:/nowhere",service="x')
            return True
        if fault == "headers":
            self.endless_header()
            return True
        return False

    def endless_header(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        try:
            for _ in range(4096):
                self.wfile.write(b"x" * CHUNK)
        except OSError:
            pass
        self.close_connection = True

    # ---- manifests ----

    def get_manifest(self, fault, fixture, reference):
        digest = fixture.resolve(reference)
        data = fixture.read(digest)
        if data is None:
            self.error(404, "MANIFEST_UNKNOWN")
            return
        media_type = json.loads(data).get("mediaType", INDEX)
        if fault == "garbage-manifest":
            data = b"\x00\xff{ this is no JSON" * 20
        elif fault == "deep-manifest":
            data = b"[" * 100000 + b"]" * 100000
        elif fault == "huge-manifest":
            data = data[:-1] + b',"annotations":{"huge":"' + b"x" * (64 << 20) + b'"}}'
        elif fault == "wrong-manifest":
            data = data[:-1] + b" }"
        if fault in ("garbage-manifest", "deep-manifest", "huge-manifest") and digest != reference:
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.answer(200, data, Content_Type=media_type, Docker_Content_Digest=digest)

    # ---- blobs ----

    def get_blob(self, fault, number, fixture, digest):
        data = fixture.read(digest)
        if data is None:
            self.error(404, "BLOB_UNKNOWN")
            return
        kind = kind_of(data)
        if fault == "wrong-digest" or (fault == "wrong-config" and kind == "config"):
            self.send_blob(data[:-1] + bytes([data[-1] ^ 1]))
        elif fault.startswith("redirect"):
            port = self.server.state.other_port if fault == "redirect" else self.server.server_port
            target = f"http://localhost:{port}{self.path}"
            if fault == "redirect-file":
                target = "file:///etc/passwd"
            self.answer(307, Location=target)
        elif kind == "config" or self.command == "HEAD":
            self.send_blob(data)
        else:
            self.get_layer(fault, number, data)

    def get_layer(self, fault, number, data):
        half = len(data) // 2
        if fault == "truncated":
            self.send_blob(data[:half])
        elif fault == "short-length":
            self.answer(200, data[:half], Content_Length=str(len(data)))
            self.hang_up()
        elif fault == "longer":
            self.send_blob(data + bytes(1024))
        elif fault == "missing-blob":
            self.error(404, "BLOB_UNKNOWN")
        elif fault == "slow":
            self.send_slowly(data, number or 1)
        elif fault == "held":
            self.send_held(data, number or 0)
        elif fault in ("chunked", "no-length"):
            self.send_without_length(data, fault == "chunked")
        elif fault in ("reset", "reset-no-range", "wrong-range"):
            self.send_and_reset(fault, data, half)
        else:
            self.send_blob(data)

    def send_slowly(self, data, rate):
        self.answer(200, b"", Content_Length=str(len(data)), Accept_Ranges="bytes")
        try:
            for offset in range(0, len(data), rate):
                self.wfile.write(data[offset:offset + rate])
                self.wfile.flush()
                time.sleep(1)
        except OSError:
            self.close_connection = True

    def send_held(self, data, first):
        if len(data) <= first:
            self.send_blob(data)
            return
        go = self.server.state.go
        try:
            self.answer(200, data[:first], Content_Length=str(len(data)), Accept_Ranges="bytes")
            self.wfile.flush()
            go.wait(600)
            self.wfile.write(data[first:])
        except OSError:
            self.close_connection = True

    def wait_until_arrived(self):
        """The reset overtakes what has not reached the other one's kernel."""
        self.wfile.flush()
        end = time.monotonic() + 60
        unsent = fcntl.ioctl(self.connection, termios.TIOCOUTQ, struct.pack("i", 0))
        while struct.unpack("i", unsent)[0] > 0 and time.monotonic() < end:
            time.sleep(0.005)
            unsent = fcntl.ioctl(self.connection, termios.TIOCOUTQ, struct.pack("i", 0))

    def send_without_length(self, data, chunked):
        self.send_response(200)
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        self.end_headers()
        for offset in range(0, len(data), CHUNK):
            part = data[offset:offset + CHUNK]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def send_and_reset(self, fault, data, half):
        start = self.range_start()
        if fault == "reset-no-range" and self.server.state.count(self.path) > 1:
            self.send_blob(data, honour_range=False)
        elif start is not None and fault == "reset":
            self.send_blob(data)
        elif start is not None and fault == "wrong-range":
            self.send_blob(data, shift=7)
        else:
            self.answer(200, data[:half], Content_Length=str(len(data)), Accept_Ranges="bytes")
            self.wait_until_arrived()
            self.hang_up(reset=True)

    # ---- requests ----

    def do_GET(self):
        state = self.server.state
        if self.path == "/log":
            self.answer(200, "".join(json.dumps(entry) + "\n" for entry in state.log).encode())
            return
        with state.lock:
            state.log.append({"port": self.server.server_port, "method": self.command, "path": self.path,
                              "range": self.headers.get("Range"),
                              "authorization": self.headers.get("Authorization")})
        if self.path.startswith("/token"):
            self.answer(200, b'{"token":"never-accepted"}', Content_Type="application/json")
            return
        if self.path in ("/v2/", "/v2"):
            self.answer(200, b"{}", Content_Type="application/json")
            return
        self.get_object(state)

    do_HEAD = do_GET

    def do_POST(self):
        state = self.server.state
        if self.path == "/go":
            state.go.set()
            state.go = threading.Event()
        else:
            with state.lock:
                state.log.clear()
                state.counts.clear()
        self.answer(200)

    def get_object(self, state):
        match = re.fullmatch(r"/v2/([a-z-]+?)(?:-(\d+))?/([a-z0-9-]+)/(manifests|blobs)/([^/?]+)(?:\?.*)?",
                             self.path)
        if match is None or not os.path.isdir(os.path.join(state.fixtures, match.group(3), "blobs")):
            self.error(404, "NAME_UNKNOWN")
            return
        fault, number, image, kind, reference = match.groups()
        number = int(number) if number else 0
        fixture = Fixture(os.path.join(state.fixtures, image))
        if self.server.is_other:
            if self.headers.get("Authorization"):
                self.error(400, "AUTHORIZATION_LEAKED")
            else:
                self.send_blob(fixture.read(reference))
        elif not self.common_fault(fault, number):
            if kind == "manifests":
                self.get_manifest(fault, fixture, reference)
            else:
                self.get_blob(fault, number, fixture, reference)


def serve(port, state, is_other):
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.state = state
    server.is_other = is_other
    return server


def main():
    port, other_port, fixtures = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    state = State(fixtures, other_port)
    threading.Thread(target=serve(other_port, state, True).serve_forever, daemon=True).start()
    serve(port, state, False).serve_forever()


if __name__ == "__main__":
    main()
