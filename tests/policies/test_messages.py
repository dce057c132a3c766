"""Policies on handlers of messages: the same answers as on routes, before anything is recorded or done."""

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from limen import Limen, Principal, allow, context, deny, resource, subject
from limen.consumers import Consumer, GuardedMessage, Message, Verdict, live, once, permissions, policy, public, roles
from limen.core.errors import ConfigurationError, PolicyDenied, Unavailable
from limen.features.accounts.service import AccountView
from limen.features.roles.service import OPERATOR
from tests.support.gates import ROLES, settings_for

AUDIENCE = "payouts"


@dataclass
class Payout:
    """What a message asks to release."""

    amount: int
    owner_id: str = ""


U, P, C = subject(), resource(Payout), context(queue=str)
RULES = (
    allow("payout:release", (P.amount <= U.limit) & (C.queue == "payouts"), id="within-limit"),
    deny("payout:release", P.amount == 13, id="unlucky"),
    deny("order:create", U.suspended == True, id="suspended"),  # noqa: E712 - a field
    allow("order:create", U.has_role("maker"), id="makers"),
)
PAYOUTS = {b"1": Payout(1), b"13": Payout(13), b"1000": Payout(1000)}


class Shop:
    """A gate with policies, a service in whose name messages are sent, and what handlers did."""

    def __init__(self, gate: Limen, service: AccountView, told: dict[str, object]) -> None:
        self.gate, self.service, self.told = gate, service, told
        self.ran: list[GuardedMessage] = []

    async def message(self, body: bytes) -> Message:
        told: dict[str, Any] = {"service": self.service.username, "audience": AUDIENCE, "body": body}
        return Message(body, await self.gate.messages.attributes(**told), "message-1")

    async def handle(self, handler: Any, body: bytes = b"1") -> Any:
        return await Consumer(self.gate, handler, audience=AUDIENCE).handle(await self.message(body))

    def work(self, *requirements: Any) -> Any:
        """Return a handler under these requirements."""

        async def handler(message: GuardedMessage) -> None:
            self.ran.append(message)

        decorated: Any = handler
        for each in requirements:
            decorated = each(decorated)
        return decorated


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A started gate whose loader tells what a test puts there."""
    told: dict[str, object] = {"limit": 100, "suspended": False}

    async def load(principal: Principal) -> Mapping[str, object]:
        if not told:
            raise Unavailable()
        return told

    gate = Limen(
        settings_for(tmp_path),
        roles=ROLES,
        policies=RULES,
        attributes=load,
        policy_context=lambda entrance: {"queue": AUDIENCE} if isinstance(entrance, Message) else {},
    )
    async with gate.running():
        assert gate.api_keys is not None
        service = await gate.api_keys.services.create(OPERATOR, "shop", roles=frozenset({"maker"}))
        yield Shop(gate, service, told)


async def _load(message: GuardedMessage) -> Payout | None:
    return PAYOUTS.get(message.body)


def _load_in_a_thread(message: GuardedMessage) -> Payout | None:
    return PAYOUTS.get(message.body)


@pytest.mark.parametrize("load", [_load, _load_in_a_thread], ids=["async", "sync"])
async def test_the_handler_gets_what_was_decided(shop: Shop, load: Any) -> None:
    """What is allowed is handled, and the handler finds the very object that was decided, and who sent it."""
    outcome = await shop.handle(shop.work(policy("payout:release", load=load)))
    assert (outcome.verdict, shop.ran[0].resource is PAYOUTS[b"1"]) == (Verdict.HANDLED, True)
    assert shop.ran[0].principal.attributes == shop.told


@pytest.mark.parametrize(
    ("body", "hide", "code", "reason"),
    [
        (b"1000", False, "policy_denied", ""),
        (b"13", False, "policy_denied", "unlucky"),
        (b"13", True, "not_found", ""),
        (b"99", False, "not_found", ""),
        (b"99", True, "not_found", ""),
    ],
    ids=["over_limit", "denied", "denied_hidden", "absent", "absent_hidden"],
)
async def test_what_is_not_allowed_is_refused(shop: Shop, body: bytes, hide: bool, code: str, reason: str) -> None:
    """A refused message says why, is not handled, and never comes again."""
    outcome = await shop.handle(shop.work(policy("payout:release", load=_load, hide=hide)), body)
    assert (outcome.verdict, outcome.code, shop.ran) == (Verdict.REFUSED, code, [])
    assert reason in outcome.reason


@pytest.mark.parametrize("asked", [policy("order:create"), permissions("order:create")], ids=str)
async def test_a_deny_by_who_sent_it_counts(shop: Shop, asked: Any) -> None:
    """A deny that reads an attribute of whom the message stands for is asked beside a permission, too."""
    handler = shop.work(asked)
    assert (await shop.handle(handler)).verdict is Verdict.HANDLED
    shop.told["suspended"] = True
    outcome = await shop.handle(handler)
    assert (outcome.verdict, outcome.code, len(shop.ran)) == (Verdict.REFUSED, "policy_denied", 1)


async def test_what_cannot_be_loaded_comes_again(shop: Shop) -> None:
    """Where attributes or the resource cannot be loaded, nothing is decided: the message is deferred."""

    async def fails(message: GuardedMessage) -> Payout:
        raise OSError("the database is down")

    outcome = await shop.handle(shop.work(policy("payout:release", load=fails)))
    assert (outcome.verdict, outcome.code) == (Verdict.DEFERRED, "internal_error")
    shop.told.clear()
    assert (await shop.handle(shop.work(policy("order:create")))).verdict is Verdict.DEFERRED
    assert shop.ran == []


@pytest.mark.parametrize("asked", [policy("order:create"), permissions("order:create")], ids=str)
async def test_a_refused_message_is_not_recorded_as_handled(shop: Shop, asked: Any) -> None:
    """The policy is asked before @once records, so the same message may be handled when it is allowed."""
    handler = shop.work(asked, once)
    consumer = Consumer(shop.gate, handler, audience=AUDIENCE)
    message = await shop.message(b"1")
    shop.told["suspended"] = True
    refused = await consumer.handle(message)
    shop.told["suspended"] = False
    handled = await consumer.handle(message)
    assert [refused.verdict, handled.verdict] == [Verdict.REFUSED, Verdict.HANDLED]


async def test_other_policies_count_from_the_next_message_on(shop: Shop) -> None:
    """A consumer asks the policies of the moment."""
    handler = shop.work(policy("order:create"), live)
    assert (await shop.handle(handler)).verdict is Verdict.HANDLED
    shop.gate.load_policies([*RULES, deny("order:create", id="closed")])
    assert (await shop.handle(handler)).reason == "closed"


async def test_a_function_below_another_handler_needs_its_own_answer(shop: Shop) -> None:
    """A decorated function that is called by an undecorated handler refuses: nobody has asked for it."""
    inner = shop.work(policy("payout:release", load=_load))

    async def handler(message: GuardedMessage) -> None:
        await inner(message)

    outcome = await shop.handle(handler)
    assert (outcome.verdict, outcome.code, shop.ran) == (Verdict.REFUSED, "policy_denied", [])


async def test_a_denied_permission_below_another_handler_refuses(shop: Shop) -> None:
    """A permission that a deny takes away is not held in a function that is called by another handler either."""
    inner = shop.work(permissions("order:create"))

    async def handler(message: GuardedMessage) -> None:
        await inner(message)

    shop.told["suspended"] = True
    outcome = await shop.handle(roles("maker")(handler))
    assert (outcome.verdict, shop.ran) == (Verdict.REFUSED, [])
    assert isinstance(outcome.error, PolicyDenied) or outcome.code == "policy_denied"


async def test_two_loaders_on_one_handler_are_refused(shop: Shop) -> None:
    """There is one message.resource."""
    handler = shop.work(policy("payout:release", load=_load), policy("payout:release", load=_load_in_a_thread))
    with pytest.raises(ConfigurationError, match="one load="):
        Consumer(shop.gate, handler, audience=AUDIENCE)


async def test_without_policies_a_policy_refuses(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A gate that has no policies answers no, and says why in the log."""
    shop.gate.loaded_policies = None
    with caplog.at_level(logging.ERROR, logger="limen"):
        outcome = await shop.handle(shop.work(policy("payout:release", load=_load)))
    assert (outcome.code, shop.ran) == ("policy_denied", [])
    assert "the gate has none" in caplog.text


async def test_public_beside_a_policy_is_a_contradiction(shop: Shop) -> None:
    """A public handler asks nobody."""
    with pytest.raises(ConfigurationError, match="public and restricted"):
        Consumer(shop.gate, public(shop.work(policy("order:create"))), audience=AUDIENCE)
