"""What names say: which of them are secrets, passwords, checks."""

import re
from typing import Final

_SECRET: Final = re.compile(
    r"(^|_)(secret|secrets|secret_?key|password|passwd|pwd|passphrase|api_?key|private_?key|access_?key|signing_?key"
    r"|encryption_?key|client_?secret|credentials?|otp|totp|((access|refresh|id|auth|api|bearer|session|reset|csrf|jwt"
    r"|verification|invite|magic)_?)?token|authorization)$",
    re.IGNORECASE,
)
_PASSWORD: Final = re.compile(r"(^|_)(password|passwd|pwd|passphrase|plain_?password|raw_?password)$", re.IGNORECASE)
_CHECK: Final = re.compile(
    r"(^|_)(verify|verify_\w+|authenticate\w*|authorize\w*|check_(auth|user|token|access|permission|role|signature)\w*"
    r"|require_\w+|ensure_(auth|access|permission|role)\w*|validate_(token|jwt|signature|api_key)\w*|decode_(token|jwt)"
    r"|get_current_user|has_permission\w*|is_authorized|is_allowed)$",
    re.IGNORECASE,
)
_MADE_SECRET: Final = re.compile(
    r"(token|secret|password|passwd|otp|nonce|salt|session_?id|csrf|api_?key|reset|verification|invite|activation)",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Tell whether a name says that it is a secret."""
    return bool(_SECRET.search(name))


def is_password(name: str) -> bool:
    """Tell whether a name says that it is a password as somebody typed it."""
    return bool(_PASSWORD.search(name))


def is_check(name: str) -> bool:
    """Tell whether a function's name says that it refuses somebody."""
    return bool(_CHECK.search(name))


def makes_secret(name: str) -> bool:
    """Tell whether a name says that what is made here is to be guessed by nobody."""
    return bool(_MADE_SECRET.search(name))
