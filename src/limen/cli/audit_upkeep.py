"""``limen audit``, its upkeep: details erased, what is old removed, a lost place recovered, sinks looked at."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from limen.cli.accounts import rfc3339
from limen.cli.configuration import ACTOR, EnvFile, Json, load
from limen.cli.exits import Refused, UsageError
from limen.cli.terminal import note, say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.features.audit.service import SinkState, TrailHead
    from limen.wiring import Limen

T = TypeVar("T")

DAY_MS = 86_400_000

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def erase(
    account_id: Annotated[str, typer.Argument(metavar="ACCOUNT_ID", help="The account's id; it may be deleted.")],
    *,
    yes: Yes = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Erase addresses, clients and details of what an account did, and of what was done to it.

    Who did what to whom, when, and how it ended stays, and the chain stays whole. That it was done is a record.
    """
    confirm("These details cannot be brought back.", yes=yes)

    async def act(gate: "Limen") -> int:
        return await gate.audit.erase(account_id, actor=ACTOR)

    count = with_storage(act, env_file)
    if json:
        show_json({"id": account_id, "records": count})
    else:
        say(f"The details of {count} records were erased.")


def prune(
    older_than: Annotated[
        int, typer.Option("--older-than", metavar="DAYS", min=1, help="Remove what was sealed earlier than this.")
    ],
    *,
    yes: Yes = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Remove the oldest records of the trail for good; what is left is verified from where it begins then.

    Export them first: limen audit export.
    """
    confirm("These records cannot be brought back.", yes=yes)

    async def act(gate: "Limen") -> int:
        head = await gate.audit.head()
        return await gate.audit.prune(head.now - older_than * DAY_MS, actor=ACTOR)

    count = with_storage(act, env_file)
    if json:
        show_json({"records": count})
    else:
        say(f"{count} records were removed.")


def recover(*, yes: Yes = False, env_file: EnvFile = None, json: Json = False) -> None:
    """Let the chain go on at its last seal where the row that says where it stands is gone, or nobody vouches for it.

    That it was done is a record. What was cut off before is found by a checkpoint alone.
    """
    confirm("Where the chain ends now will count as its end; only a checkpoint still tells of more.", yes=yes)

    async def act(gate: "Limen") -> "TrailHead | None":
        return await gate.audit.recover(actor=ACTOR)

    head = with_storage(act, env_file)
    if json:
        show_json({"recovered": head is not None, "place": None if head is None else head.number})
    elif head is None:
        say("Where the chain stands is vouched for: nothing was done.")
    else:
        say(f"The chain goes on after place {head.number}.")


def keys(env_file: EnvFile = None) -> None:
    """Print the public keys of checkpoints as a JWK Set, for those who verify them."""

    async def act(gate: "Limen") -> dict[str, list[dict[str, str]]]:
        return gate.audit.public_keys()

    say(dumps(with_storage(act, env_file)))


def sinks(env_file: EnvFile = None, json: Json = False) -> None:
    """Tell how far each sink has been handed the trail, and what failed the last time."""

    async def act(gate: "Limen") -> "Sequence[tuple[SinkState, bool]]":
        return await gate.sinks.states()

    found = with_storage(act, env_file)
    if json:
        show_json({"items": [_sink_as_json(state, is_set=is_set) for state, is_set in found]})
        return
    told = [
        [
            state.name,
            f"{state.place} of {state.last}",
            f"{state.lag_ms // 1000} s",
            rfc3339(state.handed_at),
            state.failure and f"{state.failure} ({state.attempts} times)",
        ]
        for state, _ in found
    ]
    table(["sink", "place", "behind", "last taken", "failure"], told)
    for state, is_set in found:
        if not is_set:
            note(f"{state.name} is not set any more, and keeps prune back: limen audit forget {state.name}")


def forget(
    name: Annotated[str, typer.Argument(metavar="SINK", help="The sink, as `limen audit sinks` names it.")],
    *,
    yes: Yes = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Forget how far a sink is: what it has not taken may be removed, and one that is set begins anew."""
    confirm("What this sink has not taken may be removed then.", yes=yes)

    async def act(gate: "Limen") -> bool:
        return await gate.sinks.forget(name, actor=ACTOR)

    if not with_storage(act, env_file):
        raise Refused(f"There is no sink {name}.")
    if json:
        show_json({"sink": name})
    else:
        say(f"{name} is forgotten.")


def with_storage(act: Callable[["Limen"], Awaitable[T]], env_file: Path | None) -> T:
    """Open the database alone: nothing works in the background, and nothing is written that was not asked for."""
    from limen.wiring import Limen

    settings = load(env_file)
    logging.getLogger("limen").setLevel(logging.WARNING)

    async def run() -> T:
        gate = Limen(settings)
        await gate.storage.start(migrate=settings.migrate == "start")
        try:
            return await act(gate)
        finally:
            await gate.storage.stop()

    return asyncio.run(run())


def _sink_as_json(state: "SinkState", *, is_set: bool) -> dict[str, object]:
    return {
        "sink": state.name,
        "is_set": is_set,
        "place": state.place,
        "last": state.last,
        "lag_ms": state.lag_ms,
        "attempts": state.attempts,
        "failure": state.failure,
        "handed_at": None if state.handed_at is None else rfc3339(state.handed_at),
    }


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether it is meant; without a terminal it has to be said by ``--yes``."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(what, "There is no terminal to ask on; --yes says that it is meant.")
    if not typer.confirm(f"{what} Go on?", default=False, err=True):
        raise Refused("Nothing was done.")
