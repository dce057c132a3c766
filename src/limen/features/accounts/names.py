"""Usernames and e-mail addresses: one string, normalised once, the same way at registration and at login."""

import re
import unicodedata

from limen.core.errors import InputFault, InvalidInput

MAX_USERNAME = 64
MAX_EMAIL = 254
"""Characters of an address (RFC 5321, section 4.5.3.1.3, less the angle brackets)."""

# Control, format (zero-width and bidirectional tricks), surrogates, private use, unassigned; all separators.
_REFUSED_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def _fault(field: str, code: str, message: str) -> InvalidInput:
    return InvalidInput(errors=[InputFault(("body", field), code, message)])


def normalise_username(text: str) -> str:
    """Return the username as it is stored and compared: NFKC, case folded, 1 to 64 characters.

    Folding happens once more after NFKC, since one can undo the other (ligatures, dotted capital I): the result is a
    fixed point.

    Raises:
        InvalidInput: it is empty, too long, or has spaces, control, format or unassigned characters.
    """
    if len(text) > 4 * MAX_USERNAME:
        raise _fault("username", "too_long", f"A username has at most {MAX_USERNAME} characters.")
    name = text
    for _ in range(3):
        name = unicodedata.normalize("NFKC", name).casefold()
    if not name:
        raise _fault("username", "too_short", "A username has at least 1 character.")
    if len(name) > MAX_USERNAME:
        raise _fault("username", "too_long", f"A username has at most {MAX_USERNAME} characters.")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in text + name):
        raise _fault("username", "character", "A username has no spaces and no control characters.")
    return name


def normalise_email(text: str) -> str:
    """Return the address as it is stored: local part as given but case folded, domain in lower-case ASCII (IDNA 2008).

    One address, not a list: commas, spaces and line breaks are refused, so that mail can go nowhere else. A local part
    outside ASCII is refused: dotless and dotted i would otherwise be one account's and another's (CVE-2019-19844). So
    is one with ``=?``: in a header it would be read as an encoded word, and be another address (RFC 2047, section 2).

    Raises:
        InvalidInput: it is not one plain address.
    """
    local, at, domain = text.rpartition("@")
    if len(text) > MAX_EMAIL or not at or "=?" in local or not _LOCAL_PART.match(local) or len(local) > 64:
        raise _fault("email", "email", "This is not one e-mail address.")
    try:
        ascii_domain = _ascii_domain(domain)
    except UnicodeError:
        raise _fault("email", "email", "This is not one e-mail address.") from None
    labels = ascii_domain.split(".")
    if len(labels) < 2 or not all(_LABEL.match(label) for label in labels):
        raise _fault("email", "email", "This is not one e-mail address.")
    return f"{local.lower()}@{ascii_domain}"


def _ascii_domain(domain: str) -> str:
    """Return a domain in lower-case ASCII, as mail servers spell it (RFC 5891; UTS 46, non-transitional).

    The codec of the standard library is IDNA 2003, which makes «ß» into «ss»: another domain, perhaps somebody else's,
    who would be sent the links.

    Raises:
        UnicodeError: it is none.
    """
    if domain.isascii():
        return domain.lower()
    # Its tables are loaded by whoever needs them.
    import idna

    return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
