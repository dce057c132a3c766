import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.server.conftest import (
    LIMEN,
    Server,
    Start,
    demo_accounts,
    environment,
    free_row,
    launch,
    launch_at,
    limen,
    log_in,
)
from tests.support.ports import free_port


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


def test_everything_it_makes_is_private(demo: Server) -> None:
    """The folder is 0700, and settings, passwords and databases in it are 0600."""
    folder = demo.folder / "var"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = {file.name: oct(file.stat().st_mode & 0o777) for file in folder.iterdir()}
    assert {"demo.env", "demo-accounts.json", "limen.db"} <= files.keys()
    assert set(files.values()) == {"0o600"}


def test_four_accounts_each_with_its_role(demo: Server) -> None:
    """The four accounts log in with the written passwords and hold the role of their name."""
    accounts = demo_accounts(demo)
    assert list(accounts) == ["maker", "checker", "super-checker", "admin"]
    assert len({account["password"] for account in accounts.values()}) == 4
    for name, account in accounts.items():
        assert account["username"] == name
        assert len(account["password"]) >= 15
        with demo.client(log_in(demo, name)["access_token"]) as client:
            me = client.get("/auth/me").json()
        assert (me["username"], me["roles"]) == (name, [name])
        assert account["password"] in demo.out


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
    """Above the checker's limit it is refused, and why is told; a yes counts once, and with another it is approved."""
    printed = answers(pasted(demo, "To try", "Policies:", "An order so large"))
    assigned, refused, why, first, again, inbox, second, done = printed
    assert (refused["code"], refused["detail"]) == ("policy_denied", "above_limit")
    assert why["rule"] == "above_limit"
    assert {"leaf": "Order.amount_cents <= 10000000", "left": "60000000", "right": "10000000"} in why["failed"]
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


def test_registration_is_open_and_gives_no_role(demo: Server) -> None:
    """Anybody can register, and who did may do nothing with orders."""
    with demo.client() as client:
        body = {"username": "newcomer", "password": "a pass phrase of my own"}
        assert client.post("/auth/register", json=body).status_code == 201
    with demo.client(log_in(demo, "newcomer", "a pass phrase of my own")["access_token"]) as client:
        refused = client.get("/orders")
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_required")


def test_an_order_goes_its_way_over_http(demo: Server) -> None:
    """Maker makes, super-checker assigns, checker approves, and a second approval is too late."""
    maker, boss, checker = (
        demo.client(log_in(demo, name)["access_token"]) for name in ("maker", "super-checker", "checker")
    )
    with maker, boss, checker:
        order = maker.post("/orders", json={"item": "oak", "amount": 12.5}).json()["id"]
        assert checker.post(f"/orders/{order}/approve").json()["detail"] == "not_assigned"
        assert boss.put(f"/orders/{order}/checker", json={"username": "checker"}).status_code == 200
        assert checker.post(f"/orders/{order}/approve").json()["status"] == "approved"
        assert checker.post(f"/orders/{order}/approve").json()["code"] == "already_decided"


def test_the_interface_is_described_with_what_each_route_asks_for(demo: Server) -> None:
    """``/openapi.json`` is for everybody and says each route's permissions; limen's own routes are in it."""
    with demo.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    assert "`order:create`" in paths["/orders"]["post"]["description"]
    assert "active at this moment" in paths["/orders/{order_id}/approve"]["post"]["description"]
    assert paths["/orders"]["post"]["security"]
    assert "/auth/login" in paths


def test_docs_load_nothing_from_elsewhere(demo: Server) -> None:
    """``/docs`` is for everybody, takes scripts from here only by its policy, and names none from elsewhere."""
    with demo.client() as client:
        page = client.get("/docs")
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "//" not in page.text.replace("<!DOCTYPE html>", "")
        for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert client.get(f"/{name}").status_code == 200, name


def test_nothing_secret_is_logged(demo: Server) -> None:
    """Neither passwords nor tokens nor secrets are in the log."""
    tokens = log_in(demo, "maker")
    with demo.client() as client:
        client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        client.get(f"/orders?access_token={tokens['access_token']}")
    settings = (demo.folder / "var" / "demo.env").read_text()
    secrets = [line.partition("=")[2] for line in settings.splitlines() if "SECRET" in line]
    secrets += [account["password"] for account in demo_accounts(demo).values()]
    secrets += [tokens["access_token"], tokens["refresh_token"]]
    assert len(secrets) == 9
    assert not [secret for secret in secrets if secret in demo.log]
    assert "started" in demo.log


def test_the_command_line_manages_the_running_demo(demo: Server) -> None:
    """``limen accounts`` beside a running demo needs no settings: what it makes can log in until it disables it."""
    made = limen(
        "accounts",
        "create",
        "mia",
        "--role",
        "maker",
        "--password-stdin",
        "--json",
        folder=demo.folder,
        stdin="a pass phrase of my own\n",
    )
    assert made.returncode == 0, made.stderr
    tokens = log_in(demo, "mia", "a pass phrase of my own")
    with demo.client(tokens["access_token"]) as client:
        assert client.post("/orders", json={"item": "oak", "amount": 1}).status_code == 201
        assert limen("accounts", "disable", "mia", folder=demo.folder).returncode == 0
        refused = client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert refused.status_code == 401


def test_a_second_run_keeps_everything(start: Start) -> None:
    """A second run has the same secrets, accounts and orders, ends with 0, and prints no password."""
    first = start("demo")
    accounts, settings = demo_accounts(first), (first.folder / "var" / "demo.env").read_text()
    token = log_in(first, "maker")["access_token"]
    with first.client(token) as client:
        order = client.post("/orders", json={"item": "oak", "amount": 1}).json()
    assert first.end() == 0
    assert "Traceback" not in first.log
    second = start("demo")
    assert demo_accounts(second) == accounts
    assert (second.folder / "var" / "demo.env").read_text() == settings
    assert not [one for one in accounts.values() if one["password"] in second.out]
    with second.client(token) as client:
        assert client.get(f"/orders/{order['id']}").json() == order
    assert second.end(signal.SIGINT) == 0


def test_settings_of_before_get_a_data_secret(start: Start, tmp_path: Path) -> None:
    """A folder from before there were API keys gets the one secret it lacks, keeps the others, and changes no more."""
    start("demo").end()
    file = tmp_path / "var" / "demo.env"
    settings = file.read_text().splitlines()
    file.write_text("\n".join(line for line in settings if not line.startswith("LIMEN_DATA_SECRETS=")))
    start("demo").end()
    *kept, added = file.read_text().splitlines()
    assert kept == [line for line in settings if not line.startswith("LIMEN_DATA_SECRETS=")]
    assert added.startswith("LIMEN_DATA_SECRETS=")
    assert added not in settings
    assert file.stat().st_mode & 0o777 == 0o600
    server = start("demo")
    assert file.read_text().splitlines()[-1] == added
    assert answers(pasted(server, "To try", "An API key"))[0]["items"]


def test_json_has_the_address_and_no_password(start: Start) -> None:
    """With ``--json`` the demo prints its address and where its files are, and no password."""
    server = start("demo", "--json")
    told = json.loads(server.out)
    assert told == {
        "address": server.address,
        "accounts_file": str(server.folder / "var" / "demo-accounts.json"),
        "settings_file": str(server.folder / "var" / "demo.env"),
    }


def test_a_moved_folder_does_not_lead_back(tmp_path: Path) -> None:
    """The demo in a copied folder works on the copy: the original is not written to."""
    (tmp_path / "first").mkdir()
    first = launch(tmp_path / "first", "demo")
    first.end()
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    second = launch(tmp_path / "second", "demo")
    try:
        assert log_in(second, "maker")["token_type"] == "Bearer"
    finally:
        second.end()
    assert not (tmp_path / "first").exists()


def test_another_installations_settings_are_not_taken(start: Start, tmp_path: Path) -> None:
    """A database and secrets in the environment are somebody else's: the demo makes its accounts in its own."""
    elsewhere = tmp_path / "production.db"
    server = start(
        "demo",
        LIMEN_DATABASE_URL=f"sqlite:///{elsewhere}",
        LIMEN_JWT_ACCESS_SECRET="x9" * 20,
        LIMEN_REGISTRATION="closed",
    )
    assert not elsewhere.exists()
    assert (server.folder / "var" / "limen.db").exists()
    assert log_in(server, "admin")["token_type"] == "Bearer"


def test_lost_passwords_are_said(start: Start, tmp_path: Path) -> None:
    """Where the passwords' file is gone: 3 and what to do, instead of a file of wrong ones."""
    start("demo").end()
    (tmp_path / "var" / "demo-accounts.json").unlink()
    done = limen("demo", "--port", str(free_port()), folder=tmp_path)
    assert done.returncode == 3
    assert "begin anew" in done.stderr
    assert not (tmp_path / "var" / "demo-accounts.json").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "", "no.such.host.invalid"])
def test_other_machines_are_kept_out(tmp_path: Path, host: str) -> None:
    """An address that others may reach is refused with 2 before anything is made; the way to allow it is told."""
    done = limen("demo", "--host", host, "--port", str(free_port()), folder=tmp_path)
    assert done.returncode == 2
    assert "--expose-demo" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_4(tmp_path: Path) -> None:
    """A port that somebody else has ends the demo with 4 and one sentence, and nothing is made."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = limen("demo", "--port", str(port), folder=tmp_path)
    assert done.returncode == 4
    assert f"Port {port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_3(tmp_path: Path) -> None:
    """A file in the place of the folder ends the demo with 3 and one sentence."""
    (tmp_path / "var").write_text("")
    done = limen("demo", "--port", str(free_port()), folder=tmp_path)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_it_is_not_ready_before_it_says_so(tmp_path: Path) -> None:
    """When the line with the address is printed, the address answers; before that, connections are refused."""
    port = free_port()
    process = subprocess.Popen(
        [LIMEN, "demo", "--port", str(port)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("limen demo listens on "):
                break
        address = line.split()[4]
        assert httpx.get(f"{address}/readyz", timeout=10, trust_env=False).status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
