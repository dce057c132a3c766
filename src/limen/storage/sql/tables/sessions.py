"""Sessions, which ended, and how often something was tried."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from limen.storage.sql.tables.base import IDENTIFIER, METADATA

# On PostgreSQL its pages are left some room (fillfactor 70, by a migration), so that a rotation stays on its page.
SESSIONS = Table(
    "limen_sessions",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("account_epoch", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("token_hash", LargeBinary(32), nullable=False),
    Column("parent_hash", LargeBinary(32)),
    Column("nonce", LargeBinary(16)),
    Column("kid", String(16), nullable=False),
    # No index on what a rotation changes: on PostgreSQL each refresh would then rewrite every index (no HOT update).
    # None on ends_at either: the sweep walks the primary key, since most rows end by idleness, long before.
    Column("rotated_at", BigInteger, nullable=False),
    Column("idle_until", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("auth_time", BigInteger, nullable=False),
    # Method references (RFC 8176), separated by spaces.
    Column("amr", String(128), nullable=False),
    Column("acr", String(128)),
    Column("client_id", String(128), nullable=False),
    Column("cnf", Text),
    Column("user_agent", String(256), nullable=False),
    Column("address", String(64), nullable=False),
    CheckConstraint("kind IN ('refresh', 'cookie')", name="kind"),
    CheckConstraint("generation >= 0", name="generation"),
    CheckConstraint("length(token_hash) = 32", name="token_hash"),
    CheckConstraint(
        "(generation = 0 AND parent_hash IS NULL AND nonce IS NULL)"
        " OR (generation > 0 AND length(parent_hash) = 32 AND length(nonce) = 16)",
        name="parent",
    ),
    CheckConstraint("idle_until <= ends_at", name="ends"),
    sqlite_with_rowid=False,
)

ENDED_SESSIONS = Table(
    "limen_ended_sessions",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    # No foreign key: what is listed here must outlive the account it belonged to.
    Column("account_id", IDENTIFIER, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("ended_at", BigInteger, nullable=False, index=True),
    Column("keep_until", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# Which roles an account holds now, kept while an access token with other ones may be alive. A token whose roles are not
# exactly these is stale: no times are compared, so a refresh that is under way cannot slip through.
CHANGED_ROLES = Table(
    "limen_changed_roles",
    METADATA,
    # No foreign key: what is listed here must outlive the account.
    Column("account_id", IDENTIFIER, primary_key=True),
    Column("roles", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False, index=True),
    Column("keep_until", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# How often something was tried. The name of a bucket is an HMAC: neither who nor from where can be read from it.
THROTTLES = Table(
    "limen_throttles",
    METADATA,
    Column("bucket", String(64), primary_key=True),
    Column("most", Integer, nullable=False),
    Column("window_ms", BigInteger, nullable=False),
    Column("renewed", Integer, nullable=False),
    Column("taken", Integer, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Index("ix_limen_throttles_ends_at", "ends_at"),
    sqlite_with_rowid=False,
)
