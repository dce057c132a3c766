"""The names of client certificates by which services are known.

Adds only, so the version before goes on working; it knows no certificates.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the table."""
    identifier = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
    op.create_table(
        "limen_client_certificates",
        sa.Column("id", identifier, nullable=False),
        sa.Column("account_id", identifier, nullable=False),
        sa.Column("name", sa.String(1100), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_client_certificates_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_limen_client_certificates"),
        sa.UniqueConstraint("name", name="uq_limen_client_certificates_name"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_client_certificates_account_id", "limen_client_certificates", ["account_id"])
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0010')")
