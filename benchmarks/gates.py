"""Gates for the benchmarks: real settings and a real database, and access tokens made outside of any server."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from limen import Limen, Settings
from limen.core.ids import uuid7
from limen.crypto.claims import ACCESS_TYP, access_claims
from limen.crypto.keys import SigningKey
from limen.crypto.signing import Signer

ROLES = {"maker": ["order:create", "order:read"], "checker": ["order:read", "order:approve"]}
PASSWORD = "correct horse battery staple"


@contextmanager
def installation(**settings: str) -> Iterator[dict[str, str]]:
    """Make a folder with a database and secrets for as long as it is used; yields the environment of its processes."""
    with TemporaryDirectory(prefix="limen-bench-") as folder:
        yield {
            "LIMEN_DATABASE_URL": f"sqlite:///{Path(folder) / 'limen.db'}",
            "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
            "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
            "LIMEN_BCRYPT_COST": "10",
            "LIMEN_REGISTRATION": "open",
            "LIMEN_LOG_LEVEL": "WARNING",
            # One machine logs in to one account as fast as it can: what is measured is the login.
            "LIMEN_THROTTLE": "off",
            **{f"LIMEN_{name.upper()}": value for name, value in settings.items()},
        }


def settings_of(environment: dict[str, str]) -> Settings:
    """Read the settings that the processes of an installation read."""
    return Settings.load(**{name.removeprefix("LIMEN_").lower(): value for name, value in environment.items()})


def gate_of(environment: dict[str, str]) -> Limen:
    """Make a gate in this process."""
    return Limen(settings_of(environment), roles=ROLES)


class TokenMaker:
    """Makes access tokens as the gate of an installation would, each of a session of its own."""

    def __init__(self, settings: Settings, key: SigningKey | None = None) -> None:
        self._settings = settings
        secret = settings.jwt_access_secret.get_secret_value()
        self._signer = Signer(key or SigningKey.from_secret(secret), ACCESS_TYP)

    def make(self) -> str:
        """Return a fresh token with the role ``maker``."""
        now = int(time.time())
        settings = self._settings
        return self._signer.sign(
            access_claims(
                issuer=settings.issuer,
                audience=settings.audience,
                sub=uuid7(),
                sid=uuid7(),
                client_id=settings.audience,
                roles=frozenset({"maker"}),
                auth_time=now,
                amr=("pwd",),
                iat=now,
                ttl=settings.access_ttl,
            )
        )

    def make_many(self, count: int) -> list[str]:
        """Return that many."""
        return [self.make() for _ in range(count)]
