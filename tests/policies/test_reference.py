"""The page about how policies are written: its sample runs, its tables are true."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pydantic
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, mapped_column

from limen import Policies, PolicySet
from limen.authz.policy.conditions import Expression
from limen.authz.policy.fields import Field
from limen.authz.policy.models import field_shape, shape_of
from limen.authz.policy.rules import Rule
from limen.authz.policy.shapes import FieldShape
from limen.core.errors import ConfigurationError
from tests.docs.markdown import ROOT, blocks, code, rows

PAGE = (ROOT / "docs" / "reference" / "policies.md").read_text(encoding="utf-8")
TYPES: dict[str, Any] = {
    **vars(sa),
    "Any": Any,
    "AwareDatetime": pydantic.AwareDatetime,
    "CITEXT": postgresql.CITEXT,
    "Decimal": Decimal,
    "Literal": Literal,
    "NaiveDatetime": pydantic.NaiveDatetime,
    "Path": Path,
    "UTC": UTC,
    "UUID": UUID,
    "date": date,
    "datetime": datetime,
    "time": time,
    "timedelta": timedelta,
}


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """The names of the page's sample, and the types that its tables speak of."""
    [sample] = [block.text for block in blocks(PAGE) if block.language == "python"]
    found: dict[str, Any] = {"__name__": "policies_sample"}
    exec(compile(sample, "policies.md", "exec", dont_inherit=True), found)  # noqa: S102 - the page's own text
    return {**TYPES, **found, "check": lambda user, order, about: True, "same": lambda user, model: model.is_paid}


def evaluated(text: str, names: dict[str, Any]) -> Any:
    """Return what a piece of the page means."""
    return eval(text, dict(names))  # noqa: S307 - the page's own text


def cells(first: str) -> Iterator[tuple[str, list[str]]]:
    """Return what the first cells of a table show, each with its row."""
    for row in rows(PAGE, first):
        for text in code(row[0]):
            yield text, row


def test_the_sample_is_loaded(names: dict[str, Any]) -> None:
    """The policies of the page are declared, loaded, and their own tests hold."""
    declared = names["POLICIES"]
    assert isinstance(declared, PolicySet)
    assert "four-eyes" in {rule.id for rule in Policies.load(declared).rules}


def test_what_is_written_is_a_condition_a_field_or_a_rule(names: dict[str, Any]) -> None:
    """Each line of the tables about fields, comparisons and rules is what it says."""
    seen = 0
    for text, _ in cells("written"):
        if text in {"id", "kind", "sid", "client_id", "issuer"}:
            continue
        complete = text.replace("…", '"order:read", id="a"' if "(…" in text else 'O.is_paid, id="a"')
        if "condition" in complete:
            complete = complete.replace("condition", "O.is_paid")
        meant = evaluated(complete, {**names, "allow": names["allow"]})
        assert isinstance(meant, Expression | Field | Rule) or repr(meant).startswith("<"), text
        seen += 1
    assert seen > 30


@pytest.mark.parametrize("wrong", [text for text, _ in cells("not")])
def test_what_is_refused_has_a_right_spelling(wrong: str, names: dict[str, Any]) -> None:
    """The left column is refused when it is written, and the right one is a condition."""
    [row] = [row for text, row in cells("not") if text == wrong]
    with pytest.raises(ConfigurationError):
        evaluated(wrong, names)
    [right] = code(row[1])
    assert isinstance(evaluated(right, names), Expression)


def is_as_told(shape: FieldShape, told: str) -> bool:
    """Tell whether a field is what the page says: a kind, or refused."""
    return bool(shape.refused) if told == "refused" else (shape.kind.value, shape.refused) == (told, "")


def test_annotations_are_as_the_page_says(names: dict[str, Any]) -> None:
    """Each annotation of the table has the kind that stands beside it."""
    checked = [(text, row[1]) for text, row in cells("annotation") if text != "Enum"]
    for text, told in checked:
        assert is_as_told(field_shape("it", evaluated(text, {**names, "Line": dataclass_line})), told), text
    assert len(checked) > 20


class dataclass_line(pydantic.BaseModel):  # noqa: N801 - stands for the Line of the page
    price: Decimal


def test_columns_are_as_the_page_says(names: dict[str, Any]) -> None:
    """Each type of a column in the table has the kind that stands beside it."""
    types = {**names, "Enum": sa.Enum}
    checked = [(text, row[1]) for text, row in cells("column")]
    for number, (text, told) in enumerate(checked):

        class Base(DeclarativeBase):
            pass

        columns = {"id": mapped_column(sa.Integer, primary_key=True), "it": mapped_column(evaluated(text, types))}
        model = type("Model", (Base,), {"__tablename__": f"model{number}", **columns})
        assert is_as_told(shape_of(model).fields["it"], told), text
    assert len(checked) > 20
