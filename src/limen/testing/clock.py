"""A clock that a test turns."""

import time


class TurnableClock:
    """Stands still, and goes on when it is turned.

    ::

        clock = TurnableClock()
        gate = Limen(settings, clock=clock)
        ...
        clock.turn(15 * 60)  # every access token has expired

    Args:
        start: where it begins, in seconds since 1970 UTC; now, unless given.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else float(start)

    def __call__(self) -> float:
        """Answer its time, in seconds since 1970 UTC."""
        return self._now

    def turn(self, seconds: float) -> None:
        """Go on by this many seconds; back, where they are negative, as clocks that are set right do."""
        self._now += seconds

    def __repr__(self) -> str:
        return f"TurnableClock({self._now!r})"
