"""Attempts to log in: bounded by account and by network, before the hash, and nobody is kept out by others."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from limen import Limen
from limen.core.errors import Busy, InvalidInput, LimenError, RateLimited
from limen.core.events import Origin
from limen.crypto.hashing_pool import HashingPool
from limen.features.accounts.service import AccountView
from limen.features.accounts.store import Account
from limen.features.roles.service import OPERATOR
from limen.features.throttling.counting import Throttle
from limen.features.throttling.devices import Owner
from limen.features.throttling.service import CHANGES_IN_A_ROW, DEVICES_IN_A_ROW, STRANGERS_IN_A_ROW
from limen.storage.sql.accounts import SQLAccounts
from limen.testing.clock import TurnableClock
from tests.support.gates import PASSWORD

WRONG = "wrong horse battery staple"
OTHER_PASSWORD = "another horse battery staple"
QUARTER = 15 * 60


def from_(address: str) -> Origin:
    """Return where a request came from."""
    return Origin("request-1", address, "a browser")


async def outcome(gate: Limen, name: str, password: str, address: str = "192.0.2.1", device: str = "") -> str:
    """Try to log in; return how it went."""
    try:
        await gate.login.login(name, password, origin=from_(address), device=device)
    except LimenError as error:
        return error.code
    return "in"


def device_of(gate: Limen, account: AccountView) -> str:
    """Return the cookie of a device on which this account was used, as it is now."""
    owner = Owner(account.username, account.id, account.session_epoch)
    return gate.throttling.logins.devices.remembered("", owner)


async def test_parallel_guesses_do_not_get_past_the_limit(gate: Limen, hashed: list[str]) -> None:
    """Two hundred at once, at a limit of ten: ten reach the hasher."""
    await gate.accounts.create("ann", PASSWORD)
    answers = await asyncio.gather(*(outcome(gate, "ann", WRONG, f"198.51.{at}.1") for at in range(200)))
    assert len(hashed) == answers.count("invalid_credentials") == 10
    assert answers.count("rate_limited") == 190


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_in_a_row_there_are_fewer_than_a_hundred(
    gate: Limen, clock: TurnableClock, hashed: list[str], name: str
) -> None:
    """From a thousand addresses, over days, for an account that exists and for one that does not: the same sixty."""
    await gate.accounts.create("ann", PASSWORD)
    answers = []
    for at in range(1_000):
        answers.append(await outcome(gate, name, WRONG, f"198.{at // 250}.{at % 250}.1"))
        if answers[-1] == "rate_limited":
            clock.turn(QUARTER)
    assert len(hashed) == answers.count("invalid_credentials") == STRANGERS_IN_A_ROW
    assert STRANGERS_IN_A_ROW + DEVICES_IN_A_ROW + CHANGES_IN_A_ROW < 100


async def test_the_right_password_is_answered_the_same_while_there_are_too_many(
    gate: Limen, clock: TurnableClock, hashed: list[str]
) -> None:
    """Not looked at, so that nobody learns by the answer that a guess was right; afterwards it logs in."""
    await gate.accounts.create("ann", PASSWORD)
    for _ in range(10):
        assert await outcome(gate, "ann", WRONG) == "invalid_credentials"
    with pytest.raises(RateLimited) as refused:
        await gate.login.login("ann", PASSWORD, origin=from_("203.0.113.9"))
    assert refused.value.retry_after == QUARTER
    assert len(hashed) == 10
    clock.turn(QUARTER)
    assert await outcome(gate, "ann", PASSWORD) == "in"


async def test_any_spelling_of_a_name_is_one_account(gate: Limen, hashed: list[str]) -> None:
    """Case, width and composition make no further chances."""
    spellings = ["ann", "ANN", "Ann", "\uff21nn", "a\uff2en"]
    for at in range(10):
        assert await outcome(gate, spellings[at % 5], WRONG) == "invalid_credentials"
    for spelling in spellings:
        assert await outcome(gate, spelling, WRONG) == "rate_limited"
    assert len(hashed) == 10


async def test_a_known_device_is_not_locked_out_by_strangers(gate: Limen, hashed: list[str]) -> None:
    """Neither by those who guess at the account, nor by a colleague behind the same address."""
    device = device_of(gate, await gate.accounts.create("ann", PASSWORD))
    for at in range(310):
        await outcome(gate, f"name-{at}", WRONG)
    for at in range(10):
        assert await outcome(gate, "ann", WRONG, f"198.51.{at}.1") == "invalid_credentials"
    assert await outcome(gate, "ann", PASSWORD, "203.0.113.9") == "rate_limited"
    assert await outcome(gate, "ann", PASSWORD) == "rate_limited"
    assert await outcome(gate, "ann", PASSWORD, device=device) == "in"


async def test_a_stolen_device_cookie_has_a_limit_too(gate: Limen, clock: TurnableClock, hashed: list[str]) -> None:
    """Ten in a quarter of an hour, and with all other ways together fewer than a hundred in a row."""
    device = device_of(gate, await gate.accounts.create("ann", PASSWORD))
    answers = [await outcome(gate, "ann", WRONG, device=device) for _ in range(20)]
    assert answers == ["invalid_credentials"] * 10 + ["rate_limited"] * 10
    for at in range(300):
        clock.turn(120)
        await outcome(gate, "ann", WRONG, f"198.51.{at % 250}.1", device=device)
        await outcome(gate, "ann", WRONG, f"198.52.{at % 250}.1")
    assert len(hashed) == STRANGERS_IN_A_ROW + DEVICES_IN_A_ROW


async def test_a_device_of_one_account_is_none_of_another(gate: Limen, hashed: list[str]) -> None:
    """A cookie gives no chance at an account that it was not made for: its attempts are those of strangers."""
    device = device_of(gate, await gate.accounts.create("eve", PASSWORD))
    for at in range(10):
        presented = device if at % 2 else ""
        assert await outcome(gate, "ann", WRONG, device=presented) == "invalid_credentials"
    assert await outcome(gate, "ann", WRONG, device=device) == "rate_limited"
    assert len(hashed) == 10
    assert await outcome(gate, "eve", WRONG, device=device) == "invalid_credentials"


ENDINGS: dict[str, Callable[[Limen, AccountView], Awaitable[object]]] = {
    "lost": lambda gate, account: gate.administration.set_temporary_password(OPERATOR, account.id),
    "changed": lambda gate, account: gate.accounts.change_password(account.id, PASSWORD, OTHER_PASSWORD, sid=None),
    "ended": lambda gate, account: gate.administration.end_sessions(OPERATOR, account.id),
    "disabled": lambda gate, account: gate.accounts.disable(account, actor="cli"),
    "restored": lambda gate, _: gate.maintenance.restored(actor="cli"),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_device_is_a_stranger_after_all_sessions_ended(gate: Limen, hashed: list[str], ending: str) -> None:
    """Whoever logged in by a password that was lost since uses up nobody's limit for known devices with it."""
    account = await gate.accounts.create("ann", PASSWORD)
    device = device_of(gate, account)
    await ENDINGS[ending](gate, account)
    before = len(hashed)
    for _ in range(10):
        assert await outcome(gate, "ann", WRONG, device=device) == "invalid_credentials"
    assert await outcome(gate, "ann", WRONG, device=device) == "rate_limited"
    assert await outcome(gate, "ann", WRONG, "203.0.113.9") == "rate_limited"
    assert len(hashed) - before == 10
    newer = device_of(gate, await gate.accounts.by_id(account.id))
    assert await outcome(gate, "ann", WRONG, device=newer) == "invalid_credentials"


@pytest.mark.parametrize("presented", ["none", "made up", "known", "stranger's by now", "of a name that is nobody's"])
async def test_a_login_looks_the_account_up_once(
    gate: Limen, hashed: list[str], monkeypatch: pytest.MonkeyPatch, presented: str
) -> None:
    """With a device and without, known or not; and for a name that was refused, only where the cookie is genuine."""
    account = await gate.accounts.create("ann", PASSWORD)
    known = device_of(gate, account)
    cookies = {
        "none": "",
        "made up": known[:-44] + "A" * 44,
        "known": known,
        "stranger's by now": device_of(gate, replace(account, session_epoch=7)),
        "of a name that is nobody's": device_of(gate, replace(account, username="nobody")),
    }
    name = "nobody" if "nobody" in presented else "ann"
    asked: list[str] = []
    by_username = SQLAccounts.by_username

    async def counted(self: SQLAccounts, username: str) -> Account | None:
        asked.append(username)
        return await by_username(self, username)

    monkeypatch.setattr(SQLAccounts, "by_username", counted)
    for at in range(10):
        assert await outcome(gate, name, WRONG, device=cookies[presented]) == "invalid_credentials"
        assert asked == [name] * (at + 1)
    assert await outcome(gate, name, WRONG, device=cookies[presented]) == "rate_limited"
    assert len(asked) == (10 if presented in ("none", "made up") else 11)


async def test_a_temporary_password_begins_the_count_anew(gate: Limen, hashed: list[str]) -> None:
    """Whom a stranger has kept out gets in by what the operator gave them, however often they choose badly."""
    account = await gate.accounts.create("ann", PASSWORD)
    for _ in range(10):
        assert await outcome(gate, "ann", WRONG) == "invalid_credentials"
    assert await outcome(gate, "ann", PASSWORD) == "rate_limited"
    password = await gate.administration.set_temporary_password(OPERATOR, account.id)
    assert await outcome(gate, "ann", PASSWORD) == "invalid_credentials"
    for _ in range(12):
        assert await outcome(gate, "ann", password) == "password_change_required"
        with pytest.raises(InvalidInput):
            await gate.login.login("ann", password, new_password="short", origin=from_("192.0.2.1"))
    own = "another horse battery staple"
    await gate.login.login("ann", password, new_password=own, origin=from_("192.0.2.1"))
    assert await outcome(gate, "ann", own) == "in"


@pytest.mark.parametrize(
    ("addresses", "limited"),
    [
        (["192.0.2.{}"], True),
        (["2001:db8:1:2::{:x}", "2001:db8:1:2:ffff::{:x}"], True),
        ([""], True),
        (["192.0.{}.1"], False),
        (["2001:db8:1:{:x}::1"], False),
    ],
)
async def test_one_network_is_limited_over_many_accounts(
    gate: Limen, hashed: list[str], addresses: list[str], limited: bool
) -> None:
    """One password at many names: 300 from a /24, from a /64, or from where no address is known."""
    asked = range(310)
    answers = [
        await outcome(gate, f"name-{at}", WRONG, addresses[at % len(addresses)].format(at % 250)) for at in asked
    ]
    assert answers.count("rate_limited") == (10 if limited else 0)
    assert len(hashed) == (300 if limited else 310)


async def test_a_success_of_another_account_does_not_begin_the_network_anew(gate: Limen, hashed: list[str]) -> None:
    """Whoever logs in to their own account between guesses gets none more of them, and none less."""
    await gate.accounts.create("eve", PASSWORD)
    guesses = []
    for at in range(320):
        if at % 20 == 0 and at < 300:
            assert await outcome(gate, "eve", PASSWORD) == "in"
        guesses.append(await outcome(gate, f"name-{at}", WRONG))
    assert guesses == ["invalid_credentials"] * 300 + ["rate_limited"] * 20


async def test_a_success_begins_the_account_anew(gate: Limen, hashed: list[str]) -> None:
    """Who mistyped nine times and then did not has all chances again."""
    await gate.accounts.create("ann", PASSWORD)
    for _ in range(8):
        for _ in range(9):
            assert await outcome(gate, "ann", WRONG) == "invalid_credentials"
        assert await outcome(gate, "ann", PASSWORD) == "in"
    assert len(hashed) == 80


async def test_what_was_not_hashed_does_not_count(gate: Limen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue is nobody's guess."""
    await gate.accounts.create("ann", PASSWORD)

    async def full(*_: object) -> object:
        raise Busy()

    with monkeypatch.context() as patched:
        patched.setattr(HashingPool, "run", full)
        assert [await outcome(gate, "ann", PASSWORD) for _ in range(30)] == ["busy"] * 30
    assert await outcome(gate, "ann", PASSWORD) == "in"


def test_the_names_of_buckets_tell_nobody() -> None:
    """An HMAC under a key of the installation: a list of names or addresses tells nothing."""
    names = {
        Throttle(None, secret=secret).bucket(name, key)
        for secret in ("a-secret-1", "a-secret-2")
        for name in ("login-account", "login-network")
        for key in ("canary", "192.0.2.0/24")
    }
    assert len(names) == 8
    assert all(len(name) == 24 and "canary" not in name and "192" not in name for name in names)
