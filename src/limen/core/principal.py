"""Whom an action is attributed to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class PrincipalKind(StrEnum):
    """What a principal is."""

    PERSON = "person"
    SERVICE = "service"
    ANONYMOUS = "anonymous"


INTERACTIVE_METHODS: Final = frozenset(
    {"face", "fpt", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pwd", "retina", "sms", "tel", "user", "vbm"}
)
"""The methods by which a person proves to be there at this moment (RFC 8176, section 2). Others do not count."""


BY_PROVIDER: Final = "sso"
"""The method of a login at a provider of single sign-on, which a person was at. It is limen's own, too."""

BY_CERTIFICATE: Final = "mtls"
"""The method of a client certificate on the connection. It is limen's own: RFC 8176 has none for it."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """The event of proving who one is: how, and when.

    Attributes:
        methods: authentication method references, such as ``("pwd",)`` (RFC 8176).
        time: when it happened, in whole seconds since 1970 UTC (``auth_time`` of OpenID Connect Core, section 2).
        context_class: the authentication context class reference (``acr``), if one is known.
    """

    methods: tuple[str, ...]
    time: int
    context_class: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom an action is attributed to: a person, a service, or nobody in particular (RFC 7519, section 4.1.2).

    Immutable: what a request is allowed to do cannot be changed by the code that serves it.

    Attributes:
        sub: the account's id, a UUIDv7; empty for the anonymous principal.
        kind: person, service or anonymous.
        roles: the names of the roles held when the credential was issued.
        permissions: every permission that those roles give, as ``resource:action``.
        sid: the id of the session the credential belongs to, or of the API key that it is; None for neither.
        client_id: the client that acts for the principal (RFC 9068, section 2.2).
        issuer: who vouches for it, where that is another issuer than this limen: then ``sub`` is no account here, but
            an id made of issuer and subject.
        subject: what that issuer calls it.
        authentication: how and when the principal proved who it is; None for the anonymous principal.
        attributes: what the application's loader told about it, for policies; None where nobody asked the loader. Two
            principals are the same whatever was loaded about them.
    """

    sub: str
    kind: PrincipalKind
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    sid: str | None = None
    client_id: str | None = None
    authentication: Authentication | None = field(default=None, repr=False)
    issuer: str | None = None
    subject: str | None = field(default=None, repr=False)
    attributes: Mapping[str, object] | None = field(default=None, repr=False, compare=False)

    @property
    def is_authenticated(self) -> bool:
        """Tell whether this is somebody; the name is the one Starlette's ``request.user`` has."""
        return self.kind is not PrincipalKind.ANONYMOUS

    @property
    def is_interactive(self) -> bool:
        """Tell whether a person has proved to be there: not by an API key, a certificate or a message."""
        authentication = self.authentication
        return (
            self.kind is PrincipalKind.PERSON
            and authentication is not None
            and (not INTERACTIVE_METHODS.isdisjoint(authentication.methods) or BY_PROVIDER in authentication.methods)
        )

    @property
    def is_by_certificate(self) -> bool:
        """Tell whether it is proved by the client certificate of this very connection, alone or with a token."""
        authentication = self.authentication
        return authentication is not None and BY_CERTIFICATE in authentication.methods

    @property
    def identity(self) -> str:
        """The account's id, under the name Starlette's ``request.user`` has."""
        return self.sub

    @property
    def display_name(self) -> str:
        """What to show where nothing better is known: the id. A token carries no name (RFC 9068, section 6)."""
        return self.sub


ANONYMOUS = Principal(sub="", kind=PrincipalKind.ANONYMOUS, attributes=MappingProxyType({}))
