"""Which providers people may come from, as the application and the settings declare them."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from limen.authn.outbound import require_callable_url
from limen.core.errors import ConfigurationError
from limen.settings.sso import SsoClient

MAX_ISSUER: Final = 255
EVERYBODY: Final = "*"
"""Stands among the values of the roles' claim for everybody who comes from that provider."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,23}\Z")
_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_ALGORITHMS: Final = frozenset({"RS256", "ES256", "EdDSA"})


@dataclass(frozen=True, slots=True)
class OAuthEndpoints:
    """Where a provider that knows no OpenID Connect is asked: it has neither discovery nor ID tokens.

    Attributes:
        authorization: where the browser goes.
        token: where the code is exchanged.
        userinfo: what says who it is.
        subject_claim: which member of that answer is the subject; a number becomes its digits.
    """

    authorization: str
    token: str
    userinfo: str
    subject_claim: str = "id"


@dataclass(frozen=True, kw_only=True)
class SSOProvider:
    """A provider of single sign-on; the presets below know some products.

    What is not given here comes from ``LIMEN_SSO_<NAME>_…``, and the secret should come from nowhere else.

    Attributes:
        name: one word of letters and digits, in lower case; it stands in the paths.
        issuer: exactly as the provider calls itself (OpenID Connect Discovery, section 4.3).
        client_id: what the provider calls this application.
        client_secret: the secret that the provider gave to it; without one the application is a public client.
        scopes: what is asked for.
        create: make an account at the first login of somebody unknown; otherwise they are refused.
        trusted_email: believe ``email_verified``. Whoever has such an address that an account here has is told to log
            in to it and link the provider; never is an account found by an address alone.
        username_claim: the claim that a new account is named after, if it is free; None makes a name of the identity.
        roles_claim: the claim that roles are decided by; a dot goes into an object, such as ``realm_access.roles``.
        roles: which of its values gives which roles; ``*`` stands for everybody. These roles, and no others, are
            granted and revoked at every login.
        signing_alg: the algorithm of ID tokens, and of userinfo where that is signed (OpenID Connect Core, sections
            3.1.3.7 and 5.3.2): RS256, ES256 or EdDSA.
        max_age: seconds after which the provider has to ask the person again.
        second_factor: count a login as two factors where the provider says ``mfa`` in ``amr``.
        untyped_logout: accept logout tokens that do not say ``logout+jwt``, of a provider that is that old.
        userinfo: ask the provider's userinfo endpoint too, if it has one; it may answer JSON or a signed JWT.
        label: what people call the provider; the name where it is not given.
        logout_url: where the provider sends the browser after a logout there, as registered; the root of
            LIMEN_PUBLIC_URL where it is not given.
        endpoints: of a provider without OpenID Connect.
    """

    name: str
    issuer: str = ""
    client_id: str = ""
    client_secret: SecretStr | str | None = field(default=None, repr=False)
    scopes: Sequence[str] = ("openid", "email", "profile")
    create: bool = False
    trusted_email: bool = False
    username_claim: str | None = None
    roles_claim: str = "groups"
    roles: Mapping[str, str | Collection[str]] = field(default_factory=dict)
    signing_alg: str = "RS256"
    max_age: int | None = None
    second_factor: bool = False
    untyped_logout: bool = False
    userinfo: bool = True
    label: str = ""
    logout_url: str = ""
    endpoints: OAuthEndpoints | None = None

    @property
    def secret(self) -> str | None:
        """The client's secret, in the clear."""
        given = self.client_secret
        return given.get_secret_value() if isinstance(given, SecretStr) else given

    @property
    def title(self) -> str:
        """What people call it."""
        return self.label or self.name

    @property
    def roles_of(self) -> Mapping[str, frozenset[str]]:
        """The roles by value of the claim."""
        return {value: frozenset({roles} if isinstance(roles, str) else roles) for value, roles in self.roles.items()}

    @property
    def managed_roles(self) -> frozenset[str]:
        """Every role that a login here may grant or revoke."""
        return frozenset().union(*self.roles_of.values())

    # --- presets

    @classmethod
    def google(cls, *, name: str = "google", **changes: object) -> "SSOProvider":
        """Google: its addresses of gmail.com and of Workspace are verified by itself, others are not."""
        return cls(**{"name": name, "issuer": "https://accounts.google.com", "label": "Google", **changes})  # type: ignore[arg-type]

    @classmethod
    def entra(cls, *, tenant: str = "", name: str = "entra", **changes: object) -> "SSOProvider":
        """Microsoft Entra, of one tenant by its GUID.

        Not of ``common`` or ``organizations``: their tokens bear the issuer of whatever tenant somebody has made for
        themselves. The address there can be set by a tenant's administrator, so it is never to be trusted (nOAuth).

        Raises:
            ConfigurationError: the tenant is no GUID.
        """
        issuer = changes.pop("issuer", "") or ""
        if tenant:
            if not _GUID.match(tenant):
                raise ConfigurationError("Entra is declared by the GUID of one tenant, not by a name or «common».")
            issuer = f"https://login.microsoftonline.com/{tenant.lower()}/v2.0"
        return cls(**{"name": name, "issuer": issuer, "label": "Microsoft", "roles_claim": "roles", **changes})  # type: ignore[arg-type]

    @classmethod
    def auth0(cls, *, domain: str = "", name: str = "auth0", **changes: object) -> "SSOProvider":
        """Auth0, of one tenant's domain; its issuer ends in a slash."""
        issuer = changes.pop("issuer", "") or (f"https://{domain}/" if domain else "")
        return cls(**{"name": name, "issuer": issuer, "label": "Auth0", **changes})  # type: ignore[arg-type]

    @classmethod
    def keycloak(cls, *, url: str = "", realm: str = "", name: str = "keycloak", **changes: object) -> "SSOProvider":
        """Keycloak, of one realm; the realm's roles where a mapper puts them into the ID token."""
        issuer = changes.pop("issuer", "") or (f"{url.rstrip('/')}/realms/{realm}" if url else "")
        claim = "realm_access.roles"
        return cls(**{"name": name, "issuer": issuer, "label": "Keycloak", "roles_claim": claim, **changes})  # type: ignore[arg-type]

    @classmethod
    def cognito(cls, *, region: str = "", pool: str = "", name: str = "cognito", **changes: object) -> "SSOProvider":
        """Amazon Cognito, of one user pool."""
        issuer = changes.pop("issuer", "") or (
            f"https://cognito-idp.{region}.amazonaws.com/{pool}" if region and pool else ""
        )
        claim = "cognito:groups"
        return cls(**{"name": name, "issuer": issuer, "label": "Cognito", "roles_claim": claim, **changes})  # type: ignore[arg-type]

    @classmethod
    def github(cls, *, name: str = "github", **changes: object) -> "SSOProvider":
        """GitHub, which knows no OpenID Connect for people: who it is, only its userinfo says.

        There is no ID token, so no signature, no nonce and no logout at the provider; what holds is TLS to two fixed
        addresses, PKCE and the browser's state. The identity is the account's number, since names are given away again.
        """
        endpoints = OAuthEndpoints(
            "https://github.com/login/oauth/authorize",
            "https://github.com/login/oauth/access_token",
            "https://api.github.com/user",
        )
        return cls(
            **{  # type: ignore[arg-type]
                "name": name,
                "issuer": "https://github.com",
                "label": "GitHub",
                "scopes": ("read:user",),
                "endpoints": endpoints,
                **changes,
            }
        )


PRESETS: Final[Mapping[str, Callable[..., "SSOProvider"]]] = {
    "google": SSOProvider.google,
    "entra": SSOProvider.entra,
    "auth0": SSOProvider.auth0,
    "keycloak": SSOProvider.keycloak,
    "cognito": SSOProvider.cognito,
    "github": SSOProvider.github,
}


def providers_of(declared: Sequence[SSOProvider], clients: Sequence[SsoClient]) -> Mapping[str, SSOProvider]:
    """Return the providers by name: those of the code, with what the settings say of them, and those of settings alone.

    Raises:
        ConfigurationError: a provider that cannot be used: no issuer, no client id, a name twice, an http address.
    """
    found: dict[str, SSOProvider] = {}
    said = {client.name: client for client in clients}
    for provider in declared:
        if provider.name in found:
            raise ConfigurationError(f"Two providers are called {provider.name}.")
        client = said.pop(provider.name, None)
        found[provider.name] = provider if client is None else _with(provider, client)
    for name, client in said.items():
        found[name] = _with(_preset(client), client)
    for provider in found.values():
        _check(provider)
    return found


def _preset(client: SsoClient) -> SSOProvider:
    named = client.values.get("PRESET", client.name if client.name in PRESETS else "")
    if not named:
        return SSOProvider(name=client.name)
    if named not in PRESETS:
        raise ConfigurationError(f"LIMEN_SSO_{client.name.upper()}_PRESET must be one of {', '.join(PRESETS)}.")
    return PRESETS[named](name=client.name)


def _with(provider: SSOProvider, client: SsoClient) -> SSOProvider:
    """Return the provider with what the settings say: they stand before the code."""
    values = client.values
    changes: dict[str, object] = {
        each.name: values[each.name.upper()]
        for each in fields(SSOProvider)
        if each.name in {"issuer", "client_id", "roles_claim", "label", "logout_url"} and each.name.upper() in values
    }
    changes.update({key: _switch(client, key.upper()) for key in ("create", "trusted_email") if key.upper() in values})
    if "SCOPES" in values:
        changes["scopes"] = tuple(values["SCOPES"].replace(",", " ").split())
    if "ROLES" in values:
        changes["roles"] = _rule(client)
    if client.client_secret is not None:
        changes["client_secret"] = client.client_secret
    return replace(provider, **changes)  # type: ignore[arg-type]


def _switch(client: SsoClient, key: str) -> bool:
    word = client.values[key].strip().lower()
    if word not in {"on", "true", "1", "yes", "off", "false", "0", "no"}:
        raise ConfigurationError(f"LIMEN_SSO_{client.name.upper()}_{key} must be on or off.")
    return word in {"on", "true", "1", "yes"}


def _rule(client: SsoClient) -> Mapping[str, frozenset[str]]:
    rule: dict[str, frozenset[str]] = {}
    for each in filter(None, (part.strip() for part in client.values["ROLES"].split(","))):
        value, found, role = each.rpartition("=")
        if not found or not value.strip() or not role.strip():
            raise ConfigurationError(f"LIMEN_SSO_{client.name.upper()}_ROLES must be value=role, separated by commas.")
        rule[value.strip()] = rule.get(value.strip(), frozenset()) | {role.strip()}
    return rule


def _check(provider: SSOProvider) -> None:
    named = f"The provider {provider.name}"
    if not _NAME.match(provider.name):
        raise ConfigurationError("A provider is named by one word of at most 24 letters and digits, in lower case.")
    if not provider.issuer or len(provider.issuer) > MAX_ISSUER or not provider.issuer.isascii():
        raise ConfigurationError(f"{named} has no issuer: set LIMEN_SSO_{provider.name.upper()}_ISSUER.")
    parts = urlsplit(provider.issuer)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(f"{named} has an issuer with a query, a fragment or credentials.")
    require_callable_url(provider.issuer, f"The issuer of the provider {provider.name}")
    if not provider.client_id:
        raise ConfigurationError(f"{named} has no client id: set LIMEN_SSO_{provider.name.upper()}_CLIENT_ID.")
    if provider.endpoints is None and "openid" not in provider.scopes:
        raise ConfigurationError(f"{named} is not asked for the scope openid, without which there is no ID token.")
    if provider.signing_alg not in _ALGORITHMS:
        raise ConfigurationError(f"{named} signs with one of {', '.join(sorted(_ALGORITHMS))}.")
    if provider.endpoints is not None and provider.trusted_email:
        raise ConfigurationError(f"{named} knows no OpenID Connect, so nothing says that an address is verified.")
    if provider.max_age is not None and provider.max_age < 0:
        raise ConfigurationError(f"{named} has a max_age below zero.")
