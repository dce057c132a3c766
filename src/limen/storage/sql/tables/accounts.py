"""Accounts, roles, and who holds what."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    false,
    text,
)

from limen.storage.sql.tables.base import IDENTIFIER, METADATA, expiry_of

ACCOUNTS = Table(
    "limen_accounts",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    # Compared byte by byte on PostgreSQL as on SQLite: what lists by name pages by name, whatever the locale.
    Column("username", String(64).with_variant(String(64, collation="C"), "postgresql"), nullable=False, unique=True),
    # Not unique: an address that nobody verified proves nothing, and a refusal would reveal who is registered.
    Column("email", String(320), index=True),
    # No list of states: a state that a later version adds must be readable, and count as «not active».
    Column("status", String(16), nullable=False),
    Column("password_hash", Text),
    Column("session_epoch", Integer, nullable=False, server_default=text("0")),
    Column("second_factor_required", Boolean(create_constraint=False), nullable=False, server_default=false()),
    Column("roles_version", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    # Of a password that an operator set: it opens nothing but the way to one of the account's own, and only until then.
    Column("password_expires_at", BigInteger),
    # «person» or «service»; no login opens a session for a service.
    Column("account_kind", String(16), nullable=False, server_default="person"),
    CheckConstraint("length(username) > 0", name="username"),
    CheckConstraint("session_epoch >= 0", name="session_epoch"),
    sqlite_with_rowid=False,
)

ROLES = Table(
    "limen_roles",
    METADATA,
    Column("name", String(128), primary_key=True),
    # «retired»: the code no longer declares it, accounts still hold it. It gives nothing until it is declared again.
    Column("source", String(16), nullable=False),
    CheckConstraint("source IN ('code', 'database', 'retired')", name="source"),
    sqlite_with_rowid=False,
)

ROLE_PERMISSIONS = Table(
    "limen_role_permissions",
    METADATA,
    Column("role", String(128), ForeignKey("limen_roles.name", ondelete="CASCADE"), primary_key=True),
    Column("permission", String(256), primary_key=True),
    sqlite_with_rowid=False,
)

ROLE_EXTENSIONS = Table(
    "limen_role_extensions",
    METADATA,
    Column("role", String(128), ForeignKey("limen_roles.name", ondelete="CASCADE"), primary_key=True),
    # The role whose permissions it has as well. It cannot go while another extends it.
    Column("extends", String(128), ForeignKey("limen_roles.name"), primary_key=True, index=True),
    CheckConstraint("role <> extends", name="extends"),
    sqlite_with_rowid=False,
)

# One row. Whoever changes what a role means raises the version it has seen, so that two who change at once are told
# apart; whoever might take away the last administrator locks it. Every process reads the roles anew when it differs.
CATALOGUE = Table(
    "limen_catalogue",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="id"),
    sqlite_with_rowid=False,
)

ACCOUNT_ROLES = Table(
    "limen_account_roles",
    METADATA,
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(128), ForeignKey("limen_roles.name"), primary_key=True, index=True),
    # Until when it is held; NULL for good.
    Column("expires_at", BigInteger),
    *expiry_of("limen_account_roles"),
    sqlite_with_rowid=False,
)

# What an account may beside what its roles give.
ACCOUNT_PERMISSIONS = Table(
    "limen_account_permissions",
    METADATA,
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("permission", String(256), primary_key=True),
    Column("expires_at", BigInteger),
    *expiry_of("limen_account_permissions"),
    sqlite_with_rowid=False,
)

# Pairs of roles that nobody may hold at once, the names in their order. No foreign keys: what the code has separated
# stays so while one of the two is not declared.
SEPARATED_ROLES = Table(
    "limen_separated_roles",
    METADATA,
    Column("role", String(128), primary_key=True),
    Column("other", String(128), primary_key=True),
    CheckConstraint("role <> other", name="other"),
    sqlite_with_rowid=False,
)

# Deleted accounts of which the audit trail still has details.
ERASURES = Table(
    "limen_erasures",
    METADATA,
    # No foreign key: it is about what is no account any more.
    Column("account_id", IDENTIFIER, primary_key=True),
    Column("actor", String(64), nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    # Until then one process works on it.
    Column("lease_until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
