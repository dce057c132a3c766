import time

import pytest

from limen.features.sessions.devices import UNKNOWN, device_name, warm_up

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox on Windows"),
        (SAFARI, "Mobile Safari on iOS"),
        ("curl/8.5.0", "curl"),
        ("(X11; Linux x86_64)", "Linux"),
        ("", UNKNOWN),
        ("no such thing", UNKNOWN),
        ("\x00\x1b[31m\u202e" * 20, UNKNOWN),
    ],
)
def test_a_device_has_a_short_name(user_agent: str, name: str) -> None:
    """Browser and system where they are known, one of them otherwise, and never nothing."""
    assert device_name(user_agent) == name


def test_a_name_is_short_and_printable() -> None:
    """What a client makes up cannot fill the page or steer the terminal of whoever reads the list."""
    for text in ("Bot" * 80, "Mozilla/5.0 (compatible; \x1b[31mEvilBot" + "x" * 200 + "/1.0)", FIREFOX + "\x07" * 100):
        name = device_name(text[:256])
        assert name.isprintable()
        assert len(name) <= 110


def test_a_header_made_to_be_slow_is_not() -> None:
    """The worst of many made-up headers of full length takes milliseconds: the rules do not backtrack for ever."""
    warm_up()
    parts = ["0", "1.1", "A", "/", "_", "Version/", "bot", "; ", "(", "Mozilla/5.0 (Windows"]
    for first in parts:
        for second in parts:
            started = time.thread_time()
            device_name((first * 3 + second * 256)[:256])
            assert time.thread_time() - started < 0.2
