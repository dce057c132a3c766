"""Several workers on SQLite, which the command line refuses; the arguments are those of ``limen serve``.

What a supervisor does has nothing to do with the database, and SQLite needs no server of its own.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from limen.cli.exits import report
from limen.core.errors import ConfigurationError, LimenError
from limen.server.supervisor import run
from limen.settings import Settings


def main(
    env_file: Annotated[Path, typer.Option()],
    host: Annotated[str, typer.Option()],
    port: Annotated[int, typer.Option()],
    workers: Annotated[int, typer.Option()],
) -> None:
    """Do what the command does for PostgreSQL."""
    try:
        run(
            Settings.load(env_file=env_file),
            host=host,
            port=port,
            workers=workers,
            on_ready=lambda address: print(f"limen serves {address}", flush=True),  # noqa: T201
            env_file=env_file,
        )
    except (ConfigurationError, LimenError) as error:
        sys.exit(report(error, as_json=False))


if __name__ == "__main__":
    typer.run(main)
