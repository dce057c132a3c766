"""Providers of single sign-on in the environment: ``LIMEN_SSO_<NAME>_<WHAT>``, any number of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

PREFIX: Final = "LIMEN_SSO_"
KEYS: Final = frozenset(
    {
        "PRESET",
        "ISSUER",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "SCOPES",
        "CREATE",
        "TRUSTED_EMAIL",
        "ROLES_CLAIM",
        "ROLES",
        "LABEL",
        "LOGOUT_URL",
    }
)
"""What can be said of a provider."""

OWN: Final = frozenset({"LIMEN_SSO_REDIRECTS"})
"""Settings of that beginning that are no provider's."""

_NAME: Final = re.compile(r"LIMEN_SSO_(?P<name>[A-Z][A-Z0-9]{0,23})_(?P<key>[A-Z_]+)\Z")


@dataclass(frozen=True, slots=True)
class SsoClient:
    """What the environment says of one provider.

    Attributes:
        name: in lower case.
        values: by the part of the setting's name after the provider's, such as ``ISSUER``.
        client_secret: limen's secret at the provider.
    """

    name: str
    values: Mapping[str, str]
    client_secret: SecretStr | None = field(default=None, repr=False)


def name_and_key(variable: str) -> tuple[str, str] | None:
    """Return the provider, in lower case, and the key that a variable is about; None where it is about none."""
    found = _NAME.match(variable.upper())
    if found is None or found["key"] not in KEYS or variable.upper() in OWN:
        return None
    return found["name"].lower(), found["key"]


def clients_in(variables: Mapping[str, str | None]) -> tuple[SsoClient, ...]:
    """Return every provider that the variables say something about, by name; empty ones count as not set."""
    said: dict[str, dict[str, str]] = {}
    for variable, value in variables.items():
        found = name_and_key(variable)
        if found is not None and value:
            said.setdefault(found[0], {})[found[1]] = value
    clients = []
    for name, values in sorted(said.items()):
        secret = values.pop("CLIENT_SECRET", None)
        clients.append(SsoClient(name, values, None if secret is None else SecretStr(secret)))
    return tuple(clients)
