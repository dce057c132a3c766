"""Requests that take others' yes, and messages whose work was begun."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from limen.storage.sql.tables.base import IDENTIFIER, METADATA

# Messages whose work was begun, of each consumer: a token of a message counts once.
SEEN_MESSAGES = Table(
    "limen_seen_messages",
    METADATA,
    Column("jti", IDENTIFIER, primary_key=True),
    Column("consumer", String(128), primary_key=True),
    Column("begun_at", BigInteger, nullable=False),
    Column("done_at", BigInteger),
    Column("keep_until", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# A request that takes others' yes. What it asks for never changes: to ask for something else is another row.
APPROVALS = Table(
    "limen_approvals",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("action", String(256), nullable=False),
    Column("resource", String(256)),
    # Canonical JSON, and its SHA-256.
    Column("payload", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("version", String(128)),
    Column("quorum", Integer, nullable=False),
    Column("given", Integer, nullable=False, server_default=text("0")),
    Column("status", String(16), nullable=False),
    # The principal's sub, which may be of another issuer; the account that it belonged to when it asked; and by what
    # others are found to be the same person later.
    Column("maker_id", String(64), nullable=False, index=True),
    Column("maker_account", IDENTIFIER),
    Column("maker_issuer", String(255)),
    Column("maker_subject", String(255)),
    Column("maker_sid", IDENTIFIER),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("decided_at", BigInteger),
    Column("decided_by", String(64)),
    Column("reason", String(500)),
    # The outbox: «queued» until it is done or given up; NULL where there is nothing to do, or nothing yet.
    Column("execution", String(16)),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", BigInteger),
    Column("lease", IDENTIFIER),
    Column("failure", String(64)),
    CheckConstraint("length(digest) = 32", name="digest"),
    CheckConstraint("quorum >= 1 AND given >= 0 AND given <= quorum", name="quorum"),
    CheckConstraint("(status = 'pending') = (decided_at IS NULL)", name="decided"),
    # Of two who ask for the same thing at once one does.
    Index(
        "uq_limen_approvals_pending",
        "action",
        "resource",
        unique=True,
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_limen_approvals_expires_at",
        "expires_at",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_limen_approvals_next_at",
        "next_at",
        sqlite_where=text("execution = 'queued'"),
        postgresql_where=text("execution = 'queued'"),
    ),
    Index("ix_limen_approvals_decided_at", "decided_at"),
    sqlite_with_rowid=False,
)

# Each yes; an account counts once, by whichever of its sessions and identities.
APPROVAL_VOTES = Table(
    "limen_approval_votes",
    METADATA,
    Column("request_id", IDENTIFIER, ForeignKey("limen_approvals.id", ondelete="CASCADE"), primary_key=True),
    Column("approver_id", IDENTIFIER, primary_key=True),
    Column("sid", IDENTIFIER, nullable=False),
    Column("approved_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
