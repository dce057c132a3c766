"""The one door: every grant against every state of an account, and nothing beside the door."""

import ast
import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import limen
from limen import Limen
from limen.authn.api_key_issuing import KeyTerms
from limen.authn.cookie import CookieSession, IssuedCookie
from limen.authn.issuing import GRANTS, Elsewhere, Grant, Issued, Proof
from limen.authn.message_issuing import MessageDoor, NewMessage
from limen.authn.records import Vouched
from limen.core.errors import AccountNotActive, InvalidCredentials, InvalidRefreshToken, LimenError, SessionEnded
from limen.core.events import NOWHERE
from limen.core.ids import uuid7
from limen.core.principal import ANONYMOUS, Principal, PrincipalKind
from limen.features.accounts.store import Account
from limen.features.roles.service import OPERATOR
from limen.storage.sql.sqlite import path_of
from tests.support.gates import PASSWORD, gate_for

SOURCE = Path(limen.__file__).parent


class Attributed:
    """Where it is noted whom a request is attributed to."""

    def __init__(self) -> None:
        self.principal = ANONYMOUS
        self.rejection: LimenError | None = None
        self.credential: Any = None
        self.safe_only = False
        self.origin = NOWHERE


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Limen]:
    """A started gate on a database of its own."""
    async with gate_for(tmp_path).running() as started:
        yield started


async def _epoch_raised(gate: Limen, account: Account) -> None:
    await gate.sessions.logout_everywhere(account.id, actor="test", origin=NOWHERE)


STATES: dict[str, Callable[[Limen, Account], Awaitable[object]] | None] = {
    "active": None,
    "disabled": lambda gate, account: gate.accounts.disable(account, actor="test"),
    "blocked": lambda gate, account: gate.accounts.block(account, actor="test"),
    "deleted": lambda gate, account: gate.administration.delete(OPERATOR, account.id),
    "temporary password": lambda gate, account: gate.administration.set_temporary_password(OPERATOR, account.id),
    "epoch raised": _epoch_raised,
}

# The row of each grant: how it is used, with an account read and a token obtained before the state changed.
Use = Callable[[Limen, Account, Issued, IssuedCookie], Awaitable[object]]


def _proof(grant: Grant, account: Account) -> Proof:
    return Proof(grant, account.id, account.session_epoch, ("pwd",), "test", NOWHERE)


async def _password(gate: Limen, account: Account, before: Issued, cookie: IssuedCookie) -> object:
    return await gate.door.open_session(_proof(Grant.PASSWORD, account))


async def _refresh(gate: Limen, account: Account, before: Issued, cookie: IssuedCookie) -> object:
    return await gate.sessions.refresh(before.refresh_token, origin=NOWHERE)


async def _session(gate: Limen, account: Account, before: Issued, cookie: IssuedCookie) -> object:
    return await gate.door.open_cookie_session(_proof(Grant.SESSION, account), remembered=False)


async def _renewal(gate: Limen, account: Account, before: Issued, cookie: IssuedCookie) -> object:
    return await gate.door.renew(session_with(cookie), NOWHERE)


def session_with(cookie: IssuedCookie) -> CookieSession:
    """Return what a request with this cookie was found to be, before whatever happens next."""
    sid, token_hash = cookie.presented
    principal = Principal(cookie.account_id, PrincipalKind.PERSON, sid=sid)
    return CookieSession(principal, 0, token_hash=token_hash, ends_at=cookie.ends_at, remembered=False)


async def _api_key(gate: Limen, account: Account, *_: object) -> object:
    assert gate.api_keys is not None
    proof = Proof(Grant.API_KEY, account.id, account.session_epoch, (), "", NOWHERE)
    return await gate.api_keys.door.issue_key(proof, KeyTerms("key", None, None, 86_400_000), created_by=account.id)


async def _api_key_rotation(gate: Limen, account: Account, *_: object) -> object:
    assert gate.api_keys is not None
    made = await gate.storage.api_keys.of_account(account.id, limit=1, after=None)
    proof = Proof(Grant.API_KEY_ROTATION, account.id, account.session_epoch, (), "", NOWHERE)
    key_id = made[0].id if made else account.id
    return await gate.api_keys.door.rotate_key(proof, key_id, rotations=0, rotated_by=account.id)


async def _forwarded(gate: Limen, account: Account, before: Issued, cookie: IssuedCookie) -> object:
    state = Attributed()
    scope = {"type": "http", "headers": [(b"authorization", b"Bearer " + before.access_token.encode())]}
    pending = gate.authenticate(scope, state)
    if pending is not None:
        await pending
    if not state.principal.is_authenticated:
        assert isinstance(state.rejection, LimenError)
        return None
    return gate.forwarding.told_of(state.principal, expires_at=state.credential.expires_at)


async def _message(gate: Limen, account: Account, *_: object) -> object:
    # It becomes a service at the last moment: one has no session that could be there before.
    with contextlib.closing(sqlite3.connect(path_of(gate.settings.database_url))) as connection, connection:
        connection.execute("UPDATE limen_accounts SET account_kind = 'service' WHERE id = ?", (account.id,))
    proof = Proof(Grant.MESSAGE, account.id, account.session_epoch, (), "", NOWHERE)
    door = MessageDoor(gate.storage.messages, gate.door, issuer=gate.settings.issuer)
    return await door.issue(proof, NewMessage("orders", b"body", 300))


async def _client_certificate(gate: Limen, account: Account, *_: object) -> object:
    # As above; and the name is registered whatever the state is, so that it is the state that refuses.
    registration = uuid7()
    with contextlib.closing(sqlite3.connect(path_of(gate.settings.database_url))) as connection, connection:
        connection.execute("UPDATE limen_accounts SET account_kind = 'service' WHERE id = ?", (account.id,))
        row = (registration, account.id, "dns:ann.example", 0, "test")
        connection.execute("INSERT INTO limen_client_certificates VALUES (?, ?, ?, ?, ?)", row)
    proof = Proof(Grant.CLIENT_CERTIFICATE, account.id, account.session_epoch, ("mtls",), account.id, NOWHERE)
    return await gate.door.open_bound(proof, registration=registration, certificate="a" * 43)


async def _message_of_session(gate: Limen, account: Account, before: Issued, cookie: IssuedCookie) -> object:
    principal = Principal(account.id, PrincipalKind.PERSON, sid=before.sid)
    try:
        return await gate.messages.attributes(principal=principal, audience="orders", body=b"body")
    except (SessionEnded, AccountNotActive):
        return None


ELSEWHERE = Elsewhere(Vouched("corp", "https://op.example", "ann", None, None))


async def _sso(gate: Limen, account: Account, *_: object) -> object:
    return await gate.door.open_cookie_session(
        replace(_proof(Grant.SSO, account), elsewhere=ELSEWHERE), remembered=False
    )


async def _sso_exchange(gate: Limen, account: Account, *_: object) -> object:
    return await gate.door.open_session(replace(_proof(Grant.SSO_EXCHANGE, account), elsewhere=ELSEWHERE))


ROWS: dict[Grant, Use] = {
    Grant.PASSWORD: _password,
    Grant.REFRESH: _refresh,
    Grant.REPLAY: _refresh,
    Grant.SESSION: _session,
    Grant.RENEWAL: _renewal,
    Grant.API_KEY: _api_key,
    Grant.API_KEY_ROTATION: _api_key_rotation,
    Grant.SSO: _sso,
    Grant.SSO_EXCHANGE: _sso_exchange,
    Grant.CLIENT_CERTIFICATE: _client_certificate,
    Grant.FORWARDED: _forwarded,
    Grant.MESSAGE: _message,
    Grant.MESSAGE_OF_SESSION: _message_of_session,
}


async def test_every_grant_has_a_row() -> None:
    """A new grant without a rule and without a row in this table is noticed."""
    assert set(ROWS) == set(Grant) == set(GRANTS)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("grant", list(Grant))
async def test_grants_by_account_states(gate: Limen, grant: Grant, state: str) -> None:
    """Nothing is issued for an account that is not active, or whose sessions were ended since the proof."""
    account = await gate.accounts.create("ann", PASSWORD)
    before = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    if grant is Grant.REPLAY:
        await gate.sessions.refresh(before.refresh_token, origin=NOWHERE)
    cookie = await gate.door.open_cookie_session(_proof(Grant.SESSION, account), remembered=False)
    assert cookie is not None
    if grant is Grant.API_KEY_ROTATION:
        assert await _api_key(gate, account) is not None
    change = STATES[state]
    if change is not None:
        await change(gate, account)
    try:
        issued = await ROWS[grant](gate, account, before, cookie)
    except InvalidRefreshToken:
        issued = None
    assert (issued is not None) == (state == "active")


@pytest.mark.parametrize("state", [state for state in STATES if state != "epoch raised"])
async def test_login_answers_one_error_for_every_state(gate: Limen, state: str) -> None:
    """Disabled and blocked look to the caller like a wrong password; active logs in."""
    account = await gate.accounts.create("ann", PASSWORD)
    change = STATES[state]
    if change is None:
        assert (await gate.login.login("ann", PASSWORD, origin=NOWHERE)).account_id == account.id
        return
    await change(gate, account)
    answers = []
    for username, password in (("ann", PASSWORD), ("ann", "not the password"), ("nobody", PASSWORD)):
        with pytest.raises(LimenError) as refused:
            await gate.login.login(username, password, origin=NOWHERE)
        answers.append((type(refused.value), refused.value.detail, refused.value.errors, refused.value.retry_after))
    assert answers == [(InvalidCredentials, None, (), None)] * 3


async def test_a_second_factor_that_nobody_can_ask_for_refuses(gate: Limen, tmp_path: Path) -> None:
    """An account that requires two factors gets nothing for one: the door refuses what no feature can ask for."""
    import sqlite3

    await gate.accounts.create("ann", PASSWORD)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("UPDATE limen_accounts SET second_factor_required = 1")
    connection.close()
    with pytest.raises(InvalidCredentials):
        await gate.login.login("ann", PASSWORD, origin=NOWHERE)


async def test_a_password_change_beats_a_login_that_still_hashes(gate: Limen) -> None:
    """A login that began before the password changed and ends after it opens no session."""
    account = await gate.accounts.create("ann", PASSWORD)
    check = await gate.accounts.check_password("ann", PASSWORD)
    assert check.account is not None
    await gate.accounts.change_password(account.id, PASSWORD, "another correct battery horse", sid=None)
    proof = Proof(Grant.PASSWORD, account.id, check.account.session_epoch, ("pwd",), "test", NOWHERE)
    assert await gate.door.open_session(proof) is None


async def test_a_grant_that_goes_on_with_a_session_opens_none(gate: Limen) -> None:
    """The door does not open a session for a refresh, whoever asks."""
    account = await gate.accounts.create("ann", PASSWORD)
    with pytest.raises(ValueError, match="opens no session"):
        await gate.door.open_session(Proof(Grant.REFRESH, account.id, 0, ("pwd",), "test", NOWHERE))


@pytest.mark.parametrize("grant", [grant for grant in Grant if grant is not Grant.CLIENT_CERTIFICATE])
async def test_no_other_grant_makes_a_bound_token(gate: Limen, grant: Grant) -> None:
    """What was proved by a password or a key is not exchanged for a token of a service."""
    account = await gate.accounts.create("ann", PASSWORD)
    with pytest.raises(ValueError, match="bound to a certificate"):
        await gate.door.open_bound(_proof(grant, account), registration=uuid7(), certificate="a" * 43)


@pytest.mark.parametrize("grant", [Grant.PASSWORD, Grant.RENEWAL, Grant.REFRESH])
async def test_no_other_grant_opens_a_cookie_session(gate: Limen, grant: Grant) -> None:
    """A proof of one kind is not exchanged for a session of another."""
    account = await gate.accounts.create("ann", PASSWORD)
    with pytest.raises(ValueError, match="opens no session of the kind cookie"):
        await gate.door.open_cookie_session(_proof(grant, account), remembered=False)
    with pytest.raises(ValueError, match="opens no session of the kind refresh"):
        await gate.door.open_session(_proof(Grant.SESSION, account))


async def test_fifty_logins_at_once_are_fifty_sessions(gate: Limen) -> None:
    """Parallel openings do not disturb one another."""
    account = await gate.accounts.create("ann", PASSWORD)
    proof = Proof(Grant.PASSWORD, account.id, 0, ("pwd",), "test", NOWHERE)
    issued = await asyncio.gather(*[gate.door.open_session(proof) for _ in range(50)])
    assert len({each.sid for each in issued if each is not None}) == 50


# --- nothing beside the door


def _modules() -> list[tuple[str, ast.Module, str]]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append((path.relative_to(SOURCE).as_posix(), ast.parse(text), text))
    assert len(found) > 30
    return found


def test_only_the_door_signs() -> None:
    """No module but the door imports the signer."""
    importers = {
        name
        for name, tree, _ in _modules()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.module == "limen.crypto.signing")
        or (isinstance(node, ast.Import) and any(alias.name == "limen.crypto.signing" for alias in node.names))
    }
    assert importers == {"authn/issuing.py"}


def test_only_the_door_for_messages_has_one_signed() -> None:
    """What the door signs for messages is asked for in one module, which has asked for the account first."""
    callers = {
        name
        for name, tree, _ in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "sign_message"
    }
    assert callers == {"authn/message_issuing.py"}
    attesters = {
        name
        for name, tree, _ in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "attest"
    }
    assert {name for name in attesters if not name.startswith("testing/contracts/")} == {"authn/message_issuing.py"}


def test_only_the_door_calls_the_issuing_verbs() -> None:
    """The verbs that bring a credential into being are called by the door and by the contract suites only."""
    callers = {
        name
        for name, tree, _ in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"open", "open_bound", "rotate", "renew"}
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr in {"_store", "issuing"}
    }
    assert {name for name in callers if not name.startswith("testing/contracts/")} == {"authn/issuing.py"}


def test_sessions_are_inserted_and_rotated_in_one_place() -> None:
    """One module of the storage inserts session rows; it changes their hashes, and one that does so for Valkey."""
    writers = {
        name
        for name, _, text in _modules()
        if "INSERT INTO limen_sessions" in text
        or "SET generation" in text
        # The hash of a link in a mail has the same name, in a table of its own.
        or ("SET token_hash" in text and "limen_sessions" in text)
        or "insert(sessions)" in text
    }
    # The rows that are made up for measuring hold hashes of nothing: nobody can present what they belong to.
    in_sql = {"storage/sql/issuing.py", "storage/sql/postgres_issuing.py", "storage/sql/seeding.py"}
    assert writers - {"storage/valkey/rows.py", "storage/valkey/postgres_issuing.py"} == in_sql
