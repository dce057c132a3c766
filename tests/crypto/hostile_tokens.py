"""Tokens that must be refused, made without limen: by hand, from the RFCs and from what went wrong elsewhere.

Each case is one deviation from a token that is accepted. The groups bear the names of the classes of attack.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ISSUER = "https://login.example"
AUDIENCE = "https://orders.example"
SECRET = b"a secret of tests only, that is long enough for HMAC"
SUB = "01920000-0000-7000-8000-000000000001"
SID = "01920000-0000-7000-8000-000000000002"
NOW = 1_800_000_000
TTL = 900


@dataclass(frozen=True)
class Hostile:
    group: str
    name: str
    token: str | bytes
    reasons: tuple[str, ...]


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value: object) -> bytes:
    """Return JSON as limen writes it."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def kid_of(secret: bytes) -> str:
    """The id of a secret, by RFC 5869 written out."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return b64(hmac.digest(extracted, b"limen/kid/1\x01", "sha256"))[:8]


def header(**members: object) -> dict[str, object]:
    """Return the header of a good access token, changed."""
    return {"alg": "HS256", "kid": kid_of(SECRET), "typ": "at+jwt"} | members


def payload(**claims: object) -> dict[str, object]:
    """Return the claims of a good access token, changed; `...` leaves one out."""
    made = {
        "amr": ["pwd"],
        "aud": AUDIENCE,
        "auth_time": NOW - 10,
        "client_id": "limen",
        "exp": NOW + TTL,
        "iat": NOW,
        "iss": ISSUER,
        "jti": "01920000-0000-7000-8000-000000000003",
        "roles": ["checker", "maker"],
        "sid": SID,
        "sub": SUB,
    } | claims
    return {name: value for name, value in made.items() if value is not ...}


def refresh_payload(**claims: object) -> dict[str, object]:
    """Return the claims of a good refresh token, changed."""
    made = {
        "aud": ISSUER,
        "exp": NOW + 604_800,
        "gen": 3,
        "iat": NOW,
        "iss": ISSUER,
        "jti": b64(bytes(range(32))),
        "sid": SID,
        "sub": SUB,
    } | claims
    return {name: value for name, value in made.items() if value is not ...}


def tag(signed: str, secret: bytes = SECRET, digest: str = "sha256") -> bytes:
    """Return the HMAC of a signed text."""
    return hmac.digest(secret, signed.encode(), digest)


def token(head: Any = None, body: Any = None, *, secret: bytes = SECRET, digest: str = "sha256") -> str:
    """Sign anything: a mapping becomes compact JSON, bytes are taken as they are."""
    head = header() if head is None else head
    body = payload() if body is None else body
    parts = [part if isinstance(part, bytes) else compact(part) for part in (head, body)]
    signed = ".".join(map(b64, parts))
    return f"{signed}.{b64(tag(signed, secret, digest))}"


def without(members: dict[str, object], *names: str) -> dict[str, object]:
    """Return the members but for some."""
    return {name: value for name, value in members.items() if name not in names}


def _with_raw(name: str, raw: bytes, members: dict[str, object]) -> bytes:
    """The JSON of the members with the bytes of one value replaced."""
    marked = compact(members | {name: "@@"})
    return marked.replace(b'"@@"', raw)


def alg() -> Iterator[Hostile]:
    """The header picks the algorithm, or none (RFC 8725, section 3.1)."""
    signed = f"{b64(compact(header(alg='none')))}.{b64(compact(payload()))}"
    yield Hostile("alg", "none-without-signature", f"{signed}.", ("malformed",))
    for name in ("none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS384", "HS512", "RS256", "PS256", "ES256"):
        yield Hostile("alg", f"named-{name or 'empty'}", token(header(alg=name)), ("alg",))
    for name in ("none", "NonE"):
        yield Hostile("alg", f"{name}-with-a-letter", f"{b64(compact(header(alg=name)))}.{b64(compact(payload()))}.AA",
                      ("alg",))  # fmt: skip
    for value in (None, 1, True, ["HS256"], {"HS256": 1}):
        yield Hostile("alg", f"of-type-{type(value).__name__}", token(header(alg=value)), ("alg",))
    yield Hostile("alg", "missing", token(without(header(), "alg")), ("header",))
    yield Hostile("alg", "twice", token(compact(header())[:-1] + b',"alg":"none"}'), ("header",))
    yield Hostile("alg", "name-in-another-case", token(without(header(), "alg") | {"ALG": "HS256"}), ("header",))
    yield Hostile("alg", "HS512-tag-under-HS256", token(digest="sha512"), ("signature",))
    yield Hostile("alg", "HS384-said-and-done", token(header(alg="HS384"), digest="sha384"), ("alg",))


def crit() -> Iterator[Hostile]:
    """Extensions that have to be understood, and unencoded payloads (RFC 7515, section 4.1.11; RFC 7797)."""
    odd: dict[str, object] = {
        "unknown": ["exp2"], "known": ["exp"], "empty": [], "b64": ["b64"], "of-alg": ["alg"], "text": "exp",
        "null": None, "twice": ["b64", "b64"], "number": [1], "object": {},
    }  # fmt: skip
    for name, value in odd.items():
        yield Hostile("crit", name, token(header(crit=value)), ("header",))
    yield Hostile("crit", "b64-false", token(header(crit=["b64"], b64=False)), ("header",))
    yield Hostile("crit", "b64-false-alone", token(header(b64=False)), ("header",))
    yield Hostile("crit", "b64-true", token(header(b64=True)), ("header",))
    raw = f"{b64(compact(header(crit=['b64'], b64=False)))}.{compact(payload()).decode()}"
    yield Hostile("crit", "b64-false-and-raw-payload", f"{raw}.{b64(tag(raw))}", ("malformed",))
    for name in ("zip", "cty", "enc", "exp", "iss", "epk", "p2c", "x-own"):
        yield Hostile("crit", f"member-{name}", token(header(**{name: "DEF"})), ("header",))


def keyinject(canary: str = "http://127.0.0.1:9") -> Iterator[Hostile]:
    """The token brings its own key, or says where to fetch it (RFC 8725, section 3.10)."""
    oct_jwk = {"kty": "oct", "k": b64(b"k" * 32), "alg": "HS256", "kid": kid_of(SECRET)}
    injected = {
        "jwk": oct_jwk, "jku": f"{canary}/jwks.json", "x5u": f"{canary}/chain.pem", "x5c": ["MIIB"], "x5t": "AAAA",
        "x5t#S256": "AAAA",
    }  # fmt: skip
    for name, value in injected.items():
        yield Hostile("keyinject", f"{name}-signed-by-attacker", token(header(**{name: value}), secret=b"k" * 32),
                      ("header",))  # fmt: skip
        yield Hostile("keyinject", f"{name}-signed-by-us", token(header(**{name: value})), ("header",))
    yield Hostile("keyinject", "jwk-for-kid", token(without(header(), "kid") | {"jwk": oct_jwk}), ("header",))
    yield Hostile("keyinject", "kid-is-a-url", token(header(kid=f"{canary}/key")), ("kid",))


def kid() -> Iterator[Hostile]:
    """Key ids that are paths, statements, other types, or nobody's."""
    yield Hostile("kid", "missing", token(without(header(), "kid")), ("header",))
    names: list[object] = [
        "", "unknown1", "../../dev/null", "/dev/null", "' OR '1'='1", "x' UNION SELECT 'k", "|id", "\x00", "\u0000abc",
        kid_of(SECRET) + " ", kid_of(SECRET).swapcase(), kid_of(SECRET)[:7], kid_of(SECRET) + "\u0000", "*",
        "__class__",
        None, 0, True, 1.5, [kid_of(SECRET)], {"a": 1}, "k" * 700, "кид", "\ud800",
    ]  # fmt: skip
    for number, value in enumerate(names):
        yield Hostile("kid", f"odd-{number}", token(header(kid=value)), ("kid", "header"))
    yield Hostile("kid", "empty-file-as-key", token(header(kid="/dev/null"), secret=b""), ("kid",))
    yield Hostile("kid", "twice", token(compact(header())[:-1] + b',"kid":"other"}'), ("header",))


def encoding() -> Iterator[Hostile]:
    """Other spellings of the compact form (RFC 7515, section 7.1)."""
    good = token()
    head, body, signature = good.split(".")
    cases: dict[str, str | bytes] = {
        "empty": "", "one-segment": head, "two-segments": f"{head}.{body}", "four-segments": f"{good}.{head}",
        "leading-dot": f".{good}", "trailing-dot": f"{good}.", "dots": "..", "many-dots": "." * 1000,
        "empty-header": f".{body}.{signature}", "empty-payload": f"{head}..{signature}",
        "no-signature": f"{head}.{body}.",
        "trailing-newline": f"{good}\n", "leading-space": f" {good}", "trailing-nul": f"{good}\0",
        "tab": f"{head}\t.{body}.x",
        "padding": ".".join(part + "=" * (-len(part) % 4) for part in good.split(".")),
        "padded-signature": f"{good}=", "percent": good.replace(".", "%2E"), "quoted": f'"{good}"',
        "bearer": f"Bearer {good}",
        "full-width-dot": good.replace(".", "\uff0e"), "umlaut": f"{good}ä", "surrogate": f"{good}\ud800",
        "latin-1-bytes": good.encode() + b"\xe4", "utf-16": good.encode("utf-16"),
        "bom": b"\xef\xbb\xbf" + good.encode(),
        "comma": f"{good},{good}",
    }  # fmt: skip
    for name, text in cases.items():
        yield Hostile("encoding", name, text, ("malformed", "header", "signature"))
    # Under a right signature: what only another spelling of the same bytes would be.
    for name, segment in {
        "standard-alphabet": base64.b64encode(compact(payload(client_id="~~~???>>>"))).decode().rstrip("="),
        "space-inside": body[:8] + " " + body[8:], "newline-inside": body[:8] + "\n" + body[8:],
        "padding-inside": body + "=" * (-len(body) % 4 or 4),
        "one-letter-more": body + "A" * ((1 - len(body)) % 4 or 4),
    }.items():  # fmt: skip
        signed = f"{head}.{segment}"
        yield Hostile("encoding", f"signed-{name}", f"{signed}.{b64(tag(signed))}", ("malformed", "payload"))
    yield from _loose_bits(head, signature)


def _loose_bits(head: str, signature: str) -> Iterator[Hostile]:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(signature[-1]) + 1]
    yield Hostile("encoding", "loose-bits-in-signature", f"{head}.{b64(compact(payload()))}.{signature[:-1]}{last}",
                  ("signature",))  # fmt: skip
    for filler in ("a", "bb", "ccc"):
        body = b64(compact(payload(client_id=filler)))
        loose = alphabet[(alphabet.index(body[-1]) & ~3 | 1)]
        if len(body) % 4:
            signed = f"{head}.{body[:-1]}{loose}"
            yield Hostile("encoding", f"loose-bits-in-payload-{filler}", f"{signed}.{b64(tag(signed))}", ("payload",))
    for filler in ("", "?", "??"):
        spelled = b64(compact(header()) + b" " * len(filler))
        if len(spelled) % 4:
            loose = alphabet[alphabet.index(spelled[-1]) + 1]
            signed = f"{spelled[:-1]}{loose}.{b64(compact(payload()))}"
            yield Hostile(
                "encoding", f"loose-bits-in-header-{len(filler)}", f"{signed}.{b64(tag(signed))}", ("header",)
            )


def json_text() -> Iterator[Hostile]:
    """Texts that JSON parsers disagree about, under a right signature."""
    good = compact(payload())
    bodies = {
        "not-json": b"hello", "empty": b" ", "list": b"[]", "text": b'"a"', "number": b"1", "null": b"null",
        "true": b"true",
        "empty-object": b"{}", "bom": b"\xef\xbb\xbf" + good, "utf-16": good.decode().encode("utf-16"),
        "utf-16-le": good.decode().encode("utf-16-le"), "utf-32": good.decode().encode("utf-32"),
        "trailing-object": good + b"{}", "trailing-comma": good[:-1] + b",}", "trailing-nul": good + b"\0",
        "trailing-brace": good + b"}", "comment": good + b"//x", "cut": good[:-1],
        "single-quotes": good.replace(b'"', b"'"),
        "invalid-utf-8": _with_raw("client_id", b'"\xff"', payload()),
        "overlong-utf-8": _with_raw("client_id", b'"\xc0\xaf"', payload()),
        "raw-surrogate": _with_raw("client_id", b'"\xed\xa0\x80"', payload()),
        "escaped-surrogate": _with_raw("client_id", b'"\\ud800"', payload()),
        "raw-nul": _with_raw("client_id", b'"a\0b"', payload()),
        "escaped-nul": _with_raw("x", b'"a\\u0000b"', payload()),
        "raw-newline": _with_raw("client_id", b'"a\nb"', payload()),
        "bad-escape": _with_raw("x", b'"\\x41"', payload()),
        "nan": _with_raw("exp", b"NaN", payload()), "infinity": _with_raw("exp", b"Infinity", payload()),
        "minus-infinity": _with_raw("iat", b"-Infinity", payload()),
        "huge-exponent": _with_raw("exp", b"1e999", payload()),
        "nan-in-unknown": _with_raw("x", b"NaN", payload()), "infinite-in-unknown": _with_raw("x", b"1e999", payload()),
        "digits": _with_raw("exp", b"9" * 5000, payload()), "digits-in-unknown": _with_raw("x", b"9" * 5000, payload()),
        "float-digits": _with_raw("x", b"0." + b"1" * 5000, payload()),
        "surrogate-in-unknown": _with_raw("x", b'"\\udc00"', payload()),
        "surrogate-in-name": good[:-1] + b',"\\ud800":1}',
        "invalid-utf-8-in-unknown": _with_raw("x", b'"\xff"', payload()),
        "duplicate-sub": good[:-1] + b',"sub":"' + SUB.encode() + b'"}',
        "duplicate-exp": good[:-1] + b',"exp":' + str(NOW + TTL).encode() + b"}",
        "duplicate-roles": good.replace(b'"roles":[', b'"roles":["admin"],"roles":['),
        "duplicate-first": good.replace(b"{", b'{"amr":["pwd"],', 1), "duplicate-unknown": good[:-1] + b',"x":1,"x":1}',
        "duplicate-by-escape": good[:-1] + b',"s\\u0075b":"' + SUB.encode() + b'"}',
        "duplicate-nested": good[:-1] + b',"x":{"a":1,"a":1}}',
        "deep-lists": good[:-1] + b',"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
        "deep-objects": good[:-1] + b',"x":' + b'{"a":' * 1500 + b"1" + b"}" * 1500 + b"}",
        "seventeen-deep": good[:-1] + b',"x":' + b"[" * 16 + b"]" * 16 + b"}", "deep-unclosed": b'{"x":' + b"[" * 11000,
        "leading-zero": _with_raw("exp", b"0" + str(NOW + TTL).encode(), payload()),
        "hex": _with_raw("exp", b"0x7fffffff", payload()),
    }  # fmt: skip
    for name, body in bodies.items():
        yield Hostile("json", name, token(body=body), ("payload",))
    heads = {
        "not-json": b"hello", "list": b"[]", "null": b"null", "bom": b"\xef\xbb\xbf" + compact(header()),
        "utf-16": compact(header()).decode().encode("utf-16"), "trailing": compact(header()) + b"x",
        "duplicate": compact(header())[:-1] + b',"typ":"at+jwt"}', "nan": compact(header())[:-1] + b',"x":NaN}',
        "deep": b'{"alg":' + b"[" * 300, "long": compact(header(kid="k" * 2000)),
    }  # fmt: skip
    for name, head in heads.items():
        yield Hostile("json", f"header-{name}", token(head), ("header",))


def size() -> Iterator[Hostile]:
    """More than anybody needs."""
    yield Hostile("size", "long-payload", token(body=payload(x="a" * 20_000)), ("too_large",))
    yield Hostile("size", "five-megabytes", "a" * 5_000_000, ("too_large",))
    yield Hostile("size", "dots", b"." * 1_000_000, ("too_large",))
    yield Hostile("size", "wide-text", "\U0001f600" * 5000, ("malformed",))
    yield Hostile("size", "one-too-long", token() + "A" * (16_385 - len(token())), ("too_large",))
    yield Hostile("size", "longest-looked-at", token() + "A" * (16_384 - len(token())), ("signature",))
    yield Hostile("size", "many-roles", token(body=payload(roles=[f"r{n}" for n in range(257)])), ("claims",))
    yield Hostile("size", "long-role", token(body=payload(roles=["r" * 129])), ("claims",))


def signature() -> Iterator[Hostile]:
    """Tags that are not the one tag."""
    good = token()
    signed, _, mac = good.rpartition(".")
    raw = base64.urlsafe_b64decode(mac + "=")
    for name, wrong in {
        "one-bit": raw[:-1] + bytes([raw[-1] ^ 1]), "first-bit": bytes([raw[0] ^ 128]) + raw[1:], "cut-to-31": raw[:31],
        "cut-to-16": raw[:16], "cut-to-1": raw[:1], "doubled": raw + raw, "one-more": raw + b"\0", "zeros": bytes(32),
        "of-nothing": tag(""), "of-the-payload-only": tag(signed.partition(".")[2]), "hex": raw.hex().encode(),
        "of-another-secret": tag(signed, b"x" * 32), "of-the-empty-secret": tag(signed, b""),
        "plain-hash": hashlib.sha256(signed.encode()).digest(), "kid-as-secret": tag(signed, kid_of(SECRET).encode()),
    }.items():  # fmt: skip
        yield Hostile("signature", name, f"{signed}.{b64(wrong)}", ("signature",))
    other = token(body=payload(roles=["admin"]), secret=b"x" * 32)
    yield Hostile("signature", "payload-swapped", f"{good.split('.')[0]}.{other.split('.')[1]}.{mac}", ("signature",))


def claims() -> Iterator[Hostile]:
    """Claims that are missing, of another type, or not ours."""
    yield from _issuer_and_audience()
    yield from _times()
    odd: dict[str, object] = {
        "missing": ..., "null": None, "number": 1, "list": [SUB], "object": {"id": SUB}, "empty": "", "true": True,
        "spaced": f" {SUB}", "newline": f"{SUB}\n", "upper": SUB.upper().replace("0192", "0A92"), "uuid4": "a" * 36,
        "long": "a" * 4000, "nul": f"{SUB}\0", "e-mail": "maker@example.org",
    }  # fmt: skip
    for name, value in odd.items():
        yield Hostile("sub", name, token(body=payload(sub=value)), ("payload", "claims"))
        yield Hostile("sid", name, token(body=payload(sid=value)), ("payload", "claims"))
    shapes: list[tuple[str, object]] = [
        ("jti", ...), ("jti", 1), ("jti", ""), ("jti", "a b"), ("jti", "a" * 65), ("jti", "a\n"), ("client_id", ...),
        ("client_id", ""), ("client_id", None), ("client_id", "a\u0000"), ("roles", ...), ("roles", "admin"),
        ("roles", [1]), ("roles", [None]), ("roles", [["admin"]]), ("roles", {"admin": True}), ("roles", [""]),
        ("roles", ["a\u0000"]), ("roles", ["a\n"]), ("amr", ...), ("amr", "pwd"), ("amr", [1]), ("amr", ["a b"]),
        ("amr", ["x"] * 17), ("auth_time", ...), ("auth_time", "1"), ("auth_time", 1.5), ("auth_time", -1),
        ("cnf", None), ("cnf", {}), ("cnf", "x5t#S256"), ("cnf", {"jkt": "a" * 43}), ("cnf", {"x5t": "a" * 43}),
        ("cnf", {"x5t#S256": "a" * 42}), ("cnf", {"x5t#S256": ["a" * 43]}), ("cnf", {"x5t#S256": "a" * 43 + "\n"}),
        ("cnf", {"x5t#S256": "a" * 43, "jkt": "a" * 43}),
    ]  # fmt: skip
    for number, (name, value) in enumerate(shapes):
        yield Hostile("claims", f"{name}-{number}", token(body=payload(**{name: value})), ("payload", "claims"))


def _issuer_and_audience() -> Iterator[Hostile]:
    odd: dict[str, object] = {
        "missing": ..., "null": None, "number": 1, "object": {"a": 1}, "empty": "", "true": True,
        "other": "https://evil.example",
        "nested-list": [["x"]],
    }  # fmt: skip
    for name, value in odd.items():
        yield Hostile("iss", name, token(body=payload(iss=value)), ("iss", "payload"))
        yield Hostile("aud", name, token(body=payload(aud=value)), ("aud", "payload"))
    for name, value in {
        "list": [ISSUER], "prefix": ISSUER[:-1], "suffix": f"{ISSUER}.evil.example", "slash": f"{ISSUER}/",
        "upper": ISSUER.upper(), "scheme": ISSUER.replace("https", "http"), "space": f"{ISSUER} ", "nul": f"{ISSUER}\0",
        "list-of-letters": list(ISSUER),
    }.items():  # fmt: skip
        yield Hostile("iss", name, token(body=payload(iss=value)), ("iss", "payload"))
    for name, value in {
        "prefix": AUDIENCE[:-1], "longer": f"{AUDIENCE}/", "list-of-others": ["a", "b"], "empty-list": [],
        "list-with-null": [None, AUDIENCE], "list-with-number": [AUDIENCE, 1], "in-a-name": {AUDIENCE: True},
        "nested": [[AUDIENCE]], "list-of-prefix": [AUDIENCE[:-1]], "contained": f"x {AUDIENCE} y",
        "upper": AUDIENCE.upper(),
    }.items():  # fmt: skip
        yield Hostile("aud", name, token(body=payload(aud=value)), ("aud", "payload"))


def _times() -> Iterator[Hostile]:
    odd: dict[str, object] = {
        "null": None, "text": str(NOW + TTL), "float": NOW + TTL + 0.5, "whole-float": float(NOW + TTL), "true": True,
        "list": [NOW + TTL], "object": {}, "negative": -1, "huge": 2**63, "enormous": 10**18, "beyond-64-bits": 10**19,
    }  # fmt: skip
    for name, value in odd.items():
        for claim in ("exp", "iat", "nbf"):
            yield Hostile(claim, name, token(body=payload(**{claim: value})), ("payload", "lifetime", "not_yet_valid"))
    yield Hostile("exp", "missing", token(body=payload(exp=...)), ("payload",))
    yield Hostile("exp", "past", token(body=payload(iat=NOW - TTL - 100, exp=NOW - 100)), ("expired",))
    yield Hostile("exp", "this-very-second", token(body=payload(iat=NOW - TTL, exp=NOW)), ("expired",))
    yield Hostile("exp", "zero", token(body=payload(exp=0)), ("lifetime",))
    yield Hostile("exp", "before-iat", token(body=payload(exp=NOW - 1)), ("lifetime",))
    yield Hostile("exp", "same-as-iat", token(body=payload(exp=NOW)), ("lifetime",))
    yield Hostile("exp", "too-far", token(body=payload(exp=NOW + TTL + 1)), ("lifetime",))
    yield Hostile("exp", "milliseconds", token(body=payload(exp=(NOW + TTL) * 1000)), ("lifetime", "payload"))
    yield Hostile("iat", "missing", token(body=payload(iat=...)), ("payload",))
    yield Hostile("iat", "future", token(body=payload(iat=NOW + 1)), ("not_yet_valid",))
    yield Hostile("iat", "zero", token(body=payload(iat=0)), ("lifetime",))
    yield Hostile("nbf", "future", token(body=payload(nbf=NOW + 1)), ("not_yet_valid",))


def kind() -> Iterator[Hostile]:
    """Tokens of another kind (RFC 8725, sections 3.11 and 3.12)."""
    for value in (
        "rt+jwt", "JWT", "jwt", "", "AT+JWT", "at+jwt ", "at-jwt", "application/jwt", "application/rt+jwt",
        "logout+jwt",
        "secevent+jwt", "dpop+jwt", "id+jwt", "application/application/at+jwt", "APPLICATION/at+jwt", "/at+jwt",
        None, 1, True, ["at+jwt"], {"at+jwt": 1},
    ):  # fmt: skip
        yield Hostile("type", f"{type(value).__name__}-{value}", token(header(typ=value)), ("typ",))
    yield Hostile("type", "missing", token(without(header(), "typ")), ("header",))
    yield Hostile("type", "refresh-token", token(header(typ="rt+jwt"), refresh_payload()), ("typ",))
    yield Hostile("type", "refresh-claims", token(body=refresh_payload(aud=AUDIENCE, exp=NOW + TTL)), ("payload",))
    identity = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": SUB,
        "iat": NOW,
        "exp": NOW + TTL,
        "nonce": "n",
        "email": "a@b.c",
    }
    yield Hostile("type", "id-token", token(header(typ="JWT"), identity), ("typ",))
    yield Hostile("type", "id-token-claims", token(body=identity), ("payload",))


def serialization() -> Iterator[Hostile]:
    """JSON serializations, JWE and nested tokens."""
    head, body, signature_ = token().split(".")
    flattened = {"protected": head, "payload": body, "signature": signature_}
    general = {"payload": body, "signatures": [{"protected": head, "signature": signature_}]}
    for name, text in {
        "flattened": compact(flattened).decode(), "general": compact(general).decode(),
        "list": compact([head]).decode(),
        "jwe": ".".join([head, "", "AAAA", "AAAA", "AAAA"]),
        "jwe-dir": ".".join([b64(compact(header(alg="dir", enc="A256GCM"))), "", "A", "B", "C"]),
        "detached": f"{head}..{signature_}", "nested": token(header(cty="JWT"), token().encode()),
        "json-text": json.dumps(token()),
        "unsecured-jwe": f"{b64(compact({'alg': 'RSA1_5', 'enc': 'A128CBC-HS256'}))}.{body}.{signature_}",
        "pbes2": f"{b64(compact({'alg': 'PBES2-HS256+A128KW', 'p2c': 10**9, 'p2s': 'AAAA'}))}.{body}.{signature_}",
        "sd-jwt": f"{head}.{body}.{signature_}~disclosure~",
    }.items():  # fmt: skip
        yield Hostile("serialization", name, text, ("malformed", "header", "signature"))


def every_hostile_token() -> list[Hostile]:
    """All of them."""
    groups = (alg, crit, keyinject, kid, encoding, json_text, size, signature, claims, kind, serialization)
    return [case for group in groups for case in group()]
