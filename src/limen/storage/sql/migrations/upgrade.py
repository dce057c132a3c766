"""Runs the migrations that a database lacks. Imported only where there is something to do: Alembic takes its time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def configuration() -> Config:
    """Return Alembic's configuration for limen's own scripts; there is no ``alembic.ini``."""
    config = Config()
    # A percent sign in the path would be read as the start of an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection) -> None:
    """Run every missing migration inside the transaction that the connection is in.

    The caller holds the lock that keeps other processes out, and commits.
    """
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
