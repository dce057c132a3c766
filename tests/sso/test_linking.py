"""Linking a provider takes more than a session: whoever has stolen one would keep a way in (ASVS 7.5.1)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from limen import Limen
from limen.features.throttling.service import CHANGES_IN_A_ROW
from limen.testing.clock import TurnableClock
from tests.recovery.conftest import Box
from tests.sso.conftest import HOST, LOOPBACK, code_of, declared, log_in
from tests.sso.provider import Provider, callback
from tests.sso.test_accounts import EMAIL, KNOWN, OWN, link, log_in_here, with_password
from tests.support.gates import PASSWORD, settings_for
from tests.support.waiting import PATIENCE, felt_here

AT = "/auth/sso/corp/link"


def identities(browser: TestClient) -> list[Any]:
    """What is linked to the account that is logged in."""
    found: list[Any] = browser.get("/auth/sso/identities").json()["items"]
    return found


def csrf(browser: TestClient) -> dict[str, str]:
    """What the page of the session sends with a change."""
    return {**OWN, "X-CSRF-Token": browser.get("/auth/session", headers=OWN).json()["csrf_token"]}


@pytest.mark.parametrize("body", [{}, {"current_password": None}, {"current_password": "a wrong battery of horses"}])
def test_a_session_alone_links_nothing(browser: TestClient, body: dict[str, Any]) -> None:
    """Without the account's password, and with another one, the provider is not even asked."""
    with_password(browser)
    code = "invalid_credentials" if body.get("current_password") else "step_up_required"
    assert code_of(browser.post(AT, json=body, headers=log_in_here(browser))) == (401, code)


def test_guesses_at_the_password_are_counted(browser: TestClient) -> None:
    """Ten wrong ones, and the right one is not looked at any more."""
    with_password(browser)
    proof = log_in_here(browser)
    for number in range(CHANGES_IN_A_ROW):
        body = {"current_password": f"a wrong battery, number {number}"}
        assert code_of(browser.post(AT, json=body, headers=proof)) == (401, "invalid_credentials")
    assert code_of(browser.post(AT, json=KNOWN, headers=proof)) == (429, "rate_limited")


def test_an_account_without_a_password_links_after_a_login(
    browser: TestClient, provider: Provider, clock: TurnableClock
) -> None:
    """Within ten minutes of it; a session that is older is told to log in again, and whoever guesses a password too."""
    log_in(browser, provider)
    assert browser.post(AT, json={}, headers=csrf(browser)).status_code == 200
    clock.turn(601)
    assert code_of(browser.post(AT, json={}, headers=csrf(browser))) == (401, "step_up_required")
    assert code_of(browser.post(AT, json=KNOWN, headers=csrf(browser))) == (401, "invalid_credentials")
    provider.claims = {"iat": int(clock()), "exp": int(clock()) + 300}
    assert log_in(browser, provider).status_code == 302
    assert browser.post(AT, json={}, headers=csrf(browser)).status_code == 200


def test_a_password_that_was_changed_meanwhile_links_nothing(browser: TestClient, provider: Provider) -> None:
    """A link that was begun with the old one ends with it, also in the session that changed it."""
    with_password(browser)
    proof = log_in_here(browser)
    location = browser.post(AT, json=KNOWN, headers=proof).json()["location"]
    body = {"current_password": PASSWORD, "new_password": "another battery, another horse"}
    assert browser.post("/auth/password", json=body, headers=proof).status_code == 204
    assert code_of(browser.get(callback(provider.authorize(location)))) == (400, "sso_state_invalid")


@pytest.fixture
def box() -> Box:
    """Where mails arrive."""
    return Box()


@pytest.fixture
def mailing(tmp_path: Path, provider: Provider, box: Box, serve: Callable[..., TestClient]) -> tuple[Limen, TestClient]:
    """A gate with a provider that sends mails, and a browser."""
    values = {"public_url": HOST, "outbound_allow": LOOPBACK, "mail_from": "App <no-reply@app.example>"}
    gate = Limen(settings_for(tmp_path, **values), roles={}, sso=[declared(provider)], mail=box)
    return gate, serve(gate)


def test_a_link_is_told_and_ends_with_a_lost_password(
    mailing: tuple[Limen, TestClient], provider: Provider, box: Box
) -> None:
    """The owner hears of it when it is linked and unlinked; a reset by a mailed link unlinks it, whoever linked it."""
    gate, browser = mailing
    with_password(browser)
    mails = _Mails(gate, browser, box)
    browser.post("/auth/email/verify", json={"token": mails.next("Confirm this address for app.example")})
    proof = log_in_here(browser)
    link(browser, provider, proof)
    text = mails.next("corp can log in to your account at app.example")
    (listed,) = identities(browser)
    assert browser.delete(f"/auth/sso/identities/{listed['id']}", headers=proof).status_code == 204
    mails.next("A way to log in to app.example was removed")
    link(browser, provider, proof)
    mails.next("corp can log in to your account at app.example")
    assert provider.claims.get("sub", "nobody") not in text
    browser.post("/auth/password/forgot", json={"email": EMAIL})
    body = {"token": mails.next("Choose"), "new_password": PASSWORD[::-1]}
    assert browser.post("/auth/password/reset", json=body).status_code == 204
    browser.cookies.clear()
    log_in(browser, provider)
    assert browser.get("/auth/me").json()["username"] != "ann"


class _Mails:
    """Reads one mail after the other."""

    def __init__(self, gate: Limen, browser: TestClient, box: Box) -> None:
        self._gate, self._browser, self._box, self._read = gate, browser, box, 0

    def next(self, subject: str) -> str:
        """Return what the link of the next mail proves, or its text; fail where it is about something else."""
        assert self._gate.mail is not None
        assert self._browser.portal is not None
        self._browser.portal.call(self._gate.mail.work)
        felt_here(lambda: len(self._box.mails) > self._read, within=PATIENCE, what=subject)
        mail = self._box.mails[self._read]
        self._read += 1
        assert str(mail["Subject"]).startswith(subject), mail["Subject"]
        body = mail.get_body(("plain",))
        assert body is not None
        text = str(body.get_content())
        return text.partition("#")[2].split()[0] if "#" in text else text
