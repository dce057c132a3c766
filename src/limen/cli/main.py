"""The command ``limen``: reads the arguments, runs one command, turns every error into a sentence and an exit code."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from limen.cli.exits import Exit, Refused, UsageError, report
from limen.core.errors import ConfigurationError, LimenError

# Typer brings its own copy of click, or click itself, by its version; the class is the same either way.
_ClickError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_Abort: type[BaseException] = typer.Abort


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"limen {version('limen')}")
        raise typer.Exit()


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unforeseen error.")] = False,
) -> None:
    """Authentication and authorization for Python services.

    Exit codes: 0 done, 1 refused, not found or findings, 2 wrong usage, 3 configuration, 4 a dependency is down.
    """


class Group(TyperGroup):
    """Lists its commands with whole sentences where its help goes into a pipe, too; click itself cuts them short."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list; both come from click, or from the copy that Typer brings along."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(limit=_WHOLE)) for name, one in commands if one and not one.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


_WHOLE: Final = 1_000
"""Characters that no command's first sentence has."""
_COMMANDS: Final = ("serve", "demo", "init", "doctor", "check", "explain")
_GROUPS: Final = {
    "accounts": "accounts",
    "services": "services",
    "api-keys": "api_keys",
    "certificates": "certificates",
    "roles": "roles",
    "policy": "policy",
    "audit": "audit",
    "db": "db",
    "secrets": "secrets",
    "keys": "keys",
}
"""The groups, each with the module that it lives in."""


def application(wanted: str = "") -> typer.Typer:
    """Put the commands together; where one of them is wanted, that one alone: the others are not even loaded."""
    app = typer.Typer(
        name="limen",
        cls=Group,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Frames and colours only where somebody looks.
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    is_known = wanted in _COMMANDS or wanted in _GROUPS
    for name in _COMMANDS:
        if name == wanted or not is_known:
            app.command()(getattr(import_module(f"limen.cli.{name}"), name))
    for name, module in _GROUPS.items():
        if name == wanted or not is_known:
            app.add_typer(import_module(f"limen.cli.{module}").app, name=name, cls=Group)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the arguments are those of the process unless given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json, debug = "--json" in given, "--debug" in given
    if arguments is None and given[:1] == ["check"] and ":" in "".join(given[1:2]):
        # The process that imports the application gets ready while this one reads its arguments.
        from limen.checklist.looking import begin

        begin()
    wanted = next((each for each in given if not each.startswith("-")), "")
    try:
        ended = get_command(application(wanted)).main(given, prog_name="limen", standalone_mode=False)
    except _ClickError as error:
        return _usage(error, as_json=as_json)
    except (_Abort, KeyboardInterrupt):
        print("limen: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever reads the output has read enough (`| head`); the interpreter must not complain while it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except (LimenError, ConfigurationError, Refused, UsageError) as error:
        return report(error, as_json=as_json)
    except Exception as error:
        if debug:
            raise
        return report(error, as_json=as_json)
    return int(ended) if isinstance(ended, int) else Exit.DONE


def _usage(error: Exception, *, as_json: bool) -> int:
    """Report what Typer found wrong with the arguments; a bare ``limen`` has shown its help by now."""
    message = getattr(error, "format_message", error.__str__)()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return Exit.USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "limen"
    return report(UsageError(message, f"{path} --help says more."), as_json=as_json)
