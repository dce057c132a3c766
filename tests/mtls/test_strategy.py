"""Certificates on a connection, in process: whose they are, for how long, and beside other credentials."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from limen import Limen
from limen.authn.client_certificate import FRESH_SECONDS, OPEN_SECONDS, CertificateCredential
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.core.errors import (
    AccountNotActive,
    CertificateRejected,
    CertificateRequired,
    Conflict,
    CredentialMalformed,
    CredentialsConflict,
    CsrfFailed,
    InvalidInput,
    LimenError,
    NotFound,
    SessionEnded,
    TokenRejected,
    Unavailable,
)
from limen.core.events import NOWHERE, EventName, Origin
from limen.core.principal import ANONYMOUS, PrincipalKind
from limen.features.accounts.service import AccountView
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from limen.testing.clock import TurnableClock
from tests.mtls.authority import DAY, SERVER, Authority, Made, dns, uri
from tests.mtls.conftest import SPIFFE, a_service
from tests.support.gates import PASSWORD, gate_for

BOUND = 2.0
"""Seconds within which a change has to be felt."""


class State:
    """Where the outcome of a request is noted."""

    def __init__(self) -> None:
        self.principal = ANONYMOUS
        self.rejection: LimenError | None = None
        self.credential: Any = None
        self.safe_only = False

    @property
    def origin(self) -> Origin:
        """Nowhere in particular."""
        return NOWHERE


def scope_of(made: Made | None, *headers: tuple[str, str], method: str = "GET", error: str | None = None) -> Any:
    """Return the scope of a request on a connection with this certificate."""
    chain = [] if made is None else [made.pem]
    return {
        "type": "http",
        "method": method,
        "scheme": "https",
        "client": ("192.0.2.7", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "extensions": {"tls": {"client_cert_chain": chain, "client_cert_error": error}},
    }


async def attribute(gate: Limen, scope: Any) -> State:
    """Find out who is calling."""
    state = State()
    waiting = gate.authenticate(scope, state)
    if waiting is not None:
        await waiting
    return state


async def present(gate: Limen, made: Made | None, *headers: tuple[str, str], **more: Any) -> State:
    """Attribute a request on a connection with this certificate."""
    return await attribute(gate, scope_of(made, *headers, **more))


async def token_of(gate: Limen, made: Made) -> str:
    """Exchange a certificate for a token."""
    state = await present(gate, made)
    return (await gate.client_certificates.service.token(state.credential)).access_token


def bearer(token: str) -> tuple[str, str]:
    """Return the header with a token."""
    return ("authorization", f"Bearer {token}")


async def until(gate: Limen, made: Made, wanted: Callable[[State], bool]) -> None:
    """Ask again until a change is felt, within the promised two seconds."""
    async with asyncio.timeout(BOUND + 0.5):
        while not wanted(await present(gate, made)):  # noqa: ASYNC110 - as requests do
            await asyncio.sleep(0.05)


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
        assert not gate.still_valid(_with(known))


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
        assert peer.still_valid(_with(known))
        await CHANGES[change](gate, billing, name)
        for each in (gate, peer):
            await until(each, made, lambda state: not state.principal.is_authenticated)
            async with asyncio.timeout(BOUND):
                while (await present(each, made, bearer(token))).principal.is_authenticated:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(BOUND):
            while peer.still_valid(_with(known)):  # noqa: ASYNC110 - as sockets do
                await asyncio.sleep(0.05)


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
    assert gate.still_valid(_with(known))
    await gate.roles.revoke(OPERATOR, billing.id, ["maker"])
    await until(gate, made, lambda state: state.principal.roles == frozenset())
    assert (await present(gate, made, bearer(token))).rejection is not None
    async with asyncio.timeout(BOUND):
        while gate.still_valid(_with(known)):  # noqa: ASYNC110 - as sockets do
            await asyncio.sleep(0.05)


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
    monkeypatch.setattr(strategy, "_monotonic", lambda: now + 2)
    assert strategy.still_valid(known)
    await asyncio.sleep(0.1)
    monkeypatch.setattr(strategy, "_monotonic", lambda: now + OPEN_SECONDS + 1)
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


def _with(credential: Any) -> State:
    state = State()
    state.credential = credential
    return state


# --- tokens that are bound to it (RFC 8705, section 3)


async def test_a_bound_token_on_its_connection(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """The token names the service, and says by what it was proved; every use asks the connection."""
    made = authority.client(uri(SPIFFE))
    token = await token_of(gate, made)
    for _ in range(3):
        state = await present(gate, made, bearer(token))
        assert state.rejection is None
        assert (state.principal.sub, state.principal.kind) == (billing.id, PrincipalKind.SERVICE)
        assert state.principal.is_by_certificate
        assert isinstance(state.credential, Authenticated)
        assert state.credential.bound_to is not None


async def test_a_bound_token_elsewhere(
    gate: Limen, billing: AccountView, authority: Authority, stranger: Authority
) -> None:
    """Without a certificate, with another one of the same service, with one of nobody's: refused, also once seen."""
    made, renewed = authority.client(uri(SPIFFE)), authority.client(uri(SPIFFE))
    token = await token_of(gate, made)
    for _ in range(2):
        for other in (None, renewed, stranger.client(uri(SPIFFE)), authority.client(dns("nobody.example"))):
            state = await present(gate, other, bearer(token))
            assert isinstance(state.rejection, TokenRejected)
            assert not state.principal.is_authenticated
        assert (await present(gate, made, bearer(token))).principal.sub == billing.id


@pytest.mark.parametrize("spelling", ["bearer {}", "BEARER  {}", "Bearer  {}"])
async def test_a_bound_token_in_another_spelling(
    gate: Limen, billing: AccountView, authority: Authority, spelling: str
) -> None:
    """The slow way asks the same as the fast one, and a cookie beside it changes nothing."""
    made = authority.client(uri(SPIFFE))
    header = ("authorization", spelling.format(await token_of(gate, made)))
    for cookies in ((), (("cookie", "theme=dark"),)):
        assert (await present(gate, made, header, *cookies)).principal.sub == billing.id
        for other in (None, authority.client(uri(SPIFFE))):
            assert isinstance((await present(gate, other, header, *cookies)).rejection, TokenRejected)


async def test_a_bound_token_where_nobody_looks_at_connections(
    gate: Limen, billing: AccountView, authority: Authority
) -> None:
    """Whoever asks about a token alone, without a connection, is told no."""
    token = await token_of(gate, authority.client(uri(SPIFFE)))
    credential = PresentedCredential("bearer", token.encode())
    for outcome in (gate.bearer.recall(credential), await gate.bearer.authenticate(credential)):
        assert isinstance(outcome, Rejected)
        assert isinstance(outcome.error, TokenRejected)


async def test_a_bound_token_ends_with_its_certificate(tmp_path: Path, authorities: Path) -> None:
    """A certificate that is over proves nothing, so neither does its token."""
    clock = TurnableClock()
    made = Authority().client(uri(SPIFFE), ends=DAY)
    async with gate_for(tmp_path, client_ca=authorities, clock=clock).running() as gate:
        await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
        clock.turn(DAY.total_seconds() - 60)
        token = await token_of(gate, made)
        assert (await present(gate, made, bearer(token))).principal.is_authenticated
        clock.turn(120)
        assert isinstance((await present(gate, made, bearer(token))).rejection, TokenRejected)


async def test_a_token_is_not_exchanged_for_another(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """Nor is any other credential: only the certificate itself gets one, and one that was found out about now."""
    made = authority.client(uri(SPIFFE))
    state = await present(gate, made, bearer(await token_of(gate, made)))
    for credential in (state.credential, None, object()):
        with pytest.raises(CertificateRequired):
            await gate.client_certificates.service.token(credential)
    known = (await present(gate, made)).credential
    await gate.api_keys.services.disable(OPERATOR, billing.id)  # type: ignore[union-attr]
    with pytest.raises(CertificateRejected):
        await gate.client_certificates.service.token(known)


async def test_each_token_leaves_a_record(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """The audit trail says that the service got in, by which grant and which name."""
    await token_of(gate, authority.client(uri(SPIFFE)))
    (record,) = [each for each in await gate.storage.events() if each.event == EventName.LOGIN_SUCCEEDED]
    name = (await gate.client_certificates.service.of_service(billing.id))[0].id
    assert (record.actor, record.data) == (billing.id, {"grant": "client_certificate", "certificate": name})


async def test_a_session_of_a_token_is_never_refreshed(
    gate: Limen, billing: AccountView, authority: Authority, tmp_path: Path
) -> None:
    """Its row has the hash of a secret that nobody was told."""
    await token_of(gate, authority.client(uri(SPIFFE)))
    with closing(sqlite3.connect(tmp_path / "limen.db")) as connection:
        rows = connection.execute("SELECT kid, generation, ends_at - created_at FROM limen_sessions").fetchall()
    assert rows == [("certificate", 0, gate.settings.access_ttl * 1000)]


# --- beside another credential


async def test_a_person_through_a_service(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """A service sends what a person sent it: the token says who acts, the certificate who speaks."""
    made = authority.client(uri(SPIFFE))
    account = await gate.accounts.create("ann", PASSWORD)
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    for connection in (made, None, authority.client(dns("nobody.example"))):
        state = await present(gate, connection, bearer(issued.access_token))
        assert (state.rejection, state.principal.sub) == (None, account.id)
        assert not state.principal.is_by_certificate


async def test_a_key_on_the_connection_of_another_service(
    gate: Limen, billing: AccountView, authority: Authority
) -> None:
    """A service speaks for itself: its key on another service's connection was stolen, or mixed up."""
    assert gate.api_keys is not None
    shipping = await a_service(gate, "shipping", ("dns", "shipping.example"), roles=frozenset())
    key = (await gate.api_keys.service.create_for(OPERATOR, shipping.id, Wanted("k"))).key
    for header in (("x-api-key", key), bearer(key)):
        for connection in (authority.client(dns("shipping.example")), None, authority.client(dns("nobody.example"))):
            assert (await present(gate, connection, header)).principal.sub == shipping.id
        for _ in range(2):
            state = await present(gate, authority.client(uri(SPIFFE)), header)
            assert isinstance(state.rejection, CredentialsConflict)
            assert (state.principal, state.credential) == (ANONYMOUS, None)


async def test_a_persons_key_through_a_service(gate: Limen, billing: AccountView, authority: Authority) -> None:
    """As with a person's token: it is theirs."""
    assert gate.api_keys is not None
    account = await gate.accounts.create("ann", PASSWORD)
    key = (await gate.api_keys.service.create_for(OPERATOR, account.id, Wanted("k"))).key
    assert (await present(gate, authority.client(uri(SPIFFE)), ("x-api-key", key))).principal.sub == account.id


async def test_a_wrong_credential_never_falls_back_to_the_certificate(
    gate: Limen, billing: AccountView, authority: Authority
) -> None:
    """A token that is refused, a scheme that nobody knows, two headers: refused, although the certificate is right."""
    made = authority.client(uri(SPIFFE))
    for headers in (
        [bearer("not.a.token")],
        [("authorization", "Basic YTpi")],
        [("authorization", "")],
        [bearer("a"), bearer("b")],
        [("x-api-key", "lim_live_wrong")],
        [("x-api-key", "")],
        [("cookie", "__Host-limen=short")],
    ):
        state = await present(gate, made, *headers)
        assert state.rejection is not None, headers
        assert not state.principal.is_authenticated


async def test_a_cookie_of_the_applications_is_no_credential(
    gate: Limen, billing: AccountView, authority: Authority
) -> None:
    """The certificate decides where nothing else is presented."""
    state = await present(gate, authority.client(uri(SPIFFE)), ("cookie", "theme=dark; lang=it"))
    assert state.principal.sub == billing.id


# --- a certificate in a browser


@pytest.mark.parametrize(
    ("headers", "method", "passes"),
    [
        ([("sec-fetch-site", "cross-site")], "POST", False),
        ([("sec-fetch-site", "same-site")], "DELETE", False),
        ([("sec-fetch-site", "cross-site"), ("cookie", "theme=dark")], "POST", False),
        ([("origin", "https://evil.example")], "POST", False),
        ([("origin", "null")], "PUT", False),
        ([("sec-fetch-site", "same-origin"), ("origin", "https://limen.example")], "POST", True),
        ([("sec-fetch-site", "none")], "POST", True),
        ([], "POST", True),
        ([("sec-fetch-site", "cross-site")], "GET", True),
    ],
)
async def test_a_page_does_not_use_a_browsers_certificate(
    gate: Limen,
    billing: AccountView,
    authority: Authority,
    headers: list[tuple[str, str]],
    method: str,
    passes: bool,
) -> None:
    """A browser sends it along whoever asks, as it does a cookie: what a foreign page asks for changes nothing."""
    state = await present(gate, authority.client(uri(SPIFFE)), *headers, method=method)
    assert state.principal.is_authenticated is passes
    assert isinstance(state.rejection, CsrfFailed) is not passes


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
