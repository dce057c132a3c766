"""The rules for alerts and the dashboard name metrics and labels that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from limen.core import metrics

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
WORKERS: dict[str, set[str]] = {"limen_workers": set(), "limen_workers_replaced_total": set()}
NAME = re.compile(r"\b(limen_[a-z_]+?)(_bucket|_count|_sum)?\b(?:\{([^}]*)\})?(?=[^a-z_]|$)")


def known() -> dict[str, set[str]]:
    """Return the labels of each metric that a server may tell of."""
    return {**{family.name: {"worker", *family.labels} for family in metrics.families()}, **WORKERS}


def rules() -> list[dict[str, Any]]:
    """Return the rules for alerts."""
    [group] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def expressions() -> list[str]:
    """Return every expression of both files."""
    board = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *asked]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_told(expression: str) -> None:
    """Each metric in an expression is one, each label is one of its labels, and the brackets are closed."""
    found = NAME.findall(expression)
    assert found
    for name, _, labels in found:
        assert name in known(), name
        for label in re.findall(r"(\w+)=", labels):
            assert label in known()[name], (name, label)
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)


def test_each_metric_that_limen_counts_is_on_the_dashboard() -> None:
    """What is counted is shown, but for when a process started."""
    board = (FOLDER / "grafana.json").read_text(encoding="utf-8")
    assert [name for name in known() if name not in board] == ["process_start_time_seconds"]


def test_each_alert_says_how_loud_it_is() -> None:
    """An alert has a severity and a sentence."""
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
