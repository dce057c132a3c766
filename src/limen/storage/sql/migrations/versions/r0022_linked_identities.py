"""Which identities were linked from inside an account, and did not come with it: a reset of the password ends those.

Adds only. The rows that were there, and those that the version before writes, do not say it; they are told apart by the
times of identity and account.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision: str | None = "0023"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("limen_sso_identities", sa.Column("was_linked", sa.Boolean()))
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0022')")
