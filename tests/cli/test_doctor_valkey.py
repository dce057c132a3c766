"""``limen doctor`` where sessions are in Valkey: real servers, and what is made of what a server may be like."""

from dataclasses import replace
from pathlib import Path

import pytest

from limen.cli import checkup_valkey
from limen.cli.checkup_valkey import examine_valkey
from limen.cli.findings import Finding
from limen.storage.valkey.checkup import ValkeyFacts
from tests.cli.conftest import Run
from tests.support.valkey import Server, nobody_listens, serving

SOUND = ValkeyFacts(
    server="Valkey 9.1.2",
    major=7,
    primary=True,
    cluster=False,
    scripts=True,
    policy="noeviction",
    fsync="everysec",
    remote=True,
    encrypted=True,
)
ALLOWED = ["+get", "+set", "+mget", "+unlink", "+eval", "+evalsha", "+ping", "+client|setname", "+info"]


def standings(url: str) -> dict[str, str]:
    """How each check of a server stands."""
    return {each.what: each.standing for each in examine_valkey(url)}


def found(facts: ValkeyFacts) -> dict[str, Finding]:
    """What is made of a server, by what was looked at."""
    made = (
        checkup_valkey._server(facts),
        checkup_valkey._scripts(facts),
        checkup_valkey._memory(facts),
        checkup_valkey._durability(facts),
        checkup_valkey._transport(facts),
    )
    return {each.what: each for each in made}


def test_a_sound_server(own_valkey: Server) -> None:
    """One that writes a log and evicts nothing is all right."""
    assert set(standings(own_valkey.url).values()) == {"ok"}


def test_the_whole_command(run: Run, installation: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The findings are among those of the installation; a server without a log is warned about, and nothing fails."""
    monkeypatch.setenv("LIMEN_SESSION_STORE", "valkey")
    monkeypatch.setenv("LIMEN_VALKEY_URL", valkey.url)
    done = run("doctor", "--json")
    told = {each["check"]: each["standing"] for each in done.json["findings"]}
    assert (done.code, told["valkey"], told["valkey durability"]) == (0, "ok", "warn")
    assert str(valkey.port) not in done.out


def test_a_name_with_no_more_rights_than_it_needs(tmp_path: Path) -> None:
    """What the manual grants is enough for limen, and not enough for keys of others."""
    with serving() as server:
        with server.client as admin:
            admin.execute_command("ACL", "SETUSER", "limen", "on", ">canary", "~limen:session:*", "-@all", *ALLOWED)
            few = ("+ping", "+info", "+client|setname")
            admin.execute_command("ACL", "SETUSER", "weak", "on", ">canary", "~*", "-@all", *few)
        of_limen = server.url.replace("//", "//limen:canary@")
        assert standings(of_limen)["valkey rights"] == "ok"
        assert standings(server.url.replace("//", "//weak:canary@"))["valkey rights"] == "fail"
        (refused,) = examine_valkey(server.url.replace("//", "//limen:wrong-canary@"))
    assert refused.standing == "fail"
    assert "canary" not in f"{refused.found}{refused.advice}"


def test_nobody_there() -> None:
    """It is told that it does not answer."""
    assert standings(nobody_listens()) == {"valkey": "fail"}


@pytest.mark.parametrize(
    ("change", "what", "standing", "word"),
    [
        ({"cluster": True}, "valkey", "fail", "one primary"),
        ({"primary": False}, "valkey", "fail", "primary"),
        ({"major": 5}, "valkey", "fail", "newer"),
        ({"scripts": False}, "valkey rights", "fail", "+evalsha"),
        ({"policy": "allkeys-lru"}, "valkey memory", "warn", "noeviction"),
        ({"fsync": ""}, "valkey durability", "warn", "appendonly"),
        ({"fsync": "no"}, "valkey durability", "warn", "everysec"),
        ({"encrypted": False}, "valkey transport", "fail", "valkeys"),
        ({"encrypted": False, "remote": False}, "valkey transport", "ok", ""),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_is_made_of_a_server(change: dict[str, object], what: str, standing: str, word: str) -> None:
    """Each fault has its finding, with what to do; all else stays all right."""
    sound = found(SOUND)
    assert {each.standing for each in sound.values()} == {"ok"}
    made = found(replace(SOUND, **change))  # type: ignore[arg-type]
    assert made[what].standing == standing
    assert word in made[what].advice
    assert {name for name, each in made.items() if each != sound[name]} == {what}
