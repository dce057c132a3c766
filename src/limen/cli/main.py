"""The command ``limen``: reads the arguments, runs one command, turns every error into a sentence and an exit code."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
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


def application() -> typer.Typer:
    """Put the groups of commands together."""
    from limen.cli import (
        accounts,
        api_keys,
        audit,
        certificates,
        check,
        db,
        demo,
        doctor,
        explain,
        init,
        keys,
        policy,
        roles,
        secrets,
        serve,
        services,
    )

    app = typer.Typer(
        name="limen",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Frames and colours only where somebody looks.
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    commands: list[Callable[..., Any]] = [
        serve.serve,
        demo.demo,
        init.init,
        doctor.doctor,
        check.check,
        explain.explain,
    ]
    for command in commands:
        app.command()(command)
    app.add_typer(accounts.app, name="accounts")
    app.add_typer(services.app, name="services")
    app.add_typer(api_keys.app, name="api-keys")
    app.add_typer(certificates.app, name="certificates")
    app.add_typer(roles.app, name="roles")
    app.add_typer(policy.app, name="policy")
    app.add_typer(audit.app, name="audit")
    app.add_typer(db.app, name="db")
    app.add_typer(secrets.app, name="secrets")
    app.add_typer(keys.app, name="keys")
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the arguments are those of the process unless given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json, debug = "--json" in given, "--debug" in given
    try:
        ended = get_command(application()).main(given, prog_name="limen", standalone_mode=False)
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
