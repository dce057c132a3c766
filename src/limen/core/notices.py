"""Notices to the people behind accounts: what was done to an account, as plain values. No notice carries a secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail to the verified address of an account, if it has one, about what is done to it in the same transaction.

    Attributes:
        id: UUIDv7.
        kind: the name of its template.
        data: plain JSON values for the template; no secret.
        account_id: whose account; empty where the act that writes it knows.
    """

    id: str
    kind: str
    data: Mapping[str, object] = field(default_factory=dict, repr=False)
    account_id: str = ""


@dataclass(frozen=True, slots=True)
class NoticeBound:
    """How many notices of one kind an account gets, so that whoever acts cannot fill a mailbox.

    Attributes:
        most: so many.
        within_ms: in so many milliseconds.
    """

    most: int
    within_ms: int


_HOUR: Final = 60 * 60 * 1000
_DAY: Final = 24 * _HOUR
_BOUND: Final = NoticeBound(20, _DAY)
_BOUNDS: Final[Mapping[str, NoticeBound]] = {
    # A program that logs in by a password and keeps no cookie is new each time.
    "new_device": NoticeBound(3, _DAY),
    "login_after_failures": NoticeBound(3, _DAY),
    "session_stolen": NoticeBound(1, _HOUR),
    "api_key_issued": NoticeBound(10, _DAY),
}


def bound_of(kind: str) -> NoticeBound:
    """Return the bound of a kind."""
    return _BOUNDS.get(kind, _BOUND)
