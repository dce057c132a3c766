"""Accounts: made, found, switched off and on, and their passwords."""

import asyncio

import pytest

from limen import Limen
from limen.core.errors import (
    Conflict,
    InvalidCredentials,
    InvalidInput,
    InvalidRefreshToken,
    NotFound,
    PasswordContainsName,
    PasswordTooCommon,
    PasswordTooShort,
    UsernameTaken,
)
from limen.core.events import NOWHERE
from tests.support.gates import PASSWORD

NEW = "another battery, another horse"


async def test_an_account_is_stored_as_given_and_normalised(gate: Limen) -> None:
    """The name is folded, the roles are held, the hash is not shown."""
    account = await gate.accounts.create("Ann", PASSWORD, email="Ann@Example.Test", roles=frozenset({"maker"}))
    assert (account.username, account.email, account.roles) == ("ann", "ann@example.test", frozenset({"maker"}))
    assert account.password_hash is not None
    assert account.password_hash not in repr(account)
    assert await gate.accounts.by_id(account.id) == account == await gate.accounts.by_username("ANN")


async def test_a_name_is_given_once(gate: Limen) -> None:
    """Of twenty registrations of one name in various spellings one wins; the others are told so."""
    spellings = ["ann", "ANN", "Ann", "\uff41nn"] * 5
    answers = await asyncio.gather(
        *[gate.accounts.create(name, PASSWORD) for name in spellings], return_exceptions=True
    )
    assert sum(isinstance(answer, UsernameTaken) for answer in answers) == 19


@pytest.mark.parametrize(
    ("password", "error"),
    [
        ("fourteen chars", PasswordTooShort),
        ("passwordpassword", PasswordTooCommon),
        ("my name is annabel, really", PasswordContainsName),
        ("a limen password for all", PasswordContainsName),
        ("x" * 1025, InvalidInput),
        ("\ud800" * 20, InvalidInput),
    ],
)
async def test_bad_passwords_are_refused_when_set(gate: Limen, password: str, error: type[InvalidInput]) -> None:
    """Short, common, guessable and impossible passwords are refused with their code, and no account is made."""
    with pytest.raises(error) as refused:
        await gate.accounts.create("annabel", password)
    assert password not in str(refused.value)
    with pytest.raises(NotFound):
        await gate.accounts.by_username("annabel")


async def test_unknown_roles_are_refused(gate: Limen) -> None:
    """A role that nobody declared is given to nobody."""
    with pytest.raises(InvalidInput, match="no role emperor"):
        await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker", "emperor"}))


async def test_status_goes_by_its_own_verbs(gate: Limen) -> None:
    """Disable and enable, block and unblock belong together; one does not undo the other, twice changes nothing."""
    account = await gate.accounts.create("ann", PASSWORD)
    assert (await gate.accounts.disable(account, actor="test")).changed
    assert not (await gate.accounts.disable(account, actor="test")).changed
    for verb in (gate.accounts.block, gate.accounts.unblock):
        if verb == gate.accounts.unblock:
            with pytest.raises(Conflict):
                await verb(account, actor="test")
        else:
            with pytest.raises(Conflict, match="is disabled"):
                await verb(account, actor="test")
    assert (await gate.accounts.enable(account, actor="test")).changed
    assert (await gate.accounts.block(account, actor="test")).changed
    with pytest.raises(Conflict, match="is blocked"):
        await gate.accounts.enable(account, actor="test")
    assert (await gate.accounts.unblock(account, actor="test")).changed
    names = [event.event for event in await gate.storage.events(limit=50)][2:]
    assert names == ["account_disabled", "account_enabled", "account_blocked", "account_unblocked"]


@pytest.mark.parametrize("verb", ["disable", "block"])
async def test_switching_off_ends_every_session_for_good(gate: Limen, verb: str) -> None:
    """Sessions of before do not come back when the account does."""
    account = await gate.accounts.create("ann", PASSWORD)
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await getattr(gate.accounts, verb)(account, actor="test")
    assert issued.sid in gate.ended
    await {"disable": gate.accounts.enable, "block": gate.accounts.unblock}[verb](account, actor="test")
    with pytest.raises(InvalidRefreshToken):
        await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    await gate.login.login("ann", PASSWORD, origin=NOWHERE)


async def test_a_password_change_keeps_the_session_that_asked(gate: Limen) -> None:
    """The other sessions end; the one that asked goes on; only the new password logs in."""
    account = await gate.accounts.create("ann", PASSWORD)
    asking = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    other = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.accounts.change_password(account.id, PASSWORD, NEW, sid=asking.sid)
    assert (await gate.sessions.refresh(asking.refresh_token, origin=NOWHERE)).sid == asking.sid
    with pytest.raises(InvalidRefreshToken):
        await gate.sessions.refresh(other.refresh_token, origin=NOWHERE)
    assert other.sid in gate.ended
    with pytest.raises(InvalidCredentials):
        await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.login.login("ann", NEW, origin=NOWHERE)


async def test_a_password_change_needs_the_present_one(gate: Limen) -> None:
    """A wrong present password changes nothing and is recorded."""
    account = await gate.accounts.create("ann", PASSWORD)
    with pytest.raises(InvalidCredentials):
        await gate.accounts.change_password(account.id, "not the password", NEW, sid=None)
    await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    names = [event.event for event in await gate.storage.events(limit=50)]
    assert "password_change_failed" in names
    assert "password_changed" not in names


async def test_two_password_changes_at_once_are_one(gate: Limen) -> None:
    """Both know the present password; one wins, the other is told, and the winner's password holds."""
    account = await gate.accounts.create("ann", PASSWORD)
    candidates = [NEW, NEW + " two"]
    answers = await asyncio.gather(
        *[gate.accounts.change_password(account.id, PASSWORD, new, sid=None) for new in candidates],
        return_exceptions=True,
    )
    (lost,) = [number for number, answer in enumerate(answers) if isinstance(answer, InvalidCredentials)]
    assert not isinstance(answers[1 - lost], BaseException)
    assert (await gate.login.login("ann", candidates[1 - lost], origin=NOWHERE)).account_id == account.id


async def test_pages_follow_one_another(gate: Limen) -> None:
    """Accounts come by name, a page at a time, and a search is not a pattern."""
    for name in ("carl", "ann", "bob", "b%b"):
        await gate.accounts.create(name, None, email=f"{name.replace('%', '')}@example.test")
    first = await gate.accounts.page(limit=2)
    assert ([item.username for item in first.items], first.next) == (["ann", "b%b"], "b%b")
    second = await gate.accounts.page(limit=2, after=first.next)
    assert ([item.username for item in second.items], second.next) == (["bob", "carl"], None)
    assert [item.username for item in (await gate.accounts.page(query="%")).items] == ["b%b"]
    assert len((await gate.accounts.page(query="EXAMPLE.test")).items) == 4
    for limit in (0, 201):
        with pytest.raises(InvalidInput):
            await gate.accounts.page(limit=limit)


async def test_an_account_without_a_password_cannot_log_in(gate: Limen) -> None:
    """No password is not an empty password."""
    await gate.accounts.create("ann", None)
    for password in ("", "None", PASSWORD):
        with pytest.raises(InvalidCredentials):
            await gate.login.login("ann", password, origin=NOWHERE)
