"""Facts about keys: which are refused, what a set refuses, and which signatures do not verify."""

import base64
import hmac
import logging
from typing import cast

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

from limen.core.errors import ConfigurationError
from limen.crypto.keys import AsymmetricAlgorithm, KeySet, PrivateKey, SigningKey, VerificationKey, key_id
from tests.crypto.hostile_tokens import SECRET, b64, kid_of

MESSAGE = b"eyJ0eXAiOiJhdCtqd3QifQ.e30"

EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
RSA_KEY = rsa.generate_private_key(65537, 2048)
PRIVATE: dict[str, PrivateKey] = {"ES256": EC_KEY, "EdDSA": ED_KEY, "RS256": RSA_KEY}
ALGORITHMS: list[AsymmetricAlgorithm] = ["ES256", "EdDSA", "RS256"]


def signing_key(alg: str, kid: str = "k1") -> SigningKey:
    """Return the key of this module for the algorithm."""
    return SigningKey(kid, cast(AsymmetricAlgorithm, alg), PRIVATE[alg])


def jwk(kind: str, /, **members: object) -> dict[str, object]:
    """Return its public JWK, changed; `...` leaves a member out."""
    made = signing_key(kind).verification_key.public_jwk()
    assert made is not None
    return {name: value for name, value in (made | members).items() if value is not ...}


def signature(alg: str, message: bytes = MESSAGE) -> bytes:
    """A signature made with the cryptography library alone."""
    if alg == "ES256":
        r, s = utils.decode_dss_signature(EC_KEY.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    if alg == "EdDSA":
        return ED_KEY.sign(message)
    return RSA_KEY.sign(message, padding.PKCS1v15(), hashes.SHA256())


class TestSecrets:
    def test_kid(self) -> None:
        """The id of a secret is what RFC 5869 gives for it, written out in the test."""
        assert key_id(SECRET) == kid_of(SECRET) == SigningKey.from_secret(SECRET.decode()).kid
        assert key_id(SECRET) != key_id(SECRET + b"x")

    @pytest.mark.parametrize("secret", [b"", b"x" * 16, b"x" * 31, "x" * 31])
    def test_short_secrets(self, secret: str | bytes) -> None:
        """An HMAC key shorter than the hash is refused (RFC 7518, section 3.2)."""
        with pytest.raises(ConfigurationError, match="32 bytes"):
            SigningKey.from_secret(secret)

    def test_the_shortest_secret(self) -> None:
        """32 bytes are enough; letters of two bytes count twice."""
        assert SigningKey.from_secret(b"0123456789abcdef" * 2).alg == "HS256"
        assert SigningKey.from_secret("äöüß" * 4).alg == "HS256"

    def test_a_key_file_is_no_secret(self) -> None:
        """A public key is never taken as an HMAC secret: everybody has it."""
        pem = EC_KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        ssh = ED_KEY.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        for text in (pem, b"\n" + pem, ssh):
            with pytest.raises(ConfigurationError, match="key file"):
                SigningKey.from_secret(text)

    def test_rfc_7515_example(self) -> None:
        """The HS256 example of RFC 7515, appendix A.1, verifies."""
        secret = base64.urlsafe_b64decode(
            "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
        )
        signed = (
            b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
            b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        )
        key = SigningKey.from_secret(secret).verification_key
        assert key.verifies(signed, b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        assert not key.verifies(signed, b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl")

    @pytest.mark.parametrize("size", range(32))
    def test_cut_tags(self, size: int) -> None:
        """A tag that is right as far as it goes is not enough."""
        tag = hmac.digest(SECRET, MESSAGE, "sha256")
        key = SigningKey.from_secret(SECRET).verification_key
        assert key.verifies(MESSAGE, b64(tag).encode())
        assert not key.verifies(MESSAGE, b64(tag[:size]).encode())


class TestWeakKeys:
    def test_short_rsa(self) -> None:
        """RSA keys under 2048 bits are refused (RFC 7518, section 3.3), also with a modulus one bit short."""
        with pytest.raises(ConfigurationError, match="2048"):
            SigningKey("k", "RS256", rsa.generate_private_key(65537, 1024))  # noqa: S505 - what is tested
        modulus = (1 << 2046) | 1
        with pytest.raises(ConfigurationError):
            VerificationKey.from_jwk(jwk("RS256", n=b64(modulus.to_bytes(256, "big").lstrip(b"\0"))))

    @pytest.mark.parametrize("size", [8_200, 16_384, 65_536])
    def test_rsa_that_stalls(self, size: int) -> None:
        """A modulus of many thousand bits would make each verification slow, so it is refused."""
        modulus = (1 << (size - 1)) | 1
        with pytest.raises(ConfigurationError):
            VerificationKey.from_jwk(jwk("RS256", n=b64(modulus.to_bytes(size // 8, "big"))))

    def test_rsa_below_advice_warns(self, caplog: pytest.LogCaptureFixture) -> None:
        """2048 bits work and are logged as short; 3072, which limen makes itself, are not."""
        with caplog.at_level(logging.WARNING, "limen.crypto.keys"):
            signing_key("RS256")
            assert [record.message for record in caplog.records] == ["rsa_key_short"]
            caplog.clear()
            assert SigningKey.generate("RS256").kid
            assert caplog.records == []

    @pytest.mark.parametrize("exponent", [0, 1, 2, 3, 17, 65535, 65536, 65538, 2**256 + 1])
    def test_rsa_exponents(self, exponent: int) -> None:
        """With the exponent 1 every message is its own signature; small, even and huge ones are refused as well."""
        e = exponent.to_bytes(max(1, (exponent.bit_length() + 7) // 8), "big")
        with pytest.raises(ConfigurationError):
            VerificationKey.from_jwk(jwk("RS256", e=b64(e)))

    def test_even_modulus(self) -> None:
        """A modulus that two divides is no RSA modulus."""
        modulus = RSA_KEY.public_key().public_numbers().n - 1
        with pytest.raises(ConfigurationError):
            VerificationKey.from_jwk(jwk("RS256", n=b64(modulus.to_bytes(256, "big"))))

    @pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()], ids=lambda curve: curve.name)
    def test_other_curves(self, curve: ec.EllipticCurve) -> None:
        """ES256 is P-256 and nothing else (RFC 7518, section 3.4)."""
        with pytest.raises(ConfigurationError, match="P-256"):
            SigningKey("k", "ES256", ec.generate_private_key(curve))

    def test_each_algorithm_takes_its_own_keys_only(self) -> None:
        """A key of another kind, a secret for a public algorithm, or an unknown algorithm is refused."""
        for alg in ("HS256", "RS256", "ES256", "EdDSA", "none", "HS512", ""):
            for other, private in PRIVATE.items():
                if alg != other:
                    with pytest.raises(ConfigurationError):
                        SigningKey("k", alg, private)  # type: ignore[arg-type]
            if alg != "HS256":
                with pytest.raises(ConfigurationError):
                    VerificationKey("k", alg, SECRET)  # type: ignore[arg-type]
        for thing in (ed448.Ed448PrivateKey.generate(), EC_KEY.public_key(), "text", None):
            with pytest.raises(ConfigurationError):
                SigningKey("k", "EdDSA", thing)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "encoded",
        [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        ],
    )
    def test_points_of_small_order(self, encoded: str) -> None:
        """Under these eight Ed25519 points one signature fits many messages: no key is made of them."""
        with pytest.raises(ConfigurationError, match="sound point"):
            VerificationKey.from_jwk(jwk("EdDSA", x=b64(bytes.fromhex(encoded))))

    @pytest.mark.parametrize(
        "encoded",
        [
            (2**255 - 19).to_bytes(32, "little"),
            (2**255 - 18).to_bytes(32, "little"),
            b"\xff" * 32,
            (1 | 1 << 255).to_bytes(32, "little"),
            (2).to_bytes(32, "little"),
        ],
        ids=["y-is-p", "y-is-p-plus-1", "all-ones", "minus-zero", "not-on-the-curve"],
    )
    def test_bytes_that_are_no_ed25519_point(self, encoded: bytes) -> None:
        """Other spellings of a point, and what is not on the curve, are refused (RFC 8032, section 5.1.3)."""
        with pytest.raises(ConfigurationError, match="sound point"):
            VerificationKey.from_jwk(jwk("EdDSA", x=b64(encoded)))

    def test_sound_ed25519_points_are_taken(self) -> None:
        """The check refuses no honest key."""
        for _ in range(20):
            assert SigningKey.generate("EdDSA").verification_key.alg == "EdDSA"


class TestJwk:
    @pytest.mark.parametrize("alg", ALGORITHMS)
    def test_there_and_back(self, alg: AsymmetricAlgorithm) -> None:
        """What is published verifies what was signed, and holds nothing private (RFC 7517, section 9.3)."""
        published = jwk(alg)
        assert set(published) <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"}
        assert (published["kid"], published["alg"], published["use"]) == ("k1", alg, "sig")
        assert VerificationKey.from_jwk(published).verifies(MESSAGE, b64(signature(alg)).encode())

    @pytest.mark.parametrize(
        ("alg", "change"),
        [
            ("ES256", {"x": b64(bytes(32))}), ("ES256", {"y": b64(b"\1" * 32)}), ("ES256", {"x": b64(b"\xff" * 32)}),
            ("ES256", {"x": b64(b"\1" * 31)}), ("ES256", {"x": b64(b"\0" + b"\1" * 32)}), ("ES256", {"y": ...}),
            ("ES256", {"crv": "P-384"}), ("ES256", {"crv": "secp256k1"}), ("ES256", {"crv": None}),
            ("ES256", {"kty": "OKP"}),
            ("ES256", {"kty": "oct", "k": "AAAA"}), ("ES256", {"d": "AAAA"}), ("ES256", {"use": "enc"}),
            ("ES256", {"alg": ...}),
            ("ES256", {"alg": "HS256"}), ("ES256", {"alg": "RS256"}), ("ES256", {"alg": ["ES256"]}),
            ("ES256", {"kid": ...}),
            ("ES256", {"kid": ""}), ("ES256", {"kid": 1}), ("ES256", {"kid": "a b"}), ("ES256", {"x": 1}),
            ("ES256", {"x": None}),
            ("EdDSA", {"crv": "X25519"}), ("EdDSA", {"crv": "Ed448"}), ("EdDSA", {"x": b64(b"\1" * 31)}),
            ("EdDSA", {"x": "é"}),
            ("EdDSA", {"d": "AAAA"}), ("RS256", {"n": ...}), ("RS256", {"e": ...}), ("RS256", {"e": "AAEAAQ"}),
            ("RS256", {"e": "AQAB=="}),
            ("RS256", {"n": ""}), ("RS256", {"p": "AAAA"}), ("RS256", {"crv": "P-256"}),
        ],
        ids=str,
    )  # fmt: skip
    def test_keys_that_others_send_are_checked(self, alg: str, change: dict[str, object]) -> None:
        """Points off the curve, wrong sizes, other spellings, private or symmetric keys, members that do not fit."""
        with pytest.raises(ConfigurationError):
            VerificationKey.from_jwk(jwk(alg, **change))

    def test_coordinates_have_their_size(self) -> None:
        """A byte moved from x to y spells the same 64 bytes, and is refused (RFC 7518, section 6.2.1.2)."""
        numbers = EC_KEY.public_key().public_numbers()
        both = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        assert VerificationKey.from_jwk(jwk("ES256", x=b64(both[:32]), y=b64(both[32:]))).alg == "ES256"
        for size in (31, 33):
            with pytest.raises(ConfigurationError):
                VerificationKey.from_jwk(jwk("ES256", x=b64(both[:size]), y=b64(both[size:])))

    def test_rfc_8037_example(self) -> None:
        """The Ed25519 key of RFC 8037, appendix A, has the thumbprint and the signature that stand there."""
        seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
        pem = ed25519.Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key = SigningKey.from_pem(pem, "EdDSA")
        assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        assert key.verification_key.verifies(
            b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            b"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        )

    def test_rfc_7515_es256_example(self) -> None:
        """The ES256 example of RFC 7515, appendix A.3, verifies."""
        key = VerificationKey.from_jwk(
            {
                "kty": "EC", "crv": "P-256", "kid": "a3", "alg": "ES256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }
        )  # fmt: skip
        assert key.verifies(
            b"eyJhbGciOiJFUzI1NiJ9"
            b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            b"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        )


class TestKeySet:
    def test_secrets_and_public_keys_do_not_mix(self) -> None:
        """HS256 beside a public algorithm does not start: a public key could be taken for a secret."""
        for alg in ALGORITHMS:
            with pytest.raises(ConfigurationError, match="together"):
                KeySet([SigningKey.from_secret(SECRET), signing_key(alg)])

    def test_public_algorithms_may_stand_together(self) -> None:
        """A move from RS256 to ES256 needs both for a while: each key still has one algorithm."""
        keys = KeySet([signing_key(alg, kid=alg) for alg in ALGORITHMS])
        assert [key.alg for key in keys] == ALGORITHMS
        assert (len(keys), "ES256" in keys, "other" in keys, keys.get("other")) == (3, True, False, None)

    def test_ids_are_unique(self) -> None:
        """Two keys with one id are refused."""
        with pytest.raises(ConfigurationError, match="id"):
            KeySet([signing_key("ES256"), signing_key("EdDSA")])

    def test_a_set_is_not_empty(self) -> None:
        """No key, no set: it would refuse everything, and only at night."""
        with pytest.raises(ConfigurationError):
            KeySet([])

    def test_secrets_of_a_rotation(self) -> None:
        """The accepted secrets stand beside the current one, which may be named among them."""
        other = b"another secret of tests that is long enough"
        keys = KeySet.of_secrets(SECRET, [other, SECRET.decode()])
        assert {key.kid for key in keys} == {kid_of(SECRET), kid_of(other)}

    def test_published(self) -> None:
        """Secrets are never published; public keys are, without their private half."""
        assert KeySet.of_secrets(SECRET).public_jwks() == {"keys": []}
        published = KeySet([signing_key(alg, kid=alg) for alg in ALGORITHMS]).public_jwks()["keys"]
        assert [key["kid"] for key in published] == ALGORITHMS
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & {name for key in published for name in key}

    def test_nothing_shows_or_changes(self) -> None:
        """Neither repr nor str show a key, and no attribute can be set anew."""
        secret = SigningKey.from_secret(SECRET)
        for value in (secret, secret.verification_key, KeySet([secret]), signing_key("RS256"), signing_key("ES256")):
            shown = f"{value!r} {value!s}"
            assert SECRET.decode() not in shown
            assert "0x" not in shown
            with pytest.raises(AttributeError):
                value.kid = "other"
        assert kid_of(SECRET) in repr(KeySet([secret]))


class TestKeyFiles:
    @pytest.mark.parametrize("alg", ALGORITHMS)
    def test_there_and_back(self, alg: AsymmetricAlgorithm) -> None:
        """A key that was written to a file is the same key when it is read, with the same id."""
        key = SigningKey.generate(alg) if alg != "RS256" else signing_key(alg)
        read = SigningKey.from_pem(key.private_pem_in_the_clear(), alg)
        assert read.verification_key.public_jwk() == (key.verification_key.public_jwk() or {}) | {"kid": read.kid}
        assert len(read.kid) == 43

    def test_files_that_hold_no_key_for_it(self) -> None:
        """No key, a public key, a key for another algorithm, an encrypted one without its password."""
        pem = signing_key("ES256").private_pem_in_the_clear()
        locked = EC_KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
        )
        public = EC_KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        x448 = ed448.Ed448PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for text, alg in (
            (b"", "ES256"),
            (b"x", "ES256"),
            (public, "ES256"),
            (locked, "ES256"),
            (pem, "RS256"),
            (x448, "EdDSA"),
        ):
            with pytest.raises(ConfigurationError):
                SigningKey.from_pem(text, cast(AsymmetricAlgorithm, alg))
        assert SigningKey.from_pem(locked, "ES256", password=b"pw").alg == "ES256"

    def test_secrets_are_no_files(self) -> None:
        """A secret is neither generated nor written by limen's keys: it is a setting."""
        with pytest.raises(ConfigurationError):
            SigningKey.generate("HS256")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            SigningKey.from_secret(SECRET).private_pem_in_the_clear()
