"""What an administrator may do with addresses and links, and what a session that was left open may not."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from limen.core.errors import InvalidCredentials, OwnRequest
from limen.core.events import Origin
from limen.core.mails import MailKind
from limen.features.accounts.store import Account
from limen.features.roles.service import Operator
from tests.recovery.conftest import ADDRESS, NEW_PASSWORD, World
from tests.support.gates import PASSWORD


def _account(world: World, username: str) -> Account:
    account: Account = world.call(world.gate.accounts.by_username, username)
    return account


def _grant(world: World, username: str, role: str) -> None:
    account_id = _account(world, username).id

    async def grant() -> None:
        await world.gate.roles.grant(Operator("cli"), account_id, [role])

    world.call(grant)


def _clerk(world: World) -> dict[str, str]:
    world.register("clerk", "clerk@example.org")
    _grant(world, "clerk", "clerk")
    return world.bearer("clerk")


@pytest.mark.parametrize("body", [{"email": "eve@example.org"}, {"email": None}, {"email": "clerk@example.org"}])
def test_nobody_writes_their_own_address_as_an_administrator(world: World, body: dict[str, Any]) -> None:
    """Without the password the address, and with it the account, would go with a session that was left open."""
    header = _clerk(world)
    me = _account(world, "clerk")
    answer = world.client.patch(f"/admin/api/accounts/{me.id}", json=body, headers=header)
    assert (answer.status_code, answer.json()["code"]) == (403, "own_request")
    assert _account(world, "clerk").email == "clerk@example.org"


def test_nobody_starts_their_own_reset_as_an_administrator(world: World) -> None:
    """They ask for it as everybody does, or know the password; the refusal is in the trail."""
    header = _clerk(world)
    me = _account(world, "clerk")
    answer = world.client.post(f"/admin/api/accounts/{me.id}/start-reset", headers=header)
    assert (answer.status_code, answer.json()["code"]) == (403, "own_request")
    told = [each for each in world.call(world.gate.storage.events) if each.event == "password_reset_requested"]
    assert [(each.outcome, each.data["reason"]) for each in told] == [("failure", OwnRequest.code)]
    assert world.mails(0) == []


def test_the_old_address_is_told_of_an_administrators_change(world: World) -> None:
    """Before the new one gets anything: whoever took the account over this way is seen."""
    world.register()
    header = _clerk(world)
    path = f"/admin/api/accounts/{_account(world, 'ada').id}"
    assert world.client.patch(path, json={"email": "clerk@evil.example"}, headers=header).status_code == 200
    [told] = world.mails()
    assert (told["To"], told["Subject"]) == (ADDRESS, "Your address at app.example was changed")
    assert "evil" not in told.as_string()


def test_an_administrators_link_ends_when_the_account_gains_powers(world: World) -> None:
    """The clerk could not start it now; so what they started before is nothing."""
    world.register("ann", None)
    header = _clerk(world)
    path = f"/admin/api/accounts/{_account(world, 'ann').id}"
    assert world.client.patch(path, json={"email": "clerk@evil.example"}, headers=header).status_code == 200
    assert world.client.post(f"{path}/start-reset", headers=header).status_code == 202
    token = world.token()
    _grant(world, "ann", "chief")
    assert world.reset(token).status_code == 400
    assert world.client.post(f"{path}/start-reset", headers=header).status_code == 403
    assert world.login("ann", NEW_PASSWORD).status_code == 401


def test_a_change_of_address_does_not_outlive_the_password_that_it_was_asked_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner resets while the stolen password is being checked: no link is made afterwards."""
    world.register()
    world.forgot()
    token = world.token()
    account = _account(world, "ada")
    recovery = world.gate.recovery
    assert recovery is not None
    confirm: Callable[..., Coroutine[Any, Any, Account]] = world.gate.accounts.confirm_password

    async def meanwhile(*arguments: Any, **more: Any) -> Account:
        confirmed = await confirm(*arguments, **more)
        await recovery.reset_password(token, NEW_PASSWORD)
        return confirmed

    monkeypatch.setattr(world.gate.accounts, "confirm_password", meanwhile)

    async def change() -> None:
        with pytest.raises(InvalidCredentials):
            await recovery.change_email(account.id, "eve@example.org", PASSWORD)

    world.call(change)
    [told] = world.mails()
    assert told["Subject"] == "Your password at app.example was reset"
    assert "email_verification_requested" not in world.events()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox"),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge"),
        ("Firefox/1 Undo it within 24 hours: https://app.evil.example/undo", "Firefox"),
        ("Undo it within 24 hours: https://app.evil.example/undo", ""),
        ("", ""),
    ],
)
def test_a_notice_says_nothing_in_words_of_whoever_acts(world: World, sent: str, shown: str) -> None:
    """Of the User-Agent a known name is told, and none of its text: the mail goes to the owner under our name."""
    assert world.gate.mail is not None
    notice = world.gate.mail.notice(MailKind.PASSWORD_RESET, Origin(address="192.0.2.1", user_agent=sent))
    assert notice.data["user_agent"] == shown
