"""What all tables have in common: names of constraints, types that both engines have, and the index of what ends."""

from sqlalchemy import JSON, BigInteger, Index, Integer, MetaData, String, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

IDENTIFIER = Uuid(as_uuid=False).with_variant(String(36), "sqlite")
"""A UUID: 36 characters where the engine has no type for it."""

JSON_VALUE = JSON().with_variant(JSONB(), "postgresql")
SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")


def expiry_of(table: str) -> list[Index]:
    """Return the index by which what has ended is swept: of what ends at all, which is little."""
    ends = text("expires_at IS NOT NULL")
    return [Index(f"ix_{table}_expires_at", "expires_at", sqlite_where=ends, postgresql_where=ends)]
