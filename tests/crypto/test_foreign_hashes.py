"""Hashes of other software.

``foreign_hashes.json`` was made by that software itself: by the hashers of Django 5.2.19 (``encode(password, salt())``,
with fewer rounds), passlib 1.7.4 with bcrypt 4.0.1 (``using(…).hash(password)``), pwdlib 0.3.1 (what fastapi-users
hashes by), and on Node.js 20 by bcrypt 6.0.0 and bcryptjs 3.0.3 (``hashSync(password, 5)``), ``crypto.scryptSync``
and ``crypto.pbkdf2Sync`` with the lengths and the JSON of Keycloak. Each row: who made it, the
password, what is stored.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import pytest

from limen.core.errors import Unavailable
from limen.crypto import foreign_hashes
from limen.crypto.foreign_hashes import MARK, RefusedHash, as_imported, foreign_hash
from limen.crypto.passwords import PasswordHasher, Verification

MADE = json.loads(Path(__file__).with_name("foreign_hashes.json").read_text())
HASHES: list[tuple[str, str, str]] = [tuple(each) for each in MADE["hashes"]]
REFUSED: list[tuple[str, str, str]] = [tuple(each) for each in MADE["refused"]]
HASHER = PasswordHasher("bcrypt", bcrypt_cost=4)
YES, NO = Verification(matches=True, outdated=True), Verification(matches=False, outdated=False)

SALT, KEY = "c2FsdHNhbHQ", "MDEyMzQ1Njc4OWFiY2RlZg"
NODES = [each for each in HASHES if each[0].startswith("bcrypt")]


@pytest.mark.parametrize("made", HASHES, ids=[f"{number}-{each[0]}" for number, each in enumerate(HASHES)])
def test_what_others_made_verifies(made: tuple[str, str, str]) -> None:
    """The right password opens each, as it was typed there; a wrong one does not; and it is to be hashed anew."""
    _, password, text = made
    stored = as_imported(text)
    assert stored.startswith(MARK)
    assert HASHER.verify(password, stored) == YES
    assert HASHER.verify("x" + password[1:], stored) == NO


def test_a_password_of_node_counts_up_to_72_bytes() -> None:
    """Node cut it there: what follows did not count, and does not until the hash is limen's own; then it does."""
    long = [(password, text) for _, password, text in NODES if len(password) > 72]
    assert len(long) == 2
    for password, text in long:
        assert HASHER.verify(password[:72] + "another end", as_imported(text)) == YES
        assert HASHER.verify("x" + password[1:], as_imported(text)) == NO
        assert HASHER.verify(password, text) == NO, "without the marker nothing is cut"
    own = HASHER.hash(long[0][0])
    assert not HASHER.verify(long[0][0][:72] + "another end", own).matches


@pytest.mark.parametrize("made", REFUSED, ids=[f"{number}-{each[0]}" for number, each in enumerate(REFUSED)])
def test_what_others_made_badly_is_refused(made: tuple[str, str, str]) -> None:
    """md5crypt and a salted MD5 are called weak, other crypts unknown; nothing quotes them."""
    with pytest.raises(RefusedHash) as refused:
        as_imported(made[2])
    assert refused.value.code == ("hash_weak" if made[2].startswith(("$1$", "md5$")) else "hash_unknown")
    assert made[2] not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("$1$abcdefgh$G//4keteveJp0qb8z2DxG/", "hash_weak"),
        ("$apr1$abcdefgh$G//4keteveJp0qb8z2DxG/", "hash_weak"),
        ("5f4dcc3b5aa765d61d8327deb882cf99", "hash_weak"),
        ("{SSHA}MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=", "hash_weak"),
        ("sha1$salt$0123456789012345678901234567890123456789", "hash_weak"),
        (f"$pbkdf2-sha256$i=999${SALT}${KEY}", "hash_weak"),
        (f"$pbkdf2-sha256$i=2000$c2FsdA${KEY}", "hash_weak"),
        (f"$scrypt$ln=4,r=8,p=1${SALT}${KEY}", "hash_weak"),
        ("a password", "hash_unknown"),
        ("", "hash_unknown"),
        ("$6$rounds=5000$salt$abc", "hash_unknown"),
        ("x" * 10_000, "hash_unknown"),
        ("$2b$15$" + "." * 53, "hash_too_costly"),
        (f"$pbkdf2-sha256$i=5000001${SALT}${KEY}", "hash_too_costly"),
        (f"$pbkdf2-sha512$i=4999999${SALT}${KEY}", "hash_too_costly"),
        (f"$argon2id$v=19$m=1048577,t=1,p=1${SALT}${KEY}", "hash_too_costly"),
        (f"$argon2id$v=19$m=1048576,t=20,p=1${SALT}${KEY}", "hash_too_costly"),
        (f"$argon2id$v=19$m=2040,t=2000,p=255${SALT}${KEY}", "hash_too_costly"),
        (f"$argon2id$v=19$m=16,t=99999,p=2${SALT}${KEY}", "hash_too_costly"),
        (f"$scrypt$ln=21,r=8,p=1${SALT}${KEY}", "hash_too_costly"),
        (f"$scrypt$ln=99,r=999,p=999${SALT}${KEY}", "hash_too_costly"),
        (f"scrypt$1048576$saltsalt$8$200${KEY}", "hash_too_costly"),
        ("$2b$03$" + "." * 53, "hash_malformed"),
        ("$2b$05$tooshort", "hash_malformed"),
        (f"$pbkdf2-sha256$i=2000${SALT}$a", "hash_malformed"),
        (f"scrypt$1000$saltsalt$8$1${KEY}", "hash_malformed"),
        (f"$argon2id$v=19$m=7,t=1,p=1${SALT}${KEY}", "hash_malformed"),
    ],
)
def test_each_refusal_has_its_reason(text: str, code: str) -> None:
    """Weak, unknown, too costly or damaged: told by a code, before anything is computed."""
    with pytest.raises(RefusedHash) as refused:
        as_imported(text)
    assert refused.value.code == code
    assert foreign_hash(MARK + text) is None


@pytest.mark.parametrize("stored", [MARK, MARK + "$2b$31$" + "." * 53, MARK + MARK + "$2b$05$" + "." * 53])
def test_a_damaged_row_is_a_no_that_costs_a_hash(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the database and cannot be read verifies nothing, and the answer takes as long as any."""
    costs = _bcrypts(monkeypatch)
    assert HASHER.verify("a password", stored) == NO
    assert costs == [4]


def _bcrypts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the cost of each bcrypt that is computed from now on."""
    costs: list[int] = []
    real = bcrypt.hashpw

    def noted(password: bytes, salt: bytes) -> bytes:
        costs.append(int(salt.split(b"$")[2]))
        return real(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", noted)
    return costs


def test_a_cheaper_scheme_answers_no_sooner_than_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a hash that takes less one of limen's own is computed, right password or not; beside a dearer one none."""
    hasher = PasswordHasher("bcrypt", bcrypt_cost=8)
    cheap = as_imported(pbkdf2_of("right", 2_000))
    dear = as_imported(pbkdf2_of("right", 60_000))
    costs = _bcrypts(monkeypatch)
    for password, stored, expected in [
        ("right", cheap, [8]),
        ("wrong", cheap, [8]),
        ("right", dear, []),
        ("wrong", dear, []),
        ("wrong", None, [8]),
    ]:
        costs.clear()
        assert hasher.verify(password, stored).matches is (password == "right")
        assert costs == expected
    costs.clear()
    made = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    costs.clear()
    assert not hasher.verify("wrong", as_imported(made)).matches
    assert costs == [4, 8]
    costs.clear()
    PasswordHasher("argon2id").verify("wrong", dear)
    assert costs == [], "where Argon2id is configured, that is what is computed beside it"


def test_argon2id_pads_by_argon2id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where limen's own hashes are Argon2id, a cheaper imported one is answered after one of these."""
    calls: list[int] = []
    real = argon2.low_level.hash_secret_raw

    def noted(*args: Any, **named: Any) -> bytes:
        calls.append(named["memory_cost"])
        return real(*args, **named)

    monkeypatch.setattr(argon2.low_level, "hash_secret_raw", noted)
    assert not PasswordHasher("argon2id").verify("wrong", as_imported(pbkdf2_of("right", 2_000))).matches
    assert len(calls) == 1


def test_only_what_was_typed_otherwise_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that NFC leaves as it is costs one computation of the imported scheme; another one two at most."""
    calls: list[bytes] = []
    real = hashlib.pbkdf2_hmac

    def noted(digest: str, password: bytes, *rest: Any) -> bytes:
        calls.append(password)
        return real(digest, password, *rest)

    stored = as_imported(pbkdf2_of("right", 2_000))
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", noted)
    HASHER.verify("wrong", stored)
    assert calls == [b"wrong"]
    calls.clear()
    HASHER.verify("e\u0301", stored)
    assert calls == ["é".encode(), "e\u0301".encode()]


def test_without_memory_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scrypt gets no memory the login is refused for now, not answered with a no."""

    def starved(*_args: object, **_named: object) -> bytes:
        raise MemoryError

    stored = as_imported(f"$scrypt$ln=12,r=8,p=1${SALT}${KEY}")
    monkeypatch.setattr(hashlib, "scrypt", starved)
    with pytest.raises(Unavailable):
        HASHER.verify("a password", stored)


def pbkdf2_of(password: str, iterations: int) -> str:
    """Return a hash as Django writes it."""
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), b"saltsalt", iterations)
    return foreign_hashes.pbkdf2("sha256", iterations, b"saltsalt", key)
