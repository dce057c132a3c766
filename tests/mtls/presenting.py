"""Requests on connections with a certificate, in process."""

from typing import Any

from limen import Limen
from limen.core.errors import LimenError
from limen.core.events import NOWHERE, Origin
from limen.core.principal import ANONYMOUS
from tests.mtls.authority import Made


class State:
    """Where the outcome of a request is noted."""

    def __init__(self) -> None:
        self.principal = ANONYMOUS
        self.rejection: LimenError | None = None
        self.credential: Any = None
        self.safe_only = False

    @property
    def origin(self) -> Origin:
        """Nowhere in particular."""
        return NOWHERE


def scope_of(made: Made | None, *headers: tuple[str, str], method: str = "GET", error: str | None = None) -> Any:
    """Return the scope of a request on a connection with this certificate."""
    chain = [] if made is None else [made.pem]
    return {
        "type": "http",
        "method": method,
        "scheme": "https",
        "client": ("192.0.2.7", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "extensions": {"tls": {"client_cert_chain": chain, "client_cert_error": error}},
    }


async def attribute(gate: Limen, scope: Any) -> State:
    """Find out who is calling."""
    state = State()
    waiting = gate.authenticate(scope, state)
    if waiting is not None:
        await waiting
    return state


async def present(gate: Limen, made: Made | None, *headers: tuple[str, str], **more: Any) -> State:
    """Attribute a request on a connection with this certificate."""
    return await attribute(gate, scope_of(made, *headers, **more))


async def token_of(gate: Limen, made: Made) -> str:
    """Exchange a certificate for a token."""
    state = await present(gate, made)
    return (await gate.client_certificates.service.token(state.credential)).access_token


def bearer(token: str) -> tuple[str, str]:
    """Return the header with a token."""
    return ("authorization", f"Bearer {token}")


def opened_with(credential: Any) -> State:
    """Return the state of a socket that was opened with a credential."""
    state = State()
    state.credential = credential
    return state
