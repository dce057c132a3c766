"""API keys, and accounts of services.

Adds only, so the version before goes on working; to it the account of a service is one that nobody has a password for.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column and the table.

    The column is not called «kind»: statements of the version before join sessions, which have one of that name.
    """
    op.add_column("limen_accounts", sa.Column("account_kind", sa.String(16), nullable=False, server_default="person"))
    identifier = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
    op.create_table(
        "limen_api_keys",
        sa.Column("id", identifier, nullable=False),
        sa.Column("account_id", identifier, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("previous_kid", sa.String(16)),
        sa.Column("previous_hash", sa.LargeBinary(32)),
        sa.Column("overlap_until", sa.BigInteger()),
        sa.Column("rotations", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("scopes", sa.Text()),
        sa.Column("networks", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("rotated_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.CheckConstraint("length(secret_hash) = 32", name=op.f("ck_limen_api_keys_secret_hash")),
        sa.CheckConstraint(
            "(previous_kid IS NULL AND previous_hash IS NULL AND overlap_until IS NULL)"
            " OR (previous_kid IS NOT NULL AND length(previous_hash) = 32 AND overlap_until IS NOT NULL)",
            name=op.f("ck_limen_api_keys_previous"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_api_keys_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_limen_api_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_api_keys_account_id", "limen_api_keys", ["account_id"])
    op.create_index("ix_limen_api_keys_expires_at", "limen_api_keys", ["expires_at"])
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0007')")
