"""API keys as they are written, read and stored."""

import secrets
import zlib

import pytest

from limen.core.errors import ConfigurationError
from limen.core.ids import uuid7
from limen.crypto.api_keys import MAX_KEY, ApiKey, KeyHasher, new_secret, read_key

ONE, TWO = secrets.token_urlsafe(48), secrets.token_urlsafe(48)


def a_key(environment: str = "live") -> ApiKey:
    """Make a key."""
    return ApiKey(environment, uuid7(), new_secret())


def test_what_is_written_is_read() -> None:
    """A thousand keys come back as they were, and none is longer than the longest."""
    for _ in range(1000):
        key = a_key()
        text = key.text()
        assert text.startswith("lim_live_")
        assert len(text) <= MAX_KEY
        assert read_key(text.encode(), "live") == key


def test_a_secret_of_zeros_keeps_its_width() -> None:
    """Leading zeros are written: every key of an environment has the same length."""
    key = ApiKey("live", uuid7(), bytes(32))
    assert len(key.text()) == len(a_key().text())
    assert read_key(key.text().encode(), "live") == key


def test_every_changed_character_is_noticed() -> None:
    """The checksum is over all that stands before it: one wrong character anywhere is no key."""
    text = a_key().text()
    for at, character in enumerate(text):
        wrong = text[:at] + ("x" if character != "x" else "y") + text[at + 1 :]
        assert read_key(wrong.encode(), "live") is None, at


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"lim_",
        b"lim_live_",
        b"lim_live__",
        "lim_live_ключ".encode(),
        b"\xff" * 90,
        b"lim_live_" + b"0" * 100_000,
        b"lim_live_" + b"0" * 22 + b"_" + b"0" * 43 + b"000000",
        b"ghp_" + b"0" * 36,
    ],
)
def test_what_is_no_key(text: bytes) -> None:
    """Whatever bytes come, they are read as no key, and nothing is raised."""
    assert read_key(text, "live") is None


def _with_checksum(begin: str) -> bytes:
    number, digits = zlib.crc32(begin.encode()), ""
    for _ in range(6):
        number, value = divmod(number, 62)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[value] + digits
    return (begin + digits).encode()


def test_numbers_that_are_too_large_are_no_key() -> None:
    """Two texts never stand for one key: what is beyond 128 or 256 bits is refused, checksum or not."""
    good = a_key().text()
    identifier, secret = good.split("_")[2], good.split("_")[3][:-6]
    assert read_key(_with_checksum(f"lim_live_{identifier}_{secret}"), "live") is not None
    assert read_key(_with_checksum(f"lim_live_{'z' * 22}_{secret}"), "live") is None
    assert read_key(_with_checksum(f"lim_live_{identifier}_{'z' * 43}"), "live") is None


def test_truncated_and_extended_keys_are_none() -> None:
    """A part of a key, or a key with something behind it, is no key."""
    text = a_key().text().encode()
    for wrong in (text[:-1], text[1:], text + b"0", text + b"\n", b" " + text, text[:40]):
        assert read_key(wrong, "live") is None


def test_a_key_of_another_environment_is_none() -> None:
    """A key of the test installation is not tried in the live one."""
    assert read_key(a_key("test").text().encode(), "live") is None


def test_the_stored_form_is_not_the_key() -> None:
    """What is stored holds no part of the secret, and a representation shows none."""
    key = a_key()
    stored = KeyHasher([ONE]).hash(key)
    assert len(stored) == 32
    assert key.secret not in stored
    assert key.secret.hex() not in f"{key!r}"
    assert str(key.secret) not in f"{key!r}"


def test_a_key_survives_the_replacement_of_its_secret() -> None:
    """Made under the old secret it is known while that is still listed, and unknown afterwards."""
    key = a_key()
    old = KeyHasher([ONE])
    stored = old.hash(key)
    assert KeyHasher([TWO, ONE]).matches(key, old.kid, stored)
    assert KeyHasher([TWO, ONE]).kid != old.kid
    assert not KeyHasher([TWO]).matches(key, old.kid, stored)


def test_only_the_very_key_matches() -> None:
    """Another secret, another id with the same secret, nothing stored, and an unknown kid: no."""
    hasher, key = KeyHasher([ONE]), a_key()
    stored = hasher.hash(key)
    assert hasher.matches(key, hasher.kid, stored)
    assert not hasher.matches(ApiKey("live", key.id, new_secret()), hasher.kid, stored)
    assert not hasher.matches(ApiKey("live", uuid7(), key.secret), hasher.kid, stored)
    assert not hasher.matches(key, None, None)
    assert not hasher.matches(key, hasher.kid, None)
    assert not hasher.matches(key, "unknown", stored)


@pytest.mark.parametrize("wrong", [[], ["short"]])
def test_a_weak_secret_makes_no_hasher(wrong: list[str]) -> None:
    """Without a secret, or with one that is too short, there are no keys."""
    with pytest.raises(ConfigurationError):
        KeyHasher(wrong)
