"""Who may have a message handled: the token in its attributes, and what a handler states."""

import asyncio
import base64
import json
import secrets
from typing import Any

import pytest

from limen import Limen
from limen.authn.message import MAX_TOKEN
from limen.consumers import Consumer, GuardedMessage, Message, Verdict, live, once, permissions, public, roles
from limen.consumers.declarations import Declaration
from limen.core.errors import ConfigurationError, Forbidden, NotFound, Unavailable
from limen.core.events import NOWHERE
from limen.core.principal import Principal, PrincipalKind
from limen.features.roles.service import OPERATOR
from tests.consumers.conftest import AUDIENCE, Sender, Work, counted
from tests.support.gates import PASSWORD, gate_for


async def assert_refused(sender: Sender, message: Message, code: str, work: Work | None = None) -> None:
    """See that a message is refused with this code, comes back whole, and no handler ran."""
    done = work or Work()
    outcome = await sender.consumer(done).handle(message)
    assert (outcome.verdict, outcome.code) == (Verdict.REFUSED, code)
    assert outcome.message is message
    assert outcome.reason
    assert done.done == []


class TestWhoIsLetIn:
    async def test_the_handler_is_given_the_service(self, sender: Sender) -> None:
        """Its account, its roles of now and what they give; proved by a message, and no person is there."""
        work = Work()
        outcome = await sender.consumer(work).handle(await sender.message(b"one"))
        assert outcome.verdict is Verdict.HANDLED
        assert outcome.is_over
        (message,) = work.done
        assert (message.body, message.id) == (b"one", "message-1")
        principal = message.principal
        assert (principal.sub, principal.kind) == (sender.service.id, PrincipalKind.SERVICE)
        assert principal.roles == {"maker"}
        assert principal.permissions == {"order:create", "order:read"}
        assert principal.authentication is not None
        assert principal.authentication.methods == ("message",)
        assert not principal.is_interactive
        assert outcome.principal == principal

    async def test_a_message_in_the_name_of_a_person(self, sender: Sender) -> None:
        """It stands for the person and their session, with the roles of now, and for nobody who is there."""
        gate = sender.gate
        await gate.accounts.create("ann", PASSWORD, roles=frozenset({"checker"}))
        issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        person = Principal(issued.account_id, PrincipalKind.PERSON, sid=issued.sid)
        work = Work()
        message = await sender.message(service=None, principal=person)
        assert (await sender.consumer(work).handle(message)).verdict is Verdict.HANDLED
        principal = work.done[0].principal
        assert (principal.sub, principal.kind, principal.sid) == (person.sub, PrincipalKind.PERSON, issued.sid)
        assert principal.roles == {"checker"}
        assert not principal.is_interactive

    async def test_a_plain_function_runs_in_a_thread(self, sender: Sender) -> None:
        """What blocks holds up nobody else."""
        import threading

        where: list[str] = []

        @roles("maker")
        def work(message: GuardedMessage) -> None:
            where.append(threading.current_thread().name)

        assert (await sender.consumer(work).handle(await sender.message())).verdict is Verdict.HANDLED
        assert where != [threading.main_thread().name]

    async def test_the_name_of_the_attribute_has_no_case(self, sender: Sender) -> None:
        """Queues that change the spelling of names lose nothing."""
        attributes = await sender.attributes()
        message = Message(b"body", {"Limen-Token": attributes["limen-token"], "other": "x"})
        assert (await sender.consumer(Work()).handle(message)).verdict is Verdict.HANDLED

    async def test_bytes_are_as_good_as_text(self, sender: Sender) -> None:
        """Queues whose headers are bytes need no other way."""
        token = (await sender.attributes())["limen-token"].encode()
        assert (await sender.consumer(Work()).handle(Message(b"body", [("limen-token", token)]))).is_over


def _part(token: str, number: int, **changes: object) -> str:
    parts = token.split(".")
    padded = parts[number] + "=" * (-len(parts[number]) % 4)
    said = json.loads(base64.urlsafe_b64decode(padded)) | changes
    text = json.dumps(said, separators=(",", ":")).encode()
    parts[number] = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
    return ".".join(parts)


class TestHostileAttributes:
    async def test_no_token(self, sender: Sender) -> None:
        """Without one nobody is proved to have sent it."""
        await assert_refused(sender, Message(b"body"), "credential_missing")
        await assert_refused(
            sender, Message(b"body", {"authorization": "Bearer x", "token": "y"}), "credential_missing"
        )

    @pytest.mark.parametrize(
        "value",
        ["", b"", 7, None, ["x"], {"StringValue": "x"}, "x" * (MAX_TOKEN + 1), b"x" * (MAX_TOKEN + 1)],
        ids=["empty", "no bytes", "number", "none", "list", "structure", "too long", "too many bytes"],
    )
    async def test_what_is_no_text_of_a_sane_length(self, sender: Sender, value: object) -> None:
        """It is malformed, which never counts as missing."""
        await assert_refused(sender, Message(b"body", {"limen-token": value}), "credential_malformed")

    @pytest.mark.parametrize("second", ["limen-token", "LIMEN-TOKEN", "Limen-Token"])
    async def test_two_tokens(self, sender: Sender, second: str) -> None:
        """Also where both are right: which of them counts would depend on who reads."""
        token = (await sender.attributes())["limen-token"]
        message = Message(b"body", [("limen-token", token), (second, token)])
        await assert_refused(sender, message, "credential_malformed")

    @pytest.mark.parametrize("value", ["x", "a.b.c", "..", "ä.ö.ü", b"\xff\xfe.x.y", "x" * MAX_TOKEN, " "])
    async def test_what_is_no_token(self, sender: Sender, value: object) -> None:
        """Whatever text it is."""
        await assert_refused(sender, Message(b"body", {"limen-token": value}), "token_invalid")

    @pytest.mark.parametrize(
        ("number", "changes"),
        [
            (0, {"alg": "none"}),
            (0, {"typ": "at+jwt"}),
            (0, {"kid": "another"}),
            (1, {"aud": "payments"}),
            (1, {"exp": 4_000_000_000}),
            (1, {"bh": "A" * 43}),
            (1, {"ep": 1}),
        ],
        ids=["alg", "typ", "kid", "aud", "exp", "bh", "ep"],
    )
    async def test_what_was_changed_after_signing(
        self, sender: Sender, number: int, changes: dict[str, object]
    ) -> None:
        """Every part is under the signature."""
        token = (await sender.attributes())["limen-token"]
        assert _part(token, number) == token
        await assert_refused(
            sender, Message(b"body", {"limen-token": _part(token, number, **changes)}), "token_invalid"
        )

    async def test_another_body(self, sender: Sender) -> None:
        """A token is of its message: whoever can read the queue cannot send another one with it."""
        attributes = await sender.attributes(b"pay 10")
        await assert_refused(sender, Message(b"pay 1000", attributes), "token_invalid")
        await assert_refused(sender, Message(b"pay 10 ", attributes), "token_invalid")
        assert (await sender.consumer(Work()).handle(Message(b"pay 10", attributes))).is_over

    async def test_another_audience(self, sender: Sender) -> None:
        """A message for one queue is none for another."""
        await assert_refused(sender, await sender.message(audience="payments"), "token_invalid")
        await assert_refused(sender, await sender.message(audience=sender.gate.settings.audience), "token_invalid")

    async def test_another_installation(self, sender: Sender, tmp_path: Any) -> None:
        """What another one has signed, with the same names, is nothing here."""
        folder = tmp_path / "other"
        folder.mkdir()
        async with gate_for(folder).running() as other:
            assert other.api_keys is not None
            await other.api_keys.services.create(OPERATOR, "shop")
            attributes = await other.messages.attributes(service="shop", audience=AUDIENCE, body=b"body")
            await assert_refused(sender, Message(b"body", attributes), "token_invalid")

    async def test_expired(self, sender: Sender) -> None:
        """Its time is over, but for the two seconds by which clocks differ."""
        now = float(int(sender.clock()))
        sender.clock.stopped_at = now
        message = await sender.message(lifetime=60)
        sender.clock.stopped_at = now + 61
        assert (await sender.consumer(Work()).handle(message)).is_over
        sender.clock.stopped_at = now + 62
        await assert_refused(sender, message, "token_expired")

    async def test_a_message_may_lie_for_as_long_as_was_said(self, sender: Sender) -> None:
        """A fortnight at most."""
        message = await sender.message(lifetime=1_209_600)
        sender.clock.shift = 1_209_000
        assert (await sender.consumer(Work()).handle(message)).is_over


class TestOtherTokens:
    async def test_an_access_token_is_no_token_of_a_message(self, sender: Sender) -> None:
        """Neither a person's access token nor the refresh token, whatever the audience."""
        gate = sender.gate
        await gate.accounts.create("ann", PASSWORD, roles=frozenset({"admin"}))
        issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        for audience in (gate.settings.audience, gate.settings.issuer, AUDIENCE):
            for token in (issued.access_token, issued.refresh_token):
                work = Work()
                outcome = await Consumer(gate, work, audience=audience).handle(Message(b"", {"limen-token": token}))
                assert (outcome.verdict, outcome.code, work.done) == (Verdict.REFUSED, "token_invalid", [])

    async def test_an_api_key_is_no_token_of_a_message(self, sender: Sender) -> None:
        """A key would be worth as much in whatever message it was found in."""
        await assert_refused(sender, Message(b"body", {"limen-token": "lim_live_0123_456789"}), "token_invalid")

    async def test_the_token_of_a_message_opens_no_route(self, sender: Sender) -> None:
        """Whoever reads the queue cannot call as the service."""
        for audience in (AUDIENCE, sender.gate.settings.audience):
            token = (await sender.attributes(audience=audience))["limen-token"]
            found = sender.gate.chain.recall([(b"authorization", b"Bearer " + token.encode())])
            assert getattr(getattr(found, "error", None), "code", None) == "token_invalid"


class TestWhatChangedMeanwhile:
    async def test_a_disabled_service(self, sender: Sender) -> None:
        """Within two seconds nothing of it is handled, although the token is in time."""
        message = await sender.message()
        consumer = sender.consumer(Work())
        assert (await consumer.handle(message)).is_over
        await sender.gate.accounts.disable(sender.service, actor="test")
        await asyncio.sleep(1.1)
        outcome = await consumer.handle(message)
        assert (outcome.verdict, outcome.code) == (Verdict.REFUSED, "account_not_active")

    async def test_what_was_sent_before_all_was_ended(self, sender: Sender) -> None:
        """Ending what a service has ends its messages under way; what it sends afterwards is taken."""
        before = await sender.message()
        await sender.gate.sessions.logout_everywhere(sender.service.id, actor="test", origin=NOWHERE)
        await assert_refused(sender, before, "session_ended")
        assert (await sender.consumer(Work()).handle(await sender.message())).is_over

    async def test_a_lost_role(self, sender: Sender) -> None:
        """The roles are those of the moment at which it is handled."""
        message = await sender.message()

        @roles("maker")
        async def work(message: GuardedMessage) -> None:
            done.append(message)

        done: list[GuardedMessage] = []
        consumer = sender.consumer(work)
        assert (await consumer.handle(message)).is_over
        await sender.gate.roles.revoke(OPERATOR, sender.service.id, {"maker"})
        outcome = await consumer.handle(message)
        assert (outcome.verdict, outcome.code, len(done)) == (Verdict.REFUSED, "role_required", 1)
        assert outcome.principal is not None
        assert outcome.principal.sub == sender.service.id

    async def test_an_ended_session(self, sender: Sender) -> None:
        """What was sent in somebody's name is not done once they have logged out."""
        gate = sender.gate
        await gate.accounts.create("ann", PASSWORD)
        issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        person = Principal(issued.account_id, PrincipalKind.PERSON, sid=issued.sid)
        message = await sender.message(service=None, principal=person)
        consumer = sender.consumer(Work())
        assert (await consumer.handle(message)).is_over
        await gate.sessions.logout_everywhere(issued.account_id, actor="test", origin=NOWHERE)
        outcome = await consumer.handle(message)
        assert (outcome.verdict, outcome.code) == (Verdict.REFUSED, "session_ended")

    async def test_a_person_is_no_service(self, sender: Sender) -> None:
        """What is signed for a service is nothing for an account that is none, whoever signed it."""
        account = await sender.gate.accounts.create("ann", PASSWORD)
        from limen.crypto.message_claims import message_claims

        claims = message_claims(
            issuer=sender.gate.settings.issuer, audience=AUDIENCE, sub=account.id, sid=None, epoch=0, body=b"body",
            iat=int(sender.clock()), ttl=300,
        )  # fmt: skip
        token = sender.gate.door.sign_message(claims)
        await assert_refused(sender, Message(b"body", {"limen-token": token}), "token_invalid")

    async def test_live_asks_each_time(self, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not even for a second is it believed what was said before."""

        @live
        async def work(message: GuardedMessage) -> None:
            done.append(message)

        done: list[GuardedMessage] = []
        message = await sender.message()
        consumer = sender.consumer(work)
        asked = counted(monkeypatch, "service_state")
        for _ in range(3):
            assert (await consumer.handle(message)).is_over
        assert len(asked) == 3
        await sender.gate.accounts.block(sender.service, actor="test")
        outcome = await consumer.handle(message)
        assert (outcome.code, len(done)) == ("account_not_active", 3)

    async def test_without_live_a_second_is_one_question(self, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hundred messages of one service ask the database once."""
        consumer = sender.consumer(Work())
        message = await sender.message()
        asked = counted(monkeypatch, "service_state")
        for _ in range(100):
            assert (await consumer.handle(message)).is_over
        assert 1 <= len(asked) < 20

    async def test_the_gate_asks_about_the_principal_of_a_message(self, sender: Sender) -> None:
        """``gate.live`` knows it: with the roles of now, and refused where the service is off."""
        work = Work()
        await sender.consumer(work).handle(await sender.message())
        principal = work.done[0].principal
        await sender.gate.roles.revoke(OPERATOR, sender.service.id, {"maker"})
        assert (await sender.gate.live(principal)).roles == frozenset()
        await sender.gate.accounts.disable(sender.service, actor="test")
        with pytest.raises(Exception, match="not active"):
            await sender.gate.live(principal)


class TestVerdicts:
    async def test_a_handler_that_raises_has_failed(self, sender: Sender) -> None:
        """The message is handed back with what was raised; it may be tried again."""

        async def work(message: GuardedMessage) -> None:
            raise KeyError("price")

        message = await sender.message()
        outcome = await sender.consumer(work).handle(message)
        assert (outcome.verdict, outcome.code) == (Verdict.FAILED, "handler_failed")
        assert isinstance(outcome.error, KeyError)
        assert "price" not in outcome.reason
        assert outcome.message is message

    @pytest.mark.parametrize(
        ("error", "verdict"),
        [(Forbidden, Verdict.REFUSED), (NotFound, Verdict.REFUSED), (Unavailable, Verdict.DEFERRED)],
        ids=["forbidden", "not found", "unavailable"],
    )
    async def test_a_handler_may_refuse(self, sender: Sender, error: Any, verdict: Verdict) -> None:
        """What it raises of the catalogue tells: about the message it is final, about this moment it is not."""

        async def work(message: GuardedMessage) -> None:
            raise error("Not this one.")

        outcome = await sender.consumer(work).handle(await sender.message())
        assert (outcome.verdict, outcome.code, outcome.reason) == (verdict, error.code, "Not this one.")

    async def test_a_database_that_does_not_answer_defers(self, sender: Sender) -> None:
        """Nobody can tell at this moment: the message is neither handled nor given up."""
        message = await sender.message()
        await sender.gate.storage.stop()
        work = Work()
        outcome = await sender.consumer(work).handle(message)
        await sender.gate.storage.start()
        assert (outcome.verdict, outcome.code, work.done) == (Verdict.DEFERRED, "unavailable", [])

    async def test_a_cancelled_handler_is_nobody_s_success(self, sender: Sender) -> None:
        """The cancellation comes out, so no adapter deletes the message."""

        async def work(message: GuardedMessage) -> None:
            await asyncio.sleep(30)

        task = asyncio.create_task(sender.consumer(work).handle(await sender.message()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_nothing_of_a_token_is_shown(self, sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
        """Neither in an outcome nor in the log."""
        caplog.set_level("DEBUG", logger="limen")
        attributes = await sender.attributes(b"pay 10")
        token = attributes["limen-token"]
        outcome = await sender.consumer(Work()).handle(Message(b"pay 1000", attributes, "m"))
        shown = repr(outcome) + caplog.text + "".join(str(vars(record)) for record in caplog.records)
        assert token not in shown
        assert token.split(".")[2] not in shown
        assert "pay 1000" not in shown


class TestStated:
    async def test_nothing_stated_means_somebody(self, sender: Sender) -> None:
        """An undecorated handler runs for whoever is authenticated, and for nobody else."""
        work = Work()
        assert (await sender.consumer(work).handle(await sender.message())).is_over
        await assert_refused(sender, Message(b"body"), "credential_missing", Work())

    async def test_roles_and_permissions(self, sender: Sender) -> None:
        """One of the roles, all of the permissions, one of some; what stacks must all hold."""
        cases: list[tuple[Declaration, str]] = [
            (roles("admin", "maker"), ""),
            (roles("admin"), "role_required"),
            (permissions("order:create", "order:read"), ""),
            (permissions("order:create", "order:approve"), "permission_required"),
            (permissions.any("order:approve", "order:read"), ""),
            (permissions.any("order:approve"), "permission_required"),
        ]
        for declaration, code in cases:

            @declaration
            async def work(message: GuardedMessage) -> None: ...

            @roles("maker")
            @declaration
            async def both(message: GuardedMessage) -> None: ...

            for handler in (work, both):
                assert (await sender.consumer(handler).handle(await sender.message())).code == code

    async def test_public_takes_what_nobody_signed(self, sender: Sender) -> None:
        """With the anonymous principal; a token that is there has to be right all the same."""

        @public
        async def work(message: GuardedMessage) -> None:
            done.append(message.principal)

        done: list[Principal] = []
        consumer = sender.consumer(work)
        assert (await consumer.handle(Message(b"hello"))).is_over
        assert (await consumer.handle(await sender.message())).is_over
        assert (await consumer.handle(Message(b"hello", {"limen-token": "x.y.z"}))).code == "token_invalid"
        assert [principal.is_authenticated for principal in done] == [False, True]

    async def test_a_consumer_without_a_gate_is_not_made(self, sender: Sender) -> None:
        """Nor one of something that is none, nor for an audience that can be none."""
        for gate in (None, object(), "gate"):
            with pytest.raises(ConfigurationError, match="gate"):
                Consumer(gate, Work(), audience=AUDIENCE)  # type: ignore[arg-type]
        for audience in ("", "two words", "ä", "x" * 256):
            with pytest.raises(ConfigurationError):
                Consumer(sender.gate, Work(), audience=audience)
        with pytest.raises(ConfigurationError, match="function"):
            Consumer(sender.gate, None, audience=AUDIENCE)  # type: ignore[arg-type]

    async def test_a_handler_without_a_consumer_refuses(self, sender: Sender) -> None:
        """Whatever it is called with: a message as it came bears no principal."""

        @roles("maker")
        async def work(message: Any) -> None:
            done.append(message)

        @once
        def plain(message: Any) -> None:
            done.append(message)

        done: list[Any] = []
        message = await sender.message()
        for argument in (message, None, b"body"):
            with pytest.raises(ConfigurationError, match="without a consumer"):
                await work(argument)
            with pytest.raises(ConfigurationError, match="without a consumer"):
                plain(argument)
        checker = Principal("x", PrincipalKind.SERVICE, frozenset({"checker"}))
        with pytest.raises(Forbidden, match="maker"):
            await work(GuardedMessage(b"body", principal=checker))
        assert done == []

    async def test_keys_in_the_database(self, tmp_path: Any) -> None:
        """What one process signed is taken by another, and what was signed with a key that was retired is not."""
        told: dict[str, Any] = {"signing_alg": "ES256", "data_secrets": secrets.token_urlsafe(48)}
        async with gate_for(tmp_path, **told).running() as one, gate_for(tmp_path, **told).running() as other:
            assert one.api_keys is not None
            assert one.signing_keys is not None
            assert other.signing_keys is not None
            await one.api_keys.services.create(OPERATOR, "shop")
            consumer = Consumer(other, Work(), audience=AUDIENCE)
            attributes = await one.messages.attributes(service="shop", audience=AUDIENCE, body=b"body")
            assert (await consumer.handle(Message(b"body", attributes))).is_over
            for key in await one.signing_keys.all():
                await one.signing_keys.retire(key.kid, actor="test")
            await one.signing_keys.catch_up()
            # Nobody has told the other one: it looks for the key that it does not know.
            later = await one.messages.attributes(service="shop", audience=AUDIENCE, body=b"body")
            assert (await consumer.handle(Message(b"body", later))).is_over
            assert (await consumer.handle(Message(b"body", attributes))).code == "token_invalid"


class TestManyGates:
    async def test_two_audiences_of_one_gate(self, sender: Sender) -> None:
        """Each consumer takes its own messages only."""
        orders, payments = sender.consumer(Work()), sender.consumer(Work(), audience="payments")
        message = await sender.message(audience="payments")
        assert (await orders.handle(message)).code == "token_invalid"
        assert (await payments.handle(message)).is_over

    async def test_a_gate_is_a_limen(self, sender: Sender) -> None:
        """The gate of a consumer is the application's."""
        assert isinstance(sender.gate, Limen)
        assert sender.consumer(Work()).name == AUDIENCE
