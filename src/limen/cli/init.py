"""``limen init``: a file of settings with fresh secrets."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from limen.cli.configuration import Json
from limen.cli.exits import Refused, UsageError
from limen.cli.secrets import fresh_secret
from limen.cli.terminal import heading, say, show_json
from limen.core.errors import ConfigurationError
from limen.server.private_file import write_private

_TEMPLATE = """\
# The settings of limen. Only their owner may read this file: it holds secrets.
# limen reads it where LIMEN_ENV_FILE names it; what the environment says wins.
LIMEN_DATABASE_URL='{database}'
LIMEN_JWT_ACCESS_SECRET={access}
LIMEN_JWT_REFRESH_SECRET={refresh}
# Encrypts private keys in the database: without it they cannot be read any more.
LIMEN_DATA_SECRETS={data}

# Where others reach this service; it becomes the issuer of the tokens.
#LIMEN_PUBLIC_URL=https://app.example
# Who may make an account: closed or open.
#LIMEN_REGISTRATION=closed
"""


def init(
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="The file to write.")] = Path(".env"),
    database: Annotated[
        Path, typer.Option("--database", metavar="FILE", help="The SQLite file that limen is to use.")
    ] = Path("limen.db"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file. Its old secrets are gone, so all sessions end.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a file of settings with fresh secrets, readable by its owner only."""
    place = file.absolute()
    url = f"sqlite:///{database.absolute()}"
    if not set(url).isdisjoint("'\\?#\n"):
        raise UsageError(
            "The database's path holds a character that a settings file cannot carry.", "Name another one."
        )
    content = _TEMPLATE.format(database=url, access=fresh_secret(), refresh=fresh_secret(), data=fresh_secret())
    try:
        write_private(place, content, replace=force)
    except FileExistsError:
        raise Refused(
            f"{place} is there already.", "--force replaces it; its secrets are lost, and all sessions end."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be written: {error.strerror}") from None
    if json:
        show_json({"file": str(place), "database_url": url})
        return
    say(f"Wrote {place}: three fresh secrets, and SQLite at {database.absolute()}.")
    heading("Next:")
    say(f"export LIMEN_ENV_FILE={shlex.quote(str(place))}", "limen doctor", "limen accounts create NAME", "limen serve")
