"""The two settings of Valkey: what is taken, and what is refused in words that hold nothing of the value."""

from pathlib import Path

import pytest

from limen.core.errors import ConfigurationError
from tests.support.gates import settings_for


@pytest.mark.parametrize(
    "url",
    [
        "valkey://127.0.0.1",
        "valkey://127.0.0.1:6379/0",
        "redis://name:p%40ss@valkey.internal:6379/15",
        "redis://:canary@[::1]:6379",
        "valkeys://name:canary@valkey.example:6380/0?ssl_ca_certs=/etc/ca.pem",
        "rediss://valkey.example/?ssl_certfile=/a.pem&ssl_keyfile=/b.pem",
    ],
)
def test_addresses_that_are_taken(tmp_path: Path, url: str) -> None:
    """With and without TLS, name, port and number; the address is in no representation and in no log."""
    settings = settings_for(tmp_path, session_store="valkey", valkey_url=url)
    assert settings.valkey_url == url
    assert url not in repr(settings)
    assert settings.describe()["session_store"] == "valkey"
    assert not [value for value in settings.describe().values() if "//" in str(value) and "valkey" in str(value)]


@pytest.mark.parametrize(
    "url",
    [
        "canary://127.0.0.1",
        "http://canary.example:6379",
        "127.0.0.1:6379/canary",
        "valkey://",
        "valkey:///0?canary",
        "valkey://canary:port",
        "valkey://canary:0",
        "valkey://canary:70000",
        "valkey://canary/zero",
        "valkey://canary/0#1",
        "valkey://canary/0/1",
        "valkey://canary host",
        "valkey://canary/0?ssl_ca_certs=/etc/ca.pem",
        "valkeys://canary/0?ssl_cert_reqs=none",
        "valkeys://canary/0?ssl_check_hostname=false",
        "valkeys://canary/0?ssl_ca_certs=/etc/ca.pem&db=3",
        "valkeys://canary/0?nonsense",
        "unix:///run/canary.sock",
    ],
)
def test_addresses_that_are_refused(tmp_path: Path, url: str) -> None:
    """Another scheme, no host, a port that is none, options that could switch something off; none is repeated."""
    with pytest.raises(ConfigurationError) as refused:
        settings_for(tmp_path, session_store="valkey", valkey_url=url)
    assert str(refused.value).startswith("LIMEN_VALKEY_URL ")
    assert "canary" not in str(refused.value)


def test_the_two_go_together(tmp_path: Path) -> None:
    """A store without its address, an address that nothing would use, and a store that is none are refused."""
    for given, word in (
        ({"session_store": "valkey"}, "LIMEN_VALKEY_URL"),
        ({"valkey_url": "valkey://127.0.0.1"}, "nothing would use"),
        ({"session_store": "memory"}, "must be"),
    ):
        with pytest.raises(ConfigurationError, match=r"^LIMEN_SESSION_STORE ") as refused:
            settings_for(tmp_path, **given)
        assert word in str(refused.value)
    assert settings_for(tmp_path, session_store="Database").session_store == "database"
