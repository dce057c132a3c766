"""Keys as values: each with one algorithm and one id, in a set that never changes.

The key says which algorithm is used; a token's header may only agree (RFC 8725, sections 3.1 and 3.2). Weak keys are
refused when they are loaded, not when somebody has found out.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hmac import compare_digest
from types import MappingProxyType
from typing import Final, Literal, Self, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from limen.core.errors import ConfigurationError
from limen.crypto.curve_points import is_sound_ed25519_point
from limen.crypto.encoding import b64url_decode, b64url_encode

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
AsymmetricAlgorithm = Literal["RS256", "ES256", "EdDSA"]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

MIN_SECRET_BYTES: Final = 32
"""An HMAC key is at least as long as the hash (RFC 7518, section 3.2)."""

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_MIN_RSA_BITS: Final = 2048  # RFC 7518, section 3.3
_ADVISED_RSA_BITS: Final = 3072  # NIST SP 800-57: what still holds after 2030
_MAX_RSA_BITS: Final = 8192  # beyond, each verification costs milliseconds: whoever picks the key could stall us
_KEY_FILE_MARKS: Final = (b"-----BEGIN", b"---- BEGIN", b"ssh-rsa ", b"ssh-ed25519 ", b"ecdsa-sha2-")
_KID: Final = re.compile(r"[!-~]{1,255}\Z")
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

logger = logging.getLogger(__name__)


def key_id(secret: bytes) -> str:
    """Return the ``kid`` of a secret: 8 characters that tell secrets apart and tell nothing about them.

    ``base64url(HKDF-SHA256(secret, salt="", info="limen/kid/1", 32 bytes))[:8]`` (RFC 5869).
    """
    return b64url_encode(hkdf_sha256(secret, b"limen/kid/1"))[:8].decode("ascii")


def hkdf_sha256(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes derived from the secret for the one purpose that ``info`` names (RFC 5869, empty salt)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=b"", info=info).derive(secret)


class _Constant:
    """Filled once, by its constructor. It is not pickled: no key reaches a cache or another process that way."""

    __slots__ = ()

    def _fill(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} does not change")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> str:
        raise TypeError(f"a {type(self).__name__} is not pickled")


class VerificationKey(_Constant):
    """A key that signatures are checked with. It does not change and does not show what it is made of.

    Attributes:
        kid: its id.
        alg: the one algorithm it is for.
    """

    __slots__ = ("_check", "_public", "alg", "kid")
    kid: str
    alg: Algorithm
    _check: Callable[[bytes, bytes], bool]
    _public: PublicKey | None

    def __init__(self, kid: str, alg: Algorithm, material: bytes | PublicKey) -> None:
        """Check the key and bind it to its algorithm.

        Args:
            kid: 1 to 255 visible ASCII characters.
            alg: one of ``HS256``, ``RS256``, ``ES256`` and ``EdDSA`` (Ed25519).
            material: the secret for HS256, a public key of the cryptography library for the others.

        Raises:
            ConfigurationError: the key is weak, broken, or not one for this algorithm.
        """
        if not _KID.match(kid):
            raise ConfigurationError("A key id is 1 to 255 visible ASCII characters.")
        if isinstance(material, bytes):
            if alg != "HS256":
                raise ConfigurationError(f"{alg} needs a public key, not a secret.")
            refuse_weak_secret(material)
            check, public = _hmac_check(material), None
        else:
            refuse_weak_public_key(alg, material)
            check, public = _asymmetric_check(alg, material), material
        self._fill(kid=kid, alg=alg, _check=check, _public=public)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> "VerificationKey":
        """Make a key of a public JWK that names its ``kid`` and its ``alg`` (RFC 7517, section 4).

        Raises:
            ConfigurationError: a private or a symmetric key, an unknown kind, a weak key, a point not on its curve.
        """
        kid, alg, kty = jwk.get("kid"), jwk.get("alg"), jwk.get("kty")
        known = {("RS256", "RSA"), ("ES256", "EC"), ("EdDSA", "OKP")}
        if not (isinstance(kid, str) and isinstance(alg, str) and isinstance(kty, str) and (alg, kty) in known):
            raise ConfigurationError("A JWK needs a kid, and an alg (RS256, ES256, EdDSA) that fits its kty.")
        if _PRIVATE_MEMBERS & jwk.keys() or jwk.get("use", "sig") != "sig":
            raise ConfigurationError("A JWK that others read holds a public key for signatures, and nothing more.")
        return cls(kid, cast(AsymmetricAlgorithm, alg), public_key_of_jwk(jwk))

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the signature, in base64url, is the one that this key's owner made for the message."""
        return self._check(message, signature)

    def thumbprint(self) -> str | None:
        """Return the thumbprint of the public key (RFC 7638), or None for a secret."""
        return None if self._public is None else _joserfc_key(self._public).thumbprint()

    def public_jwk(self) -> dict[str, str] | None:
        """Return the public JWK, or None for a secret: it has no public half."""
        if self._public is None:
            return None
        members = _joserfc_key(self._public).as_dict(private=False)
        return {name: str(value) for name, value in members.items()} | {"kid": self.kid, "alg": self.alg, "use": "sig"}

    def __repr__(self) -> str:
        return f"VerificationKey({self.alg} {self.kid!r})"


class SigningKey(_Constant):
    """A key that tokens are signed with. It does not change and does not show what it is made of.

    Attributes:
        kid: its id.
        alg: the one algorithm it is for.
        material: the secret or the private key. Only `limen.crypto.signing` and what stores keys have business here.
        verification_key: its other half.
    """

    __slots__ = ("alg", "kid", "material", "verification_key")
    kid: str
    alg: Algorithm
    material: bytes | PrivateKey
    verification_key: VerificationKey

    def __init__(self, kid: str, alg: Algorithm, material: bytes | PrivateKey) -> None:
        """Check the key and bind it to its algorithm; as `VerificationKey`, with the private key.

        Raises:
            ConfigurationError: the key is weak, broken, or not one for this algorithm.
        """
        if not isinstance(material, bytes | PrivateKey):
            raise ConfigurationError(f"{alg} signs with a secret or a private key.")
        public = material if isinstance(material, bytes) else material.public_key()
        self._fill(kid=kid, alg=alg, material=material, verification_key=VerificationKey(kid, alg, public))

    @classmethod
    def from_secret(cls, secret: str | bytes) -> "SigningKey":
        """Make an HS256 key of a secret: a text stands for its UTF-8 bytes. The ``kid`` is its `key_id`.

        Raises:
            ConfigurationError: fewer than 32 bytes, or a key file given as a secret.
        """
        material = secret.encode("utf-8") if isinstance(secret, str) else secret
        refuse_weak_secret(material)
        return cls(key_id(material), "HS256", material)

    @classmethod
    def from_pem(cls, pem: bytes, alg: AsymmetricAlgorithm, *, password: bytes | None = None) -> "SigningKey":
        """Make a key of a private key file. The ``kid`` is the thumbprint of the public key (RFC 7638).

        Raises:
            ConfigurationError: not a private key file, the wrong password, or a key that is weak or for another use.
        """
        try:
            private = serialization.load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError("This is not a private key in PEM form, or the password is not right.") from None
        if not isinstance(private, PrivateKey):
            raise ConfigurationError(f"This private key is not one for {alg}.")
        return cls(_joserfc_key(private.public_key()).thumbprint(), alg, private)

    @classmethod
    def from_der(cls, der: bytes, alg: AsymmetricAlgorithm) -> "SigningKey":
        """Make a key of what `private_der_in_the_clear` returned; the ``kid`` is its thumbprint (RFC 7638).

        Raises:
            ConfigurationError: not a private key, or one that is weak or for another use.
        """
        try:
            private = serialization.load_der_private_key(der, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError("This is not a private key in DER form.") from None
        if not isinstance(private, PrivateKey):
            raise ConfigurationError(f"This private key is not one for {alg}.")
        return cls(_joserfc_key(private.public_key()).thumbprint(), alg, private)

    @classmethod
    def generate(cls, alg: AsymmetricAlgorithm) -> "SigningKey":
        """Make a new key: P-256, Ed25519, or RSA with 3072 bits. The ``kid`` is its thumbprint (RFC 7638)."""
        private: PrivateKey
        match alg:
            case "ES256":
                private = ec.generate_private_key(ec.SECP256R1())
            case "EdDSA":
                private = ed25519.Ed25519PrivateKey.generate()
            case "RS256":
                private = rsa.generate_private_key(65537, _ADVISED_RSA_BITS)
            case _:
                raise ConfigurationError("Keys are made for ES256, EdDSA and RS256; an HS256 secret is a setting.")
        return cls(_joserfc_key(private.public_key()).thumbprint(), alg, private)

    def private_pem_in_the_clear(self) -> bytes:
        """Return the private key as unencrypted PKCS #8, for a file that nobody else may read.

        Raises:
            ConfigurationError: this is a secret: it lives in the settings.
        """
        return self._private_bytes(serialization.Encoding.PEM)

    def private_der_in_the_clear(self) -> bytes:
        """Return the private key as unencrypted PKCS #8, for whoever seals it at once.

        Raises:
            ConfigurationError: this is a secret: it lives in the settings.
        """
        return self._private_bytes(serialization.Encoding.DER)

    def _private_bytes(self, encoding: serialization.Encoding) -> bytes:
        if isinstance(self.material, bytes):
            raise ConfigurationError("An HS256 secret is a setting, not a key file.")
        return self.material.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def __repr__(self) -> str:
        return f"SigningKey({self.alg} {self.kid!r})"


class KeySet(_Constant):
    """The keys that one issuer's tokens are checked with, by their id. It does not change: a new set replaces it."""

    __slots__ = ("_by_kid",)
    _by_kid: Mapping[str, VerificationKey]

    def __init__(self, keys: Sequence[VerificationKey | SigningKey]) -> None:
        """Put keys together; of a signing key the other half is taken.

        Raises:
            ConfigurationError: no key, two keys with one id, or secrets beside public keys: then a public key could be
                taken for a secret (RFC 8725, section 3.1).
        """
        by_kid: dict[str, VerificationKey] = {}
        for key in keys:
            half = key.verification_key if isinstance(key, SigningKey) else key
            if half.kid in by_kid:
                raise ConfigurationError(f"Two keys have the id {half.kid!r}.")
            by_kid[half.kid] = half
        if not by_kid:
            raise ConfigurationError("A key set needs a key.")
        if len({key.alg == "HS256" for key in by_kid.values()}) > 1:
            raise ConfigurationError("HS256 secrets and public keys are never accepted together for one issuer.")
        self._fill(_by_kid=MappingProxyType(by_kid))

    @classmethod
    def of_secrets(cls, current: str | bytes, accepted: Iterable[str | bytes] = ()) -> "KeySet":
        """Make a set of HS256 secrets: the one that signs, and others that are still or already accepted.

        A secret that is named twice counts once: during a rotation it may stand in both settings.
        """
        keys = {key.material: key for key in map(SigningKey.from_secret, (current, *accepted))}
        return cls(tuple(keys.values()))

    @classmethod
    def empty(cls) -> "KeySet":
        """Return a set without a key, for as long as the keys are not known: nothing verifies with it."""
        made = cls.__new__(cls)
        made._fill(_by_kid=MappingProxyType({}))
        return made

    def has_all_of(self, other: "KeySet") -> bool:
        """Tell whether every public key of the other set is in this one, as it was there."""
        return all((mine := self.get(key.kid)) is not None and mine.public_jwk() == key.public_jwk() for key in other)

    def get(self, kid: str) -> VerificationKey | None:
        """Return the key with this id, or None. Ids are looked up here and nowhere else (RFC 8725, section 3.10)."""
        return self._by_kid.get(kid)

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the JWK Set that others verify with (RFC 7517, section 5): empty for secrets."""
        return {"keys": [jwk for key in self._by_kid.values() if (jwk := key.public_jwk()) is not None]}

    def __contains__(self, kid: object) -> bool:
        return kid in self._by_kid

    def __iter__(self) -> Iterator[VerificationKey]:
        return iter(self._by_kid.values())

    def __len__(self) -> int:
        return len(self._by_kid)

    def __repr__(self) -> str:
        return f"KeySet({', '.join(f'{key.alg} {key.kid!r}' for key in self)})"


# --- which keys are good enough


def refuse_weak_secret(secret: bytes) -> None:
    """Raise ConfigurationError for an HMAC key that is too short, or that is a key file (RFC 7518, section 3.2)."""
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"A secret for HS256 has at least {MIN_SECRET_BYTES} bytes.")
    if any(mark in secret for mark in _KEY_FILE_MARKS):
        raise ConfigurationError("A key file is not a secret: whoever has the public half could sign with it.")


def refuse_weak_public_key(alg: str, key: object) -> None:
    """Raise ConfigurationError for a key that is weak, broken, or not for the algorithm (RFC 8725, 3.2 and 3.4)."""
    if alg == "RS256" and isinstance(key, rsa.RSAPublicKey):
        _refuse_weak_rsa(key)
    elif alg == "ES256" and isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1):
            raise ConfigurationError("ES256 needs a key on the curve P-256.")
    elif alg == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
        if not is_sound_ed25519_point(key.public_bytes_raw()):
            raise ConfigurationError("This Ed25519 key is not a sound point of the curve.")
    else:
        raise ConfigurationError(f"This key is not one for {alg}.")


def _refuse_weak_rsa(key: rsa.RSAPublicKey) -> None:
    numbers = key.public_numbers()
    if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        raise ConfigurationError(f"An RSA key has {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits; 3072 or more are advised.")
    # FIPS 186-5, appendix A.1.1: 2^16 < e < 2^256. With e = 1 every message is its own signature.
    if not 2**16 < numbers.e < 2**256 or numbers.e % 2 == 0 or numbers.n % 2 == 0:
        raise ConfigurationError("The public exponent of an RSA key is odd and at least 65537.")
    if key.key_size < _ADVISED_RSA_BITS:
        logger.warning("rsa_key_short", extra={"bits": key.key_size, "advised_bits": _ADVISED_RSA_BITS})


def public_key_of_jwk(jwk: Mapping[str, object]) -> PublicKey:
    """Return the public key that a JWK spells, its point or modulus checked (RFC 7518, section 6; RFC 8037).

    Raises:
        ConfigurationError: a member is missing or not spelled canonically, or the key is no key.
    """
    try:
        match jwk.get("kty"), jwk.get("crv"):
            case "RSA", None:
                n, e = _number(jwk, "n"), _number(jwk, "e")
                return rsa.RSAPublicNumbers(e, n).public_key()
            case "EC", "P-256":
                x, y = _member(jwk, "x", 32), _member(jwk, "y", 32)
                return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
            case "OKP", "Ed25519":
                return ed25519.Ed25519PublicKey.from_public_bytes(_member(jwk, "x", 32))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    raise ConfigurationError("This JWK spells no public key that limen knows: RSA, P-256 or Ed25519.")


def _member(jwk: Mapping[str, object], name: str, size: int | None = None) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_RSA_BITS // 4:
        raise ValueError("missing or too long")
    value = b64url_decode(text.encode("ascii"))
    if size is not None and len(value) != size:
        raise ValueError("wrong size (RFC 7518, section 6.2.1.2)")
    return value


def _number(jwk: Mapping[str, object], name: str) -> int:
    value = _member(jwk, name)
    if value[0] == 0:
        raise ValueError("leading zeros (RFC 7518, section 2)")
    return int.from_bytes(value, "big")


# --- what a signature is checked with


def _hmac_check(secret: bytes) -> Callable[[bytes, bytes], bool]:
    keyed = hmac.HMAC(secret, hashes.SHA256())  # copying the keyed state costs half of keying it anew

    def check(message: bytes, signature: bytes) -> bool:
        mac = keyed.copy()
        mac.update(message)
        # The one canonical spelling of the full tag is compared, in constant time: no other spelling and no shorter
        # tag can be equal to it.
        return compare_digest(b64url_encode(mac.finalize()), signature)

    return check


def _asymmetric_check(alg: str, public: PublicKey) -> Callable[[bytes, bytes], bool]:
    algorithm, key = JWSRegistry.algorithms[alg], _joserfc_key(public)
    size = (public.key_size + 7) // 8 if isinstance(public, rsa.RSAPublicKey) else 64

    def check(message: bytes, signature: bytes) -> bool:
        try:
            raw = b64url_decode(signature)
        except ValueError:
            return False
        # One signature has one length: DER and cut or lengthened ones end here (RFC 7518, sections 3.3 and 3.4).
        if len(raw) != size:
            return False
        if alg == "ES256" and not _in_range_of_p256(raw):
            return False
        return algorithm.verify(message, raw, key)

    return check


def _in_range_of_p256(raw: bytes) -> bool:
    """Tell whether r and s are in 1..n-1: with zeros, a careless verifier accepts every message (CVE-2022-21449)."""
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    return 0 < r < _P256_ORDER and 0 < s < _P256_ORDER


def _joserfc_key(public: PublicKey) -> RSAKey | ECKey | OKPKey:
    if isinstance(public, rsa.RSAPublicKey):
        return RSAKey(public, public)
    if isinstance(public, ec.EllipticCurvePublicKey):
        return ECKey(public, public)
    return OKPKey(public, public)
