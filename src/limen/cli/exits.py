"""How a command ends: the exit codes, and an error as one sentence with a hint, or as JSON; never a traceback."""

import json
import sys
from enum import IntEnum
from typing import Final

from limen.core.errors import ConfigurationError, LimenError, Unavailable

_LOOK: Final = "limen doctor looks the installation over."
_DOWN: Final = "limen doctor tells what does not answer, and why: the database, Valkey, or a disk."
_NO_SETTINGS: Final = "LIMEN_DATABASE_URL is not set"
_HINT: Final = "limen init writes a file of settings; LIMEN_ENV_FILE or --env-file names one that is there."


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    CONFIGURATION = 3
    DEPENDENCY = 4
    INTERRUPTED = 130


class UsageError(Exception):
    """The command was called in a way that makes no sense; the hint says what would.

    Args:
        text: what is wrong, in one sentence.
        hint: what to do instead.
    """

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Refused(Exception):
    """The command understood what is wanted and does not do it; the hint says what would make it.

    Args:
        text: what is refused, in one sentence.
        hint: what to do instead.
    """

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Unfinished(Exception):
    """The command itself failed, where exit code 1 would be read as an answer; its cause says how."""


def exit_code(error: Exception) -> Exit:
    """Return the exit code that an error stands for."""
    if isinstance(error, UsageError | Unfinished):
        return Exit.USAGE
    if isinstance(error, ConfigurationError):
        return Exit.CONFIGURATION
    if isinstance(error, LimenError) and error.status == 503:
        return Exit.DEPENDENCY
    return Exit.REFUSED


def as_problem(error: Exception) -> dict[str, object]:
    """Return an error in the form of problem details (RFC 9457), with the exit code and a hint for the operator."""
    told: dict[str, object]
    if isinstance(error, LimenError):
        faults = [{"loc": fault.loc, "code": fault.code, "message": fault.message} for fault in error.errors]
        told = {"title": error.title, "status": error.status, "code": error.code, "detail": error.detail}
        # Below 500 the catalogue's hints are about HTTP requests.
        # A command has no log that somebody reads.
        hint = _DOWN if error.hint == Unavailable.hint else error.hint
        told |= {"errors": faults, "hint": hint if error.status >= 500 else ""}
    elif isinstance(error, UsageError):
        told = {"title": str(error), "status": 400, "code": "usage", "hint": error.hint}
    elif isinstance(error, Refused):
        told = {"title": str(error), "status": 409, "code": "conflict", "hint": error.hint}
    elif isinstance(error, ConfigurationError):
        lines = str(error).splitlines()
        faults = [{"loc": [], "code": "configuration", "message": line} for line in lines]
        told = {"title": "The configuration cannot be used.", "status": 500, "code": "configuration"}
        told |= {"detail": "; ".join(lines), "errors": faults, "hint": _HINT if _NO_SETTINGS in lines[0] else _LOOK}
    else:
        title = f"limen failed: {type(error.__cause__ or error).__name__}."
        told = {"title": title, "status": 500, "code": "internal_error", "hint": "limen --debug … shows where."}
    # The same type as the HTTP answers have, without importing the room that speaks HTTP.
    named = {"type": f"urn:limen:error:{told['code']}", **told, "exit": int(exit_code(error))}
    return {name: value for name, value in named.items() if value not in (None, "", [])}


def report(error: Exception, *, as_json: bool) -> Exit:
    """Write an error to standard error and return the exit code."""
    problem = as_problem(error)
    if as_json:
        print(json.dumps(problem, ensure_ascii=False), file=sys.stderr)
        return exit_code(error)
    if isinstance(error, ConfigurationError):
        lines = str(error).splitlines()
    else:
        lines = [str(problem.get("detail") or problem["title"])]
        lines += [fault.message for fault in getattr(error, "errors", ()) if fault.message not in lines[0]]
    print("limen: " + "\n       ".join(lines), file=sys.stderr)
    if "hint" in problem:
        print(f"hint:  {problem['hint']}", file=sys.stderr)
    return exit_code(error)
