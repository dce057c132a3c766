"""The page about mutual TLS: its lines are run as they are printed, in the shell."""

import os
import subprocess
from pathlib import Path

from tests.docs.markdown import blocks
from tests.server.conftest import LIMEN, environment
from tests.support.ports import free_port

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "mutual-tls.md"
READY = "curl -sS --cacert ca.pem https://127.0.0.1:8443/healthz >/dev/null 2>&1"
WAIT = f"for i in $(seq 300); do {READY} && break; sleep 0.1; done\n"


def test_the_lines_do_what_the_page_says(tmp_path: Path) -> None:
    """Pasted one after the other: the service is known by its certificate, and its token is of no use without it."""
    port = str(free_port())
    pasted = [block.text for block in blocks(PAGE.read_text(encoding="utf-8")) if block.language == "sh"]
    assert len(pasted) == 4
    pasted.insert(2, WAIT)
    lines = "set -e\ntrap 'kill %1' EXIT\n" + "\necho\n".join(pasted) + "\necho\n"
    done = subprocess.run(
        ["bash"],
        input=lines.replace("8443", port),
        cwd=tmp_path,
        env=environment(PATH=f"{LIMEN.parent}{os.pathsep}{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == 3, done.stdout + done.stderr
    assert '"username":"billing"' in answers[0].replace(": ", ":")
    assert '"amr":["mtls"]' in answers[1].replace(": ", ":")
    assert '"code":"token_invalid"' in answers[2].replace(": ", ":")
