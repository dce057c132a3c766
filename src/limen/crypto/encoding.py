"""base64url without padding, in its one canonical spelling (RFC 7515, appendix C; RFC 4648, section 5)."""

from binascii import b2a_base64
from typing import Final

import msgspec

ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_OUTSIDE: Final = bytes(set(range(256)) - set(ALPHABET))
# What is outside the alphabet, the two characters that only base64 has included, becomes what base64 does not have.
_FROM_URL: Final = bytes.maketrans(b"-_" + _OUTSIDE, b"+/" + b"!" * len(_OUTSIDE))
# msgspec reads base64 in a third of the time that binascii takes; it stands in quotes there.
_DECODE: Final = msgspec.json.Decoder(bytes).decode
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
    rest = len(text) & 3
    if rest == 0:
        quoted = b'"%b"' % text.translate(_FROM_URL)
    elif rest == 2 and text[-1] in _LAST_OF_TWO:
        quoted = b'"%b=="' % text.translate(_FROM_URL)
    elif rest == 3 and text[-1] in _LAST_OF_THREE:
        quoted = b'"%b="' % text.translate(_FROM_URL)
    else:
        raise ValueError("not canonical base64url")
    try:
        return _DECODE(quoted)
    except msgspec.MsgspecError:
        raise ValueError("not base64url") from None
