"""``limen doctor``: looks an installation over and says what to do about what it finds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limen.cli.configuration import EnvFile, Json, load, settings_file
from limen.cli.exits import Exit, Refused
from limen.cli.terminal import note, say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.cli.findings import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


WAIT_SECONDS = 120.0


def doctor(
    env_file: EnvFile = None,
    json: Json = False,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Take one request here in limen's place, and say who limen would take for its client.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Check settings, secrets, files, database, clock and speed; exit 1 where something fails.

    It changes nothing: a database that is behind is told, not migrated.
    """
    from limen.cli.findings import FAIL

    if listen is None:
        from limen.cli.checkup import examine

        findings = examine(settings_file(env_file))
    else:
        findings = _of_one_request(listen, env_file)
    failed = any(finding.standing == FAIL for finding in findings)
    if json:
        show_json({"ok": not failed, "findings": [finding.as_json() for finding in findings]})
    else:
        rows = [[finding.standing, finding.what, finding.found] for finding in findings]
        table(["", "what", "found"], rows, colours=_COLOURS)
        for finding in findings:
            if finding.advice:
                say(f"{finding.standing}: {finding.what}: {finding.advice}")
    return Exit.REFUSED if failed else Exit.DONE


def _of_one_request(listen: str, env_file: Path | None) -> "list[Finding]":
    from limen.cli.peer_checkup import examine_peer, one_request
    from limen.web.peers import TrustedProxies

    settings = load(settings_file(env_file))
    note(f"waiting at {listen} for one request, sent through the proxy, for {WAIT_SECONDS:.0f} s at most")
    try:
        scope = one_request(listen, WAIT_SECONDS)
    except TimeoutError as error:
        raise Refused(f"{error}.", "Send one through the proxy while this command waits.") from None
    return examine_peer(scope, TrustedProxies(settings.trusted_proxies, settings.forwarded_header))
