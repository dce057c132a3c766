"""Who may read the demo's mails."""

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from limen.core.errors import NotFound
from limen.server.demo_mails import PATH, DemoMails, add_mails

HERE = "http://127.0.0.1:8000"


def _asked(headers: dict[str, str], peer: str = "127.0.0.1") -> bool:
    app = FastAPI(openapi_url=None)
    add_mails(app, DemoMails(), HERE)
    try:
        return TestClient(app, base_url=HERE, client=(peer, 5)).get(PATH, headers=headers).status_code == 200
    except NotFound:
        return False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=203.0.113.7"),
        ("X-Forwarded-Host", "demo.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "203.0.113.7"),
        ("Via", "1.1 proxy"),
    ],
)
def test_what_came_through_a_proxy_reads_no_mails(name: str, value: str) -> None:
    """A proxy or a tunnel on this machine asks from a loopback address and often names one; its client is elsewhere."""
    assert _asked({})
    assert not _asked({name: value})


def test_another_machine_reads_no_mails() -> None:
    """Whoever names this machine and comes from another one is told that there is no such page."""
    assert not _asked({}, peer="192.0.2.1")
