"""The outbox, what mailed links prove, and whose an address is."""

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

# The outbox of mails. Once one is sent or given up, whom it was for and what it said are gone from its row.
MAILS = Table(
    "limen_mails",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("kind", String(64), nullable=False),
    # NULL while nobody has looked up whose address it is.
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), index=True),
    # Both as they were when it was asked for: a link is made only where they still are.
    Column("account_epoch", Integer),
    Column("roles_version", Integer),
    Column("recipient", String(254), nullable=False),
    Column("data", Text, nullable=False),
    # The proof that it carries, encrypted for this row.
    Column("sealed", LargeBinary),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("done_at", BigInteger, index=True),
    Column("lease", IDENTIFIER),
    Column("failure", String(64)),
    Index(
        "ix_limen_mails_recipient",
        "recipient",
        sqlite_where=text("status = 'queued'"),
        postgresql_where=text("status = 'queued'"),
    ),
    Index(
        "ix_limen_mails_next_at",
        "next_at",
        sqlite_where=text("status = 'queued'"),
        postgresql_where=text("status = 'queued'"),
    ),
    sqlite_with_rowid=False,
)

# What a mailed link proves. One for an account and a purpose: a newer one takes the place of the one before.
MAIL_PROOFS = Table(
    "limen_mail_proofs",
    METADATA,
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("purpose", String(16), primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("email", String(254), nullable=False),
    Column("account_epoch", Integer, nullable=False),
    # Of a link that an administrator had sent: it ends where the account's roles are changed.
    Column("roles_version", Integer),
    Column("expires_at", BigInteger, nullable=False, index=True),
    CheckConstraint("length(token_hash) = 32", name="token_hash"),
    sqlite_with_rowid=False,
)

# Whose an address is was proved by a mail to it. An account's address counts as verified where it stands here for it.
VERIFIED_EMAILS = Table(
    "limen_verified_emails",
    METADATA,
    Column("email", String(254), primary_key=True),
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("verified_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
