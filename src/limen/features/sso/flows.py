"""One login from its beginning in a browser to what the provider says of it, in the same browser."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from limen.core.errors import NotFound, SsoDenied, SsoStateInvalid
from limen.features.sso import proofs
from limen.features.sso.client import Assertion, ProviderClient, refused
from limen.features.sso.discovery import unavailable
from limen.features.sso.store import Flow, FlowStore, NewFlow

FLOW_SECONDS: Final = 600
"""How long a login may take, from the click to the provider's answer."""

_CODE: Final = re.compile(r"[\x21-\x7e]{1,4096}\Z")
_ERRORS: Final = frozenset(
    {
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "invalid_request",
        "invalid_scope",
        "login_required",
        "unauthorized_client",
        "unmet_authentication_requirements",
        "unsupported_response_type",
    }
)
_NOT_NOW: Final = frozenset({"temporarily_unavailable", "server_error"})


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that is under way.

    Attributes:
        location: where the browser is to go.
        browser: what its cookie is to hold.
    """

    location: str
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider sent the browser back with (RFC 6749, section 4.1.2; RFC 9207)."""

    state: str | None = field(default=None, repr=False)
    code: str | None = field(default=None, repr=False)
    iss: str | None = None
    error: str | None = None


class Flows:
    """Begins logins and ends them.

    Args:
        store: where they are while they last.
        clients: the providers, by name.
    """

    def __init__(self, store: FlowStore, clients: Mapping[str, ProviderClient]) -> None:
        self._store = store
        self._clients = clients

    def client(self, name: str) -> ProviderClient:
        """Return who speaks to a provider.

        Raises:
            NotFound: no provider is declared by that name.
        """
        found = self._clients.get(name)
        if found is None:
            raise NotFound("There is no sign-in provider of that name.")
        return found

    async def begin(
        self,
        name: str,
        *,
        following: str,
        redirect_uri: str,
        browser: str | None,
        challenge: str | None = None,
        account: tuple[str, int, str | None] | None = None,
    ) -> Begun:
        """Begin a login.

        Args:
            name: the provider.
            following: where the browser goes in the end; already judged.
            redirect_uri: where the provider sends the browser back to.
            browser: what the browser's cookie holds, if it has one; several tabs then share it.
            challenge: of a client that will exchange a code.
            account: id, epoch and session of the account that the identity is to be linked to.

        Raises:
            NotFound: no such provider.
            Unavailable: it does not answer.
        """
        client = self.client(name)
        kept = browser if browser is not None and proofs.is_secret(browser) else proofs.new_secret()
        state = proofs.new_secret()
        location = await client.authorization_url(
            state=state,
            nonce=proofs.nonce_of(kept, state),
            verifier=proofs.verifier_of(kept, state),
            redirect_uri=redirect_uri,
        )
        account_id, epoch, session_id = account or (None, None, None)
        await self._store.begin(
            NewFlow(
                state_hash=proofs.hash_of(state),
                browser_hash=proofs.hash_of(kept),
                provider=name,
                issuer=client.provider.issuer,
                next=following,
                challenge=challenge,
                account_id=account_id,
                account_epoch=epoch,
                session_id=session_id,
                lifetime_ms=FLOW_SECONDS * 1000,
            )
        )
        return Begun(location, kept)

    async def end(self, name: str, answer: Answer, *, browser: str | None, redirect_uri: str) -> tuple[Flow, Assertion]:
        """Take the login out, for this browser and once, and return it with what the provider says.

        Raises:
            NotFound: no such provider.
            SsoStateInvalid: no such login was begun in this browser.
            SsoDenied: the provider said no.
            SsoFailed: what it says is not believed.
            Unavailable: it does not answer.
        """
        client = self.client(name)
        state = answer.state or ""
        if browser is None or not proofs.is_secret(state) or not proofs.is_secret(browser):
            raise SsoStateInvalid()
        # Before anything else of the answer is looked at: whatever follows, this state is spent.
        flow = await self._store.take(proofs.hash_of(state), proofs.hash_of(browser), name)
        if flow is None:
            raise SsoStateInvalid()
        if flow.issuer != client.provider.issuer:
            raise refused(client.provider, "issuer_changed")
        await self._require_issuer(client, answer)
        if answer.error is not None:
            if answer.error in _NOT_NOW:
                raise unavailable(client.provider)
            # Only words of the standards are repeated.
            raise SsoDenied(answer.error if answer.error in _ERRORS else None)
        if answer.code is None or not _CODE.match(answer.code):
            raise refused(client.provider, "code")
        assertion = await client.redeem(
            answer.code,
            nonce=proofs.nonce_of(browser, state),
            verifier=proofs.verifier_of(browser, state),
            redirect_uri=redirect_uri,
        )
        return flow, assertion

    @staticmethod
    async def _require_issuer(client: ProviderClient, answer: Answer) -> None:
        """RFC 9207, section 2.4: the answer bears the issuer, where it says it does, and it is this one, exactly."""
        provider = client.provider
        if provider.endpoints is not None:
            return
        stated = answer.iss
        if stated is None and (await client.metadata()).names_itself:
            raise refused(provider, "iss_missing")
        if stated is not None and stated != provider.issuer:
            raise refused(provider, "iss")
