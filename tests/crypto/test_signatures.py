"""Facts about signatures: the right one verifies, and nothing that only looks like one."""

import copy
import hashlib
import pickle

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from limen.crypto.keys import KeySet, SigningKey
from tests.crypto.hostile_tokens import SECRET, b64
from tests.crypto.test_keys import ALGORITHMS, EC_KEY, MESSAGE, RSA_KEY, signature, signing_key

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def hostile_signatures(alg: str) -> dict[str, bytes]:
    """Signatures that are not the one signature, after Project Wycheproof's classes."""
    good = signature(alg)
    other = signature(alg, b"another message")
    cases = {
        "empty": b"", "one-byte": b"\0", "zeros": bytes(len(good)), "ones": b"\xff" * len(good), "cut": good[:-1],
        "one-more": good + b"\0", "zero-in-front": b"\0" + good, "doubled": good + good, "of-another-message": other,
        "one-bit": good[:-1] + bytes([good[-1] ^ 1]), "reversed": good[::-1], "text": b64(good).encode(),
        "long": good * 100,
    }  # fmt: skip
    return cases | {"ES256": _hostile_ecdsa, "EdDSA": _hostile_eddsa, "RS256": _hostile_rsa}[alg](good)


def _hostile_ecdsa(good: bytes) -> dict[str, bytes]:
    r, s = good[:32], good[32:]
    zero, one, order = bytes(32), (1).to_bytes(32, "big"), P256_ORDER.to_bytes(32, "big")
    r_number, s_number = int.from_bytes(r, "big"), int.from_bytes(s, "big")
    p1363_384 = b"\0" * 16 + r + b"\0" * 16 + s
    return {
        "der": utils.encode_dss_signature(r_number, s_number), "der-zeros": utils.encode_dss_signature(0, 0),
        "r-0": zero + s, "s-0": r + zero, "r-0-s-0": zero + zero, "r-0-s-1": zero + one, "r-1-s-0": one + zero,
        "r-n": order + s, "s-n": r + order, "r-n-s-n": order + order, "r-n-s-0": order + zero, "r-1-s-1": one + one,
        "swapped": s + r, "r-only": r, "r-and-n": good[:32] + (P256_ORDER - 1).to_bytes(32, "big"),
        "96-bytes": p1363_384,
        "r-minus": (P256_ORDER - r_number).to_bytes(32, "big") + s, "63-bytes": good[1:],
        "sha-384": _raw(EC_KEY.sign(MESSAGE, ec.ECDSA(hashes.SHA384()))),
    }  # fmt: skip


def _raw(der: bytes) -> bytes:
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _hostile_eddsa(good: bytes) -> dict[str, bytes]:
    point, number = good[:32], int.from_bytes(good[32:], "little")
    identity = (1).to_bytes(32, "little")
    return {
        "s-plus-l": point + (number + ED25519_ORDER).to_bytes(32, "little"),
        "s-l": point + ED25519_ORDER.to_bytes(32, "little"),
        "s-plus-2l": point + (number + 2 * ED25519_ORDER).to_bytes(32, "little"), "s-0": point + bytes(32),
        "identity-and-0": identity + bytes(32), "high-bit-of-s": good[:63] + bytes([good[63] | 0x80]),
        "r-not-canonical": (2**255 - 18).to_bytes(32, "little") + bytes(32),
        "sign-of-r": good[:31] + bytes([good[31] ^ 0x80]) + good[32:],
        "s-first": good[32:] + good[:32],
    }  # fmt: skip


def _hostile_rsa(good: bytes) -> dict[str, bytes]:
    modulus = RSA_KEY.public_key().public_numbers().n
    number = int.from_bytes(good, "big")
    digest = hashlib.sha256(MESSAGE).digest()
    return {
        "pss": RSA_KEY.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
        "sha-1": RSA_KEY.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303
        "sha-512": RSA_KEY.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA512()),
        "plus-modulus": (number + modulus).to_bytes(257, "big"), "modulus": modulus.to_bytes(256, "big"),
        "minus": (modulus - number).to_bytes(256, "big"), "one": (1).to_bytes(256, "big"),
        "padded-message": b"\0\1" + b"\xff" * 221 + b"\0" + digest, "digest": digest,
        "two-zeros-in-front": b"\0\0" + good,
    }  # fmt: skip


class TestSignatures:
    @pytest.mark.parametrize("alg", ALGORITHMS)
    def test_the_right_one(self, alg: str) -> None:
        """A signature made with the cryptography library alone verifies, and again."""
        key = signing_key(alg).verification_key
        text = b64(signature(alg)).encode()
        assert key.verifies(MESSAGE, text)
        assert key.verifies(MESSAGE, text)
        assert not key.verifies(MESSAGE + b"A", text)

    @pytest.mark.parametrize(
        ("alg", "name"), [(alg, name) for alg in ALGORITHMS for name in hostile_signatures(alg)], ids=str
    )
    def test_every_hostile_one(self, alg: str, name: str) -> None:
        """DER, zeros, numbers out of range, other lengths, other paddings and hashes: refused, without an exception."""
        assert not signing_key(alg).verification_key.verifies(MESSAGE, b64(hostile_signatures(alg)[name]).encode())

    @pytest.mark.parametrize("alg", ALGORITHMS)
    @pytest.mark.parametrize("change", ["=", "==", "\n", " ", ".", "A", "+"])
    def test_one_spelling(self, alg: str, change: str) -> None:
        """A signature has one spelling in base64url."""
        assert not signing_key(alg).verification_key.verifies(MESSAGE, (b64(signature(alg)) + change).encode())

    def test_loose_bits(self) -> None:
        """Bits that no byte uses are zero: the last letter cannot be varied."""
        text = b64(signature("EdDSA"))
        key = signing_key("EdDSA").verification_key
        accepted = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if key.verifies(
            MESSAGE, (text[:-1] + c).encode())]  # fmt: skip
        assert accepted == [text[-1]]

    def test_rsa_signature_that_begins_with_zero(self) -> None:
        """Such a signature keeps its zero: with it stripped it is refused (RFC 8017, section 8.2.2)."""
        key = signing_key("RS256").verification_key
        tried = (MESSAGE + str(number).encode() for number in range(20_000))
        message, made = next((m, s) for m in tried if (s := signature("RS256", m))[0] == 0)
        assert key.verifies(message, b64(made).encode())
        assert not key.verifies(message, b64(made.lstrip(b"\0")).encode())

    def test_another_key_of_the_kind(self) -> None:
        """A signature verifies under its own key only."""
        for alg in ALGORITHMS[:2]:
            other = SigningKey.generate(alg).verification_key
            assert not other.verifies(MESSAGE, b64(signature(alg)).encode())

    def test_copies(self) -> None:
        """A copy of a key is the key itself, and none is pickled: it would be written down somewhere."""
        for value in (signing_key("ES256"), SigningKey.from_secret(SECRET), KeySet.of_secrets(SECRET)):
            assert copy.copy(value) is copy.deepcopy(value) is value
            with pytest.raises(TypeError, match="pickled"):
                pickle.dumps(value)
