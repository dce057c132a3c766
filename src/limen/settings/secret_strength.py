"""What makes a secret too weak to sign with (RFC 8725, section 3.5; RFC 7518, section 3.2: at least the hash's size).

A length alone does not help: a sample from a manual is long, and everybody has it. What is refused here is what an
attacker tries first; a secret that passes is not proved to be random.
"""

import re
from collections.abc import Callable
from itertools import pairwise

MIN_CHARACTERS = 32
HOW_TO_MAKE_ONE = 'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))", or run: limen init'

_MIN_DISTINCT = 8
# Words of samples and templates, without separators, lower case. None is shorter than six letters: a random secret
# must not contain one by accident (60 places, 32**6 letters: once in twenty million).
_SAMPLE_WORDS = re.compile(
    "changeme|changethis|changeit|replaceme|replacethis|placeholder|yoursecret|topsecret|supersecret|secret|password"
    "|passphrase|example|insecure|default|sample|testing|development|notsafe|atleast|256bit|512bit|characters"
    "|randomstring|qwerty|letmein|123456|abcdef"
)
_SEPARATORS = re.compile(r"[^0-9a-z]+")
# Long enough and of many characters, but printed in manuals that everybody reads.
_PUBLISHED = (
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "qwertyuiopasdfghjklzxcvbnm123456",
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "GawgguFyGrWKav7AX4VKUg",
)


def _repeats(secret: str) -> bool:
    """Tell whether the secret is one shorter piece over and over, the last one perhaps cut off."""
    return any(secret[period:] == secret[:-period] for period in range(1, len(secret) // 2 + 1))


def _is_a_row(secret: str) -> bool:
    """Tell whether most characters are the neighbours of the ones before, as in abcdef or 987654."""
    steps = sum(abs(ord(here) - ord(before)) <= 1 for before, here in pairwise(secret))
    return steps * 2 > len(secret)


def _mostly_sample_words(secret: str) -> bool:
    """Tell whether too little is left for a secret once the words of samples are taken out.

    What has a word of a sample in it, as in «prod-secret-» before a random part, is fine as long as the rest is enough.
    """
    letters = _SEPARATORS.sub("", secret.casefold())
    rest = _SAMPLE_WORDS.sub("", letters)
    return len(rest) < len(letters) and len(rest) < MIN_CHARACTERS - 4


_FAULTS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (lambda secret: len(secret) < MIN_CHARACTERS, f"is shorter than {MIN_CHARACTERS} characters"),
    (
        lambda secret: secret != secret.strip() or not secret.isprintable(),
        "holds control characters, or white space at an end (a line break copied with it?)",
    ),
    (lambda secret: len(set(secret)) < _MIN_DISTINCT, f"has fewer than {_MIN_DISTINCT} different characters"),
    (_repeats, "repeats itself"),
    (_is_a_row, "is a row of neighbouring characters"),
    (lambda secret: any(published in secret for published in _PUBLISHED), "is a sample printed in a manual"),
    (_mostly_sample_words, "is a sample, not a secret"),
)


def weakness_of(secret: str) -> str | None:
    """Say in a few words what is wrong with a secret, or None. The words never hold the secret or a part of it."""
    return next((words for applies, words in _FAULTS if applies(secret)), None)
