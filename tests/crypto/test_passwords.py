"""Passwords are kept whole, verified by what the stored string says, and every answer costs one hash."""

import logging
import sys
import time
import unicodedata
from collections.abc import Callable

import argon2
import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.core.errors import ConfigurationError, InvalidInput, Unavailable
from limen.crypto.passwords import MAX_BYTES, PasswordHasher, Verification, normalise

COST = 4
YES = Verification(matches=True, outdated=False)
STALE = Verification(matches=True, outdated=True)
NO = Verification(matches=False, outdated=False)

# Made by passlib 1.7.4: bcrypt_sha256.using(rounds=4, salt="abcdefghijklmnopqrstuu").hash("A" * 73)
FROM_PASSLIB = "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$L2COCc7PaZh8qC0m3gL1sb37A1s7K5a"

Work = list[tuple[object, ...]]


def plain_bcrypt(password: bytes, cost: int = COST, variant: str = "2b") -> str:
    """Hash as another program would."""
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode().replace("$2b$", f"${variant}$", 1)


def plain_argon2(password: str, memory: int = 64, passes: int = 1, kind: argon2.Type = argon2.Type.ID) -> str:
    """Hash as another program would, cheaply."""
    return argon2.PasswordHasher(passes, memory, 1, type=kind).hash(password)


@pytest.fixture
def bcrypt_hasher() -> PasswordHasher:
    """Hash as cheaply as bcrypt can."""
    return PasswordHasher(bcrypt_cost=COST)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Record each hash that is computed, with what makes it cheap or dear; it is computed all the same."""
    done: Work = []
    real_bcrypt, real_argon2 = bcrypt.hashpw, argon2.low_level.hash_secret_raw

    def hashpw(password: bytes, salt: bytes) -> bytes:
        done.append(("bcrypt", int(salt[4:6])))
        return real_bcrypt(password, salt)

    def hash_secret_raw(secret: bytes, salt: bytes, **parameters: object) -> bytes:
        done.append(("argon2id", parameters["memory_cost"], parameters["time_cost"], parameters["parallelism"]))
        return real_argon2(secret, salt, **parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    monkeypatch.setattr(argon2.low_level, "hash_secret_raw", hash_secret_raw)
    return done


class TestStoredForm:
    def test_default(self) -> None:
        """Without settings it is bcrypt with cost 12, and the string says so."""
        stored = PasswordHasher().hash("correct horse battery")
        assert stored.startswith("$2b$12$")
        assert len(stored) == 60

    def test_bcrypt_is_read_by_others(self, bcrypt_hasher: PasswordHasher) -> None:
        """Up to 72 bytes the stored string is plain bcrypt of the password's UTF-8."""
        stored = bcrypt_hasher.hash("é" * 36)
        assert bcrypt.checkpw("é".encode() * 36, stored.encode())

    def test_prehash_is_passlibs(self, bcrypt_hasher: PasswordHasher) -> None:
        """Over 72 bytes the form is that of passlib's bcrypt_sha256, version 2: a hash made by it verifies."""
        assert bcrypt_hasher.verify("A" * 73, FROM_PASSLIB) == YES
        assert bcrypt_hasher.verify("A" * 72, FROM_PASSLIB) == NO
        assert bcrypt_hasher.hash("A" * 73).startswith("$bcrypt-sha256$v=2,t=2b,r=4$")

    def test_argon2id_is_read_by_others(self) -> None:
        """Argon2id is stored with 46 MiB, two passes and one lane, in the form that argon2-cffi verifies."""
        stored = PasswordHasher("argon2id").hash("correct horse battery")
        assert stored.startswith("$argon2id$v=19$m=47104,t=2,p=1$")
        assert argon2.PasswordHasher().verify(stored, "correct horse battery")

    def test_salts(self, bcrypt_hasher: PasswordHasher) -> None:
        """A thousand hashes of one password have a thousand salts of 128 bits."""
        salts = {bcrypt_hasher.hash("one and the same password")[7:29] for _ in range(1000)}
        assert len(salts) == 1000
        assert {len(salt) for salt in salts} == {22}

    @pytest.mark.parametrize("cost", [-1, 0, 3, 17, 31])
    def test_cost_out_of_range(self, cost: int) -> None:
        """A cost that bcrypt cannot compute, or not within seconds, is refused at start."""
        with pytest.raises(ConfigurationError):
            PasswordHasher(bcrypt_cost=cost)

    def test_unknown_scheme(self) -> None:
        """There is no third scheme, and none is fallen back to."""
        with pytest.raises(ConfigurationError):
            PasswordHasher("md5")  # type: ignore[arg-type]


class TestWhole:
    @pytest.mark.parametrize("scheme", ["bcrypt", "argon2id"])
    @pytest.mark.parametrize("length", [1, 55, 56, 71, 72, 73, 128, 1023, 1024])
    def test_last_character_counts(self, scheme: str, length: int) -> None:
        """No password is cut: another last character is another password, at every length."""
        hasher = PasswordHasher(scheme, bcrypt_cost=COST)  # type: ignore[arg-type]
        stored = hasher.hash("A" * (length - 1) + "x")
        assert hasher.verify("A" * (length - 1) + "x", stored) == YES
        assert hasher.verify("A" * (length - 1) + "y", stored) == NO
        assert hasher.verify("A" * (length - 1), stored) == NO

    def test_long_guess_against_short_password(self, bcrypt_hasher: PasswordHasher) -> None:
        """A guess that continues a password of 72 bytes is wrong, although bcrypt itself would see no difference."""
        stored = bcrypt_hasher.hash("A" * 72)
        assert bcrypt_hasher.verify("A" * 72, stored) == YES
        assert bcrypt_hasher.verify("A" * 73, stored) == NO

    @pytest.mark.parametrize(("password", "guess"), [("a", "a\0a"), ("a\0a", "a"), ("a\0b", "a\0c"), ("\0", "")])
    def test_nul(self, bcrypt_hasher: PasswordHasher, password: str, guess: str) -> None:
        """NUL is a character like others; bcrypt takes «a», NUL, «a» for «a»."""
        stored = bcrypt_hasher.hash(password)
        assert bcrypt_hasher.verify(password, stored) == YES
        assert bcrypt_hasher.verify(guess, stored) == NO

    @pytest.mark.parametrize(
        "guess", [" secret words", "secret words ", "Secret words", "secret  words", "secret\nwords"]
    )
    def test_exactly_as_sent(self, bcrypt_hasher: PasswordHasher, guess: str) -> None:
        """Nothing is trimmed, folded or collapsed."""
        assert bcrypt_hasher.verify(guess, bcrypt_hasher.hash("secret words")) == NO

    def test_digest_of_the_password_is_no_password(self, bcrypt_hasher: PasswordHasher) -> None:
        """What a prehashed row keeps of a password does not open it when presented in its place."""
        stored = bcrypt_hasher.hash("A" * 80)
        assert bcrypt_hasher.verify(stored, stored) == NO

    @settings(max_examples=60, deadline=None)
    @given(st.text(max_size=300), st.text(max_size=300))
    def test_any_two(self, one: str, other: str) -> None:
        """Of any two texts, each verifies against its own hash, and the other only if it is the same in NFC."""
        hasher = PasswordHasher(bcrypt_cost=COST)
        try:
            stored, same = hasher.hash(one), normalise(one) == normalise(other)
        except InvalidInput:
            return
        assert hasher.verify(one, stored) == YES
        assert hasher.verify(other, stored).matches is same


class TestNormalise:
    def test_forms(self, bcrypt_hasher: PasswordHasher) -> None:
        """A password set in one normal form is right in the other."""
        composed, decomposed = "caf\u00e9 caf\u00e9 caf\u00e9", "cafe\u0301 cafe\u0301 cafe\u0301"
        assert bcrypt_hasher.verify(decomposed, bcrypt_hasher.hash(composed)) == YES
        assert bcrypt_hasher.verify(composed, bcrypt_hasher.hash(decomposed)) == YES

    def test_compatibility_forms_stay_apart(self, bcrypt_hasher: PasswordHasher) -> None:
        """It is NFC and not NFKC: a full-width letter is another character."""
        assert bcrypt_hasher.verify("\uff41bc", bcrypt_hasher.hash("abc")) == NO

    def test_most_bytes(self) -> None:
        """1024 bytes after NFC are accepted, whatever they were before; 1025 are not."""
        assert len(normalise("e\u0301" * 512).encode()) == MAX_BYTES
        with pytest.raises(InvalidInput) as refused:
            normalise("é" * 512 + "x")
        assert [(fault.loc, fault.code) for fault in refused.value.errors] == [(("password",), "too_long")]

    def test_early_limit_refuses_nothing_short(self) -> None:
        """No character decomposes to more than two code points a byte: what the first look refuses was too long."""
        most = max(
            len(unicodedata.normalize("NFD", character)) / len(character.encode())
            for character in map(chr, range(sys.maxunicode + 1))
            if unicodedata.category(character) != "Cs"
        )
        assert most <= 2

    @pytest.mark.parametrize("surrogate", ["\ud800", "x\ud83d", "\udc00\ud800"], ids=["high", "inside", "swapped"])
    def test_lone_surrogates(self, bcrypt_hasher: PasswordHasher, surrogate: str) -> None:
        """What is no text is refused as input, and the refusal does not carry it."""
        for call in (lambda: bcrypt_hasher.hash(surrogate), lambda: bcrypt_hasher.verify(surrogate, None)):
            with pytest.raises(InvalidInput) as refused:
                call()
            assert [fault.code for fault in refused.value.errors] == ["not_text"]
            assert refused.value.__cause__ is None

    @pytest.mark.serial
    @pytest.mark.parametrize(
        "text",
        ["x" * 10_000_000, "\u0301" * 5_000_000, "a" + "\u0301\u0316" * 1023, "é" * 2048],
        ids=["ascii", "marks", "reordered", "two-bytes"],
    )
    def test_fast(self, bcrypt_hasher: PasswordHasher, work: Work, text: str) -> None:
        """Ten megabytes, and what is slow to normalise, are refused in under 50 ms and without a hash."""
        took = []
        for _ in range(3):
            began = time.thread_time()
            with pytest.raises(InvalidInput):
                bcrypt_hasher.verify(text, None)
            took.append(time.thread_time() - began)
        assert min(took) < 0.05
        assert work == []


class TestOutdated:
    @pytest.mark.parametrize("long", ["", "x" * 80])
    def test_other_cost(self, long: str) -> None:
        """Another cost than the setting, lower or higher, is outdated; the same is not."""
        password = "long enough, surely" + long
        stored = PasswordHasher(bcrypt_cost=5).hash(password)
        assert PasswordHasher(bcrypt_cost=6).verify(password, stored) == STALE
        assert PasswordHasher(bcrypt_cost=4).verify(password, stored) == STALE
        assert PasswordHasher(bcrypt_cost=5).verify(password, stored) == YES

    def test_other_scheme(self, bcrypt_hasher: PasswordHasher) -> None:
        """Each scheme verifies the rows of the other and calls them outdated."""
        memory_hard = PasswordHasher("argon2id")
        assert memory_hard.verify("words", bcrypt_hasher.hash("words")) == STALE
        assert bcrypt_hasher.verify("words", memory_hard.hash("words")) == STALE

    @pytest.mark.parametrize("variant", ["2a", "2y"])
    def test_other_variant(self, bcrypt_hasher: PasswordHasher, variant: str) -> None:
        """Rows of other programs, by bcrypt's former names, verify and are outdated."""
        assert bcrypt_hasher.verify("words", plain_bcrypt(b"words", variant=variant)) == STALE

    def test_other_argon2_parameters(self) -> None:
        """An Argon2id row of other parameters verifies and is outdated."""
        hasher = PasswordHasher("argon2id")
        assert hasher.verify("words", plain_argon2("words")) == STALE
        assert hasher.verify("words", hasher.hash("words")) == YES

    @pytest.mark.parametrize("stored", [plain_bcrypt(b"words", 5), plain_argon2("words")], ids=["bcrypt", "argon2id"])
    def test_only_when_right(self, bcrypt_hasher: PasswordHasher, stored: str) -> None:
        """A wrong password never makes a row outdated: it must not be hashed in the right one's place."""
        assert bcrypt_hasher.verify("other", stored) == NO


class TestEqualWork:
    LENGTHS = (0, 1, 8, 72, 73, 1024)

    @pytest.mark.parametrize("length", LENGTHS)
    @pytest.mark.parametrize("own", ["short", "n" * 100])
    def test_bcrypt(self, work: Work, length: int, own: str) -> None:
        """Unknown account, wrong and long guess, short and long password: each is one bcrypt of the configured cost."""
        hasher = PasswordHasher(bcrypt_cost=5)
        known = hasher.hash(own)
        for stored in (None, known, "", "damaged"):
            work.clear()
            assert hasher.verify("g" * length, stored) == NO
            assert work == [("bcrypt", 5)]

    @pytest.mark.parametrize("length", LENGTHS)
    def test_argon2id(self, work: Work, length: int) -> None:
        """With Argon2id each of them is one Argon2id of the configured parameters."""
        hasher = PasswordHasher("argon2id")
        known = hasher.hash("own")
        for stored in (None, known, "damaged"):
            work.clear()
            assert hasher.verify("g" * length, stored) == NO
            assert work == [("argon2id", 47104, 2, 1)]

    @pytest.mark.parametrize("length", LENGTHS)
    def test_rows_of_others(self, work: Work, length: int) -> None:
        """A row of another cost or scheme costs once what it says, for a long guess too."""
        rows: dict[str, tuple[object, ...]] = {
            plain_bcrypt(b"own", 6): ("bcrypt", 6),
            plain_argon2("own", memory=128, passes=3): ("argon2id", 128, 3, 1),
        }
        for hasher in (PasswordHasher(bcrypt_cost=COST), PasswordHasher("argon2id")):
            for stored, cost in rows.items():
                work.clear()
                assert hasher.verify("g" * length, stored) == NO
                assert work == [cost]

    def test_right_password(self, work: Work) -> None:
        """The right password costs as much as a wrong one."""
        hasher = PasswordHasher(bcrypt_cost=COST)
        for password in ("own", "o" * 100, "o\0wn"):
            stored = hasher.hash(password)
            work.clear()
            assert hasher.verify(password, stored) == YES
            assert work == [("bcrypt", COST)]


def damaged() -> list[str]:
    """Rows that no honest program writes, or that would take days or all memory."""
    good, argon = plain_bcrypt(b"words"), plain_argon2("words")
    head, _, tag = argon.rpartition("$")
    return [
        "", " ", "words", "$", "$2b$", good[:-1], good + "x", good + "\n", " " + good, good.replace("$04$", "$4$"),
        good.replace("$04$", "$03$"), good.replace("$04$", "$17$"), good.replace("$04$", "$31$"),
        good.replace("$04$", "$٠٤$"), good.replace("$2b$", "$2x$"), good.replace("$2b$", "$2$"),
        good[:28] + "P" + good[29:], good + "\0", FROM_PASSLIB[:-1], FROM_PASSLIB.replace("r=4", "r=31"),
        FROM_PASSLIB.replace("v=2", "v=1"), FROM_PASSLIB.replace("t=2b", "t=2a"), argon + "x\0",
        argon.replace("m=64", "m=4294967295"), argon.replace("m=64", "m=7"), argon.replace("t=1", "t=0"),
        argon.replace("t=1", "t=4294967295"), argon.replace("p=1", "p=0"), argon.replace("v=19", "v=16"), head + "$",
        f"{head}${tag[:8]}", f"{head}${tag[:41]}", plain_argon2("words", kind=argon2.Type.I), "\ud800" + good,
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0", "5f4dcc3b5aa765d61d8327deb882cf99",
    ]  # fmt: skip


class TestDamaged:
    # Rows have random salts, and every worker of a run has to find the same names.
    @pytest.mark.parametrize("stored", damaged(), ids=map(str, range(len(damaged()))))
    def test_no_match(self, work: Work, caplog: pytest.LogCaptureFixture, stored: str) -> None:
        """A string that cannot be read matches nothing, costs the configured hash, and is logged without itself."""
        with caplog.at_level(logging.DEBUG):
            assert PasswordHasher(bcrypt_cost=5).verify("words", stored) == NO
        assert work == [("bcrypt", 5)]
        assert [record.getMessage() for record in caplog.records] == ["password_hash_unreadable"]
        assert caplog.records[0].args == ()

    @pytest.mark.parametrize(
        "make", [plain_bcrypt, lambda words: plain_argon2(words.decode())], ids=["bcrypt", "argon2id"]
    )
    def test_every_changed_character(self, make: Callable[[bytes], str]) -> None:
        """A row in which any one character was changed does not match, and nothing but no comes out."""
        hasher, stored = PasswordHasher(bcrypt_cost=COST), make(b"words")
        assert hasher.verify("words", stored).matches
        spare = {len(stored) - 1, 28} if stored.startswith("$2b") else {len(stored) - 1, stored.rindex("$") - 1}
        for place in range(4, len(stored)):
            changed = stored[:place] + ("0" if stored[place] != "0" else "1") + stored[place + 1 :]
            if place not in spare:  # the last character of a base64 text has bits that stand for nothing
                assert hasher.verify("words", changed) == NO

    def test_no_memory(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """Where Argon2id cannot compute, as without memory, the answer is 503, known account or not."""
        hasher = PasswordHasher("argon2id")
        stored = hasher.hash("words")
        real = argon2.low_level.hash_secret_raw

        def starved(secret: bytes, salt: bytes, **parameters: object) -> bytes:
            return real(secret, salt, **(parameters | {"memory_cost": 1}))  # type: ignore[arg-type]

        monkeypatch.setattr(argon2.low_level, "hash_secret_raw", starved)
        for row in (stored, None):
            with pytest.raises(Unavailable):
                hasher.verify("words", row)
        assert "password_hash_without_memory" in caplog.text
