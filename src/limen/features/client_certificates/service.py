"""Client certificates of services: registered, listed, taken away, and exchanged for tokens that are bound to them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from limen.authn.client_certificate import CertificateCredential
from limen.authn.issuing import BoundToken, Door, Grant, Proof
from limen.authz.administration import Administration
from limen.authz.authority import Authority, judged
from limen.core.errors import (
    CertificateRejected,
    CertificateRequired,
    Conflict,
    InputFault,
    InvalidInput,
    NotFound,
)
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin
from limen.core.ids import is_uuid7, uuid7
from limen.core.principal import BY_CERTIFICATE
from limen.crypto.certificates import certificate_name
from limen.features.accounts.service import AccountService, AccountView
from limen.features.client_certificates.store import ClientCertificateStore, NewRegistration, Registration
from limen.features.roles.service import Actor, Operator, RoleService
from limen.features.sessions.service import SessionService

T = TypeVar("T")

RegistrationView: TypeAlias = Registration
"""A name as it is shown; nothing of it is secret."""


class ClientCertificateService:
    """The use cases of client certificates. Administering them takes ``services:write``, and all that the service may.

    Args:
        store: where the names are.
        door: issues tokens.
        accounts: finds the services.
        sessions: told of what ended.
        roles: judges who may act on whom.
        record: writes the event of a refusal.
        keep_ended_ms: how long a name that was taken away stays on the list of what ended.
        removed: called after a name was taken away, so that this process knows at once.
    """

    def __init__(
        self,
        store: ClientCertificateStore,
        door: Door,
        *,
        accounts: AccountService,
        sessions: SessionService,
        roles: RoleService,
        record: EventSink,
        keep_ended_ms: int,
        removed: Callable[[], None],
    ) -> None:
        self._store = store
        self._door = door
        self._accounts = accounts
        self._sessions = sessions
        self._roles = roles
        self._record = record
        self._keep_ended_ms = keep_ended_ms
        self._removed = removed

    async def token(self, credential: object, *, origin: Origin = NOWHERE) -> BoundToken:
        """Exchange the certificate of a connection for an access token that is bound to it (RFC 8705, section 3).

        Args:
            credential: what the request was attributed by.
            origin: where it came from.

        Raises:
            CertificateRequired: it was attributed by something else; a token is not exchanged for another one.
            CertificateRejected: the certificate is nobody's any more, or its service is switched off.
        """
        if not isinstance(credential, CertificateCredential):
            raise CertificateRequired()
        principal = credential.principal
        proof = Proof(
            Grant.CLIENT_CERTIFICATE,
            principal.sub,
            credential.account_epoch,
            (BY_CERTIFICATE,),
            principal.sub,
            origin,
        )
        issued = await self._door.open_bound(
            proof, registration=principal.sid or "", certificate=credential.certificate.thumbprint
        )
        if issued is None:
            raise CertificateRejected()
        return issued

    async def add(
        self, actor: Actor, account_id: str, kind: str, value: str, *, origin: Origin = NOWHERE
    ) -> Registration:
        """Register a name of certificates for a service.

        Args:
            actor: who acts.
            account_id: the service's account.
            kind: ``uri``, ``dns`` or ``sha256``.
            value: the URI or the name of a host in the certificate's subjectAltName, or its SHA-256 fingerprint.
            origin: where the request came from.

        Raises:
            NotFound: there is no such service.
            InvalidInput: it is no such name, or one with a wildcard.
            PermissionRequired: who acts may not.
            Conflict: a service has the name, this one has a hundred, or it is switched off.
        """
        try:
            name = certificate_name(kind, value)
        except ValueError as error:
            fault = InputFault(("body", "value"), "invalid_value", f"The value {error}.")
            raise InvalidInput("The name of the certificate is not usable.", errors=[fault]) from None

        data = {"account": account_id, "name": name}
        event = Event(EventName.CLIENT_CERTIFICATE_ADDED, actor=_name_of(actor), origin=origin, data=data)

        async def attempt(authority: Authority | None) -> Registration:
            await self._service(account_id)
            new = NewRegistration(uuid7(), account_id, name, _name_of(actor), authority)
            made = await self._store.add(new, replace(event, target=new.id))
            if made is None:
                raise Conflict("The account is not active.")
            return made

        return await self._judged(actor, account_id, attempt, event)

    async def of_service(self, account_id: str) -> Sequence[Registration]:
        """List the names of a service, the newest first.

        Raises:
            NotFound: there is no such service.
        """
        await self._service(account_id)
        return await self._store.of_account(account_id)

    async def remove(self, actor: Actor, account_id: str, registration: str, *, origin: Origin = NOWHERE) -> None:
        """Take a name away from a service: within two seconds no certificate of it opens anything, nor a token for it.

        Raises:
            NotFound: there is no such service, or the name is not its.
            PermissionRequired: who acts may not.
        """
        event = Event(
            EventName.CLIENT_CERTIFICATE_REMOVED,
            actor=_name_of(actor),
            target=registration[:128],
            origin=origin,
            data={"account": account_id},
        )

        async def attempt(authority: Authority | None) -> None:
            await self._service(account_id)
            done = is_uuid7(registration) and await self._store.remove(
                registration,
                account_id=account_id,
                event=event,
                keep_ended_ms=self._keep_ended_ms,
                authority=authority,
            )
            if not done:
                raise NotFound("The service has no such certificate.")

        await self._judged(actor, account_id, attempt, event)
        self._removed()
        await self._sessions.catch_up()

    async def _service(self, account_id: str) -> AccountView:
        account = await self._accounts.by_id(account_id)
        if account.kind != "service":
            raise NotFound("There is no such service.")
        return account

    async def _judged(
        self, actor: Actor, account_id: str, attempt: Callable[[Authority | None], Awaitable[T]], refused: Event
    ) -> T:
        async def judge() -> Authority | None:
            return await self._roles.authority(actor, Administration.SERVICES_WRITE, over=account_id)

        return await judged(judge, attempt, record=self._record, refused=refused)


def _name_of(actor: Actor) -> str:
    return actor.name if isinstance(actor, Operator) else actor.sub
