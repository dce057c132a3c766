"""A short name for the device that a session was opened on, for people who look through their list of sessions."""

from functools import cache, lru_cache
from typing import Final

from ua_parser import BasicResolver, Domain, Resolver, load_builtins

UNKNOWN: Final = "Unknown device"
_MAX_PART: Final = 48
"""Characters: parts of a name are taken from the header, which anybody writes as they like."""


@cache
def _resolver() -> Resolver:
    browsers, systems, _ = load_builtins()
    return BasicResolver((browsers, systems, []))


def warm_up() -> None:
    """Compile the rules: it takes a fifth of a second, which no request is to wait for."""
    _resolver()


@lru_cache(maxsize=4096)
def device_name(user_agent: str) -> str:
    """Return a name such as «Firefox on Windows» for a User-Agent header (RFC 9110, section 10.1.5).

    It is what the client says of itself: good to recognise one's own devices, and no proof of anything.
    """
    found = _resolver()(user_agent, Domain.USER_AGENT | Domain.OS)
    browser = _clean(found.user_agent.family) if found.user_agent else ""
    system = _clean(found.os.family) if found.os else ""
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or UNKNOWN


def _clean(part: str) -> str:
    return "".join(character for character in part if character.isprintable())[:_MAX_PART].strip()
