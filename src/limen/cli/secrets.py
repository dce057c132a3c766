"""``limen secrets``: a fresh secret, and which secrets are in use while one is being replaced."""

import secrets
from typing import TYPE_CHECKING

import typer

from limen.cli.configuration import EnvFile, Json, load, with_gate
from limen.cli.terminal import say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from collections.abc import Iterable, Mapping

    from pydantic import SecretStr

    from limen.wiring import Limen

SECRET_BYTES = 48

app = typer.Typer(no_args_is_help=True, help="Secrets: make one, and see which are in use.")


def fresh_secret() -> str:
    """Return 64 characters that nobody can guess."""
    return secrets.token_urlsafe(SECRET_BYTES)


@app.command()
def new(json: Json = False) -> None:
    """Print a fresh secret, fit for any of the settings; nothing is changed."""
    fresh = fresh_secret()
    if json:
        show_json({"secret": fresh})
    else:
        say(fresh)


@app.command("list")
def list_secrets(env_file: EnvFile = None, json: Json = False) -> None:
    """List the secrets that the settings name, by their ids, with the sessions whose refresh token each signed.

    A refresh secret with no session left may be dropped at once. A secret itself is never shown; its id tells nothing
    about it. A session whose secret is not among the settings cannot be refreshed any more.
    """
    settings = load(env_file)

    async def act(gate: "Limen") -> "Mapping[str, int]":
        return await gate.storage.maintenance.sessions_by_secret()

    sessions = dict(with_gate(act, env_file))
    found: list[dict[str, object]] = [
        *_told("access", (settings.jwt_access_secret, *settings.jwt_access_secrets_accepted), "signs", "accepted"),
        *_told("refresh", (settings.jwt_refresh_secret, *settings.jwt_refresh_secrets_accepted), "signs", "accepted"),
        *_told("data", settings.data_secrets, "encrypts", "decrypts"),
    ]
    for one in found:
        if one["of"] == "refresh":
            one["sessions"] = sessions.pop(str(one["kid"]), 0)
    found += [{"of": "refresh", "kid": kid, "use": "unknown", "sessions": count} for kid, count in sessions.items()]
    if json:
        show_json({"items": found})
        return
    columns = ["of", "kid", "use", "sessions"]
    table(columns, [[str(one.get(column, "")) for column in columns] for one in found], colours={"unknown": "red"})


def _told(of: str, secrets: "Iterable[SecretStr]", first: str, others: str) -> "list[dict[str, object]]":
    from limen.crypto.keys import key_id

    kids = [key_id(each.get_secret_value().encode()) for each in secrets]
    return [{"of": of, "kid": kid, "use": others if number else first} for number, kid in enumerate(kids)]
