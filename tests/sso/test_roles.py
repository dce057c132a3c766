"""Which roles somebody holds, by what the provider says at each login."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from limen import ADMINISTRATION, Limen, SSOProvider
from limen.features.roles.service import OPERATOR
from limen.features.sso.rules import MOST_VALUES, roles_wanted
from limen.testing.clock import TurnableClock
from tests.sso.conftest import HOST, LOOPBACK, declared, log_in, me
from tests.sso.provider import Provider
from tests.support.gates import settings_for

RULE = {"makers": "maker", "chiefs": ["checker", "maker"], "nobody": "no-such-role"}


@pytest.fixture
def gate(make_gate: Callable[..., Limen], provider: Provider) -> Limen:
    """A gate with a rule."""
    return make_gate(declared(provider, roles=RULE))


def roles_after(browser: TestClient, provider: Provider, **claims: Any) -> list[str]:
    """Log in with these claims, and return the roles that the session has."""
    provider.claims = claims
    assert log_in(browser, provider).status_code == 302
    roles: list[str] = sorted(me(browser)["roles"])
    return roles


def test_roles_follow_the_groups_at_every_login(browser: TestClient, provider: Provider) -> None:
    """What is gained is granted, what is lost is revoked, in the session that this login opens."""
    assert roles_after(browser, provider) == []
    assert roles_after(browser, provider, groups=["makers"]) == ["maker"]
    assert roles_after(browser, provider, groups=["chiefs", "others"]) == ["checker", "maker"]
    assert roles_after(browser, provider, groups="makers") == ["maker"]
    assert roles_after(browser, provider, groups=[]) == []


@pytest.mark.parametrize(
    "groups", [None, 7, {"makers": True}, [["makers"]], ["MAKERS"], ["makers "], ["admin"], ["maker"], ["*"], "ma"],
    ids=str,
)  # fmt: skip
def test_what_the_rule_does_not_name_gives_nothing(browser: TestClient, provider: Provider, groups: Any) -> None:
    """Neither a role's own name, nor another case, nor what is no text."""
    assert roles_after(browser, provider, groups=groups) == []


def test_a_role_that_is_not_there_is_left_out(
    browser: TestClient, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """The login goes on with the others, and the operator is told."""
    assert roles_after(browser, provider, groups=["nobody", "makers"]) == ["maker"]
    assert "names roles that are not there" in caplog.text


async def test_roles_outside_the_rule_are_left_alone(
    gate: Limen, serve: Callable[..., TestClient], provider: Provider
) -> None:
    """What an administrator granted, and the rule does not name, stays."""
    browser = serve(gate)
    roles_after(browser, provider)
    await gate.roles.grant(OPERATOR, me(browser)["sub"], ["admin", "maker"])
    assert roles_after(browser, provider, groups=["chiefs"]) == ["admin", "checker", "maker"]
    assert roles_after(browser, provider) == ["admin"]


async def test_every_process_learns_of_it(
    make_gate: Callable[..., Limen], gate: Limen, serve: Callable[..., TestClient], provider: Provider
) -> None:
    """A token of before, with a role that the login took away, is stale in another process too."""
    from limen.core.events import NOWHERE
    from limen.features.sso.store import Identity

    browser = serve(gate)
    roles_after(browser, provider, groups=["makers"])
    found = await gate.storage.sso.find(Identity(provider.issuer, provider.subject))
    assert found is not None
    (event,) = [each for each in await gate.storage.events(limit=1_000) if each.event == "roles_assigned"]
    assert (event.actor, event.data["granted"]) == ("sso:corp", ["maker"])
    other = make_gate(declared(provider, roles=RULE))
    async with other.running():
        roles_after(browser, provider)
        await other._role_watch.catch_up()
        entry = await other.storage.roles.changed_since(0)
    assert [(each.account_id, each.roles) for each in entry.accounts] == [(found.id, frozenset())]
    assert NOWHERE.address == ""


async def test_the_last_administrator_stays_one(
    tmp_path: Any, serve: Callable[..., TestClient], provider: Provider, clock: TurnableClock
) -> None:
    """A provider that forgets a group locks nobody out of the administration."""
    roles = {"boss": ADMINISTRATION, "maker": ["order:create"]}
    settings = settings_for(tmp_path, public_url=HOST, outbound_allow=LOOPBACK)
    rule = {"bosses": "boss", "makers": "maker"}
    gate = Limen(settings, roles=roles, sso=[declared(provider, roles=rule)], clock=clock)
    browser = serve(gate)
    assert roles_after(browser, provider, groups=["bosses"]) == ["boss"]
    assert roles_after(browser, provider, groups=["makers"]) == ["boss", "maker"]
    other = await gate.accounts.create("root", "correct horse battery staple", roles=frozenset({"boss"}))
    assert other.roles == {"boss"}
    assert roles_after(browser, provider, groups=["makers"]) == ["maker"]


def test_rules_read_nested_claims_and_everybody() -> None:
    """A claim by its whole name, or along its dots; a star stands for everybody; too many values are none."""
    nested = SSOProvider(name="a", roles_claim="realm_access.roles", roles={"x": "r", "*": "all"})
    assert roles_wanted(nested, {"realm_access": {"roles": ["x"]}}) == {"r", "all"}
    assert roles_wanted(nested, {"realm_access": ["x"]}) == {"all"}
    assert roles_wanted(nested, {"realm_access.roles": ["x"]}) == {"r", "all"}
    url = SSOProvider(name="a", roles_claim="https://app.example/roles", roles={"x": ["r"]})
    assert roles_wanted(url, {"https://app.example/roles": ["x"]}) == {"r"}
    assert roles_wanted(url, {"https://app.example/roles": ["x"] * (MOST_VALUES + 1)}) == frozenset()
    assert roles_wanted(url, {}) == frozenset()


async def test_of_two_that_exclude_each_other_neither_is_given(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """A rule that gives both gives neither, takes away what it gave before, and leaves a record; the login goes on."""
    gate = make_gate(declared(provider, roles=RULE), separation_of_duty=[["maker", "checker"]])
    browser = serve(gate)
    assert roles_after(browser, provider, groups=["makers"]) == ["maker"]
    assert roles_after(browser, provider, groups=["chiefs"]) == []
    refused = [
        e for e in await gate.storage.events(limit=1_000) if e.event == "roles_assigned" and e.outcome == "failure"
    ]
    assert [(e.actor, e.target, e.data) for e in refused] == [
        ("sso:corp", me(browser)["sub"], {"reason": "separation_of_duty", "roles": ["checker", "maker"]})
    ]
    assert roles_after(browser, provider, groups=["makers"]) == ["maker"]


async def test_what_the_rule_does_not_name_excludes_as_well(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """What an administrator granted stays, and the rule's role is not given beside it."""
    gate = make_gate(declared(provider, roles={"makers": "maker"}), separation_of_duty=[["maker", "checker"]])
    browser = serve(gate)
    assert roles_after(browser, provider) == []
    await gate.roles.grant(OPERATOR, me(browser)["sub"], ["checker"])
    assert roles_after(browser, provider, groups=["makers"]) == ["checker"]
