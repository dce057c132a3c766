"""What the check cannot read is unknown: every kind of statement and expression, code that is too deep, odd objects."""

import ast
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limen.checklist.routes import evaluating, running
from limen.checklist.routes.reading import read_application
from limen.checklist.routes.verdicts import Verdict, verdict_of

HEAD = """
import asyncio, contextlib
from fastapi import Depends, FastAPI, Header, HTTPException
from typing import Any
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
TOKENS = {"good": "ann"}
def ok() -> None: ...
def refuse(): raise HTTPException(401)
"""

REFUSES = "x_token in TOKENS or refuse()"

STATEMENTS: dict[type[ast.AST], str] = {
    ast.FunctionDef: "def ask(): {refuses}",
    ast.AsyncFunctionDef: "async def ask(): {refuses}",
    ast.ClassDef: "class Ask: pass",
    ast.Return: "if TOKENS is None: return None",
    ast.Delete: "asked = 1\n    del asked",
    ast.Assign: "asked = 1",
    ast.AugAssign: "asked = 1\n    asked += 1",
    ast.AnnAssign: "asked: int",
    ast.For: "for each in (): {refuses}",
    ast.AsyncFor: "async for each in Some(): {refuses}",
    ast.While: "while False: {refuses}",
    ast.If: "if TOKENS is None: {refuses}",
    ast.With: "with contextlib.suppress(Exception): {refuses}",
    ast.AsyncWith: "async with Quiet(): {refuses}",
    ast.Match: "match 1:\n        case 2: {refuses}",
    ast.Raise: "try: raise ValueError\n    except ValueError: pass",
    ast.Try: "try: {refuses}\n    except Exception: pass",
    ast.TryStar: "try: {refuses}\n    except* Exception: pass",
    ast.Assert: "assert TOKENS",
    ast.Import: "import json",
    ast.ImportFrom: "from json import loads",
    ast.Global: "global TOKENS",
    ast.Nonlocal: "asked = 1\n    def inner():\n        nonlocal asked\n    inner()",
    ast.Expr: "TOKENS",
    ast.Pass: "pass",
    ast.Break: "for each in TOKENS: break",
    ast.Continue: "for each in TOKENS: continue",
}
"""A statement of each kind that refuses nobody. A kind that is missing here is one that Python has learnt since."""

MORE = """
class Some:
    def __aiter__(self): return self
    async def __anext__(self): raise StopAsyncIteration
class Quiet:
    async def __aenter__(self): return self
    async def __aexit__(self, *error): return True
"""

EXPRESSIONS: dict[type[ast.AST], str] = {
    ast.BoolOp: "x_token and None",
    ast.NamedExpr: "(asked := x_token)",
    ast.BinOp: "x_token + 'x'",
    ast.UnaryOp: "not x_token",
    ast.Lambda: "lambda: x_token",
    ast.IfExp: "x_token if TOKENS else None",
    ast.Dict: "{'a': x_token}",
    ast.Set: "{x_token}",
    ast.ListComp: "[x_token for each in ()]",
    ast.SetComp: "{x_token for each in ()}",
    ast.DictComp: "{x_token: 1 for each in ()}",
    ast.GeneratorExp: "(x_token for each in ())",
    ast.Await: "await asyncio.sleep(0)",
    ast.Yield: "(yield x_token)",
    ast.YieldFrom: "(yield from ())",
    ast.Compare: "x_token == 'x'",
    ast.Call: "str(x_token)",
    ast.FormattedValue: "f'{x_token}'",
    ast.JoinedStr: "f'a'",
    ast.Constant: "1",
    ast.Attribute: "TOKENS.get",
    ast.Subscript: "x_token[:1]",
    ast.Starred: "[*TOKENS]",
    ast.Name: "x_token",
    ast.List: "[x_token]",
    ast.Tuple: "(x_token, 1)",
    ast.Slice: "x_token[1:]",
}

Standing = Callable[[str], str]


@pytest.fixture
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standing:
    """Tells the standing of the one route behind a dependency ``dep``, from source text."""

    def read(text: str) -> str:
        file = tmp_path / "unknown_code.py"
        file.write_text(f"{HEAD}{MORE}{text}\napp.get('/a', dependencies=[Depends(dep)])(ok)\n", encoding="utf-8")
        module = types.ModuleType("unknown_code")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "unknown_code", module)
        exec(compile(file.read_text(), str(file), "exec"), module.__dict__)  # noqa: S102 - this file's own text
        return read_application(module.app, "unknown_code:app").routes[0].standing

    return read


def kinds_of(base: type) -> set[type[Any]]:
    """Return the kinds of a syntax tree's nodes that Python has, without those that are gone from it."""
    found: set[type[Any]] = {each for each in vars(ast).values() if isinstance(each, type) and issubclass(each, base)}
    return {each for each in found - {base} if each.__module__ == "ast"} - _gone()


def _gone() -> set[Any]:
    names = ("Num", "Str", "Bytes", "NameConstant", "Ellipsis", "Index", "ExtSlice")
    return {getattr(ast, name) for name in names if name in vars(ast)}


@pytest.mark.parametrize("kind", sorted(STATEMENTS, key=str))
def test_no_kind_of_statement_makes_a_guard(kind: type[ast.AST], standing: Standing) -> None:
    """A dependency in which a statement of any kind stands that refuses nobody is never told as a guard."""
    is_async = kind in {ast.AsyncFor, ast.AsyncWith}
    body = STATEMENTS[kind].replace("{refuses}", REFUSES)
    head = "async def" if is_async else "def"
    assert standing(f"{head} dep(x_token: str = Header('')):\n    {body}\n    return None") != "guarded"


@pytest.mark.parametrize("kind", sorted(EXPRESSIONS, key=str))
def test_no_kind_of_expression_makes_a_guard(kind: type[ast.AST], standing: Standing) -> None:
    """Nor is one in which an expression of any kind stands alone."""
    head = "async def" if kind is ast.Await else "def"
    text = f"{head} dep(x_token: str = Header('')):\n    asked = {EXPRESSIONS[kind]}\n    if False:\n        {REFUSES}"
    assert standing(text) != "guarded"


@pytest.mark.parametrize("kind", sorted(kinds_of(ast.stmt) - {ast.FunctionDef}, key=str))
def test_a_kind_of_statement_that_is_not_known_is_unknown(
    kind: type[ast.AST], standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no statement that the check knows may let somebody go on: here each kind in turn is made unknown."""

    class Unknown(ast.stmt):
        lineno = 1

    statement_of = running.Run._statement

    def other(self: running.Run, statement: ast.stmt, state: Any) -> Any:
        return statement_of(self, Unknown() if isinstance(statement, kind) else statement, state)

    monkeypatch.setattr(running.Run, "_statement", other)
    body = STATEMENTS.get(kind, "pass").replace("{refuses}", "pass")
    head = "async def" if kind in {ast.AsyncFor, ast.AsyncWith} else "def"
    told = standing(f"{head} dep(x_token: str = Header('')):\n    {body}\n    {REFUSES}")
    is_there = f"{kind.__name__}(" in ast.dump(ast.parse(f"async def dep():\n    {body}\n    {REFUSES}"))
    is_inside = kind is ast.Nonlocal  # a function inside: it is left there, and the refusal behind it is met
    assert told == ("unknown" if is_there and not is_inside else "guarded")


@pytest.mark.parametrize("kind", sorted(evaluating.WHOLE, key=str))
def test_a_kind_of_expression_that_is_not_known_is_unknown(
    kind: type[ast.AST], standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does an expression make a guard that the check does not know."""
    monkeypatch.setattr(evaluating, "WHOLE", tuple(each for each in evaluating.WHOLE if each is not kind))
    text = "-1" if kind is ast.UnaryOp else EXPRESSIONS[kind]
    told = standing(f"def dep(x_token: str = Header('')):\n    asked = {text}\n    {REFUSES}")
    assert told == "unknown"


def test_python_has_no_kind_that_nobody_thought_of() -> None:
    """Each kind of statement and of expression that this Python has is tried above, or says nothing by itself."""
    newer = {"TypeAlias", "TemplateStr", "Interpolation"}
    assert {each.__name__ for each in kinds_of(ast.stmt) - set(STATEMENTS)} <= newer
    assert {each.__name__ for each in kinds_of(ast.expr) - set(EXPRESSIONS)} <= newer


def test_code_that_is_too_deep_is_unknown(standing: Standing) -> None:
    """An expression of thousands of parts and a chain of dozens of calls end in unknown."""
    chain = "\n".join(f"def ask_{each}(t): return ask_{each + 1}(t)" for each in range(30))
    text = f"{chain}\ndef ask_30(x_token):\n    {REFUSES}\ndef dep(x_token: str = Header('')): ask_0(x_token)"
    assert standing(text) in {"unknown", "open"}
    parts = " + ".join(["x_token"] * 900)
    assert standing(f"def dep(x_token: str = Header('')):\n    asked = {parts}\n    {REFUSES}") == "unknown"


def test_an_object_that_fails_when_it_is_asked_is_unknown(standing: Standing) -> None:
    """Whatever a live object of the application raises while it is looked at, the route is unknown, and not guarded."""
    text = f"""
class Odd(dict):
    def __contains__(self, key): raise RuntimeError("not now")
    def __len__(self): raise RuntimeError("not now")
odd = Odd()
def dep(x_token: str = Header('')):
    if "x" not in odd: raise HTTPException(401)
    {REFUSES}
"""
    assert standing(text) == "unknown"


def test_an_error_of_the_reading_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the reading itself fails, the verdict says so, and lets nothing pass as a guard."""

    def fails(*args: object) -> None:
        raise RecursionError

    monkeypatch.setattr(running.Run, "read", fails)
    verdict = verdict_of(kinds_of, "dependency")
    assert verdict == Verdict(doubtful=frozenset({"its code cannot be read (RecursionError)"}))
