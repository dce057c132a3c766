"""Signs tokens. Only the one door that issues them imports this (`limen.authn.issuing`)."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from limen.core.errors import ConfigurationError
from limen.crypto.claims import SHAPES, AccessClaims, RefreshClaims
from limen.crypto.encoding import b64url_encode
from limen.crypto.forwarded_claims import ForwardedClaims
from limen.crypto.keys import PrivateKey, SigningKey
from limen.crypto.message_claims import MessageClaims

_STRUCT_OF_TYP: Final[dict[str, type]] = {shape.typ: struct for struct, shape in SHAPES.items()}


class Signer:
    """Signs one kind of token with one key. Safe to share between threads.

    Attributes:
        kid: the id of the key.
        alg: its algorithm.
        typ: what the tokens say they are (RFC 8725, section 3.11).

    Args:
        key: signs, and says by which algorithm.
        typ: such as ``at+jwt``.

    Raises:
        ConfigurationError: a typ that is not lower-case and explicit: a bare ``JWT`` could be anything.
    """

    __slots__ = ("_encode", "_header", "_sign", "_struct", "alg", "kid", "typ")

    def __init__(self, key: SigningKey, typ: str) -> None:
        if not typ.endswith("+jwt") or not typ.isascii() or typ != typ.lower():
            raise ConfigurationError("The typ of a token names its kind, such as at+jwt.")
        self.kid = key.kid
        self.alg = key.alg
        self.typ = typ
        header = {"alg": key.alg, "kid": key.kid, "typ": typ}
        self._header = b64url_encode(msgspec.json.encode(header)) + b"."
        self._struct = _STRUCT_OF_TYP.get(typ)
        # Sets have no order: sorted, so that the same claims are the same bytes.
        self._encode = msgspec.json.Encoder(order="deterministic" if self._struct else "sorted").encode
        self._sign = _signature_of(key)

    def sign(
        self, claims: AccessClaims | RefreshClaims | ForwardedClaims | MessageClaims | Mapping[str, object]
    ) -> str:
        """Return the token in its compact form (RFC 7515, section 7.1): compact JSON, names sorted.

        Args:
            claims: for ``at+jwt`` an `AccessClaims`, for ``rt+jwt`` a `RefreshClaims`, for ``limen-fwd+jwt`` a
                `ForwardedClaims`, and not even a subclass: they are closed lists, so nothing personal can slip in. A
                mapping for any other typ.

        Raises:
            TypeError: other claims than the typ has.
        """
        if type(claims) is not self._struct and (self._struct is not None or not isinstance(claims, dict)):
            raise TypeError(f"a token of the typ {self.typ} does not carry {type(claims).__name__}")
        signed = self._header + b64url_encode(self._encode(claims))
        return (signed + b"." + b64url_encode(self._sign(signed))).decode("ascii")

    def __repr__(self) -> str:
        return f"Signer({self.alg} {self.kid!r} {self.typ})"


def _signature_of(key: SigningKey) -> Callable[[bytes], bytes]:
    material = key.material
    if isinstance(material, bytes):
        keyed = hmac.HMAC(material, hashes.SHA256())

        def tag(message: bytes) -> bytes:
            mac = keyed.copy()
            mac.update(message)
            return mac.finalize()

        return tag
    algorithm, private = JWSRegistry.algorithms[key.alg], _joserfc_key(material)
    return lambda message: algorithm.sign(message, private)


def _joserfc_key(private: PrivateKey) -> RSAKey | ECKey | OKPKey:
    if isinstance(private, rsa.RSAPrivateKey):
        return RSAKey(private, private)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return ECKey(private, private)
    return OKPKey(private, private)
