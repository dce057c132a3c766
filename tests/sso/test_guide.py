"""The page about single sign-on: its settings are providers, its code runs, and its lines to try do what it says."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from limen.features.sso.providers import providers_of
from limen.settings.sso import clients_in
from limen.web.routes.sso import sso_routes
from limen.web.routes.sso_schema import sso_paths
from tests.docs.markdown import ROOT, blocks, rows
from tests.sso import real
from tests.support.ports import free_port
from tests.support.postgres import Lacking

PAGE = (ROOT / "docs" / "guides" / "single-sign-on.md").read_text(encoding="utf-8")
SETTINGS = [block.text for block in blocks(PAGE) if block.language == "env"]
READY_SECONDS = 60.0


def variables(lines: str) -> dict[str, str]:
    """Return what lines of settings, or of exports, set."""
    found = re.findall(r'([A-Z_0-9]+)=("[^"]*"|\S+)', lines)
    return {name: value.strip('"') for name, value in found}


@pytest.mark.parametrize("lines", SETTINGS, ids=lambda lines: str(lines).split("_")[2].lower())
def test_each_block_of_settings_is_a_provider(lines: str) -> None:
    """Pasted with an id and a secret, it declares one that can be used."""
    (provider,) = providers_of([], clients_in(variables(lines))).values()
    assert provider.issuer.startswith("https://")
    assert provider.client_id
    assert provider.secret


def test_every_preset_has_its_lines() -> None:
    """And one provider that is none of them."""
    names = {name for lines in SETTINGS for name in (next(iter(clients_in(variables(lines)))).name,)}
    assert names == {"google", "entra", "auth0", "keycloak", "cognito", "github", "corp"}


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the settings that it leaves to the installation."""
    (code,) = [block.text for block in blocks(PAGE) if block.language == "python"]
    for name in ("ACCESS", "REFRESH"):
        monkeypatch.setenv(f"LIMEN_JWT_{name}_SECRET", name * 3 + "kJ8d-0a7Vq2mZx4Lr9Ts")
    monkeypatch.setenv("LIMEN_DATABASE_URL", f"sqlite:///{tmp_path / 'limen.db'}")
    monkeypatch.setenv("LIMEN_SSO_CORP_ISSUER", "https://id.corp.example")
    for name in ("CORP", "GOOGLE"):
        monkeypatch.setenv(f"LIMEN_SSO_{name}_CLIENT_ID", "id")
    names: dict[str, Any] = {}
    exec(compile(code, "single-sign-on.md", "exec"), names)  # noqa: S102 - the project's own page
    assert set(names["gate"].sso.providers) == {"corp", "google"}
    assert names["gate"].sso.providers["corp"].managed_roles == {"editor", "admin"}


def test_the_page_names_each_route() -> None:
    """The table of the page, the schema and the routes name the same requests."""
    request = re.compile(r"(GET|POST|DELETE) (/auth/sso[\w/{}-]*)")
    told = {found for cells in rows(PAGE, "request") for found in request.findall(cells[0])}
    described = {(verb.upper(), path) for path, verbs in sso_paths("/auth", {}).items() for verb in verbs}
    sso: Any = type("Nothing", (), {"redirects": frozenset()})
    made = sso_routes(sso, sso, sso, prefix="/auth")
    served = {(verb, path) for path, verbs in made.items() for verb in verbs}
    assert told == described == served


def test_the_lines_to_try_do_what_the_page_says(tmp_path: Path) -> None:
    """The provider and the demo, started with the page's own settings on free ports: ann comes back as a maker."""
    provider_lines, demo_lines = [block.text for block in blocks(PAGE) if block.language == "sh"]
    there, here = str(free_port()), str(free_port())

    def on_free_ports(lines: str) -> Mapping[str, str]:
        return variables(lines.replace("9500", there).replace("8000", here))

    try:
        program, npm = real.node()
        folder = real.installed(program, npm)
    except Lacking as error:
        pytest.skip(str(error))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LIMEN_", "PYTHON", "COV"))}
    output = tmp_path / "output.txt"
    with real.started([str(program), "server.mjs"], folder, on_free_ports(provider_lines)), output.open("wb") as log:
        demo = subprocess.Popen(
            [str(Path(sys.prefix) / "bin" / "limen"), "demo", "--port", here],
            cwd=tmp_path,
            env={**clean, "LIMEN_BCRYPT_COST": "10", **on_free_ports(demo_lines)},
            stdout=log,
            stderr=log,
        )
        try:
            home = f"http://127.0.0.1:{here}"
            _wait(home, demo, output)
            (shown,) = re.findall(r"`http://127.0.0.1:8000(/auth/sso/corp/login\S*)`", PAGE)
            with httpx.Client(timeout=20) as browser:
                answer = real.browse(browser, home + shown, home, login="ann", password="any")
                assert answer.headers["location"] == "/auth/me"
                assert browser.get(f"{home}/auth/me").json()["roles"] == ["maker"]
        finally:
            demo.terminate()
            demo.wait(30)


def _wait(home: str, demo: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        assert demo.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        try:
            if httpx.get(f"{home}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
