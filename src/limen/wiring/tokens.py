"""What issues the tokens of this installation and what verifies them, as the settings say, and their secrets."""

from collections.abc import Callable, Iterable
from typing import Final

from pydantic import SecretStr

from limen.authn.cookie import CookieTerms
from limen.authn.issuing import Door, TokenTerms
from limen.authn.records import IssuingStore
from limen.core.clock import Clock
from limen.crypto.claims import ACCESS_TYP, REFRESH_TYP, AccessClaims, RefreshClaims
from limen.crypto.jwt import TokenVerifier
from limen.crypto.keys import KeySet, SigningKey
from limen.crypto.refresh import RefreshKeys
from limen.features.signing_keys.files import KeyFiles
from limen.features.signing_keys.service import SigningKeyService
from limen.features.signing_keys.store import SigningKeyStore
from limen.features.signing_keys.vault import Vault
from limen.features.signing_keys.watch import UseKeys
from limen.settings import Settings

CLOCK_LEEWAY: Final = 2
"""Seconds beyond its end for which a token is accepted."""
CLOCK_AHEAD: Final = 600
"""Seconds by which a token of this installation may come from the future: the database stamps tokens, and this
process's clock may be minutes behind its."""


def texts_of(secrets: Iterable[SecretStr]) -> list[str]:
    """Return secrets as texts, in their order."""
    return [secret.get_secret_value() for secret in secrets]


def deriving_texts(settings: Settings) -> list[str]:
    """Return what keys of other purposes are derived from: the data secrets, or else those of access tokens."""
    return texts_of(settings.data_secrets or (settings.jwt_access_secret, *settings.jwt_access_secrets_accepted))


def access_keys_of(settings: Settings) -> list[SigningKey]:
    """Return the keys of access tokens, the one that signs first; none where they come from elsewhere at the start."""
    if settings.keeps_keys:
        return []
    return _signing_keys((settings.jwt_access_secret, *settings.jwt_access_secrets_accepted))


def refresh_keys_of(settings: Settings) -> RefreshKeys:
    """Return what the secret parts of refresh tokens are derived with."""
    return RefreshKeys(settings.jwt_refresh_secret.get_secret_value(), texts_of(settings.jwt_refresh_secrets_accepted))


def door_of(
    settings: Settings,
    store: IssuingStore,
    *,
    access_key: SigningKey | None,
    refresh_keys: RefreshKeys,
    cookie_terms: CookieTerms,
    told_roles: Callable[[str, frozenset[str]], None],
    keep_ended_ms: int,
) -> Door:
    """Make the door; its arguments are those of `Door`."""
    return Door(
        store,
        terms=TokenTerms(
            issuer=settings.issuer,
            audience=settings.audience,
            access_ttl=settings.access_ttl,
            refresh_ttl=settings.refresh_ttl,
            session_max_ttl=settings.session_max_ttl,
            states_permissions=settings.permissions == "token",
        ),
        access_key=access_key,
        refresh_keys=refresh_keys,
        refresh_signing_keys=_signing_keys((settings.jwt_refresh_secret, *settings.jwt_refresh_secrets_accepted)),
        cookie_terms=cookie_terms,
        told_roles=told_roles,
        most_sessions=settings.max_sessions,
        keep_ended_ms=keep_ended_ms,
    )


def access_verifier(settings: Settings, keys: KeySet, clock: Clock) -> TokenVerifier[AccessClaims]:
    """Return what verifies access tokens."""
    return TokenVerifier(
        keys,
        issuer=settings.issuer,
        audience=settings.audience,
        typ=ACCESS_TYP,
        claims=AccessClaims,
        max_lifetime=settings.access_ttl,
        leeway=CLOCK_LEEWAY,
        ahead=CLOCK_AHEAD,
        clock=clock,
    )


def refresh_verifier(settings: Settings, keys: KeySet, clock: Clock) -> TokenVerifier[RefreshClaims]:
    """Return what verifies refresh tokens, which limen issues for nobody but itself."""
    return TokenVerifier(
        keys,
        issuer=settings.issuer,
        audience=settings.issuer,
        typ=REFRESH_TYP,
        claims=RefreshClaims,
        max_lifetime=settings.session_max_ttl,
        leeway=CLOCK_LEEWAY,
        ahead=CLOCK_AHEAD,
        clock=clock,
    )


def signing_keys_of(
    settings: Settings, store: SigningKeyStore, *, use: UseKeys, keep_ms: int, clock: Clock
) -> SigningKeyService | KeyFiles | None:
    """Return what keeps the private keys that access tokens are signed with; None where they are signed by a secret.

    Args:
        settings: files, or the database.
        store: the keys in the database.
        use: told the keys whenever they changed.
        keep_ms: how long tokens of a key that signs no more are accepted.
        clock: the time in seconds since 1970 UTC.
    """
    if settings.signing_alg == "HS256":
        return None
    if settings.signing_key_files:
        return KeyFiles(settings.signing_key_files, alg=settings.signing_alg, use=use, keep_ms=keep_ms, clock=clock)
    return SigningKeyService(
        store, Vault(texts_of(settings.data_secrets)), alg=settings.signing_alg, use=use, keep_ms=keep_ms
    )


def _signing_keys(secrets: Iterable[SecretStr]) -> list[SigningKey]:
    """Make the keys of secrets, the one that signs first; a secret that is named twice counts once."""
    return [SigningKey.from_secret(text) for text in dict.fromkeys(texts_of(secrets))]
