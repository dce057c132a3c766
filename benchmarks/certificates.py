"""What a request by a client certificate costs over a bare one: of the connection, in a header, with a bound token."""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import applications as apps
from benchmarks.gates import gate_of, installation
from benchmarks.in_process import Application, Message, http_scope, median_difference, started
from benchmarks.rows import Effort, Row, Target
from limen import Limen
from limen.features.roles.service import OPERATOR
from tests.mtls.authority import Authority, Made, uri
from tests.mtls.test_proxied import nginx

SPIFFE = "spiffe://bench.example/service"


def certificates(effort: Effort) -> Sequence[Row]:
    """Measure in process, certificates that were seen before; whose they are is asked once a second."""
    return asyncio.run(_certificates(effort))


async def _certificates(effort: Effort) -> Sequence[Row]:
    rounds, requests = effort.rounds(21), effort.count(1_000, 10)
    authority = Authority()
    made = authority.client(uri(SPIFFE))
    with TemporaryDirectory(prefix="limen-bench-") as folder, installation() as environment:
        file = Path(folder) / "clients.pem"
        file.write_text(authority.root.pem)
        told = {**environment, "LIMEN_CLIENT_CA": str(file)}
        proxied = {**told, "LIMEN_TRUSTED_PROXIES": "127.0.0.1", "LIMEN_CLIENT_CERT_HEADER": "nginx"}
        gate = gate_of(told)
        family: dict[str, Application] = {
            "bare": apps.starlette_bare(),
            "tls": apps.starlette_limen(gate),
            "proxied": apps.starlette_limen(gate_of(proxied)),
        }
        async with started(family):
            token = await _service(gate, made)
            kinds = {
                "tls": partial(_scope, made, None, proxied=False),
                "bound": partial(_scope, made, token, proxied=False),
                "proxied": partial(_scope, made, None, proxied=True),
            }
            figures: dict[str, dict[str, list[float]]] = {name: {"bare": [], "limen": []} for name in kinds}
            for number in range(rounds + 1):
                for name, scope in kinds.items():
                    # The bare route is asked by the very same request.
                    guarded = family["proxied" if name == "proxied" else "tls"]
                    for which, app in (("bare", family["bare"]), ("limen", guarded)):
                        spent = await _microseconds(app, scope, requests)
                        if number:
                            figures[name][which].append(spent)
    what = {
        "tls": "certificate of the connection",
        "bound": "a token bound to it",
        "proxied": "certificate in a header",
    }
    return [_row(f"Starlette: CPU over bare, {words}, seen before", figures[name]) for name, words in what.items()]


async def _service(gate: Limen, made: Made) -> str:
    """Make a service that is known by the certificate, and return a token that is bound to it."""
    account = await gate.accounts.create("service", None, roles=frozenset({"maker"}), kind="service")
    service = gate.client_certificates.service
    await service.add(OPERATOR, account.id, "uri", SPIFFE)
    strategy = gate.client_certificates.strategy
    if strategy is None:
        raise RuntimeError("certificates do not count")

    class State:
        principal: Any = None
        rejection: Any = None
        credential: Any = None

    state: Any = State()
    pending = gate.authenticate(_scope(made, None, proxied=False), state)
    if pending is not None:
        await pending
    return (await service.token(state.credential)).access_token


def _scope(made: Made, token: str | None, *, proxied: bool) -> Message:
    scope = http_scope(apps.PATH, token)
    scope["scheme"] = "https"
    text, headers = _told(made)
    if proxied:
        # As a server reads them: other bytes for each request, of which nobody has asked the hash yet.
        scope["headers"] += [(name, value[:1] + value[1:]) for name, value in headers]
    else:
        scope["extensions"] = {"tls": {"client_cert_chain": [text], "client_cert_error": None}}
    return scope


@cache
def _told(made: Made) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Return what a server makes of a certificate once for a connection, and what a proxy writes."""
    return made.pem, [(name.encode(), value.encode()) for name, value in nginx(made)]


async def _microseconds(app: Application, scope: Callable[[], Message], requests: int) -> float:
    start = time.thread_time_ns()
    for _ in range(requests):
        await _request(app, scope())
    return (time.thread_time_ns() - start) / requests / 1000


async def _request(app: Application, scope: Message) -> None:
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"expected 200, got {statuses}")


def _row(what: str, figures: dict[str, list[float]]) -> Row:
    cost = median_difference(figures["limen"], figures["bare"])
    note = f"bare {statistics.median(figures['bare']):.1f}, guarded {statistics.median(figures['limen']):.1f}"
    return Row("certificates", what, "µs", cost, None, "", None, Target("at most", 15), len(figures["bare"]), note)
