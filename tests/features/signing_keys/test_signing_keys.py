"""Keys in the database: made at the first start, replaced in good order, taken out at once, and sealed."""

import asyncio
import json
import secrets
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest

from limen import Limen
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.core.errors import ConfigurationError, Conflict, NotFound, Unavailable
from limen.core.events import NOWHERE
from limen.crypto.encoding import b64url_encode
from limen.crypto.keys import KeySet, SigningKey, key_id
from limen.features.signing_keys.service import LEAD_MS, SigningKeyService
from limen.features.signing_keys.store import KeyState, StoredKey
from limen.features.signing_keys.vault import UnusableKey, Vault
from tests.features.conftest import Turned
from tests.support.gates import PASSWORD, gate_for
from tests.support.waiting import felt

DATA = secrets.token_urlsafe(48)
ACCESS, REFRESH = secrets.token_urlsafe(48), secrets.token_urlsafe(48)


def a_gate(folder: Path, clock: Turned, **overrides: Any) -> Limen:
    """Make a gate that keeps its keys in the database of the folder."""
    values = {
        "signing_alg": "ES256",
        "data_secrets": [DATA],
        "jwt_access_secret": ACCESS,
        "jwt_refresh_secret": REFRESH,
        **overrides,
    }
    return gate_for(folder, clock=clock, **values)


@pytest.fixture
async def gate(tmp_path: Path, clock: Turned) -> AsyncIterator[Limen]:
    """A started gate with one account, ann."""
    async with a_gate(tmp_path, clock).running() as started:
        await started.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
        yield started


@pytest.fixture
async def peer(gate: Limen, tmp_path: Path, clock: Turned) -> AsyncIterator[Limen]:
    """Another process on the same database."""
    async with a_gate(tmp_path, clock).running() as started:
        yield started


def keys_of(gate: Limen) -> SigningKeyService:
    """Return the use cases of a gate that has them."""
    assert isinstance(gate.signing_keys, SigningKeyService)
    return gate.signing_keys


async def token(gate: Limen) -> str:
    """Log ann in."""
    return (await gate.login.login("ann", PASSWORD, origin=NOWHERE)).access_token


def kid_of(text: str) -> str:
    """Return the id of the key that a token names."""
    return str(pyjwt.get_unverified_header(text)["kid"])


async def is_let_in(gate: Limen, text: str) -> bool:
    """Tell whether a gate takes a token, as the guard would ask it."""
    credential = PresentedCredential("bearer", text.encode())
    outcome = gate.bearer.recall(credential) or await gate.bearer.authenticate(credential)
    return isinstance(outcome, Authenticated)


async def states(gate: Limen) -> Mapping[str, KeyState]:
    """Return what every key is for."""
    return {key.kid: key.state for key in await keys_of(gate).all()}


def rewrite(folder: Path, statement: str, *values: object) -> None:
    """Write past limen, as whoever has the database and no secret could."""
    with closing(sqlite3.connect(folder / "limen.db")) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def everything(folder: Path) -> bytes:
    """Return all that lies in the files of the database."""
    return b"".join(path.read_bytes() for path in folder.glob("limen.db*"))


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
async def test_the_first_start_makes_a_key_that_others_verify_with(tmp_path: Path, clock: Turned, alg: str) -> None:
    """Tokens carry its id and algorithm, another library verifies them, and the next start keeps the key."""
    async with a_gate(tmp_path, clock, signing_alg=alg).running() as gate:
        await gate.accounts.create("ann", PASSWORD)
        issued = await token(gate)
        (jwk,) = gate.bearer.keys.public_jwks()["keys"]
        assert (jwk["alg"], jwk["kid"], jwk["use"]) == (alg, kid_of(issued), "sig")
        assert not {"d", "p", "q", "k"} & jwk.keys()
        known = pyjwt.PyJWKSet.from_dict(gate.bearer.keys.public_jwks())[jwk["kid"]]
        claims = pyjwt.decode(issued, known, algorithms=[alg], audience="limen", issuer="limen")
        assert claims["client_id"] == "limen"
    async with a_gate(tmp_path, clock, signing_alg=alg).running() as again:
        assert await is_let_in(again, issued)
        assert list(await states(again)) == [jwk["kid"]]


async def test_processes_that_start_at_once_have_one_key(tmp_path: Path, clock: Turned) -> None:
    """Of four that find none, one makes it, and each takes the tokens of every other."""
    gates = [a_gate(tmp_path, clock) for _ in range(4)]
    await gates[0].storage.start()
    await asyncio.gather(*(gate.start() for gate in gates))
    try:
        assert list((await states(gates[0])).values()) == [KeyState.SIGNING]
        await gates[0].accounts.create("ann", PASSWORD)
        issued = [await token(gate) for gate in gates]
        assert all([await is_let_in(gate, text) for gate in gates for text in issued])
    finally:
        for gate in gates:
            await gate.stop()
        await gates[0].storage.stop()


async def test_a_rotation_publishes_before_it_signs(gate: Limen, peer: Limen, clock: Turned) -> None:
    """A new key signs when everybody can know it, the old one verifies while a token of it lives: none is refused."""
    old = await token(gate)
    scheduled = await keys_of(gate).rotate(actor="cli")
    assert scheduled.signs_at == scheduled.published_at + LEAD_MS
    await keys_of(peer).catch_up()
    assert {key.kid for key in peer.bearer.keys} == {kid_of(old), scheduled.kid}
    clock.ahead += LEAD_MS / 1000 - 5
    await keys_of(gate).catch_up()
    late = await token(gate)
    clock.ahead += 6
    await keys_of(peer).catch_up()
    fresh = await token(peer)
    assert (kid_of(fresh), kid_of(late)) == (scheduled.kid, kid_of(old))
    for each in (gate, peer):
        assert await is_let_in(each, fresh)
        assert await is_let_in(each, late)
    await keys_of(gate).catch_up()
    assert kid_of(await token(gate)) == scheduled.kid
    clock.ahead += 890
    for each in (gate, peer):
        await keys_of(each).catch_up()
        assert await is_let_in(each, late)
    clock.ahead += 80
    for each in (gate, peer):
        await keys_of(each).catch_up()
        assert [key.kid for key in each.bearer.keys] == [scheduled.kid]
    assert (await states(gate))[kid_of(old)] is KeyState.RETIRED


async def test_a_published_key_waits_for_the_rotation(gate: Limen, clock: Turned) -> None:
    """A key that was made ahead does not sign by itself; a rotation takes it, and it has been public long enough."""
    published = await keys_of(gate).generate(actor="cli")
    assert (published.state, published.signs_at) == (KeyState.PUBLISHED, None)
    with pytest.raises(Conflict):
        await keys_of(gate).generate(actor="cli")
    clock.ahead += 2 * LEAD_MS / 1000
    await keys_of(gate).catch_up()
    assert kid_of(await token(gate)) != published.kid
    assert (await keys_of(gate).rotate(actor="cli")).kid == published.kid
    await keys_of(gate).catch_up()
    assert kid_of(await token(gate)) == published.kid


async def test_a_retired_key_is_dead_in_every_process(gate: Limen, peer: Limen) -> None:
    """After the next look its tokens are refused, those seen before and those of open sockets; the sessions go on."""
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    kid = kid_of(issued.access_token)
    credential = PresentedCredential("bearer", issued.access_token.encode())
    seen = [each.bearer.recall(credential) for each in (gate, peer)]
    assert all(isinstance(each, Authenticated) for each in seen)
    retired = await keys_of(peer).retire(kid, actor="cli")
    assert retired.was is KeyState.SIGNING
    for each, before in zip((gate, peer), seen, strict=True):
        await keys_of(each).catch_up()
        assert not await is_let_in(each, issued.access_token)
        assert isinstance(before, Authenticated)
        assert each.bearer.fault_of(before) is not None
    again = await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    assert kid_of(again.access_token) == retired.successor
    assert await is_let_in(peer, again.access_token)
    with pytest.raises(NotFound):
        await keys_of(peer).retire(kid, actor="cli")


async def test_a_running_process_drops_a_retired_key_within_two_seconds(gate: Limen, peer: Limen) -> None:
    """Nobody calls anything: the look of every second is enough, for the memory of tokens too."""
    issued = await token(gate)
    assert await is_let_in(gate, issued)
    await keys_of(peer).retire(kid_of(issued), actor="cli")

    async def is_refused() -> bool:
        return not await is_let_in(gate, issued)

    await felt(is_refused, within=2.0)


async def test_a_key_that_is_not_known_yet_is_looked_for(gate: Limen, peer: Limen) -> None:
    """After an emergency the new key signs at once: a process that has not seen it looks before it refuses."""
    for task in peer._background:
        task.cancel()  # it would learn of the key by itself within a second
    await keys_of(gate).retire(kid_of(await token(gate)), actor="cli")
    await keys_of(gate).catch_up()
    fresh = await token(gate)
    credential = PresentedCredential("bearer", fresh.encode())
    assert peer.bearer.recall(credential) is None
    together = await asyncio.gather(*(peer.bearer.authenticate(credential) for _ in range(5)))
    assert all(isinstance(each, Authenticated) for each in together)


async def test_strangers_make_nobody_look_more_than_once_a_second(gate: Limen) -> None:
    """A hundred tokens of keys that nobody knows are a hundred refusals, and one look into the database."""
    text = (await token(gate)).split(".")
    header = json.dumps({"alg": "ES256", "kid": "nobody", "typ": "at+jwt"}, separators=(",", ":")).encode()
    forged = PresentedCredential("bearer", b".".join([b64url_encode(header), *(part.encode() for part in text[1:])]))
    before = gate.storage.calls
    outcomes = [await gate.bearer.authenticate(forged) for _ in range(100)]
    assert all(isinstance(each, Rejected) and each.error.status == 401 for each in outcomes)
    assert gate.storage.calls - before <= 4  # the looks of every second are among them


async def test_without_the_database_nobody_can_tell(gate: Limen) -> None:
    """A token of an unknown key is then answered 503 and not 401: its bearer must not throw it away."""
    (key,) = gate.bearer.keys
    issued = await token(gate)
    gate.bearer.use_keys(KeySet.empty())
    await gate.storage.stop()
    outcome = await gate.bearer.authenticate(PresentedCredential("bearer", issued.encode()))
    assert isinstance(outcome, Rejected)
    assert outcome.error.status == 503
    await gate.storage.start()
    assert key.kid == kid_of(issued)


async def test_the_private_key_lies_sealed(gate: Limen, tmp_path: Path) -> None:
    """No file of the database has it in the clear, and it goes as soon as the key signs no more."""
    (stored,) = await keys_of(gate).all()
    private = Vault([DATA]).private_half(stored)
    der = private.private_der_in_the_clear()
    assert not isinstance(private.material, bytes)
    number = private.material.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    lying = everything(tmp_path)
    assert stored.private is not None
    assert stored.private in lying
    assert der not in lying
    assert number not in lying
    await keys_of(gate).retire(stored.kid, actor="cli")
    assert next(key.private for key in await keys_of(gate).all() if key.kid == stored.kid) is None


async def test_another_data_secret_does_not_start(gate: Limen, tmp_path: Path, clock: Turned) -> None:
    """Where the key cannot be opened the start says under which secret it is, by its id, and nothing is replaced."""
    before = await states(gate)
    other = a_gate(tmp_path, clock, data_secrets=[secrets.token_urlsafe(48)])
    with pytest.raises(ConfigurationError, match=key_id(DATA.encode())):
        await other.start()
    await other.storage.stop()
    assert await states(gate) == before


async def test_a_start_seals_anew(gate: Limen, tmp_path: Path, clock: Turned) -> None:
    """After a start with a new data secret in front the old one may go."""
    fresh = secrets.token_urlsafe(48)
    issued = await token(gate)
    async with a_gate(tmp_path, clock, data_secrets=[fresh, DATA]).running():
        pass
    async with a_gate(tmp_path, clock, data_secrets=[fresh]).running() as alone:
        assert await is_let_in(alone, issued)
        assert kid_of(await token(alone)) == kid_of(issued)


async def test_a_key_that_limen_did_not_put_there_counts_for_nothing(gate: Limen, tmp_path: Path) -> None:
    """Whoever can write to the database, and has no data secret, brings in no key: no row, and no other public half."""
    (stored,) = await keys_of(gate).all()
    foreign = SigningKey.generate("ES256")
    jwk = json.dumps(foreign.verification_key.public_jwk())
    rewrite(
        tmp_path,
        "INSERT INTO limen_signing_keys (kid, alg, state, public_jwk, proof, published_at, keep_until)"
        " VALUES (?, 'ES256', 'retiring', ?, ?, 0, 9999999999999)",
        foreign.kid,
        jwk,
        stored.proof,
    )
    await keys_of(gate).catch_up()
    assert [key.kid for key in gate.bearer.keys] == [stored.kid]
    rewrite(tmp_path, "UPDATE limen_signing_keys SET public_jwk = ? WHERE kid = ?", jwk, stored.kid)
    rewrite(tmp_path, "DELETE FROM limen_signing_keys WHERE kid = ?", foreign.kid)
    await keys_of(gate).catch_up()
    (changed,) = await keys_of(gate).all()
    with pytest.raises(UnusableKey, match="not the one it is named after"):
        Vault([DATA]).public_half(changed)


def test_halves_of_two_keys_are_not_mixed() -> None:
    """A private half that was copied to the row of another key does not open there (R088)."""
    vault = Vault([DATA])
    one, other = (vault.new("ES256") for _ in range(2))
    swapped = StoredKey(one.kid, "ES256", KeyState.SIGNING, one.public_jwk, other.private, one.proof, 0, 0, None, None)
    with pytest.raises(UnusableKey):
        vault.private_half(swapped)
    with pytest.raises(UnusableKey):
        vault.private_half(
            StoredKey(one.kid, "ES256", KeyState.SIGNING, one.public_jwk, one.proof, one.proof, 0, 0, None, None)
        )


async def test_no_key_to_sign_with_is_not_ready(gate: Limen, tmp_path: Path) -> None:
    """Where the key that signs was spoilt, nothing is issued and readiness says so; what was issued goes on."""
    issued = await token(gate)
    assert await gate.ready() == {}
    rewrite(tmp_path, "UPDATE limen_signing_keys SET private_key = ?", b"spoilt")
    keys_of(gate)._watch._known = None
    await keys_of(gate).catch_up()
    with pytest.raises(Unavailable):
        await token(gate)
    with pytest.raises(Unavailable):
        await gate.ready()
    assert await is_let_in(gate, issued)


async def test_secrets_and_keys_are_never_accepted_together(gate: Limen, tmp_path: Path, clock: Turned) -> None:
    """A token of the secret is refused where keys sign, and a token of a key where a secret does (R064)."""
    issued = await token(gate)
    async with a_gate(tmp_path, clock, signing_alg="HS256").running() as embedded:
        by_secret = await token(embedded)
        assert embedded.signing_keys is None
        assert embedded.bearer.keys.public_jwks() == {"keys": []}
        assert not await is_let_in(embedded, issued)
        assert await is_let_in(embedded, by_secret)
    assert not await is_let_in(gate, by_secret)
