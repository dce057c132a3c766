"""Facts about the secret parts of refresh tokens: the derivation is computed a second time here, by hand."""

import hashlib
import hmac
import struct

import pytest

from limen.core.errors import ConfigurationError
from limen.crypto.refresh import RefreshKeys, new_nonce, new_secret, secret_hash, secret_of_text, secret_text
from tests.crypto.hostile_tokens import ISSUER, SECRET, SID, b64, kid_of

NEXT_SECRET = b"the next refresh secret of tests, long enough"
NONCE = bytes(range(16))
PARENT = bytes(range(100, 132))


def hkdf_by_hand(secret: bytes, info: bytes) -> bytes:
    """RFC 5869, sections 2.2 and 2.3, one block: an empty salt is as many zeros as the hash is long."""
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def successor_by_hand(secret: bytes, issuer: str, sid: str, generation: int, nonce: bytes, parent: bytes) -> bytes:
    """The derivation, written out with the standard library only."""
    fields = [b"limen/rt/succ/1", issuer.encode(), sid.encode(), struct.pack(">Q", generation), nonce, parent]
    message = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    return hmac.new(hkdf_by_hand(secret, b"limen/rt/derive/1"), message, hashlib.sha256).digest()


def keys() -> RefreshKeys:
    """Two secrets, the first one current."""
    return RefreshKeys(SECRET.decode(), [NEXT_SECRET.decode()])


def derive(**changes: object) -> bytes | None:
    """Derive with the arguments of these tests, changed."""
    arguments: dict[str, object] = {
        "kid": kid_of(SECRET), "issuer": ISSUER, "sid": SID, "generation": 1, "nonce": NONCE, "parent": PARENT,
    } | changes  # fmt: skip
    return keys().derive(arguments.pop("kid"), **arguments)  # type: ignore[arg-type]


class TestDerivation:
    @pytest.mark.parametrize("generation", [1, 2, 255, 256, 2**32, 2**63 - 1])
    def test_by_hand(self, generation: int) -> None:
        """A successor is the HMAC that the design prescribes, under the sub-key that RFC 5869 gives."""
        for secret in (SECRET, NEXT_SECRET):
            expected = successor_by_hand(secret, ISSUER, SID, generation, NONCE, PARENT)
            assert derive(kid=kid_of(secret), generation=generation) == expected

    def test_fixed_vectors(self) -> None:
        """These values never change: a rolling upgrade restates tokens that the old version made."""
        assert kid_of(SECRET) == keys().current_kid == "0sK8aCg4"
        assert (
            hkdf_by_hand(SECRET, b"limen/rt/derive/1").hex()
            == "1c9383e27feeca3362074436a385e5040cc41fc9ab03fdc581df82b155ea1343"
        )
        assert (derive() or b"").hex() == "9bff4fe1aab0f374b9c3a06eac02ee4eb5d047c0226d37f4f3d5d8c65fdf432c"
        assert (
            derive(generation=57) or b""
        ).hex() == "3c06a23e5b0f3766bd5f7c07031321f4734b926ade602af46d83e795fc15060f"

    def test_rfc_5869_by_hand(self) -> None:
        """The hand-written HKDF of this test is right: RFC 5869, appendix A.3 (empty salt and info), first 32 bytes."""
        assert (
            hkdf_by_hand(b"\x0b" * 22, b"").hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        )

    def test_every_part_counts(self) -> None:
        """Another issuer, session, generation, nonce, parent or secret gives another successor."""
        made = {
            derive(), derive(issuer=ISSUER + "x"), derive(sid=SID[:-1] + "9"), derive(generation=2),
            derive(nonce=bytes(16)),
            derive(parent=bytes(32)), derive(kid=kid_of(NEXT_SECRET)),
        }  # fmt: skip
        assert len(made) == 7
        assert None not in made

    def test_fields_do_not_run_together(self) -> None:
        """Moving letters from one field to the next changes the result: each field has its length in front."""
        assert derive(issuer="ab", sid="cd") != derive(issuer="abc", sid="d")

    def test_it_is_not_the_signature(self) -> None:
        """The signing secret itself is not the derivation key: a signature tells nothing about successors."""
        fields = [b"limen/rt/succ/1", ISSUER.encode(), SID.encode(), struct.pack(">Q", 1), NONCE, PARENT]
        message = b"".join(struct.pack(">I", len(field)) + field for field in fields)
        assert derive() != hmac.digest(SECRET, message, "sha256")

    def test_unknown_kid(self) -> None:
        """Where the secret is not known there is no successor: the caller refuses and ends nothing."""
        assert derive(kid="unknown1") is None
        assert derive(kid="") is None

    @pytest.mark.parametrize(
        "change",
        [{"nonce": b""}, {"nonce": bytes(15)}, {"parent": b""}, {"parent": bytes(31)}, {"parent": bytes(33)},
        {"generation": 0},
         {"generation": -1}, {"generation": 2**64}],
        ids=str,
    )  # fmt: skip
    def test_sizes(self, change: dict[str, object]) -> None:
        """A nonce, a parent or a generation of the wrong size is a mistake in the program, and is not derived from."""
        with pytest.raises(ValueError, match="16 bytes"):
            derive(**change)

    def test_again_and_again(self) -> None:
        """The same call gives the same bytes: that is what restating a lost answer rests on."""
        same = keys()
        made = {
            same.derive(same.current_kid, issuer=ISSUER, sid=SID, generation=9, nonce=NONCE, parent=PARENT)
            for _ in range(50)
        }
        assert len(made) == 1


class TestRotationOfTheSecret:
    def test_both_secrets_derive_and_verify(self) -> None:
        """The current secret signs; the accepted ones verify and derive, by their id."""
        both = keys()
        assert both.current_kid == both.signing_key.kid == kid_of(SECRET)
        assert {key.kid for key in both.key_set} == {kid_of(SECRET), kid_of(NEXT_SECRET)}
        switched = RefreshKeys(NEXT_SECRET, [SECRET])
        assert switched.current_kid == kid_of(NEXT_SECRET)
        arguments = {"issuer": ISSUER, "sid": SID, "generation": 2, "nonce": NONCE, "parent": PARENT}
        for kid in (kid_of(SECRET), kid_of(NEXT_SECRET)):
            assert switched.derive(kid, **arguments) == both.derive(kid, **arguments)  # type: ignore[arg-type]

    def test_the_current_secret_may_be_accepted_too(self) -> None:
        """The same secret in both settings counts once."""
        assert len(RefreshKeys(SECRET, [SECRET, NEXT_SECRET, SECRET]).key_set) == 2

    def test_accepted_secrets_may_come_from_a_generator(self) -> None:
        """The accepted secrets are looked at once."""
        assert len(RefreshKeys(SECRET, (secret for secret in [NEXT_SECRET])).key_set) == 2

    def test_short_secrets(self) -> None:
        """A short secret is refused in either place."""
        for current, accepted in ((b"short", [SECRET]), (SECRET, [b"short"])):
            with pytest.raises(ConfigurationError):
                RefreshKeys(current, accepted)

    def test_nothing_shows(self) -> None:
        """The repr tells ids only."""
        assert SECRET.decode() not in repr(keys())
        assert kid_of(SECRET) in repr(keys())


class TestSecretParts:
    def test_new_ones(self) -> None:
        """32 bytes and 16 bytes from the operating system, never the same twice."""
        assert {len(new_secret()) for _ in range(100)} == {32}
        assert {len(new_nonce()) for _ in range(100)} == {16}
        assert len({new_secret() for _ in range(1000)} | {new_nonce() for _ in range(1000)}) == 2000

    def test_what_the_row_keeps(self) -> None:
        """The row keeps the SHA-256 of the secret part."""
        assert secret_hash(PARENT) == hashlib.sha256(PARENT).digest()

    def test_text(self) -> None:
        """A secret part is 43 characters of base64url, there and back."""
        assert secret_text(PARENT) == b64(PARENT)
        assert len(secret_text(PARENT)) == 43
        assert secret_of_text(secret_text(PARENT)) == PARENT

    @pytest.mark.parametrize(
        "text", ["", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "é" * 43, "A" * 41 + ". "]
    )
    def test_other_texts(self, text: str) -> None:
        """What is not the one spelling of 32 bytes is refused."""
        with pytest.raises(ValueError, match=r"base64url|32 bytes"):
            secret_of_text(text)

    def test_other_sizes(self) -> None:
        """What has not 32 bytes is no secret part."""
        with pytest.raises(ValueError, match="32"):
            secret_text(bytes(31))
