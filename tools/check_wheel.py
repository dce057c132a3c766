"""Install the built wheel as a user would, outside the checkout, and use it.

One login over real HTTP; one check of an application of somebody who has nothing but limen and FastAPI.

.venv/bin/python tools/check_wheel.py dist/limen-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_SECONDS = 60
STOPS_WITHIN_SECONDS = 20
# A machine's proxy has no business between this script and the server it started.
SHOP = ROOT / "examples" / "endpoints" / "shop.py"
"""An application of somebody who has never heard of limen."""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def strangers(wheel: Path) -> set[str]:
    """Return the files in the wheel that are not in the repository: leftovers of a run, or worse, somebody's data."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    places = {"src/limen/": "limen/", "examples/orders/": "limen/server/orders/"}
    known = {there + path[len(here) :] for path in tracked for here, there in places.items() if path.startswith(here)}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    return packed - known


def fetch(place: Path) -> Path:
    """Fetch the locked run requirements, checked against their hashes, into a folder; return it."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    locked = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(ROOT / "requirements" / "run.txt")]
    subprocess.run([*pip, *locked, "--dest", str(place)], check=True)
    return place


def install(fetched: Path, place: Path, *wanted: str) -> Path:
    """Make an environment with what is wanted and what that needs, of what was fetched; return its programs.

    The wheel's own metadata decides what it needs: what it forgot is missing here as it would be for a user.
    """
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--find-links", str(fetched), *wanted], check=True)
    subprocess.run([*pip, "check"], check=True)
    return place / "bin"


def free_port() -> int:
    """Return a port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(url: str, body: dict[str, Any] | None = None, token: str | None = None) -> dict[str, Any]:
    """Send one request, as JSON where there is a body, and return the answer's; raise HTTPError from 400 on."""
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    with OPENER.open(request, timeout=30) as answer:
        return cast("dict[str, Any]", json.load(answer))


@contextlib.contextmanager
def demo(programs: Path, place: Path) -> Iterator[str]:
    """Run the installed `limen demo` in a folder of its own until the block ends; give its address once it is ready."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LIMEN_", "PYTHON"))}
    log = place / "demo.log"
    with log.open("wb") as output:
        command = [str(programs / "limen"), "demo", "--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(
            command, cwd=place, env=clean, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until_ready(server, address)
        yield address
    except BaseException:
        print(log.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
        raise
    finally:
        server.terminate()
        try:
            server.wait(STOPS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    """Return when the server answers /readyz; raise RuntimeError when it ends or stays silent instead."""
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"limen demo ended with {server.returncode} before it was ready")
        with contextlib.suppress(OSError), OPENER.open(f"{address}/readyz", timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"limen demo was not ready after {READY_WITHIN_SECONDS} s")


def log_in(address: str, place: Path) -> str:
    """Log in as the demo's maker, ask who that is and call the example; return the name."""
    try:
        call(f"{address}/auth/me")
    except urllib.error.HTTPError as refused:
        if refused.code != 401:
            raise
    else:
        raise RuntimeError("without a token /auth/me answered as if there were one")
    maker = json.loads((place / "var" / "demo-accounts.json").read_text(encoding="utf-8"))["maker"]
    tokens = call(f"{address}/auth/login", {"username": maker["username"], "password": maker["password"]})
    me = call(f"{address}/auth/me", token=tokens["access_token"])
    if me["username"] != maker["username"]:
        raise RuntimeError(f"/auth/me told of {me['username']}")
    order = call(f"{address}/orders", {"item": "a threshold of oak", "amount": 1}, token=tokens["access_token"])
    if order["status"] != "pending":
        raise RuntimeError(f"the order is {order['status']}")
    return str(me["username"])


def check_shop(programs: Path, place: Path) -> str:
    """Check a stranger's application with the installed `limen check`; return what it took and what it found.

    Raises:
        RuntimeError: the open route was not found, or one that is guarded was.
    """
    shutil.copy(SHOP, place)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LIMEN_", "PYTHON"))}
    started = time.monotonic()
    ended = subprocess.run(
        [str(programs / "limen"), "check", "shop:app", "--json"],
        cwd=place,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    seconds = time.monotonic() - started
    if ended.returncode != 1:
        raise RuntimeError(f"limen check ended with {ended.returncode}: {ended.stderr}")
    told = json.loads(ended.stdout)
    open_routes = [f"{each['method']} {each['route']}" for each in told["findings"] if each["id"] == "LC001"]
    if open_routes != ["DELETE /orders/{order_id}"] or told["guarded"] != 2:
        raise RuntimeError(f"limen check found {open_routes} of {ended.stdout}")
    return f"{open_routes[0]} open in {told['routes']} routes after {seconds:.1f} s"


def main() -> int:
    """Check the wheel named on the command line; return 0, or raise."""
    wheel = Path(sys.argv[1]).resolve(strict=True)
    unknown = strangers(wheel)
    if unknown:
        raise RuntimeError(f"the wheel holds what the repository does not: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="limen-wheel-") as folder:
        place = Path(folder)
        fetched = fetch(place / "fetched")
        programs = install(fetched, place / "environment", f"{wheel}[server]")
        with demo(programs, place) as address:
            name = log_in(address, place)
        print(f"the wheel {wheel.name} installs, starts and let {name} log in")
        (place / "shop").mkdir()
        bare = install(fetched, place / "shop" / "environment", str(wheel), "fastapi")
        print(f"without extras, limen check found {check_shop(bare, place / 'shop')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
