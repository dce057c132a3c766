"""``limen serve``: the stand-alone server that logs in, issues, refreshes and ends."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from limen.cli.configuration import EnvFile, Json
from limen.cli.exits import UsageError
from limen.cli.extras import require_server
from limen.cli.terminal import say, show_json


def serve(
    *,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="How many processes; SQLite serves one.")] = 1,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Speak TLS with this certificate, in PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="The key that belongs to it (0600).")
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option("--client-ca", metavar="FILE", help="The authorities whose client certificates are believed."),
    ] = None,
    client_cert_mode: Annotated[
        str | None,
        typer.Option("--client-cert-mode", metavar="optional|required", help="Whether one is required of everybody."),
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Run the stand-alone server with the settings of the environment.

    It signs with ES256, so that others can verify, unless LIMEN_SIGNING_ALG says otherwise.
    Put a proxy that speaks TLS in front of it, or let it speak TLS itself. SIGTERM ends it once the requests under way
    are answered; a second one ends it at once.
    """
    from limen.settings import ServerSettings

    told = {
        "LIMEN_TLS_CERT": tls_cert,
        "LIMEN_TLS_KEY": tls_key,
        "LIMEN_CLIENT_CA": client_ca,
        "LIMEN_CLIENT_CERT_MODE": client_cert_mode,
    }
    # By the environment, where workers read them as well.
    os.environ.update({name: str(value) for name, value in told.items() if value is not None})
    settings = ServerSettings.load(env_file=env_file)
    if workers > 1 and settings.database_url.startswith("sqlite:"):
        raise UsageError(
            f"--workers {workers} does not go with SQLite, which serves one process.",
            "Leave --workers out: one process answers thousands of refreshes a second.",
        )
    if workers > 1 and sys.platform == "win32":
        raise UsageError("--workers needs a system on which processes share a socket; this one does not.")
    require_server()

    def on_ready(address: str) -> None:
        if json:
            show_json({"address": address})
        else:
            say(f"limen serves {address}")

    if workers == 1:
        from limen.server.standalone import run

        run(settings, host=host, port=port, on_ready=on_ready)
    else:
        from limen.server.supervisor import run as run_workers

        run_workers(settings, host=host, port=port, workers=workers, on_ready=on_ready, env_file=env_file)
