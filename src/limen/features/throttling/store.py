"""What throttling asks of the store that counts."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol


class Take(NamedTuple):
    """One that is to be counted in a bucket.

    Attributes:
        bucket: its name, at most 64 characters of ASCII.
        most: how many the bucket holds.
        window_ms: after this time it is empty again (milliseconds), counted from the first one in it.
        renewed: each one that is counted begins the time anew.
    """

    bucket: str
    most: int
    window_ms: int
    renewed: bool = False


class Held(NamedTuple):
    """What is in a bucket.

    Attributes:
        taken: how many.
        ends_at: when it will be empty, milliseconds since 1970 UTC by the store's clock; names the window.
        ends_in: the same as a duration (milliseconds).
    """

    taken: int
    ends_at: int
    ends_in: int


class Back(NamedTuple):
    """One that is to be taken out again.

    Attributes:
        bucket: its name.
        ends_at: of which window it is; 0 for whichever there is.
        emptied: whether all are to be taken out.
    """

    bucket: str
    ends_at: int = 0
    emptied: bool = False


NOTHING: Final[Mapping[str, Held]] = MappingProxyType({})
"""No bucket."""


class Verdict(NamedTuple):
    """Whether all were counted.

    Attributes:
        held: what is in the buckets now, by name, where all were counted.
        full: what is in those that had no room, where they were not; empty where it was a matter of a moment.
        admitted: whether all were counted.
    """

    admitted: bool
    held: Mapping[str, Held] = NOTHING
    full: Mapping[str, Held] = NOTHING


class ThrottleStore(Protocol):
    """Counts, for all processes of an installation or for one."""

    async def take(self, takes: Sequence[Take]) -> Verdict:
        """Count one in each of the buckets, or none in any where one of them is full: one act, whoever else asks.

        However many ask at the same time, no more are admitted than a bucket holds. Where two that ask at the same
        moment take each other's last room, fewer may be.

        Raises:
            Unavailable: the store does not answer; whoever asked does not go on.
        """
        ...

    async def give_back(self, backs: Sequence[Back]) -> None:
        """Take out what is not to count. A bucket never holds less than nothing, and another window loses nothing.

        Raises:
            Unavailable: the store does not answer; what was counted stays.
        """
        ...
