"""Everything in the tables that is about one account, for an export of one's own data."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from limen.features.personal_data.store import MOST_ROWS, Row
from limen.storage.sql.database import Database
from limen.storage.sql.statement import Statement, Steps, rows

# What is read of each kind: its columns, and where they are.
_READ: Final = {
    "account": (
        (
            "a.id, a.username, a.email, v.email IS NOT NULL AS is_email_verified, a.status, a.account_kind AS kind,"
            " a.created_at, a.password_hash IS NOT NULL AS is_password_set, a.password_expires_at"
        ),
        (
            "FROM limen_accounts a LEFT JOIN limen_verified_emails v ON v.email = a.email AND v.account_id = a.id"
            " WHERE a.id = :id AND a.status <> 'deleted'"
        ),
    ),
    "roles": ("role, expires_at", "FROM limen_account_roles WHERE account_id = :id ORDER BY role"),
    "permissions": (
        "permission, expires_at",
        "FROM limen_account_permissions WHERE account_id = :id ORDER BY permission",
    ),
    "addresses": ("email, verified_at", "FROM limen_verified_emails WHERE account_id = :id ORDER BY email"),
    "sessions": (
        (
            "id, kind, user_agent, address, client_id, amr, auth_time AS authenticated_at, created_at,"
            " rotated_at AS last_used_at, ends_at"
        ),
        "FROM limen_sessions WHERE account_id = :id ORDER BY created_at DESC, id",
    ),
    "api_keys": (
        "id, name, scopes, networks, created_at, rotated_at, expires_at, last_used_at, revoked_at",
        "FROM limen_api_keys WHERE account_id = :id ORDER BY created_at DESC, id",
    ),
    "certificates": (
        "id, name, created_at",
        "FROM limen_client_certificates WHERE account_id = :id ORDER BY created_at DESC, id",
    ),
    "identities": (
        "id, provider, issuer, subject, created_at",
        "FROM limen_sso_identities WHERE account_id = :id ORDER BY created_at DESC, id",
    ),
    "former_identities": (
        "issuer, subject, unlinked_at",
        "FROM limen_former_identities WHERE account_id = :id ORDER BY unlinked_at DESC, issuer, subject",
    ),
    "approvals_requested": (
        "id, action, resource, payload, status, created_at, expires_at, decided_at, reason",
        "FROM limen_approvals WHERE maker_account = :id ORDER BY created_at DESC, id",
    ),
    "approvals_given": (
        "r.id, r.action, r.resource, v.approved_at",
        (
            "FROM limen_approval_votes v JOIN limen_approvals r ON r.id = v.request_id WHERE v.approver_id = :id"
            " ORDER BY v.approved_at DESC, r.id"
        ),
    ),
    "approvals_decided": (
        "id, action, resource, status, decided_at, reason",
        "FROM limen_approvals WHERE decided_by = CAST(:me AS text) ORDER BY decided_at DESC, id",
    ),
    "mails": (
        "kind, recipient, status, created_at, done_at",
        "FROM limen_mails WHERE account_id = :id ORDER BY created_at DESC, id",
    ),
}

_STATEMENTS: Final = {
    kind: Statement(f"SELECT {columns} {rest} LIMIT {MOST_ROWS}") for kind, (columns, rest) in _READ.items()
}
# The names by which the columns are shown.
_NAMES: Final = {
    kind: tuple(each.split(" AS ")[-1].split(".")[-1].strip() for each in columns.split(","))
    for kind, (columns, _) in _READ.items()
}

NOT_EXPORTED: Final = {
    "limen_changed_roles": "what the account holds, once more",
    "limen_credential_hands": "that a key or certificate was in the account's hands, by the account's id alone",
    "limen_ended_sessions": "ids of sessions that ended",
    "limen_erasures": "of deleted accounts",
    "limen_mail_proofs": "hashes of links that are on their way, and the address they are for",
    "limen_sso_codes": "a login at a provider under way, for a minute",
    "limen_sso_flows": "a login at a provider under way, for minutes",
    "limen_sso_sessions": "which provider a session came by: in the identities",
}
"""Tables that name an account, and why an export has nothing of them."""


class SQLPersonalData:
    """Implements `limen.features.personal_data.store.PersonalDataStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def about(self, account_id: str) -> Mapping[str, Sequence[Row]] | None:
        """Return the rows about an account, by what they are; see the Protocol."""
        return await self._database.read(partial(_about, account_id))


def _about(account_id: str) -> Steps[dict[str, list[Row]] | None]:
    told: dict[str, list[Row]] = {}
    for kind, statement in _STATEMENTS.items():
        found = yield from rows(statement, id=account_id, me=account_id)
        told[kind] = [{name: _plain(value) for name, value in zip(_NAMES[kind], each, strict=True)} for each in found]
    return told if told["account"] else None


def _plain(value: object) -> object:
    """Return a value as JSON has it: PostgreSQL's own ids become texts."""
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
