"""base64url without padding, in its one canonical spelling (RFC 7515, appendix C; RFC 4648, section 5)."""

from binascii import Error as _Base64Error
from binascii import a2b_base64, b2a_base64
from typing import Final

ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
# What the last character may be where its low bits are unused: those bits must be zero (RFC 4648, section 3.5), or one
# token had several spellings and a list of spent or ended tokens could be walked around.
_LAST_OF_TWO: Final = frozenset(b"AQgw")
_LAST_OF_THREE: Final = frozenset(b"AEIMQUYcgkosw048")


def b64url_encode(data: bytes) -> bytes:
    """Return the base64url spelling of the bytes, without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def b64url_decode(text: bytes) -> bytes:
    """Return what the base64url text spells.

    Raises:
        ValueError: a character outside the alphabet (white space and padding too), an impossible length, or unused
            bits that are not zero.
    """
    if text.translate(None, ALPHABET):
        raise ValueError("not base64url")
    return decode_alphabet_only(text)


def decode_alphabet_only(text: bytes) -> bytes:
    """Do what `b64url_decode` does, for a text already known to hold characters of `ALPHABET` only.

    Raises:
        ValueError: an impossible length, or unused bits that are not zero.
    """
    rest = len(text) & 3
    if rest == 0:
        padding = b""
    elif rest == 2 and text[-1] in _LAST_OF_TWO:
        padding = b"=="
    elif rest == 3 and text[-1] in _LAST_OF_THREE:
        padding = b"="
    else:
        raise ValueError("not canonical base64url")
    try:
        return a2b_base64(text.translate(_FROM_URL) + padding)
    except _Base64Error:
        raise ValueError("not base64url") from None
