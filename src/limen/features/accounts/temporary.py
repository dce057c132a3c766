"""Passwords that an operator hands out, and that only lead to one of the account's own."""

import secrets
from typing import Final

LIFETIME_SECONDS: Final = 24 * 60 * 60
"""How long a temporary password may be used (ASVS 6.4.1: it expires after a short time)."""

_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""None of them is mistaken for another one when it is read aloud or copied from paper."""
_GROUP: Final = 5
_GROUPS: Final = 4


def new_temporary_password(least: int) -> str:
    """Return a random password of groups of five characters: 99 bits, or more where it has to be longer.

    Args:
        least: characters that a password needs here.
    """
    groups = _GROUPS
    while groups * (_GROUP + 1) - 1 < least:
        groups += 1
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(groups))
