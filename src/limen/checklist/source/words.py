"""What names and written values say: which of them are secrets, passwords, checks."""

import re
from functools import lru_cache
from typing import Final

_SECRET: Final = re.compile(
    r"(^|_)(secret|secrets|secret_?key|password|passwd|pwd|passphrase|api_?key|private_?key|access_?key|signing_?key"
    r"|encryption_?key|jwt_?key|client_?secret|credentials?|otp|totp|((access|refresh|id|auth|api|bearer|session|reset"
    r"|csrf|jwt|verification|invite|magic)_?)?token|authorization)$",
    re.IGNORECASE,
)
# A page of a listing, a word of a text, a signal to stop: tokens that open nothing. And what is a hash already.
_NO_SECRET: Final = re.compile(
    r"(^|_)(allow|enable|disable|require)_|^(use|with|without|is|has|show|include|need|needs|no|num|max|min|count)_"
    r"|^(skip|ignore|set)_"
    r"|(^|_)(short|truncated|partial|reservation|slot|lease|lock|fencing|concurrency|idempotency|limit|sentinel"
    r"|placeholder|missing|empty|unset|redacted|masked|label|metadata|header|field|param|env|resource|cookie|column)_"
    r"(\w+_)?(token|password|secret|api_?key|credentials?|key)s?$|(^|_)(next|prev|previous|page|paging|continuation|cursor|sync|stop|eos|bos|pad|unk|sep|cls|mask|special|cancel"
    r"|cancellation|start|end|num|max|min|n|last|current|total|lex|lexer|no|has|is|use|with|missing|invalid"
    r"|need|needs|require|requires|supports|hide|show|forgot|new_line)_(\w+_)?(token|password|secret|api_?key"
    r"|credentials?)$|(hash|hashed|encrypted|masked|redacted|obfuscated)_?(\w+_)?(password|secret|token|key|pwd)$",
    re.IGNORECASE,
)
_PASSWORD: Final = re.compile(
    r"(^|_)(password|passwd|passwort|pwd|passphrase|(plain|raw|user|clear)_?pw)(_?(plain|raw|text|input))?$",
    re.IGNORECASE,
)
_SIGNS: Final = re.compile(
    r"(^|_)(secret|secrets|secret_?key|(jwt|signing|encryption|hmac)_?key"
    r"|(jwt|token|session|cookie|csrf|auth|app|signing|encryption|hmac|django|flask)_?secret(_?key)?)$",
    re.IGNORECASE,
)
_CHECK: Final = re.compile(
    r"^_*(async_|do_|maybe_|must_)?(verify|(verify|validate|check)_(\w+_)?(auth\w*|users?|tokens?|jwt|access|permissions?|roles?|scopes?|signature"
    r"|passwords?|credentials?|api_?keys?|sessions?|login|otp|totp|mfa|webhook|owner\w*|admin|csrf|claims?|account"
    r"|membership|acl|identity|rights?)(_\w+)?|authenticate\w*|authorize\w*|authori[sz]e|require_(auth\w*|login|user|admin|role"
    r"|roles|permissions?|scopes?|access|owner\w*|session|superuser|token)\w*|ensure_(auth|access|permission|role|owner"
    r"|admin)\w*|decode_(access_|id_)?(token|jwt)|get_current_user|current_user|enforce\w*|has_permission\w*|is_(authorized|allowed|authenticated))$"
    r"|_(verify|is_authorized|is_allowed|has_permission)$",
    re.IGNORECASE,
)
_MADE_SECRET: Final = re.compile(
    r"(^|_)(token|secrets?|passwords?|passwd|passcodes?|passphrase|otp|totp|pin|nonce|salt|session_?ids?|sid|csrf|api_?keys?"
    r"|secret_?keys?|(reset|verification|verify|invite|invitation|activation|confirmation|confirm|login|auth|access"
    r"|recovery|backup|sms|email|two_?factor|mfa|one_?time|magic|coupon|voucher)_?(codes?|links?|keys?|ids?|pins?|hash))"
    r"(_(for|value|hex|str|string|bytes|of)(_\w+)?)?$",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=8192)
def plain(name: str) -> str:
    """Return a name in one spelling: ``X-Api-Key``, ``xApiKey`` and ``x_api_key`` are the same."""
    return _CAMEL.sub("_", name).replace("-", "_").lower()


@lru_cache(maxsize=8192)
def is_secret(name: str) -> bool:
    """Tell whether a name says that it is a secret."""
    spelled = plain(name)
    return bool(_SECRET.search(spelled)) and not _NO_SECRET.search(spelled)


@lru_cache(maxsize=8192)
def is_harmless(name: str) -> bool:
    """Tell whether a name says that it is no secret, though it has the word in it: a page's token, a short one."""
    return bool(_NO_SECRET.search(plain(name)))


@lru_cache(maxsize=8192)
def signs(name: str) -> bool:
    """Tell whether a name says that this service signs or encrypts with it: any text works, even an example."""
    spelled = plain(name)
    return bool(_SIGNS.search(spelled)) and not _NO_SECRET.search(spelled)


@lru_cache(maxsize=8192)
def is_password(name: str) -> bool:
    """Tell whether a name says that it is a password as somebody typed it."""
    spelled = plain(name)
    return bool(_PASSWORD.search(spelled)) and not _NO_SECRET.search(spelled)


@lru_cache(maxsize=8192)
def is_check(name: str) -> bool:
    """Tell whether a function's name says that it refuses somebody."""
    return bool(_CHECK.search(plain(name)))


@lru_cache(maxsize=8192)
def makes_secret(name: str) -> bool:
    """Tell whether a name says that what is made here is to be guessed by nobody."""
    spelled = plain(name)
    return bool(_MADE_SECRET.search(spelled)) and not _NO_SECRET.search(spelled)
