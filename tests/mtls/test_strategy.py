"""Certificates on a connection, in process: whose they are, for how long, and beside other credentials."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from limen import Limen, OwnStrategy, PresentedCredential
from limen.authn.client_certificate import CertificateCredential
from limen.authn.open_sockets import FRESH_SECONDS, OPEN_SECONDS
from limen.core.errors import (
    AccountNotActive,
    CertificateRejected,
    Conflict,
    CredentialMalformed,
    CredentialsConflict,
    InvalidInput,
    NotFound,
    SessionEnded,
    Unavailable,
)
from limen.core.principal import ANONYMOUS, Principal, PrincipalKind
from limen.features.accounts.service import AccountView
from limen.features.roles.service import OPERATOR
from limen.testing.clock import TurnableClock
from tests.mtls.authority import DAY, SERVER, Authority, Made, dns, uri
from tests.mtls.conftest import SPIFFE, a_service
from tests.mtls.presenting import State, attribute, bearer, opened_with, present, scope_of, token_of
from tests.support.gates import PASSWORD, ROLES, gate_for, settings_for
from tests.support.waiting import felt

BOUND = 2.0
"""Seconds within which a change has to be felt."""


async def until(gate: Limen, made: Made, wanted: Callable[[State], bool]) -> None:
    """Ask again until a change is felt, within the promised two seconds."""

    async def changed() -> bool:
        return wanted(await present(gate, made))

    await felt(changed, within=BOUND)


async def is_out(gate: Limen, made: Made, token: str) -> bool:
    """Say whether a token that is bound to the certificate is refused."""
    return not (await present(gate, made, bearer(token))).principal.is_authenticated


# --- whose it is


async def test_a_service_by_its_name(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """It ends in the same principal as every credential: the service, with the roles of now, by «mtls»."""
    state = await present(gate, authority.client(uri(SPIFFE)))
    assert state.rejection is None
    who = state.principal
    assert (who.sub, who.kind, who.roles) == (billing.id, PrincipalKind.SERVICE, frozenset({"maker"}))
    assert who.permissions == frozenset({"order:create", "order:read"})
    assert who.authentication is not None
    assert who.authentication.methods == ("mtls",)
    assert who.is_by_certificate
    assert not who.is_interactive
    assert isinstance(state.credential, CertificateCredential)


@pytest.mark.parametrize("kind", ["uri", "dns", "sha256"])
async def test_each_kind_of_name(gate: Limen, authority: Authority, kind: str) -> None:
    """The one URI, a host, the fingerprint; what only looks alike is nobody's."""
    made = authority.client(uri(SPIFFE), dns("Billing.example"))
    value = {"uri": SPIFFE, "dns": "billing.EXAMPLE", "sha256": made.certificate.fingerprint(_sha256()).hex()}[kind]
    account = await a_service(gate, "billing", (kind, value), roles=frozenset())
    assert (await present(gate, made)).principal.sub == account.id
    for other in (authority.client(uri(SPIFFE + "/")), authority.client(uri(SPIFFE.upper()), dns("a.billing.example"))):
        refused = await present(gate, other)
        assert isinstance(refused.rejection, CertificateRejected)
        assert not refused.principal.is_authenticated


def _sha256() -> Any:
    from cryptography.hazmat.primitives.hashes import SHA256

    return SHA256()


async def test_a_subject_is_nobody(gate: Limen, authority: Authority) -> None:
    """The name in the subject is for people: a certificate called like a service is not it (RFC 9525)."""
    await a_service(gate, "billing", ("dns", "billing"), roles=frozenset())
    refused = await present(gate, authority.make(authority.root, "billing", []))
    assert isinstance(refused.rejection, CertificateRejected)


async def test_two_uris_are_nobodys(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """A certificate with a second URI is not the service's, whichever comes first."""
    for names in ((uri(SPIFFE), uri("spiffe://example.org/x")), (uri("spiffe://example.org/x"), uri(SPIFFE))):
        assert isinstance((await present(gate, authority.client(*names))).rejection, CertificateRejected)


async def test_the_names_of_two_services(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """Which of the two it stands for would be a guess: neither."""
    await a_service(gate, "shipping", ("dns", "shipping.example"), roles=frozenset())
    state = await present(gate, authority.client(uri(SPIFFE), dns("shipping.example")))
    assert isinstance(state.rejection, CertificateRejected)
    assert not state.principal.is_authenticated


async def test_several_names_of_one_service(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """They are one service's; the narrowest of them is the one that a removal ends."""
    added = await gate.client_certificates.service.add(OPERATOR, billing.id, "dns", "billing.example")
    state = await present(gate, authority.client(uri(SPIFFE), dns("billing.example")))
    assert state.principal.sub == billing.id
    assert state.principal.sid != added.id


@pytest.mark.parametrize("when", ["over", "not yet", "for servers", "without usage", "an authority"])
async def test_certificates_that_prove_nothing(
    gate: Limen, billing: AccountView, authority: Authority, when: str
) -> None:
    """Asked at each use, although the handshake asked: connections live longer than certificates."""
    changes: dict[str, dict[str, Any]] = {
        "over": {"begins": -2 * DAY, "ends": -DAY},
        "not yet": {"begins": DAY, "ends": 2 * DAY},
        "for servers": {"usages": (SERVER,)},
        "without usage": {"usages": None},
        "an authority": {"ca": True},
    }
    state = await present(gate, authority.client(uri(SPIFFE), **changes[when]))
    assert isinstance(state.rejection, CertificateRejected)
    assert not state.principal.is_authenticated


async def test_a_certificate_ends_in_the_middle_of_a_connection(tmp_path: Path, authorities: Path) -> None:
    """Also where it was seen a moment before: the clock is asked at each use."""
    clock = TurnableClock()
    made = Authority().client(uri(SPIFFE), ends=DAY)
    async with gate_for(tmp_path, client_ca=authorities, clock=clock).running() as gate:
        await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
        assert (await present(gate, made)).principal.is_authenticated
        known = (await present(gate, made)).credential
        clock.turn(DAY.total_seconds() + 1)
        assert isinstance((await present(gate, made)).rejection, CertificateRejected)
        assert not gate.still_valid(opened_with(known))


async def test_what_the_server_could_not_verify(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """A server that passes it on all the same, with the error, lets nobody in."""
    state = await present(gate, authority.client(uri(SPIFFE)), error="self-signed certificate")
    assert isinstance(state.rejection, CertificateRejected)


@pytest.mark.parametrize("chain", [["nonsense"], [""], [b"bytes"], [7], ["-----BEGIN CERTIFICATE-----\n"]])
async def test_what_is_no_certificate(gate: Limen, chain: list[Any]) -> None:
    """Whatever a server puts there, it is malformed, and nothing is raised."""
    scope = scope_of(None)
    scope["extensions"]["tls"]["client_cert_chain"] = chain
    assert isinstance((await attribute(gate, scope)).rejection, CredentialMalformed | CertificateRejected)


async def test_without_a_certificate(gate: Limen) -> None:
    """Connections with TLS and without, and servers that tell nothing: anonymous, and no error."""
    kinds: tuple[Any, ...] = ({"tls": {"client_cert_chain": []}}, {"tls": {}}, {}, None)
    for extensions in kinds:
        state = await attribute(gate, {**scope_of(None), "extensions": extensions})
        assert (state.rejection, state.principal) == (None, ANONYMOUS)


async def test_nobody_is_known_by_a_certificate_unless_it_was_asked_for(tmp_path: Path, authority: Authority) -> None:
    """Without LIMEN_CLIENT_CA a certificate stands for nobody, whatever the server tells."""
    async with gate_for(tmp_path).running() as gate:
        await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
        state = await present(gate, authority.client(uri(SPIFFE)))
        assert (state.rejection, state.principal) == (None, ANONYMOUS)


# --- for how long


CHANGES: dict[str, Callable[[Limen, AccountView, str], Any]] = {
    "removed": lambda gate, service, name: gate.client_certificates.service.remove(OPERATOR, service.id, name),
    "disabled": lambda gate, service, name: gate.api_keys.services.disable(OPERATOR, service.id),  # type: ignore[union-attr]
    "deleted": lambda gate, service, name: gate.administration.delete(OPERATOR, service.id),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_ends_a_certificate(
    gate: Limen, billing: AccountView, authority: Authority, tmp_path: Path, authorities: Path, change: str
) -> None:
    """Its name taken away, its service switched off or deleted: felt here and in another process, with its tokens."""
    made = authority.client(uri(SPIFFE))
    token = await token_of(gate, made)
    name = (await gate.client_certificates.service.of_service(billing.id))[0].id
    secrets = {
        field: getattr(gate.settings, field) for field in ("jwt_access_secret", "jwt_refresh_secret", "data_secrets")
    }
    async with gate_for(tmp_path, client_ca=authorities, **secrets).running() as peer:
        for each in (gate, peer):
            assert (await present(each, made)).principal.sub == billing.id
            assert (await present(each, made, bearer(token))).principal.sub == billing.id
        known = (await present(peer, made)).credential
        assert peer.still_valid(opened_with(known))
        await CHANGES[change](gate, billing, name)
        for each in (gate, peer):
            await until(each, made, lambda state: not state.principal.is_authenticated)
            await felt(partial(is_out, each, made, token), within=BOUND)
        await felt(lambda: not peer.still_valid(opened_with(known)), within=BOUND)


async def test_a_disabled_service_says_so_and_comes_back(
    gate: Limen, billing: AccountView, authority: Authority
) -> None:
    """Switched off it is told as such; switched on again, the certificate works as before."""
    assert gate.api_keys is not None
    made = authority.client(uri(SPIFFE))
    await gate.api_keys.services.disable(OPERATOR, billing.id)
    assert isinstance((await present(gate, made)).rejection, AccountNotActive)
    await gate.api_keys.services.enable(OPERATOR, billing.id)
    await until(gate, made, lambda state: state.principal.sub == billing.id)


async def test_roles_are_those_of_now(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """What the service loses is gone within the bound, by certificate and by token; and open sockets end."""
    made = authority.client(uri(SPIFFE))
    token = await token_of(gate, made)
    known = (await present(gate, made)).credential
    assert gate.still_valid(opened_with(known))
    await gate.roles.revoke(OPERATOR, billing.id, ["maker"])
    await until(gate, made, lambda state: state.principal.roles == frozenset())
    assert (await present(gate, made, bearer(token))).rejection is not None
    await felt(lambda: not gate.still_valid(opened_with(known)), within=BOUND)


async def test_the_store_is_asked_once_a_second(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """A thousand requests on a connection are one read, also where the certificate is nobody's."""
    for made in (authority.client(uri(SPIFFE)), authority.client(uri("spiffe://example.org/nobody"))):
        await present(gate, made)
        before = gate.storage.calls
        began = time.monotonic()
        for _ in range(1_000):
            await present(gate, made)
        assert gate.storage.calls - before <= 2 + 8 * int((time.monotonic() - began) / FRESH_SECONDS + 1)


async def test_a_store_that_does_not_answer(
    gate: Limen, billing: AccountView, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is to be asked about is refused with 503; an open socket goes on for ten seconds."""
    strategy = gate.client_certificates.strategy
    assert strategy is not None
    made = authority.client(uri(SPIFFE))
    known = (await present(gate, made)).credential
    await gate.storage.stop()
    strategy.forget()
    refused = await present(gate, made)
    assert isinstance(refused.rejection, Unavailable)
    assert not refused.principal.is_authenticated
    now = strategy._monotonic()
    monkeypatch.setattr(strategy._open, "_monotonic", lambda: now + 2)
    assert strategy.still_valid(known)
    await asyncio.sleep(0.1)
    monkeypatch.setattr(strategy._open, "_monotonic", lambda: now + OPEN_SECONDS + 1)
    assert not strategy.still_valid(known)
    await gate.storage.start()


async def test_live_asks_the_registration(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """A live check of a certificate asks for its name, one of a token for its session."""
    made = authority.client(uri(SPIFFE))
    who = (await present(gate, made)).principal
    by_token = (await present(gate, made, bearer(await token_of(gate, made)))).principal
    assert (await gate.live(who)).roles == frozenset({"maker"})
    assert (await gate.live(by_token)).roles == frozenset({"maker"})
    name = (await gate.client_certificates.service.of_service(billing.id))[0].id
    await gate.client_certificates.service.remove(OPERATOR, billing.id, name)
    with pytest.raises(CertificateRejected):
        await gate.live(who)
    with pytest.raises(SessionEnded):
        await gate.live(by_token)


# --- registering


async def test_names_are_registered_once_and_for_services(gate: Limen, billing: AccountView) -> None:
    """Not for a person, not twice, not what is no name; and nobody removes another service's."""
    service = gate.client_certificates.service
    person = await gate.accounts.create("ann", PASSWORD)
    other = await a_service(gate, "other", roles=frozenset())
    name = (await service.of_service(billing.id))[0].id
    with pytest.raises(NotFound):
        await service.add(OPERATOR, person.id, "dns", "ann.example")
    with pytest.raises(NotFound):
        await service.of_service(person.id)
    with pytest.raises(Conflict):
        await service.add(OPERATOR, other.id, "uri", SPIFFE)
    with pytest.raises(Conflict):
        await service.add(OPERATOR, billing.id, "uri", SPIFFE)
    for kind, value in (("dns", "*.example"), ("subject", "CN=a"), ("uri", "")):
        with pytest.raises(InvalidInput):
            await service.add(OPERATOR, billing.id, kind, value)
    for account, registration in ((other.id, name), (billing.id, "x"), (person.id, name)):
        with pytest.raises(NotFound):
            await service.remove(OPERATOR, account, registration)
    assert len(await service.of_service(billing.id)) == 1


class Tickets(OwnStrategy):
    """The id of a service is a ticket of its."""

    name = "ticket"
    header = "X-Ticket"

    async def authenticate(self, credential: PresentedCredential) -> Principal:
        return Principal(credential.value.decode("ascii"), PrincipalKind.SERVICE)


async def test_a_service_by_the_applications_strategy(tmp_path: Path, authorities: Path, authority: Authority) -> None:
    """On the connection of another service it is a conflict, and a cookie beside it that is over hides nothing."""
    gate = Limen(settings_for(tmp_path, client_ca=authorities), roles=ROLES, strategies=[Tickets()])
    async with gate.running():
        billing = await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
        other = await a_service(gate, "other", roles=frozenset())
        made = authority.client(uri(SPIFFE))
        for cookie in ((), (("cookie", "__Host-limen=" + "A" * 64),)):
            state = await present(gate, made, ("x-ticket", billing.id), *cookie)
            assert (state.principal.sub, state.rejection) == (billing.id, None)
            state = await present(gate, made, ("x-ticket", other.id), *cookie)
            assert (state.principal, type(state.rejection)) == (ANONYMOUS, CredentialsConflict)
