"""``limen roles``: looked at, made, deleted, granted and revoked."""

from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from limen.cli.configuration import EnvFile, Json, with_gate
from limen.cli.exits import Refused
from limen.cli.terminal import note, say, show_json, table
from limen.cli.terms import For, Until, terms

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.wiring import Limen

app = typer.Typer(no_args_is_help=True, help="Roles: make, list, show, delete, grant and revoke them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the role.")]
AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The username, in any spelling.")]
RoleNames = Annotated[list[str], typer.Argument(metavar="ROLE…", help="The names of roles.")]


class RoleShape(Protocol):
    """What of a role is shown."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the attributes of the record
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def permissions(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def extends(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def gives(self) -> frozenset[str]: ...  # noqa: D102


def as_json(role: RoleShape) -> dict[str, object]:
    """Return what is shown of a role; ``gives`` is everything that whoever holds it may do."""
    return {
        "name": role.name,
        "source": str(role.source),
        "permissions": sorted(role.permissions),
        "extends": sorted(role.extends),
        "gives": sorted(role.gives),
    }


@app.command("list")
def list_roles(
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", help="Go on after this one, as `next` of the last page.")
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """List roles in the order of their names."""
    page = with_gate(lambda gate: gate.roles.page(limit=limit, after=after), env_file)
    if json:
        show_json({"items": [as_json(role) for role in page.items], "next": page.next})
        return
    table(
        ["role", "source", "extends", "permissions of its own"],
        [[role.name, str(role.source), _words(role.extends), _words(role.permissions)] for role in page.items],
    )
    if page.next is not None:
        note(f"there are more: --after {page.next}")


@app.command()
def show(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Show one role: where it comes from, and what it gives."""
    _show(with_gate(lambda gate: gate.roles.show(name), env_file), json=json)


@app.command()
def create(
    name: Name,
    permission: Annotated[
        list[str] | None,
        typer.Option("--permission", metavar="P", help="What it allows, as resource:action; may be repeated."),
    ] = None,
    extends: Annotated[
        list[str] | None,
        typer.Option("--extends", metavar="R", help="A role whose permissions it has as well; may be repeated."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the role of this name, with all its permissions.")
    ] = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Make a role in the database; running servers go by it within two seconds.

    A role that an application declares in its code can only be changed there.
    """
    from limen.core.errors import Conflict
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> tuple[bool, RoleShape]:
        try:
            is_new = await gate.roles.put(
                OPERATOR, name, permissions=permission or (), extends=extends or (), must_be_new=not replace
            )
        except Conflict as error:
            hint = "" if replace else "--replace replaces a role of the database."
            raise Refused(str(error), hint) from None
        return is_new, await gate.roles.show(name)

    is_new, role = with_gate(act, env_file)
    _show(role, json=json, done=f"The role {role.name} was {'made' if is_new else 'replaced'}.")


@app.command()
def delete(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Delete a role of the database that no account holds and no role extends."""
    from limen.features.roles.service import OPERATOR

    with_gate(lambda gate: gate.roles.delete(OPERATOR, name), env_file)
    if json:
        show_json({"name": name, "deleted": True})
    else:
        say(f"The role {name} was deleted.")


@app.command()
def grant(
    account: AccountName,
    role: RoleNames,
    until: Until = None,
    span: For = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Grant roles to an account. Its access tokens are refused within two seconds; a refresh has the new roles.

    With --until or --for they end by themselves, by the clock of the database. What is held already ends as said now.
    """
    from limen.features.roles.service import OPERATOR

    ends = terms(until, span)

    async def act(gate: "Limen", account_id: str) -> frozenset[str]:
        return await gate.roles.grant(OPERATOR, account_id, role, until=ends.until, lifetime=ends.lifetime)

    _assign(account, act, env_file, json=json)


@app.command()
def revoke(account: AccountName, role: RoleNames, env_file: EnvFile = None, json: Json = False) -> None:
    """Revoke roles of an account. Its access tokens are refused within two seconds; a refresh has what is left.

    The last administrator keeps the role that gives roles:assign, here too.
    """
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen", account_id: str) -> frozenset[str]:
        return await gate.roles.revoke(OPERATOR, account_id, role)

    _assign(account, act, env_file, json=json)


@app.command()
def separated(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many accounts at most.")] = 50,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """List the pairs of roles that nobody may hold at once, and who holds both all the same.

    For such an account neither of the two counts, until one of them is revoked.
    """
    pairs, found = with_gate(lambda gate: gate.roles.separation(limit=limit), env_file)
    if json:
        told = [{"username": name, "roles": [role, other]} for name, role, other in found]
        show_json({"separated": [list(pair) for pair in pairs], "held": told})
        return
    table(["role", "nobody holds it with"], [list(pair) for pair in pairs])
    if found:
        note("these accounts hold both, and neither counts:")
        table(["username", "role", "and"], [list(each) for each in found])


def _assign(
    account: str,
    change: Callable[["Limen", str], Awaitable[frozenset[str]]],
    env_file: Path | None,
    *,
    json: bool,
) -> None:
    async def act(gate: "Limen") -> tuple[str, str, frozenset[str]]:
        found = await gate.accounts.by_username(account)
        return found.id, found.username, await change(gate, found.id)

    account_id, username, held = with_gate(act, env_file)
    if json:
        show_json({"id": account_id, "username": username, "roles": sorted(held)})
    else:
        say(f"{username} holds {_words(held, ', ') or 'no role'}.")


def _show(role: RoleShape, *, json: bool, done: str = "") -> None:
    if json:
        show_json(as_json(role))
        return
    if done:
        say(done)
    where = "of an application's code" if str(role.source) == "code" else "of the database"
    extends = f", extends {_words(role.extends, ', ')}" if role.extends else ""
    say(f"{role.name}: a role {where}{extends}")
    if not role.gives:
        say("It gives no permission.")
        return
    table(
        ["permission", "given by"],
        [[name, "itself" if name in role.permissions else "what it extends"] for name in sorted(role.gives)],
    )


def _words(names: Collection[str], between: str = " ") -> str:
    return between.join(sorted(names))
