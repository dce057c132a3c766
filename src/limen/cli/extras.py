"""What only some commands need, and the one line that installs it."""

from importlib.util import find_spec

from limen.core.errors import ConfigurationError

SERVER_PACKAGES = ("aiosqlite", "asyncpg", "fastapi", "uvicorn")


def require_server() -> None:
    """Refuse to go on without the packages of the server.

    Raises:
        ConfigurationError: one is missing; the line to install them.
    """
    missing = [name for name in SERVER_PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f'{", ".join(missing)} is not installed; run: pip install "limen[server]"')
