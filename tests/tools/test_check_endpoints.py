from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tools import check_endpoints


def program(folder: Path, code: int, **told: object) -> Path:
    """Write a `limen` that tells this report and ends with this code."""
    report = {"routes": 60, "open": 0, "unknown": 0, "findings": [], **told}
    path = folder / "limen"
    path.write_text(f"#!{sys.executable}\nprint({json.dumps(report)!r})\nraise SystemExit({code})\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_clean_application_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Enough routes, all of them guarded or public, and no finding."""
    check_endpoints.clean(program(tmp_path, 0), "a:app", tmp_path, more_than=50)
    assert "a:app: 60 routes, 0 findings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "told"),
    [(1, {}), (2, {}), (0, {"open": 1}), (0, {"unknown": 1}), (0, {"findings": [{}]}), (0, {"routes": 50})],
    ids=["findings", "broken", "open", "unknown", "a finding that does not fail", "too few routes"],
)
def test_anything_else_fails(tmp_path: Path, code: int, told: dict[str, object]) -> None:
    """Another exit code, an open or unknown route, a finding, or fewer routes than there must be."""
    with pytest.raises(RuntimeError):
        check_endpoints.clean(program(tmp_path, code, **told), "a:app", tmp_path, more_than=50)
