"""Approvals over HTTP: asked for by a route, decided at `/approvals`, with FastAPI and with Starlette."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import fastapi
import pytest
from fastapi import Body, Depends, FastAPI
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

import limen.fastapi
import limen.starlette
from limen import ADMINISTRATION, Limen
from limen.core.errors import ConfigurationError
from limen.core.ids import uuid7
from limen.fastapi import CurrentPrincipal, permissions, requires_approval
from limen.features.approvals.service import Approved
from tests.support.gates import PASSWORD, settings_for

ROLES = {
    "maker": ["payout:create", "api-keys:own", "payout:release:approve"],
    "checker": ["payout:release:approve", "api-keys:own"],
    "clerk": ["payout:create"],
    "stranger": ["order:read"],
    "admin": [*ADMINISTRATION],
}


class Release(BaseModel):
    """What a payout is released with."""

    amount: Decimal = Field(ge=0)
    to: str = Field(alias="creditor")


class Payout(BaseModel):
    """A payout, as it is loaded."""

    id: int


def never(*_: object, **__: object) -> None:
    """Stand where a handler would have done its work."""
    raise AssertionError("a handler ran that takes an approval")


def fastapi_routes(app: FastAPI) -> None:
    """Add routes that take approvals."""

    def load(payout_id: int) -> Payout:
        return Payout(id=payout_id)

    @app.post("/payouts/{payout_id}/release")
    @permissions("payout:create")
    @requires_approval("payout:release", resource="payout:{payout_id}")
    async def release(
        payout_id: int, body: Release, me: CurrentPrincipal, payout: Annotated[Payout, Depends(load)]
    ) -> None:
        never()

    @app.post("/payouts")
    @requires_approval("payout:release", quorum=lambda payload: 2 if payload["amount"] > 100 else 1)
    @permissions("payout:create")
    async def create(request: Request, amount: Annotated[int, Body()], note: Annotated[str, Body()] = "") -> None:
        never()

    @app.post("/payouts/{name}/close")
    @requires_approval("payout:release")
    def close(name: str) -> None:
        never()

    @app.post("/letters/{letter}/send")
    @requires_approval("payout:release", resource="letter:{letter}")
    async def send(letter: str) -> None:
        never()

    @app.post("/loads/{payout_id}")
    @requires_approval("payout:release", resource="payout:{payout_id}")
    async def loads(payout: Annotated[Payout, Depends(load)]) -> None:
        never()

    @app.post("/aliases/{id}")
    @requires_approval("payout:release", resource="payout:{id}")
    async def aliases(payout_id: Annotated[int, fastapi.Path(alias="id")]) -> None:
        never()

    @app.post("/numbers/{number}/close")
    @requires_approval("payout:release")
    async def close_number(number: int) -> None:
        never()

    inner = fastapi.APIRouter(prefix="/inner/{org:int}")
    mounted = fastapi.FastAPI()

    @app.post("/api/2/pay/{number:int}")
    @inner.post("/2/pay/{number:int}")
    @mounted.post("/2/pay/{number:int}")
    @requires_approval("payout:release")
    async def pay(number: int) -> None:
        never()

    app.include_router(inner, prefix="/outer/2")
    app.mount("/mounted/2", mounted)
    app.mount("/by/{org:int}", mounted)

    @app.post("/undeclared")
    @requires_approval("payout:unknown")
    async def undeclared() -> None:
        never()


def starlette_routes() -> list[Route]:
    """Return the same for Starlette, as far as it has them."""

    @limen.starlette.permissions("payout:create")
    @limen.starlette.requires_approval("payout:release", resource="payout:{payout_id}")
    async def release(request: Request) -> Response:
        never()
        return Response()

    return [Route("/payouts/{payout_id:int}/release", release, methods=["POST"])]


@pytest.fixture
def executed() -> list[Approved]:
    """What was executed."""
    return []


@pytest.fixture
def gate(tmp_path: Path, executed: list[Approved]) -> Limen:
    """A gate with one action, whose outbox a test works off."""
    gate = Limen(settings_for(tmp_path), roles=ROLES)

    @gate.approvals.action("payout:release")
    async def release(approved: Approved) -> None:
        executed.append(approved)

    return gate


@pytest.fixture
def app(gate: Limen) -> FastAPI:
    """An application of FastAPI."""
    app = FastAPI()
    fastapi_routes(app)
    gate.protect(app, administration=True, approvals=True)
    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of it."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@dataclass
class Person:
    """Somebody who has logged in."""

    client: TestClient
    id: str
    token: str

    def ask(self, method: str, path: str, json: Any = None, **headers: str) -> Any:
        """Send a request with the access token."""
        return self.client.request(
            method, path, json=json, headers={"Authorization": f"Bearer {self.token}", **headers}
        )

    def post(self, path: str, json: Any = None) -> Any:
        """Send one that changes something."""
        return self.ask("POST", path, json if json is not None else {})


LogIn = Callable[[str, str], Person]


async def _create(gate: Limen, name: str, role: str) -> str:
    return (await gate.accounts.create(name, PASSWORD, roles=frozenset({role}))).id


def logging_in(client: TestClient, gate: Limen) -> LogIn:
    """Return what makes an account with a role and logs it in."""

    def act(name: str, role: str) -> Person:
        account = client.portal.call(_create, gate, name, role)  # type: ignore[union-attr]
        tokens = client.post("/auth/login", json={"username": name, "password": PASSWORD}).json()
        return Person(client, account, tokens["access_token"])

    return act


@pytest.fixture
def log_in(client: TestClient, gate: Limen) -> LogIn:
    """Make an account with a role and log it in."""
    return logging_in(client, gate)


@pytest.fixture
def maker(log_in: LogIn) -> Person:
    """Somebody who asks, and could approve what others ask."""
    return log_in("ann", "maker")


@pytest.fixture
def checker(log_in: LogIn) -> Person:
    """Somebody who approves."""
    return log_in("bob", "checker")


RELEASE = "/payouts/042/release"
BODY = {"amount": "10.50", "creditor": "carl"}


def asked(maker: Person, **changes: Any) -> dict[str, Any]:
    """Ask for a payout and return the answer."""
    answer = maker.post(RELEASE, {**BODY, **changes})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def refused(answer: Any) -> tuple[int, str]:
    """Return status and code of a refusal."""
    return answer.status_code, answer.json()["code"]


class TestAsking:
    def test_a_route_asks_instead_of_doing(self, maker: Person, executed: list[Approved]) -> None:
        """202, the place where it can be looked at, and the request: the validated body is the payload."""
        answer = maker.post(RELEASE, BODY)
        told = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (202, f"/approvals/{told['id']}")
        assert answer.headers["cache-control"] == "no-store"
        contract = {"id", "action", "resource", "status", "approvals", "quorum", "expires_at"}
        assert contract <= told.keys()
        assert (told["action"], told["resource"], told["status"]) == ("payout:release", "payout:42", "pending")
        assert (told["payload"], told["approvals"], told["quorum"]) == (BODY, [], 1)
        assert told["maker"] == maker.id
        assert told["expires_at"].endswith("Z")
        assert maker.ask("GET", answer.headers["location"]).json() == told
        assert executed == []

    def test_what_is_not_valid_is_not_asked_for(self, maker: Person, log_in: LogIn) -> None:
        """FastAPI's own validation, and the requirements beside it, come first; nothing is stored."""
        assert maker.post(RELEASE, {"amount": -1, "creditor": "carl"}).status_code == 422
        assert maker.post("/payouts/x/release", BODY).status_code == 422
        assert refused(log_in("eve", "stranger").post(RELEASE, BODY)) == (403, "permission_required")
        assert refused(log_in("eva", "stranger").post("/payouts", {"amount": 1})) == (403, "permission_required")
        assert maker.client.post(RELEASE, json=BODY).status_code == 401
        assert maker.ask("GET", "/approvals?box=mine").json() == {"items": [], "next": None}

    def test_the_same_again(self, maker: Person, log_in: LogIn) -> None:
        """A repeated request is the same one, an edited one another, and somebody else's is in the way."""
        first, again = asked(maker), asked(maker)
        assert first["id"] == again["id"]
        edited = asked(maker, amount="11")
        assert edited["id"] != first["id"]
        assert maker.ask("GET", f"/approvals/{first['id']}").json()["status"] == "withdrawn"
        assert refused(log_in("eve", "clerk").post(RELEASE, BODY)) == (409, "conflict")

    def test_bodies_of_several_parameters(self, maker: Person) -> None:
        """They are the payload by their names; the quorum may depend on it, and two of them stand beside each other."""
        small = maker.post("/payouts", {"amount": 100, "note": "tea"}).json()
        large = maker.post("/payouts", {"amount": 101}).json()
        assert (small["payload"], small["quorum"], small["resource"]) == ({"amount": 100, "note": "tea"}, 1, None)
        assert (large["payload"], large["quorum"]) == ({"amount": 101, "note": ""}, 2)

    def test_no_body_and_no_template(self, maker: Person) -> None:
        """The payload is empty, and the path is what it is done to."""
        told = maker.post("/payouts/tea/close").json()
        assert (told["payload"], told["resource"]) == ({}, "/payouts/tea/close")

    @pytest.mark.parametrize("path", ["/letters/{}/send", "/loads/{}", "/aliases/{}", "/numbers/{}/close"])
    def test_one_thing_is_not_asked_for_under_two_names(self, maker: Person, path: str) -> None:
        """What may be read as a number is refused in any spelling but its own, where nothing has converted it."""
        first = maker.post(path.format("7"))
        assert first.status_code == 202
        for spelt in ("07", "+7", "7_0", "\u0667", "%207", "-0"):
            assert maker.post(path.format(spelt)).status_code == 422, spelt
        assert maker.post(path.format("7")).json()["id"] == first.json()["id"]

    @pytest.mark.parametrize("path", ["/api/2/pay/{}", "/outer/2/inner/2/2/pay/{}", "/outer/2/inner/{}/2/pay/2"])
    def test_the_same_digits_beside_a_parameter_stand_for_none(self, maker: Person, path: str) -> None:
        """A part of the path that never changes is not what the router has converted (`{number:int}`)."""
        told = maker.post(path.format("2"))
        assert (told.status_code, told.json()["resource"]) == (202, path.format("2"))
        for spelt in ("02", "0000002"):
            assert maker.post(path.format(spelt)).status_code == 422, spelt

    def test_a_mounted_path_is_a_name_but_for_what_the_mount_converts(self, maker: Person) -> None:
        """Its own parameters are read; how the mount's was spelt nobody knows, and nothing is asked for."""
        assert maker.post("/mounted/2/2/pay/2").status_code == 202
        assert maker.post("/mounted/2/2/pay/02").status_code == 422
        assert maker.post("/by/2/2/pay/2").status_code == 500

    def test_a_text_is_what_it_is(self, maker: Person) -> None:
        """What is no whole number is a text, and its letters are its name."""
        for letter in ("A-07", "x", "7.0", "07a", "0x7"):
            assert maker.post(f"/letters/{letter}/send").json()["resource"] == f"letter:{letter}"

    def test_an_action_that_is_not_declared(self, maker: Person) -> None:
        """An action that nobody declared is a 500: nothing is asked for and nothing is done."""
        assert maker.ask("POST", "/undeclared", {}).status_code == 500
        assert maker.ask("GET", "/approvals?box=mine").json()["items"] == []

    def test_only_functions_are_decorated(self) -> None:
        """Classes and objects have other ways; that is told where it is written."""
        for door in (limen.fastapi, limen.starlette):
            for target in (Payout, object(), FastAPI().get):
                with pytest.raises(ConfigurationError, match="above a function"):
                    door.requires_approval("payout:release")(target)

    def test_without_a_guard_nothing_is_asked_for(self, caplog: pytest.LogCaptureFixture) -> None:
        """In an application that was never protected the route fails, and its handler does not run either."""
        app = FastAPI()
        fastapi_routes(app)
        with TestClient(app, raise_server_exceptions=False) as client, caplog.at_level(logging.CRITICAL):
            assert client.post("/payouts/tea/close").status_code == 500


class TestDeciding:
    def test_a_yes(self, maker: Person, checker: Person, gate: Limen, executed: list[Approved]) -> None:
        """The checker finds it in the inbox and approves it; its maker sees by whom, and that it was done."""
        told = asked(maker)
        assert checker.ask("GET", "/approvals").json() == {"items": [told], "next": None}
        assert checker.ask("GET", "/approvals?box=inbox").json()["items"] == [told]
        assert maker.ask("GET", "/approvals").json()["items"] == []
        done = checker.post(f"/approvals/{told['id']}/approve")
        assert (done.status_code, done.json()["status"]) == (200, "approved")
        assert [each["approver"] for each in done.json()["approvals"]] == [checker.id]
        assert checker.ask("GET", "/approvals").json()["items"] == []
        assert maker.client.portal is not None
        maker.client.portal.call(gate.approvals.work)
        assert [(each.id, each.payload) for each in executed] == [(told["id"], BODY)]
        assert maker.ask("GET", f"/approvals/{told['id']}").json()["execution"] == "done"
        assert refused(checker.post(f"/approvals/{told['id']}/approve")) == (409, "already_decided")

    def test_without_a_body(self, maker: Person, checker: Person) -> None:
        """A yes needs none."""
        told = asked(maker)
        assert checker.ask("POST", f"/approvals/{told['id']}/approve").status_code == 200

    @pytest.mark.parametrize(
        "body",
        [
            {"approver": "somebody"},
            {"approved_by": "somebody"},
            {"principal": {"sub": "somebody"}},
            {"sub": "somebody"},
            {"quorum": 0},
            {"digest": "x"},
            {"digest": 7},
        ],
        ids=["approver", "approved_by", "principal", "sub", "quorum", "no digest", "number"],
    )
    def test_whose_yes_it_is_is_not_for_the_body_to_say(
        self, maker: Person, checker: Person, body: dict[str, Any]
    ) -> None:
        """Whatever the body adds is refused; the approver is who is logged in, and nobody else."""
        told = asked(maker)
        assert refused(checker.post(f"/approvals/{told['id']}/approve", body)) == (422, "invalid_input")
        by_maker = maker.post(f"/approvals/{told['id']}/approve", {**body, "approver": checker.id})
        assert by_maker.status_code in (403, 422)
        assert maker.ask("GET", f"/approvals/{told['id']}").json()["approvals"] == []

    def test_nobody_approves_what_they_made(self, maker: Person, client: TestClient) -> None:
        """Not in the same session, nor in another one, nor what they asked for by a key."""
        by_session = asked(maker)
        key = maker.post("/auth/api-keys", {"name": "mine"}).json()["key"]
        by_key = client.post("/payouts/7/release", json=BODY, headers={"X-API-Key": key}).json()
        assert by_key["maker"] == maker.id
        second = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()["access_token"]
        for who in (maker, Person(client, maker.id, second)):
            for told in (by_session, by_key):
                assert refused(who.post(f"/approvals/{told['id']}/approve")) == (403, "own_request")
                assert refused(who.post(f"/approvals/{told['id']}/reject", {"reason": "no"})) == (403, "own_request")

    def test_a_key_approves_nothing(self, maker: Person, checker: Person) -> None:
        """401 that asks for a login, whatever the key may otherwise; it does not even see what waits."""
        told = asked(maker)
        key = checker.post("/auth/api-keys", {"name": "mine"}).json()["key"]
        headers = {"X-API-Key": key}
        path = f"/approvals/{told['id']}"
        for act, body in (("approve", {}), ("reject", {"reason": "no"})):
            answer = checker.client.post(f"{path}/{act}", json=body, headers=headers)
            assert refused(answer) == (401, "step_up_required")
            assert "insufficient_user_authentication" in answer.headers["www-authenticate"]
        assert checker.client.get("/approvals", headers=headers).json()["items"] == []
        assert refused(checker.client.get(path, headers=headers)) == (404, "not_found")

    def test_a_no_and_a_withdrawal(self, maker: Person, checker: Person) -> None:
        """Each ends it, with a reason where it is a no."""
        first = asked(maker)
        assert refused(checker.post(f"/approvals/{first['id']}/reject")) == (422, "invalid_input")
        assert refused(checker.post(f"/approvals/{first['id']}/reject", {"reason": "\n"})) == (422, "invalid_input")
        no = checker.post(f"/approvals/{first['id']}/reject", {"reason": "not this month"}).json()
        assert (no["status"], no["reason"]) == ("rejected", "not this month")
        second = asked(maker)
        assert second["id"] != first["id"]
        assert refused(checker.post(f"/approvals/{second['id']}/withdraw")) == (403, "policy_denied")
        assert maker.post(f"/approvals/{second['id']}/withdraw").json()["status"] == "withdrawn"
        assert refused(maker.post(f"/approvals/{second['id']}/withdraw")) == (409, "already_decided")
        older, newer = sorted([first["id"], second["id"]])
        mine = maker.ask("GET", "/approvals?box=mine&limit=1").json()
        assert [each["id"] for each in mine["items"]] == [newer]
        rest = maker.ask("GET", f"/approvals?box=mine&after={mine['next']}").json()
        assert ([each["id"] for each in rest["items"]], rest["next"]) == ([older], None)

    def test_what_was_seen(self, maker: Person, checker: Person) -> None:
        """The digest of another payload is a conflict; that of the request is right."""
        told = asked(maker)
        path = f"/approvals/{told['id']}/approve"
        assert refused(checker.post(path, {"digest": "0" * 64})) == (409, "conflict")
        assert checker.post(path, {"digest": told["digest"]}).status_code == 200

    def test_who_may_not_see_it(self, maker: Person, log_in: LogIn) -> None:
        """Somebody else's is as absent as what never was; an administrator sees it and does not decide."""
        told, stranger, admin = asked(maker), log_in("eve", "stranger"), log_in("root", "admin")
        for approval_id in (told["id"], uuid7(), str(uuid4()), "x", "%00", "\u00e4"):
            path = f"/approvals/{approval_id}"
            assert refused(stranger.ask("GET", path)) == (404, "not_found")
            assert refused(stranger.post(f"{path}/approve")) == (404, "not_found")
            assert refused(stranger.post(f"{path}/reject", {"reason": "no"})) == (404, "not_found")
            assert refused(stranger.post(f"{path}/withdraw")) == (404, "not_found")
        assert stranger.ask("GET", "/approvals").json()["items"] == []
        assert refused(stranger.ask("GET", "/approvals?box=all")) == (403, "permission_required")
        assert refused(stranger.ask("GET", "/approvals?box=theirs")) == (422, "invalid_input")
        assert [each["id"] for each in admin.ask("GET", "/approvals?box=all").json()["items"]] == [told["id"]]
        assert refused(admin.post(f"/approvals/{told['id']}/approve")) == (403, "policy_denied")
        assert maker.client.get("/approvals").status_code == 401

    def test_by_a_cookie(self, maker: Person, checker: Person, app: FastAPI) -> None:
        """A browser's session approves with its proof against forged requests, and without it does not."""
        told = asked(maker)
        path = f"/approvals/{told['id']}/approve"
        browser = TestClient(app, base_url="http://localhost", headers={"Origin": "http://localhost"})
        session = browser.post("/auth/session", json={"username": "bob", "password": PASSWORD})
        assert session.status_code == 200, session.text
        assert refused(browser.post(path, json={})) == (403, "csrf_failed")
        done = browser.post(path, json={}, headers={"X-CSRF-Token": session.json()["csrf_token"]})
        assert (done.status_code, done.json()["approvals"][0]["approver"]) == (200, checker.id)


class TestStarlette:
    @pytest.fixture
    def client(self, gate: Limen) -> Iterator[TestClient]:
        """A client of an application of Starlette, which is mounted somewhere."""
        app = Starlette(routes=starlette_routes())
        gate.protect(app, approvals=True)
        with TestClient(app, root_path="/api", raise_server_exceptions=False) as client:
            yield client

    def test_a_route_asks_instead_of_doing(self, client: TestClient, gate: Limen) -> None:
        """The JSON object of the body is the payload, read strictly."""
        maker = logging_in(client, gate)("ann", "maker")
        answer = maker.post("/payouts/042/release", {"amount": 1})
        told = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (202, f"/api/approvals/{told['id']}")
        assert (told["payload"], told["resource"]) == ({"amount": 1}, "payout:42")
        assert maker.ask("POST", "/payouts/1/release").json()["payload"] == {}

    @pytest.mark.parametrize(
        ("content", "type_", "status"),
        [
            (b"[]", "application/json", 400),
            (b'{"a": 1, "a": 2}', "application/json", 400),
            (b'{"a": NaN}', "application/json", 400),
            (b"{", "application/json", 400),
            (b"a=1", "application/x-www-form-urlencoded", 415),
            (b'{"a": "' + b"x" * 16_384 + b'"}', "application/json", 413),
        ],
        ids=["list", "twice", "NaN", "half", "form", "long"],
    )
    def test_bodies_that_are_refused(
        self, client: TestClient, gate: Limen, content: bytes, type_: str, status: int
    ) -> None:
        """What is no plain JSON object of 16 KiB at most is not asked for."""
        maker = logging_in(client, gate)("ann", "maker")
        headers = {"Authorization": f"Bearer {maker.token}", "Content-Type": type_}
        assert client.post("/payouts/1/release", content=content, headers=headers).status_code == status
        assert maker.ask("GET", "/approvals?box=mine").json()["items"] == []


def test_without_being_asked_for_the_routes_are_not_there(tmp_path: Path) -> None:
    """An application that has a path of this name keeps it."""
    app = Starlette()
    gate = Limen(settings_for(tmp_path), roles=ROLES)
    gate.protect(app)
    with TestClient(app) as client:
        assert client.get("/approvals").status_code == 404


def test_each_route_is_described(app: FastAPI) -> None:
    """What there is and what the schema says are the same."""
    from limen.web.guard.dispatch import instrument
    from limen.web.routes.approvals import approval_paths

    own = instrument(app.router).own
    assert own is not None
    served = {(path, method) for path, methods, _ in own.listed() for method in methods - {"HEAD"}}
    told = {(path, method.upper()) for path, operations in approval_paths().items() for method in operations}
    assert {each for each in served if each[0].startswith("/approvals")} == told
    assert "/approvals/{id}/approve" in app.openapi()["paths"]
