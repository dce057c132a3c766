"""Addresses over HTTP: proved by a mail to them, changed by a proof, and told to nobody."""

from typing import Any

import pytest

from tests.recovery.conftest import ADDRESS, NEW_PASSWORD, World, link_in, token_of
from tests.support.gates import PASSWORD


def verified(world: World, username: str = "ada") -> str | None:
    """Return the account's address where it is verified."""
    account = world.call(world.gate.accounts.by_username, username)
    found: str | None = world.call(world.gate.storage.recovery.verified_email, account.id)
    return found


def verify(world: World, token: str) -> Any:
    """Show what a link proves."""
    return world.client.post("/auth/email/verify", json={"token": token})


def change(world: World, email: str, password: str = PASSWORD) -> Any:
    """Ask for another address."""
    body = {"email": email, "current_password": password}
    return world.client.post("/auth/email", json=body, headers=world.bearer())


def test_a_registration_sends_a_link_to_its_address(world: World) -> None:
    """The mail names nobody: a stranger may have typed the address, and a name with an advertisement."""
    body = {"username": "buy-at-evil.example", "password": PASSWORD, "email": ADDRESS}
    assert world.client.post("/auth/register", json=body).status_code == 201
    [mail] = world.mails()
    assert (mail["To"], mail["Subject"]) == (ADDRESS, "Confirm this address for app.example")
    assert "evil" not in mail.as_string()
    assert link_in(mail).startswith("https://app.example/base/auth/email/verify#")
    assert verified(world, "buy-at-evil.example") is None
    assert verify(world, token_of(mail)).status_code == 204
    assert verified(world, "buy-at-evil.example") == ADDRESS


def test_a_registration_without_an_address_sends_nothing(world: World) -> None:
    """There is nobody to send it to."""
    world.register(email=None)
    assert world.mails(0) == []


def test_the_form_confirms(world: World) -> None:
    """From the page that the link leads to; opening it does not."""
    world.register(verify=False)
    header = world.bearer()
    assert world.client.post("/auth/email/verification", headers=header).status_code == 202
    token = world.token()
    assert world.client.get("/auth/email/verify").status_code == 200
    assert verified(world) is None
    answer = world.client.post("/auth/email/verify", data={"token": token})
    assert (answer.status_code, "confirmed" in answer.text) == (200, True)
    assert verified(world) == ADDRESS
    assert world.client.post("/auth/email/verification", headers=header).status_code == 202
    assert world.mails(0) == []


@pytest.mark.parametrize("field", ["email_verified", "verified", "verified_at", "emailVerified"])
def test_no_field_verifies_an_address(world: World, field: str) -> None:
    """Neither at the registration nor with a change: what is not known is refused."""
    body = {"username": "ada", "password": PASSWORD, "email": ADDRESS, field: True}
    assert world.client.post("/auth/register", json=body).status_code == 422
    world.register(verify=False)
    more = {"email": "new@example.org", "current_password": PASSWORD, field: True}
    assert world.client.post("/auth/email", json=more, headers=world.bearer()).status_code == 422
    assert verified(world) is None


def test_an_address_changes_when_it_is_proved(world: World) -> None:
    """The old one counts until then, and is told; a link to the old one is nothing afterwards."""
    world.register()
    assert change(world, "new@example.org").status_code == 202
    token = world.token()
    assert verified(world) == ADDRESS
    world.forgot()
    pending = world.token()
    assert verify(world, token).status_code == 204
    assert verified(world) == "new@example.org"
    [told] = world.mails()
    assert (told["To"], told["Subject"]) == (ADDRESS, "Your address at app.example was changed")
    assert "new@example.org" not in told.as_string()
    assert world.reset(pending).status_code == 400
    assert verify(world, token).status_code == 400


def test_a_change_takes_the_present_password(world: World) -> None:
    """A session that was left open is not enough: who has the address has the account."""
    world.register()
    answer = change(world, "eve@example.org", "not the password of anybody")
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
    assert change(world, "no address").status_code == 422
    assert world.client.post("/auth/email", json={}).status_code == 401
    assert world.mails(0) == []


def test_an_address_that_is_anothers_is_told_by_mail_only(world: World) -> None:
    """The answer is the same; its owner learns that somebody tried, and gets no link."""
    world.register()
    for name in ("eve", "bob"):
        address = ADDRESS if name == "eve" else "bob@example.org"
        body = {"username": name, "password": PASSWORD, "email": address}
        answer = world.client.post("/auth/register", json=body)
        assert (answer.status_code, set(answer.json())) == (201, {"id", "username"})
    mails = {mail["To"]: mail["Subject"] for mail in world.mails(2)}
    assert mails == {
        ADDRESS: "You have an account at app.example already",
        "bob@example.org": "Confirm this address for app.example",
    }
    assert verified(world, "eve") is None


def test_a_changed_password_is_told(world: World) -> None:
    """With when and from where, and without a secret; to a verified address only."""
    world.register()
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert world.client.post("/auth/password", json=body, headers=world.bearer()).status_code == 204
    [told] = world.mails()
    assert (told["To"], told["Subject"]) == (ADDRESS, "Your password at app.example was changed")
    for secret in (PASSWORD, NEW_PASSWORD):
        assert secret not in told.as_string()
    world.register("bob", "bob@example.org", verify=False)
    assert world.client.post("/auth/password", json=body, headers=world.bearer("bob")).status_code == 204
    assert world.mails(0) == []
