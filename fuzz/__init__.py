"""What is done with bytes that nobody asked for: targets for a fuzzer that watches which code each input reaches.

Each module ``fuzz_*.py`` has ``opened()``, a context in which one function takes any bytes and raises where limen did
something that it never may; and ``seeds()``, inputs to begin with. What was found to reach something of its own is kept
in ``fuzz/corpus``, and the suite tries all of it again (``tests/fuzz``). Nothing in there is a secret: the keys are of
the tests, and open nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

TARGETS: Final = ("token", "extractor", "certificate_headers", "json")
CORPUS: Final = Path(__file__).resolve().parent / "corpus"


def corpus_of(target: str) -> list[Path]:
    """Return the inputs that are kept for a target, in the order of their names."""
    return sorted(path for path in (CORPUS / target).glob("*") if path.is_file())
