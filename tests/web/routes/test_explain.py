"""``/admin/api/explain``: why an account may or may not do something, and who is told."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen, PolicySet, allow, context
from limen.authz.explaining import PolicyResources, shown_value
from limen.authz.policy.values import ABSENT
from limen.core.errors import ConfigurationError
from limen.features.roles.service import OPERATOR
from tests.policies import explained
from tests.policies.explained import U
from tests.support.gates import settings_for
from tests.web.routes.administering import Somebody, run, somebody
from tests.web.routes.test_own_routes import code_of

PATH = "/admin/api/explain"


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate with policies."""
    return explained.gate(settings_for(tmp_path))


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of an application that is administered over HTTP."""
    app = Starlette()
    gate.protect(app, administration=True)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def asker(gate: Limen, client: TestClient) -> Somebody:
    """Somebody who may ask, and nothing else."""
    return somebody(gate, client, "asker", "explainer")


def asked(asker: Somebody, account: str, action: str = "order:approve", resource: str | None = None) -> Any:
    """Ask, and return the answer."""
    query = {"account": account, "action": action, **({} if resource is None else {"resource": resource})}
    return asker.send("GET", PATH, params=query)


def test_the_leaves_that_do_not_hold(gate: Limen, client: TestClient, asker: Somebody) -> None:
    """By id and by name: the version, and each leaf with the values that it compared, as text; nothing else."""
    ben = somebody(gate, client, "ben", "checker")
    for account in (ben.id, "Ben"):
        answer = asked(asker, account, resource="Order:500")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json() == {
            "allowed": False,
            "version": gate.policies.version,
            "rule": "",
            "failed": [{"leaf": "Order.amount <= subject.limit", "left": "500", "right": "100"}],
        }
        assert explained.NOBODY_ELSES not in answer.text
        assert "salary" not in answer.text


def test_the_rule_that_decided(gate: Limen, client: TestClient, asker: Somebody) -> None:
    """Of a yes it is the allow; of a no by a deny it is the deny, with what made it hold."""
    ben = somebody(gate, client, "ben", "checker")
    told = asked(asker, ben.id, resource="Order:50").json()
    assert (told["allowed"], told["rule"], told["failed"]) == (True, "limited", [])
    explained.MADE_BY["60"] = ben.id
    told = asked(asker, ben.id, resource="Order:60").json()
    assert (told["allowed"], told["rule"]) == (False, "own_order")
    assert told["failed"] == [{"leaf": "Order.maker_id != subject.id", "left": ben.id, "right": ben.id}]
    assert asked(asker, ben.id, "order:create").json()["rule"] == "any"


def test_what_nobody_tells_is_not_a_value(tmp_path: Path) -> None:
    """Of the context and of the attributes it is «not told», with the code; what is told and missing is null."""
    told = PolicySet(
        [
            allow(
                "order:create",
                (context(channel=str).channel == "office") & (U.limit == 1) & (U.branch == "north"),
                id="office",
            )
        ]
    )
    gate = explained.gate(settings_for(tmp_path), policies=told, attributes=tell_no_branch)
    app = Starlette()
    gate.protect(app, administration=True)
    with TestClient(app) as client:
        asker = somebody(gate, client, "asker", "explainer")
        assert asked(asker, asker.id, "order:create").json()["failed"] == [
            {"leaf": "context.channel == 'office'", "left": "not told (policy.unknown)", "right": "office"},
            {"leaf": "subject.limit == 1", "left": None, "right": "1"},
            {"leaf": "subject.branch == 'north'", "left": None, "right": "north"},
        ]
    assert (shown_value(ABSENT), shown_value("not told")) == ("not told", "not told")


async def tell_no_branch(_principal: object) -> dict[str, object]:
    """Tell a limit that is missing, and nothing of a branch."""
    return {"limit": None}


def test_roles_of_now(gate: Limen, client: TestClient, asker: Somebody) -> None:
    """What is granted counts at once; whoever is blocked may do nothing, and that is what is told."""
    ben = somebody(gate, client, "ben")
    assert asked(asker, "ben", "order:create").json()["allowed"] is False
    run(client, partial(gate.roles.grant, OPERATOR, ben.id, ["checker"]))
    assert asked(asker, "ben", "order:create").json()["allowed"] is True
    run(client, partial(gate.accounts.block, ben.account, actor="cli"))
    told = asked(asker, "ben", "order:create").json()
    assert (told["allowed"], told["rule"]) == (False, "")
    assert told["failed"] == [{"leaf": "the account is active", "left": "blocked", "right": "active"}]


@pytest.mark.parametrize("query", ["", "?account=ben&action=order:approve&resource=Order:500"])
def test_nobody_else_is_told(gate: Limen, client: TestClient, query: str) -> None:
    """Without a token 401; with other permissions 403, whatever is asked, and nothing is loaded for them."""
    somebody(gate, client, "ben", "checker")
    clerk = somebody(gate, client, "clerk", "clerk", "checker")
    assert code_of(client.get(f"{PATH}{query}")) == (401, "credential_missing")
    for who in (clerk, somebody(gate, client, "nothing")):
        answer = who.send("GET", f"{PATH}{query}")
        assert code_of(answer) == (403, "permission_required")
        # The number of the request may have these digits in it.
        assert "500" not in str({**answer.json(), "trace_id": ""})


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"action": "order:approve"}, 422, "missing"),
        ({"account": "asker"}, 422, "missing"),
        ({"account": "asker", "action": "order:aprove"}, 422, "unknown_action"),
        ({"account": "asker", "action": "__class__"}, 422, "unknown_action"),
        ({"account": "asker", "action": "order:approve", "resource": "Order"}, 422, "invalid_value"),
        ({"account": "asker", "action": "order:approve", "resource": "Order:"}, 422, "invalid_value"),
        ({"account": "asker", "action": "order:approve", "resource": ":1"}, 422, "invalid_value"),
        ({"account": "asker", "action": "order:approve", "resource": "Order:" + "1" * 201}, 422, "invalid_value"),
        ({"account": "asker", "action": "order:approve", "resource": "Limen:1"}, 422, "unknown_model"),
        ({"account": "asker", "action": "order:approve", "resource": "os.system:id"}, 422, "unknown_model"),
        ({"account": "asker", "action": "order:approve", "resource": "Order:none"}, 404, None),
        ({"account": "asker", "action": "order:approve", "resource": "Order:hidden"}, 404, None),
        ({"account": "nobody", "action": "order:approve"}, 404, None),
        ({"account": "0" * 400, "action": "order:approve"}, 422, "invalid_value"),
    ],
)
def test_what_is_asked_wrongly(asker: Somebody, query: dict[str, str], status: int, code: str | None) -> None:
    """A name that means nothing is 422 or 404 with a code; no name is looked up as code."""
    answer = asker.send("GET", PATH, params=query)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == ("not_found" if status == 404 else "invalid_input")
    assert [each["code"] for each in answer.json().get("errors", [])] == ([] if code is None else [code])


@pytest.mark.parametrize("key", ["broken", "other"])
def test_a_loader_that_fails(asker: Somebody, caplog: pytest.LogCaptureFixture, key: str) -> None:
    """What it raised or returned is neither answered nor logged: 503."""
    with caplog.at_level(logging.ERROR, logger="limen"):
        answer = asked(asker, "asker", resource=f"Order:{key}")
    assert code_of(answer) == (503, "unavailable")
    assert "secret" not in answer.text + caplog.text


def test_without_policies_there_is_nothing(tmp_path: Path) -> None:
    """An application without policies answers 404, to those who may ask."""
    gate = explained.gate(settings_for(tmp_path), policies=None, attributes=None)
    app = Starlette()
    gate.protect(app, administration=True)
    with TestClient(app) as client:
        assert code_of(asked(somebody(gate, client, "asker", "explainer"), "asker")) == (404, "not_found")
        assert code_of(asked(somebody(gate, client, "ben"), "asker")) == (403, "permission_required")


def test_values_are_text() -> None:
    """Plain values are written out, long ones cut; of others only the class is told, and none of their code is run."""

    class Loud:
        def __repr__(self) -> str:
            raise AssertionError("run")

        __str__ = __repr__

    class Text(str):
        __slots__ = ()
        __str__ = Loud.__repr__

    assert [shown_value(each) for each in (None, True, 1.5, "a", Loud(), Text("x"))] == [
        None, "True", "1.5", "a", "<Loud>", "<Text>",
    ]  # fmt: skip
    assert shown_value(frozenset({"b", "a"})) == "[a, b]"
    assert (shown_value(list(range(10_000))) or "").endswith("18, 19, …]")
    assert len(shown_value("x" * 10_000) or "") == 200
    assert shown_value(10**5_000) == "<int>"


def test_loaders_are_checked_when_they_are_declared() -> None:
    """What is no class, no function, or called as another, is refused at once."""
    same = type("Order", (), {})
    for wrong in (
        {"Order": explained.load},
        {explained.Order: None},
        {explained.Order: explained.load, same: explained.load},
    ):
        with pytest.raises(ConfigurationError, match="policy_resources"):
            PolicyResources(wrong)  # type: ignore[arg-type]
