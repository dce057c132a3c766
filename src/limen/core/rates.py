"""How often something may be done: ``10/minute``, ``300/15 minutes``."""

import re
from dataclasses import dataclass
from typing import Final, Self

_UNITS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_RATE: Final = re.compile(r"\s*(\d{1,7})\s*(?:/|per)\s*(?:(\d{1,4})\s*)?(second|minute|hour|day)s?\s*\Z")
_LONGEST: Final = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Rate:
    """So many times in so many seconds, counted from the first time on.

    Attributes:
        most: how many times, at least 1.
        seconds: in how many seconds, at least 1 and at most a leap year.
    """

    most: int
    seconds: int

    def __post_init__(self) -> None:
        if self.most < 1 or not 1 <= self.seconds <= _LONGEST:
            raise ValueError("is no rate: at least once, in at least a second and at most a year")

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ``10/minute``, ``5 per second`` or ``300/15 minutes``.

        Raises:
            ValueError: it is none of that form, or says never.
        """
        found = _RATE.match(text.lower()) if text.isascii() else None
        if found is None:
            raise ValueError("is no rate: write 10/minute, or 300/15 minutes; units are second, minute, hour and day")
        most, number, unit = found.groups()
        return cls(int(most), int(number or 1) * _UNITS[unit])

    def __str__(self) -> str:
        unit = next(name for name, seconds in reversed(_UNITS.items()) if self.seconds % seconds == 0)
        number = self.seconds // _UNITS[unit]
        return f"{self.most}/{unit}" if number == 1 else f"{self.most}/{number} {unit}s"
