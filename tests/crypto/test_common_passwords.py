"""The list of common passwords finds what is on it, seldom anything else, and is never used when damaged."""

import random
import unicodedata
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.core.errors import ConfigurationError
from limen.crypto import common_passwords
from limen.crypto.common_passwords import BloomFilter, folded, is_common, load

# From the sources, of every length and kind that is taken from them.
LISTED = (
    "password", "12345678", "qwertyuiop", "password1234", "passwordpassword", "iloveyouiloveyou", "qwertyuiopasdfgh",
    "111111111111111", "123456789012345", "samsungsamsung1", "cannibalcorpse666", "sunshinenofjrnd",
)  # fmt: skip


@pytest.fixture
def fresh_load() -> Iterator[None]:
    """Let a test read the file anew, and the others after it."""
    load.cache_clear()
    yield
    load.cache_clear()


def file_of_the_package() -> Path:
    """Return the file that ships."""
    return Path(common_passwords.__file__).parent / "data" / "common_passwords.bloom"


class TestList:
    @pytest.mark.parametrize("password", LISTED)
    def test_listed(self, password: str) -> None:
        """What is on the lists is common, in whatever case."""
        assert is_common(password)
        assert is_common(password.upper())
        assert is_common(password.title())

    @pytest.mark.parametrize(
        "password",
        ["correct horse battery staple", "a sentence of my own 4711", "🦉🦊🐻🐼🦁🐯🐨🐸🐵🐔🐧🐦🦆🦅🐝", "\ud800", ""],
        ids=["words", "sentence", "emoji", "surrogate", "empty"],
    )
    def test_not_listed(self, password: str) -> None:
        """What nobody listed is not, and nothing makes it raise."""
        assert not is_common(password)

    def test_whole_only(self) -> None:
        """A listed password inside a longer one does not make that one common."""
        assert not is_common("passwordpassword and my own words")

    def test_normal_forms(self) -> None:
        """An entry is found in whichever normal form it is typed."""
        composed = BloomFilter.build([folded("CAFÉ crème")], size=800, positions=7)
        for form in ("NFC", "NFD"):
            assert folded(unicodedata.normalize(form, "Café Crème")) in composed

    def test_size(self) -> None:
        """It holds more than 300 000 entries, and takes less than a megabyte."""
        assert load().entries == 345_822
        assert file_of_the_package().stat().st_size < 1_000_000

    def test_false_positives(self) -> None:
        """About one unlisted password in 15 000 is taken for common, as the bits foretell and as trying shows."""
        listed = load()
        assert 1 / 16_000 < listed.false_positive_rate() < 1 / 14_000
        source = random.Random(20260101)
        found = sum(f"{source.getrandbits(80):020x}" in listed for _ in range(60_000))
        assert found <= 14  # 4 expected; more than 14 in one of 30 000 lists

    def test_loaded_once(self, fresh_load: None) -> None:
        """The file is read at the first question, and then kept."""
        assert load.cache_info().currsize == 0
        assert is_common("password")
        assert is_common("12345678")
        assert load.cache_info().misses == 1


class TestFile:
    @given(st.sets(st.text(max_size=20), min_size=1, max_size=50))
    def test_round_trip(self, entries: set[str]) -> None:
        """What was put in is found after writing and reading: there are no false negatives."""
        words = {folded(entry) for entry in entries}
        made = BloomFilter.build(sorted(words), size=2000, positions=9)
        read = BloomFilter.from_bytes(made.to_bytes())
        assert read == made
        assert read.entries == len(words)
        assert all(word in read for word in words)

    def test_any_damage(self) -> None:
        """A file that is cut, longer, or has any one bit turned is refused."""
        data = BloomFilter.build(["one", "other"], size=64, positions=3).to_bytes()
        turned = [
            data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            for place in range(len(data))
            for bit in range(8)
        ]
        cut = [data[:length] for length in range(len(data))]
        for damaged in (*turned, *cut, data + b"\0", data + data):
            with pytest.raises(ConfigurationError):
                BloomFilter.from_bytes(damaged)

    @pytest.mark.parametrize(("size", "positions"), [(0, 3), (64, 0), (64, 65)])
    def test_impossible_parameters(self, size: int, positions: int) -> None:
        """Parameters that would call everything or nothing common are refused, although the digest is right."""
        data = BloomFilter(positions, 1, size, bytes(size // 8)).to_bytes()
        with pytest.raises(ConfigurationError):
            BloomFilter.from_bytes(data)

    def test_torn_or_missing_package_file(
        self, fresh_load: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """With the package's file torn or missing, no password is declared uncommon."""
        monkeypatch.setattr(resources, "files", lambda package: tmp_path)
        with pytest.raises(ConfigurationError, match="missing"):
            is_common("a sentence of my own")
        (tmp_path / "data").mkdir()
        whole = file_of_the_package().read_bytes()
        (tmp_path / "data" / "common_passwords.bloom").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ConfigurationError, match="damaged"):
            is_common("a sentence of my own")
