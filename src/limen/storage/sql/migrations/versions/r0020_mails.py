"""Mails that wait to be sent, the proofs that they carry, and addresses that were proved.

Adds only: the version before sends no mail, and asks for no proof.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision: str | None = "0018"
branch_labels: str | None = None
depends_on: str | None = None

IDENTIFIER = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    _mails()
    op.create_table(
        "limen_mail_proofs",
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("roles_version", sa.Integer()),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "purpose", name="pk_limen_mail_proofs"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_mail_proofs_account_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("token_hash", name="uq_limen_mail_proofs_token_hash"),
        sa.CheckConstraint("length(token_hash) = 32", name=op.f("ck_limen_mail_proofs_token_hash")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_mail_proofs_expires_at", "limen_mail_proofs", ["expires_at"])
    op.create_table(
        "limen_verified_emails",
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("verified_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("email", name="pk_limen_verified_emails"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_verified_emails_account_id", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_verified_emails_account_id", "limen_verified_emails", ["account_id"])
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0020')")


def _mails() -> None:
    op.create_table(
        "limen_mails",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("account_id", IDENTIFIER),
        sa.Column("account_epoch", sa.Integer()),
        sa.Column("roles_version", sa.Integer()),
        sa.Column("recipient", sa.String(254), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger()),
        sa.Column("done_at", sa.BigInteger()),
        sa.Column("lease", IDENTIFIER),
        sa.Column("failure", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_limen_mails"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_mails_account_id", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_mails_account_id", "limen_mails", ["account_id"])
    op.create_index("ix_limen_mails_done_at", "limen_mails", ["done_at"])
    op.create_index(
        "ix_limen_mails_recipient",
        "limen_mails",
        ["recipient"],
        sqlite_where=sa.text("status = 'queued'"),
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_limen_mails_next_at",
        "limen_mails",
        ["next_at"],
        sqlite_where=sa.text("status = 'queued'"),
        postgresql_where=sa.text("status = 'queued'"),
    )
