"""What a new password must be, and how much of a presented one is read at all (NIST 800-63B-4, section 3.1.1.2).

No composition rules and no expiry: length, a list of common passwords, and the words that an attacker tries first.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from limen.core.errors import InputFault, InvalidInput, PasswordContainsName, PasswordTooCommon, PasswordTooShort
from limen.crypto.common_passwords import is_common
from limen.crypto.passwords import normalise

LEAST_MINIMUM: Final = 8
"""No setting makes passwords shorter than this many characters (ASVS 5.0, 6.2.1)."""

LEAST_NAME: Final = 4
"""Shorter names are not looked for: «ann» or «bob» are in too many words that have nothing to do with them."""

_PRODUCT: Final = "limen"

# Labels that say what a host does, not whose it is: «auth» is in «author», «login» in nobody's name.
_GENERIC_LABELS: Final = frozenset({"account", "accounts", "auth", "identity", "login", "oauth", "signin", "test"})


def check_presented_password(password: str, *, field: str = "password") -> str:
    """Return the password of a login as it is verified: in NFC, and otherwise as it was sent.

    No rule for new passwords is asked: who set one under an older rule must get in. In constant memory and under 50 ms
    for input of any size, before anything is hashed.

    Args:
        password: as it came.
        field: the field of the body that held it, for the error.

    Raises:
        InvalidInput: it has more than 1024 bytes in UTF-8, or is no text (``too_long``, ``not_text``).
    """
    try:
        return normalise(password)
    except InvalidInput as error:
        faults = [replace(fault, loc=("body", field)) for fault in error.errors]
        raise InvalidInput(errors=faults) from None


def check_new_password(password: str, *, minimum: int, names: Iterable[str], field: str = "password") -> str:
    """Return a new password as it is to be hashed, in NFC, if it may be one.

    Args:
        password: as it came.
        minimum: the least number of characters (code points after NFC), never below 8.
        names: the username, the local part of the e-mail address, `host_words` of the issuer. Each of at least four
            characters is refused inside the password, in whatever case or compatibility form. «limen» always is.
        field: the field of the body that held it, for the error.

    Raises:
        InvalidInput: as `check_presented_password`.
        PasswordTooShort: it has fewer characters.
        PasswordTooCommon: it is on the list of common passwords.
        PasswordContainsName: it contains one of the names.
    """
    accepted = check_presented_password(password, field=field)
    least = max(minimum, LEAST_MINIMUM)
    if len(accepted) < least:
        message = f"The password needs at least {least} characters."
        raise PasswordTooShort(message, errors=[InputFault(("body", field), PasswordTooShort.code, message)])
    if is_common(accepted):
        message = "This password is on lists that attackers try first."
        raise PasswordTooCommon(message, errors=[InputFault(("body", field), PasswordTooCommon.code, message)])
    if _contains_any(accepted, (_PRODUCT, *names)):
        message = "The password must not contain your name or the name of this service."
        raise PasswordContainsName(message, errors=[InputFault(("body", field), PasswordContainsName.code, message)])
    return accepted


def host_words(issuer: str) -> tuple[str, ...]:
    """Return the words of the issuer's host that a password must not contain; of any other text, that text.

    The top-level domain and labels that name a purpose (``auth``, ``login``) are left out; of a label with hyphens, so
    are the parts that are too short.
    """
    host = urlsplit(issuer).hostname if "//" in issuer else issuer
    if not host:
        return ()
    labels = host.casefold().rstrip(".").split(".")
    kept = labels[:-1] if len(labels) > 1 else labels
    words = [word for label in kept for word in dict.fromkeys((label, *label.split("-")))]
    return tuple(word for word in words if len(word) >= LEAST_NAME and word not in _GENERIC_LABELS)


def _contains_any(password: str, names: Iterable[str]) -> bool:
    text = _comparable(password)
    return any(len(name) >= LEAST_NAME and name in text for name in map(_comparable, names))


def _comparable(text: str) -> str:
    """Fold case and compatibility forms, so that a full-width spelling of a name is the name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
