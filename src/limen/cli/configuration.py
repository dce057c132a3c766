"""Where a command finds the settings, and how it gets at the gate."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from limen.cli.terminal import note

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.settings import Settings
    from limen.wiring import Limen

T = TypeVar("T")

ACTOR: Final = "cli"
"""Who did it, in the audit trail, where a command did."""

DEMO_SETTINGS = Path("var", "demo.env")
"""Where `limen demo` keeps its settings, below the working directory."""

EnvFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        help="A file of settings; LIMEN_ENV_FILE names one too, and the environment wins.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_file(given: Path | None) -> Path | None:
    """Return the settings file to read: the given one, else the demo's where nothing else was configured.

    A `.env` that merely lies in the working directory is never read. The demo's settings are taken, and it is said so,
    only where the environment names neither a file nor a database, and only the caller's own; as everywhere, a file
    that others can open is refused when it is read.
    """
    if given is not None or any(os.environ.get(name) for name in ("LIMEN_ENV_FILE", "LIMEN_DATABASE_URL")):
        return given
    try:
        status = DEMO_SETTINGS.stat()
    except OSError:
        return None
    if os.name == "posix" and status.st_uid != os.geteuid():
        return None
    note(f"no settings are named, so these are the demo's: {DEMO_SETTINGS}")
    return DEMO_SETTINGS


def load(env_file: Path | None) -> "Settings":
    """Read the settings for a command that works on the data of an installation.

    Raises:
        ConfigurationError: they cannot be used.
    """
    from limen.settings import Settings

    return Settings.load(env_file=settings_file(env_file))


def with_gate(act: Callable[["Limen"], Awaitable[T]], env_file: Path | None) -> T:
    """Open the installation that the settings describe, act on it, and close it again.

    It goes by the roles in the database; where there has never been one, it begins with ``admin``, which administers.
    """
    from limen.authz.administration import DEFAULT_ROLES
    from limen.wiring import Limen

    settings = load(env_file)
    logging.getLogger("limen").setLevel(logging.WARNING)

    async def run() -> T:
        async with Limen(settings, default_roles=DEFAULT_ROLES).running() as gate:
            return await act(gate)

    return asyncio.run(run())


def with_storage(act: Callable[["Limen"], Awaitable[T]], env_file: Path | None) -> T:
    """Open the database alone, as it is: nothing works in the background, and nothing is migrated.

    Raises:
        ConfigurationError: the settings cannot be used, or the database is behind this version.
    """
    from limen.wiring import Limen

    settings = load(env_file)
    logging.getLogger("limen").setLevel(logging.WARNING)

    async def run() -> T:
        gate = Limen(settings)
        await gate.storage.start(migrate=False)
        try:
            return await act(gate)
        finally:
            await gate.storage.stop()

    return asyncio.run(run())
