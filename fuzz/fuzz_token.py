"""The envelopes: access and refresh tokens, tokens of others, API keys, session cookies, tokens of mailed links.

The first byte says which reader gets the rest, as it is or signed with the right key: no fuzzer finds a signature.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import chain
from typing import Any, Final

from limen.authn.cookie_value import parse_value
from limen.core.ids import is_uuid7
from limen.crypto.api_keys import ApiKey, KeyHasher, _checksum, read_key
from limen.crypto.encoding import b64url_decode, b64url_encode
from limen.crypto.foreign_jwt import ASYMMETRIC, read_signed
from limen.crypto.jwt import AccessClaims, RefreshClaims, TokenError, TokenVerifier
from limen.crypto.keys import KeySet, SigningKey
from limen.features.recovery.service import _digest
from tests.crypto import hostile_tokens as made

ENVIRONMENT: Final = "fuzz"
REFRESH_TTL: Final = 604_800
_KEYS: Final = KeySet.of_secrets(made.SECRET)
_FOREIGN: Final = KeySet([SigningKey.generate("ES256"), SigningKey.generate("EdDSA")])
_HASHER: Final = KeyHasher(["a data secret of the fuzz targets, long enough for a key"])
_ACCESS: Final = TokenVerifier(
    _KEYS,
    issuer=made.ISSUER,
    audience=made.AUDIENCE,
    typ="at+jwt",
    claims=AccessClaims,
    max_lifetime=made.TTL,
    clock=lambda: made.NOW,
)
_REFRESH: Final = TokenVerifier(
    _KEYS,
    issuer=made.ISSUER,
    audience=made.ISSUER,
    typ="rt+jwt",
    claims=RefreshClaims,
    max_lifetime=REFRESH_TTL,
    clock=lambda: made.NOW,
)
_REFRESH_HEADER: Final = made.header(typ="rt+jwt")
_GOOD: Final = frozenset({made.token().encode(), made.token(_REFRESH_HEADER, made.refresh_payload()).encode()})


@contextmanager
def opened() -> Iterator[Callable[[bytes], None]]:
    """Return what takes any bytes."""
    yield check


def check(data: bytes) -> None:
    """Hand the bytes to one of the readers."""
    if data:
        _READERS[data[0] % len(_READERS)](data[1:])


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in members}) == len(members), "a name twice was accepted"
    return dict(members)


def _verified(verifier: TokenVerifier[Any], other: TokenVerifier[Any], token: bytes) -> Any:
    """Return the claims of a token that is accepted, None for any other; hold what must agree against each other."""
    claims, is_old = None, False
    try:
        claims = verifier.verify(token)
    except TokenError as refused:
        is_old = refused.expired
    if claims is None:
        with suppress(TokenError):
            verifier.verify_even_if_expired(token)
            assert is_old, "refused for more than its time, and accepted as expired"
        return None
    assert verifier.verify(token.decode("ascii")) == claims
    try:
        other.verify_even_if_expired(token)
    except TokenError:
        pass
    else:
        raise AssertionError("a token of one kind was taken for one of another")
    header, payload = (json.loads(b64url_decode(part), object_pairs_hook=_once) for part in token.split(b".")[:2])
    assert header.keys() == {"alg", "kid", "typ"}
    assert header["alg"] == "HS256"
    assert made.NOW < claims.exp == payload["exp"] <= claims.iat + verifier._max_lifetime
    assert claims.iat == payload["iat"] <= made.NOW
    assert claims.iss == payload["iss"] == made.ISSUER
    assert claims.aud == payload["aud"] or claims.aud in payload["aud"]
    assert payload["sub"] == claims.sub
    assert payload["sid"] == claims.sid
    assert is_uuid7(claims.sub)
    assert is_uuid7(claims.sid)
    return claims


def _raw_access(data: bytes) -> None:
    assert _verified(_ACCESS, _REFRESH, data) is None or data in _GOOD


def _raw_refresh(data: bytes) -> None:
    assert _verified(_REFRESH, _ACCESS, data) is None or data in _GOOD


def _signed_access(data: bytes) -> None:
    claims = _verified(_ACCESS, _REFRESH, made.token(body=data).encode())
    if claims is not None:
        assert set(json.loads(data)["roles"]) == claims.roles


def _signed_refresh(data: bytes) -> None:
    claims = _verified(_REFRESH, _ACCESS, made.token(_REFRESH_HEADER, data).encode())
    assert claims is None or json.loads(data)["gen"] == claims.gen


def _signed_header(data: bytes) -> None:
    _verified(_ACCESS, _REFRESH, made.token(data).encode())


def _signed_segments(data: bytes) -> None:
    """Sign text that need not be base64."""
    _verified(_ACCESS, _REFRESH, data + b"." + b64url_encode(hmac.digest(made.SECRET, data, "sha256")))


def _foreign(data: bytes) -> None:
    try:
        found = read_signed(data, algorithms=ASYMMETRIC)
    except TokenError:
        return
    assert found.alg in ASYMMETRIC
    for key in _FOREIGN:
        try:
            found.verified_by(key)
        except TokenError:
            continue
        raise AssertionError("nobody has signed this")


def _key(data: bytes) -> None:
    found = read_key(data, ENVIRONMENT)
    if found is not None:
        assert found.text().encode() == data, "two spellings of one key"
        assert is_uuid7(found.id)
        assert not _HASHER.matches(found, None, None)
        assert not _HASHER.matches(found, _HASHER.kid, bytes(32))


def _summed_key(data: bytes) -> None:
    """Read a key whose checksum is right."""
    begin = b"lim_" + ENVIRONMENT.encode() + b"_" + data
    _key(begin + _checksum(begin).encode())


def _cookie(data: bytes) -> None:
    found = parse_value(data)
    if found is not None:
        raw = b64url_decode(data)
        assert b64url_encode(raw) == data, "two spellings of one cookie"
        assert found.sid.replace("-", "") == raw[:16].hex()
        assert found.token_hash == sha256(raw[16:]).digest()


def _link(data: bytes) -> None:
    found = _digest(data.decode("utf-8", "replace"))
    if found is not None:
        raw = b64url_decode(data)
        assert b64url_encode(raw) == data, "two spellings of one link"
        assert found == sha256(raw).digest()


_READERS: Final = (
    _raw_access,
    _raw_refresh,
    _signed_access,
    _signed_refresh,
    _signed_header,
    _signed_segments,
    _foreign,
    _key,
    _summed_key,
    _cookie,
    _link,
)


def seeds() -> Iterator[bytes]:
    """The hostile tokens of the suite, and of everything one that is right but for its secret."""

    def of(reader: Callable[[bytes], None], data: bytes) -> bytes:
        return bytes([_READERS.index(reader)]) + data

    for hostile in chain(made.alg(), made.crit(), made.keyinject(), made.kid(), made.encoding()):
        token = hostile.token
        data = token if isinstance(token, bytes) else token.encode("utf-8", "surrogatepass")
        yield of(_raw_access, data[:4096])
    yield of(_raw_access, made.token().encode())
    yield of(_raw_refresh, made.token(_REFRESH_HEADER, made.refresh_payload()).encode())
    yield of(_signed_access, made.compact(made.payload()))
    yield of(_signed_access, made.compact(made.payload(permissions=["order:read"], cnf={"x5t#S256": "A" * 43})))
    yield of(_signed_refresh, made.compact(made.refresh_payload()))
    yield of(_signed_header, made.compact(made.header()))
    yield of(_signed_segments, made.token().rpartition(".")[0].encode())
    foreign = (
        made.compact({"alg": "ES256", "kid": "a", "typ": "JWT"}),
        made.compact({"iss": "x", "sub": "y", "aud": []}),
    )
    yield of(_foreign, ".".join([*map(made.b64, foreign), made.b64(bytes(64))]).encode())
    key = ApiKey(ENVIRONMENT, made.SUB, bytes(range(32))).text().encode()
    yield of(_key, key)
    yield of(_summed_key, key[len("lim_") + len(ENVIRONMENT) + 1 : -6])
    yield of(_cookie, b64url_encode(bytes(range(48))))
    yield of(_link, b64url_encode(bytes(range(32))))
