"""``limen services``: accounts of services, which have API keys and certificates, and no login."""

from typing import TYPE_CHECKING, Annotated

import typer

from limen.cli.accounts import as_json
from limen.cli.configuration import EnvFile, Json, with_gate
from limen.cli.terminal import note, say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.features.accounts.service import AccountPage, AccountView
    from limen.features.api_keys.services import ServiceAccounts
    from limen.wiring import Limen

app = typer.Typer(no_args_is_help=True, help="Accounts of services: make, list, and switch them off.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The service's name.")]


@app.command()
def create(
    name: Name,
    role: Annotated[list[str] | None, typer.Option("--role", metavar="R", help="A role; may be repeated.")] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Make the account of a service: no password and no login; `limen api-keys create NAME` gives it a key."""
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> "AccountView":
        return await _services(gate).create(OPERATOR, name, roles=frozenset(role or ()))

    _show(with_gate(act, env_file), "was made", json=json)


@app.command("list")
def list_services(
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", help="Go on after this one, as `next` of the last page.")
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """List the accounts of services by name."""

    async def act(gate: "Limen") -> "AccountPage":
        return await _services(gate).page(limit=limit, after=after)

    page = with_gate(act, env_file)
    if json:
        show_json({"items": [as_json(account) for account in page.items], "next": page.next})
        return
    table(
        ["name", "status", "roles", "id"],
        [[each.username, str(each.status), " ".join(sorted(each.roles)), each.id] for each in page.items],
    )
    if page.next is not None:
        note(f"there are more: --after {page.next}")


@app.command()
def disable(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Switch a service off: within two seconds its keys open nothing. `limen accounts enable` undoes it."""
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> "AccountView":
        account = await gate.accounts.by_username(name)
        await _services(gate).disable(OPERATOR, account.id)
        return await gate.accounts.by_id(account.id)

    _show(with_gate(act, env_file), "is disabled", json=json)


def _services(gate: "Limen") -> "ServiceAccounts":
    from limen.features.api_keys.services import ServiceAccounts

    # Accounts of services can be made before there is a data secret, under which keys are stored.
    return ServiceAccounts(gate.accounts, gate.roles, record=gate.sessions.record)


def _show(account: "AccountView", what: str, *, json: bool) -> None:
    if json:
        show_json(as_json(account))
    else:
        say(f"{account.username} {what}.")
