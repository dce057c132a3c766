"""What an application knows of its own users, for decisions: once a request, read-only, and a failure is a no."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from limen import Limen
from limen.authz import attributes as loading
from limen.core.errors import AccountNotActive, ConfigurationError, LimenError, Unavailable
from limen.core.events import NOWHERE
from limen.core.principal import ANONYMOUS, Principal, PrincipalKind
from limen.starlette import live, public
from limen.web.guard.attributes import attributes_in
from limen.web.guard.rules import PathRules
from limen.web.guard.state import GUARD_KEY, GuardState
from tests.support.gates import PASSWORD, ROLES, settings_for

ANN = Principal(sub="0199e1f0-0000-7000-8000-000000000001", kind=PrincipalKind.PERSON, roles=frozenset({"maker"}))

Loader = Callable[[Principal], Awaitable[Mapping[str, object]]]


@dataclass
class Counting:
    """A loader that counts, and waits a little."""

    calls: int = 0
    fails: bool = False

    async def __call__(self, principal: Principal) -> Mapping[str, object]:
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.fails:
            raise RuntimeError("the password is hunter2")
        return {"limit": 100 * self.calls, "sub": principal.sub}


def _gate(folder: Path, loader: Loader | None) -> Limen:
    return Limen(settings_for(folder), roles=ROLES, attributes=loader)


class TestLoading:
    async def test_a_principal_is_looked_up_each_time(self, tmp_path: Path) -> None:
        """Without a request nothing is kept."""
        loader = Counting()
        gate = _gate(tmp_path, loader)
        assert dict(await gate.attributes_of(ANN)) == {"limit": 100, "sub": ANN.sub}
        assert (await gate.attributes_of(ANN))["limit"] == 200

    async def test_nobody_in_particular_has_none(self, tmp_path: Path) -> None:
        """The loader is not asked about the anonymous principal."""
        loader = Counting()
        assert dict(await _gate(tmp_path, loader).attributes_of(ANONYMOUS)) == {}
        assert loader.calls == 0

    async def test_without_a_loader_there_are_none(self, tmp_path: Path) -> None:
        """An attribute that nobody loads is missing."""
        assert dict(await _gate(tmp_path, None).attributes_of(ANN)) == {}

    async def test_a_failure_is_a_no(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """An error of the loader is Unavailable, and its message, which may hold anything, is not in the log."""
        with pytest.raises(Unavailable):
            await _gate(tmp_path, Counting(fails=True)).attributes_of(ANN)
        assert [record.__dict__["failure"] for record in caplog.records] == ["RuntimeError"]
        assert "hunter2" not in caplog.text

    async def test_the_loader_may_say_no(self, tmp_path: Path) -> None:
        """A refusal of limen's catalogue is passed on as it is."""

        async def refuse(principal: Principal) -> Mapping[str, object]:
            raise AccountNotActive()

        with pytest.raises(AccountNotActive):
            await _gate(tmp_path, refuse).attributes_of(ANN)

    async def test_the_time_is_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A loader that hangs is given up."""

        async def hang(principal: Principal) -> Mapping[str, object]:
            await asyncio.sleep(60)
            return {}

        assert loading.LOADING_SECONDS == 2
        monkeypatch.setattr(loading, "LOADING_SECONDS", 0.05)
        with pytest.raises(Unavailable):
            await _gate(tmp_path, hang).attributes_of(ANN)

    async def test_what_is_handed_out_cannot_be_changed(self, tmp_path: Path) -> None:
        """Not at the top, not further down, and not by changing what the loader has kept."""
        kept: dict[str, Any] = {"limit": Decimal(5), "tags": ["a"], "boss": {"name": "bo"}, "at": datetime.now(UTC)}
        kept["set"] = {1, 2}

        async def hand_out(principal: Principal) -> Mapping[str, object]:
            return kept

        found = cast("dict[str, Any]", await _gate(tmp_path, hand_out).attributes_of(ANN))
        kept["limit"] = 6
        kept["boss"]["name"] = "eve"
        kept["tags"].append("b")
        assert (found["limit"], found["boss"]["name"], found["tags"]) == (5, "bo", ("a",))
        assert found["set"] == frozenset({1, 2})
        for part in (found, found["boss"]):
            with pytest.raises(TypeError):
                part["limit"] = 7

    @pytest.mark.parametrize("value", [object(), {"x": object()}, [object()], {1: "x"}, [[[[[[[[[[1]]]]]]]]]]])
    async def test_what_changes_by_itself_is_refused(self, tmp_path: Path, value: object) -> None:
        """Anything but plain values (a row of an ORM reads the database when it is looked at) is a fault: a no."""

        async def hand_out(principal: Principal) -> Mapping[str, object]:
            return {"limit": value}

        with pytest.raises(LimenError) as raised:
            await _gate(tmp_path, hand_out).attributes_of(ANN)
        assert raised.value.status == 500

    async def test_no_mapping_is_refused(self, tmp_path: Path) -> None:
        """None, say, does not mean «no attributes»."""

        async def hand_out(principal: Principal) -> Mapping[str, object]:
            return cast("Mapping[str, object]", None)

        with pytest.raises(LimenError):
            await _gate(tmp_path, hand_out).attributes_of(ANN)


def _application(gate: Limen) -> Starlette:
    app = Starlette()
    gate.protect(app)

    async def twice(request: Request) -> JSONResponse:
        first, second = await asyncio.gather(gate.attributes_of(request), gate.attributes_of(request))
        third = await gate.attributes_of(request)
        return JSONResponse([first["limit"], second["limit"], third["limit"]])

    async def failing(request: Request) -> JSONResponse:
        codes = []
        for _ in range(2):
            try:
                await gate.attributes_of(request)
            except LimenError as error:
                codes.append(error.code)
        return JSONResponse(codes)

    @public
    async def anyone(request: Request) -> JSONResponse:
        return JSONResponse(dict(await gate.attributes_of(request)))

    @live
    async def unasked(request: Request) -> JSONResponse:
        return JSONResponse("fine")

    async def unhandled(request: Request) -> JSONResponse:
        return JSONResponse(dict(await gate.attributes_of(request)))

    for path in (twice, failing, anyone, unasked, unhandled):
        app.add_route(f"/{path.__name__}", path)
    return app


async def _token(gate: Limen) -> dict[str, str]:
    await gate.accounts.create("ann", PASSWORD)
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    return {"authorization": f"Bearer {issued.access_token}"}


class TestInARequest:
    def test_it_is_loaded_once_a_request(self, tmp_path: Path) -> None:
        """Whoever asks at once or later in a request gets the same; the next request asks anew; a failure stays one."""
        loader = Counting()
        gate = _gate(tmp_path, loader)
        with TestClient(_application(gate)) as client:
            assert client.portal is not None
            headers = client.portal.call(_token, gate)
            assert client.get("/twice", headers=headers).json() == [100, 100, 100]
            assert client.get("/twice", headers=headers).json() == [200, 200, 200]
            assert client.get("/unasked", headers=headers).json() == "fine"
            assert loader.calls == 2
            assert client.get("/anyone").json() == {}
            assert loader.calls == 2
            loader.fails = True
            assert client.get("/failing", headers=headers).json() == ["unavailable", "unavailable"]
            assert loader.calls == 3
            answer = client.get("/unhandled", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")

    async def test_whoever_is_cancelled_leaves_a_no(self, tmp_path: Path) -> None:
        """Where the first who asked goes away, the second is told no, and does not wait for ever."""
        gate = _gate(tmp_path, None)
        state = GuardState(gate, PathRules(), [], None)
        scope = {"type": "http", GUARD_KEY: state}
        state.principal = ANN

        async def hang(principal: Principal) -> Mapping[str, object]:
            await asyncio.sleep(60)
            return {}

        first = asyncio.create_task(attributes_in(scope, gate, hang))
        await asyncio.sleep(0)
        second = asyncio.create_task(attributes_in(scope, gate, hang))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(Unavailable):
            await second

    async def test_other_roles_are_asked_for_anew(self, tmp_path: Path) -> None:
        """What was loaded for the principal of the token does not stand in for the one that a live check has found."""
        gate = _gate(tmp_path, None)
        state = GuardState(gate, PathRules(), [], None)
        scope = {"type": "http", GUARD_KEY: state}
        loader = Counting()
        for roles in ({"maker"}, {"maker"}, {"checker"}):
            state.principal = Principal(sub=ANN.sub, kind=PrincipalKind.PERSON, roles=frozenset(roles))
            await attributes_in(scope, gate, loader)
        assert loader.calls == 2

    async def test_an_unprotected_application(self, tmp_path: Path) -> None:
        """Where no guard stands there is nobody to ask about: a fault, not an empty answer."""
        gate = _gate(tmp_path, Counting())
        with pytest.raises(ConfigurationError):
            await gate.attributes_of(Request({"type": "http", "headers": []}))

    async def test_another_gate(self, tmp_path: Path) -> None:
        """A request that another gate guards has another gate's principal."""
        (tmp_path / "other").mkdir()
        gate, other = _gate(tmp_path, Counting()), _gate(tmp_path / "other", None)
        scope = {"type": "http", GUARD_KEY: GuardState(other, PathRules(), [], None)}
        with pytest.raises(ConfigurationError, match="another gate"):
            await gate.attributes_of(Request(scope))
