"""A provider of the tests' own, on a port of its own: honest until it is told otherwise."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

CLIENT_ID = "limen-at-op"
CLIENT_SECRET = "a secret, with: colon % and ü"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

Claims = dict[str, Any]


@cache
def rsa_key(number: int) -> RSAPrivateKey:
    """Return one of a few keys; making one takes a while."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def jwk_of(number: int, **changes: Any) -> dict[str, Any]:
    """Return the public half of a key."""
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(number).public_key()))
    return {
        "kty": "RSA",
        "n": public["n"],
        "e": public["e"],
        "kid": f"key-{number}",
        "alg": "RS256",
        "use": "sig",
    } | changes


def half_hash(text: str) -> str:
    """Return the ``at_hash`` of RS256."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()


def unsigned(claims: Claims) -> str:
    """Return a token of the algorithm none."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


class Provider:
    """An OpenID provider.

    Attributes:
        metadata, id_token, userinfo, tokens, jwks: change what it says, each given what it would have said.
        sign: makes the ID token of its claims.
        userinfo_type: the media type of the userinfo.
        requests: paths that were asked for, with their form.
        down: it answers 503 to everything.
    """

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.key = 0
        self.subject = "Ann-1"
        self.claims: Claims = {"email": "ann@example.org", "email_verified": True}
        self.metadata: Callable[[Claims], Claims] = lambda told: told
        self.id_token: Callable[[Claims], Claims] = lambda told: told
        self.userinfo: Callable[[Claims], Any] = lambda told: told
        self.tokens: Callable[[Claims], Claims] = lambda told: told
        self.jwks: Callable[[Claims], Any] = lambda told: told
        self.sign: Callable[[Claims], str] = self.signed
        self.userinfo_type = "application/json"
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.subjects: dict[str, str] = {}
        self.down = False
        self.token_status = 200

    # --- what a browser does there

    def authorize(self, location: str, **changes: str) -> dict[str, str]:
        """Log in as the subject, and return the parameters that the browser is sent back with."""
        asked = dict(parse_qsl(urlsplit(location).query, strict_parsing=True))
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(24)
        self.codes[code] = {**asked, "subject": self.subject}
        return {"code": code, "state": asked["state"], "iss": self.issuer, **changes}

    # --- what it says

    def signed(self, claims: Claims, *, key: int | None = None, **header: Any) -> str:
        """Sign claims with one of the keys."""
        number = self.key if key is None else key
        return jwt.encode(claims, rsa_key(number), algorithm="RS256", headers={"kid": f"key-{number}"} | header)

    def logout_token(self, *, typ: str | None = "logout+jwt", key: int | None = None, **changes: Any) -> str:
        """Return a logout token."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_urlsafe(12),
            "events": {LOGOUT_EVENT: {}},
            "sub": self.subject,
        } | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return self.signed(claims, key=key, typ=typ or "JWT")

    def answer(self, path: str, form: dict[str, str], headers: dict[str, str]) -> tuple[int, bytes, str]:
        """Answer a request: status, body, and a Location."""
        if self.down:
            return 503, b"", ""
        told: Any
        if path == "/.well-known/openid-configuration":
            told = self.metadata(
                {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "userinfo_endpoint": f"{self.issuer}/userinfo",
                    "jwks_uri": f"{self.issuer}/jwks",
                    "end_session_endpoint": f"{self.issuer}/end?kept=1",
                    "authorization_response_iss_parameter_supported": True,
                    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                }
            )
        elif path == "/jwks":
            told = self.jwks({"keys": [jwk_of(self.key)]})
        elif path == "/token":
            return self._redeem(form, headers)
        elif path == "/userinfo":
            subject = self.subjects.get(headers.get("authorization", "").removeprefix("Bearer "))
            if subject is None:
                return 401, b"{}", ""
            told = self.userinfo({"sub": subject, **self.claims})
        else:
            return 404, b"{}", ""
        if isinstance(told, tuple):
            status, location = told
            return status, b"", location
        return 200, told if isinstance(told, bytes) else json.dumps(told).encode(), ""

    def _redeem(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, bytes, str]:
        known = self.codes.pop(form.get("code", ""), None)
        basic = headers.get("authorization", "").removeprefix("Basic ")
        if basic:
            client_id, _, secret = base64.b64decode(basic).decode().partition(":")
            given = (unquote_plus(client_id), unquote_plus(secret))
        else:
            given = (form.get("client_id", ""), form.get("client_secret", ""))
        if given != (CLIENT_ID, CLIENT_SECRET):
            return 401, b'{"error":"invalid_client"}', ""
        if known is None or form.get("redirect_uri") != known["redirect_uri"]:
            return 400, b'{"error":"invalid_grant"}', ""
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() != known["code_challenge"]:
            return 400, b'{"error":"invalid_grant"}', ""
        access_token = secrets.token_urlsafe(24)
        self.subjects[access_token] = known["subject"]
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": known["subject"],
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": known["nonce"],
            "at_hash": half_hash(access_token),
            "sid": f"op-{known['subject']}",
            **self.claims,
        }
        claims = {name: value for name, value in self.id_token(claims).items() if value is not None}
        answer = {"access_token": access_token, "token_type": "Bearer", "id_token": self.sign(claims)}
        return self.token_status, json.dumps(self.tokens(answer)).encode(), ""


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Run a provider on a free port of 127.0.0.1."""
    provider: Provider

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
            self._answer({name: values[0] for name, values in parse_qs(body).items()})

        def _answer(self, form: dict[str, str]) -> None:
            path = urlsplit(self.path).path
            headers = {name.lower(): value for name, value in self.headers.items()}
            provider.requests.append((path, form, headers))
            status, body, location = provider.answer(path, form, headers)
            self.send_response(status)
            self.send_header("Content-Type", provider.userinfo_type if path == "/userinfo" else "application/json")
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the other side has had enough

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    provider = Provider(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def callback(parameters: dict[str, str], name: str = "corp") -> str:
    """Return the address that a browser is sent back to."""
    return f"/auth/sso/{name}/callback?{urlencode(parameters)}"
