"""Permissions granted to single accounts, grants that end, and roles that nobody may hold at once.

Adds only, so the version before goes on working: it knows nothing of these permissions, and takes a role that is
granted for a time as held until the row goes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column and the tables."""
    op.add_column("limen_account_roles", sa.Column("expires_at", sa.BigInteger()))
    op.create_index(
        "ix_limen_account_roles_expires_at",
        "limen_account_roles",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_table(
        "limen_account_permissions",
        sa.Column("account_id", sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite"), nullable=False),
        sa.Column("permission", sa.String(256), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("account_id", "permission", name="pk_limen_account_permissions"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["limen_accounts.id"],
            name="fk_limen_account_permissions_account_id",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_limen_account_permissions_expires_at",
        "limen_account_permissions",
        ["expires_at"],
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_table(
        "limen_separated_roles",
        sa.Column("role", sa.String(128), nullable=False),
        sa.Column("other", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("role", "other", name="pk_limen_separated_roles"),
        sa.CheckConstraint("role <> other", name=op.f("ck_limen_separated_roles_other")),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0015')")
