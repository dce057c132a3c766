"""The tutorial: its blocks run in a row, and the application that they make answers as it says."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from limen.testing import acting_as
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "guides" / "from-roles-to-policies.md"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the blocks of the page make, run in a row."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMEN_DATABASE_URL", f"sqlite:///{tmp_path / 'limen.db'}")
    for name in ("ACCESS", "REFRESH"):
        monkeypatch.setenv(f"LIMEN_JWT_{name}_SECRET", secrets.token_urlsafe(48))
    code = "\n".join(block.text for block in blocks(PAGE.read_text(encoding="utf-8")) if block.language == "python")
    assert code.count("assert ") >= 8
    names: dict[str, Any] = {"__name__": "tutorial"}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - the page's own code
    return names


def test_the_blocks_run_and_the_application_answers(made: dict[str, Any]) -> None:
    """A checker approves within the limit; above it, closed, and one's own are refused with the rule's id at most."""
    with TestClient(made["app"]) as client, acting_as(made["gate"], sub="bob", roles=["checker"]):
        answers = {number: client.post(f"/orders/{number}/approve") for number in (1, 2, 3, 4)}
    assert (answers[1].status_code, answers[1].json()) == (200, "1 approved by bob")
    refused = {number: answer.json() for number, answer in answers.items() if answer.status_code == 403}
    assert {number: (body["code"], body.get("detail")) for number, body in refused.items()} == {
        2: ("policy_denied", None), 3: ("policy_denied", "closed-is-closed"), 4: ("policy_denied", None),
    }  # fmt: skip
