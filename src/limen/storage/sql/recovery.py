"""Proofs that a mail carries, and the addresses that they proved."""

from dataclasses import replace
from functools import partial

from limen.core.events import Event
from limen.core.mails import ClaimedMail
from limen.core.notices import Notice
from limen.features.recovery.store import NewProof, Prepared, Preparing, ProofOwner, Purpose, Verified
from limen.storage.sql.authority import locked
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.notices import notify
from limen.storage.sql.proofs import take_proofs
from limen.storage.sql.reach import end_reach
from limen.storage.sql.statement import NOBODY, Statement, Steps, row, run

_BY_VERIFIED = Statement("""
SELECT v.account_id FROM limen_verified_emails v
  JOIN limen_accounts a ON a.id = v.account_id AND a.email = v.email
 WHERE v.email = :email
""")

_HOLDER = Statement("SELECT account_id FROM limen_verified_emails WHERE email = :email")

# The conditions are part of the INSERT: what was looked up before may be so no more.
_PREPARE = Statement("""
INSERT INTO limen_mail_proofs (account_id, purpose, token_hash, email, account_epoch, roles_version, expires_at)
SELECT a.id, :purpose, :token_hash, CAST(:email AS text), a.session_epoch, m.roles_version, @now + :lifetime
  FROM limen_accounts a JOIN limen_mails m ON m.id = :mail_id
 WHERE a.id = :account_id AND a.status = 'active' AND a.account_kind = 'person'
   AND (m.account_id IS NULL OR (m.account_id = a.id AND m.account_epoch = a.session_epoch))
   AND (m.roles_version IS NULL OR m.roles_version = a.roles_version)
   AND (:is_reset = 0 OR a.email = CAST(:email AS text))
   AND (:is_strict = 0 OR (a.password_hash IS NOT NULL AND EXISTS (
            SELECT 1 FROM limen_verified_emails v WHERE v.account_id = a.id AND v.email = a.email)))
    ON CONFLICT (account_id, purpose) DO UPDATE
   SET token_hash = excluded.token_hash, email = excluded.email, account_epoch = excluded.account_epoch,
       roles_version = excluded.roles_version, expires_at = excluded.expires_at
RETURNING expires_at
""")

# Another process may have taken the mail over: then it is that one's proof which counts.
_HOLD = Statement("""
SELECT 1 FROM limen_mails WHERE id = :id AND status = 'queued' AND lease = :lease AND sealed IS NULL @for_update
""")

_CARRY = Statement("""
UPDATE limen_mails SET account_id = :account_id, sealed = :sealed, expires_at = :expires_at WHERE id = :id
""")

_USERNAME = Statement("SELECT username FROM limen_accounts WHERE id = :id")

_LIVES = """
p.token_hash = :token_hash AND p.purpose = :purpose AND p.expires_at > @now
   AND a.status = 'active' AND a.account_kind = 'person' AND a.session_epoch = p.account_epoch
   AND (p.roles_version IS NULL OR a.roles_version = p.roles_version)
   AND (p.purpose <> 'reset' OR a.email = p.email)
"""

_OWNER = Statement(f"""
SELECT p.account_id, a.username, p.email
  FROM limen_mail_proofs p JOIN limen_accounts a ON a.id = p.account_id WHERE {_LIVES}
""")  # noqa: S608

# Single use: of all who ask at once, this deletes the row for one.
_TAKE = Statement(f"""
DELETE FROM limen_mail_proofs
 WHERE token_hash = :token_hash AND account_id = :account_id AND EXISTS (
       SELECT 1 FROM limen_mail_proofs p JOIN limen_accounts a ON a.id = p.account_id
        WHERE p.account_id = limen_mail_proofs.account_id AND p.purpose = limen_mail_proofs.purpose AND {_LIVES})
RETURNING email
""")  # noqa: S608

_SET_PASSWORD = Statement("""
UPDATE limen_accounts
   SET password_hash = :new_hash, password_expires_at = NULL, session_epoch = session_epoch + 1
 WHERE id = :id AND status = 'active' AND account_kind = 'person' RETURNING session_epoch
""")

# Whoever else has proved it keeps it.
_VERIFY = Statement("""
INSERT INTO limen_verified_emails (email, account_id, verified_at)
SELECT :email, a.id, @now FROM limen_accounts a WHERE a.id = :account_id
    ON CONFLICT (email) DO UPDATE SET verified_at = excluded.verified_at
 WHERE limen_verified_emails.account_id = excluded.account_id
RETURNING email
""")

_FORGET_OTHERS = Statement("DELETE FROM limen_verified_emails WHERE account_id = :account_id AND email <> :email")

_EMAIL = Statement("SELECT email FROM limen_accounts WHERE id = :id")

_SET_EMAIL = Statement("UPDATE limen_accounts SET email = :email WHERE id = :id")

_VERIFIED = Statement("""
SELECT v.email FROM limen_verified_emails v JOIN limen_accounts a ON a.id = v.account_id AND a.email = v.email
 WHERE a.id = :id
""")


class SQLRecovery:
    """Implements `limen.features.recovery.store.RecoveryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self, claimed: ClaimedMail, proof: NewProof, event: Event) -> Prepared | Preparing:
        """Store a proof, and in the mail the sealed token; see the Protocol."""
        return await self._database.write(partial(_prepared, claimed, proof, event))

    async def owner(self, purpose: Purpose, token_hash: bytes) -> ProofOwner | None:
        """Return whose living proof it is; it stays."""
        return await self._database.read(partial(_owner, purpose, token_hash))

    async def reset_password(
        self, token_hash: bytes, *, new_hash: str, event: Event, notice: Notice | None, keep_ended_ms: int
    ) -> str | None:
        """Take a living proof, set the password and end what the old one could reach; see the Protocol."""
        return await self._database.write(partial(_reset, token_hash, new_hash, event, notice, keep_ended_ms))

    async def verify_email(self, token_hash: bytes, *, event: Event, notice: Notice | None) -> Verified:
        """Take a living proof, and make its address the account's own, and verified."""
        return await self._database.write(partial(_verified, token_hash, event, notice))

    async def verified_email(self, account_id: str) -> str | None:
        """Return the account's address where it is verified."""
        return await self._database.read(partial(_verified_email, account_id))


def _prepared(claimed: ClaimedMail, proof: NewProof, event: Event) -> Steps[Prepared | Preparing]:
    account_id = claimed.account_id
    if account_id is None:
        found = yield from row(_BY_VERIFIED, email=claimed.recipient)
        if found is None:
            return Preparing.NOBODY
        account_id = str(found[0])
    yield from locked(account_id, None)
    if proof.purpose is Purpose.VERIFY:
        holder = yield from row(_HOLDER, email=claimed.recipient)
        if holder is not None and str(holder[0]) != account_id:
            return Preparing.TAKEN
    if (yield from row(_HOLD, id=claimed.id, lease=claimed.lease)) is None:
        return Preparing.NOBODY
    is_reset = proof.purpose is Purpose.RESET
    stored = yield from row(
        _PREPARE,
        mail_id=claimed.id,
        account_id=account_id,
        purpose=proof.purpose.value,
        token_hash=proof.token_hash,
        email=claimed.recipient,
        lifetime=proof.lifetime_ms,
        is_reset=int(is_reset),
        is_strict=int(is_reset and not proof.to_any_address),
    )
    named = yield from row(_USERNAME, id=account_id)
    if stored is None or named is None:
        return Preparing.NOBODY
    yield from run(_CARRY, id=claimed.id, account_id=account_id, sealed=proof.sealed, expires_at=stored[0])
    yield from record(replace(event, target=account_id))
    return Prepared(account_id, named[0], stored[0])


def _owner(purpose: Purpose, token_hash: bytes) -> Steps[ProofOwner | None]:
    found = yield from row(_OWNER, purpose=purpose.value, token_hash=token_hash)
    return None if found is None else ProofOwner(str(found[0]), found[1], found[2])


def _taken(purpose: Purpose, token_hash: bytes) -> Steps[tuple[str, str] | None]:
    """Lock the account, take the proof, and return the account's id and the address; None where it does not live.

    The account comes first, as wherever both are changed: two who wait for each other would wait for ever.
    """
    owner = yield from _owner(purpose, token_hash)
    if owner is None:
        return None
    yield from locked(owner.account_id, None)
    taken = yield from row(_TAKE, account_id=owner.account_id, purpose=purpose.value, token_hash=token_hash)
    return None if taken is None else (owner.account_id, taken[0])


def _reset(
    token_hash: bytes, new_hash: str, event: Event, notice: Notice | None, keep_ended_ms: int
) -> Steps[str | None]:
    taken = yield from _taken(Purpose.RESET, token_hash)
    if taken is None:
        return None
    account_id, email = taken
    if (yield from row(_SET_PASSWORD, id=account_id, new_hash=new_hash)) is None:
        return None
    # The proof came to this address, so whoever has it reads there: also where an administrator had written it.
    if (yield from row(_VERIFY, email=email, account_id=account_id)) is not None:
        yield from run(_FORGET_OTHERS, account_id=account_id, email=email)
    yield from end_reach(account_id, keep_ended_ms=keep_ended_ms, lost=True)
    yield from notify(account_id, notice)
    yield from record(replace(event, actor=account_id, target=account_id))
    return account_id


def _verified(token_hash: bytes, event: Event, notice: Notice | None) -> Steps[Verified]:
    taken = yield from _taken(Purpose.VERIFY, token_hash)
    if taken is None:
        return Verified.INVALID
    account_id, email = taken
    before = yield from row(_EMAIL, id=account_id)
    if (yield from row(_VERIFY, email=email, account_id=account_id)) is None:
        return Verified.TAKEN
    changed = before is not None and before[0] != email
    if changed:
        yield from notify(account_id, notice)  # to the address that it was until now
        yield from take_proofs(account_id)
    yield from run(_FORGET_OTHERS, account_id=account_id, email=email)
    yield from run(_SET_EMAIL, id=account_id, email=email)
    data = {**event.data, "changed": changed}
    yield from record(replace(event, actor=account_id, target=account_id, data=data))
    return Verified.DONE


def _verified_email(account_id: str) -> Steps[str | None]:
    found = yield from row(_VERIFIED, id=account_id or NOBODY)
    return None if found is None else found[0]
