"""Issuers that are not limen, whose access tokens an application accepts: what is believed, and what it gives.

Everything is declared by the application: who, for whom, by which algorithms, and which claim gives which right.
Without a rule a token gives nothing. The account is the pair of issuer and subject (RFC 9068, section 2.2; ASVS 5.0,
10.3.3).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from limen.authn.id_token import LEEWAY, TENANT, require_issuer
from limen.authn.outbound import require_callable_url
from limen.core.errors import ConfigurationError
from limen.core.principal import INTERACTIVE_METHODS, Authentication, Principal, PrincipalKind
from limen.crypto.foreign_jwt import require_algorithms, text_of, texts_of, time_of
from limen.crypto.jwt import MAX_LEEWAY, TokenError

Path = str | tuple[str, ...]
"""The name of a claim, or the way to one inside others: ``("realm_access", "roles")``."""

ACCESS_TYPES: Final = ("at+jwt", "jwt")
LONGEST_LIFE: Final = 86_400

_SCOPES: Final = ("scope", "scp")
# What only ID tokens have (OpenID Connect Core, sections 2 and 3.3.2.11), unless the token says what else it is.
_OF_LOGINS: Final = ("nonce", "at_hash", "c_hash", "s_hash")
_MOST_VALUES: Final = 1_000
_METHODS: Final = INTERACTIVE_METHODS | {"geo", "pop", "rba", "sc", "swk", "wia"}
"""The methods of RFC 8176 that are taken over: none that only limen itself may say of a credential."""


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """What a value of a claim gives here.

    Args:
        claim: the claim, or the way to it. ``scope`` and ``scp`` are read as lists of words (RFC 8693, section 4.2);
            they count for services alone: of a person they say what a client may ask for, not what the person may do.
        value: the text that it must be, or contain as a list.
        roles: the roles that it gives.
        permissions: the permissions that it gives beside those of the roles.
        scope: the rule counts only where the token has this scope as well: what the person may, and the client too.

    Raises:
        ConfigurationError: a rule that names nothing or gives nothing.
    """

    claim: Path
    value: str
    roles: Collection[str] = ()
    permissions: Collection[str] = ()
    scope: str | None = None

    def __post_init__(self) -> None:
        if not self.claim or not all(_path(self.claim)) or not self.value:
            raise ConfigurationError("A rule names a claim and the value that it must have.")
        if isinstance(self.roles, str) or isinstance(self.permissions, str) or not (self.roles or self.permissions):
            raise ConfigurationError(f"The rule for {self.claim!r} gives neither a list of roles nor of permissions.")
        # Members of a StrEnum become plain text, which is what they are compared with.
        object.__setattr__(self, "roles", frozenset(map(str, self.roles)))
        object.__setattr__(self, "permissions", frozenset(map(str, self.permissions)))

    @property
    def is_about_scope(self) -> bool:
        """Tell whether it is about what a client may, and not about what a person may."""
        return _path(self.claim)[0] in _SCOPES


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIssuer:
    """An issuer that is not limen, and whose access tokens count here.

    Args:
        issuer: the exact ``iss``, an https address. For Entra with several tenants with ``{tenantid}`` in it; then
            `metadata_url` or `jwks_uri` is given as well, and `require` says which tenants (``tid``).
        audience: what ``aud`` must contain: the identifier of this service at the issuer, never that of a client.
        rules: what the claims give.
        scopes: a token needs all of these, or it gives nothing.
        algorithms: what the issuer signs with, of RS256, ES256 and EdDSA.
        jwks_uri: where its keys are; without it, where its metadata says.
        metadata_url: where its metadata are; without it, ``/.well-known/openid-configuration`` of the issuer.
        types: the ``typ`` that headers may have; none at all counts as ``jwt``.
        audience_claim: where the audience stands: ``client_id`` for Cognito, whose access tokens have no ``aud``.
        require: claims that must have a value, or one of several: ``{"token_use": "access"}``.
        service_if: claim and value by which a token is a service's own. Where the subject is the client itself, it is
            in any case (RFC 9068, section 2.2).
        max_lifetime: seconds from now that a token may still live, 86 400 at most.
        leeway: seconds by which the issuer's clock may differ, at most 60.
        still_active: asked by ``@live``: whether this principal may still come in. Without it ``@live`` is a no.

    Raises:
        ConfigurationError: one of these is missing, unsafe or unusable.
    """

    issuer: str
    audience: str | Collection[str]
    rules: Sequence[ClaimRule] = ()
    scopes: Collection[str] = ()
    algorithms: Collection[str] = ("RS256",)
    jwks_uri: str | None = None
    metadata_url: str | None = None
    types: Collection[str] = ACCESS_TYPES
    audience_claim: str = "aud"
    require: Mapping[str, str | Collection[str]] = field(default_factory=dict)
    service_if: tuple[Path, str] | None = None
    max_lifetime: int = LONGEST_LIFE
    leeway: int = LEEWAY
    still_active: Callable[[Principal], Awaitable[bool]] | None = None

    def __post_init__(self) -> None:
        for url, name in ((self.issuer.replace(TENANT, "t"), "issuer"), (self.jwks_uri, "jwks_uri"),
                          (self.metadata_url, "metadata_url")):  # fmt: skip
            if url is not None:
                require_callable_url(url, name)
        if TENANT in self.issuer and self.jwks_uri is None and self.metadata_url is None:
            raise ConfigurationError(f"The keys of {self.issuer} are where jwks_uri or metadata_url says.")
        if TENANT in self.issuer and not self.require.get("tid"):
            # Whoever makes a tenant of their own gives the application's roles there to whom they like.
            raise ConfigurationError(f"Which tenants of {self.issuer} count, require says: {{'tid': [the tenants]}}.")
        audience = (self.audience,) if isinstance(self.audience, str) else tuple(self.audience)
        if not audience or not all(audience):
            raise ConfigurationError("An external issuer needs the audience that its tokens are for: this service.")
        if isinstance(self.types, str) or not self.types or {"logout+jwt", "secevent+jwt"} & set(self.types):
            raise ConfigurationError("types are the typ of access tokens, such as at+jwt.")
        if isinstance(self.scopes, str) or isinstance(self.rules, ClaimRule):
            raise ConfigurationError("scopes and rules are lists.")
        if not 0 < self.max_lifetime <= LONGEST_LIFE or not 0 <= self.leeway <= MAX_LEEWAY:
            raise ConfigurationError(
                f"A token lives at most {LONGEST_LIFE} s, and clocks differ by at most {MAX_LEEWAY} s."
            )
        object.__setattr__(self, "audience", audience)
        object.__setattr__(self, "algorithms", require_algorithms(self.algorithms))
        object.__setattr__(self, "rules", tuple(self.rules))
        object.__setattr__(self, "scopes", frozenset(self.scopes))
        object.__setattr__(self, "require", MappingProxyType(dict(self.require)))


@dataclass(frozen=True, slots=True)
class ExternalClaims:
    """What is believed of a token of an external issuer.

    Attributes:
        principal: whom it stands for; its permissions are those of the rules, without those of its roles.
        expires_at: seconds since 1970 UTC.
        bound_to: the thumbprint of the client certificate that has to be presented with it (RFC 8705, section 3.1).
    """

    principal: Principal
    expires_at: int
    bound_to: str | None


def external_sub(issuer: str, subject: str) -> str:
    """Return the id of an account elsewhere: a UUID of version 8, made of issuer and subject (RFC 9562, section 5.8).

    It is the same in every process and for ever, fits wherever an id fits, and is never one of limen's own, which are
    of version 7. Whoever knows the pair can compute it; nobody can choose a subject so that another's id comes out.
    """
    name, who = issuer.encode(), subject.encode()
    digest = sha256(b"limen/external/1" + len(name).to_bytes(4, "big") + name + who).digest()
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76  # version
    value = value & ~(0b11 << 62) | 0b10 << 62  # variant
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def read_external(
    claims: Mapping[str, Any], trusted: ExternalIssuer, *, typ: str | None, of_key: str | None, now: float
) -> ExternalClaims:
    """Return what a token gives whose signature is the issuer's.

    Args:
        claims: what was signed.
        trusted: the issuer whose key it was.
        typ: the ``typ`` of the header.
        of_key: the issuer that the key says it is for, if it says so.
        now: seconds since 1970 UTC.

    Raises:
        TokenError: it is no access token of this issuer for this service, now.
    """
    if (typ or "jwt") not in trusted.types:
        raise TokenError("typ")
    require_issuer(claims, trusted.issuer, of_key)
    if set(trusted.audience).isdisjoint(texts_of(claims, trusted.audience_claim) or ()):
        raise TokenError("aud")
    _refuse_id_tokens(claims, typ)
    for name, wanted in trusted.require.items():
        stated = claims.get(name)
        if not isinstance(stated, str) or stated not in ({wanted} if isinstance(wanted, str) else set(wanted)):
            raise TokenError(name)
    expires_at = _require_time(claims, trusted, now)
    subject = text_of(claims, "sub")
    if subject is None:
        raise TokenError("sub")
    client = text_of(claims, "client_id") or text_of(claims, "azp") or text_of(claims, "appid")
    is_service = subject == client or (trusted.service_if is not None and _has(claims, *trusted.service_if))
    roles, permissions = _given(claims, trusted, is_service)
    methods = tuple(each for each in texts_of(claims, "amr") or () if each in _METHODS)
    issuer = str(claims["iss"])
    principal = Principal(
        external_sub(issuer, subject),
        PrincipalKind.SERVICE if is_service else PrincipalKind.PERSON,
        roles,
        permissions,
        # The issuer's session, if it names one, is none of ours: our list of ended sessions knows nothing of it.
        sid=None,
        client_id=client,
        # Where it does not say when, it was long ago: whoever asks for a recent proof does not get one by silence.
        authentication=Authentication(methods, int(time_of(claims, "auth_time") or 0)),
        issuer=issuer,
        subject=subject,
    )
    return ExternalClaims(principal, expires_at, _bound_to(claims))


def _refuse_id_tokens(claims: Mapping[str, Any], typ: str | None) -> None:
    """Refuse a token that tells a client who has logged in: it was made for the client, and says nothing of rights."""
    if claims.get("token_use") == "id" or claims.get("typ") == "ID":
        raise TokenError("id_token")
    says_access = typ == "at+jwt" or claims.get("token_use") == "access" or claims.get("typ") == "Bearer"
    if not says_access and any(name in claims for name in _OF_LOGINS):
        raise TokenError("id_token")


def _require_time(claims: Mapping[str, Any], trusted: ExternalIssuer, now: float) -> int:
    expires_at = time_of(claims, "exp")
    if expires_at is None:
        raise TokenError("exp")
    latest = now + trusted.leeway
    for name in ("iat", "nbf"):
        stated = time_of(claims, name)
        if stated is not None and stated > latest:
            raise TokenError("not_yet_valid")
    if now >= expires_at + trusted.leeway:
        raise TokenError("expired")
    if expires_at - now > trusted.max_lifetime + trusted.leeway:
        raise TokenError("lifetime")
    return int(expires_at) + trusted.leeway


def _given(
    claims: Mapping[str, Any], trusted: ExternalIssuer, is_service: bool
) -> tuple[frozenset[str], frozenset[str]]:
    scopes = frozenset(_words(claims.get("scope"))) | frozenset(_words(claims.get("scp")))
    roles: set[str] = set()
    permissions: set[str] = set()
    if set(trusted.scopes) <= scopes:
        for rule in trusted.rules:
            counts = (rule.scope is None or rule.scope in scopes) and (is_service or not rule.is_about_scope)
            if counts and _has(claims, rule.claim, rule.value):
                roles.update(rule.roles)
                permissions.update(rule.permissions)
    return frozenset(roles), frozenset(permissions)


def _has(claims: Mapping[str, Any], claim: Path, value: str) -> bool:
    """Tell whether a claim is the text, or a list with it: equal to the letter, never by a pattern."""
    path = _path(claim)
    found: Any = claims
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return False
        found = found[name]
    if path[0] in _SCOPES:
        return value in _words(found)
    if isinstance(found, list):
        return value in found[:_MOST_VALUES]
    return isinstance(found, str) and found == value


def _words(found: object) -> list[str]:
    if isinstance(found, str):
        return found.split(" ")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _path(claim: Path) -> tuple[str, ...]:
    return (claim,) if isinstance(claim, str) else claim


def _bound_to(claims: Mapping[str, Any]) -> str | None:
    """Return the certificate that a token is bound to. A proof that nobody asks for here is not passed over."""
    confirmation = claims.get("cnf")
    if confirmation is None and "cnf" not in claims:
        return None
    if not isinstance(confirmation, dict) or confirmation.keys() != {"x5t#S256"}:
        raise TokenError("cnf")
    thumbprint = text_of(confirmation, "x5t#S256")
    if thumbprint is None or len(thumbprint) != 43:
        raise TokenError("cnf")
    return thumbprint
