"""Private keys as they stand in files."""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from limen.core.errors import ConfigurationError
from limen.crypto.keys import AsymmetricAlgorithm, SigningKey

_ALGORITHMS: Final[tuple[tuple[type, AsymmetricAlgorithm], ...]] = (
    (rsa.RSAPrivateKey, "RS256"),
    (ec.EllipticCurvePrivateKey, "ES256"),
    (ed25519.Ed25519PrivateKey, "EdDSA"),
)


def key_of_pem(pem: bytes) -> SigningKey:
    """Return the key of an unencrypted private key file; its kind says the algorithm, its thumbprint is its ``kid``.

    Raises:
        ConfigurationError: it is none, or is weak, or of a kind that limen does not sign with.
    """
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError("This is not an unencrypted private key in PEM form.") from None
    for kind, alg in _ALGORITHMS:
        if isinstance(private, kind):
            return SigningKey.from_pem(pem, alg)
    raise ConfigurationError("This private key is none for ES256, RS256 or EdDSA.")
