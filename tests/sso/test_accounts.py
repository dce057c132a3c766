"""Whose account it is: by issuer and subject, and by nothing else (OpenID Connect Core, section 5.7)."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from limen import Limen
from limen.core.ids import uuid7
from limen.testing.clock import TurnableClock
from tests.sso.conftest import HOST, begin, code_of, declared, log_in, me
from tests.sso.provider import Provider, callback, running_provider
from tests.support.gates import PASSWORD

OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
EMAIL = "ann@example.org"
TRUSTED: dict[str, Any] = {"trusted_email": True}
KNOWN = {"current_password": PASSWORD}


def with_password(browser: TestClient, username: str = "ann", email: str | None = EMAIL) -> str:
    """Make a local account, and return its id."""
    made = browser.post("/auth/register", json={"username": username, "password": PASSWORD, "email": email})
    assert made.status_code == 201
    account_id: str = made.json()["id"]
    return account_id


def log_in_here(browser: TestClient, username: str = "ann") -> dict[str, str]:
    """Log in with the password, and return what the page sends with a change."""
    answer = browser.post("/auth/session", json={"username": username, "password": PASSWORD}, headers=OWN)
    return {**OWN, "X-CSRF-Token": answer.json()["csrf_token"]}


def link(browser: TestClient, provider: Provider, proof: dict[str, str], name: str = "corp") -> Any:
    """Link the provider's identity to the account that is logged in; the callback's answer."""
    begun = browser.post(f"/auth/sso/{name}/link", json={"next": "/account", **KNOWN}, headers=proof)
    assert begun.status_code == 200, begun.text
    return browser.get(callback(provider.authorize(begun.json()["location"]), name))


@pytest.mark.parametrize("verified", [True, False, "true", 1, None], ids=str)
@pytest.mark.parametrize("terms", [{}, TRUSTED, TRUSTED | {"create": False}], ids=["untrusted", "trusted", "closed"])
def test_an_address_takes_over_nobody(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider, terms: Any, verified: Any
) -> None:
    """A victim's address at the provider, verified or not, never opens the victim's account."""
    browser = serve(make_gate(declared(provider, **terms)))
    victim = with_password(browser)
    provider.claims = {"email": EMAIL} if verified is None else {"email": EMAIL, "email_verified": verified}
    answer = log_in(browser, provider)
    if terms.get("trusted_email") and verified is True:
        # Only then is it said that there is an account: to somebody whose address it is.
        assert code_of(answer) == (409, "sso_link_required")
    elif terms.get("create", True):
        assert answer.status_code == 302
        assert me(browser)["sub"] != victim
    else:
        assert code_of(answer) == (403, "sso_account_missing")


def test_an_account_that_was_made_ahead_is_not_handed_over(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Pre-hijacking: whoever registered the victim's address first shares nothing with the victim."""
    browser = serve(make_gate(declared(provider, **TRUSTED)))
    with_password(browser, "mallory")
    assert code_of(log_in(browser, provider)) == (409, "sso_link_required")
    assert browser.get("/auth/me").status_code == 401


def test_an_address_of_another_source_is_not_verified(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Address and ``email_verified`` are of one source: the one of the ID token is not vouched for by the other."""
    browser = serve(make_gate(declared(provider, **TRUSTED)))
    victim = with_password(browser)
    provider.id_token = lambda told: told | {"email": EMAIL, "email_verified": None}
    provider.userinfo = lambda told: told | {"email": "x@example.org", "email_verified": True}
    assert log_in(browser, provider).status_code == 302
    assert me(browser)["sub"] != victim


@pytest.mark.parametrize("other", ["ann-1", "ANN-1", "Ann-1 ", "Ann-10"])
def test_subjects_are_compared_byte_by_byte(browser: TestClient, provider: Provider, other: str) -> None:
    """Another case, a space, one character more is somebody else."""
    log_in(browser, provider)
    first = me(browser)["sub"]
    provider.subject = other
    browser.cookies.clear()
    assert log_in(browser, provider).status_code == 302
    assert me(browser)["sub"] != first


def test_one_subject_at_two_providers_is_two_people(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """The issuer is part of who it is."""
    with running_provider() as other:
        browser = serve(make_gate(declared(provider, "one"), declared(other, "two")))
        found = []
        for each, name in ((provider, "one"), (other, "two")):
            log_in(browser, each, name=name)
            found.append(me(browser)["sub"])
            browser.cookies.clear()
        assert found[0] != found[1]


def test_nobody_unknown_comes_in_by_default(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Without create there is no account, and none is made."""
    browser = serve(make_gate(declared(provider, create=False)))
    assert code_of(log_in(browser, provider)) == (403, "sso_account_missing")
    assert browser.get("/auth/me").status_code == 401


def test_names_of_new_accounts(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """A declared claim names it where that is free and can be a name; otherwise the identity does."""
    browser = serve(make_gate(declared(provider, username_claim="preferred_username")))
    with_password(browser, "ann", None)
    for subject, wanted, expected in (
        ("1", "Bob", "bob"),
        ("2", "ann", ""),
        ("3", "a b", ""),
        ("4", 7, ""),
        ("5", "BOB", ""),
    ):
        provider.subject, provider.claims = str(subject), {"preferred_username": wanted}
        assert log_in(browser, provider).status_code == 302
        name = me(browser)["username"]
        assert name == expected if expected else name.startswith("corp-")
        browser.cookies.clear()


def test_only_a_verified_address_of_a_trusted_provider_is_kept(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider, tmp_path: Any
) -> None:
    """Of any other one the account has none."""
    import sqlite3

    browser = serve(make_gate(declared(provider, **TRUSTED)))
    for subject, verified in (("1", True), ("2", False)):
        provider.subject = subject
        provider.claims = {"email": f"{subject}@Example.ORG", "email_verified": verified}
        log_in(browser, provider)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        found = connection.execute("SELECT email FROM limen_accounts").fetchall()
    assert sorted(found, key=str) == [("1@example.org",), (None,)]


@pytest.mark.parametrize("state", ["disable", "block"])
async def test_an_account_that_is_not_active_is_refused(
    gate: Limen, serve: Callable[..., TestClient], provider: Provider, state: str
) -> None:
    """What the provider says changes nothing about it."""
    browser = serve(gate)
    log_in(browser, provider)
    account = await gate.accounts.by_id(me(browser)["sub"])
    await getattr(gate.accounts, state)(account, actor="test")
    assert code_of(log_in(browser, provider)) == (401, "account_not_active")


# --- linking


def test_who_has_an_account_links_a_provider(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """After the local login; from then on both ways lead to one account."""
    browser = serve(make_gate(declared(provider, create=False)))
    account_id = with_password(browser)
    answer = link(browser, provider, log_in_here(browser))
    assert (answer.status_code, answer.headers["location"]) == (302, "/account")
    browser.cookies.clear()
    assert log_in(browser, provider).status_code == 302
    who = me(browser)
    assert (who["sub"], who["username"], who["amr"]) == (account_id, "ann", ["sso"])
    (listed,) = browser.get("/auth/sso/identities").json()["items"]
    assert (listed["provider"], listed["issuer"]) == ("corp", provider.issuer)
    assert "Ann-1" not in str(listed)


def test_linking_takes_a_session_and_its_proof(browser: TestClient, provider: Provider) -> None:
    """Nobody in particular cannot begin, nor a page of another origin."""
    with_password(browser)
    assert browser.post("/auth/sso/corp/link", json={}).status_code == 401
    log_in_here(browser)
    assert code_of(browser.post("/auth/sso/corp/link", json={}, headers=OWN)) == (403, "csrf_failed")


def test_an_api_key_links_nothing(browser: TestClient, provider: Provider) -> None:
    """A key that was stolen cannot make itself a way in that stays."""
    with_password(browser)
    proof = log_in_here(browser)
    key = browser.post("/auth/api-keys", json={"name": "k"}, headers=proof)
    if key.status_code != 201:
        assert key.status_code == 403
        return
    browser.cookies.clear()
    answer = browser.post("/auth/sso/corp/link", json={}, headers={"X-API-Key": key.json()["key"]})
    assert code_of(answer) == (401, "step_up_required")


def test_an_identity_of_another_account_is_not_taken(browser: TestClient, provider: Provider) -> None:
    """Once linked, it stays whose it is."""
    log_in(browser, provider)
    first = me(browser)["sub"]
    browser.cookies.clear()
    with_password(browser)
    assert code_of(link(browser, provider, log_in_here(browser))) == (409, "conflict")
    browser.cookies.clear()
    log_in(browser, provider)
    assert me(browser)["sub"] == first


def test_a_link_is_not_ended_by_somebody_else(browser: TestClient, provider: Provider) -> None:
    """Where another account has logged in to the browser meanwhile, nothing is linked."""
    with_password(browser)
    with_password(browser, "bob", None)
    location = browser.post("/auth/sso/corp/link", json=KNOWN, headers=log_in_here(browser)).json()["location"]
    log_in_here(browser, "bob")
    assert code_of(browser.get(callback(provider.authorize(location)))) == (400, "sso_state_invalid")


@pytest.mark.parametrize("out", ["logout", "logout-all"])
@pytest.mark.parametrize("again", [False, True], ids=["out", "in again"])
def test_a_link_ends_with_the_session_it_was_begun_in(
    browser: TestClient, provider: Provider, out: str, again: bool
) -> None:
    """Whoever logged out meanwhile, there or everywhere, has ended it too, also after another login."""
    with_password(browser)
    proof = log_in_here(browser)
    location = browser.post("/auth/sso/corp/link", json=KNOWN, headers=proof).json()["location"]
    assert browser.post(f"/auth/{out}", headers=proof).status_code == 204
    if again:
        log_in_here(browser)
    assert code_of(browser.get(callback(provider.authorize(location)))) == (400, "sso_state_invalid")
    log_in_here(browser)
    assert browser.get("/auth/sso/identities").json()["items"] == []


def test_identities_are_unlinked_but_for_the_last_way_in(browser: TestClient, provider: Provider) -> None:
    """An account with a password can be without; one that has nothing else cannot."""
    with_password(browser)
    proof = log_in_here(browser)
    link(browser, provider, proof)
    (listed,) = browser.get("/auth/sso/identities").json()["items"]
    assert browser.delete(f"/auth/sso/identities/{uuid7()}", headers=proof).status_code == 404
    assert browser.delete("/auth/sso/identities/x", headers=proof).status_code == 404
    assert browser.delete(f"/auth/sso/identities/{listed['id']}", headers=proof).status_code == 204
    assert browser.get("/auth/sso/identities").json()["items"] == []
    browser.cookies.clear()
    log_in(browser, provider)
    csrf = {**OWN, "X-CSRF-Token": browser.get("/auth/session", headers=OWN).json()["csrf_token"]}
    (listed,) = browser.get("/auth/sso/identities").json()["items"]
    assert code_of(browser.delete(f"/auth/sso/identities/{listed['id']}", headers=csrf)) == (409, "conflict")


def test_a_deleted_account_leaves_the_identity_free(
    gate: Limen, browser: TestClient, provider: Provider, clock: TurnableClock
) -> None:
    """What is erased is erased: whoever comes again is somebody new."""
    import asyncio

    from limen.features.roles.service import OPERATOR

    log_in(browser, provider)
    first = me(browser)["sub"]
    asyncio.run(gate.administration.delete(OPERATOR, first))
    browser.cookies.clear()
    log_in(browser, provider)
    assert me(browser)["sub"] != first


def test_the_page_that_asks_to_link_names_the_way(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """A person is told what to do; the address is not repeated."""
    browser = serve(make_gate(declared(provider, **TRUSTED)))
    with_password(browser)
    back = callback(provider.authorize(begin(browser)))
    answer = browser.get(back, headers={"Accept": "text/html"})
    assert answer.status_code == 409
    assert "log in to that account as you did before" in answer.text
    assert EMAIL not in answer.text
