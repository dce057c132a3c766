"""Validators that are built when they are asked for are those that FastAPI builds, and what cannot be built is told."""

import copy
import dataclasses
import datetime as dt
import types
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar

import pytest
from fastapi import params
from fastapi._compat import v2
from pydantic import BaseModel, ConfigDict, RootModel, computed_field
from pydantic.fields import FieldInfo

from limen.checklist.facts import Application, Broken
from limen.checklist.lighter import build_validators_later
from limen.checklist.looking import look_at

T = TypeVar("T")


class Owner(BaseModel):
    """A model."""

    name: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shown(self) -> str:
        """Return what is shown."""
        return self.name.title()


class Thing(BaseModel):
    """One that has others in it."""

    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    owners: list[Owner] = []
    inner: "Thing | None" = None


class Page(BaseModel, Generic[T]):
    """Some of many."""

    found: list[T]


class Names(RootModel[list[str]]):
    """A list."""


class Late(BaseModel):
    """One whose schema is not there yet."""

    model_config = ConfigDict(defer_build=True)
    name: str


class Never(BaseModel):
    """One whose schema cannot be made."""

    other: "NobodyHasThis"  # type: ignore[name-defined]  # noqa: F821


class Odd(BaseModel):
    """One that makes its schema itself, and fails."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Fail where it is asked for by itself."""
        if source is cls and cls.__dict__.get("__pydantic_complete__"):
            raise ValueError("not like that")
        return handler(source)


class Unhashable(type):
    """What makes classes that have no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(cls, other: object) -> bool:
        return True


class Plain(metaclass=Unhashable):
    """A class that pydantic knows nothing of."""


@dataclasses.dataclass
class Held:
    """A dataclass with what pydantic knows nothing of."""

    plain: Plain


ANNOTATIONS = {
    "a number": int,
    "an optional text": str | None,
    "another way to say so": Optional[dt.datetime],  # noqa: UP045 - the other way
    "a list": list[Decimal],
    "a model": Thing,
    "models by name": dict[str, Thing | Owner],
    "of a kind": Page[Thing],
    "a root": Names,
    "late": Late,
    "a choice": Literal["a", "b"],
    "anything": Any,
    "constrained": Annotated[int, FieldInfo(gt=3)],
    "never": Never,
    "a list of what is never": list[Never],
    "its own schema": Odd,
    "a class of one's own": Plain,
    "a list of these": list[Plain],
    "a dataclass": Held,
    "no type": "NobodyHasThis",
    "a number in its place": 3,
}
INFOS: dict[str, Callable[[Any], FieldInfo]] = {
    "an answer": lambda kind: FieldInfo(annotation=kind),
    "a query": lambda kind: params.Query(default=None, annotation=kind),
    "a body": lambda kind: params.Body(annotation=kind, alias="other"),
    "constrained": lambda kind: params.Query(annotation=kind, gt=3, pattern="["),
    "a factory": lambda kind: FieldInfo(annotation=kind, default_factory=dict),
    "an alias that is none": lambda kind: FieldInfo(annotation=kind, validation_alias=3),  # type: ignore[arg-type]
}
VALUES = [3, "3", None, {"name": "ada"}, {"id": "0" * 32, "owners": [{"name": "ada"}]}, ["a"], b"x", Decimal("1.5")]


def later() -> type[v2.ModelField]:
    """Return FastAPI's class of fields, of which validators are built later; the real one is left as it is."""
    kind: Any = type("ModelField", (v2.ModelField,), {})
    build_validators_later(types.SimpleNamespace(ModelField=kind, BaseModel=BaseModel))
    assert "__getattr__" in vars(kind)
    return kind  # type: ignore[no-any-return]


def asked(question: Callable[[], Any]) -> Any:
    """Return an answer, or how there is none."""
    try:
        return question()
    except Exception as error:
        return type(error), str(error)


def told(kind: type[v2.ModelField], annotation: Any, info: Callable[[Any], FieldInfo]) -> Any:
    """Return all that a field has to say, or how it fails."""
    field = asked(lambda: kind(info(annotation), "field", "serialization"))
    if not isinstance(field, kind):
        return field
    schema = asked(lambda: field._type_adapter.json_schema(mode="serialization"))
    return "made", schema, [asked(partial(field.validate, value, loc=("here",))) for value in VALUES]


@pytest.mark.parametrize("info", INFOS.values(), ids=INFOS)
@pytest.mark.parametrize("annotation", ANNOTATIONS.values(), ids=ANNOTATIONS)
def test_a_field_is_the_same_or_fails_the_same(annotation: Any, info: Callable[[Any], FieldInfo]) -> None:
    """When it is made, and not later: an application that cannot be imported stays one."""
    assert told(later(), annotation, info) == told(v2.ModelField, annotation, info)


def test_validators_are_built_when_they_are_asked_for() -> None:
    """Once, also of a copy; every other attribute that is not there is an error as ever."""
    field: Any = later()(FieldInfo(annotation=list[Thing]), "field")
    assert "_type_adapter" not in vars(field)
    copied = copy.copy(field)
    assert field._type_adapter is field._type_adapter
    assert copied._type_adapter is not field._type_adapter
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = field.other


def test_what_can_fail_is_built_at_once() -> None:
    """A constraint, a model that is not finished, or one with a schema of its own."""
    late: Any = type("Late", (Late,), {})
    kinds: list[Any] = [late, Literal["a"], Any, list[late]]
    for kind in kinds:
        assert "_type_adapter" in vars(later()(FieldInfo(annotation=kind), "field"))
    assert "_type_adapter" in vars(later()(params.Query(annotation=int, gt=3), "field"))


def test_a_fastapi_that_is_written_in_another_way_is_left_alone() -> None:
    """Where its fields keep more than is known, do more, or are not there at all."""

    @dataclasses.dataclass
    class More(v2.ModelField):
        other: int = 0

    class Does(v2.ModelField):
        def __post_init__(self) -> None:
            self.seen = 1

    for kind in (More, Does, None, int):
        before = getattr(kind, "__post_init__", None)
        build_validators_later(types.SimpleNamespace(ModelField=kind, BaseModel=BaseModel))
        assert getattr(kind, "__post_init__", None) is before


def test_an_answer_of_which_there_is_no_schema_is_a_broken_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With FastAPI's own words and the line; and without that route, the application is seen."""
    monkeypatch.chdir(tmp_path)
    good = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/a')\ndef a(n: int) -> list[int]: return []\n"
    bad = "class Plain: ...\n@app.get('/b')\ndef b() -> Plain: ...\n"
    (tmp_path / "seen_app.py").write_text(good, encoding="utf-8")
    (tmp_path / "broken_app.py").write_text(good + bad, encoding="utf-8")
    assert isinstance(look_at("seen_app:app"), Application)
    found = look_at("broken_app:app")
    assert isinstance(found, Broken)
    assert found.reason.startswith("FastAPIError: Invalid args for response field!")
    assert (Path(found.place.file).name, found.place.line) == ("broken_app.py", 6)
