"""The keys of issuers elsewhere: which are believed, how they are followed, and what stays where a fetch fails."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest

from limen.authn.issuer_keys import COOL_DOWN_SECONDS, MOST_BYTES, REFRESH_SECONDS, IssuerKeys, keys_of
from limen.authn.outbound import Outbound, OutboundError
from limen.core.errors import ConfigurationError, Unavailable
from limen.crypto.jwt import TokenError
from limen.crypto.keys import KeySet, SigningKey


class Place:
    """An issuer's address on the loopback: answers with what it was given, and counts."""

    def __init__(self) -> None:
        self.body = b""
        self.head = "200 OK"
        self.wait = 0.0
        self.asked = 0
        self.url = ""

    def publish(self, *jwks: dict[str, object]) -> None:
        """Answer with these keys from now on."""
        self.body = json.dumps({"keys": jwks}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await asyncio.sleep(self.wait)
            writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: {len(self.body)}\r\n\r\n".encode() + self.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """An issuer's address that listens."""
    made = Place()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    yield made
    server.close()


OUTBOUND = Outbound(allow_private=("127.0.0.0/8",), timeout=30.0)
KEYS = {alg: SigningKey.generate(alg) for alg in ("ES256", "EdDSA")}


def jwk(key: SigningKey | None = None, **changes: object) -> dict[str, object]:
    """Return a public JWK of a key, or of a new one; None takes a member away."""
    made = key or SigningKey.generate("ES256")
    members = {**(made.verification_key.public_jwk() or {}), **changes}
    return {name: value for name, value in members.items() if value is not None}


class Turned:
    """Seconds that a test turns."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


# --- which keys are believed


@pytest.mark.parametrize(
    "changes",
    [{"use": "enc"}, {"alg": "ES384"}, {"alg": "HS256"}, {"alg": "none"}, {"alg": 5}, {"kty": "RSA"}, {"crv": "P-384"},
     {"x": "AA"}, {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"kid": ""}, {"kid": 5}, {"kid": "x" * 256},
     {"y": None}, {"alg": "RS256"}],
    ids=str,
)  # fmt: skip
def test_keys_for_something_else_are_left_out(changes: dict[str, object]) -> None:
    """Another use, algorithm, kind or curve, or a point that is none: the others of the set are used all the same."""
    good = jwk()
    assert [key.kid for key in keys_of({"keys": [good, jwk(None, **changes)]})] == [good["kid"]]


def test_what_spoils_a_whole_set() -> None:
    """A secret, a private key, an id twice, too many, or no set at all: nothing of it is believed."""
    good = jwk()
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}
    bad: tuple[dict[str, object], ...] = (
        {"keys": [good, secret]}, {"keys": [good, {"kty": "oct"}]}, {"keys": [good, jwk(d="AA")]},
        {"keys": [good, jwk(kid=good["kid"])]}, {"keys": [jwk() for _ in range(33)]}, {"keys": [good, 5]},
        {"keys": []}, {"keys": 5}, {"keys": {"a": good}}, {}, {"keys": [jwk(use="enc")]},
    )  # fmt: skip
    for document in bad:
        with pytest.raises(ConfigurationError):
            keys_of(document)


def test_a_key_that_names_neither_algorithm_nor_id() -> None:
    """It has the algorithm of its kind and its thumbprint: Entra names no algorithm, and a single key needs no id."""
    for alg, key in KEYS.items():
        (found,) = keys_of({"keys": [jwk(key, alg=None, kid=None, use=None)]})
        assert (found.alg, found.kid) == (alg, key.kid)
    assert len(keys_of({"keys": [jwk(kid=None), jwk(kid=None)]})) == 2


# --- how they are followed


async def test_the_key_that_a_token_names(place: Place) -> None:
    """By its id; the algorithm must be the key's; without an id, the only key of the algorithm."""
    place.publish(jwk(KEYS["ES256"]), jwk(KEYS["EdDSA"]))
    keys = IssuerKeys(place.url, OUTBOUND)
    found = await keys.key(KEYS["ES256"].kid, "ES256")
    assert found.kid == KEYS["ES256"].kid
    assert (await keys.key(None, "EdDSA")).kid == KEYS["EdDSA"].kid
    with pytest.raises(TokenError, match="alg"):
        await keys.key(KEYS["ES256"].kid, "EdDSA")
    for kid, alg in (("unknown", "ES256"), (None, "RS256")):
        with pytest.raises(TokenError, match="kid"):
            await keys.key(kid, alg)
    assert place.asked == 1
    two = IssuerKeys(place.url, OUTBOUND)
    place.publish(jwk(), jwk())
    with pytest.raises(TokenError, match="kid"):
        await two.key(None, "ES256")


async def test_an_unknown_key_is_fetched_once_per_cool_down(place: Place) -> None:
    """A rotated key is found at once; a stranger's inventions cause one fetch, however many come."""
    place.publish(jwk(KEYS["ES256"]))
    clock = Turned()
    keys = IssuerKeys(place.url, OUTBOUND, monotonic=clock)
    await keys.key(KEYS["ES256"].kid, "ES256")
    clock.now += COOL_DOWN_SECONDS
    place.publish(jwk(KEYS["ES256"]), jwk(KEYS["EdDSA"]))
    assert (await keys.key(KEYS["EdDSA"].kid, "EdDSA")).alg == "EdDSA"
    assert place.asked == 2
    answers = await asyncio.gather(*(keys.key(f"k{n}", "ES256") for n in range(100)), return_exceptions=True)
    assert {str(answer) for answer in answers} == {"kid"}
    assert place.asked == 2


async def test_old_keys_are_kept_where_a_fetch_fails(place: Place) -> None:
    """An error, a redirect, 10 MB, slowness and nonsense change nothing; unknown keys are then nobody's to judge."""
    place.publish(jwk(KEYS["ES256"]))
    keys = IssuerKeys(place.url, OUTBOUND, cool_down=0.0)
    await keys.refresh()
    good = place.body
    for head, body, wait in (
        ("500 No", good, 0.0),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", b"", 0.0),
        ("200 OK", b'{"keys": "' + b"x" * 10_000_000 + b'"}', 0.0),
        ("200 OK", b'{"keys": "' + b"x" * MOST_BYTES + b'"}', 0.0),
        ("200 OK", b'{"keys": []}', 0.0),
        ("200 OK", good[:-1] + b', "keys": []}', 0.0),
        ("200 OK", good, 3600.0),
    ):
        if wait:
            keys._outbound = Outbound(allow_private=("127.0.0.0/8",), timeout=0.3)
        place.head, place.body, place.wait = head, body, wait
        with pytest.raises(Unavailable):
            await keys.key("unknown", "ES256")
        assert (await keys.key(KEYS["ES256"].kid, "ES256")).kid == KEYS["ES256"].kid


async def test_they_are_fetched_anew_beside_and_are_too_old_after_a_day(place: Place) -> None:
    """After five minutes they are fetched beside the request; after a day without success they are believed no more."""
    place.publish(jwk(KEYS["ES256"]))
    clock = Turned()
    keys = IssuerKeys(place.url, OUTBOUND, cool_down=0.0, monotonic=clock)
    await keys.key(KEYS["ES256"].kid, "ES256")
    place.publish(jwk(KEYS["EdDSA"]))
    clock.now += REFRESH_SECONDS + 1
    assert (await keys.key(KEYS["ES256"].kid, "ES256")).alg == "ES256"
    assert keys._beside is not None
    await keys._beside
    with pytest.raises(TokenError, match="kid"):
        await keys.key(KEYS["ES256"].kid, "ES256")
    place.head = "500 No"
    clock.now += 86_401
    with pytest.raises(Unavailable):
        await keys.key(KEYS["EdDSA"].kid, "EdDSA")
    assert len(keys.keys) == 0


async def test_the_same_keys_are_told_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """An issuer's odd key does not fill the log every five minutes; after a day of silence they are told anew."""
    place.publish(jwk(KEYS["ES256"]), jwk(None, use="enc"))
    clock, told = Turned(), list[KeySet]()
    keys = IssuerKeys(place.url, OUTBOUND, use=told.append, cool_down=0.0, monotonic=clock)
    for _ in range(3):
        await keys.refresh()
    assert len(told) == 1
    assert [record.msg for record in caplog.records].count("a public key is not used") == 1
    clock.now += 86_401
    await keys.key(KEYS["ES256"].kid, "ES256")
    assert [len(each) for each in told] == [1, 0, 1]


async def test_without_an_answer_nobody_can_tell(place: Place) -> None:
    """Where no keys were ever had, that is what is said: a token is neither right nor wrong."""
    place.head = "503 No"
    with pytest.raises(Unavailable):
        await IssuerKeys(place.url, OUTBOUND).key("any", "ES256")


async def test_the_address_may_be_found_out(place: Place) -> None:
    """It is asked for at each fetch; what cannot be found out is as good as no answer."""
    place.publish(jwk(KEYS["ES256"], issuer="https://one.example"))

    async def found() -> str:
        return place.url

    async def broken() -> str:
        raise ConfigurationError("the document is another issuer's")

    async def silent() -> str:
        raise OutboundError("timeout", "no answer")

    keys = IssuerKeys(found, OUTBOUND)
    key = await keys.key(None, "ES256")
    assert keys.stated_issuer(key.kid) == "https://one.example"
    assert keys.stated_issuer("other") is None
    for address in (broken, silent):
        with pytest.raises(Unavailable):
            await IssuerKeys(address, OUTBOUND).refresh()


@pytest.mark.parametrize("url", ["http://issuer.example/keys", "http://10.0.0.1/", "ftp://issuer.example/", "keys", ""])
def test_keys_come_over_tls(url: str) -> None:
    """Plain http is taken at a loopback address only: anybody on the way could put in a key."""
    with pytest.raises(ConfigurationError, match="https"):
        IssuerKeys(url, OUTBOUND)
