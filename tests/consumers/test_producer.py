"""Who may send in whose name, and what a token of a message says."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from limen import Limen
from limen.authn.issuing import Grant, Proof
from limen.authn.message_issuing import MessageDoor, NewMessage
from limen.consumers import Verdict
from limen.core.errors import AccountNotActive, ConfigurationError, NotFound, PolicyDenied, SessionEnded
from limen.core.events import NOWHERE
from limen.core.principal import ANONYMOUS, Authentication, Principal, PrincipalKind
from limen.features.roles.service import OPERATOR
from limen.storage.sql.accounts import SQLAccounts
from tests.consumers.conftest import AUDIENCE, Sender, Work, counted
from tests.support.gates import PASSWORD, gate_for


def said(attributes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of the token."""
    header, payload, _ = attributes["limen-token"].split(".")
    read = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (header, payload)]
    return read[0], read[1]


class TestToken:
    async def test_what_it_says(self, sender: Sender) -> None:
        """A kind of its own, whom it is for, which body, and the account; no role, no name, nothing personal."""
        header, claims = said(await sender.attributes(b"body"))
        assert header["typ"] == "limen-msg+jwt"
        assert set(claims) == {"aud", "bh", "ep", "exp", "iat", "iss", "jti", "sid", "sub"}
        assert (claims["aud"], claims["sub"], claims["sid"]) == (AUDIENCE, sender.service.id, None)
        assert claims["bh"] == "Iw2DWNyOiJC0xY3utikS7i8gNXrpKlzIYbmOaP4xrLU"
        assert claims["exp"] - claims["iat"] == 300

    async def test_each_has_an_id_of_its_own(self, sender: Sender) -> None:
        """Also for the same body."""
        ids = {said(await sender.attributes())[1]["jti"] for _ in range(20)}
        assert len(ids) == 20

    async def test_a_text_stands_for_its_utf8(self, sender: Sender) -> None:
        """As SQS sends it."""
        assert said(await sender.attributes("ä"))[1]["bh"] == said(await sender.attributes("ä".encode()))[1]["bh"]


class TestWhoMaySend:
    async def test_only_a_service(self, sender: Sender) -> None:
        """A person's name is none of a service, whatever its spelling; nor is one that is not there."""
        await sender.gate.accounts.create("ann", PASSWORD)
        for name in ("ann", "ANN", "nobody", "", "two words"):
            with pytest.raises(NotFound):
                await sender.attributes(service=name)

    async def test_not_one_that_is_disabled(self, sender: Sender) -> None:
        """Also where it has just sent one; and again when it is enabled."""
        await sender.attributes()
        await sender.gate.accounts.disable(sender.service, actor="test")
        with pytest.raises(AccountNotActive):
            await sender.attributes()
        await sender.gate.accounts.enable(await sender.gate.accounts.by_id(sender.service.id), actor="test")
        assert (await sender.consumer(Work()).handle(await sender.message())).is_over

    async def test_in_the_name_of_a_person_with_a_session(self, sender: Sender) -> None:
        """Not once it is over, not by a session of somebody else's, and not without one."""
        gate = sender.gate
        await gate.accounts.create("ann", PASSWORD)
        other = await gate.accounts.create("bob", PASSWORD)
        issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        ann = Principal(issued.account_id, PrincipalKind.PERSON, sid=issued.sid)
        assert said(await sender.attributes(service=None, principal=ann))[1]["sid"] == issued.sid
        for stranger in (Principal(other.id, PrincipalKind.PERSON, sid=issued.sid),):
            with pytest.raises(SessionEnded):
                await sender.attributes(service=None, principal=stranger)
        for nobody in (ANONYMOUS, Principal(issued.account_id, PrincipalKind.PERSON)):
            with pytest.raises(PolicyDenied):
                await sender.attributes(service=None, principal=nobody)
        await gate.sessions.logout_everywhere(issued.account_id, actor="test", origin=NOWHERE)
        with pytest.raises(SessionEnded):
            await sender.attributes(service=None, principal=ann)

    async def test_not_by_an_api_key(self, sender: Sender) -> None:
        """A key may be limited to some permissions, and what it sent would not be."""
        by_key = Principal(
            sender.service.id,
            PrincipalKind.PERSON,
            sid=sender.service.id,
            authentication=Authentication(("api_key",), 0),
        )
        service = Principal(sender.service.id, PrincipalKind.SERVICE, sid=sender.service.id)
        for principal in (by_key, service):
            with pytest.raises(PolicyDenied):
                await sender.attributes(service=None, principal=principal)

    async def test_what_is_handled_may_send_on(self, sender: Sender) -> None:
        """A handler may send in the name of the person whom its message stands for, for as long as they are there."""
        gate = sender.gate
        await gate.accounts.create("ann", PASSWORD)
        issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        ann = Principal(issued.account_id, PrincipalKind.PERSON, sid=issued.sid)
        work = Work()
        await sender.consumer(work).handle(await sender.message(service=None, principal=ann))
        onward = await sender.message(service=None, principal=work.done[0].principal)
        assert (await sender.consumer(Work()).handle(onward)).verdict is Verdict.HANDLED

    @pytest.mark.parametrize(
        "told",
        [
            {"service": None},
            {"principal": ANONYMOUS},
            {"audience": ""},
            {"audience": "two words"},
            {"lifetime": 0},
            {"lifetime": 1_209_601},
            {"lifetime": True},
        ],
        ids=str,
    )
    async def test_what_cannot_be_sent(self, sender: Sender, told: dict[str, Any]) -> None:
        """Neither or both of service and principal, no audience, no lifetime."""
        with pytest.raises(ConfigurationError):
            await sender.attributes(**told)


class TestDoor:
    @pytest.mark.parametrize("grant", [grant for grant in Grant if grant is not Grant.MESSAGE])
    async def test_no_other_proof_does(self, sender: Sender, grant: Grant) -> None:
        """A proof of one kind is not exchanged for a token of another."""
        door = MessageDoor(sender.gate.storage.messages, sender.gate.door, issuer=sender.gate.settings.issuer)
        proof = Proof(grant, sender.service.id, 0, (), "", NOWHERE)
        with pytest.raises(ValueError, match="is not message"):
            await door.issue(proof, NewMessage(AUDIENCE, b"body", 300))

    async def test_a_person_has_no_such_proof(self, sender: Sender) -> None:
        """The door itself asks whether it is a service: whoever calls it with a person's id gets nothing."""
        ann = await sender.gate.accounts.create("ann", PASSWORD)
        door = MessageDoor(sender.gate.storage.messages, sender.gate.door, issuer=sender.gate.settings.issuer)
        assert await door.issue(Proof(Grant.MESSAGE, ann.id, 0, (), "", NOWHERE), NewMessage("a", b"", 1)) is None

    async def test_without_data_secrets_there_are_no_services(self, tmp_path: Path) -> None:
        """And so nobody to send as."""
        async with gate_for(tmp_path, data_secrets="").running() as gate:
            assert isinstance(gate, Limen)
            with pytest.raises(NotFound):
                await gate.messages.attributes(service="shop", audience=AUDIENCE, body=b"")

    async def test_sending_is_no_write(self, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the first message of a service each costs one read, and leaves no record."""
        await sender.attributes()
        before = len(await sender.gate.storage.events())
        with monkeypatch.context() as patched:
            asked = counted(patched, "attest")
            patched.setattr(sender.gate.storage, "write", None)
            patched.setattr(SQLAccounts, "by_username", None)
            for _ in range(10):
                await sender.attributes()
        assert len(asked) == 10
        assert len(await sender.gate.storage.events()) == before
        await sender.gate.roles.grant(OPERATOR, sender.service.id, {"checker"})
        assert (await sender.consumer(Work()).handle(await sender.message())).is_over
