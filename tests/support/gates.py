"""Makes gates for tests: real settings, a real SQLite file, bcrypt at the lowest cost that is allowed."""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from limen import Limen, Settings
from limen.core.clock import Clock, system_clock

PASSWORD = "correct horse battery staple"
ROLES: Mapping[str, Iterable[str]] = {
    "maker": ["order:create", "order:read"],
    "checker": ["order:read", "order:approve"],
    "admin": ["order:create", "order:read", "order:approve", "account:read"],
}


def settings_for(folder: Path, **overrides: Any) -> Settings:
    """Make settings with fresh secrets and a database in the folder."""
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{folder / 'limen.db'}",
        "jwt_access_secret": secrets.token_urlsafe(48),
        "jwt_refresh_secret": secrets.token_urlsafe(48),
        "data_secrets": secrets.token_urlsafe(48),
        "bcrypt_cost": 10,
        "registration": "open",
    }
    return Settings.load(**{**values, **overrides})


def gate_for(folder: Path, *, clock: Clock = system_clock, **overrides: Any) -> Limen:
    """Make a gate with the roles of the tests."""
    return Limen(settings_for(folder, **overrides), roles=ROLES, clock=clock)
