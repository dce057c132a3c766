"""Requests that take others' yes, who gave it, and what is still to be executed.

Adds only, so the version before goes on working; it knows nothing of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None

_ID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "limen_approvals",
        sa.Column("id", _ID, nullable=False),
        sa.Column("action", sa.String(256), nullable=False),
        sa.Column("resource", sa.String(256)),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("version", sa.String(128)),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("given", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("maker_id", sa.String(64), nullable=False),
        sa.Column("maker_account", _ID),
        sa.Column("maker_issuer", sa.String(255)),
        sa.Column("maker_subject", sa.String(255)),
        sa.Column("maker_sid", _ID),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger()),
        sa.Column("decided_by", sa.String(64)),
        sa.Column("reason", sa.String(500)),
        sa.Column("execution", sa.String(16)),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("next_at", sa.BigInteger()),
        sa.Column("lease", _ID),
        sa.Column("failure", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_limen_approvals"),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_limen_approvals_digest")),
        sa.CheckConstraint("quorum >= 1 AND given >= 0 AND given <= quorum", name=op.f("ck_limen_approvals_quorum")),
        sa.CheckConstraint("(status = 'pending') = (decided_at IS NULL)", name=op.f("ck_limen_approvals_decided")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_approvals_maker_id", "limen_approvals", ["maker_id"])
    op.create_index("ix_limen_approvals_decided_at", "limen_approvals", ["decided_at"])
    _index("uq_limen_approvals_pending", ["action", "resource"], "status = 'pending'", unique=True)
    _index("ix_limen_approvals_expires_at", ["expires_at"], "status = 'pending'")
    _index("ix_limen_approvals_next_at", ["next_at"], "execution = 'queued'")
    op.create_table(
        "limen_approval_votes",
        sa.Column("request_id", _ID, nullable=False),
        sa.Column("approver_id", _ID, nullable=False),
        sa.Column("sid", _ID, nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "approver_id", name="pk_limen_approval_votes"),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["limen_approvals.id"],
            name="fk_limen_approval_votes_request_id_limen_approvals",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0014')")


def _index(name: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    op.create_index(
        name,
        "limen_approvals",
        columns,
        unique=unique,
        sqlite_where=sa.text(condition),
        postgresql_where=sa.text(condition),
    )
