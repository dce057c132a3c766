"""An upgrade is rolled out under load: the schema first, then node after node, and nobody is logged out (R170).

The version that runs is the one of this tree. The next version is a copy of it that knows one revision more, which adds
columns to the tables that every request reads, a table and an index: two versions of the code, as processes, on one
database. No history of the repository is needed for it.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import limen
from limen.cli.exits import Exit
from limen.storage.sql.migrations import REVISIONS
from tests.faults.checker import Checker
from tests.faults.clients import Crowd, crowd_of
from tests.faults.fleet import Fleet, running_fleet
from tests.faults.history import History, read
from tests.faults.servers import ROOT, Nursery
from tests.support.postgres import rows
from tests.support.processes import uncounted, until

LEEWAY = 60
NODES = 3
CLIENTS = 4
ENOUGH = 15
"""So many acts between two steps of the upgrade."""
NEXT = "9999"
MIGRATION = f'''
"""What the next version adds."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision: str | None = "{REVISIONS[-1]}"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add only, so the version before goes on working."""
    for table in ("limen_accounts", "limen_sessions"):
        op.add_column(table, sa.Column("of_the_next_version", sa.String(20), nullable=True))
        op.add_column(table, sa.Column("also_of_it", sa.Integer(), nullable=False, server_default="7"))
    op.create_table("limen_next", sa.Column("id", sa.String(36), primary_key=True))
    op.create_index("ix_limen_sessions_next", "limen_sessions", ["also_of_it"])
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('{NEXT}')")
'''


@dataclass
class Version:
    """A version of the code.

    Attributes:
        environment: of its processes.
    """

    environment: dict[str, str]

    def command(self, fleet: Fleet, *arguments: str) -> "subprocess.Popen[str]":
        """Start one of its commands on the database of a fleet."""
        return subprocess.Popen(
            [sys.executable, "-m", "limen.cli", *arguments],
            cwd=ROOT,
            env={**self.environment, **fleet.nodes[0].environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def next_version(tmp_path: Path) -> Version:
    """A copy of this version that knows one revision more."""
    place = tmp_path / "next"
    package = Path(limen.__file__).parent
    shutil.copytree(package, place / "limen", ignore=shutil.ignore_patterns("__pycache__"))
    migrations = place / "limen" / "storage" / "sql" / "migrations"
    (migrations / "versions" / f"r{NEXT}_next.py").write_text(MIGRATION, encoding="utf-8")
    known = migrations / "__init__.py"
    text, last = known.read_text(encoding="utf-8"), f'    "{REVISIONS[-1]}",\n)'
    assert text.count(last) == 1
    known.write_text(text.replace(last, f'    "{REVISIONS[-1]}",\n    "{NEXT}",\n)'), encoding="utf-8")
    before = os.environ.get("PYTHONPATH")
    return Version({**uncounted(), "PYTHONPATH": f"{place}:{before}" if before else str(place)})


@pytest.fixture
def nurseries(nursery: Nursery, next_version: Version) -> Iterator[tuple[Nursery, Nursery]]:
    """Where nodes of this version come from, and those of the next."""
    newer = Nursery(next_version.environment)
    yield nursery, newer
    newer.close()


def told(process: "subprocess.Popen[str]") -> dict[str, object]:
    """Return what a command says, once it has ended well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == Exit.DONE, err
    said: dict[str, object] = json.loads(out)
    return said


def acts_of(crowd: Crowd) -> int:
    """Return how many answers the clients had."""
    return sum(len(witness.answers) for witness in crowd.witnesses)


def let_them_act(crowd: Crowd) -> None:
    """Wait until the clients have had some more answers, however long the machine takes."""
    enough = acts_of(crowd) + ENOUGH
    assert until(lambda: acts_of(crowd) >= enough), "the clients stand still"


def replace_all(fleet: Fleet, nursery: Nursery, crowd: Crowd) -> None:
    """Stop node after node as an operator does, and start it from another nursery, while the others serve."""
    for node in fleet.nodes:
        node.stop()
        node.move_to(nursery)
        node.start()
        let_them_act(crowd)


def upgrade_twice_at_once(fleet: Fleet, version: Version) -> Sequence[dict[str, object]]:
    """Run `limen db upgrade` of a version two times at the same moment."""
    return [told(each) for each in [version.command(fleet, "db", "upgrade", "--json") for _ in range(2)]]


@pytest.mark.timeout(300)
def test_an_upgrade_under_load_loses_no_session(
    nurseries: tuple[Nursery, Nursery],
    next_version: Version,
    tmp_path: Path,
    postgres_url: str,
    history: History,
    tell: Callable[[str], None],
) -> None:
    """Schema, then nodes, then one node back again: every session goes on, and what had ended stays ended.

    Both versions serve at the same time on both sides of the migration; whoever is turned away is told to come back.
    """
    seed = random.randrange(2**32)
    this, newer = nurseries
    settings = {"log_level": "error", "refresh_leeway": str(LEEWAY)}
    with running_fleet([this], tmp_path, postgres_url, NODES, **settings) as fleet:
        crowd = crowd_of(fleet, history, random.Random(seed), size=CLIENTS)
        began = time.monotonic()
        with crowd.busy():
            let_them_act(crowd)
            upgrades = upgrade_twice_at_once(fleet, next_version)
            let_them_act(crowd)
            replace_all(fleet, newer, crowd)
            # Rolled back: the version before starts on the schema of the next, and goes on beside it.
            fleet.nodes[0].stop()
            fleet.nodes[0].move_to(this)
            fleet.nodes[0].start()
            let_them_act(crowd)
        took = time.monotonic() - began
        verdict = Checker(history, fleet.nodes, leeway=LEEWAY, seed=seed).check()
    answers = [answer for witness in crowd.witnesses for answer, _ in witness.answers]
    failed = [answer for answer in answers if answer.status >= 500]
    tell(f"upgraded in {took:.0f} s: {len(answers)} answers, {len(failed)} of them 503, {verdict}")
    assert verdict.violations == [], f"seed {seed}"
    assert verdict.living > 0
    assert verdict.spent > 0
    assert all(answer.status == 503 and int(answer.header("retry-after") or 0) >= 1 for answer in failed)
    assert len(failed) < len(answers) / 4
    assert any(act.kind == "refresh" and act.outcome == "done" for act in read(history.path))
    # The second waited for the first, and found nothing to do: what a revision makes cannot be made twice.
    assert REVISIONS[-1] in {each["from"] for each in upgrades}
    assert {each["to"] for each in upgrades} == {NEXT}


@pytest.mark.timeout(300)
def test_a_version_that_the_schema_does_not_suit_is_refused(
    nursery: Nursery, next_version: Version, tmp_path: Path, postgres_url: str
) -> None:
    """Where the next schema does not say that this version works with it, this version neither starts nor migrates."""
    this = Version(uncounted())
    with running_fleet([nursery], tmp_path, postgres_url, 1, log_level="error") as fleet:
        behind = next_version.command(fleet, "db", "current", "--json")
        out, _ = behind.communicate(timeout=120)
        assert (behind.returncode, json.loads(out)["standing"]) == (Exit.REFUSED, "behind")
        assert told(next_version.command(fleet, "db", "upgrade", "--json"))["to"] == NEXT
        assert told(this.command(fleet, "db", "current", "--json"))["standing"] == "newer"
        rows(postgres_url, "DELETE FROM limen_schema_compatible WHERE revision = $1", REVISIONS[-1])
        for command in (["db", "upgrade"], ["accounts", "list"]):
            refused = this.command(fleet, *command)
            _, err = refused.communicate(timeout=120)
            assert refused.returncode == Exit.CONFIGURATION, err
            assert "newer limen" in err
        assert rows(postgres_url, "SELECT version_num FROM limen_schema_version") == [(NEXT,)]
