"""How rates are written."""

import pytest

from limen.core.rates import Rate


@pytest.mark.parametrize(
    ("text", "most", "seconds", "canonical"),
    [
        ("10/minute", 10, 60, "10/minute"),
        ("300/15 minutes", 300, 900, "300/15 minutes"),
        ("5 per second", 5, 1, "5/second"),
        ("1 / HOUR", 1, 3_600, "1/hour"),
        ("7/60 minutes", 7, 3_600, "7/hour"),
        ("2/30days", 2, 30 * 86_400, "2/30 days"),
    ],
)
def test_a_rate_is_read_and_has_one_spelling(text: str, most: int, seconds: int, canonical: str) -> None:
    """How often, and in how many seconds; what is written down again is read as the same."""
    rate = Rate.of(text)
    assert (rate.most, rate.seconds, str(rate)) == (most, seconds, canonical)
    assert Rate.of(str(rate)) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "0/minute",
        "-1/minute",
        "10/month",
        "10/0 minutes",
        "1.5/minute",
        "10/minute;",
        "1/367 days",
        "\u0661/minute",
    ],
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    """Never, in no time, and what is not of the form, are no limits."""
    with pytest.raises(ValueError, match="is no rate"):
        Rate.of(text)
