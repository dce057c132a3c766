"""Tokens that are bound to a certificate (RFC 8705), and certificates beside other credentials."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from limen import Limen
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.core.errors import (
    CertificateRejected,
    CertificateRequired,
    CredentialsConflict,
    CsrfFailed,
    TokenRejected,
)
from limen.core.events import NOWHERE, EventName
from limen.core.principal import ANONYMOUS, PrincipalKind
from limen.features.accounts.service import AccountView
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from limen.testing.clock import TurnableClock
from tests.mtls.authority import DAY, Authority, dns, uri
from tests.mtls.conftest import SPIFFE, a_service
from tests.mtls.presenting import bearer, present, token_of
from tests.support.gates import PASSWORD, gate_for

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
    # What was let in for its method alone is refused where middleware makes another one of it.
    assert state.safe_only is (method == "GET")
