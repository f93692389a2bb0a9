#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""token-server.py PORT KEY CERTIFICATE: gives out the bearer tokens that a docker-registry trusts.

Anyone may pull, except below private/; user "crt" with the password "secret" may do everything.
What was asked for stands in the log, one line of JSON for each request.
"""

import base64
import json
import subprocess
import sys
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER = "crt:secret"
LIFETIME = 300


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def load_certificate(path):
    with open(path, encoding="ascii") as pem:
        lines = [line.strip() for line in pem if not line.startswith("-----")]
    return "".join(lines)


class Issuer:
    def __init__(self, key, certificate):
        self.key = key
        self.chain = [load_certificate(certificate)]

    def sign(self, text):
        return subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key, "-binary"],
                              input=text.encode(), stdout=subprocess.PIPE, check=True).stdout

    def token(self, user, service, access):
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": self.chain}
        claims = {"iss": "crt-fixtures", "sub": user or "", "aud": service, "iat": now, "nbf": now - 10,
                  "exp": now + LIFETIME, "jti": uuid.uuid4().hex, "access": access}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return text + "." + base64url(self.sign(text))


def granted(scopes, user):
    access = []
    for scope in " ".join(scopes).split():
        kind, name, actions = scope.split(":", 2)
        actions = actions.split(",")
        if user is None:
            actions = [] if name.startswith("private/") else [a for a in actions if a == "pull"]
        access.append({"type": kind, "name": name, "actions": actions})
    return access


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        if url.path != "/token":
            self.answer(200, {})
            return
        user = None
        method, _, given = self.headers.get("Authorization", "").partition(" ")
        if method.lower() == "basic":
            user = base64.b64decode(given).decode()
        print(json.dumps({"user": user and user.split(":")[0], "query": query}), flush=True)
        if user not in (None, USER):
            self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]})
            return
        token = self.server.issuer.token(user and user.split(":")[0], query.get("service", [""])[0],
                                         granted(query.get("scope", []), user))
        self.answer(200, {"token": token, "access_token": token, "expires_in": LIFETIME})


def main():
    port, key, certificate = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.issuer = Issuer(key, certificate)
    server.serve_forever()


if __name__ == "__main__":
    main()
