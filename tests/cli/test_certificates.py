"""``limen certificates``: what is registered, printed and refused."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.mtls.authority import Authority, dns, uri
from tests.mtls.conftest import SPIFFE

pytestmark = pytest.mark.usefixtures("installation")


def test_by_the_command_line(run: Run, tmp_path: Path) -> None:
    """Each kind of name, by value or by a file; refused with a sentence and an exit code."""
    assert run("services", "create", "billing").code == 0
    made = Authority().client(uri(SPIFFE), dns("billing.example"))
    certificate, _ = made.files(tmp_path, "billing")
    add = ("certificates", "add", "billing")
    first = run(*add, "--uri", SPIFFE, "--json").json
    assert (first["kind"], first["value"], first["created_by"]) == ("uri", SPIFFE, "cli")
    assert run(*add, "--dns", "Billing.example").out == "billing is known by dns:billing.example.\n"
    fingerprint = run(*add, "--file", str(certificate), "--json").json["value"]
    assert run(*add, "--sha256", fingerprint).code == 1
    listed = run("certificates", "list", "billing", "--json").json["items"]
    assert {each["kind"] for each in listed} == {"uri", "dns", "sha256"}
    assert SPIFFE in run("certificates", "list", "billing").out
    assert run("certificates", "remove", "billing", first["id"]).code == 0
    assert run("certificates", "remove", "billing", first["id"]).code == 1
    for wrong, code in (
        ((), 2),
        (("--uri", SPIFFE, "--dns", "a"), 2),
        (("--file", str(certificate), "--sha256", fingerprint), 2),
        (("--file", str(tmp_path / "missing.pem")), 2),
        (("--dns", "*.example"), 1),
    ):
        done = run(*add, *wrong)
        assert (done.code, bool(done.err)) == (code, True), wrong
    assert run("certificates", "add", "nobody", "--dns", "a.example").code == 1
