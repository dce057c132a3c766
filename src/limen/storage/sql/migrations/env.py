"""What Alembic runs: limen's tables only, in a transaction that the caller has begun and will commit."""

from alembic import context

from limen.storage.sql.migrations import VERSION_TABLE
from limen.storage.sql.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
context.run_migrations()
