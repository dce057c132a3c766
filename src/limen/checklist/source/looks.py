"""What a written value looks like: a secret, a word, an example, a name of something."""

import re
from typing import Final

from limen.checklist.source.words import is_password, is_secret, plain, signs

_KNOWN: Final = re.compile(
    r"^\s*(Bearer )?(sk_live_\w{8}|rk_live_\w{8}|sk-(proj-|ant-|or-)?[A-Za-z0-9_]{20}|(AKIA|ASIA)[A-Z0-9]{12}"
    r"|gh[pousr]_[A-Za-z0-9]{20}"
    r"|github_pat_\w{20}|glpat-[\w-]{16}|xox[abprs]-[\w-]{10}|AIza[\w-]{30}|SG\.[\w-]{16}\.|npm_[A-Za-z0-9]{30}"
    r"|pypi-AgE[\w-]{20}|hf_[A-Za-z]{30}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(\s|\\n)+[A-Za-z0-9+/]{20})"
)
_DSN: Final = re.compile(r"^\s*[a-z][a-z0-9+]*://[^/\s:@{}]*:(?P<password>[^/\s:@{}<>$*%]+)@(?P<host>[^/\s:@?]*)")
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "host", "hostname"})  # noqa: S104 - is read only
_COMMON: Final = frozenset({"password", "pass", "pwd", "secret", "pw", "passwd", "test", "example"})
_TEMPLATE: Final = re.compile(
    # Templates, and the names of variables of an environment.
    r"^(|[*.•]+|<.*>|\$\{?.*|%.*%|\{.*\}|none|null|todo|x+|empty|unset|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|_+\w+_+)$",
    re.IGNORECASE,
)
_PLACEHOLDER: Final = re.compile(
    r"your|example|placeholder|dummy|fake|sample|test|not-?needed|no-?key|insert|replace|foobar"
)
_EASY: Final = re.compile(r"secret|change|passw|insecure|default|dev|your|key|test|admin|super|local")
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_PUBLIC: Final = re.compile(
    r"amplitude|posthog|segment|sentry|mixpanel|algolia_search|publishable|public|write_key|site_key"
)
_HOLDERS: Final = re.compile(
    r"(^|_)(admin|root|default|superuser|initial|first_superuser|demo|guest)_?\w*(password|api_?key)$"
)


def is_known_secret(text: str) -> bool:
    """Tell whether a text has the form of a key of a known service, a signed token, or a private key."""
    return bool(_KNOWN.match(text)) and "EXAMPLE" not in text.upper().replace("IOSFODNN7EXAMPLE", "")


def has_dsn_password(text: str, *, is_whole: bool = True) -> bool:
    """Tell whether a text is an address with a password in it, and not one of a machine of one's own.

    Args:
        text: the address.
        is_whole: the host is in it; otherwise it is the beginning of one.
    """
    found = _DSN.match(text)
    if found is None or found["password"].lower() in _COMMON or found["password"] in text[: found.start("password")]:
        return False
    if not is_whole:
        return found["host"] == ""
    return "." in found["host"] and found["host"] not in _LOCAL and not _PLACEHOLDER.search(found["password"].lower())


def is_written_secret(name: str, value: str) -> bool:
    """Tell whether a text beside a name is a secret that works as it stands.

    For what the service signs with every text works, ``change-me`` too. A key of somebody else's service, or a
    password, is one only where it does not read as a word or an example.
    """
    if not (is_secret(name) or signs(name)) or not _may_be_one(name, value):
        return False
    easy = value.lower()
    if signs(name) and re.search(r"(jwt|session|cookie|signing|encryption|secret)_(key|secret)", plain(name)):
        return not _names_something(easy)
    if signs(name):
        return (bool(_EASY.search(easy)) and not _names_something(easy)) or _is_random(value) or _mixes(value)
    if _HOLDERS.search(plain(name)):
        return not _names_something(easy)
    if _PLACEHOLDER.search(easy):
        return False
    return _mixes(value) if is_password(name) else _is_random(value) or (_mixes(value) and not _reads(value))


def _may_be_one(name: str, value: str) -> bool:
    """Tell whether a text is no template, no path, no sentence, and not the name itself again."""
    if not 6 <= len(value) <= 4000 or any(each in value for each in " \n{}<>") or value.startswith("/"):
        return False
    if "/" in value and ("://" in value or not _is_random(value)):
        return False
    if re.match(r"_?(fake|dummy|example|mock|sample|test)_", plain(name)):
        return False
    if _is_public(name, value) or _echoes(name, value):
        return False
    # ``your-secret`` in small letters is a key that works where the service signs with it.
    is_template = _TEMPLATE.match(value) is not None and not (value.islower() and signs(name))
    return not is_template and plain(value).replace(" ", "_") != plain(name)


def _is_public(name: str, value: str) -> bool:
    """Tell whether a key is one that every browser gets: of analytics, or a publishable one."""
    return bool(_PUBLIC.search(plain(name)) or re.match(r"(pk_live_|pk_test_|phc_)", value))


def _echoes(name: str, value: str) -> bool:
    """Tell whether a text says again what it is called: ``REFRESH_TOKEN = "refresh-token"``, ``"UserApiKey"``."""
    said, told = (re.sub(r"[^a-z0-9]", "", each.lower()).removesuffix("s") for each in (name, value))
    return said in told or ((told in said and len(told) >= 6) and not any(each.isdigit() for each in value))


def _names_something(value: str) -> bool:
    """Tell whether a text is the name of a thing and no value: a header, a cookie, a kind of token, an error."""
    return bool(
        re.search(
            r"^(x-|bearer$|basic$|invalid|missing|wrong|bad_|no_|expired|incorrect|client_secret|secret_key$|api_?key$"
            r"|(access|refresh|id|csrf|session|auth)[-_]?(token|key)(s|_\w+)?$|token$|password$|authorization$|secret$"
            r"|jwt_secret$|client[-_]secret[-_](basic|post|jwt)|private_key_jwt$|[\w.]+_(url|name|field|header|id|type)$)",
            value,
        )
    )


def _mixes(value: str) -> bool:
    """Tell whether there are digits and letters in it, or signs: as in what somebody thought up to be safe."""
    digits = any(each.isdigit() for each in value)
    letters = any(each.isalpha() for each in value)
    return digits and letters and not _names_something(value.lower())


def _reads(value: str) -> bool:
    """Tell whether a text is made of words: ``reset-password-token-v2`` is a name."""
    parts = _WORDS.findall(value)
    letters = [each for each in parts if each.isalpha()]
    if value.istitle() and value.isalpha():
        return True
    return bool(letters) and len(value) / max(1, len(parts)) >= 3.5 and max(map(len, letters)) <= 14


def _is_random(value: str) -> bool:
    """Tell whether nobody would write such a text as a word: long, of many characters, and of no words."""
    return len(value) >= 16 and len(set(value)) >= 8 and not _reads(value)
