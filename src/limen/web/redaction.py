"""What secrets look like in a text, and the mask in their place.

Each pattern begins with a text that can be searched for, and repeats nothing inside of what it repeats, so that the
time is linear in the length of the text, whoever wrote it (CWE-1333).
"""

import re
from typing import Final

MASK: Final = "[hidden]"

_NAMES: Final = r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|credential|csrf|jti|nonce)"
# A quoted value; one whose quotes were escaped, since the text holds JSON inside of a text of JSON.
_QUOTED: Final = r"""(?:b?"(?:[^"\\]|\\[\s\S])*"?|b?'(?:[^'\\]|\\[\s\S])*'?|\\{1,7}"[^"]*"?)"""
_NAME_WORDS: Final = ("passw", "passphrase", "pwd", "secret", "token", "api", "credential", "csrf", "jti", "nonce")
# Parameters of OAuth and of links in mails, whose names mean something else outside of an address.
_PARAMETERS: Final = r"code|state|ticket|assertion|client_assertion|code_verifier|verifier|id_token_hint|sig|signature"
# What must be in the text, in lower case, for the pattern to be tried at all: a search for a fixed text costs next to
# nothing, and most texts hold none of them. Then the pattern, and what stands for a match.
_SHAPES: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    # A JSON Web Token, also a part of one; an API key; the hash of a password; a private key; user:password@ in a URL.
    (("eyj",), re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*)*"), MASK),
    (("lim_",), re.compile(r"lim_[\w.-]{8,}"), MASK),
    # The secret of a webhook.
    (("whsec_",), re.compile(r"whsec_[\w+/=-]{8,}"), MASK),
    (("$",), re.compile(r"\$(?:2[abxy]|argon2\w*|scrypt|pbkdf2[\w-]*|limen[\w-]*)\$[^\s\"']+"), MASK),
    (
        ("-----begin",),
        re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"),
        MASK,
    ),
    # What a link in a mail proves stands behind the # of its address.
    (("#",), re.compile(r"(?<=[\w/]#)[\w-]{40,}"), MASK),
    # As far as the last @ of the authority: a password that was not encoded may hold one.
    (("://",), re.compile(r"(?<=://)[^\s/:@\"'<>]{0,256}:[^\s/\"'<>]{1,256}(?=@)"), MASK),
    # Headers, as text and as pairs; then name=value and 'name': value.
    (("bearer", "basic"), re.compile(r"\b(bearer|basic)\s{1,8}[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1 {MASK}"),
    (
        ("authorization", "cookie", "x-api-key"),
        re.compile(
            rf"((?:authorization|cookie|x-api-key)\\{{0,7}}[\"']?\s{{0,8}}[:,=]\s{{0,8}})(?:{_QUOTED}|[^\r\n]+)",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # limen's own cookies, and any other of that kind, without the name of the header.
    (
        ("__host-", "__secure-"),
        re.compile(r"(__(?:Host|Secure)-[\w.-]{1,64}=)[^\s;,\"']+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (
        ("=",),
        re.compile(rf"((?:[?&#]|%3F|%26)(?:{_PARAMETERS})(?:=|%3D))[^\s&#\"'<>]+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (
        _NAME_WORDS,
        re.compile(
            rf"({_NAMES}[\w-]{{0,32}}\s{{0,8}}(?:=|%3D)\s{{0,8}})(?:{_QUOTED}|[^\s,;&\"')\]}}]+)", re.IGNORECASE
        ),
        rf"\1{MASK}",
    ),
    (
        _NAME_WORDS,
        re.compile(
            rf"({_NAMES}[\w-]{{0,32}}\\{{0,7}}[\"']\s{{0,8}}:\s{{0,8}})(?:{_QUOTED}|[\[{{][^\]}}]*|[^\s,}}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # A pair, as forms and headers are written; then JSON that was encoded for an address.
    (
        _NAME_WORDS,
        re.compile(rf"({_NAMES}[\w-]{{0,32}}[\"'],\s{{0,8}}){_QUOTED}", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (
        ("%22",),
        re.compile(
            rf"({_NAMES}[\w-]{{0,32}}%22(?:%20|\+){{0,8}}(?:%3A|:)(?:%20|\+){{0,8}})(?:%22)?(?:[^\s%&]|%(?!22))*",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)


def redact(text: str) -> str:
    """Return the text with everything masked that looks like a secret, or stands behind the name of one."""
    lower = text.lower()
    for words, shape, mask in _SHAPES:
        for word in words:
            if word in lower:
                text = shape.sub(mask, text)
                break
    return text
