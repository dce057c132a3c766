"""What the memories of certificates must not remember: whose peer it was, another connection's, what is over by now."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from limen import Limen, OwnStrategy, PresentedCredential
from limen.core.errors import CertificateRejected, CredentialMalformed, TokenRejected
from limen.core.events import NOWHERE
from limen.core.principal import Principal
from limen.features.accounts.service import AccountView
from limen.features.roles.service import OPERATOR
from limen.testing.clock import TurnableClock
from limen.web.peers import TrustedProxies
from tests.mtls.authority import DAY, Authority, uri
from tests.mtls.conftest import SPIFFE, a_service
from tests.mtls.presenting import State, attribute, bearer, present, token_of
from tests.mtls.test_proxied import PROXY, SPELLINGS, STRANGER, byte_sequence, rfc9440, scope_of
from tests.support.gates import PASSWORD, ROLES, gate_for, settings_for

OTHER = "spiffe://example.org/shipping"


@pytest.fixture(params=list(SPELLINGS))
def kind(request: pytest.FixtureRequest) -> str:
    """How the proxy writes it."""
    return str(request.param)


@pytest.fixture
async def proxied(tmp_path: Path, authorities: Path, kind: str) -> AsyncIterator[Limen]:
    """A gate behind a proxy, and two services."""
    gate = gate_for(tmp_path, client_ca=authorities, client_cert_header=kind, trusted_proxies=PROXY)
    async with gate.running():
        await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset({"maker"}))
        await a_service(gate, "shipping", ("uri", OTHER), roles=frozenset())
        yield gate


def scope(headers: Any, peer: str = PROXY, **more: Any) -> dict[str, Any]:
    """Return the scope of a GET from a peer."""
    return {**scope_of(headers, peer, **more), "method": "GET", "scheme": "https"}


async def test_the_peer_is_asked_at_each_request(proxied: Limen, kind: str, authority: Authority) -> None:
    """The header that was let in from the proxy is nothing from a stranger, and is taken out, in whatever order."""
    headers = SPELLINGS[kind](authority.client(uri(SPIFFE)))
    for _ in range(2):
        known = await attribute(proxied, scope(headers))
        assert known.principal.is_by_certificate
        forged = scope(headers, STRANGER)
        state = await attribute(proxied, forged)
        assert (state.principal.is_authenticated, state.rejection, forged["headers"]) == (False, None, [])


async def test_a_peer_without_an_address_is_no_proxy(proxied: Limen, kind: str, authority: Authority) -> None:
    """A Unix socket, and what is no address, are not believed after the proxy was."""
    headers = SPELLINGS[kind](authority.client(uri(SPIFFE)))
    assert (await attribute(proxied, scope(headers))).principal.is_authenticated
    for client in (None, ("", 0), ("unix", 0), (f"{PROXY} ", 1), (f"{PROXY}0", 1)):
        state = await attribute(proxied, {**scope(headers), "client": client})
        assert not state.principal.is_authenticated, client


async def test_another_header_beside_it(proxied: Limen, kind: str, authority: Authority) -> None:
    """Twice it is malformed, also where once was let in; a foreign one beside it is taken out and changes nothing."""
    headers = SPELLINGS[kind](authority.client(uri(SPIFFE)))
    assert (await attribute(proxied, scope(headers))).principal.is_authenticated
    for more in (headers, SPELLINGS[kind](authority.client(uri(OTHER)))):
        for twice in ([*headers, *more], [*more, *headers]):
            state = await attribute(proxied, scope(twice))
            assert isinstance(state.rejection, CredentialMalformed)
            assert not state.principal.is_authenticated
    for foreign in ("client-cert", "client-cert-chain", "x-ssl-client-cert", "x-forwarded-client-cert"):
        if not foreign.startswith(headers[0][0]):
            beside = scope([(foreign, "nonsense"), *headers])
            state = await attribute(proxied, beside)
            assert state.principal.is_by_certificate
            assert foreign.encode() not in dict(beside["headers"])


@pytest.mark.parametrize("kind", ["client-cert"], indirect=True)
async def test_the_order_of_headers_is_part_of_it(proxied: Limen, authority: Authority) -> None:
    """Certificate and chain the other way round are read anew, and never as each other."""
    made, other = authority.client(uri(SPIFFE)), authority.client(uri(OTHER))
    headers = rfc9440(made, other)
    first = await attribute(proxied, scope(headers))
    again = await attribute(proxied, scope(list(reversed(headers))))
    assert first.principal.sub == again.principal.sub
    names = [("client-cert", byte_sequence(other.der)), ("client-cert-chain", byte_sequence(made.der))]
    for swapped in (names, list(reversed(names))):
        state = await attribute(proxied, scope(swapped))
        assert state.principal.is_by_certificate
        assert state.principal.sub != first.principal.sub


async def test_what_ended_between_two_requests(proxied: Limen, kind: str, authority: Authority) -> None:
    """A name that was taken away is nobody's at the next request, whatever is remembered of the certificate."""
    headers = SPELLINGS[kind](authority.client(uri(SPIFFE)))
    who = (await attribute(proxied, scope(headers))).principal
    await proxied.client_certificates.service.remove(OPERATOR, who.sub, who.sid or "")
    state = await attribute(proxied, scope(headers))
    assert isinstance(state.rejection, CertificateRejected)
    assert not state.principal.is_authenticated


async def test_what_is_over_between_two_requests(
    tmp_path: Path, authorities: Path, kind: str, authority: Authority
) -> None:
    """The time is asked at each use of a header that was read before."""
    clock = TurnableClock()
    gate = gate_for(tmp_path, client_ca=authorities, client_cert_header=kind, trusted_proxies=PROXY, clock=clock)
    async with gate.running():
        await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
        headers = SPELLINGS[kind](authority.client(uri(SPIFFE), ends=DAY))
        assert (await attribute(gate, scope(headers))).principal.is_authenticated
        clock.turn(2 * DAY.total_seconds())
        assert isinstance((await attribute(gate, scope(headers))).rejection, CertificateRejected)
        clock.turn(-4 * DAY.total_seconds())
        assert isinstance((await attribute(gate, scope(headers))).rejection, CertificateRejected)


async def test_a_bound_token_is_held_against_each_connection(
    gate: Limen, billing: AccountView, authority: Authority
) -> None:
    """Its own connection, another certificate of the same service's, none, in turn: a hit of one tells nothing."""
    made, other = authority.client(uri(SPIFFE)), authority.client(uri(SPIFFE))
    token = bearer(await token_of(gate, made))
    for _ in range(3):
        assert (await present(gate, made, token)).principal.sub == billing.id
        for connection in (other, None):
            state = await present(gate, connection, token)
            assert isinstance(state.rejection, TokenRejected)
            assert (state.principal.is_authenticated, state.credential) == (False, None)


async def test_what_cannot_be_read_wins_over_a_good_credential(
    gate: Limen, billing: AccountView, authority: Authority
) -> None:
    """A token that is bound to nothing does not open a connection whose certificate is none, or was not verified."""
    await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    made = authority.client(uri(SPIFFE))
    header = bearer(issued.access_token)
    assert (await present(gate, made, header)).principal.is_authenticated
    state = await present(gate, made, header, error="self-signed certificate")
    assert isinstance(state.rejection, CertificateRejected)
    assert (state.principal.is_authenticated, state.credential) == (False, None)


class Ticket(OwnStrategy):
    """Sees what is in the request."""

    name = "ticket"
    header = "X-Ticket"

    async def authenticate(self, credential: PresentedCredential) -> Principal | None:
        """Know nobody."""
        return None


async def test_whoever_is_asked_first_reads_no_forged_header(
    tmp_path: Path, authorities: Path, kind: str, authority: Authority
) -> None:
    """Headers of strangers are taken out before a strategy of the application's own is asked."""
    told = settings_for(tmp_path, client_ca=authorities, client_cert_header=kind, trusted_proxies=PROXY)
    gate = Limen(told, roles=ROLES, strategies=[Ticket()])
    async with gate.running():
        forged = scope([*SPELLINGS[kind](authority.client(uri(SPIFFE))), ("x-ticket", "a")], STRANGER)
        state = State()
        waiting = gate.authenticate(forged, state)
        seen = list(forged["headers"])
        if waiting is not None:
            await waiting
        assert seen == [(b"x-ticket", b"a")]
        assert not state.principal.is_authenticated


def test_each_object_has_a_memory_of_its_own() -> None:
    """Who is a proxy to one is nobody to another; and no more peers are remembered than there is room for."""
    trusted, nobody = TrustedProxies([PROXY]), TrustedProxies(["198.51.100.0/24"])
    for _ in range(2):
        assert trusted.trusts({"client": (PROXY, 1)})
        assert not nobody.trusts({"client": (PROXY, 1)})
        assert not TrustedProxies().trusts({"client": (PROXY, 1)})
    for number in range(10_000):
        assert not trusted.trusts({"client": (f"2001:db8::{number:x}", 1)})
    assert trusted.trusts_host.cache_info().currsize <= 4096
    assert trusted.trusts({"client": (PROXY, 1)})
