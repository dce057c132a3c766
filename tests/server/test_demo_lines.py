"""The lines that the demo prints to be pasted, pasted: each of them works."""

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.server.conftest import LIMEN, Server, environment, free_row, launch_at, log_in


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One demo for the tests of the module, with free ports after its own for what its lines start beside it."""
    server = launch_at(free_row(6), tmp_path_factory.mktemp("demo"), "demo")
    yield server
    server.end()


def printed_commands(server: Server, heading: str) -> list[str]:
    """Return the lines that the demo says can be pasted into a shell, under this heading."""
    lines = server.out.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(heading)) + 1
    return lines[begin : lines.index("", begin)]


def pasted(server: Server, *headings: str, instead: Mapping[str, str] = MappingProxyType({})) -> str:
    """Paste the lines under these headings into one shell, which must show no error, and return what they print.

    Of the lines that have a text in them that ``instead`` names, there must be one; its place is taken by another.
    """
    commands = [line for heading in headings for line in ["echo :", *printed_commands(server, heading)]]
    for text, other in instead.items():
        (line,) = [line for line in commands if text in line]
        commands[commands.index(line)] = other
    done = subprocess.run(
        ["sh", "-eu"],
        input="\n".join(commands),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def answers(printed: str) -> list[dict[str, Any]]:
    """Return the JSON of what the lines under the last heading printed."""
    return [json.loads(line) for line in printed.rpartition(":\n")[2].splitlines() if line.startswith("{")]


def test_each_printed_line_works(demo: Server) -> None:
    """The printed lines, pasted into a shell, log in, make an order and refresh, and show no error."""
    printed = pasted(demo, "To try")
    me, order, refused, refreshed = answers(printed)
    assert me["username"] == "maker"
    assert order["status"] == "pending"
    assert refused["code"] == "credential_missing"
    assert refreshed["token_type"] == "Bearer"
    assert "HTTP/1.1 401" in printed


def test_each_printed_line_with_a_cookie_works(demo: Server) -> None:
    """A cookie opens what reads; a change takes the anti-forgery token; after the logout there is nothing left."""
    me, refused, order, over = answers(pasted(demo, "To try", "A browser's session"))
    assert me["username"] == "maker"
    assert refused["code"] == "csrf_failed"
    assert order["status"] == "pending"
    assert over["code"] == "credential_missing"


def test_each_printed_line_about_policies_works(demo: Server) -> None:
    """The maker sees both orders and the checker the assigned one; each refusal has its reason, one's own order too."""
    assigned, makers, checkers, refused, approved, newcomer, own = answers(pasted(demo, "To try", "Policies:"))
    assert [order["amount"] for order in makers["items"]] == [120, 240]
    assert [order["id"] for order in checkers["items"]] == [assigned["id"]]
    assert (refused["code"], refused["detail"]) == ("policy_denied", "not_assigned")
    assert (approved["id"], approved["status"]) == (assigned["id"], "approved")
    assert newcomer["roles"] == ["checker", "maker"]
    assert (own["code"], own["detail"]) == ("policy_denied", "own_order")


def test_each_printed_line_about_an_order_that_takes_two_works(demo: Server) -> None:
    """Above a checker's limit it is refused, and why is told; a yes says what was seen; two yeses approve it."""
    printed = answers(pasted(demo, "To try", "Policies:", "An order so large"))
    assigned, refused, why, unseen, inbox, first, again, second, done = printed
    assert (refused["code"], refused["detail"]) == ("policy_denied", "above_limit")
    assert why["rule"] == "above_limit"
    assert {"leaf": "Order.amount_cents <= 10000000", "left": "60000000", "right": "10000000"} in why["failed"]
    assert (unseen["code"], unseen["errors"][0]["loc"]) == ("invalid_input", ["header", "If-Match"])
    assert (first["status"], len(first["approvals"]), first["missing"]) == ("pending", 1, 1)
    assert again["code"] == "already_decided"
    assert first["id"] in [each["id"] for each in inbox["items"]]
    assert (second["status"], len(second["approvals"]), second["missing"]) == ("approved", 2, 0)
    assert (done["id"], done["status"]) == (assigned["id"], "approved")


def test_each_printed_line_with_an_api_key_works(demo: Server) -> None:
    """A key of one's own with one scope reads, and may do nothing else that its owner may."""
    orders, refused = answers(pasted(demo, "To try", "An API key"))
    assert orders["items"]
    assert (refused["code"], refused["detail"]) == ("permission_required", "The permission order:create is required.")


def test_each_printed_line_with_a_service_works(demo: Server) -> None:
    """The administrator makes a service and its key; it makes an order; switched off, its key is dead."""
    me, order, over = answers(pasted(demo, "To try", "A service, which"))
    assert (me["kind"], me["roles"]) == ("service", ["maker"])
    assert order["maker_id"] == me["sub"]
    assert over["code"] == "account_not_active"


def test_each_printed_line_of_a_gateway_works(demo: Server) -> None:
    """A gateway is told who it is, or that a role is missing, or that nobody is there."""
    printed = pasted(demo, "To try", "What a gateway")
    refused, nobody = answers(printed)
    assert "x-limen-roles: maker" in printed
    assert "x-limen-token: " in printed
    assert (refused["code"], nobody["code"]) == ("role_required", "credential_missing")


def test_each_printed_line_with_a_certificate_works(demo: Server) -> None:
    """A server with TLS on the demo's data knows a service by its certificate, and nobody without one."""
    printed = pasted(demo, "A service by its certificate")
    me, nobody = answers(printed)
    assert (me["kind"], me["amr"], me["roles"]) == ("service", ["mtls"], ["maker"])
    assert nobody["code"] == "credential_missing"


def test_each_printed_line_of_single_sign_on_works(demo: Server) -> None:
    """Sent to the provider with state and PKCE, somebody who is known there comes back as somebody with a role.

    The provider is the one of the test group: only the line that installs it is left out.
    """
    folder = LIMEN.parent
    found = f'mkdir -p "$d/op/bin"; ln -s {shlex.quote(str(folder / "flask"))} "$d/op/bin/flask"'
    printed = pasted(demo, "Single sign-on", instead={'install -q --disable-pip-version-check "canaille[': found})
    (me,) = answers(printed)
    assert (me["kind"], me["amr"], me["roles"]) == ("person", ["sso"], ["maker"])
    (sent,) = [urlsplit(line) for line in printed.splitlines() if line.startswith("http")]
    asked = parse_qs(sent.query)
    provider, server = (int(demo.address.rpartition(":")[2]) + number for number in (3, 2))
    assert (sent.port, sent.path) == (provider, "/oauth/authorize")
    assert asked["redirect_uri"] == [f"http://127.0.0.1:{server}/auth/sso/corp/callback"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked.keys() > {"state", "nonce", "code_challenge"}


def test_each_printed_line_about_another_issuer_works(demo: Server) -> None:
    """A token of the other limen counts, for somebody who is known by issuer and subject; the demo's own does not."""
    known, refused = answers(pasted(demo, "To try", "Tokens of another issuer"))
    with demo.client(log_in(demo, "maker")["access_token"]) as client:
        me = client.get("/auth/me").json()
    issuer = f"http://127.0.0.1:{int(demo.address.rpartition(':')[2]) + 4}"
    assert (known["issuer"], known["subject"]) == (issuer, me["sub"])
    assert known["sub"] != me["sub"]
    assert refused["code"] == "token_invalid"


def test_each_printed_line_of_messages_works(demo: Server) -> None:
    """A service's order is made once; its copy is told to be one, and what was changed on the way is refused."""
    admin = demo.client(log_in(demo, "admin")["access_token"])
    with admin:
        before = {order["id"] for order in admin.get("/orders?limit=200").json()["items"]}
        *_, handled, copy, changed = pasted(demo, "Messages of a service").splitlines()
        made = [order for order in admin.get("/orders?limit=200").json()["items"] if order["id"] not in before]
        names = {item["id"]: item["name"] for item in admin.get("/admin/api/services?limit=200").json()["items"]}
    assert handled == "handled"
    assert copy == "repeated: The message was handled before."
    assert changed == "refused: The token is that of another message."
    assert [(order["item"], order["amount"], order["status"]) for order in made] == [
        ("an oak threshold", 120, "pending")
    ]
    assert names[made[0]["maker_id"]].startswith("shop-")
