"""How far each sink has been handed the sealed trail: one row a sink.

Adds only: a process of the version before hands nothing on, and does not look here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision: str | None = "0019"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "limen_trail_sinks",
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("link", sa.LargeBinary(32)),
        sa.Column("checkpoint_at", sa.BigInteger(), nullable=False),
        sa.Column("lease", sa.String(36)),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(200)),
        sa.Column("handed_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name", name="pk_limen_trail_sinks"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0024')")
