"""What is recorded (ASVS 5.0, 16.3.1 to 16.3.4): each act leaves exactly its records, and the manual lists them all."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import ADMINISTRATION, Limen
from limen.core.events import Event, EventName, Outcome
from limen.storage.sql.events import record
from tests.recovery.conftest import Box, token_of
from tests.support.gates import PASSWORD, gate_for, settings_for
from tests.support.waiting import felt_here

ADDRESS = "192.0.2.9"
AGENT = "inventory/1"
WRONG = "the wrong one, which nobody has"
NEW = "another battery, another horse"
ROLES = {"chief": [*ADMINISTRATION, "order:create"], "maker": ["order:create", "api-keys:own"], "plain": []}
ROOT = Path(__file__).resolve().parents[3]

Values = dict[str, str]


@dataclass
class World:
    """The application, three people, and what they hold."""

    gate: Limen
    client: TestClient
    box: Box
    ids: Values = field(default_factory=dict)
    tokens: dict[str, Any] = field(default_factory=dict)
    request_id: str = ""

    def send(self, method: str, path: str, *, by: str = "", **arguments: Any) -> Any:
        """Send a request under the id of the scenario, as somebody; return what it answered, JSON where it is."""
        headers = {"User-Agent": AGENT, **({"X-Request-ID": self.request_id} if self.request_id else {})}
        if by:
            headers["Authorization"] = f"Bearer {self.tokens[by]['access_token']}"
        answer = self.client.request(method, path, headers=headers, **arguments)
        return answer.json() if answer.content and "json" in answer.headers["content-type"] else answer.status_code

    def login(self, name: str, password: str = PASSWORD) -> Any:
        """Log in."""
        return self.send("POST", "/auth/login", json={"username": name, "password": password})

    def call(self, work: Any) -> Any:
        """Run a coroutine function in the application's loop."""
        assert self.client.portal is not None
        return self.client.portal.call(work)

    def records(self, after: int = 0) -> Any:
        """Return the records that follow a number."""
        return self.call(lambda: self.gate.storage.events(limit=1000, after=after))

    def proof(self, recipient: str, page: str) -> str:
        """Wait for the mail with a link to a page, and return what the link proves.

        The process sends by itself, too: other mails come before it, after it, or between.
        """

        def fitting() -> list[str]:
            mails = [mail for mail in list(self.box.mails) if mail["To"] == recipient]
            return [token_of(mail) for mail in mails if page in mail.as_string()]

        def has_come() -> bool:
            assert self.gate.mail is not None
            self.call(self.gate.mail.work)
            return bool(fitting())

        felt_here(has_come, within=60.0, what="the mail")
        return fitting()[-1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An application with an administrator, a maker and somebody without rights; one for all scenarios."""
    folder, box = tmp_path_factory.mktemp("inventory"), Box()
    settings = settings_for(
        folder, public_url="https://app.example", mail_from="no-reply@app.example", login_limit="3/minute"
    )
    gate = Limen(settings, roles=ROLES, mail=box)
    app = Starlette()
    gate.protect(app, administration=True)
    arguments = {"base_url": "https://app.example", "client": (ADDRESS, 50_000)}
    with TestClient(app, **arguments) as client:  # type: ignore[arg-type]
        made = World(gate, client, box)
        people(made, "chief", "maker")
        yield made


def people(world: World, *names: str) -> None:
    """Make people who are called by what they may do, and let them in."""
    said, world.request_id = world.request_id, ""
    for name in names:
        account = f"{name}-{said}"

        async def make(account: str = account, name: str = name) -> None:
            await world.gate.accounts.create(
                account, PASSWORD, email=f"{account}@example.test", roles=frozenset({name})
            )

        world.call(make)
        world.tokens[name] = world.login(account)
        me = world.send("GET", "/auth/me", by=name)
        world.ids |= {name: me["sub"], f"{name}'s session": me["sid"]}
    world.request_id = said


def name_of(world: World, name: str) -> str:
    """Return what somebody of this scenario is called."""
    return f"{name}-{world.request_id}"


def wrong_passwords(world: World, count: int) -> None:
    """Try wrong passwords."""
    for _ in range(count):
        world.login(name_of(world, "plain"), WRONG)


def disabled(world: World) -> None:
    """Log in to an account that was switched off."""
    told, world.request_id = world.request_id, ""
    world.send("POST", f"/admin/api/accounts/{world.ids['plain']}/disable", by="chief")
    world.request_id = told
    world.login(name_of(world, "plain"))


def refresh(world: World, times: int = 1, who: str = "plain") -> None:
    """Refresh, always with the first token."""
    for _ in range(times):
        world.send("POST", "/auth/refresh", json={"refresh_token": world.tokens[who]["refresh_token"]})


def reuse(world: World) -> None:
    """Refresh twice, and then show the first token again."""
    told, world.request_id = world.request_id, ""
    first = world.tokens["plain"]["refresh_token"]
    token = first
    for _ in range(2):
        token = world.send("POST", "/auth/refresh", json={"refresh_token": token})["refresh_token"]
    world.request_id = told
    world.send("POST", "/auth/refresh", json={"refresh_token": first})


def forgot(world: World, token: str | None = None) -> None:
    """Ask for a reset; with a token, use that instead."""
    if token is None:
        world.send("POST", "/auth/password/forgot", json={"email": f"{name_of(world, 'plain')}@example.test"})


def reset(world: World) -> None:
    """Prove an address, ask for a reset, and use its link."""
    told, world.request_id = world.request_id, ""
    address = f"{told}@example.test"
    world.send("POST", "/auth/email", by="plain", json={"email": address, "current_password": PASSWORD})
    world.send("POST", "/auth/email/verify", json={"token": world.proof(address, "/auth/email/verify")})
    world.send("POST", "/auth/password/forgot", json={"email": address})
    proof = world.proof(address, "/auth/password/reset")
    world.request_id = told
    world.send("POST", "/auth/password/reset", json={"token": proof, "new_password": NEW})


def on_account(method: str, path: str = "", **arguments: Any) -> Callable[[World], None]:
    """Return an act of the administrator on the one without rights."""
    return lambda world: (
        world.send(method, f"/admin/api/accounts/{world.ids['plain']}{path}", by="chief", **arguments) and None
    )


def after(path: str, act: Callable[[World], None]) -> Callable[[World], None]:
    """Return an act that something of the administrator's has gone before."""

    def both(world: World) -> None:
        told, world.request_id = world.request_id, ""
        on_account("POST", path)(world)
        world.request_id = told
        act(world)

    return both


def as_(who: str, method: str, path: str, **arguments: Any) -> Callable[[World], None]:
    """Return a request of somebody."""
    return lambda world: world.send(method, path.format(**world.ids), by=who, **arguments) and None


def key_made(world: World) -> None:
    """Make an API key, and remember it."""
    made = world.send("POST", "/auth/api-keys", by="maker", json={"name": "script"})
    world.ids["key"] = made["id"]


def key_revoked(world: World) -> None:
    """Make one, and revoke it."""
    told, world.request_id = world.request_id, ""
    key_made(world)
    world.request_id = told
    world.send("DELETE", f"/auth/api-keys/{world.ids['key']}", by="maker")


HASH = "a hash"
"""Stands for a keyed hash in the place of a name that nobody has."""
ANY = "any id"
"""Stands for an id that the act made."""

SCENARIOS: dict[str, tuple[Callable[[World], object], list[tuple[str, str, str, str]]]] = {
    "a login": (lambda world: world.login(name_of(world, "plain")), [("login_succeeded", "success", "plain", ANY)]),
    "a wrong password": (lambda world: wrong_passwords(world, 1), [("login_failed", "failure", "", "plain")]),
    "a name that nobody has": (
        lambda world: world.login("nobody-at-all", WRONG),
        [("login_failed", "failure", "", HASH)],
    ),
    "an account that is switched off": (disabled, [("login_failed", "failure", "", "plain")]),
    "too many wrong passwords": (
        lambda world: wrong_passwords(world, 5),
        [
            ("login_failed", "failure", "", "plain"),
            ("login_failed", "failure", "", "plain"),
            ("login_failed", "failure", "", "plain"),
        ],
    ),
    "a refresh": (refresh, [("refreshed", "success", "plain", "plain's session")]),
    "a refresh token that was spent long ago": (reuse, [("refresh_reused", "failure", "", "plain's session")]),
    "a refresh token that is none": (
        lambda world: world.send("POST", "/auth/refresh", json={"refresh_token": "none"}),
        [],
    ),
    "the end of a session": (
        as_("plain", "POST", "/auth/logout"),
        [("session_ended", "success", "plain", "plain's session")],
    ),
    "the end of all sessions of one's own": (
        as_("plain", "POST", "/auth/logout-all"),
        [("sessions_ended", "success", "plain", "plain")],
    ),
    "another password": (
        as_("plain", "POST", "/auth/password", json={"current_password": PASSWORD, "new_password": NEW}),
        [("password_changed", "success", "plain", "plain")],
    ),
    "another password without the old one": (
        as_("plain", "POST", "/auth/password", json={"current_password": WRONG, "new_password": NEW}),
        [("password_change_failed", "failure", "plain", "plain")],
    ),
    "a reset of an address that nobody proved": (forgot, [("password_reset_requested", "success", "", HASH)]),
    "a reset": (reset, [("password_reset", "success", "plain", "plain")]),
    "a link that is none": (
        lambda world: world.send("POST", "/auth/password/reset", json={"token": "A" * 43, "new_password": NEW}),
        [("password_reset_failed", "failure", "", "")],
    ),
    "a link for an address that is none": (
        lambda world: world.send("POST", "/auth/email/verify", json={"token": "A" * 43}),
        [("email_verification_failed", "failure", "", "")],
    ),
    "an account is made": (
        as_("chief", "POST", "/admin/api/accounts", json={"username": "made-by-chief", "password": PASSWORD}),
        [("account_created", "success", "chief", ANY)],
    ),
    "an account is switched off": (on_account("POST", "/disable"), [("account_disabled", "success", "chief", "plain")]),
    "an account is switched on": (
        after("/disable", on_account("POST", "/enable")),
        [("account_enabled", "success", "chief", "plain")],
    ),
    "an account is blocked": (on_account("POST", "/block"), [("account_blocked", "success", "chief", "plain")]),
    "an account is let in again": (
        after("/block", on_account("POST", "/unblock")),
        [("account_unblocked", "success", "chief", "plain")],
    ),
    "another address": (
        on_account("PATCH", json={"email": "other@example.test"}),
        [("email_changed", "success", "chief", "plain")],
    ),
    "a role is given": (on_account("PUT", "/roles/maker", json={}), [("roles_assigned", "success", "chief", "plain")]),
    "a permission is given": (
        on_account("PUT", "/permissions/order:create", json={}),
        [("permissions_granted", "success", "chief", "plain")],
    ),
    "sessions are ended": (on_account("POST", "/end-sessions"), [("sessions_ended", "success", "chief", "plain")]),
    "an account is deleted": (on_account("DELETE"), [("account_deleted", "success", "chief", "plain")]),
    "one's own account": (
        as_("chief", "POST", "/admin/api/accounts/{chief}/disable"),
        [("account_disabled", "failure", "chief", "chief")],
    ),
    "a role is made": (
        as_("chief", "PUT", "/admin/api/roles/helper", json={"permissions": ["order:create"]}),
        [("role_created", "success", "chief", "helper")],
    ),
    "a key is made": (key_made, [("api_key_created", "success", "maker", "key")]),
    "a key is revoked": (key_revoked, [("api_key_revoked", "success", "maker", "key")]),
}


def told(world: World, value: str) -> str:
    """Return by which word an id is known here."""
    known = {world.ids[word]: word for word in world.ids}
    if value in known:
        return known[value]
    if re.fullmatch(r"[0-9a-f]{8}-[0-9a-f-]{27}", value):
        return ANY
    return HASH if re.fullmatch(r"[A-Za-z0-9_-]{22,}|[0-9a-z]+:[A-Za-z0-9_-]{16,}", value) else value


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_act_leaves_exactly_its_records(scenario: str, world: World) -> None:
    """What, how it ended, who, to whom; when in UTC, from which address, and under the id of the request."""
    act, expected = SCENARIOS[scenario]
    world.box.mails.clear()
    world.request_id = f"scenario-{list(SCENARIOS).index(scenario):02}"
    people(world, "plain")
    last = world.records()[-1].seq
    before = time.time()
    act(world)
    after = time.time()
    mine = [each for each in world.records(last) if each.request_id == world.request_id]
    assert [(each.event, each.outcome, told(world, each.actor), told(world, each.target)) for each in mine] == expected
    for each in mine:
        assert (each.source, each.user_agent) == (ADDRESS, AGENT)
        assert (before - 1) * 1000 <= each.time <= (after + 1) * 1000
        assert PASSWORD not in str(each)
        assert "nobody-at-all" not in str(each)


async def test_keys_for_tokens_are_recorded(tmp_path: Path) -> None:
    """Each step of replacing a key is a record, by whoever asked for it."""
    gate = gate_for(tmp_path, signing_alg="ES256")
    async with gate.running():
        assert gate.signing_keys is not None
        await gate.signing_keys.rotate(actor="cli")
        found = [each for each in await gate.storage.events() if each.event.startswith("signing_key_")]
    assert ("signing_key_scheduled", "cli") in {(each.event, each.actor) for each in found}


def test_a_record_is_one_statement() -> None:
    """What an act does more for its record is one INSERT in its transaction, whatever the record holds."""
    event = Event(EventName.LOGIN_FAILED, outcome=Outcome.FAILURE, actor="a", target="t", data={"many": [1, 2, 3]})
    asked = list(record(event))
    assert len(asked) == 1
    assert asked[0].statement.sqlite.split()[:3] == asked[0].statement.postgres.split()[:3]
    assert asked[0].statement.sqlite.split()[:3] == ["INSERT", "INTO", "limen_events"]


def manual() -> dict[str, str]:
    """Return the rows of the manual: what each record says."""
    text = (ROOT / "docs/reference/events.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", text, re.MULTILINE))


def test_the_manual_lists_every_record() -> None:
    """Each event of the code has a row, in the order of the code, and each row is an event of the code."""
    assert list(manual()) == [event.value for event in EventName]


@pytest.mark.parametrize("event", EventName, ids=lambda event: event.value)
def test_every_record_is_written_and_asked_for(event: EventName) -> None:
    """Each event is written somewhere in the code, and some test asks for it by its name."""
    assert _names(event, ROOT / "src" / "limen", beside="core/events.py")
    wanted = _names(event, ROOT / "tests", beside=__name__) or _names(event, ROOT / "src" / "limen" / "testing")
    assert wanted


def _names(event: EventName, folder: Path, *, beside: str = " ") -> bool:
    found = re.compile(rf"EventName\.{event.name}\b|[\"'`]{event.value}[\"'`]")
    return any(
        found.search(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.py"))
        if beside not in str(path)
    )
