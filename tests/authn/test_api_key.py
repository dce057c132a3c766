"""The strategy for API keys, where a request does not reach: open sockets, time, and a store that does not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest

from limen import Limen
from limen.authn.api_key import ApiKeyStrategy, KeyCredential
from limen.authn.api_key_issuing import IssuedKey
from limen.authn.open_sockets import OPEN_SECONDS
from limen.core.errors import Unavailable
from limen.core.events import Origin
from limen.core.ids import uuid7
from limen.core.principal import ANONYMOUS
from limen.crypto.api_keys import ApiKey, new_secret, read_key
from limen.features.accounts.store import Account
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from tests.support.gates import gate_for
from tests.support.waiting import felt


class State:
    """Where the outcome of a request is noted."""

    def __init__(self) -> None:
        self.principal = ANONYMOUS
        self.rejection: Any = None
        self.credential: Any = None
        self.safe_only = False
        self.origin = Origin("request-1", "192.0.2.7", "")


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Limen]:
    """A started gate."""
    async with gate_for(tmp_path).running() as started:
        yield started


@pytest.fixture
async def service(gate: Limen) -> Account:
    """The account of a service that holds a role."""
    assert gate.api_keys is not None
    return await gate.api_keys.services.create(OPERATOR, "billing", roles=frozenset({"maker"}))


async def make(gate: Limen, service: Account, **wanted: Any) -> IssuedKey:
    """Make a key."""
    assert gate.api_keys is not None
    return await gate.api_keys.service.create_for(OPERATOR, service.id, Wanted("k", **wanted))


async def present(gate: Limen, key: str) -> State:
    """Attribute a request that presents a key."""
    state = State()
    scope = {"headers": [(b"x-api-key", key.encode())], "client": ("192.0.2.7", 1), "scheme": "http"}
    waiting = gate.authenticate(scope, state)
    if waiting is not None:
        await waiting
    return state


async def until_closed(strategy: ApiKeyStrategy, known: KeyCredential) -> None:
    """Ask as an open socket does, until it may not stay open; the promise is two seconds."""
    await felt(lambda: not strategy.still_valid(known), within=2.0, what="the change")


CHANGES: dict[str, Callable[[Limen, Account, str], Any]] = {
    "revoked": lambda gate, service, key: gate.api_keys.service.revoke_for(OPERATOR, service.id, key),  # type: ignore[union-attr]
    "disabled": lambda gate, service, key: gate.api_keys.services.disable(OPERATOR, service.id),  # type: ignore[union-attr]
    "role taken": lambda gate, service, key: gate.roles.revoke(OPERATOR, service.id, ["maker"]),
    "deleted": lambda gate, service, key: gate.administration.delete(OPERATOR, service.id),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_opened_with_a_key_ends_with_it(gate: Limen, service: Account, change: str) -> None:
    """Within two seconds: revoked, its owner switched off or deleted, a role taken; as long as nothing is, it stays."""
    assert gate.api_keys is not None
    issued = await make(gate, service)
    known = (await present(gate, issued.key)).credential
    assert isinstance(known, KeyCredential)
    for _ in range(3):
        assert gate.still_valid(_with(known))
        await asyncio.sleep(0.5)
    await CHANGES[change](gate, service, issued.id)
    await until_closed(gate.api_keys.strategy, known)


def _with(known: KeyCredential) -> State:
    state = State()
    state.credential = known
    return state


async def test_a_store_that_does_not_answer(gate: Limen, service: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is to be asked about is refused with 503; an open socket goes on for ten seconds, and no longer."""
    assert gate.api_keys is not None
    strategy = gate.api_keys.strategy
    issued = await make(gate, service)
    known = (await present(gate, issued.key)).credential
    await asyncio.sleep(0.2)
    await gate.storage.stop()
    strategy.forget()
    refused = await present(gate, issued.key)
    assert isinstance(refused.rejection, Unavailable)
    assert not refused.principal.is_authenticated
    now = strategy._monotonic()
    monkeypatch.setattr(strategy._open, "_monotonic", lambda: now + 2)
    assert strategy.still_valid(known)
    await asyncio.sleep(0.1)
    monkeypatch.setattr(strategy._open, "_monotonic", lambda: now + OPEN_SECONDS + 1)
    assert not strategy.still_valid(known)
    await gate.storage.start()


async def test_an_expired_key_by_either_clock(tmp_path: Path) -> None:
    """A key that was remembered a moment ago is over when its time is."""
    from limen.testing import TurnableClock

    clock = TurnableClock()
    async with gate_for(tmp_path, clock=clock).running() as gate:
        assert gate.api_keys is not None
        service = await gate.api_keys.services.create(OPERATOR, "billing")
        issued = await make(gate, service, expires_in=60)
        assert (await present(gate, issued.key)).principal.sub == service.id
        clock.turn(61)
        over = await present(gate, issued.key)
        assert over.rejection.code == "token_expired"


@pytest.mark.serial
async def test_known_and_unknown_ids_take_the_same_time(gate: Limen, service: Account) -> None:
    """The medians of a wrong secret for a known id and of an unknown id are the same, but for the noise."""
    issued = await make(gate, service)
    real = read_key(issued.key.encode(), "live")
    assert real is not None
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    for _ in range(150):
        for kind, identifier in (("known", real.id), ("unknown", uuid7())):
            wrong = ApiKey("live", identifier, new_secret()).text()
            began = perf_counter()
            state = await present(gate, wrong)
            times[kind].append(perf_counter() - began)
            assert state.rejection.code == "token_invalid"
    known, unknown = median(times["known"]), median(times["unknown"])
    assert 0.6 < known / unknown < 1.67
