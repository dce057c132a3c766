"""Accounts as other software exports them: limen's own JSON lines, fastapi-users, Django, Keycloak."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec

from limen.crypto.foreign_hashes import argon2_of, pbkdf2
from limen.features.accounts.foreign_files import ForeignFile, Record, Unreadable


@dataclass(frozen=True, slots=True)
class ForeignAccount:
    """One account of another software, as it is there.

    Attributes:
        line: where it stands in the file.
        key: the id that it has there, as text.
        username: as it is written there.
        email: as it is written there.
        email_verified: what is said there; believed only where an operator says so.
        password_hash: as it is stored there; None where no password opens the account.
        roles: the names of its roles there.
        active: False makes a disabled account of it.
        created_at: milliseconds since 1970 UTC; None where that is not known.
        id: a UUIDv7 to be kept as the account's id; None for a new one.
        second_factor: it asks for more than a password there.
        fault: why it cannot be brought along, by a code; empty where it can.
    """

    line: int
    key: str
    username: str
    email: str | None = None
    email_verified: bool = False
    password_hash: str | None = field(default=None, repr=False)
    roles: frozenset[str] = frozenset()
    active: bool = True
    created_at: int | None = None
    id: str | None = None
    second_factor: bool = False
    fault: str = ""


Read: TypeAlias = ForeignAccount | Unreadable

_DEFAULT_ROLES: Final = frozenset({"offline_access", "uma_authorization"})
_SECOND_FACTORS: Final = frozenset({"otp", "totp", "hotp", "webauthn", "webauthn-passwordless", "recovery-authn-codes"})
_TRUE: Final = frozenset({"1", "t", "true", "yes"})
_FALSE: Final = frozenset({"0", "f", "false", "no", ""})


class _Own(msgspec.Struct, forbid_unknown_fields=True):
    """A line of limen's own format."""

    username: str
    email: str | None = None
    email_verified: bool = False
    password_hash: str | None = None
    roles: list[str] = []
    disabled: bool = False
    created_at: str | None = None
    id: str | None = None
    key: str | None = None


def accounts_in(file: ForeignFile, source: str) -> Iterator[Read]:
    """Read the accounts of a file, one by one.

    Args:
        file: which one.
        source: ``jsonl``, ``fastapi-users``, ``django`` or ``keycloak``.
    """
    begins = file.begins_with()
    if source == "jsonl":
        return _each(file.lines(), _own)
    if source == "fastapi-users":
        is_csv = not begins.startswith((b"{", b"["))
        read = file.rows() if is_csv else _items_or_lines(file, begins)
        return _each(read, fastapi_users)
    if source == "django":
        return _each(_items_or_lines(file, begins), _django)
    return _each(_items_or_lines(file, begins) if begins.startswith(b"[") else file.items("users"), _keycloak)


def accounts_of_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Read]:
    """Read the rows of a table of fastapi-users."""
    return _each((Record(number, row) for number, row in enumerate(rows, 1)), fastapi_users)


def _items_or_lines(file: ForeignFile, begins: bytes) -> Iterator[Record | Unreadable]:
    return file.items() if begins.startswith(b"[") else file.lines()


def _each(read: Iterator[Record | Unreadable], convert: Callable[[int, Any], ForeignAccount | None]) -> Iterator[Read]:
    for each in read:
        if isinstance(each, Unreadable):
            yield each
            continue
        try:
            account = convert(each.line, each.value)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            yield Unreadable(each.line, "malformed")
            continue
        if account is not None:
            yield account


def _own(line: int, value: Any) -> ForeignAccount:
    found = msgspec.convert(value, _Own)
    return ForeignAccount(
        line=line,
        key=found.key or found.id or "",
        username=found.username,
        email=found.email,
        email_verified=found.email_verified,
        password_hash=found.password_hash,
        roles=frozenset(found.roles),
        active=not found.disabled,
        created_at=_moment(found.created_at),
        id=found.id,
    )


def fastapi_users(line: int, value: Any) -> ForeignAccount:
    """Read a row of fastapi-users' table ``user``: the address is the name there."""
    email = _text(value["email"])
    return ForeignAccount(
        line=line,
        key=_key(value.get("id")),
        username=_text(value.get("username") or email),
        email=email,
        email_verified=_flag(value.get("is_verified", False)),
        password_hash=_text(value.get("hashed_password") or "") or None,
        roles=frozenset({"superuser"}) if _flag(value.get("is_superuser", False)) else frozenset(),
        active=_flag(value.get("is_active", True)),
    )


def _django(line: int, value: Any) -> ForeignAccount | None:
    """Read an object of ``manage.py dumpdata``; None where it is no account."""
    fields = value["fields"]
    if "password" not in fields or not ("username" in fields or "email" in fields):
        return None
    stored = _text(fields["password"])
    email = _text(fields.get("email") or "") or None
    roles = {"superuser"} if _flag(fields.get("is_superuser", False)) else set()
    roles |= {"staff"} if _flag(fields.get("is_staff", False)) else set()
    for group in fields.get("groups") or []:
        # With --natural-foreign a group is its name, in a list; otherwise a number, which says nothing here.
        roles.add(_text(group[0]) if isinstance(group, list) else f"group:{int(group)}")
    return ForeignAccount(
        line=line,
        key=_key(value.get("pk")),
        username=_text(fields.get("username") or email),
        email=email,
        password_hash=None if not stored or stored.startswith("!") else stored,
        roles=frozenset(roles),
        active=_flag(fields.get("is_active", True)),
        created_at=_moment(fields.get("date_joined")),
    )


def _keycloak(line: int, value: Any) -> ForeignAccount:
    """Read a user of a realm export."""
    credentials = value.get("credentials") or []
    kinds = {each.get("type") for each in credentials}
    passwords = [each for each in credentials if each.get("type") == "password"]
    client_roles = value.get("clientRoles") or {}
    roles = {_text(role) for role in value.get("realmRoles") or []} - _DEFAULT_ROLES
    roles = {role for role in roles if not role.startswith("default-roles-")}
    roles |= {f"{client}/{_text(role)}" for client, of_client in client_roles.items() for role in of_client}
    created = value.get("createdTimestamp")
    return ForeignAccount(
        line=line,
        key=_key(value.get("id")),
        username=_text(value["username"]),
        email=_text(value.get("email") or "") or None,
        email_verified=_flag(value.get("emailVerified", False)),
        password_hash=_keycloak_hash(passwords[0]) if passwords else None,
        roles=frozenset(roles),
        active=_flag(value.get("enabled", True)),
        created_at=None if created is None else int(created),
        second_factor=bool(kinds & _SECOND_FACTORS) or _flag(value.get("totp", False)),
        fault="service_account" if value.get("serviceAccountClientId") else "",
    )


def _keycloak_hash(credential: Mapping[str, Any]) -> str:
    """Return the hash of a credential; of one that cannot be read, what is refused as unknown."""
    try:
        how, secret = json.loads(credential["credentialData"]), json.loads(credential["secretData"])
        passes = int(how["hashIterations"])
        salt, key = (base64.b64decode(secret[name], validate=True) for name in ("salt", "value"))
        name = _text(how["algorithm"])
        if name == "argon2":
            more = {each: values[0] for each, values in how["additionalParameters"].items()}
            version = {"1.3": 19, "1.0": 16}[more.get("version", "1.3")]
            cost = (int(more["memory"]), passes, int(more["parallelism"]))
            return argon2_of(_text(more.get("type", "id")), version, cost, salt, key)
        digest = {"pbkdf2": "sha1", "pbkdf2-sha256": "sha256", "pbkdf2-sha512": "sha512"}[name]
        return pbkdf2(digest, passes, salt, key)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, binascii.Error):
        return "unreadable"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _key(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return "" if value is None else str(value)[:128]


def _flag(value: Any) -> bool:
    """Read a truth: of JSON, of a database, or a word of a table of values."""
    if isinstance(value, bool | int):
        return bool(value)
    word = _text(value).strip().casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("neither true nor false")


def _moment(value: Any) -> int | None:
    """Read a time of RFC 3339 as milliseconds since 1970 UTC; one without an offset is taken for UTC."""
    if value is None or value == "":
        return None
    moment = datetime.fromisoformat(_text(value))
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
