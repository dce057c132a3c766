"""Signs statements that are no tokens, such as where the audit trail stands, for others to verify (RFC 7515).

What is signed here has a ``typ`` that no token has, under keys that sign no tokens: nobody can take one for the other
(RFC 8725, sections 3.11 and 3.12).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from limen.core.errors import ConfigurationError
from limen.crypto.encoding import b64url_encode
from limen.crypto.foreign_jwt import ASYMMETRIC, read_signed
from limen.crypto.jwt import TokenError
from limen.crypto.keys import KeySet, SigningKey, VerificationKey, hkdf_sha256

_END: Final = "+note"


def key_of_secret(secret: bytes, info: bytes) -> SigningKey:
    """Return the Ed25519 key that is derived from a secret for the one purpose that ``info`` names.

    Its seed is ``HKDF-SHA256(secret, salt="", info)`` (RFC 5869), which is as good as one at random (RFC 8032, section
    5.1.5). The ``kid`` is the thumbprint of the public key (RFC 7638).
    """
    private = ed25519.Ed25519PrivateKey.from_private_bytes(hkdf_sha256(secret, info))
    kid = VerificationKey("derived", "EdDSA", private.public_key()).thumbprint()
    return SigningKey(kid or "", "EdDSA", private)


def signed_note(key: SigningKey, typ: str, values: Mapping[str, object]) -> str:
    """Return a statement in compact form (RFC 7515, section 7.1), signed.

    Args:
        key: a private key, no secret.
        typ: what it is; ends in ``+note``.
        values: plain JSON values.

    Raises:
        ConfigurationError: another typ, or a secret.
    """
    if not typ.endswith(_END):
        raise ConfigurationError(f"The typ of a statement ends in {_END}.")
    material = key.material
    private: RSAKey | ECKey | OKPKey
    if isinstance(material, rsa.RSAPrivateKey):
        private = RSAKey(material, material)
    elif isinstance(material, ec.EllipticCurvePrivateKey):
        private = ECKey(material, material)
    elif isinstance(material, ed25519.Ed25519PrivateKey):
        private = OKPKey(material, material)
    else:
        raise ConfigurationError("Statements are signed with a private key, which others can verify.")
    header = msgspec.json.encode({"alg": key.alg, "kid": key.kid, "typ": typ})
    signed = b64url_encode(header) + b"." + b64url_encode(msgspec.json.encode(dict(values)))
    return (signed + b"." + b64url_encode(JWSRegistry.algorithms[key.alg].sign(signed, private))).decode("ascii")


def note_signed_by(keys: KeySet, typ: str, text: str) -> Mapping[str, Any] | None:
    """Return what a statement says; None where none of these keys has signed it, or it is another kind."""
    try:
        read = read_signed(text, algorithms=ASYMMETRIC)
        key = None if read.kid is None else keys.get(read.kid)
        if key is None or read.typ != typ:
            return None
        return read.verified_by(key)
    except TokenError:
        return None
