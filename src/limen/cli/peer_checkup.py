"""What ``limen doctor --listen`` does: it takes one request in limen's place, and says what limen would make of it."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

from limen.cli.exits import UsageError
from limen.cli.findings import FAIL, OK, WARN, Finding
from limen.core.networks import canonical_address
from limen.web.peers import FORWARDED, FORWARDED_FOR, TrustedProxies

_OF_PROXIES: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-proto", b"x-forwarded-method")
_LONGEST_TOLD: Final = 200


def one_request(listen: str, seconds: float) -> dict[str, Any]:
    """Take one HTTP request, answer 204, and return it as an ASGI scope.

    Args:
        listen: ``HOST:PORT``.
        seconds: how long to wait for it.

    Raises:
        UsageError: it is no such address, or it is taken.
        TimeoutError: nobody has asked.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or not canonical_address(host.strip("[]")):
        raise UsageError(f"{listen} is not an address and a port, such as 127.0.0.1:8000.")
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def handle_one_request(self) -> None:
            """Take the head of a request, whatever its method is."""
            self.raw_requestline = self.rfile.readline(65537)
            if not self.parse_request():
                return
            headers = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in self.headers.items()]
            client = (str(self.client_address[0]), int(self.client_address[1]))
            taken.append(
                {"type": "http", "scheme": "http", "client": client, "headers": headers, "method": self.command}
            )
            self.send_response(204)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    try:
        server = HTTPServer((host.strip("[]"), int(port)), Handler)
    except OSError as error:
        raise UsageError(f"{listen} cannot be listened at ({error.strerror}).", "Stop limen first.") from None
    with server:
        server.timeout = seconds
        server.handle_request()
    if not taken:
        raise TimeoutError(f"nobody has asked at {listen} for {seconds:.0f} s")
    return taken[0]


def examine_peer(scope: dict[str, Any], proxies: TrustedProxies) -> list[Finding]:
    """Say what limen sees of a request: who is at the socket, what they say, and whom limen takes for the client."""
    peer, address = scope["client"][0], proxies.client_address(scope)
    said = {name for name, _ in scope["headers"]}.intersection(_OF_PROXIES)
    found = [Finding(OK, "peer", f"{peer}, {'a trusted proxy' if proxies.trusts(scope) else 'not a trusted proxy'}")]
    found += [Finding(OK, "header", _told(name, value)) for name, value in scope["headers"] if name in said]
    if not proxies.trusts(scope):
        if said:
            advice = f"if this is your proxy, LIMEN_TRUSTED_PROXIES={canonical_address(peer)}; if not, all is well"
            found.append(Finding(WARN, "proxy", "it speaks for somebody, and is not believed", advice))
        return [*found, _client(address, proxies, scope)]
    if proxies.header.encode() not in said:
        other = FORWARDED if proxies.header == FORWARDED_FOR else FORWARDED_FOR
        advice = f"have it write {proxies.header}"
        if other.encode() in said:
            advice += f", or set LIMEN_FORWARDED_HEADER={other} if it writes that one itself"
        found.append(Finding(FAIL, "client", f"the proxy sends no {proxies.header}", advice))
    elif address == canonical_address(peer):
        advice = "every client has the proxy's address: what it writes there is no address"
        found.append(Finding(FAIL, "client", f"{proxies.header} names nobody", advice))
    if b"x-forwarded-proto" not in said and proxies.header == FORWARDED_FOR:
        found.append(Finding(WARN, "scheme", "the proxy sends no x-forwarded-proto", "have it say https or http"))
    return [*found, _client(address, proxies, scope)]


def _client(address: str | None, proxies: TrustedProxies, scope: dict[str, Any]) -> Finding:
    return Finding(OK, "client", f"{address or 'nobody'}, over {'https' if proxies.is_https(scope) else 'http'}")


def _told(name: bytes, value: bytes) -> str:
    text = value[:_LONGEST_TOLD].decode("latin-1")
    return f"{name.decode('ascii')}: {''.join(each if each.isprintable() else '?' for each in text)}"
