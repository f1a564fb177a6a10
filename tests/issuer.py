"""An OpenID Connect issuer: a real server on the loopback address, which a test controls."""

import base64
import functools
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.fake_clock import FakeClock

AUDIENCE, CLIENT = "offtake-api", "partner@clients"
WEB_CLIENT, WEB_SECRET = "offtake web", "s3cr:t/+%ü"
"""The pages' client: with characters that must be encoded in the header `Authorization`."""


@dataclass
class Issuer:
    """An issuer with keys of two kinds. `answers` replaces what an address answers; `asked` counts the questions.

    `configuration` replaces parts of its configuration. `codes`: what the token endpoint exchanges, each once.
    `refusal` replaces what that endpoint answers. `sent`: the forms that it got, with the header `Authorization`.
    """

    origin: str = ""
    private: dict[str, Any] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)
    asked: int = 0
    wait: float = 0
    configuration: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refusal: tuple[int, bytes] | None = None
    sent: list[dict[str, str]] = field(default_factory=list)

    def make_rsa(self, key_id: str) -> None:
        key = _rsa_key(key_id)
        self._publish(key_id, key, RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "RS256")

    def make_ec(self, key_id: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._publish(key_id, key, ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "ES256")

    def _publish(self, key_id: str, key: Any, public: dict[str, Any], algorithm: str) -> None:
        self.private[key_id] = key
        self.published.append(public | {"kid": key_id, "use": "sig", "alg": algorithm})

    def sign(self, clock: FakeClock, key_id: str = "rsa", algorithm: str = "RS256", **claims: Any) -> str:
        now = clock.now_seconds()
        usual = {"iss": self.origin, "aud": AUDIENCE, "azp": CLIENT, "iat": now, "nbf": now, "exp": now + 600}
        payload = {name: value for name, value in (usual | claims).items() if value is not None}
        return jwt.encode(payload, self.private[key_id], algorithm, headers={"kid": key_id})

    def answer(self, path: str) -> bytes | None:
        self.asked += 1
        time.sleep(self.wait)
        configuration = {
            "issuer": self.origin,
            "jwks_uri": f"{self.origin}/keys",
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
        }
        documents = {
            "/.well-known/openid-configuration": configuration | self.configuration,
            "/keys": {"keys": self.published},
        }
        if path in self.answers:
            return self.answers[path]
        return json.dumps(documents[path]).encode() if path in documents else None

    def authorize(self, url: str, clock: FakeClock, *, key_id: str = "rsa", **claims: Any) -> str:
        """Let the person in whom the browser brings to `url`; the query that the browser takes back."""
        asked = dict(parse_qsl(urlsplit(url).query))
        usual = {"aud": WEB_CLIENT, "azp": None, "sub": "person-7", "nonce": asked["nonce"]}
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked | {"id_token": self.sign(clock, key_id, **(usual | claims))}
        return urlencode({"code": code, "state": asked["state"], "iss": self.origin})

    def exchange(self, form: dict[str, str], authorization: str | None) -> tuple[int, bytes]:
        """Answer the token request of a client with a secret, once for each code (RFC 6749, RFC 7636)."""
        self.sent.append(form | {"authorization": authorization or ""})
        if self.refusal is not None:
            return self.refusal
        pair = f"{quote_plus(WEB_CLIENT)}:{quote_plus(WEB_SECRET)}"
        basic = f"Basic {base64.b64encode(pair.encode()).decode()}"
        if authorization != basic and (form.get("client_id"), form.get("client_secret")) != (WEB_CLIENT, WEB_SECRET):
            return 401, b'{"error": "invalid_client", "error_description": "<b>no</b>"}'
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode()
        if (
            asked is None
            or challenge.rstrip("=") != asked["code_challenge"]
            or asked["code_challenge_method"] != "S256"
        ):
            return 400, b'{"error": "invalid_grant"}'
        if form["redirect_uri"] != asked["redirect_uri"] or form["grant_type"] != "authorization_code":
            return 400, b'{"error": "invalid_grant"}'
        return 200, json.dumps({"id_token": asked["id_token"], "access_token": "x", "token_type": "Bearer"}).encode()


@functools.lru_cache(maxsize=8)
def _rsa_key(key_id: str) -> rsa.RSAPrivateKey:
    """A key that issuers with that key id share: making one takes a while."""
    del key_id
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


@contextmanager
def issuing() -> Iterator[Issuer]:
    issuer = Issuer()
    issuer.make_rsa("rsa")
    issuer.make_ec("ec")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = issuer.answer(self.path)
            if body is not None and body.startswith(b"http://"):
                self.send_response(302)
                self.send_header("Location", body.decode())
            else:
                self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["content-length"])).decode()
            status, body = issuer.exchange(dict(parse_qsl(form)), self.headers["authorization"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    issuer.origin = f"http://127.0.0.1:{server.server_port}"
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
