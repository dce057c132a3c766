"""Signing keys: their public halves for everybody, their private ones sealed.

Adds only, so the version before goes on working; it knows nothing of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the table; no installation has a key yet."""
    op.create_table(
        "limen_signing_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("alg", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("public_jwk", sa.Text(), nullable=False),
        sa.Column("private_key", sa.LargeBinary()),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("signs_at", sa.BigInteger()),
        sa.Column("stopped_at", sa.BigInteger()),
        sa.Column("keep_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("kid", name="pk_limen_signing_keys"),
        sa.CheckConstraint(
            "(state IN ('published', 'signing') AND private_key IS NOT NULL)"
            " OR (state IN ('retiring', 'retired') AND private_key IS NULL AND keep_until IS NOT NULL)",
            name=op.f("ck_limen_signing_keys_state"),
        ),
        sqlite_with_rowid=False,
    )
    for state in ("published", "signing"):
        condition = sa.text(f"state = '{state}'")
        op.create_index(
            f"uq_limen_signing_keys_{state}",
            "limen_signing_keys",
            ["alg"],
            unique=True,
            sqlite_where=condition,
            postgresql_where=condition,
        )
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0005')")
