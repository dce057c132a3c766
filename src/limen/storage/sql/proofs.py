"""Ends the links that are on their way by mail: those that were made, and those that are still to be made."""

from limen.storage.sql.statement import Statement, Steps, run

_TAKE_PROOFS = Statement("DELETE FROM limen_mail_proofs WHERE account_id = :account_id")

# Of a forgotten password the mail knows only the address. A notice carries no link, and stays.
_TAKE_QUEUED = Statement("""
DELETE FROM limen_mails
 WHERE status = 'queued' AND kind IN ('reset', 'verify')
   AND (account_id = :account_id OR (account_id IS NULL AND recipient IN (
            SELECT v.email FROM limen_verified_emails v
              JOIN limen_accounts a ON a.id = v.account_id AND a.email = v.email
             WHERE v.account_id = :account_id)))
""")

_TAKE_PROOFS_BETWEEN = Statement("DELETE FROM limen_mail_proofs WHERE account_id > :after AND account_id <= :last")

_TAKE_QUEUED_BETWEEN = Statement("""
DELETE FROM limen_mails
 WHERE status = 'queued' AND kind IN ('reset', 'verify')
   AND ((account_id > :after AND account_id <= :last) OR (account_id IS NULL AND recipient IN (
            SELECT v.email FROM limen_verified_emails v
              JOIN limen_accounts a ON a.id = v.account_id AND a.email = v.email
             WHERE v.account_id > :after AND v.account_id <= :last)))
""")


_TAKE_QUEUED_STARTED = Statement("""
DELETE FROM limen_mails WHERE status = 'queued' AND kind = 'reset' AND roles_version IS NOT NULL
""")

_TAKE_STARTED = Statement("DELETE FROM limen_mail_proofs WHERE roles_version IS NOT NULL")


def take_started() -> Steps[None]:
    """Delete every link that an administrator started: an account may be able to do more now than they held then.

    To be called with the catalogue's row locked, as whoever starts one locks it. Mails first: whoever makes a link from
    one holds its row until the proof can be seen.
    """
    yield from run(_TAKE_QUEUED_STARTED)
    yield from run(_TAKE_STARTED)


def take_proofs(account_id: str) -> Steps[None]:
    """Delete every proof of the account, and every mail that carries one or is to carry one.

    To be called with the account's row locked, and before its address is changed: whoever makes a link locks the row
    first, so a mail that somebody has claimed already is found gone.
    """
    yield from run(_TAKE_PROOFS, account_id=account_id)
    yield from run(_TAKE_QUEUED, account_id=account_id)


def take_proofs_between(after: str, last: str) -> Steps[None]:
    """The same for every account whose id is beyond ``after``, up to ``last``."""
    yield from run(_TAKE_PROOFS_BETWEEN, after=after, last=last)
    yield from run(_TAKE_QUEUED_BETWEEN, after=after, last=last)
