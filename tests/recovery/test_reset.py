"""A forgotten password over HTTP: what a link does, what it ends, and what nobody learns."""

import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.core.mails import MailFailed
from limen.features.roles.service import Operator
from tests.recovery.conftest import ADDRESS, NEW_PASSWORD, PUBLIC_URL, Box, World, link_in
from tests.support.gates import PASSWORD, gate_for, settings_for
from tests.support.waiting import PATIENCE, felt_here


def code_of(response: Any) -> tuple[int, str]:
    """Return the status and the code of a problem."""
    return response.status_code, response.json()["code"]


def test_a_forgotten_password_is_replaced(world: World) -> None:
    """By the link in the mail; the old password is nothing then, and the new one logs in; the owner is told."""
    world.register()
    assert world.forgot().status_code == 202
    answer = world.reset(world.token())
    assert (answer.status_code, answer.content) == (204, b"")
    assert "set-cookie" not in answer.headers
    assert code_of(world.login()) == (401, "invalid_credentials")
    assert world.login(password=NEW_PASSWORD).status_code == 200
    [told] = world.mails()
    assert told["Subject"] == "Your password at app.example was reset"
    assert told["To"] == ADDRESS
    assert NEW_PASSWORD not in told.as_string()


def test_after_a_reset_no_device_is_known(world: World) -> None:
    """Whoever logged in by the old password comes as a stranger, and is known from that login on."""
    world.register()
    assert world.login().status_code == 200
    world.forgot()
    assert world.reset(world.token()).status_code == 204
    for _ in range(3):
        assert world.login(password=NEW_PASSWORD).status_code == 200

    def told() -> bool:
        assert world.gate.mail is not None
        world.call(world.gate.mail.work)
        return len(world.box.devices) >= 2

    felt_here(told, within=PATIENCE, what="the second notice")
    assert len(world.box.devices) == 2


def test_a_link_works_once(world: World) -> None:
    """The second time it is nothing, and the password stays."""
    world.register()
    world.forgot()
    token = world.token()
    assert world.reset(token).status_code == 204
    assert code_of(world.reset(token, "yet another battery, yet another")) == (400, "link_invalid")
    assert world.login(password=NEW_PASSWORD).status_code == 200


def test_of_fifty_at_once_one_succeeds(world: World) -> None:
    """Fifty clients with one link and fifty passwords: one password is the account's."""
    world.register()
    world.forgot()
    token = world.token()
    passwords = [f"battery number {n} of all horses" for n in range(50)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda password: world.reset(token, password).status_code, passwords))
    assert answers.count(204) == 1
    assert set(answers) <= {204, 400, 503}
    assert world.login(password=passwords[answers.index(204)]).status_code == 200


def test_of_two_links_the_newer_one_works(world: World) -> None:
    """Asking again ends the link of before."""
    world.register()
    world.forgot()
    older = world.token()
    world.forgot()
    newer = world.token()
    assert code_of(world.reset(older)) == (400, "link_invalid")
    assert world.reset(newer).status_code == 204


def test_a_link_is_good_for_one_purpose(world: World) -> None:
    """That of an address sets no password, and that of a password verifies no address."""
    world.register(verify=False)
    header = world.bearer()
    world.client.post("/auth/email/verification", headers=header)
    of_address = world.token()
    assert code_of(world.reset(of_address)) == (400, "link_invalid")
    assert world.client.post("/auth/email/verify", json={"token": of_address}).status_code == 204
    world.forgot()
    of_password = world.token()
    assert code_of(world.client.post("/auth/email/verify", json={"token": of_password})) == (400, "link_invalid")


def test_a_changed_password_ends_a_link(world: World) -> None:
    """Whoever remembered after all, and changed it, does not leave a link behind."""
    world.register()
    world.forgot()
    token = world.token()
    header = world.bearer()
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert world.client.post("/auth/password", json=body, headers=header).status_code == 204
    assert code_of(world.reset(token, "yet another battery, yet another")) == (400, "link_invalid")


def test_a_weak_password_leaves_the_link_good(world: World) -> None:
    """Each reason has its code, and the next try with the same link works."""
    world.register()
    world.forgot()
    token = world.token()
    assert code_of(world.reset(token, "short")) == (422, "password_too_short")
    assert code_of(world.reset(token, "passwordpassword")) == (422, "password_too_common")
    assert world.reset(token).status_code == 204


# --- what a reset ends


def _session(world: World) -> Callable[[], int]:
    header = world.bearer()
    return lambda: world.client.get("/auth/me", headers=header).status_code


def _refresh_token(world: World) -> Callable[[], int]:
    token = world.login().json()["refresh_token"]
    return lambda: world.client.post("/auth/refresh", json={"refresh_token": token}).status_code


def _cookie(world: World) -> Callable[[], int]:
    own_page = {"Origin": "https://app.example", "Sec-Fetch-Site": "same-origin"}
    body = {"username": "ada", "password": PASSWORD}
    answer = world.client.post("/auth/session", json=body, headers=own_page)
    assert answer.status_code == 200
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in world.client.cookies.items())}
    world.client.cookies.clear()
    return lambda: world.client.get("/auth/me", headers=cookie).status_code


def _api_key(world: World) -> Callable[[], int]:
    answer = world.client.post("/auth/api-keys", json={"name": "mine"}, headers=world.bearer())
    assert answer.status_code == 201
    header = {"X-API-Key": answer.json()["key"]}
    return lambda: world.client.get("/auth/me", headers=header).status_code


def _other_reset(world: World) -> Callable[[], int]:
    world.forgot()
    token = world.token()
    return lambda: 401 if world.reset(token, "yet another battery, yet another").status_code == 400 else 200


def _change_of_address(world: World) -> Callable[[], int]:
    body = {"email": "eve@example.org", "current_password": PASSWORD}
    assert world.client.post("/auth/email", json=body, headers=world.bearer()).status_code == 202
    token = world.token()
    return lambda: 401 if world.client.post("/auth/email/verify", json={"token": token}).status_code == 400 else 200


KINDS = {
    "session": _session,
    "refresh token": _refresh_token,
    "cookie": _cookie,
    "API key": _api_key,
    "link": _other_reset,
    "change of address": _change_of_address,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_old_password_could_reach_is_over(world: World, kind: str) -> None:
    """Whoever had the old password is out, whatever they had made with it."""
    world.register()
    account = world.call(world.gate.accounts.by_username, "ada")
    _grant(world, account.id, "maker")
    asks = KINDS[kind](world)
    if kind not in ("link", "change of address"):
        assert asks() == 200
    if kind == "API key":
        world.mails()  # the notice of the key
    world.forgot()
    assert world.reset(world.token()).status_code == 204
    assert asks() == 401


def _grant(world: World, account_id: str, role: str) -> None:
    async def grant() -> None:
        await world.gate.roles.grant(Operator("cli"), account_id, [role])

    world.call(grant)


# --- what nobody learns


def _nobody(_world: World) -> str:
    return "nobody@example.org"


def _unverified(world: World) -> str:
    world.register("bob", "bob@example.org", verify=False)
    return "bob@example.org"


def _switched_off(world: World) -> str:
    world.register("eve", "eve@example.org")

    async def disable() -> None:
        await world.gate.accounts.disable(await world.gate.accounts.by_username("eve"), actor="cli")

    world.call(disable)
    return "eve@example.org"


def _without_password(world: World) -> str:
    async def make() -> None:
        account = await world.gate.accounts.create("sue", None, email="sue@example.org")
        assert account.password_hash is None

    world.call(make)
    world.client.post("/auth/email/verify", json={"token": world.token()})
    return "sue@example.org"


UNKNOWN: dict[str, Callable[[World], str]] = {
    "nobody": _nobody,
    "unverified": _unverified,
    "switched off": _switched_off,
    "without a password": _without_password,
    "no address": lambda _world: "no address at all",
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_the_answer_tells_nothing(world: World, kind: str) -> None:
    """Status, headers and body are those that a known address gets; and no mail goes."""
    world.register()
    address = UNKNOWN[kind](world)
    answers = []
    for each in (ADDRESS, address):
        answer = world.forgot(each)
        headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
        answers.append((answer.status_code, headers, answer.content))
    assert answers[0] == answers[1]
    assert answers[0][0] == 202
    [mail] = world.mails()
    assert mail["To"] == ADDRESS


def test_the_work_is_the_same_for_every_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction of the same statements: whose address it is, is looked up when the mail is sent."""
    world.register()
    recovery, storage = world.gate.recovery, world.gate.storage
    assert recovery is not None
    asked: list[list[str]] = []

    async def forgot(address: str) -> None:
        statements: list[str] = []
        before = storage.mails._database.write  # type: ignore[attr-defined]

        async def write(operation: Any) -> Any:
            steps, found = operation(), None
            try:
                ask = next(steps)
                while True:
                    statements.append(ask.statement.sqlite)
                    ask = steps.send(1)
            except StopIteration as end:
                found = end.value
            return found

        monkeypatch.setattr(storage, "write", write)
        await recovery.forgot(address)
        monkeypatch.setattr(storage, "write", before)
        asked.append(statements)

    for address in (ADDRESS, "nobody@example.org", "bob@example.org"):
        world.call(forgot, address)
    assert len(asked[0]) == 2
    assert asked[0] == asked[1] == asked[2]


def test_the_trail_has_no_address(world: World, tmp_path: Path) -> None:
    """An address that somebody typed stands there as a keyed digest: the same one each time."""
    world.register()
    world.forgot("typed@example.org")
    world.forgot("Typed@example.org")
    records = [
        each for each in world.call(world.gate.storage.events) if each.event == EventName.PASSWORD_RESET_REQUESTED
    ]
    assert len({each.target for each in records}) == 1
    assert records[0].target.startswith("address:")
    assert "typed" not in str(records)


def test_neither_token_nor_address_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Not when it is asked for, sent, used, or used once more; nor is the token in the database, or in the trail."""
    with caplog.at_level(logging.DEBUG):
        world.register(email="canary.address@example.org")
        world.forgot("canary.address@example.org")
        token = world.token()
        world.reset(token)
        world.reset(token)
        world.mails()
    logged = "".join(str(record.__dict__) for record in caplog.records)
    trail = str(world.call(world.gate.storage.events))
    for secret in (token, "canary.address", NEW_PASSWORD):
        assert secret not in logged + trail
    path = world.gate.settings.database_path
    assert path is not None
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        dump = "\n".join(connection.iterdump())
    assert token not in dump


def test_a_token_that_waits_for_its_mail_cannot_be_read(world: World) -> None:
    """While the mail server is away the row holds it encrypted, and the mail that goes later carries it."""
    world.register()
    world.box.failing = MailFailed("down", is_unreachable=True)
    world.forgot()
    assert world.gate.mail is not None
    world.call(world.gate.mail.work)
    path = world.gate.settings.database_path
    assert path is not None
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        dump = "\n".join(connection.iterdump())
        connection.execute("UPDATE limen_mails SET next_at = 0 WHERE status = 'queued'")
        connection.commit()
    world.box.failing = None
    token = world.token()
    assert token not in dump
    assert world.reset(token).status_code == 204


# --- where links lead


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X-Original-URL": "https://evil.example/"},
        {
            "Host": "app.example",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Proto": "http",
            "Referer": "https://evil.example",
        },
    ],
    ids=["host", "x-forwarded-host", "forwarded", "x-original-url", "all"],
)
def test_links_lead_to_the_public_address(world: World, headers: dict[str, str]) -> None:
    """Whatever a request says of itself (GHSA-3529-5m8x-rpv3)."""
    world.register()
    assert world.forgot(headers=headers).status_code == 202
    [mail] = world.mails()
    assert link_in(mail).startswith(f"{PUBLIC_URL}/auth/password/reset#")
    assert "evil" not in mail.as_string()


def test_links_follow_the_prefix(tmp_path: Path) -> None:
    """An application that has limen's routes elsewhere has its links lead there."""
    gate = Limen(settings_for(tmp_path, public_url=PUBLIC_URL, mail_from="a@app.example"), roles={}, mail=Box())
    gate.protect(Starlette(), prefix="/account")
    assert gate.recovery is not None
    assert gate.recovery.prefix == "/account"


# --- the page


def test_opening_the_page_changes_nothing(world: World) -> None:
    """Scanners and previews open links: GET and HEAD leave it good, and the page holds nothing of the request."""
    world.register()
    world.forgot()
    token = world.token()
    for method in ("GET", "HEAD", "GET"):
        answer = world.client.request(method, f"/auth/password/reset?token={token}")
        assert answer.status_code == 200
        assert token not in answer.text
    assert world.reset(token).status_code == 204


@pytest.mark.parametrize("path", ["/auth/password/reset", "/auth/email/verify"])
def test_the_pages_tell_nobody(world: World, path: str) -> None:
    """No referrer, no cache, no frame, nothing from elsewhere, and no script but the one that the policy names."""
    answer = world.client.get(path)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in answer.text.replace("http-equiv", "")
    assert "src=" not in answer.text


def test_the_form_of_the_page(world: World) -> None:
    """A weak password shows the page again, with what was wrong; then it is done; then the link is nothing."""
    world.register()
    world.forgot()
    token = world.token()
    for password, status, shown in (
        ("short", 422, "at least"),
        (NEW_PASSWORD, 200, "Your password is set"),
        (NEW_PASSWORD, 400, "not valid"),
    ):
        answer = world.client.post("/auth/password/reset", data={"token": token, "new_password": password})
        assert answer.status_code == status
        assert shown in answer.text
        assert answer.headers["content-type"].startswith("text/html")
        assert password not in answer.text
    assert world.login(password=NEW_PASSWORD).status_code == 200


def test_what_a_form_holds_is_text(world: World) -> None:
    """It comes back escaped."""
    form = {"token": '"><script>alert(1)</script>', "new_password": NEW_PASSWORD}
    answer = world.client.post("/auth/password/reset", data=form)
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"token=a",
        b"token=a&token=b&new_password=c",
        b"token=a&new_password=b&more=c",
        b"\xff",
        b"token=%ff&new_password=a",
        b"&&&",
    ],
    ids=["empty", "lacking", "twice", "more", "bytes", "encoded bytes", "nothing"],
)
def test_another_form_is_refused(world: World, content: bytes) -> None:
    """Exactly the fields of the page, each once."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = world.client.post("/auth/password/reset", content=content, headers=headers)
    assert code_of(answer) == (400, "invalid_input")


@pytest.mark.parametrize("token", ["", "a", "a" * 43, "a" * 44, "ä" * 43, "=" * 43, "a" * 10_000])
def test_what_is_no_token_is_refused(world: World, token: str) -> None:
    """One answer for all of it."""
    assert code_of(world.reset(token)) == (400, "link_invalid")
    assert code_of(world.client.post("/auth/email/verify", json={"token": token})) == (400, "link_invalid")


# --- administrators


def test_an_administrator_starts_a_reset_and_sees_nothing(world: World) -> None:
    """The link goes to the account's address; answer and trail hold no part of it; no password is needed before."""
    world.register("chief", None)
    chief = world.call(world.gate.accounts.by_username, "chief")
    _grant(world, chief.id, "chief")

    async def invite() -> str:
        return (await world.gate.accounts.create("ann", None, email="ann@example.org")).id

    ann = world.call(invite)
    world.mails()
    answer = world.client.post(f"/admin/api/accounts/{ann}/start-reset", headers=world.bearer("chief"))
    assert (answer.status_code, answer.content) == (202, b"")
    [mail] = world.mails()
    assert mail["To"] == "ann@example.org"
    token = link_in(mail).partition("#")[2]
    assert token not in str(world.call(world.gate.storage.events))
    assert world.reset(token).status_code == 204
    assert world.login("ann", NEW_PASSWORD).status_code == 200
    # What came by this address has proved it.
    assert world.forgot("ann@example.org").status_code == 202
    assert world.mails(2)[-1]["To"] == "ann@example.org"


def test_who_may_not_starts_no_reset(world: World) -> None:
    """Not without the permission, not over whoever holds more, not for nobody or somebody without an address."""
    for name in ("clerk", "chief", "maker"):
        world.register(name, None)
        _grant(world, world.call(world.gate.accounts.by_username, name).id, name)
    chief = world.call(world.gate.accounts.by_username, "chief").id
    world.register("ann", None)
    ann = world.call(world.gate.accounts.by_username, "ann").id

    def start(who: str, whose: str) -> tuple[int, str]:
        return code_of(world.client.post(f"/admin/api/accounts/{whose}/start-reset", headers=world.bearer(who)))

    assert start("maker", chief) == (403, "permission_required")
    assert start("clerk", chief) == (403, "permission_required")
    assert start("chief", ann) == (409, "conflict")
    assert start("chief", uuid7()) == (404, "not_found")
    assert world.mails(0) == []


def test_no_administrator_writes_a_password(world: World) -> None:
    """There is no such field and no such route: what an administrator may do is to have a link sent (ASVS 6.4.6)."""
    world.register("chief", None)
    world.register("ada")
    chief = world.call(world.gate.accounts.by_username, "chief")
    ada = world.call(world.gate.accounts.by_username, "ada")
    _grant(world, chief.id, "chief")
    header = world.bearer("chief")
    for field in ("password", "new_password", "password_hash", "email_verified", "verified"):
        answer = world.client.patch(f"/admin/api/accounts/{ada.id}", json={field: "x"}, headers=header)
        assert code_of(answer) == (422, "invalid_input")
    for verb in ("password", "set-password", "reset"):
        answer = world.client.post(f"/admin/api/accounts/{ada.id}/{verb}", json={}, headers=header)
        assert answer.status_code == 404
    shown = world.client.get(f"/admin/api/accounts/{ada.id}", headers=header).text
    assert "$" not in shown


# --- without mail


def test_without_a_mail_server_there_are_no_routes(tmp_path: Path) -> None:
    """A form that promises a mail which never comes is worse than none."""
    app = Starlette()
    gate = gate_for(tmp_path)
    gate.protect(app)
    assert (gate.mail, gate.recovery) == (None, None)
    with TestClient(app) as client:
        for path in ("/auth/password/forgot", "/auth/password/reset", "/auth/email/verify"):
            assert client.post(path, json={}).status_code == 404
