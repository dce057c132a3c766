"""What the guide tells an operator to write is what the tests have."""

import re
from pathlib import Path

from limen.settings import Settings
from tests.cli.test_doctor_valkey import ALLOWED
from tests.docs.markdown import ROOT, blocks
from tests.support.gates import settings_for
from tests.support.valkey import serving

TEXTS = [block.text for block in blocks((ROOT / "docs" / "guides" / "valkey.md").read_text(encoding="utf-8"))]


def the(word: str) -> str:
    """The block with this word."""
    (found,) = [text for text in TEXTS if word in text]
    return found


def test_the_settings_are_taken(tmp_path: Path) -> None:
    """The two lines of the setup are settings that limen starts with."""
    given = dict(re.findall(r"^LIMEN_(\w+)=(.*)$", the("LIMEN_SESSION_STORE="), re.MULTILINE))
    settings = settings_for(tmp_path, **{name.lower(): value for name, value in given.items()})
    assert isinstance(settings, Settings)
    assert settings.session_store == "valkey"


def test_a_server_starts_with_what_it_should_have() -> None:
    """The server's settings are settings of a server, and the name gets the rights that the tests hold to be enough."""
    wanted = dict(line.split(" ", 1) for line in the("maxmemory-policy").splitlines())
    with serving(**{name.replace("-", "_"): value for name, value in wanted.items()}) as server, server.client as admin:
        for name, value in wanted.items():
            assert admin.config_get(name) == {name: value}
        line = the("ACL SETUSER").strip()
        assert set(ALLOWED) == {word for word in line.split() if word.startswith("+")}
        assert admin.execute_command(*line.split())
