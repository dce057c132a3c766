"""What a request is about: one text for one thing, whatever somebody has sent."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest

from limen.core.errors import ConfigurationError, InvalidInput
from limen.web.canonical_path import canonical, named_by, path_itself


class Colour(Enum):
    """An enum by value."""

    RED = "red"


class Level(IntEnum):
    """An enum that is a number."""

    HIGH = 3


HERE = timezone(timedelta(hours=2))
UUID_TEXT = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (-7, "-7"),
        (True, "true"),
        (Colour.RED, "red"),
        (Level.HIGH, "3"),
        (UUID(UUID_TEXT.upper()), UUID_TEXT),
        (Decimal("7.00"), "7"),
        (Decimal("7E+2"), "700"),
        (Decimal("-0"), "0"),
        (Decimal(70), "70"),
        (Decimal("0.1234567890123456789012345678901"), "0.1234567890123456789012345678901"),
        (-0.0, "0.0"),
        (datetime(2026, 1, 1, 2, tzinfo=HERE), "2026-01-01T00:00:00+00:00"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        (date(2026, 7, 1), "2026-07-01"),
        (ip_address("::0:1"), "::1"),
        ("tea", "tea"),
        ("A-07", "A-07"),
        ("7", "7"),
        ("", ""),
    ],
)
def test_the_same_value_has_the_same_text(value: object, text: str) -> None:
    """By its type, not by how it was spelt."""
    assert canonical("id", value) == text


@pytest.mark.parametrize(
    "value",
    [
        "07",
        "+7",
        "-0",
        "7_0",
        " 7",
        "\u0667",
        Decimal("NaN"),
        float("inf"),
        Decimal("1E+999999999"),
        Decimal("1E-999999"),
    ],
)
def test_what_has_no_text_of_its_own_is_refused(value: object) -> None:
    """It is 422, and names the parameter, not the value."""
    with pytest.raises(InvalidInput) as refused:
        canonical("id", value)
    assert [fault.loc for fault in refused.value.errors] == [("path", "id")]


@pytest.mark.parametrize("value", [None, object(), [7], b"7"])
def test_a_type_without_a_text_is_a_mistake_of_the_code(value: object) -> None:
    """Two requests for the same object would otherwise never be the same."""
    with pytest.raises(ConfigurationError, match="parameter id"):
        named_by("payout:{id}", {"id": value})


@pytest.mark.parametrize(
    ("path", "raw", "converted", "is_good"),
    [
        ("/pay/7", {"id": "7"}, {"id": 7}, True),
        ("/pay/07", {"id": "07"}, {"id": 7}, False),
        ("/pay/7", {"id": 7}, {"id": 7}, True),
        ("/pay/07", {"id": 7}, {"id": 7}, False),
        ("/7/pay/07", {"org": "7", "id": 7}, {"org": "7", "id": 7}, False),
        ("/07/pay/07", {"org": 7, "id": 7}, {"org": 7, "id": 7}, False),
        ("/7/pay/7", {"org": "7", "id": 7}, {"org": "7", "id": 7}, True),
        ("/pay/77", {"id": 7}, {"id": 7}, False),
        (f"/pay/{UUID_TEXT.upper()}", {"id": UUID(UUID_TEXT)}, {"id": UUID(UUID_TEXT)}, False),
        (f"/pay/{UUID_TEXT}", {"id": UUID(UUID_TEXT)}, {"id": UUID(UUID_TEXT)}, True),
        ("/files/7.pdf", {"name": "7"}, {"name": 7}, True),
    ],
)
def test_a_path_is_a_name_where_its_values_stand_in_it(
    path: str, raw: dict[str, Any], converted: dict[str, Any], is_good: bool
) -> None:
    """As their types write them, both where FastAPI converts them and where Starlette has."""
    if is_good:
        assert path_itself(path, raw, converted) == path
        return
    with pytest.raises(InvalidInput):
        path_itself(path, raw, converted)
