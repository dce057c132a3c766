"""Brings a database to the schema of this version.

Whether there is anything to do is told by one row, so that the start of an up-to-date installation imports neither
Alembic nor SQLAlchemy.
"""

from dataclasses import dataclass
from enum import StrEnum

from limen.core.errors import ConfigurationError
from limen.storage.sql.statement import Statement

VERSION_TABLE = "limen_schema_version"
"""Not Alembic's default name: an application in the same database may use Alembic for its own tables."""

READ_COMPATIBLE = Statement("SELECT revision FROM limen_schema_compatible WHERE revision = :revision")
"""Tells whether code that knows schemas up to a revision works with a later one: each migration says whose does."""

READ_VERSION = Statement("SELECT version_num FROM limen_schema_version")

REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0007",
    "0008",
    "0010",
    "0011",
    "0012",
    "0014",
    "0015",
    "0018",
    "0020",
    "0016",
    "0019",
    "0024",
    "0023",
    "0022",
)
"""Every revision this version knows, oldest first; a test compares them with the files."""


class Standing(StrEnum):
    """How the schema of a database stands to the code."""

    CURRENT = "current"
    BEHIND = "behind"
    NEWER = "newer"


def standing(version: str | None) -> Standing:
    """Compare the version a database bears (None: it bears none) with what this code knows."""
    if version is None:
        return Standing.BEHIND
    if version not in REVISIONS:
        return Standing.NEWER
    return Standing.CURRENT if version == REVISIONS[-1] else Standing.BEHIND


@dataclass(frozen=True, slots=True)
class Schema:
    """Which schema a database bears.

    Attributes:
        revision: its revision; None where limen has never been there.
        expected: the revision that this code makes.
        standing: how that is to what this code knows.
        suits: whether this code works with it as it is.
    """

    revision: str | None
    expected: str
    standing: Standing
    suits: bool

    @classmethod
    def of(cls, revision: str | None, *, compatible: bool) -> "Schema":
        """Say how a revision stands; ``compatible`` is what one that this code does not know says of it."""
        known = standing(revision)
        suits = known is Standing.CURRENT or (known is Standing.NEWER and compatible)
        return cls(revision, REVISIONS[-1], known, suits)


def refuse_behind(version: str | None) -> None:
    """Raise ConfigurationError for a database that is to be migrated, for where a start may not do so."""
    if standing(version) is Standing.BEHIND:
        raise ConfigurationError(
            f"The schema of the database is {version or 'not there'}, this version needs {REVISIONS[-1]}, and"
            " LIMEN_MIGRATE=never keeps a start from migrating it. Run: limen db upgrade"
        )


def refuse_newer(version: str | None, *, compatible: bool = False) -> None:
    """Raise ConfigurationError for a database that a later version of limen has migrated already.

    Statements of this version may mean something else in that schema; nothing is tried, unless the schema itself says
    that this version works with it. So a process of the version before may start again while an upgrade is rolled out.
    """
    if standing(version) is Standing.NEWER and not compatible:
        raise ConfigurationError(
            f"The database is of a newer limen than this one: its schema is {version!r}, this version knows up to"
            f" {REVISIONS[-1]!r}. Start the newer version, or restore the backup that was made before it."
        )
