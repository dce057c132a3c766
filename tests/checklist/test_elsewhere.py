"""Where others call the command: the hook of pre-commit, and the step of GitHub Actions, run for real."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.docs.markdown import blocks

ROOT = Path(__file__).parents[2]
# Each is several programs after each other, and a machine may be ten times slower.
pytestmark = pytest.mark.timeout(900)
GUARDED = """
from fastapi import Depends, FastAPI, HTTPException
def who(token: str = ""):
    if token != "x" * 3:
        raise HTTPException(401)
app = FastAPI()
@app.get("/a", dependencies=[Depends(who)])
def a() -> int: ...
"""
OPENED = GUARDED.replace(", dependencies=[Depends(who)]", "")


class Repository:
    """A repository with an application in ``app/main.py``.

    Args:
        folder: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "app").mkdir(parents=True)
        self.run("git", "init", "-q")
        self.write(GUARDED)

    def write(self, text: str) -> None:
        """Write the application."""
        (self.folder / "app" / "main.py").write_text(text)

    def run(self, *command: str, folder: str = ".", **environment: str) -> Any:
        """Run a command in a folder of it, with the programs of this environment first."""
        own = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PRE_COMMIT_HOME": str(self.folder.parent / "pre-commit"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "Ann"),
            **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "ann@example.com"),
        }
        known = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return subprocess.run(
            command,
            cwd=self.folder / folder,
            env={**known, **own, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def commit(self, **environment: str) -> Any:
        """Commit everything that is there."""
        self.run("git", "add", "-A")
        return self.run("git", "commit", "-q", "-m", "a change", **environment)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository that nothing was committed to."""
    return Repository(tmp_path / "repository")


# --- pre-commit


def of_guide(_: Path) -> Any:
    """Return the hook as the guide writes it down."""
    page = (ROOT / "docs" / "guides" / "check.md").read_text(encoding="utf-8")
    (block,) = [each for each in blocks(page) if each.language == "yaml" and "repo: local" in each.text]
    hooks = yaml.safe_load(block.text)
    hooks[0]["hooks"][0]["entry"] += " --fail-on high"
    return hooks


def of_repository(folder: Path) -> Any:
    """Return the hook as it comes from limen's own repository, of which a small one here stands for the whole."""
    limen = Repository(folder / "limen")
    (limen.folder / ".pre-commit-hooks.yaml").write_text((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert limen.commit().returncode == 0
    revision = limen.run("git", "rev-parse", "HEAD").stdout.strip()
    hook = {"id": "limen-check", "args": ["app.main:app", "--fail-on", "high"]}
    return [{"repo": str(limen.folder), "rev": revision, "hooks": [hook]}]


@pytest.mark.parametrize("hooks", [of_guide, of_repository], ids=["local", "from the repository"])
def test_the_hook_holds_a_commit_that_opens_a_route(tmp_path: Path, repository: Repository, hooks: Any) -> None:
    """What is guarded is committed; what opens a route is not, and it is said which."""
    (repository.folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": hooks(tmp_path)}))
    installed = repository.run(sys.executable, "-m", "pre_commit", "install")
    assert installed.returncode == 0, installed.stderr
    passed = repository.commit()
    assert passed.returncode == 0, passed.stderr
    repository.write(OPENED)
    held = repository.commit()
    assert held.returncode == 1
    assert "GET /a" in held.stdout + held.stderr
    assert repository.run("git", "rev-list", "--count", "HEAD").stdout.strip() == "1"


def test_the_hook_is_not_asked_about_other_files(tmp_path: Path, repository: Repository) -> None:
    """A commit without Python waits for nothing."""
    (repository.folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": of_repository(tmp_path)}))
    repository.run(sys.executable, "-m", "pre_commit", "install")
    assert repository.commit(SKIP="limen-check").returncode == 0
    (repository.folder / "README.md").write_text("words\n")
    assert "no files to check" in repository.commit().stderr


# --- GitHub Actions

ACTION: Any = yaml.safe_load((ROOT / "deploy" / "github" / "action.yml").read_text(encoding="utf-8"))
(STEP,) = ACTION["runs"]["steps"]
_INPUT = re.compile(r"\${{ inputs\.([\w-]+) }}")


def step(repository: Repository, *, programs: str = "", **given: str) -> Any:
    """Run the step as a runner does: its own script, its inputs in the environment, files for what it answers."""
    inputs = {name: each.get("default", "") for name, each in ACTION["inputs"].items()}
    inputs |= {name.replace("_", "-"): value for name, value in given.items()}

    def put(text: str) -> str:
        return _INPUT.sub(lambda found: inputs[found[1]], text)

    answers = {name: str(repository.folder.parent / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for path in answers.values():
        Path(path).write_text("")
    script = repository.folder.parent / "step.sh"
    script.write_text(STEP["run"])
    more = {"PATH": programs} if programs else {}
    return repository.run(
        *("bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)),
        folder=put(STEP["working-directory"]),
        **{name: put(value) for name, value in STEP["env"].items()},
        **answers,
        **more,
        GITHUB_ACTIONS="true",
        GITHUB_WORKSPACE=str(repository.folder),
        CI="true",
    )


def answered(repository: Repository, name: str) -> str:
    """Return what the step wrote into a file of the runner's."""
    return (repository.folder.parent / name).read_text()


def test_the_step_fails_where_a_route_is_open(repository: Repository) -> None:
    """The summary names the route, the log is SARIF with it, and its path is an output."""
    repository.write(OPENED)
    ended = step(repository, app="app.main:app")
    assert ended.returncode == 1, ended.stderr
    assert "| high | `GET /a` | app/main.py:" in answered(repository, "GITHUB_STEP_SUMMARY")
    assert answered(repository, "GITHUB_OUTPUT") == "sarif=./limen.sarif\n"
    log = json.loads((repository.folder / "limen.sarif").read_text())
    assert "LC001" in {each["ruleId"] for each in log["runs"][0]["results"]}


def test_the_step_uploads_nothing_where_nothing_was_looked_at(repository: Repository) -> None:
    """A log of an earlier run is no answer to this one: without a log the alerts of before stay open."""
    repository.write("import nothing_of_that_name\n")
    (repository.folder / "limen.sarif").write_text("{}")
    assert step(repository, app="app.main:app").returncode == 2
    assert not (repository.folder / "limen.sarif").exists()
    assert answered(repository, "GITHUB_OUTPUT") == ""


def test_the_step_works_in_a_folder_of_the_repository(repository: Repository) -> None:
    """The log has the paths of the repository, as the upload needs them, and the output leads to it from there."""
    repository.write(OPENED)
    ended = step(repository, app="main:app", working_directory="app", sarif="out.sarif")
    assert ended.returncode == 1, ended.stderr
    assert answered(repository, "GITHUB_OUTPUT") == "sarif=app/out.sarif\n"
    log = json.loads((repository.folder / "app" / "out.sarif").read_text())
    places = [each["locations"][0]["physicalLocation"]["artifactLocation"] for each in log["runs"][0]["results"]]
    assert {each["uri"] for each in places} == {"app/main.py"}


def test_the_step_passes_below_its_severity(repository: Repository) -> None:
    """Findings that do not fail are shown all the same; rules that are left out are not."""
    ended = step(repository, app="app.main:app", fail_on="high", ignore="LC014")
    assert ended.returncode == 0, ended.stderr
    summary = answered(repository, "GITHUB_STEP_SUMMARY")
    assert "LC013" in summary
    assert "LC014" not in summary
    assert "1 rule not asked" in summary


def test_the_step_holds_to_a_baseline_and_a_lock(repository: Repository) -> None:
    """What was there before passes; a route that was opened since fails by the lock as well, by its word."""
    repository.run("limen", "check", "app.main:app", "--write-baseline", "known.json")
    repository.run("limen", "check", "app.main:app", "--lock", "routes.lock")
    before = step(repository, app="app.main:app", baseline="known.json", lock="routes.lock")
    assert before.returncode == 0, before.stderr
    repository.write(OPENED)
    after = step(repository, app="app.main:app", baseline="known.json", lock="routes.lock", ignore="LC001,LC008")
    assert after.returncode == 1
    assert "loosened: GET /a: who -> open" in after.stderr


def test_the_inputs_of_the_step_are_data(repository: Repository) -> None:
    """No input is part of the script, and what looks like a command or an option is a name of an application."""
    assert "${{" not in STEP["run"]
    for app in ("app.main:app; touch owned", "$(touch owned)", "--explain"):
        ended = step(repository, app=app)
        assert ended.returncode == 2, ended.stdout
    assert not list(repository.folder.rglob("owned"))


def test_the_step_says_that_limen_is_missing(repository: Repository) -> None:
    """A job that forgot to install it is told so, in the form that the runner shows."""
    ended = step(repository, app="app.main:app", programs="/usr/bin:/bin")
    assert ended.returncode == 2
    assert ended.stdout.startswith("::error::limen is not there")


def test_every_output_is_one_of_the_step() -> None:
    """The action hands on what its only step answers."""
    assert ACTION["outputs"]["sarif"]["value"] == f"${{{{ steps.{STEP['id']}.outputs.sarif }}}}"
    assert set(ACTION["inputs"]) >= {name for value in STEP["env"].values() for name in _INPUT.findall(value)}
