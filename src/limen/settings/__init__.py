"""The settings: read from the environment, refused when they are unsafe, never shown."""

from limen.settings.model import ServerSettings, Settings
from limen.settings.parsing import canonical_origin, trusted_proxy
from limen.settings.secret_strength import HOW_TO_MAKE_ONE, MIN_CHARACTERS, weakness_of

__all__ = [
    "HOW_TO_MAKE_ONE",
    "MIN_CHARACTERS",
    "ServerSettings",
    "Settings",
    "canonical_origin",
    "trusted_proxy",
    "weakness_of",
]
