"""``limen keys``: the keys that access tokens are signed with."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import typer

from limen.cli.configuration import ACTOR, EnvFile, Json, settings_file
from limen.cli.exits import Refused
from limen.cli.terminal import note, say, show_json, table

T = TypeVar("T")


class KeyShape(Protocol):
    """What of a key is shown; times are milliseconds since 1970 UTC."""

    @property
    def kid(self) -> str: ...  # noqa: D102 - the attributes of the record
    @property
    def alg(self) -> str: ...  # noqa: D102
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def published_at(self) -> int: ...  # noqa: D102
    @property
    def signs_at(self) -> int | None: ...  # noqa: D102
    @property
    def stopped_at(self) -> int | None: ...  # noqa: D102
    @property
    def keep_until(self) -> int | None: ...  # noqa: D102


class RetiredShape(Protocol):
    """What of a retired key is shown."""

    @property
    def was(self) -> str: ...  # noqa: D102
    @property
    def successor(self) -> str | None: ...  # noqa: D102


class Keys(Protocol):
    """The use cases of signing keys."""

    async def all(self) -> Sequence[KeyShape]: ...  # noqa: D102
    async def generate(self, *, actor: str) -> KeyShape: ...  # noqa: D102
    async def rotate(self, *, actor: str) -> KeyShape: ...  # noqa: D102
    async def retire(self, kid: str, *, actor: str) -> RetiredShape: ...  # noqa: D102


app = typer.Typer(no_args_is_help=True, help="Signing keys: list, generate, rotate and retire them.")


def as_json(key: KeyShape) -> dict[str, object]:
    """Return what is shown of a key; its private half is not."""
    return {
        "kid": key.kid,
        "alg": key.alg,
        "state": str(key.state),
        "published_at": _time(key.published_at),
        "signs_at": _time(key.signs_at),
        "stopped_at": _time(key.stopped_at),
        "keep_until": _time(key.keep_until),
    }


@app.command("list")
def list_keys(env_file: EnvFile = None, json: Json = False) -> None:
    """List the keys, oldest first: what each is for, and when it signs, signed, and is accepted."""
    keys = _with_keys(lambda service: service.all(), env_file)
    if json:
        show_json({"items": [as_json(key) for key in keys]})
        return
    if not keys:
        note("there is no key yet: the first start of limen serve makes one")
        return
    rows = [
        [key.kid, key.alg, str(key.state), _time(key.signs_at) or "", _time(key.stopped_at) or "", _accepted(key)]
        for key in keys
    ]
    columns = ["kid", "alg", "state", "signs from", "until", "accepted until"]
    table(columns, rows, colours={"signing": "green", "retired": "red"})


@app.command()
def generate(env_file: EnvFile = None, json: Json = False) -> None:
    """Make a key and publish it. It signs when `limen keys rotate` was run."""
    key = _with_keys(lambda service: service.generate(actor=ACTOR), env_file)
    if json:
        show_json(as_json(key))
    else:
        say(f"{key.kid} is published. limen keys rotate lets it sign.")


@app.command()
def rotate(env_file: EnvFile = None, json: Json = False) -> None:
    """Let the next key sign, once everybody can know it: six minutes after it was published.

    It is made where none is published. Running servers change over by themselves, and refuse no token; the key of now
    is accepted until its last token has expired. Running this twice changes nothing.
    """
    key = _with_keys(lambda service: service.rotate(actor=ACTOR), env_file)
    if json:
        show_json(as_json(key))
    else:
        say(f"{key.kid} signs from {_time(key.signs_at)} on. Nothing else is to be done.")


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(metavar="KID", help="The id of the key.")],
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Take a key out at once, in an emergency: its tokens are refused everywhere within two seconds.

    Where it signs, the published key signs instead, or a new one. Nobody is logged out: who held a token refreshes.
    """
    done = _with_keys(lambda service: service.retire(kid, actor=ACTOR), env_file)
    if json:
        show_json({"kid": kid, "was": str(done.was), "successor": done.successor})
        return
    say(f"{kid} is retired: its tokens are refused within two seconds, and clients refresh.")
    if done.successor is not None:
        say(f"{done.successor} signs from now on.")


def _with_keys(act: Callable[[Keys], Awaitable[T]], env_file: Path | None) -> T:
    """Act on the keys of an installation; nothing is begun that a server would begin, such as a first key."""
    import asyncio
    import logging

    from limen.settings import ServerSettings
    from limen.wiring import Limen

    settings = ServerSettings.load(env_file=settings_file(env_file))
    logging.getLogger("limen").setLevel(logging.WARNING)
    gate = Limen(settings)
    service = gate.signing_keys
    if service is None:
        raise Refused(
            "LIMEN_SIGNING_ALG is HS256: tokens are signed with a secret, and there is no key.",
            "limen secrets replaces a secret; LIMEN_SIGNING_ALG=ES256 signs with keys.",
        )

    async def run() -> T:
        await gate.storage.start(migrate=settings.migrate == "start")
        try:
            return await act(service)
        finally:
            await gate.storage.stop()

    return asyncio.run(run())


def _accepted(key: KeyShape) -> str:
    return _time(key.keep_until) or ""


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
