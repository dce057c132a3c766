"""Nothing walks past the guard: every way in, whoever calls, whenever it was added, with a counter in the handler."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from limen.fastapi import roles
from limen.web.guard import Protection, protect
from tests.web.guard.kit import Counted, Reply, SmallGate, call
from tests.web.guard.rows import MARKED, OPAQUE, Row

WHEN = ["before protect", "after protect", "while it runs"]

CALLERS: list[tuple[str | None, set[int]]] = [
    (None, {401}),
    ("nonsense", {401}),
    ("maker", {403}),
    ("checker", {200, 101}),
]


def _cases(rows: list[Row]) -> list[Any]:
    cases = []
    for row in rows:
        for framework in (FastAPI,) if row.only_fastapi else (FastAPI, Starlette):
            cases += [pytest.param(row, framework, when, id=f"{row.name}-{framework.__name__}-{when}") for when in WHEN]
    return cases


async def _build(row: Row, framework: Any, when: str, counted: Counted, rule: Any = None) -> Any:
    app = framework()
    if framework is Starlette:
        app.add_route("/other", roles("admin")(Counted().endpoint()))
    else:
        app.get("/other")(roles("admin")(Counted().handler()))
    if when == "before protect":
        row.add(app, counted)
    protection = protect(app, SmallGate())
    if when == "after protect":
        row.add(app, counted)
    if when == "while it runs":
        assert (await call(app, "/other")).status == 401
        row.add(app, counted)
    _declare(protection, row, rule)
    return app


def _declare(protection: Protection, row: Row, rule: Any) -> None:
    if rule is not None and row.opaque is not None:
        protection.mount_rule(row.opaque, rule)


async def _ask(app: Any, row: Row, who: str | None) -> Reply:
    return await call(app, row.path, who, method=row.method, host=row.host)


@pytest.mark.parametrize(("row", "framework", "when"), _cases(MARKED))
async def test_only_the_right_role_reaches_the_handler(row: Row, framework: Any, when: str) -> None:
    """Nobody, a rejected token and a wrong role are refused and nothing runs; the right role runs the handler once."""
    counted = Counted()
    app = await _build(row, framework, when, counted)
    for who, expected in CALLERS:
        reply = await _ask(app, row, who)
        assert reply.status in expected, (who, reply)
        assert len(counted.ran) == (1 if who == "checker" else 0), who


@pytest.mark.parametrize(("row", "framework", "when"), _cases(OPAQUE))
async def test_what_the_guard_cannot_see_into_follows_its_declared_rule(row: Row, framework: Any, when: str) -> None:
    """A declared rule holds for foreign applications, static files, foreign routes, defaults, frontends and docs."""
    counted = Counted()
    app = await _build(row, framework, when, counted, roles("checker"))
    for who, expected in CALLERS:
        reply = await _ask(app, row, who)
        assert reply.status in expected, (who, reply)
        assert len(counted.ran) == (1 if who == "checker" else 0), who


FOUND_AT_START = [row for row in OPAQUE if "foreign route" in row.name]


@pytest.mark.parametrize(
    ("row", "framework", "when"),
    [case for case in _cases(OPAQUE) if case.values[0] not in FOUND_AT_START or case.values[2] == "while it runs"],
)
async def test_what_the_guard_cannot_see_into_is_denied_until_declared(row: Row, framework: Any, when: str) -> None:
    """Without a rule nobody gets in, not even an admin, and nothing runs."""
    counted = Counted()
    app = await _build(row, framework, when, counted)
    for who, expected, code in (
        (None, 401, "credential_missing"),
        ("nonsense", 401, "token_invalid"),
        ("maker", 403, "policy_denied"),
        ("admin", 403, "policy_denied"),
    ):
        reply = await _ask(app, row, who)
        assert (reply.status, reply.code) == (expected, code), who
    assert counted.ran == []


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
@pytest.mark.parametrize("declared", [False, True])
async def test_the_pages_of_the_documentation_are_closed_until_opened(page: str, declared: bool) -> None:
    """/docs, /redoc, the schema and the redirect are denied, and public once `public_docs` was called."""
    app = FastAPI()
    app.get("/other")(roles("admin")(Counted().handler()))
    protection = protect(app, SmallGate())
    if declared:
        protection.public_docs()
    assert (await call(app, page)).status == (200 if declared else 401)
    assert (await call(app, page, "maker")).status == (200 if declared else 403)
