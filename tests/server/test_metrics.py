"""``/metrics`` of real processes, read as Prometheus reads it."""

import contextlib
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from limen.core import metrics
from limen.server.exposition import MOST_HEAD_BYTES, MOST_READERS
from tests.server.conftest import PASSWORD, Start, environment, limen, log_in, serve, serve_workers
from tests.support.ports import free_port

Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(port: int) -> Numbers:
    """Return every sample by its name and labels."""
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def total(numbers: Numbers, name: str, **labels: str) -> float:
    """Add up the samples of a name that have these labels."""
    return sum(
        value
        for (found, all_labels), value in numbers.items()
        if found == name and labels.items() <= dict(all_labels).items()
    )


def test_what_happens_is_counted(start: Start, installed: Path) -> None:
    """Logins, refreshes, refusals, hashes, requests and calls of the database are told, each where it belongs."""
    port = free_port()
    server = serve(start, installed, LIMEN_METRICS_PORT=str(port))
    assert total(scraped(port), "limen_refusals_total") == 0
    tokens = log_in(server, "alice", PASSWORD)
    spent = {"refresh_token": tokens["refresh_token"]}
    with server.client() as client:
        assert client.post("/auth/login", json={"username": "alice", "password": "wrong"}).status_code == 401
        newer = client.post("/auth/refresh", json=spent).json()["refresh_token"]
        assert client.post("/auth/refresh", json=spent).status_code == 200
        assert client.post("/auth/refresh", json={"refresh_token": newer}).status_code == 200
        assert client.post("/auth/refresh", json=spent).status_code == 401
        assert client.post("/auth/refresh", json={"refresh_token": "made up"}).status_code == 401
        assert client.get("/auth/me").status_code == 401
    numbers = scraped(port)
    assert total(numbers, "limen_logins_total", outcome="success") == 1
    assert total(numbers, "limen_logins_total", outcome="failure") == 1
    for outcome, count in {"rotated": 2, "restated": 1, "reused": 1, "refused": 1, "rolled_back": 0}.items():
        assert total(numbers, "limen_refreshes_total", outcome=outcome) == count, outcome
    assert total(numbers, "limen_refusals_total", code="invalid_refresh_token") == 2
    assert total(numbers, "limen_refusals_total", code="invalid_credentials") == 1
    assert total(numbers, "limen_refusals_total", code="credential_missing") == 1
    assert total(numbers, "limen_requests_total", method="POST", route="/auth/refresh", status="200") == 3
    assert total(numbers, "limen_requests_total", route="/auth/refresh", status="401") == 2
    assert total(numbers, "limen_request_seconds_count", route="/auth/login") == 2
    assert total(numbers, "limen_password_hash_seconds_count") == 2
    assert total(numbers, "limen_password_hash_seconds_bucket", le="+Inf") == 2
    assert ("limen_password_hash_queue", (("worker", "0"),)) in numbers
    assert total(numbers, "limen_database_calls_total") >= 6
    assert 0 <= total(numbers, "limen_ended_list_age_seconds") < 60
    assert total(numbers, "process_start_time_seconds") > 1e9


OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


LABELS = re.compile(r"`(\w+)`")


def documented() -> dict[str, str]:
    """Return the names of the metrics that the page tells of, with what it says of their labels."""
    part = OPERATIONS.read_text(encoding="utf-8").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in part.splitlines() if line.startswith("| `")]
    return {name.strip(" `"): re.sub(r":[^;]*", "", labels.strip()) for name, labels in rows}


def test_the_page_tells_of_each_and_of_no_other(start: Start, installed: Path) -> None:
    """The table of the page and what a real process answers are the same names, with the same labels."""
    port = free_port()
    serve_workers(start, installed, LIMEN_METRICS_PORT=str(port))
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    answered = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    told = documented()
    assert answered == set(told)
    for family in metrics.families():
        assert set(family.labels) == set(LABELS.findall(told[family.name])), family.name


def test_what_ends_and_what_is_refused_unseen_is_counted(start: Start, installed: Path) -> None:
    """Opened sessions by grant, ended ones by reason, and attempts beyond a limit by its name."""
    port = free_port()
    server = serve(start, installed, LIMEN_METRICS_PORT=str(port), LIMEN_LOGIN_LIMIT="3/hour")
    for _ in range(2):
        log_in(server, "alice", PASSWORD)
    tokens = log_in(server, "alice", PASSWORD)
    with server.client(tokens["access_token"]) as client:
        assert client.post("/auth/logout-all").status_code == 204
    with server.client() as client:
        answers = [
            client.post("/auth/login", json={"username": "nobody", "password": PASSWORD}).status_code for _ in range(5)
        ]
    numbers = scraped(port)
    assert answers == [401, 401, 401, 429, 429]
    assert total(numbers, "limen_sessions_opened_total", grant="password") == 3
    assert total(numbers, "limen_logins_total", method="password", outcome="success") == 3
    assert total(numbers, "limen_revocations_total", reason="logout_all") == 3
    assert total(numbers, "limen_throttled_total") == 2
    assert total(numbers, "limen_mails_total") == 0


def test_no_caller_makes_a_label(start: Start, installed: Path) -> None:
    """Paths, names and methods that a caller chose are in no label, and neither is a secret in any line."""
    port = free_port()
    server = serve(start, installed, LIMEN_METRICS_PORT=str(port))
    tokens = log_in(server, "alice", PASSWORD)
    before = len(scraped(port))
    with server.client(tokens["access_token"]) as client:
        for number in range(50):
            client.get(f"/auth/canary{number}?canary={number}")
            client.delete(f"/auth/sessions/canary{number}")
            client.request(f"CANARY{number}", "/auth/me")
            client.post("/auth/login", json={"username": f"canary{number}", "password": PASSWORD})
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    for never in (
        "canary",
        "CANARY",
        "alice",
        PASSWORD,
        tokens["access_token"],
        tokens["refresh_token"],
        server.address,
    ):
        assert never not in text
    assert len(scraped(port)) - before < 60


def test_each_worker_tells_its_own(start: Start, installed: Path) -> None:
    """One address tells the numbers of all workers, each under its own label, and how many there are."""
    port = free_port()
    server = serve_workers(start, installed, LIMEN_METRICS_PORT=str(port))
    for _ in range(40):
        with server.client() as client:
            assert client.get("/healthz").status_code == 200
    numbers = scraped(port)
    by_worker = [total(numbers, "limen_requests_total", route="/healthz", worker=worker) for worker in "01"]
    assert sum(by_worker) == 40
    assert numbers["limen_workers", ()] == 2
    assert numbers["limen_workers_replaced_total", ()] == 0
    assert len({value for (name, _), value in numbers.items() if name == "process_start_time_seconds"}) == 2


def test_they_are_off_and_nowhere_else(start: Start, installed: Path) -> None:
    """Without LIMEN_METRICS_PORT there are none, and the address of the service never has them."""
    server = serve(start, installed)
    with server.client() as client:
        assert client.get("/metrics").status_code in {401, 404}
    port = free_port()
    with pytest.raises(httpx.ConnectError):
        scraped(port)


def test_nothing_else_is_there(start: Start, installed: Path) -> None:
    """Their port answers 404 and 405 to all else, and who sends no whole head holds up nobody."""
    port = free_port()
    serve(start, installed, LIMEN_METRICS_PORT=str(port))
    address = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{address}/auth/me", trust_env=False).status_code == 404
    assert httpx.post(f"{address}/metrics", trust_env=False).status_code == 405
    assert httpx.head(f"{address}/metrics", trust_env=False).content == b""
    with contextlib.ExitStack() as held:
        silent = [
            held.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(MOST_READERS - 2)
        ]
        assert scraped(port)
        large = silent.pop()
        large.sendall(b"x" * (MOST_HEAD_BYTES + 1))
        for each in (large, *silent):
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""


def test_a_taken_port_ends_the_start(installed: Path) -> None:
    """Where somebody else has the port, or the address is none of this machine, the server does not start."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        command = ("serve", "--port", "0", "--env-file", str(installed))
        done = limen(*command, folder=installed.parent, LIMEN_METRICS_PORT=taken)
        assert (done.returncode, f"Port {taken}" in done.stderr) == (4, True)
        elsewhere = {"LIMEN_METRICS_PORT": taken, "LIMEN_METRICS_HOST": "203.0.113.1"}
        refused = limen(*command, folder=installed.parent, **elsewhere)
        assert (refused.returncode, "LIMEN_METRICS_HOST" in refused.stderr) == (3, True)


def test_what_is_missing_is_named(installed: Path) -> None:
    """Without the package that writes the format a port for metrics is refused with the line that installs it."""
    program = (
        "import sys; sys.modules['prometheus_client'] = None; import importlib.util as u; f = u.find_spec; "
        "u.find_spec = lambda name, *more: None if name == 'prometheus_client' else f(name, *more); "
        "from limen.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--port", "0", "--env-file", str(installed)],
        env=environment(LIMEN_METRICS_PORT=str(free_port())),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert 'pip install "limen[server]"' in done.stderr
