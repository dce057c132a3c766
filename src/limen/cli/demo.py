"""``limen demo``: everything at once, with an example application, four accounts and what to try."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from limen.cli.configuration import Json
from limen.cli.exits import UsageError
from limen.cli.extras import require_server
from limen.cli.terminal import heading, say, show_json, table
from limen.cli.to_try import things_to_try


def demo(
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Where its data and secrets are kept.")] = Path(
        "var"
    ),
    expose_demo: Annotated[
        bool, typer.Option("--expose-demo", help="Allow an address that other machines can reach.")
    ] = False,
    json: Json = False,
) -> None:
    """Run limen with the orders example, on SQLite and fresh secrets of its own.

    A second run keeps the data. Anybody can register here, and the passwords are in a file: it is for trying out.
    """
    require_server()
    from limen.server.addresses import is_loopback
    from limen.server.demo import Demo, run

    if not expose_demo and not is_loopback(host):
        raise UsageError(
            f"The demo lets anybody register and keeps passwords in a file: it must not listen on {host}, which other "
            "machines may reach.",
            "Leave --host out, or add --expose-demo where everybody who can reach it may use it.",
        )

    def on_prepared(prepared: Demo) -> None:
        if json:
            return
        if prepared.fresh:
            heading("Four accounts were made:")
            table(["username", "password"], [[name, one["password"]] for name, one in prepared.accounts.items()])
            say(f"The passwords are also in {prepared.accounts_file}", "")
        else:
            say(f"The data of an earlier run is kept; the passwords are in {prepared.accounts_file}", "")

    def on_ready(prepared: Demo, address: str) -> None:
        if json:
            files = {"accounts_file": str(prepared.accounts_file), "settings_file": str(prepared.settings_file)}
            show_json({"address": address, **files})
            return
        for section in things_to_try(address, prepared.accounts_file, prepared.settings_file):
            heading(section.heading)
            say(*section.lines, "")
        names = ", ".join(prepared.accounts)
        say(f"Log in as one of {names}; the passwords are in {prepared.accounts_file}")
        say(f"Try it in a browser: {address}/docs")
        if is_loopback(host):
            say(f"Read its mails, such as links to choose another password: {address}/demo/mails")
        command = f"{shlex.quote(sys.executable)} -m limen.cli accounts list"
        say(f"Manage its accounts: LIMEN_ENV_FILE={shlex.quote(str(prepared.settings_file))} {command}")
        say(f"limen demo listens on {address} (Ctrl-C ends it)")

    run(data, host=host, port=port, on_prepared=on_prepared, on_ready=on_ready)
