"""What makes a check fast changes nothing of what it finds."""

import ast
import gc
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Security, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Mount, Route

from benchmarks.shop import write_shop
from limen.checklist.checking import Report, check
from limen.checklist.findings import Severity
from limen.checklist.haste import collect_rarely, remember_signatures
from limen.checklist.routes import included, walking
from limen.checklist.routes.reading import read_application
from limen.checklist.syntax import statements, unparsed, walk

SOURCES = sorted((Path(__file__).parents[2] / "src" / "limen").rglob("*.py"))


def test_a_walk_sees_what_ast_sees_in_the_same_order() -> None:
    """Every node of every file of limen, but for what says whether a name is read or written."""
    for source in SOURCES[::5]:
        tree = ast.parse(source.read_bytes())
        seen = [each for each in ast.walk(tree) if not isinstance(each, ast.expr_context)]
        assert walk([tree]) == seen
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        assert [each for each in statements(tree.body) if isinstance(each, kinds)] == sorted(
            (each for each in seen if isinstance(each, kinds)), key=[*statements(tree.body)].index
        )


def test_a_text_of_a_node_is_the_one_that_python_writes() -> None:
    """Also where it is asked for twice, and of a name."""
    for node in ast.walk(ast.parse("a.b(c, d=1)[2] + e if not f else 'g'", mode="eval").body):
        if isinstance(node, ast.expr):
            assert unparsed(node) == unparsed(node) == ast.unparse(node)


@pytest.fixture
def _remembering(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(inspect, "signature", inspect.signature)
    remember_signatures()
    return iter((None,))


@pytest.mark.usefixtures("_remembering")
def test_a_signature_is_remembered_until_something_about_the_function_changes() -> None:
    """Defaults, annotations, wrappers and stated signatures are seen as soon as they are there."""

    def asked(a: int, b: str = "x") -> None: ...

    first = inspect.signature(asked)
    assert inspect.signature(asked) is first
    assert inspect.signature(asked, eval_str=True) == first
    asked.__defaults__ = ("y",)
    assert inspect.signature(asked).parameters["b"].default == "y"
    asked.__annotations__["a"] = float
    assert inspect.signature(asked).parameters["a"].annotation is float
    asked.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
    assert not inspect.signature(asked).parameters
    del asked.__signature__  # type: ignore[attr-defined]
    asked.__wrapped__ = lambda c: c  # type: ignore[attr-defined]
    assert [*inspect.signature(asked).parameters] == ["c"]


@pytest.mark.usefixtures("_remembering")
def test_a_signature_that_names_what_is_not_there_yet_is_not_remembered() -> None:
    """An annotation that is still a text may mean something a line later."""
    space: dict[str, Any] = {}
    exec("def asked(a: 'Later') -> None: ...", space)  # noqa: S102 - a module of its own
    assert inspect.signature(space["asked"]).parameters["a"].annotation == "Later"
    space["Later"] = int
    assert inspect.signature(space["asked"], eval_str=True).parameters["a"].annotation is int


@pytest.mark.usefixtures("_remembering")
def test_other_callables_are_asked_as_ever() -> None:
    """Classes, methods, objects and what has none."""

    class Asked:
        def __init__(self, a: int) -> None: ...

        def __call__(self, b: int) -> None: ...

    assert [*inspect.signature(Asked).parameters] == ["a"]
    assert [*inspect.signature(Asked(1)).parameters] == ["b"]
    with pytest.raises(TypeError):
        inspect.signature(3)  # type: ignore[arg-type]


def test_garbage_is_still_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector looks more rarely, and it does look."""
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(gc, "set_threshold", lambda *given: asked.append(given))
    collect_rarely()
    assert 0 < asked[0][0] <= 1_000_000
    assert gc.isenabled()


def who(token: str = "") -> str:
    """Refuse everybody."""
    raise HTTPException(401, token)


def may(name: str) -> Any:
    """Return a dependency that refuses."""

    def asked(me: Annotated[str, Depends(who)]) -> str:
        raise HTTPException(403, name + me)

    return asked


class Told(APIRoute):
    """A class of routes of the application's own."""


def everything() -> FastAPI:
    """Return an application with each kind of inclusion."""
    app = FastAPI(dependencies=[Depends(may("app"))])
    inner = APIRouter(prefix="/inner", dependencies=[Security(may("inner"), scopes=["a", "b"])])
    plain = APIRouter(default_response_class=PlainTextResponse, route_class=Told, include_in_schema=False)
    mixed = APIRouter(dependencies=[Depends(may("mixed"))])
    placed = APIRouter(prefix="/of/{org}", dependencies=[Depends(may("placed"))])
    for router in (inner, plain, mixed, placed):

        @router.get("/{number}", dependencies=[Depends(may("own"))])
        def read(number: int, org: str = "", me: str = Depends(who)) -> dict[str, str]:
            return {}

        @router.post("/", response_class=Response)
        def write(body: dict[str, int]) -> None: ...

    @mixed.websocket("/ws")
    async def listen(websocket: WebSocket) -> None: ...

    mixed.routes.append(Route("/raw", lambda request: Response()))
    mixed.routes.append(Mount("/files", app=FastAPI()))
    inner.include_router(plain, prefix="/plain", dependencies=[Depends(may("plain"))])
    placed.include_router(inner)
    for router in (inner, mixed, placed):
        app.include_router(router, prefix="/v1", dependencies=[Depends(may("v1"))], tags=["v1"])
    app.include_router(inner, prefix="/{version}")
    return app


@pytest.mark.parametrize("is_changed", [False, True], ids=["as it is known", "of another version"])
def test_an_included_route_is_what_fastapi_makes_of_it(monkeypatch: pytest.MonkeyPatch, is_changed: bool) -> None:
    """What is put together without validators has the facts of what FastAPI puts together, whatever is included how."""
    app = everything()
    if is_changed:
        monkeypatch.setattr(included, "_SAID", frozenset({"prefix"}))
    ours = read_application(app, "app")
    monkeypatch.setattr(walking, "_candidates", lambda each: each.effective_candidates())
    assert ours == read_application(app, "app")
    assert len(ours.routes) > 20
    assert all(each.guards for each in ours.routes if each.kind == "http" and "{number}" in each.path)


def test_the_application_of_the_benchmark_is_honest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """It has the routes and files that it says, all of them guarded, and nothing to find but its pages and headers."""
    monkeypatch.chdir(tmp_path)
    assert write_shop(tmp_path, 1) == 10
    lines = [len(each.read_text().splitlines()) for each in (tmp_path / "shop" / "orders").glob("[r-t]*.py")]
    assert all(80 <= each <= 120 for each in lines)
    report = check("shop.main:app")
    assert isinstance(report, Report), report
    routes = [each for each in report.application.routes if each.path.startswith("/v1/")]
    assert len(routes) == 25
    assert {each.standing for each in routes} == {"guarded"}
    assert max((each.severity for each in report.findings), default=Severity.LOW) is Severity.LOW
    assert not recwarn.list
