"""What every suite is given, and the sample rows they write."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from limen.authn.records import CurrentSession, NewSession, Rotation
from limen.core.events import Event, EventName, Origin
from limen.core.ids import uuid7
from limen.features.accounts.store import Account, NewAccount
from limen.features.sessions.store import SessionState
from limen.storage import Storage, StoredEvent

SECOND = 1_000
DAY = 86_400_000
REFRESH_TTL = 7 * DAY
MAX_TTL = 90 * DAY
KEEP_ENDED = 960 * SECOND

OLD_HASH = "$scheme$of-the-old-one"
NEW_HASH = "$scheme$of-the-new-one"

ORIGIN = Origin(request_id="request-1", address="192.0.2.7", user_agent="contract/1")


class Contract:
    """A suite asks for these fixtures; give them in the derived class, its module or a ``conftest.py``.

    Fixtures:
        storage: a started `limen.storage.Storage` on an empty database; it is stopped afterwards.
        peer: a second one on the same database, as another process would have it.
        turn_clock: ``Callable[[int], None]``, moves the clock of both by so many milliseconds, forwards or backwards.
        require_second_factor: ``Callable[[str], Awaitable[None]]``, sets ``second_factor_required`` on the account.
        set_status: ``Callable[[str, str], Awaitable[None]]``, writes a status into the account's row and does nothing
            else: what an operator does by hand, or a later version with a state that this one does not know.
        by_hand: ``Callable[[str], None]``, runs one statement of SQL, as whoever may write to the database can.
        stored_bytes: ``Callable[[], bytes]``, everything that lies in the database: the bytes of its files, or a dump.
    """


@dataclass(frozen=True, slots=True)
class Opened:
    """A session as its client knows it: the secret part and the generation of its current token."""

    sid: str
    account_id: str
    secret: bytes
    generation: int = 0

    def rotation(self, secret: bytes, **changes: object) -> Rotation:
        """Return the request to replace the current secret by this one, with changes for what is to be refused."""
        rotation = Rotation(
            sid=self.sid,
            account_id=self.account_id,
            generation=self.generation,
            presented_hash=digest(self.secret),
            next_hash=digest(secret),
            nonce=os.urandom(16),
            kid="kid-2222",
            refresh_ttl_ms=REFRESH_TTL,
        )
        return replace(rotation, **changes)  # type: ignore[arg-type]

    def after(self, secret: bytes) -> "Opened":
        """Return the session as it is once the secret was replaced by this one."""
        return replace(self, secret=secret, generation=self.generation + 1)


def digest(secret: bytes) -> bytes:
    """Return what is stored of a secret."""
    return sha256(secret).digest()


def event(name: EventName = EventName.REFRESHED, **fields: object) -> Event:
    """Return an event; its fields default to those of a request."""
    return replace(Event(name=name, actor="actor-1", target="target-1", origin=ORIGIN), **fields)  # type: ignore[arg-type]


BROKEN_EVENT = event(data={"cannot be written": object()})
"""An event that no database can take: what is written before it must be taken back."""


async def an_account(
    storage: Storage, *, roles: frozenset[str] = frozenset(), email: str | None = None, username: str | None = None
) -> Account:
    """Create an account, with a name that nobody has unless one is given, and return it as it was stored."""
    account_id = uuid7()
    name = username or f"name-{account_id}"
    account = NewAccount(id=account_id, username=name, email=email, password_hash=OLD_HASH, roles=roles)
    assert await storage.accounts.create(account, event(EventName.ACCOUNT_CREATED))
    stored = await storage.accounts.by_id(account_id)
    assert stored is not None
    return stored


def new_session(account: Account, secret: bytes, **changes: object) -> NewSession:
    """Return a session to be opened for the account as it was read, with changes for what is to be refused."""
    session = NewSession(
        sid=uuid7(),
        account_id=account.id,
        account_epoch=account.session_epoch,
        kind="refresh",
        factors=1,
        token_hash=digest(secret),
        kid="kid-1111",
        refresh_ttl_ms=REFRESH_TTL,
        max_ttl_ms=MAX_TTL,
        amr=("pwd",),
        acr=None,
        client_id="client-1",
        user_agent="browser/1",
        address="192.0.2.8",
    )
    return replace(session, **changes)  # type: ignore[arg-type]


async def a_session(storage: Storage, account: Account, **changes: object) -> Opened:
    """Open a session and return it as its client knows it."""
    secret = os.urandom(32)
    session = new_session(account, secret, **changes)
    assert await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) is not None
    return Opened(sid=session.sid, account_id=account.id, secret=secret)


async def rotate(storage: Storage, opened: Opened, secret: bytes, **changes: object) -> CurrentSession | None:
    """Replace the session's secret by this one."""
    return await storage.issuing.rotate(opened.rotation(secret, **changes), event())


async def state(storage: Storage, sid: str) -> SessionState:
    """Read a session that must be there."""
    found = await storage.sessions.read(sid)
    assert found is not None
    return found


async def all_events(storage: Storage, name: EventName | None = None) -> Sequence[StoredEvent]:
    """Return every record of the audit trail, or every one of this name."""
    records = await storage.events(limit=100_000)
    return [record for record in records if name is None or record.event == name]
