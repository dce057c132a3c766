"""Verifying one access token: limen's strict envelope beside PyJWT and joserfc, and a token seen before."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import cast

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import OctKey

from benchmarks.gates import TokenMaker, gate_of, installation, settings_of
from benchmarks.rows import Effort, Row, median_ratio
from limen.crypto.claims import ACCESS_TYP, AccessClaims
from limen.crypto.encoding import b64url_decode
from limen.crypto.jwt import TokenVerifier
from limen.crypto.keys import KeySet, SigningKey


def verification(effort: Effort) -> Sequence[Row]:
    """Measure in process; every round brings new tokens, but for the row of those seen before."""
    with installation() as environment:
        settings = settings_of(environment)
        secret = settings.jwt_access_secret.get_secret_value()
        verifier = TokenVerifier(
            KeySet([SigningKey.from_secret(secret)]),
            issuer=settings.issuer,
            audience=settings.audience,
            typ=ACCESS_TYP,
            claims=AccessClaims,
            max_lifetime=settings.access_ttl,
        )
        chain = gate_of(environment).chain
        oct_key = OctKey.import_key(secret)
        registry = joserfc_jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": settings.issuer}, aud={"essential": True, "value": settings.audience}
        )

        def by_pyjwt(token: str) -> object:
            return jwt.decode(token, secret, algorithms=["HS256"], issuer=settings.issuer, audience=settings.audience)

        def by_joserfc(token: str) -> object:
            decoded = joserfc_jwt.decode(token, oct_key, algorithms=["HS256"])
            registry.validate(decoded.claims)
            return decoded

        def recalled(token: str) -> object:
            return chain.recall([(b"host", b"localhost"), (b"authorization", b"Bearer " + token.encode())])

        maker = TokenMaker(settings)
        ways: dict[str, Callable[[str], object]] = {
            "limen": verifier.verify,
            "PyJWT": by_pyjwt,
            "joserfc": by_joserfc,
            "seen": recalled,
        }
        figures = _rounds(ways, maker, effort)
    return [*_rows(figures), *_with_public_keys(effort)]


def _with_public_keys(effort: Effort) -> list[Row]:
    """Measure a new ES256 token beside the bare check of its signature, which is nearly all of it."""
    key = SigningKey.generate("ES256")
    with installation() as environment:
        settings = settings_of(environment)
    verifier = TokenVerifier(
        KeySet([key]),
        issuer=settings.issuer,
        audience=settings.audience,
        typ=ACCESS_TYP,
        claims=AccessClaims,
        max_lifetime=settings.access_ttl,
    )
    public = cast(ec.EllipticCurvePrivateKey, key.material).public_key()
    algorithm = ec.ECDSA(hashes.SHA256())
    maker = TokenMaker(settings, key)
    count, ours, bare = effort.count(300, 10), [], []
    for _ in range(effort.rounds(15)):
        tokens = maker.make_many(count)
        start = time.thread_time_ns()
        for token in tokens:
            verifier.verify(token)
        ours.append((time.thread_time_ns() - start) / count / 1000)
        parts = [_signed_and_der(token) for token in tokens]
        start = time.thread_time_ns()
        for message, der in parts:
            public.verify(der, message, algorithm)
        bare.append((time.thread_time_ns() - start) / count / 1000)
    beside = statistics.median(bare)
    return [
        Row(
            "verification",
            "Verifying a new ES256 access token",
            "µs",
            statistics.median(ours),
            beside,
            "the signature alone",
            median_ratio(ours, bare),
            rounds=len(ours),
        )
    ]


def _signed_and_der(token: str) -> tuple[bytes, bytes]:
    signed, _, signature = token.encode().rpartition(b".")
    raw = b64url_decode(signature)
    return signed, encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def _rounds(ways: dict[str, Callable[[str], object]], maker: TokenMaker, effort: Effort) -> dict[str, list[float]]:
    count = effort.count(1_000, 20)
    figures: dict[str, list[float]] = {name: [] for name in ways}
    known = [maker.make()] * count
    ways["seen"](known[0])
    for number in range(effort.rounds(15)):
        for name in ways if number % 2 == 0 else reversed(ways):
            tokens = known if name == "seen" else maker.make_many(count)
            verify = ways[name]
            start = time.thread_time_ns()
            for token in tokens:
                verify(token)
            figures[name].append((time.thread_time_ns() - start) / count / 1000)
    return figures


def _rows(figures: dict[str, list[float]]) -> list[Row]:
    ours = figures["limen"]
    rows = [
        Row(
            "verification",
            "Verifying a new HS256 access token",
            "µs",
            statistics.median(ours),
            statistics.median(figures[peer]),
            peer,
            median_ratio(ours, figures[peer]),
            rounds=len(ours),
        )
        for peer in ("PyJWT", "joserfc")
    ]
    rows.append(
        Row(
            "verification",
            "From the header to the principal, token seen before",
            "µs",
            statistics.median(figures["seen"]),
            rounds=len(ours),
        )
    )
    return rows
