"""``limen api-keys``: made, listed, rotated and revoked for an account, by the operator."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limen.cli.accounts import rfc3339
from limen.cli.configuration import EnvFile, Json, with_gate
from limen.cli.exits import Refused
from limen.cli.terminal import note, say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.authn.api_key_issuing import IssuedKey
    from limen.features.api_keys.service import ApiKeyService, KeyPage, KeyView
    from limen.wiring import Limen

app = typer.Typer(no_args_is_help=True, help="API keys: make, list, rotate, revoke and confirm them.")

Owner = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The owner's name: a service, or somebody.")]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as listed.")]


@app.command()
def create(
    owner: Owner,
    *,
    name: Annotated[str, typer.Option("--name", metavar="N", help="What it is called.")] = "made by the operator",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="P", help="A permission it is limited to; may be repeated.")
    ] = None,
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", min=60, metavar="SECONDS", help="When it ends; else the setting.")
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option("--network", metavar="CIDR", help="From where it may be used; may be repeated."),
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Make a key for an account; it is shown once. Its scopes are permissions that the account holds."""
    from limen.features.api_keys.service import Wanted
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> "IssuedKey":
        account = await gate.accounts.by_username(owner)
        wanted = Wanted(name, scope or None, expires_in, network or None)
        return await _keys(gate).create_for(OPERATOR, account.id, wanted)

    _shown_once(with_gate(act, env_file), json=json)


@app.command("list")
def list_keys(
    owner: Owner,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", help="Go on after this one, as `next` of the last page.")
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """List the keys of an account that are not revoked, the newest first."""

    async def act(gate: "Limen") -> "KeyPage":
        account = await gate.accounts.by_username(owner)
        return await _keys(gate).page(account.id, limit=limit, after=after)

    page = with_gate(act, env_file)
    if json:
        show_json({"items": [as_json(key) for key in page.items], "next": page.next})
        return
    table(
        ["id", "name", "scopes", "ends", "last used", "confirmed"],
        [
            [
                key.id,
                key.name,
                "all" if key.scopes is None else " ".join(key.scopes),
                rfc3339(key.expires_at),
                rfc3339(key.last_used_at),
                "no" if key.unconfirmed else "yes",
            ]
            for key in page.items
        ],
    )
    if page.next is not None:
        note(f"there are more: --after {page.next}")


@app.command()
def rotate(owner: Owner, key_id: KeyId, env_file: EnvFile = None, json: Json = False) -> None:
    """Give a key another secret, shown once; the one before works for 24 hours more."""
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> "IssuedKey":
        account = await gate.accounts.by_username(owner)
        return await _keys(gate).rotate_for(OPERATOR, account.id, key_id)

    _shown_once(with_gate(act, env_file), json=json)


@app.command()
def revoke(owner: Owner, key_id: KeyId, env_file: EnvFile = None, json: Json = False) -> None:
    """Revoke a key: within two seconds it opens nothing, anywhere."""
    _revoke(owner, key_id, env_file)
    if json:
        show_json({"id": key_id, "revoked": True})
    else:
        say(f"The key {key_id} was revoked.")


@app.command()
def confirm(
    owner: Owner,
    key_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="The keys' ids, as listed; none: every key of it.")
    ] = None,
    *,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Let keys be used again that came back with a restored database; one that was revoked since is to be revoked."""
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> list[str]:
        account = await gate.accounts.by_username(owner)
        keys = _keys(gate)
        wanted = key_ids or [key.id for key in await _every(keys, account.id) if key.unconfirmed]
        for key_id in wanted:
            await keys.confirm_for(OPERATOR, account.id, key_id)
        return wanted

    confirmed = with_gate(act, env_file)
    if json:
        show_json({"confirmed": confirmed})
    else:
        say(*[f"The key {key_id} is confirmed." for key_id in confirmed])


async def _every(keys: "ApiKeyService", account_id: str) -> "list[KeyView]":
    found: list[KeyView] = []
    after: str | None = None
    while True:
        page = await keys.page(account_id, limit=200, after=after)
        found += page.items
        after = page.next
        if after is None:
            return found


def _revoke(owner: str, key_id: str, env_file: Path | None) -> None:
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> None:
        account = await gate.accounts.by_username(owner)
        await _keys(gate).revoke_for(OPERATOR, account.id, key_id)

    with_gate(act, env_file)


def _keys(gate: "Limen") -> "ApiKeyService":
    if gate.api_keys is None:
        raise Refused("There are no API keys without a data secret.", "Set LIMEN_DATA_SECRETS: limen secrets new")
    return gate.api_keys.service


def as_json(key: "KeyView") -> dict[str, object]:
    """Return what is shown of a key; times are RFC 3339 in UTC."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": None if key.scopes is None else list(key.scopes),
        "networks": None if key.networks is None else list(key.networks),
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "last_used_at": rfc3339(key.last_used_at) or None,
        "created_by": key.created_by,
        "confirmed": not key.unconfirmed,
    }


def _shown_once(issued: "IssuedKey", *, json: bool) -> None:
    if json:
        show_json(
            {
                "id": issued.id,
                "key": issued.key,
                "name": issued.name,
                "scopes": None if issued.scopes is None else list(issued.scopes),
                "expires_at": rfc3339(issued.expires_at),
            }
        )
        return
    note(f"the key {issued.id}, until {rfc3339(issued.expires_at)}; it is shown once")
    say(issued.key)
