"""The keys of external issuers and what is remembered: rotated, kept, gone, and never believed of another."""

from pathlib import Path
from typing import Any

from limen.authn.external_tokens import ExternalCredential
from limen.authn.strategy import PresentedCredential, Rejected
from limen.authz.roles import RoleCatalogue
from limen.core.occasionally import Occasionally
from tests.authn.external_issuer import KEYS, NEW, STRANGER, Issuer, service, trusted
from tests.features.conftest import Turned


async def test_keys_rotate_and_are_kept(tmp_path: Path, issuer: Issuer) -> None:
    """A new key is found by its first token; an issuer that is down changes nothing; a retired key's tokens end."""
    async with service(tmp_path, trusted(issuer)) as orders:
        keys = orders.external._keys[0]
        keys._asking = Occasionally(keys.refresh, 0.0)
        old = issuer.token()
        assert await orders.status("/maker", old) == 200
        issuer.keys = [KEYS["RS256"], NEW]
        assert await orders.status("/maker", issuer.token(NEW)) == 200
        issuer.head = "500 No"
        assert await orders.status("/maker", old) == 200
        assert await orders.status("/maker", issuer.token(sub="bob")) == 200
        assert await orders.status("/maker", issuer.token(STRANGER)) == 503
        opened = await orders.external.authenticate(PresentedCredential("bearer", old.encode()))
        assert isinstance(opened, ExternalCredential)
        assert orders.external.fault_of(opened) is None
        issuer.head, issuer.keys = "200 OK", [NEW]
        await keys.refresh()
        # What was opened with it is closed: an open socket asks this once a second.
        assert orders.external.fault_of(opened) is not None
        assert await orders.status("/maker", old) == 401
        assert await orders.status("/maker", issuer.token(NEW)) == 200


async def test_an_issuer_that_never_answered(tmp_path: Path, issuer: Issuer) -> None:
    """Its tokens are 503, since nobody can tell; limen's own and anonymous requests are served as ever."""
    issuer.head = "503 No"
    async with service(tmp_path, trusted(issuer)) as orders:
        assert await orders.status("/maker", issuer.token()) == 503
        assert (await orders.client.get("/who")).status_code == 401
        assert (await orders.client.get("/.well-known/jwks.json")).status_code == 200


async def test_metadata_of_another_issuer_are_not_believed(tmp_path: Path, issuer: Issuer) -> None:
    """Whoever answers under another name could vouch for everybody; stated keys need no metadata."""
    odd: list[dict[str, Any]] = [
        {"issuer": "https://evil.example"}, {"jwks_uri": None}, {"jwks_uri": "http://10.0.0.1/keys"},
        {"jwks_uri": "file:///etc/passwd"},
    ]  # fmt: skip
    for metadata in odd:
        issuer.metadata = metadata
        async with service(tmp_path, trusted(issuer)) as orders:
            assert await orders.status("/maker", issuer.token()) == 503
        async with service(tmp_path, trusted(issuer, jwks_uri=f"{issuer.url}/keys")) as orders:
            assert await orders.status("/maker", issuer.token()) == 200


async def test_open_sockets_and_memory_ask_again(tmp_path: Path, issuer: Issuer) -> None:
    """What was verified once ends with its time and its key; changed roles are seen by the next request."""
    clock = Turned()
    async with service(tmp_path, trusted(issuer), clock=clock) as orders:
        token = issuer.token()
        assert await orders.status("/maker", token) == 200
        (known,) = (entry[0] for entry in orders.gate._seen._entries.values())
        assert isinstance(known, ExternalCredential)
        assert orders.external.fault_of(known) is None
        assert await orders.status("/maker", token) == 200
        clock.ahead = 331
        assert await orders.status("/maker", token) == 401
        assert orders.external.fault_of(known) is not None
        clock.ahead = 0
        assert await orders.status("/maker", token) == 200
        orders.gate._use(RoleCatalogue({"maker": []}))
        told = (await orders.get("/who", token)).json()
        assert (told["roles"], told["permissions"]) == (["maker"], [])


async def test_a_token_that_is_bound_to_a_certificate(tmp_path: Path, issuer: Issuer) -> None:
    """It counts beside that certificate alone, the first time and from memory."""
    mine, other = "A" * 43, "B" * 43
    async with service(tmp_path, trusted(issuer)) as orders:
        token = issuer.token(cnf={"x5t#S256": mine}).encode()
        for _ in range(2):
            right = await orders.external.authenticate(PresentedCredential("bearer", token, mine))
            assert isinstance(right, ExternalCredential)
            for wrong in (other, None):
                refused = await orders.external.authenticate(PresentedCredential("bearer", token, wrong))
                assert isinstance(refused, Rejected)
        assert await orders.status("/who", token.decode()) == 401
