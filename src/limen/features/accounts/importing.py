"""Accounts of other software are brought in: in batches, each of them whole or not at all, and a report at the end."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from limen.core.errors import Conflict, InvalidInput
from limen.core.events import Event, EventName, EventSink
from limen.core.held import counting
from limen.core.ids import is_uuid7, uuid7
from limen.crypto.foreign_hashes import RefusedHash, as_imported
from limen.features.accounts.foreign import ForeignAccount, Read
from limen.features.accounts.foreign_files import Unreadable
from limen.features.accounts.names import normalise_email, normalise_username
from limen.features.roles.service import RoleService

BATCH: Final = 1_000
"""Accounts of one transaction: SQLite's writer is busy with them for some 30 ms."""
MOST_TIME: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""


@dataclass(frozen=True, slots=True)
class ImportedAccount:
    """An account to be inserted, as it is then.

    Attributes:
        id: UUIDv7.
        username: normalised.
        email: normalised.
        email_verified: the address is to count as proved.
        password_hash: with its marker.
        status: ``active`` or ``disabled``.
        roles: what it is to hold.
        created_at: milliseconds since 1970 UTC; None for now.
    """

    id: str
    username: str
    email: str | None
    email_verified: bool
    password_hash: str | None = field(repr=False)
    status: str
    roles: frozenset[str]
    created_at: int | None


class ImportStore(Protocol):
    """What an import asks of a database."""

    async def named(self, usernames: Sequence[str]) -> Mapping[str, str]:
        """Return the ids of those accounts that have one of these names, by name."""
        ...

    async def insert(
        self, accounts: Sequence[ImportedAccount], events: Mapping[str, Event], *, all_or_none: bool
    ) -> frozenset[str]:
        """Insert the accounts whose name and id are free, with their roles and events; return the ids of these.

        One transaction. The event of an account that is not inserted is not written. An address counts as proved where
        that is asked for and it is nobody else's.

        Raises:
            Conflict: a role is not there, or two of an account's exclude each other; or ``all_or_none``, and a name or
                an id is taken. Nothing is written.
        """
        ...


@dataclass(frozen=True, slots=True)
class ImportTerms:
    """What an operator wants of an import.

    Attributes:
        source: from which software; it is said in the audit trail.
        allow_roles: the accounts get their roles; otherwise none.
        role_map: what roles are called here; an empty text for none.
        without_password: an account whose hash is refused is brought without a password, instead of not at all.
        trust_emails: an address that is called verified there counts as proved here.
        drop_second_factors: accounts that ask for a second factor there are brought, and ask for none here.
        stop_at_conflict: the first name that is taken ends it.
        dry_run: nothing is written.
    """

    source: str
    allow_roles: bool = False
    role_map: Mapping[str, str] = field(default_factory=dict)
    without_password: bool = False
    trust_emails: bool = False
    drop_second_factors: bool = False
    stop_at_conflict: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """What became of one record.

    Attributes:
        line: where it stands in the file.
        outcome: ``imported``, ``skipped`` (there is an account of that name) or ``refused``.
        code: why it was not imported; or ``without_password``, where a hash was refused.
        key: the id that it has in the file.
        username: its name here, where it can be one.
        id: of the account here; empty where there is none.
    """

    line: int
    outcome: str
    code: str = ""
    key: str = ""
    username: str = ""
    id: str = ""


@dataclass(slots=True)
class ImportReport:
    """What became of all.

    Attributes:
        read: records.
        imported: accounts that were made, or would be.
        skipped: records of whose name there is an account.
        refused: records that were not brought along.
        without_password: imported accounts that no password opens yet.
        codes: how often which reason was given.
        roles_left_out: how often which role was not given, since roles were not allowed.
        stopped: a name that is taken ended it.
    """

    read: int = 0
    imported: int = 0
    skipped: int = 0
    refused: int = 0
    without_password: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    roles_left_out: Counter[str] = field(default_factory=Counter)
    stopped: bool = False


OnRow = Callable[[ImportedRow], None]


class _Refused(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Prepared:
    found: ForeignAccount
    account: ImportedAccount
    code: str


class ImportService:
    """Brings accounts in.

    Args:
        store: where they are to be.
        roles: says which roles there are.
        record: writes the event at the end.
    """

    def __init__(self, store: ImportStore, *, roles: RoleService, record: EventSink) -> None:
        self._store = store
        self._roles = roles
        self._record = record

    async def run(
        self, records: Iterable[Read], terms: ImportTerms, *, actor: str, on_row: OnRow = lambda _row: None
    ) -> ImportReport:
        """Bring in the accounts, and return what became of them. Doing it twice changes nothing the second time.

        Each account leaves a record in the audit trail, in its transaction, and the import one at its end. Whatever
        ends it in between leaves whole batches. No mail is sent.

        Args:
            records: what `limen.features.accounts.foreign.accounts_in` reads.
            terms: what is wanted.
            actor: who does it, for the audit trail.
            on_row: is told of each record after its batch was committed.

        Raises:
            InvalidInput: a role that the terms name is not there.
            Unavailable: the database does not answer; run it again.
        """
        batch = _Run(self._store, terms, await self._roles.names(), actor, on_row)
        batch.check_roles()
        for record in records:
            if not await batch.take(record):
                break
        else:
            await batch.flush()
        report = batch.report
        if not terms.dry_run:
            data: dict[str, object] = {
                "from": terms.source,
                "imported": report.imported,
                "skipped": report.skipped,
                "refused": report.refused,
                "roles": terms.allow_roles,
                "trusted_emails": terms.trust_emails,
            }
            await self._record(Event(EventName.ACCOUNTS_IMPORTED, actor=actor, data=data))
        return report


class _Run:
    """One import under way."""

    def __init__(
        self, store: ImportStore, terms: ImportTerms, names: frozenset[str], actor: str, on_row: OnRow
    ) -> None:
        self._store = store
        self._terms = terms
        self._names = names
        self._actor = actor
        self._on_row = on_row
        self._waiting: dict[str, _Prepared] = {}
        self._ids: set[str] = set()
        self._told: list[ImportedRow] = []
        self.report = ImportReport()

    def check_roles(self) -> None:
        unknown = sorted({role for role in self._terms.role_map.values() if role} - self._names)
        if unknown:
            raise InvalidInput(f"There is no role {', '.join(unknown)}.")

    async def take(self, record: Read) -> bool:
        """Take one record; False where it ends here."""
        self.report.read += 1
        if isinstance(record, Unreadable):
            self._refuse(ImportedRow(record.line, "refused", record.code))
            return True
        try:
            prepared = self._prepared(record)
        except _Refused as refused:
            self._refuse(ImportedRow(record.line, "refused", refused.code, record.key))
            return True
        name = prepared.account.username
        if name in self._waiting or prepared.account.id in self._ids:
            code = "duplicate" if name in self._waiting else "id_taken"
            self._refuse(ImportedRow(record.line, "refused", code, record.key, name))
            return True
        self._waiting[name] = prepared
        self._ids.add(prepared.account.id)
        return len(self._waiting) < BATCH or await self.flush()

    async def flush(self) -> bool:
        """Insert what waits; False where a conflict is to end it, and what waited was not inserted."""
        waiting, self._waiting = self._waiting, {}
        self._ids = set()
        accounts = [each.account for each in waiting.values()]
        there = await self._store.named(list(waiting)) if accounts else {}
        ended = self._terms.stop_at_conflict and bool(there)
        done: frozenset[str] = frozenset()
        if not ended and accounts:
            done, ended = await self._inserted(accounts, there)
        for name, each in waiting.items():
            self._tell(each, name, done, there, ended=ended)
        told, self._told = self._told, []
        for row in sorted(told, key=lambda each: each.line):
            self._on_row(row)
        self.report.stopped = ended
        return not ended

    async def _inserted(
        self, accounts: Sequence[ImportedAccount], there: Mapping[str, str]
    ) -> tuple[frozenset[str], bool]:
        if self._terms.dry_run:
            return frozenset(account.id for account in accounts if account.username not in there), False
        free = [account for account in accounts if account.username not in there]
        events = {account.id: self._event(account) for account in free}
        try:
            return await self._store.insert(free, events, all_or_none=self._terms.stop_at_conflict), False
        except Conflict:
            if not self._terms.stop_at_conflict:
                raise
            return frozenset(), True

    def _tell(self, each: _Prepared, name: str, done: frozenset[str], there: Mapping[str, str], *, ended: bool) -> None:
        found, account, report = each.found, each.account, self.report
        if account.id in done:
            report.imported += 1
            report.without_password += account.password_hash is None
            row = ImportedRow(found.line, "imported", each.code, found.key, name, account.id)
        elif name in there:
            report.skipped += 1
            row = ImportedRow(found.line, "skipped", "username_taken", found.key, name, there[name])
        else:
            report.refused += 1
            code = "not_begun" if ended else "id_or_name_taken"
            row = ImportedRow(found.line, "refused", code, found.key, name)
        if row.code:
            report.codes[row.code] += 1
        self._told.append(row)

    def _refuse(self, row: ImportedRow) -> None:
        self.report.refused += 1
        self.report.codes[row.code] += 1
        self._told.append(row)

    def _event(self, account: ImportedAccount) -> Event:
        data: dict[str, object] = {"roles": sorted(account.roles), "imported_from": self._terms.source}
        return Event(EventName.ACCOUNT_CREATED, actor=self._actor, target=account.id, data=data)

    def _prepared(self, found: ForeignAccount) -> _Prepared:
        """Return what is to be inserted.

        Raises:
            _Refused: it is not to be brought along.
        """
        if found.fault:
            raise _Refused(found.fault)
        if found.second_factor and not self._terms.drop_second_factors:
            raise _Refused("second_factor")
        username = _accepted(normalise_username, found.username, "username")
        email = None if found.email is None else _accepted(normalise_email, found.email, "email")
        if found.id is not None and not is_uuid7(found.id):
            raise _Refused("id")
        if found.created_at is not None and not 0 <= found.created_at <= MOST_TIME:
            raise _Refused("created_at")
        roles = self._roles_of(found)
        stored, code = self._hash_of(found)
        account = ImportedAccount(
            id=found.id or uuid7(),
            username=username,
            email=email,
            email_verified=self._terms.trust_emails and found.email_verified and email is not None,
            password_hash=stored,
            status="active" if found.active else "disabled",
            roles=roles,
            created_at=found.created_at,
        )
        return _Prepared(found, account, code)

    def _hash_of(self, found: ForeignAccount) -> tuple[str | None, str]:
        if found.password_hash is None:
            return None, ""
        try:
            return as_imported(found.password_hash), ""
        except RefusedHash as refused:
            if not self._terms.without_password:
                raise _Refused(refused.code) from None
            return None, "without_password"

    def _roles_of(self, found: ForeignAccount) -> frozenset[str]:
        if not found.roles:
            return frozenset()
        if not self._terms.allow_roles:
            self.report.roles_left_out.update(found.roles)
            return frozenset()
        named = frozenset(self._terms.role_map.get(role, role) for role in found.roles) - {""}
        if not named <= self._names:
            raise _Refused("role_unknown")
        if counting(named, self._names) != named:
            raise _Refused("roles_separated")
        return named


def _accepted(normalise: Callable[[str], str], text: str, code: str) -> str:
    try:
        return normalise(text)
    except InvalidInput:
        raise _Refused(code) from None
