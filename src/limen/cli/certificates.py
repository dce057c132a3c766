"""``limen certificates``: the names by which the certificates of services are known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limen.cli.accounts import rfc3339
from limen.cli.configuration import EnvFile, Json, with_gate
from limen.cli.exits import UsageError
from limen.cli.terminal import say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from collections.abc import Sequence

    from limen.features.client_certificates.service import RegistrationView
    from limen.wiring import Limen

app = typer.Typer(no_args_is_help=True, help="Client certificates: the names by which services are known.")

Service = Annotated[str, typer.Argument(metavar="SERVICE", help="The service's name.")]


@app.command()
def add(
    service: Service,
    *,
    uri: Annotated[
        str | None, typer.Option("--uri", metavar="URI", help="The URI in its subjectAltName, such as a SPIFFE ID.")
    ] = None,
    dns: Annotated[
        str | None, typer.Option("--dns", metavar="HOST", help="The name of a host there; no wildcards.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="The fingerprint of this one certificate.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="PEM", help="A certificate, to take its fingerprint.")
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Register a name: certificates that bear it, from the authorities of LIMEN_CLIENT_CA, stand for the service."""
    from limen.features.roles.service import OPERATOR

    given = {"uri": uri, "dns": dns, "sha256": sha256 if file is None else _fingerprint(file, sha256)}
    named = [(kind, value) for kind, value in given.items() if value is not None]
    if len(named) != 1:
        raise UsageError("Name one of --uri, --dns, --sha256 and --file.")

    async def act(gate: "Limen") -> "RegistrationView":
        account = await gate.accounts.by_username(service)
        return await gate.client_certificates.service.add(OPERATOR, account.id, *named[0])

    made = with_gate(act, env_file)
    if json:
        show_json(as_json(made))
    else:
        say(f"{service} is known by {made.name}.")


@app.command("list")
def list_names(service: Service, env_file: EnvFile = None, json: Json = False) -> None:
    """List the names by which the certificates of a service are known, the newest first."""

    async def act(gate: "Limen") -> "Sequence[RegistrationView]":
        account = await gate.accounts.by_username(service)
        return await gate.client_certificates.service.of_service(account.id)

    found = with_gate(act, env_file)
    if json:
        show_json({"items": [as_json(each) for each in found], "next": None})
        return
    table(
        ["id", "kind", "value", "registered"],
        [[each.id, *each.name.split(":", 1), rfc3339(each.created_at)] for each in found],
    )


@app.command()
def remove(
    service: Service,
    registration: Annotated[str, typer.Argument(metavar="ID", help="The name's id, as listed.")],
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Take a name away: within two seconds no certificate by it opens anything, nor a token for it."""
    from limen.features.roles.service import OPERATOR

    async def act(gate: "Limen") -> None:
        account = await gate.accounts.by_username(service)
        await gate.client_certificates.service.remove(OPERATOR, account.id, registration)

    with_gate(act, env_file)
    if json:
        show_json({"id": registration, "removed": True})
    else:
        say(f"The name {registration} was taken away.")


def _fingerprint(file: Path, sha256: str | None) -> str:
    from limen.crypto.certificates import CertificateError, der_of_pem, read_der

    if sha256 is not None:
        raise UsageError("Name one of --uri, --dns, --sha256 and --file.")
    try:
        return read_der(der_of_pem(file.read_bytes())).digest.hex()
    except (OSError, CertificateError) as error:
        raise UsageError(f"{file} is no file with one certificate in PEM.") from error


def as_json(name: "RegistrationView") -> dict[str, object]:
    """Return what is shown of a name; times are RFC 3339 in UTC."""
    kind, _, value = name.name.partition(":")
    return {
        "id": name.id,
        "kind": kind,
        "value": value,
        "created_at": rfc3339(name.created_at),
        "created_by": name.created_by,
    }
