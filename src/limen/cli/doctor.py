"""``limen doctor``: looks an installation over and says what to do about what it finds."""

from limen.cli.configuration import EnvFile, Json, settings_file
from limen.cli.exits import Exit
from limen.cli.terminal import say, show_json, table

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(env_file: EnvFile = None, json: Json = False) -> int:
    """Check settings, secrets, files, database, clock and speed; exit 1 where something fails.

    It changes nothing: a database that is behind is told, not migrated.
    """
    from limen.cli.checkup import examine
    from limen.cli.findings import FAIL

    findings = examine(settings_file(env_file))
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
