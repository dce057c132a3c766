import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import (
    LIMEN,
    Server,
    Start,
    demo_accounts,
    environment,
    launch,
    limen,
    log_in,
)
from tests.server.test_demo_lines import answers, pasted
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One demo for the tests of the module."""
    server = launch(tmp_path_factory.mktemp("demo"), "demo")
    yield server
    server.end()


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


def test_its_address_leads_to_where_it_can_be_tried(demo: Server) -> None:
    """Whoever opens the address that was printed comes to /docs, where each credential says where it comes from."""
    with demo.client() as client:
        page = client.get("/", follow_redirects=True)
        assert (page.status_code, page.url.path) == (200, "/docs")
        schemes = client.get("/openapi.json").json()["components"]["securitySchemes"]
    assert all(scheme["description"] for scheme in schemes.values())
    assert "POST /auth/login" in schemes["limen"]["description"]


def test_docs_load_nothing_from_elsewhere(demo: Server) -> None:
    """``/docs`` is for everybody, takes scripts from here only by its policy, and names none from elsewhere."""
    with demo.client() as client:
        page = client.get("/docs")
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "//" not in page.text.replace("<!DOCTYPE html>", "")
        for name in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text):
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
    assert "--port" in done.stderr
    assert "database" not in done.stderr
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
