"""Who has had a credential in hand, and which identities were linked to an account once: they asked for what it asked.

Adds only. What the version before rotates, takes away or unlinks is not noted here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision: str | None = "0020"
branch_labels: str | None = None
depends_on: str | None = None

IDENTIFIER = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "limen_credential_hands",
        sa.Column("credential_id", IDENTIFIER, nullable=False),
        sa.Column("held_by", sa.String(64), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("credential_id", "held_by", name="pk_limen_credential_hands"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_credential_hands_since", "limen_credential_hands", ["since"])
    op.create_table(
        "limen_former_identities",
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("unlinked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", "account_id", name="pk_limen_former_identities"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_former_identities_account_id", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_former_identities_account_id", "limen_former_identities", ["account_id"])
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0016')")
