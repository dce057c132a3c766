"""What a request is about: one text for one thing, whatever somebody has sent."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest
from starlette.routing import Route

from limen.core.errors import ConfigurationError, InvalidInput
from limen.web.canonical_path import canonical, named_by, path_itself, written_in


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
    ("written", "value", "is_good"),
    [
        ("7", 7, True),
        ("07", 7, False),
        ("7", "7", True),
        (UUID_TEXT.upper(), UUID(UUID_TEXT), False),
        (UUID_TEXT, UUID(UUID_TEXT), True),
        ("7.0", 7.0, True),
        ("7", 7.0, False),
    ],
)
def test_a_path_is_a_name_where_its_values_stand_in_it(written: str, value: object, is_good: bool) -> None:
    """As their types write them."""
    path = f"/pay/{written}"
    if is_good:
        assert path_itself(path, {"id": written}, {"id": value}) == path
        return
    with pytest.raises(InvalidInput):
        path_itself(path, {"id": written}, {"id": value})


def test_what_was_converted_before_is_no_text() -> None:
    """How a mount's parameter was spelt is not known, so its path is no name."""
    with pytest.raises(ConfigurationError, match="parameter org"):
        path_itself("/7/pay", {"org": 7}, {"org": 7})


def nothing() -> None:
    """An endpoint."""


@pytest.mark.parametrize(
    ("template", "path", "written"),
    [
        ("/api/2/pay/{id:int}", "/api/2/pay/02", {"id": "02"}),
        ("/pay/v2/{id:int}", "/pay/v2/0000002", {"id": "0000002"}),
        ("/v1{id:int}", "/v102", {"id": "02"}),
        ("/{org:int}/pay/{id:int}", "/7/pay/07", {"org": "7", "id": "07"}),
        ("/files/{id:int}.pdf", "/files/7.pdf", {"id": "7"}),
    ],
)
def test_a_parameter_is_read_where_the_route_has_it(template: str, path: str, written: dict[str, str]) -> None:
    """Digits of a part that never changes are none of a parameter."""
    route = Route(template, nothing)
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "root_path": ""}
    scope |= route.matches(scope)[1]
    assert written_in(scope, [None, object(), Route("/{id}/{rest:path}", print), route]) == written
    below = scope | {"path": f"/mounted{path}", "root_path": "/mounted"}
    assert written_in(below, [route]) == written
    assert written_in(scope, []) == scope["path_params"]
