"""``limen explain``: why an account may do something, or may not."""

import asyncio
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limen.cli.configuration import Json
from limen.cli.exits import Exit, Refused, UsageError
from limen.cli.target import find
from limen.cli.terminal import say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.authz.compilers.explain import Explanation


def explain(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its id, or its username in any spelling.")],
    action: Annotated[str, typer.Argument(metavar="ACTION", help="What is done, as resource:action.")],
    app: Annotated[
        str,
        typer.Option(
            "--app",
            metavar="MODULE:NAME",
            envvar="LIMEN_APP",
            help="A Limen with policies, or an application that one protects; a function that makes it will do.",
        ),
    ],
    resource: Annotated[
        str | None,
        typer.Argument(metavar="RESOURCE", help="Model:id, which policy_resources= loads.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Say why an account may do something, or may not, with the values that were compared. Denied ends with 1."""
    from limen.authz.explaining import shown_value
    from limen.core.errors import InvalidInput, NotFound

    gate = _gate_at(app)

    async def ask() -> "Explanation":
        async with gate.running():
            found: Explanation = await gate.explain_account(account, action, resource)
            return found

    try:
        told = asyncio.run(ask())
    except (InvalidInput, NotFound) as error:
        raise Refused(error.detail or error.title) from error
    failed = [
        {
            "leaf": each.leaf,
            "left": shown_value(each.left, each.code),
            "right": shown_value(each.right, each.code),
        }
        for each in told.failed
    ]
    if json:
        show_json({"allowed": told.allowed, "version": told.version, "rule": told.rule, "failed": failed})
    else:
        by = f" by {told.rule}" if told.rule else ""
        say(f"{'allowed' if told.allowed else 'denied'}{by}{f' ({told.code})' if told.code else ''}")
        if failed:
            rows = [
                [each.rule, each.leaf, shown_value(each.left) or "", shown_value(each.right) or "", each.code]
                for each in told.failed
            ]
            table(["rule", "must hold", "left", "right", "why not"], rows)
        say(f"version {told.version}")
    if not told.allowed:
        raise typer.Exit(Exit.REFUSED)


def _gate_at(target: str) -> Any:
    found = find(target)
    if inspect.isfunction(found):
        found = found()
    gate = getattr(getattr(found, "limen_protection", None), "gate", found)
    if not hasattr(gate, "explain_account"):
        raise UsageError(f"{target} has no accounts.", "Name a Limen, or an application that one protects.")
    return gate
