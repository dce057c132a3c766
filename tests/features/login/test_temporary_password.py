"""Passwords that an operator hands out: what they open, and what they do not."""

import asyncio

import pytest

from limen import Limen
from limen.core.errors import (
    InvalidCredentials,
    InvalidInput,
    InvalidRefreshToken,
    NotFound,
    PasswordChangeRequired,
    PasswordTooShort,
)
from limen.core.events import NOWHERE
from limen.features.accounts.service import AccountView
from limen.features.accounts.temporary import LIFETIME_SECONDS, new_temporary_password
from limen.features.roles.service import OPERATOR
from tests.features.conftest import Turned
from tests.support.gates import PASSWORD

NEW = "another battery, another horse"


@pytest.fixture
async def ann(gate: Limen) -> AccountView:
    """An account with a password of its own."""
    return await gate.accounts.create("ann", PASSWORD)


async def temporary(gate: Limen, account: AccountView) -> str:
    """Give the account a temporary password."""
    return await gate.administration.set_temporary_password(OPERATOR, account.id)


async def test_it_opens_nothing(gate: Limen, ann: AccountView) -> None:
    """Right, and no session: the answer says what to do, and the trail says why. The old password is gone."""
    password = await temporary(gate, ann)
    for _ in range(2):
        with pytest.raises(PasswordChangeRequired):
            await gate.login.login("ann", password, origin=NOWHERE)
    with pytest.raises(InvalidCredentials):
        await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    assert (await gate.sessions.of_account(ann.id)).items == []
    events = await gate.storage.events(limit=100)
    reasons = [event.data["reason"] for event in events if event.event == "login_failed"]
    assert reasons == ["password_change_required"] * 2 + ["wrong_password"]


async def test_it_leads_to_a_password_of_ones_own_once(gate: Limen, ann: AccountView) -> None:
    """With a new one beside it the login succeeds; from then on only the new one counts."""
    password = await temporary(gate, ann)
    issued = await gate.login.login("ann", password, new_password=NEW, origin=NOWHERE)
    assert (await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)).sid == issued.sid
    assert not (await gate.accounts.by_id(ann.id)).password_temporary
    with pytest.raises(InvalidCredentials):
        await gate.login.login("ann", password, new_password=NEW + "!", origin=NOWHERE)
    await gate.login.login("ann", NEW, origin=NOWHERE)


async def test_it_cannot_be_kept(gate: Limen, ann: AccountView) -> None:
    """The new one is another one, and has to be as good as any; what is refused changes nothing (ASVS 6.4.1)."""
    password = await temporary(gate, ann)
    for new, error in ((password, InvalidInput), ("short", PasswordTooShort)):
        with pytest.raises(error):
            await gate.login.login("ann", password, new_password=new, origin=NOWHERE)
    await gate.login.login("ann", password, new_password=NEW, origin=NOWHERE)


async def test_it_expires(gate: Limen, ann: AccountView, clock: Turned) -> None:
    """After a day it is like a wrong one, with a new one beside it or not."""
    password = await temporary(gate, ann)
    clock.ahead = LIFETIME_SECONDS - 60
    with pytest.raises(PasswordChangeRequired):
        await gate.login.login("ann", password, origin=NOWHERE)
    clock.ahead = LIFETIME_SECONDS + 1
    for new in (None, NEW):
        with pytest.raises(InvalidCredentials):
            await gate.login.login("ann", password, new_password=new, origin=NOWHERE)


@pytest.mark.parametrize("verb", ["disable", "block"])
async def test_an_account_that_is_not_active_is_not_told_apart(gate: Limen, ann: AccountView, verb: str) -> None:
    """The right temporary password of a switched-off account gets the one answer of the login."""
    password = await temporary(gate, ann)
    await getattr(gate.accounts, verb)(ann, actor="test")
    for new in (None, NEW):
        with pytest.raises(InvalidCredentials):
            await gate.login.login("ann", password, new_password=new, origin=NOWHERE)


async def test_a_new_password_is_for_temporary_ones(gate: Limen, ann: AccountView) -> None:
    """Beside a password of one's own it is refused, and changes nothing."""
    with pytest.raises(InvalidCredentials):
        await gate.login.login("ann", PASSWORD, new_password=NEW, origin=NOWHERE)
    await gate.login.login("ann", PASSWORD, origin=NOWHERE)


async def test_every_session_ends(gate: Limen, ann: AccountView) -> None:
    """Those that are there, and the login that was under way with the password of before."""
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    under_way = asyncio.create_task(gate.login.login("ann", PASSWORD, origin=NOWHERE))
    await asyncio.sleep(0.005)
    await temporary(gate, ann)
    assert issued.sid in gate.ended
    with pytest.raises(InvalidRefreshToken):
        await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    answer = (await asyncio.gather(under_way, return_exceptions=True))[0]
    if not isinstance(answer, BaseException):  # it was through before
        assert answer.sid in gate.ended
    assert (await gate.sessions.of_account(ann.id)).items == []


async def test_of_two_first_logins_one_wins(gate: Limen, ann: AccountView) -> None:
    """Both know the temporary password; one of the new ones holds, and only its session lives."""
    password = await temporary(gate, ann)
    answers = await asyncio.gather(
        *(gate.login.login("ann", password, new_password=f"{NEW} {n}", origin=NOWHERE) for n in range(2)),
        return_exceptions=True,
    )
    assert sorted(isinstance(answer, InvalidCredentials) for answer in answers) == [False, True]
    assert len((await gate.sessions.of_account(ann.id)).items) == 1


async def test_a_deleted_account_gets_none(gate: Limen, ann: AccountView) -> None:
    """There is nobody to give it to."""
    await gate.administration.delete(OPERATOR, ann.id)
    with pytest.raises(NotFound):
        await temporary(gate, ann)


def test_it_is_random_and_readable() -> None:
    """99 bits, of letters that are not mistaken for others; long enough for whatever is asked of a password."""
    made = {new_temporary_password(15) for _ in range(1000)}
    assert len(made) == 1000
    assert {len(password) for password in made} == {23}
    assert not {"0", "o", "1", "l", "i"} & set("".join(made))
    assert len(new_temporary_password(40)) >= 40
