"""``limen accounts``: made, looked at, switched off and on."""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limen.cli.account_import import import_accounts
from limen.cli.configuration import ACTOR, EnvFile, Json, with_gate
from limen.cli.exits import Refused, UsageError
from limen.cli.terminal import note, say, show_json, table
from limen.cli.terms import For, Until, terms
from limen.core.times import rfc3339_of

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.features.accounts.service import AccountView
    from limen.features.roles.permissions import Grants
    from limen.wiring import Limen

MAX_PASSWORD_LINE = 4096
EXPORTED_PAGES = 10_000
"""Pages of the audit trail, of 20 000 records each, that an export looks through."""

app = typer.Typer(no_args_is_help=True, help="Accounts: make, list, show, import, and switch them off and on.")
app.command("import")(import_accounts)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The username, in any spelling.")]

Permissions = Annotated[list[str], typer.Argument(metavar="PERMISSION…", help="Such as order:approve.")]


def as_json(account: "AccountView") -> dict[str, object]:
    """Return what is shown of an account; the time is RFC 3339 in UTC."""
    return {
        "id": account.id,
        "username": account.username,
        "email": account.email,
        "status": str(account.status),
        "roles": sorted(account.roles),
        "created_at": rfc3339(account.created_at),
        "password_temporary": account.password_temporary,
    }


def rfc3339(milliseconds: int | None) -> str:
    """Write a time, milliseconds since 1970 UTC, as RFC 3339 in UTC with whole seconds; empty for none."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@app.command()
def create(
    name: Name,
    role: Annotated[list[str] | None, typer.Option("--role", metavar="R", help="A role; may be repeated.")] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="E", help="The e-mail address.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from one line of standard input.")
    ] = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Make an account; the password is asked for, or read from standard input, never an argument.

    An argument would be in the shell's history and in the list of processes. The roles are those that an application
    has declared.
    """
    password = _password(from_stdin=password_stdin)

    async def act(gate: "Limen") -> "AccountView":
        return await gate.accounts.create(name, password, email=email, roles=frozenset(role or ()), actor=ACTOR)

    account = with_gate(act, env_file)
    _show(account, json=json, done=f"{account.username} was made.")


@app.command("list")
def list_accounts(
    query: Annotated[str, typer.Option("--query", "-q", help="Part of the username or of the e-mail address.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", help="Go on after this one, as `next` of the last page.")
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """List accounts in the order of their usernames."""

    async def act(gate: "Limen") -> tuple[Sequence["AccountView"], str | None]:
        page = await gate.accounts.page(query=query, limit=limit, after=after)
        return page.items, page.next

    items, following = with_gate(act, env_file)
    if json:
        show_json({"items": [as_json(account) for account in items], "next": following})
        return
    _table(items)
    if following is not None:
        note(f"there are more: --after {following}")


@app.command()
def show(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Show one account, and what it was granted for a time, or beside its roles."""

    async def act(gate: "Limen") -> tuple["AccountView", "Grants"]:
        account = await gate.accounts.by_username(name)
        return account, await gate.permissions.of_account(account.id)

    account, grants = with_gate(act, env_file)
    if json:
        show_json({**as_json(account), **_grants_as_json(grants)})
        return
    _table([account])
    _show_grants(grants)


@app.command()
def grant(
    name: Name,
    permission: Permissions,
    until: Until = None,
    span: For = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Grant permissions to one account, beside its roles. Its access tokens are refused within two seconds.

    With --until or --for they end by themselves, by the clock of the database. What is held already ends as said now.
    """
    from limen.features.roles.service import OPERATOR

    ends = terms(until, span)

    async def act(gate: "Limen", account_id: str) -> "Grants":
        return await gate.permissions.grant(OPERATOR, account_id, permission, until=ends.until, lifetime=ends.lifetime)

    _grant(name, act, env_file, json=json)


@app.command()
def revoke(name: Name, permission: Permissions, env_file: EnvFile = None, json: Json = False) -> None:
    """Revoke permissions that were granted to one account; what its roles give stays."""
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen", account_id: str) -> "Grants":
        return await gate.permissions.revoke(OPERATOR, account_id, permission)

    _grant(name, act, env_file, json=json)


def _grant(
    name: str,
    change: Callable[["Limen", str], Awaitable["Grants"]],
    env_file: Path | None,
    *,
    json: bool,
) -> None:
    async def act(gate: "Limen") -> tuple["AccountView", "Grants"]:
        account = await gate.accounts.by_username(name)
        return account, await change(gate, account.id)

    account, grants = with_gate(act, env_file)
    if json:
        show_json({"id": account.id, "username": account.username, **_grants_as_json(grants)})
        return
    held = ", ".join(grants.permissions) or "no permission"
    say(f"{account.username} has {held} beside what its roles give.")


def _grants_as_json(grants: "Grants") -> dict[str, object]:
    def shown(ends: Mapping[str, int | None]) -> list[dict[str, str | None]]:
        return [{"name": name, "expires_at": None if end is None else rfc3339_of(end)} for name, end in ends.items()]

    ending = {name: end for name, end in grants.roles.items() if end is not None}
    return {"permissions": shown(grants.permissions), "roles_ending": shown(ending)}


def _show_grants(grants: "Grants") -> None:
    rows = [[f"role {name}", rfc3339_of(end)] for name, end in grants.roles.items() if end is not None]
    rows += [[name, "" if end is None else rfc3339_of(end)] for name, end in grants.permissions.items()]
    if rows:
        table(["granted to it alone, or for a time", "until"], rows)


@app.command()
def disable(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Switch an account off; all its sessions end."""
    _change(name, lambda gate: gate.accounts.disable, env_file, json=json)


@app.command()
def enable(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Switch a disabled account on again."""
    _change(name, lambda gate: gate.accounts.enable, env_file, json=json)


@app.command()
def block(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Block an account on suspicion; all its sessions end, and only `unblock` undoes it."""
    _change(name, lambda gate: gate.accounts.block, env_file, json=json)


@app.command()
def unblock(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Undo a block."""
    _change(name, lambda gate: gate.accounts.unblock, env_file, json=json)


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Delete an account for good: its name, address, password and roles are erased, and its sessions end.

    So are the details of what it did in the audit trail. The id stays, so that what refers to it still refers to
    something; the name is free again. Nothing undoes it.
    """
    from limen.features.roles.service import OPERATOR

    if not yes:
        _confirm(f"Delete the account {name} for good?")

    async def act(gate: "Limen") -> "AccountView":
        account = await gate.accounts.by_username(name)
        await gate.administration.delete(OPERATOR, account.id)
        await gate.erasures.work_now()
        return account

    account = with_gate(act, env_file)
    if json:
        show_json({"id": account.id, "username": account.username, "status": "deleted"})
        return
    say(f"{account.username} was deleted; the id {account.id} stays.")


@app.command()
def export(name: Name, env_file: EnvFile = None) -> None:
    """Print everything that lies here about an account, as JSON, for whoever it is about; no secret is in it.

    That it was done is a record of the audit trail.
    """

    async def act(gate: "Limen") -> dict[str, object]:
        account = await gate.accounts.by_username(name)
        return await gate.personal_data.of_account(account.id, actor=ACTOR, pages=EXPORTED_PAGES)

    show_json(with_gate(act, env_file))


@app.command("end-sessions")
def end_sessions(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """End every session of an account: whoever uses it has to log in again."""
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> tuple["AccountView", int]:
        account = await gate.accounts.by_username(name)
        return account, await gate.administration.end_sessions(OPERATOR, account.id)

    account, count = with_gate(act, env_file)
    if json:
        show_json({"id": account.id, "username": account.username, "ended": count})
        return
    say(f"{count} session{'' if count == 1 else 's'} of {account.username} ended.")


@app.command("set-password")
def set_password(name: Name, env_file: EnvFile = None, json: Json = False) -> None:
    """Give an account a temporary password, shown once; all its sessions end.

    It holds for a day, and opens nothing but the way to a password of the account's own: the first login hands in a
    new one.
    """
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> tuple["AccountView", str]:
        account = await gate.accounts.by_username(name)
        password = await gate.administration.set_temporary_password(OPERATOR, account.id)
        return await gate.accounts.by_username(name), password

    account, password = with_gate(act, env_file)
    if json:
        show_json(
            {**as_json(account), "password": password, "password_expires_at": rfc3339(account.password_expires_at)}
        )
        return
    note(f"a temporary password for {account.username}, until {rfc3339(account.password_expires_at)}; it is shown once")
    say(password)


def _change(
    name: str, verb: Callable[["Limen"], Callable[..., Awaitable[object]]], env_file: Path | None, *, json: bool
) -> None:
    async def act(gate: "Limen") -> "AccountView":
        await verb(gate)(await gate.accounts.by_username(name), actor=ACTOR)
        return await gate.accounts.by_username(name)

    account = with_gate(act, env_file)
    _show(account, json=json, done=f"{account.username} is {account.status}.")


def _show(account: "AccountView", *, json: bool, done: str = "") -> None:
    if json:
        show_json(as_json(account))
        return
    if done:
        say(done)
    _table([account])


def _table(accounts: Sequence["AccountView"]) -> None:
    rows = []
    for account in accounts:
        told = as_json(account)
        roles = " ".join(sorted(account.roles))
        rows.append(
            [account.username, str(account.status), roles, account.email or "", str(told["created_at"]), account.id]
        )
    table(
        ["username", "status", "roles", "e-mail", "created", "id"],
        rows,
        colours={"disabled": "yellow", "blocked": "red"},
    )


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask whether this is meant.", "Say so with --yes.")
    if not typer.confirm(question, err=True):
        raise Refused("Nothing was done.")


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        line = sys.stdin.readline(MAX_PASSWORD_LINE + 1)
        if len(line) > MAX_PASSWORD_LINE:
            raise UsageError("The first line of standard input is too long for a password.")
        return line.removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise UsageError(
            "There is no terminal to ask for the password.",
            "Hand it in with --password-stdin, as one line of standard input.",
        )
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Repeat the password", err=True))
