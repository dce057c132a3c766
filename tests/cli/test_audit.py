"""``limen audit``, on an installation of its own."""

import json
import os
import pty
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from limen.crypto.keys import SigningKey
from tests.cli.conftest import Run
from tests.cli.test_db_restored import read_all


def by_hand(folder: Path, statement: str) -> None:
    """Run a statement, as whoever may write to the database can."""
    with closing(sqlite3.connect(folder / "limen.db")) as connection, connection:
        connection.execute(statement)


@pytest.fixture
def sealed(run: Run, installation: Path) -> Path:
    """An installation with some records, all sealed; its folder."""
    for name in ("one", "two", "three"):
        assert run("services", "create", name).code == 0
    assert run("audit", "checkpoint").code == 0
    return installation


def test_a_whole_trail(run: Run, sealed: Path) -> None:
    """Nothing is found, the exit code is 0, and that an end that was cut off would not be seen is said."""
    done = run("audit", "verify")
    assert (done.code, done.out.splitlines()[-1].endswith("is whole.")) == (0, True)
    assert "without --checkpoint FILE" in done.err
    told = run("audit", "verify", "--json").json
    assert (told["count"], told["findings"], told["waiting"]) == (0, [], 0)
    assert told["sealed"] >= 3


def test_what_is_found_is_told(run: Run, sealed: Path) -> None:
    """A changed record is named with its number and place, the exit code is 1, as text and as JSON."""
    by_hand(sealed, "UPDATE limen_events SET actor = 'somebody' WHERE event = 'account_created' AND seq % 2 = 0")
    done = run("audit", "verify", "--json")
    assert done.code == 1
    assert {finding["fault"] for finding in done.json["findings"]} == {"changed"}
    done = run("audit", "verify")
    assert done.code == 1
    assert "changed: Record " in done.out
    assert "does not hold" in done.out


def test_a_record_that_cannot_be_read(run: Run, sealed: Path) -> None:
    """It ends neither the list, nor the export, nor the verification, which tells of it."""
    by_hand(sealed, "UPDATE limen_events SET data = '{', time = 'abc', actor = CAST(x'ff' AS text) WHERE seq = 2")
    listed = run("audit", "list", "--json").json["items"]
    (told,) = [record for record in listed if record["seq"] == 2]
    assert (told["time"], told["actor"]) == ("1970-01-01T00:00:00Z", "\\xff")
    assert run("audit", "list").code == 0
    exported = run("audit", "export")
    assert (exported.code, len(exported.out.splitlines())) == (0, len(listed))
    done = run("audit", "verify", "--json")
    assert (done.code, [finding["fault"] for finding in done.json["findings"]]) == (1, ["changed"])


def test_a_cut_end_by_a_checkpoint(run: Run, sealed: Path) -> None:
    """Checkpoints are appended to a file of one's own; by it an end that was cut off is found."""
    points = sealed / "checkpoints.jsonl"
    assert run("audit", "checkpoint", "--to", str(points)).code == 0
    assert run("services", "create", "four").code == 0
    assert run("audit", "checkpoint", "--to", str(points), "--json").json["file"] == str(points)
    assert len(points.read_text().splitlines()) == 2
    assert stat.S_IMODE(points.stat().st_mode) == 0o600
    done = run("audit", "verify", "--checkpoint", str(points), "--json")
    assert (done.code, done.json["checkpoints"]) == (0, 2)
    by_hand(sealed, "DELETE FROM limen_events")
    by_hand(sealed, "DELETE FROM limen_trail")
    by_hand(sealed, "UPDATE limen_trail_head SET number = 0, link = NULL, floor = 0")
    assert run("audit", "verify").code == 0
    done = run("audit", "verify", "--checkpoint", str(points), "--json")
    assert done.code == 1
    assert [finding["fault"] for finding in done.json["findings"]] == ["cut_off", "cut_off"]


@pytest.mark.parametrize(
    "text", ["", "no json\n", '{"number": 1}\n', '{"number": 1, "link": "", "base": 0, "time": 0}']
)
def test_a_file_that_holds_no_checkpoint(run: Run, sealed: Path, text: str) -> None:
    """A file without a checkpoint, or that is not there, is wrong usage, and not a trail that is whole."""
    path = sealed / "points"
    path.write_text(text)
    assert run("audit", "verify", "--checkpoint", str(path)).code == 2
    assert run("audit", "verify", "--checkpoint", str(sealed / "nowhere")).code == 2


def test_listed(run: Run, sealed: Path) -> None:
    """The latest records, by what happened, in pages; what is no event is refused."""
    told = run("audit", "list", "--event", "account_created", "--limit", "2", "--json").json
    assert [record["event"] for record in told["items"]] == ["account_created"] * 2
    before = run("audit", "list", "--event", "account_created", "--limit", "2", "--json", "--after", told["next"]).json
    assert len(before["items"]) == 1
    assert "account_created" in run("audit", "list").out
    assert run("audit", "list", "--event", "no_such_event").code == 1


def test_exported(run: Run, sealed: Path) -> None:
    """Each record is a line of JSON with its seal, in the order of the chain; going on after a place repeats none."""
    lines = [json.loads(line) for line in run("audit", "export").out.splitlines()]
    assert [line["seal"]["place"] for line in lines] == list(range(1, len(lines) + 1))
    assert {"seq", "time", "event", "actor", "data", "user_agent"} <= lines[0].keys()
    assert len(lines[0]["seal"]["link"]) == 64
    rest = run("audit", "export", "--after", str(len(lines) - 1)).out.splitlines()
    assert [json.loads(line) for line in rest] == lines[-1:]


def test_erased(run: Run, sealed: Path) -> None:
    """The details of an account's records go, the chain stays whole, and it is asked first."""
    account = run("audit", "list", "--event", "account_created", "--json").json["items"][-1]["target"]
    assert run("audit", "erase", account).code == 2
    assert run("audit", "erase", "system", "--yes").code == 1
    done = run("audit", "erase", account, "--yes", "--json")
    assert done.code == 0
    assert done.json["records"] >= 1
    told = run("audit", "list", "--target", account, "--json").json["items"]
    assert [record["data"] for record in told if record["event"] == "account_created"] == [{}]
    assert run("audit", "checkpoint").code == 0
    assert run("audit", "verify").code == 0


def test_pruned(run: Run, sealed: Path) -> None:
    """What is old enough goes and the rest verifies; what is younger than that stays."""
    assert run("audit", "prune", "--older-than", "1", "--yes", "--json").json == {"records": 0}
    assert run("audit", "prune", "--older-than", "0", "--yes").code == 2
    assert run("audit", "prune", "--older-than", "1").code == 2
    assert run("audit", "verify").code == 0


def test_keys_and_checkpoints_for_others(run: Run, sealed: Path) -> None:
    """What signs is printed as public keys; by these alone a checkpoint is believed, and by others it is not."""
    keys, points = sealed / "keys.json", sealed / "points.jsonl"
    told = run("audit", "keys")
    assert [(key["kty"], key["alg"]) for key in json.loads(told.out)["keys"]] == [("OKP", "EdDSA")]
    assert "d" not in json.loads(told.out)["keys"][0]
    keys.write_text(told.out)
    assert run("audit", "checkpoint", "--to", str(points)).code == 0
    assert run("audit", "verify", "--checkpoint", str(points), "--jwks", str(keys)).code == 0
    others = SigningKey.generate("EdDSA").verification_key.public_jwk()
    keys.write_text(json.dumps({"keys": [others]}))
    done = run("audit", "verify", "--checkpoint", str(points), "--jwks", str(keys), "--json")
    assert (done.code, [finding["fault"] for finding in done.json["findings"]]) == (1, ["no_checkpoint"])
    for none in ("none", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}'):
        keys.write_text(none)
        assert run("audit", "verify", "--checkpoint", str(points), "--jwks", str(keys)).code == 2
    assert run("audit", "verify", "--jwks", str(sealed / "nowhere")).code == 2


def test_a_key_of_its_own(run: Run, sealed: Path) -> None:
    """A private key in a file signs in the place of the derived one, whose checkpoints of before still verify."""
    points = sealed / "points.jsonl"
    assert run("audit", "checkpoint", "--to", str(points)).code == 0
    (sealed / "own.pem").write_bytes(SigningKey.generate("ES256").private_pem_in_the_clear())
    with (sealed / ".env").open("a") as settings:
        settings.write(f"LIMEN_AUDIT_KEY_FILES={sealed / 'own.pem'}\n")
    assert run("audit", "checkpoint", "--to", str(points)).code == 0
    assert [key["alg"] for key in json.loads(run("audit", "keys").out)["keys"]] == ["ES256", "EdDSA"]
    done = run("audit", "verify", "--checkpoint", str(points), "--json")
    assert (done.code, done.json["checkpoints"]) == (0, 2)


def test_a_lost_place_is_recovered(run: Run, sealed: Path) -> None:
    """It is asked first, it is said in the trail, and a second time there is nothing to do."""
    by_hand(sealed, "DELETE FROM limen_trail_head")
    assert run("audit", "verify").code == 1
    assert run("audit", "recover").code == 2
    done = run("audit", "recover", "--yes", "--json")
    assert (done.code, done.json["recovered"]) == (0, True)
    assert run("audit", "recover", "--yes", "--json").json == {"recovered": False, "place": None}
    assert run("audit", "checkpoint").code == 0
    assert run("audit", "verify").code == 0
    told = run("audit", "list", "--event", "trail_recovered", "--json").json["items"]
    assert [(record["actor"], record["data"]["place"]) for record in told] == [("cli", done.json["place"])]


def test_sinks_are_told(run: Run, sealed: Path) -> None:
    """How far each is, one that is not set any more too; it is forgotten by its name, which is a record."""
    assert run("audit", "sinks", "--json").json == {"items": []}
    with (sealed / ".env").open("a") as settings:
        settings.write(f"LIMEN_AUDIT_SINKS=file://{sealed}/trail.jsonl\n")
    (told,) = run("audit", "sinks", "--json").json["items"]
    assert (told["sink"], told["is_set"], told["place"]) == (f"file://{sealed}/trail.jsonl", True, 0)
    by_hand(
        sealed,
        "INSERT INTO limen_trail_sinks (name, place, checkpoint_at, lease_until, next_at, attempts, failure)"
        " VALUES ('file:///old', 2, 0, 0, 0, 3, 'it is down')",
    )
    shown = run("audit", "sinks")
    assert "it is down (3 times)" in shown.out
    assert "limen audit forget file:///old" in shown.err
    assert run("audit", "forget", "file:///nobody", "--yes").code == 1
    assert run("audit", "forget", "file:///old").code == 2
    assert run("audit", "forget", "file:///old", "--yes", "--json").json == {"sink": "file:///old"}
    told = run("audit", "list", "--event", "trail_sink_forgotten", "--json").json["items"]
    assert [record["data"] for record in told] == [{"place": 2, "sink": "file:///old"}]


def test_what_does_not_hold_is_not_removed(run: Run, sealed: Path) -> None:
    """Removing what is old refuses where what is to go was changed, with the exit code of a refusal."""
    by_hand(sealed, "UPDATE limen_trail_head SET base_number = 1, base_link = link")
    assert run("audit", "prune", "--older-than", "1", "--yes").code == 1
    assert run("audit", "verify").code == 1


def test_without_a_secret(run: Run, sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a data secret there is nothing to verify by: a fault of the configuration, and no verdict."""
    settings = sealed / ".env"
    kept = [line for line in settings.read_text().splitlines() if not line.startswith("LIMEN_DATA_SECRETS")]
    settings.write_text("\n".join([*kept, "LIMEN_SIGNING_ALG=HS256", ""]))
    done = run("audit", "verify", "--json")
    assert (done.code, done.out) == (3, "")
    assert "LIMEN_DATA_SECRETS" in done.err


def test_a_bar_on_a_terminal(sealed: Path) -> None:
    """Where somebody looks there is a bar; the verdict is on standard output as ever."""
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "limen.cli", "audit", "verify"]
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=sealed, env=variables, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    told = read_all(mine)
    os.close(mine)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.decode().endswith("is whole.\n")
    assert "verifying" in told
