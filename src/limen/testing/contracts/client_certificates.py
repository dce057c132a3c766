"""The contract of the names of client certificates, and of the sessions that they begin."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from limen.authn.client_certificate_records import CertificateState
from limen.authn.records import CurrentSession, NewSession
from limen.authz.authority import Authority, AuthorityMoved
from limen.core.errors import Conflict
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.features.accounts.store import Account, AccountStatus, NewAccount
from limen.features.client_certificates.store import NewRegistration
from limen.features.sessions.store import EndReason
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    SECOND,
    Contract,
    all_events,
    an_account,
    event,
    new_session,
)

ROUNDS = 10
MOST = 100
NOBODY = "00000000-0000-7000-8000-000000000000"
TTL = 900 * SECOND


async def a_service(storage: Storage, *, roles: frozenset[str] = frozenset()) -> Account:
    """Make the account of a service."""
    account_id = uuid7()
    new = NewAccount(account_id, f"service-{account_id}", None, None, roles, kind="service")
    assert await storage.accounts.create(new, event(EventName.ACCOUNT_CREATED))
    account = await storage.accounts.by_id(account_id)
    assert account is not None
    return account


async def a_name(storage: Storage, account: Account, name: str = "dns:a.example") -> str:
    """Register a name and return its id."""
    new = NewRegistration(uuid7(), account.id, name, "cli")
    made = await storage.client_certificates.add(new, event(EventName.CLIENT_CERTIFICATE_ADDED))
    assert made is not None
    return made.id


async def remove(storage: Storage, account_id: str, registration: str, **changes: object) -> bool:
    """Take a name away."""
    arguments: dict[str, object] = {
        "event": event(EventName.CLIENT_CERTIFICATE_REMOVED),
        "keep_ended_ms": KEEP_ENDED,
        **changes,
    }
    return await storage.client_certificates.remove(registration, account_id=account_id, **arguments)  # type: ignore[arg-type]


def bound_session(account: Account, **changes: object) -> NewSession:
    """Return a session to be opened for the service as it was read."""
    return new_session(account, b"", refresh_ttl_ms=TTL, max_ttl_ms=TTL, amr=("mtls",), **changes)


async def open_bound(storage: Storage, session: NewSession, registration: str) -> CurrentSession | None:
    """Open it."""
    return await storage.issuing.open_bound(session, registration, event(EventName.LOGIN_SUCCEEDED))


class ClientCertificatesContract(Contract):
    """`ClientCertificateStore`."""

    async def test_a_name_is_matched(self, storage: Storage, peer: Storage) -> None:
        """With account, state and roles, among names that nobody has; by whole names, byte by byte."""
        await storage.roles.sync({"maker": frozenset({"order:create"})}, event())
        service = await a_service(storage, roles=frozenset({"maker"}))
        made = await a_name(storage, service, "uri:spiffe://example.org/Billing")
        wanted = CertificateState(
            made, "uri:spiffe://example.org/Billing", service.id, "service", "active", 0, frozenset({"maker"})
        )
        names = ["sha256:00", "uri:spiffe://example.org/Billing", "dns:b.example"]
        assert list(await peer.client_certificates.match(names)) == [wanted]
        assert await peer.client_certificates.by_id(made) == wanted
        for other in ("uri:spiffe://example.org/billing", "uri:spiffe://example.org/Billing/", "uri:%", "", "dns:_"):
            assert list(await storage.client_certificates.match([other])) == []
        assert list(await storage.client_certificates.match([])) == []
        for wrong in (NOBODY, "", "' OR '1'='1", "x" * 1000):
            assert await storage.client_certificates.by_id(wrong) is None
            assert not await remove(storage, service.id, wrong)

    async def test_two_accounts_are_both_told(self, storage: Storage) -> None:
        """It is for the one who asks to see that the names of a certificate are two services'."""
        one, two = await a_service(storage), await a_service(storage)
        await a_name(storage, one, "dns:one.example")
        await a_name(storage, two, "dns:two.example")
        found = await storage.client_certificates.match(["dns:two.example", "dns:one.example"])
        assert {each.account_id for each in found} == {one.id, two.id}

    async def test_a_name_is_one_services(self, storage: Storage, peer: Storage) -> None:
        """Of many who register it at once, one does; afterwards nobody else."""
        for number in range(ROUNDS):
            services = [await a_service(storage) for _ in range(4)]
            made = await asyncio.gather(
                *(
                    a_name((storage, peer)[place % 2], each, f"dns:host-{number}.example")
                    for place, each in enumerate(services)
                ),
                return_exceptions=True,
            )
            assert sum(isinstance(each, str) for each in made) == 1
            assert sum(isinstance(each, Conflict) for each in made) == 3

    async def test_only_services_have_names(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """No person, nobody who is not there, and no service that is switched off."""
        person, service = await an_account(storage), await a_service(storage)
        nobody = replace(service, id=NOBODY)
        for account in (person, nobody):
            new = NewRegistration(uuid7(), account.id, "dns:a.example", "cli")
            assert await storage.client_certificates.add(new, event()) is None
        for status in ("disabled", "blocked", "pending", "ACTIVE", ""):
            await set_status(service.id, status)
            new = NewRegistration(uuid7(), service.id, "dns:a.example", "cli")
            assert await storage.client_certificates.add(new, event()) is None
        assert list(await storage.client_certificates.match(["dns:a.example"])) == []

    async def test_there_are_only_so_many(self, storage: Storage) -> None:
        """A service has a hundred names at most, also where the last ones are registered at once."""
        service = await a_service(storage)
        for number in range(MOST - 1):
            await a_name(storage, service, f"dns:host-{number}.example")
        made = await asyncio.gather(
            *(a_name(storage, service, f"dns:more-{number}.example") for number in range(4)), return_exceptions=True
        )
        assert sum(isinstance(each, Conflict) for each in made) == 3
        listed = await storage.client_certificates.of_account(service.id)
        assert len(listed) == MOST
        assert [each.id for each in listed] == sorted((each.id for each in listed), reverse=True)

    async def test_removed_once_and_ended(self, storage: Storage, peer: Storage) -> None:
        """Only its owner's; once; listed as ended with the tokens of the service; the name is free again."""
        service, other = await a_service(storage), await a_service(storage)
        made = await a_name(storage, service)
        opened = bound_session(service)
        assert await open_bound(storage, opened, made) is not None
        assert not await remove(storage, other.id, made)
        done = await asyncio.gather(*(remove((storage, peer)[n % 2], service.id, made) for n in range(6)))
        assert sum(done) == 1
        ended = {each.sid for each in await peer.sessions.ended_since(0)}
        assert {made, opened.sid} <= ended
        assert await storage.sessions.read(opened.sid) is None
        assert len(await all_events(storage, EventName.CLIENT_CERTIFICATE_REMOVED)) == 1
        await a_name(storage, other)

    async def test_an_act_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, nothing is registered, and nothing is taken away."""
        service = await a_service(storage)
        with pytest.raises(Exception, match=r".+"):
            await storage.client_certificates.add(
                NewRegistration(uuid7(), service.id, "dns:a.example", "cli"), BROKEN_EVENT
            )
        made = await a_name(storage, service)
        with pytest.raises(Exception, match=r".+"):
            await remove(storage, service.id, made, event=BROKEN_EVENT)
        assert await storage.client_certificates.by_id(made) is not None

    async def test_an_authority_that_moved_changes_nothing(self, storage: Storage) -> None:
        """What was judged by is asked again in the transaction."""
        service, actor = await a_service(storage), await an_account(storage)
        moved = Authority(999, actor.id, 0, 0)
        with pytest.raises(AuthorityMoved):
            await storage.client_certificates.add(
                NewRegistration(uuid7(), service.id, "dns:a.example", actor.id, moved), event()
            )
        made = await a_name(storage, service)
        with pytest.raises(AuthorityMoved):
            await remove(storage, service.id, made, authority=moved)
        assert await storage.client_certificates.by_id(made) is not None

    async def test_a_deleted_service_has_no_names(self, storage: Storage) -> None:
        """They are free for another service."""
        service, other = await a_service(storage), await a_service(storage)
        await a_name(storage, service)
        assert await storage.accounts.delete(service.id, event=event(), keep_ended_ms=KEEP_ENDED)
        assert list(await storage.client_certificates.match(["dns:a.example"])) == []
        await a_name(storage, other)


class OpenBoundContract(Contract):
    """`IssuingStore.open_bound`."""

    async def test_it_ends_with_its_token(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """It lives as long as it was asked for and not a moment longer, and cannot be refreshed."""
        service = await a_service(storage)
        session = bound_session(service)
        opened = await open_bound(storage, session, await a_name(storage, service))
        assert opened is not None
        assert (opened.amr, opened.idle_until, opened.ends_at) == (("mtls",), opened.ends_at, opened.rotated_at + TTL)
        found = await storage.sessions.read(session.sid)
        assert found is not None
        assert found.in_time
        assert found.account_holds
        turn_clock(TTL + SECOND)
        found = await storage.sessions.read(session.sid)
        assert found is not None
        assert not found.in_time

    async def test_only_for_a_service_that_has_the_name(self, storage: Storage) -> None:
        """Not with another service's name, none that was taken away, and not for a person."""
        service, other, person = await a_service(storage), await a_service(storage), await an_account(storage)
        foreign, gone = await a_name(storage, other, "dns:b.example"), await a_name(storage, service)
        assert await remove(storage, service.id, gone)
        for account, registration in ((service, foreign), (service, gone), (service, NOBODY), (person, foreign)):
            assert await open_bound(storage, bound_session(account), registration) is None

    @pytest.mark.parametrize("status", ["disabled", "blocked", "pending", "deleted", "ACTIVE", ""])
    async def test_only_for_an_active_service(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], status: str
    ) -> None:
        """Only the word «active» opens one."""
        service = await a_service(storage)
        made = await a_name(storage, service)
        await set_status(service.id, status)
        assert await open_bound(storage, bound_session(service), made) is None

    async def test_another_epoch_opens_none(self, storage: Storage) -> None:
        """What was proved before the sessions of the service were ended opens none."""
        service = await a_service(storage)
        made = await a_name(storage, service)
        await storage.sessions.end_all(service.id, reason=EndReason.LOGOUT_ALL, event=event(), keep_ended_ms=KEEP_ENDED)
        assert await open_bound(storage, bound_session(service), made) is None

    async def test_opening_against_the_end_of_the_name(self, storage: Storage, peer: Storage) -> None:
        """Whatever the order: once the name is taken away, no session of it is left."""
        service = await a_service(storage)
        for number in range(ROUNDS):
            made = await a_name(storage, service, f"dns:host-{number}.example")
            session = bound_session(service)
            await asyncio.gather(open_bound(storage, session, made), remove(peer, service.id, made))
            assert await storage.sessions.read(session.sid) is None

    async def test_opening_against_disabling(self, storage: Storage, peer: Storage) -> None:
        """Whatever the order: once the service is switched off, no session of it is left."""
        for number in range(ROUNDS):
            service = await a_service(storage)
            made = await a_name(storage, service, f"dns:host-{number}.example")
            session = bound_session(service)
            await asyncio.gather(
                open_bound(storage, session, made),
                peer.accounts.change_status(
                    service.id,
                    of=AccountStatus.ACTIVE,
                    to=AccountStatus.DISABLED,
                    event=event(),
                    keep_ended_ms=KEEP_ENDED,
                ),
            )
            assert await storage.sessions.read(session.sid) is None
