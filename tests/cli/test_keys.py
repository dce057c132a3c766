"""``limen keys``: listed, made, rotated and retired, for people and as JSON."""

import asyncio
import re
from pathlib import Path

import pytest

from limen.crypto.keys import SigningKey
from limen.settings import ServerSettings
from limen.wiring import Limen
from tests.cli.conftest import Run


@pytest.fixture
def served(installation: Path) -> str:
    """An installation on which a server has been started once; the id of its key."""

    async def start() -> str:
        async with Limen(ServerSettings.load()).running() as gate:
            (key,) = gate.bearer.keys
            return key.kid

    return asyncio.run(start())


def test_before_the_first_start_there_is_none(run: Run, installation: Path) -> None:
    """Looking makes no key: it is the server that does, and this says so."""
    done = run("keys", "list")
    assert (done.code, done.out) == (0, "")
    assert "limen serve makes one" in done.err
    assert run("keys", "list", "--json").json == {"items": []}


def test_list_tells_what_each_key_is_for(run: Run, served: str) -> None:
    """One line a key with its times, and nothing of its private half; the same in JSON."""
    done = run("keys", "list")
    assert done.code == 0
    header, line = done.out.splitlines()
    assert header.split() == ["kid", "alg", "state", "signs", "from", "until", "accepted", "until"]
    assert line.split()[:3] == [served, "ES256", "signing"]
    (item,) = run("keys", "list", "--json").json["items"]
    assert item.keys() == {"kid", "alg", "state", "published_at", "signs_at", "stopped_at", "keep_until"}
    assert (item["kid"], item["state"], item["keep_until"]) == (served, "signing", None)


def test_list_shows_keys_in_files(
    run: Run, installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of the database, with their times; the other commands say that whoever brings the files does it."""
    key = SigningKey.generate("ES256")
    path = tmp_path / "signing.pem"
    path.write_bytes(key.private_pem_in_the_clear())
    path.chmod(0o600)
    monkeypatch.setenv("LIMEN_SIGNING_KEY_FILES", str(path))
    (item,) = run("keys", "list", "--json").json["items"]
    assert (item["kid"], item["alg"], item["state"], item["keep_until"]) == (key.kid, "ES256", "signing", None)
    for command in (["generate"], ["rotate"], ["retire", key.kid]):
        refused = run("keys", *command)
        assert (refused.code, refused.out) == (1, "")
        assert "The keys are in files" in refused.err


def test_rotate_makes_the_next_key_and_says_when_it_signs(run: Run, served: str) -> None:
    """It is published at once, and twice is once."""
    done = run("keys", "rotate")
    assert done.code == 0
    assert re.fullmatch(r"[\w-]{43} signs from \S+Z on\. Nothing else is to be done\.\n", done.out)
    again = run("keys", "rotate", "--json").json
    assert (again["kid"], again["state"]) == (done.out.split()[0], "published")
    assert [item["state"] for item in run("keys", "list", "--json").json["items"]] == ["signing", "published"]


def test_generate_makes_one_at_most(run: Run, served: str) -> None:
    """A second one is refused with 1 and a sentence, until the first one signs."""
    made = run("keys", "generate", "--json")
    assert (made.code, made.json["state"], made.json["signs_at"]) == (0, "published", None)
    refused = run("keys", "generate", "--json")
    assert (refused.code, refused.problem["code"]) == (1, "conflict")
    assert run("keys", "rotate", "--json").json["kid"] == made.json["kid"]


def test_retire_says_what_signs_instead(run: Run, served: str) -> None:
    """The key that signed has a successor at once; a key that is not there ends with 1."""
    done = run("keys", "retire", served, "--json")
    assert done.code == 0
    assert (done.json["kid"], done.json["was"]) == (served, "signing")
    states = {item["kid"]: item["state"] for item in run("keys", "list", "--json").json["items"]}
    assert states == {served: "retired", done.json["successor"]: "signing"}
    told = run("keys", "retire", done.json["successor"])
    assert told.out.splitlines()[0].endswith("refused within two seconds, and clients refresh.")
    assert told.out.splitlines()[1].endswith("signs from now on.")
    for kid in (served, "nothing"):
        refused = run("keys", "retire", kid, "--json")
        assert (refused.code, refused.problem["code"]) == (1, "not_found")


def test_with_a_secret_there_are_no_keys(run: Run, installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HS256 each ends with 1 and says what replaces a secret."""
    monkeypatch.setenv("LIMEN_SIGNING_ALG", "HS256")
    for command in (["list"], ["generate"], ["rotate"], ["retire", "x"]):
        done = run("keys", *command)
        assert done.code == 1
        assert "HS256" in done.err
        assert "limen secrets" in done.err


def test_without_a_data_secret_it_says_what_to_add(run: Run, installation: Path) -> None:
    """A settings file of before: serve and keys end with 3 and name the line, and the doctor warns."""
    file = installation / ".env"
    lines = [line for line in file.read_text().splitlines() if "DATA_SECRETS" not in line]
    file.write_text("\n".join(lines) + "\n")
    for command in (["serve", "--port", "0"], ["keys", "list"]):
        done = run(*command)
        assert done.code == 3
        assert "add a line LIMEN_DATA_SECRETS=" in done.err
        assert "LIMEN_SIGNING_ALG=HS256" in done.err
    findings = run("doctor", "--json").json["findings"]
    assert [each["found"] for each in findings if each["check"] == "signing keys"] == ["LIMEN_DATA_SECRETS is not set"]
