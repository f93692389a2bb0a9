# SPDX-License-Identifier: LGPL-2.1-or-later
"""A registry within the test's own process, with faults that need two answers to agree; see faulty-registry.py for
the others.

consistent-garbage    the manifest is no JSON, and has the digest that it is said to have
consistent-deep       the same with nested arrays
consistent-huge       the same with a valid manifest of 5 MiB
consistent-layers     a valid manifest that names one layer less than its config
consistent-old        Docker's first kind of manifest
recompressed          layers differ in a byte of gzip's header: what is in them is right, their digest is not
guarded               Basic credentials are asked for; blobs are elsewhere, where Authorization is refused
"""

import base64
import hashlib
import importlib.util
import json
import os
import threading

PORT, OTHER_PORT = 5013, 5014
FAULTY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "faulty-registry.py")
CREDENTIALS = "Basic " + base64.b64encode(b"crt:secret").decode()


def load_faulty():
    spec = importlib.util.spec_from_file_location("faulty_registry", FAULTY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


faulty = load_faulty()


def spoil(fault, data):
    if fault == "consistent-garbage":
        return b"\x00\xff{ this is no JSON" * 20
    if fault == "consistent-deep":
        return b"[" * 100000 + b"]" * 100000
    if fault == "consistent-huge":
        return data[:-1] + b',"annotations":{"huge":"' + b"x" * (5 << 20) + b'"}}'
    if fault == "consistent-layers":
        manifest = json.loads(data)
        manifest["layers"].pop()
        return json.dumps(manifest).encode()
    if fault == "consistent-old":
        return b'{"schemaVersion":1,"name":"x","tag":"y","fsLayers":[],"history":[]}'
    return data


class Handler(faulty.Handler):
    def answer(self, status, body=b"", **headers):
        """Who has seen enough hangs up."""
        try:
            super().answer(status, body, **headers)
        except ConnectionError:
            self.close_connection = True

    def common_fault(self, fault, number):
        if fault == "guarded" and self.headers.get("Authorization") != CREDENTIALS:
            self.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="guarded"')
            return True
        return super().common_fault(fault, number)

    def get_manifest(self, fault, fixture, reference):
        if not fault.startswith("consistent-"):
            super().get_manifest(fault, fixture, reference)
            return
        tag = fixture.entries[0]["annotations"]["org.opencontainers.image.ref.name"]
        data = spoil(fault, fixture.read(fixture.resolve(tag)))
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if reference not in (tag, digest):
            self.error(404, "MANIFEST_UNKNOWN")
            return
        self.answer(200, data, Content_Type=json.loads(fixture.read(fixture.resolve(tag)))["mediaType"],
                    Docker_Content_Digest=digest)

    def get_blob(self, fault, number, fixture, digest):
        data = fixture.read(digest)
        if fault == "recompressed" and data[:2] == b"\x1f\x8b":
            self.send_blob(data[:4] + bytes([data[4] ^ 1]) + data[5:])
            return
        super().get_blob("redirect" if fault == "guarded" else fault, number, fixture, digest)


def start(fixtures):
    """The state, whose log has all requests to both ports."""
    state = faulty.State(fixtures, OTHER_PORT)
    for port, is_other in ((PORT, False), (OTHER_PORT, True)):
        server = faulty.serve(port, state, is_other)
        server.RequestHandlerClass = Handler
        # A client that hangs up is nothing to be told of.
        server.handle_error = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return state
