"""Signing keys on their way into the database and out of it: the private half sealed, the public one vouched for."""

import json
from collections.abc import Iterable
from typing import cast

from limen.core.errors import ConfigurationError
from limen.crypto.keys import AsymmetricAlgorithm, SigningKey, VerificationKey
from limen.crypto.sealing import CannotOpen, Sealer
from limen.features.signing_keys.store import NewKey, StoredKey


class UnusableKey(Exception):
    """A key in the database that cannot be used; the text says why, and holds no part of a key."""


class Vault:
    """Seals keys and opens them.

    Beside the private half lies a proof, which only somebody with the data secrets can make. So whoever can write to
    the database, and nothing else, can take keys away but cannot bring in one of their own and sign with it.

    Args:
        secrets: the texts of ``LIMEN_DATA_SECRETS``: the first one seals, every one opens.

    Raises:
        ConfigurationError: there is no secret, or a weak one.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        texts = tuple(secrets)
        self._private = Sealer(texts, "signing-key")
        self._proof = Sealer(texts, "signing-key-proof")

    def new(self, alg: AsymmetricAlgorithm) -> NewKey:
        """Make a key. With RS256 it takes tenths of a second."""
        key = SigningKey.generate(alg)
        while key.kid.startswith("-"):  # a command line would take such an id for an option
            key = SigningKey.generate(alg)
        return NewKey(
            kid=key.kid,
            alg=alg,
            public_jwk=json.dumps(key.verification_key.public_jwk(), separators=(",", ":"), sort_keys=True),
            private=self._private.seal(key.private_der_in_the_clear(), key.kid),
            proof=self._proof.seal(b"", key.kid),
        )

    def public_half(self, stored: StoredKey) -> VerificationKey:
        """Return what signatures are checked with.

        Raises:
            UnusableKey: it was not put there by limen, or under a secret that is not configured.
        """
        try:
            self._proof.open(stored.proof, stored.kid)
            key = VerificationKey.from_jwk(json.loads(stored.public_jwk))
        except CannotOpen as error:
            raise UnusableKey(_why(error)) from None
        except (ConfigurationError, ValueError, AttributeError):
            raise UnusableKey("its public half cannot be read") from None
        if not stored.kid == key.kid == key.thumbprint() or key.alg != stored.alg:
            raise UnusableKey("its public half is not the one it is named after")
        return key

    def private_half(self, stored: StoredKey) -> SigningKey:
        """Return what tokens are signed with.

        Raises:
            UnusableKey: it does not open, or is not the other half of the public one.
        """
        try:
            der = self._private.open(stored.private or b"", stored.kid)
            key = SigningKey.from_der(der, cast(AsymmetricAlgorithm, stored.alg))
        except CannotOpen as error:
            raise UnusableKey(_why(error)) from None
        except ConfigurationError:
            raise UnusableKey("its private half cannot be read") from None
        if key.kid != stored.kid:
            raise UnusableKey("its private half is that of another key")
        return key

    def sealed_anew(self, stored: StoredKey) -> tuple[bytes | None, bytes] | None:
        """Return private half and proof under the secret that seals now; None where they are so, or do not open."""
        try:
            proof = self._proof.reseal(stored.proof, stored.kid)
            private = None if stored.private is None else self._private.reseal(stored.private, stored.kid)
        except CannotOpen:
            return None
        return None if (private, proof) == (stored.private, stored.proof) else (private, proof)


def _why(error: CannotOpen) -> str:
    if error.kid is None:
        return "it was changed, or is not limen's"
    return f"it is encrypted under a secret with the id {error.kid}, which is not in LIMEN_DATA_SECRETS"
