from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from tools import check_wheel

SERVER = """
import http.server, json, os, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
os.mkdir("var")
json.dump({"maker": {"username": "maker", "password": "right"}}, open("var/demo-accounts.json", "w"))

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        known = self.headers.get("Authorization") == "Bearer token" or OPEN
        status, told = {
            "/readyz": (200, {}),
            "/auth/login": (200 if (body or {}).get("password") == "right" else 401, {"access_token": "token"}),
            "/auth/me": (200 if known else 401, {"username": "maker"}),
            "/orders": (201 if known else 401, {"status": "pending"}),
        }[self.path]
        text = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = answer

http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def program(place: Path, script: str) -> Path:
    """Write a `limen` that runs this script; return its folder."""
    path = place / "bin" / "limen"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{script}", encoding="utf-8")
    path.chmod(0o755)
    return path.parent


def test_a_server_that_works(tmp_path: Path) -> None:
    """The check logs in, asks who that is, calls the example, and stops the server."""
    with check_wheel.demo(program(tmp_path, "OPEN = False\n" + SERVER), tmp_path) as address:
        assert check_wheel.log_in(address, tmp_path) == "maker"
    with pytest.raises(OSError, match="refused"):
        check_wheel.call(f"{address}/readyz")


def test_a_server_that_is_open(tmp_path: Path) -> None:
    """A server that tells who is calling without having asked fails the check."""
    with (
        check_wheel.demo(program(tmp_path, "OPEN = True\n" + SERVER), tmp_path) as address,
        pytest.raises(RuntimeError, match="without a token"),
    ):
        check_wheel.log_in(address, tmp_path)


def test_a_server_that_does_not_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the server said before it ended is shown."""
    programs = program(tmp_path, "raise SystemExit('no secret was set')")
    with pytest.raises(RuntimeError, match="before it was ready"), check_wheel.demo(programs, tmp_path):
        pass
    assert "no secret was set" in capfd.readouterr().err


def test_files_from_nowhere_are_found(tmp_path: Path) -> None:
    """What lies in a wheel and not in the repository is named; what is in both is not."""
    wheel = tmp_path / "limen.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("limen/py.typed", "limen/server/orders/orders.db", "limen-0.1.0.dist-info/RECORD"):
            archive.writestr(name, json.dumps(None))
    assert check_wheel.strangers(wheel) == {"limen/server/orders/orders.db"}


@pytest.mark.parametrize(
    ("code", "routes", "right"),
    [
        (1, ["DELETE /orders/{order_id}"], True),
        (0, ["DELETE /orders/{order_id}"], False),
        (1, [], False),
        (1, ["DELETE /orders/{order_id}", "GET /me"], False),
    ],
    ids=["found", "found and passed", "not found", "a guarded one, too"],
)
def test_the_check_of_a_stranger(tmp_path: Path, code: int, routes: list[str], right: bool) -> None:
    """The open route of the stranger's application is to be found, no other, and is to fail."""
    split = [each.split() for each in routes]
    found = [{"id": "LC001", "method": method, "route": path} for method, path in split]
    told = json.dumps({"findings": found, "guarded": 2, "routes": 7})
    programs = program(tmp_path, f"print({told!r})\nraise SystemExit({code})\n")
    if right:
        assert "DELETE /orders/{order_id} open in 7 routes" in check_wheel.check_shop(programs, tmp_path)
    else:
        with pytest.raises(RuntimeError):
            check_wheel.check_shop(programs, tmp_path)
