"""A strategy of the application's own, beside all of limen's: by a header, by a scheme, and against every rule."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from limen import Authenticated, Limen, LimenError, OwnStrategy, PresentedCredential, Principal
from limen.authn import own_strategy
from limen.core.errors import ConfigurationError, CredentialMalformed, TokenExpired, TokenRejected
from limen.core.events import NOWHERE
from limen.core.principal import Authentication, PrincipalKind
from limen.fastapi import interactive, live, public, roles
from tests.support.gates import PASSWORD, ROLES, settings_for
from tests.web.guard.kit import Counted, Reply, call


class Tickets(OwnStrategy):
    """``<name>:<role>`` is a ticket of that name; other words are cases of the tests."""

    name = "ticket"
    header: str | None = "X-Ticket"

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.said: dict[bytes, Any] = {}

    async def authenticate(self, credential: PresentedCredential) -> Principal | Authenticated | None:
        self.asked.append(credential.value)
        if credential.value in self.said:
            said = self.said[credential.value]
            if isinstance(said, BaseException):
                raise said
            return said  # type: ignore[no-any-return]
        name, _, role = credential.value.decode("ascii").partition(":")
        if not role:
            return None
        return Principal(name, PrincipalKind.PERSON, frozenset({role}), sid=f"ticket-of-{name}")

    async def live(self, principal: Principal) -> Principal:
        if principal.sub == "gone":
            raise TokenRejected()
        return principal


class Schemed(Tickets):
    """The same, in an Authorization header."""

    name = "schemed"
    scheme = "Ticket"
    header = None


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Limen]:
    """A gate with both, started."""
    made = Limen(settings_for(tmp_path, access_ttl=300), roles=ROLES, strategies=[Tickets(), Schemed()])
    async with made.running():
        yield made


def _app(gate: Limen, counted: Counted) -> FastAPI:
    app = FastAPI()

    def leaf() -> Any:
        async def tells(request: Request) -> str:
            counted.ran.append(request.user.sub)
            me = request.user
            return f"{sorted(me.roles)} {sorted(me.permissions)} {me.authentication.methods}"

        return tells

    app.get("/leaf")(roles("maker")(leaf()))
    app.post("/leaf")(roles("maker")(leaf()))
    app.get("/live")(live(roles("maker")(leaf())))
    app.get("/interactive")(interactive(counted.handler("interactive")))
    app.get("/open")(public(counted.handler("open")))
    gate.protect(app)
    return app


def _tickets(gate: Limen, number: int = 0) -> Any:
    return gate.own_strategies[number]._strategy


def _presented(kind: str, value: str) -> tuple[tuple[str, str], ...]:
    return (("x-ticket", value),) if kind == "header" else (("authorization", f"ticket {value}"),)


BOTH = ["header", "scheme"]


async def _ask(app: Any, kind: str, value: str, path: str = "/leaf", **more: Any) -> Reply:
    return await call(app, path, headers=_presented(kind, value), **more)


@pytest.mark.parametrize("kind", BOTH)
async def test_it_ends_in_the_same_principal(gate: Limen, kind: str) -> None:
    """Roles that exist, what they give, and how it was proved; and any route can ask for them."""
    counted = Counted()
    app = _app(gate, counted)
    value = "ann:maker" if kind == "header" else "ann.maker"
    if kind == "scheme":
        _tickets(gate, 1).said[b"ann.maker"] = Principal("ann", PrincipalKind.PERSON, frozenset({"maker", "invented"}))
    reply = await _ask(app, kind, value)
    name = "ticket" if kind == "header" else "schemed"
    assert reply.json() == f"['maker'] ['order:create', 'order:read'] ('{name}',)"
    assert counted.ran == ["ann"]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (None, 401, "token_invalid"),
        (TokenRejected(), 401, "token_invalid"),
        (TokenExpired(), 401, "token_expired"),
        (CredentialMalformed(), 401, "credential_malformed"),
        (RuntimeError("broken"), 503, "unavailable"),
        (True, 401, "token_invalid"),
        ("ann", 401, "token_invalid"),
        (Principal("", PrincipalKind.ANONYMOUS), 401, "token_invalid"),
        (Principal("", PrincipalKind.PERSON, frozenset({"maker"})), 401, "token_invalid"),
        (
            Principal("ann", PrincipalKind.PERSON, frozenset({"maker"}), issuer="https://else.example"),
            401,
            "token_invalid",
        ),
        (Authenticated(Principal("ann", PrincipalKind.PERSON, frozenset({"maker"})), 1), 401, "token_expired"),
    ],
    ids=range(11),
)
async def test_whatever_is_no_principal_is_nobody(gate: Limen, kind: str, said: Any, status: int, code: str) -> None:
    """Refused with a code, never a 500, and what is public is open all the same."""
    counted = Counted()
    app = _app(gate, counted)
    for number in (0, 1):
        _tickets(gate, number).said[b"x"] = said
    reply = await _ask(app, kind, "x")
    assert (reply.status, reply.code, counted.ran) == (status, code, [])
    assert (await _ask(app, kind, "x", "/open")).status == 200


async def test_what_was_presented_is_not_logged(gate: Limen, caplog: pytest.LogCaptureFixture) -> None:
    """An exception may name what it did not find; the log names its kind alone."""
    _tickets(gate).said[b"secret-ticket"] = KeyError(b"secret-ticket")
    assert (await _ask(_app(gate, Counted()), "header", "secret-ticket")).code == "unavailable"
    (record,) = [each for each in caplog.records if "of the application's own failed" in each.getMessage()]
    assert (record.failure, record.exc_info) == ("KeyError", None)  # type: ignore[attr-defined]
    assert "secret-ticket" not in caplog.text


@pytest.mark.parametrize("kind", BOTH)
async def test_it_has_only_so_much_time(gate: Limen, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy that hangs is answered 503."""

    async def hangs(credential: PresentedCredential) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(own_strategy, "MOST_SECONDS", 0.1)
    for number in (0, 1):
        monkeypatch.setattr(_tickets(gate, number), "authenticate", hangs)
    assert (await _ask(_app(gate, Counted()), kind, "x")).code == "unavailable"


@pytest.mark.parametrize("kind", BOTH)
async def test_a_session_that_ended_is_over(gate: Limen, kind: str) -> None:
    """Its session is asked of the list of ended ones at each use, and for `@live`."""
    counted = Counted()
    app = _app(gate, counted)
    said = Principal("ann", PrincipalKind.PERSON, frozenset({"maker"}), sid="over")
    for number in (0, 1):
        _tickets(gate, number).said[b"x"] = said
    assert (await _ask(app, kind, "x")).status == 200
    assert (await _ask(app, kind, "x", "/live")).status == 200
    gate.ended.add("over", int(gate._clock() * 1000) + 60_000)
    assert (await _ask(app, kind, "x")).code == "session_ended"
    with pytest.raises(LimenError, match="ended"):
        await gate.live(gate.own_strategies[0]._like_others(said, 0))


async def test_live_asks_the_strategy(gate: Limen) -> None:
    """It may say no, and one that cannot tell refuses; a token of limen's own is asked of the store as ever."""
    counted = Counted()
    app = _app(gate, counted)
    assert (await _ask(app, "header", "gone:maker", "/live")).code == "token_invalid"
    assert (await _ask(app, "header", "ann:maker", "/live")).status == 200

    class Plain(OwnStrategy):
        name = "plain"
        header = "X-Plain"

        async def authenticate(self, credential: PresentedCredential) -> Principal | Authenticated | None:
            return None

    with pytest.raises(LimenError):
        await Plain().live(Principal("ann", PrincipalKind.PERSON))
    assert (await call(app, "/live", await _token(gate, "eve"))).status == 200


async def test_it_is_no_login(gate: Limen) -> None:
    """Where a person has to have logged in, a ticket does not do, unless it states the method of a person."""
    app = _app(gate, Counted())
    assert (await _ask(app, "header", "ann:maker", "/interactive")).code == "step_up_required"
    proved = Principal("ann", PrincipalKind.PERSON, authentication=Authentication(("pin",), 1))
    _tickets(gate).said[b"x"] = proved
    assert (await _ask(app, "header", "x", "/interactive")).status == 200


@pytest.mark.parametrize("kind", BOTH)
async def test_what_is_bound_to_a_certificate_takes_it(gate: Limen, kind: str) -> None:
    """The strategy says to which certificate a credential is bound; on a connection without it, it is nobody's."""
    counted = Counted()
    app = _app(gate, counted)
    ann = Principal("ann", PrincipalKind.PERSON, frozenset({"maker"}))
    number = 0 if kind == "header" else 1
    _tickets(gate, number).said[b"x"] = Authenticated(ann, 2**33, bound_to="x" * 43)
    reply = await _ask(app, kind, "x")
    assert (reply.status, reply.code, counted.ran) == (401, "token_invalid", [])


async def _token(gate: Limen, name: str) -> str:
    await gate.accounts.create(name, PASSWORD, roles=frozenset({"maker"}))
    return (await gate.login.login(name, PASSWORD, origin=NOWHERE)).access_token


@pytest.mark.parametrize("path", ["/leaf", "/open"])
async def test_malformed_never_falls_through(gate: Limen, path: str) -> None:
    """Two headers, an empty one, one with control characters and one that is too long: 401, and nobody is asked."""
    counted = Counted()
    app = _app(gate, counted)
    for headers in (
        (("x-ticket", "ann:maker"), ("x-ticket", "ann:maker")),
        (("x-ticket", ""),),
        (("x-ticket", " ann:maker"),),
        (("x-ticket", "ann\x00:maker"),),
        (("x-ticket", "a" * 20_000),),
    ):
        reply = await call(app, path, headers=headers)
        assert reply.status == (200 if path == "/open" else 401)
        assert path == "/open" or reply.code == "credential_malformed"
    assert _tickets(gate).asked == []


@pytest.mark.parametrize("other", ["authorization", "x-api-key"])
async def test_two_credentials_are_a_conflict(gate: Limen, other: str) -> None:
    """The ticket and a good token of the same person, or any key: 400, and neither is taken."""
    counted = Counted()
    app = _app(gate, counted)
    value = f"Bearer {await _token(gate, 'ann')}" if other == "authorization" else "lim_live_whatever"
    reply = await call(app, "/leaf", headers=(("x-ticket", "ann:maker"), (other, value)))
    assert (reply.status, reply.code, counted.ran) == (400, "credentials_conflict", [])
    assert _tickets(gate).asked == []


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_cookie_of_somebody_else_is_a_conflict(gate: Limen, kind: str, method: str) -> None:
    """Beside one's own cookie the ticket decides; beside another's, or with a broken one, nobody does."""
    counted = Counted()
    app = _app(gate, counted)
    account = await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
    issued = await gate.cookie_login.open(
        "ann", PASSWORD, remembered=False, new_password=None, replaced=None, origin=NOWHERE
    )
    cookie = ("cookie", f"__Host-limen={issued.value}")
    for sub, expected in ((account.id, (200, "")), ("somebody-else", (400, "credentials_conflict"))):
        for number in (0, 1):
            _tickets(gate, number).said[b"x"] = Principal(sub, PrincipalKind.PERSON, frozenset({"maker"}))
        reply = await call(app, "/leaf", headers=(*_presented(kind, "x"), cookie), method=method)
        assert (reply.status, "" if reply.status == 200 else reply.code) == expected
    broken = await call(
        app, "/leaf", headers=(*_presented(kind, "x"), ("cookie", "__Host-limen=broken")), method=method
    )
    assert broken.code == "credential_malformed"
    assert counted.ran == [account.id]


async def test_an_open_socket_ends_with_it(tmp_path: Path) -> None:
    """After the strategy's lifetime, or at the end that it named, or when its session has ended."""
    now = [1_800_000_000.0]
    strategy = Tickets()
    gate = Limen(settings_for(tmp_path), roles=ROLES, strategies=[strategy], clock=lambda: now[0])
    states: list[Any] = []

    async def socket(websocket: Any) -> None:
        states.append(websocket.scope["limen.guard"])
        await websocket.accept()

    app = Starlette(routes=[WebSocketRoute("/leaf", socket)])
    gate.protect(app)
    async with gate.running():
        strategy.said[b"short"] = Authenticated(Principal("ann", PrincipalKind.PERSON), int(now[0]) + 10)
        for value in ("ann:maker", "short"):
            assert (await call(app, "/leaf", headers=(("x-ticket", value),), method="SOCKET")).status == 101
        assert [gate.still_valid(state) for state in states] == [True, True]
        now[0] += 10
        assert [gate.still_valid(state) for state in states] == [True, False]
        gate.ended.add("ticket-of-ann", int(now[0] * 1000) + 60_000)
        assert [gate.still_valid(state) for state in states] == [False, False]


async def test_it_is_challenged_and_told_in_openapi(gate: Limen) -> None:
    """A 401 names the scheme, and each operation names it beside limen's own."""
    app = _app(gate, Counted())
    assert (gate.challenges, (await call(app, "/leaf")).status) == (("Ticket", "Bearer"), 401)
    document = app.openapi()
    schemes = document["components"]["securitySchemes"]
    assert schemes["ticket"] == {"type": "apiKey", "in": "header", "name": "X-Ticket"}
    assert schemes["schemed"] == {"type": "http", "scheme": "ticket"}
    assert {"ticket": []} in document["paths"]["/leaf"]["get"]["security"]


async def test_a_starlette_application_has_it_too(gate: Limen) -> None:
    """Nothing of it is FastAPI's."""

    async def leaf(request: Request) -> Response:
        return PlainTextResponse(request.user.sub)

    app = Starlette(routes=[Route("/leaf", leaf)])
    gate.protect(app)
    assert (await _ask(app, "header", "ann:maker")).body == b"ann"


def _made(**values: Any) -> OwnStrategy:
    return type("Made", (Tickets,), {"name": "", "header": None, **values})()  # type: ignore[no-any-return]


def test_a_strategy_that_looks_at_nothing_is_refused() -> None:
    """A class without `authenticate`, or with it under another name, is told what to write where it is made."""

    class Misspelt(OwnStrategy):
        name = "misspelt"
        header = "X-Ticket"

        def __init__(self, secret: str) -> None:
            self.secret = secret

        async def authentcate(self, credential: PresentedCredential) -> Principal | None:
            return None

    with pytest.raises(ConfigurationError, match=r"Misspelt has no authenticate\. Write in it: async def authenticate"):
        Misspelt("x")  # type: ignore[abstract]
    with pytest.raises(ConfigurationError, match="OwnStrategy has no authenticate"):
        OwnStrategy()  # type: ignore[abstract]


@pytest.mark.parametrize(
    "strategies",
    [
        [object()],
        [_made(name="x1", header="X-One", scheme="One")],
        [_made(name="x1")],
        [_made(header="X-One")],
        [_made(name="pwd", header="X-One")],
        [_made(name="api_key", header="X-One")],
        [_made(name="Big", header="X-One")],
        [_made(name="x1", scheme="Bearer")],
        [_made(name="x1", header="Authorization")],
        [_made(name="x1", header="X-API-Key")],
        [_made(name="x1", header="Cookie")],
        [_made(name="x1", header="X One")],
        [_made(name="x1", scheme="Basic")],
        [_made(name="x1", scheme="negotiate")],
        [_made(name="x1", header="X-One", lifetime=0)],
        [_made(name="x1", header="X-One"), _made(name="x1", header="X-Two")],
        [_made(name="x1", header="X-One"), _made(name="x2", header="x-one")],
        [_made(name="x1", scheme="One"), _made(name="x2", scheme="one")],
    ],
    ids=range(18),
)
def test_what_cannot_be_told_from_others_is_refused(tmp_path: Path, strategies: Any) -> None:
    """A name, scheme or header that is limen's or another's, none, or both; a scheme that browsers send unasked."""
    with pytest.raises(ConfigurationError):
        Limen(settings_for(tmp_path), roles=ROLES, strategies=strategies)
