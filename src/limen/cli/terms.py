"""``--until`` and ``--for``: how long a grant holds."""

import re
from typing import Annotated, Final, NamedTuple

import typer

from limen.cli.exits import UsageError
from limen.core.times import seconds_of

Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="When it ends, such as 2026-12-31T00:00:00Z.")
]
For = Annotated[str | None, typer.Option("--for", metavar="SPAN", help="How long it holds, such as 30m, 8h or 14d.")]

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SPAN: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])")


class Ends(NamedTuple):
    """When a grant ends: in seconds since 1970 UTC, or after so many seconds, or not by itself."""

    until: int | None
    lifetime: int | None


def terms(until: str | None, span: str | None) -> Ends:
    """Return what the two options say.

    Raises:
        UsageError: both are given, or one is no time.
    """
    if until is not None and span is not None:
        raise UsageError("A grant ends at a time, or after a while: --until or --for, not both.")
    if until is not None:
        moment = seconds_of(until)
        if moment is None:
            raise UsageError("--until is no time.", "Write it as 2026-12-31T00:00:00Z.")
        return Ends(moment, None)
    if span is None:
        return Ends(None, None)
    found = _SPAN.fullmatch(span)
    if found is None:
        raise UsageError("--for is no span of time.", "Write it as 30m, 8h or 14d.")
    return Ends(None, int(found[1]) * _SECONDS[found[2]])
