"""API keys that came back with a restored database, until somebody confirms them.

Adds only, so the version before goes on working; it takes such a key as it always did.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("limen_api_keys", sa.Column("unconfirmed_since", sa.BigInteger()))
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0012')")
