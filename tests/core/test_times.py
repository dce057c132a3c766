"""Times as people and JSON write them."""

import pytest

from limen.core.times import rfc3339_of, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-12-31T00:00:00Z", 1_798_675_200),
        ("2026-12-31T00:00:00.999Z", 1_798_675_200),
        ("2026-12-31T02:00:00+02:00", 1_798_675_200),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_a_time_with_its_offset(text: str, seconds: int) -> None:
    """Whole seconds since 1970 UTC; what is written is read back."""
    assert seconds_of(text) == seconds
    assert seconds_of(rfc3339_of(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-12-31", "2026-12-31T00:00:00", "2026-13-31T00:00:00Z", "٢٠٢٦-12-31T00:00:00Z", "1798675200",
     "2026-12-31T00:00:00Z" + "0" * 30, "2026-12-31T00:00:00+99:99"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    """Without an offset it would be another moment on each machine."""
    assert seconds_of(text) is None
