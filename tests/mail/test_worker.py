"""The worker: again later, under the same id, not for ever; and templates of the application's own."""

import asyncio
import logging
from email.message import EmailMessage
from pathlib import Path

import pytest

from limen.core.errors import ConfigurationError
from limen.core.events import EventName
from limen.core.mails import ClaimedMail, MailFailed, MailKind
from limen.features.mail.service import LEASE_MS, MOST_ATTEMPTS, Content
from limen.features.mail.smtp import SmtpServer, SmtpTransport
from limen.features.mail.texts import Templates
from limen.storage import SQLiteStorage
from tests.mail.conftest import RECIPIENT, Clock, Making, Sink, queued, serving


class Box:
    """A transport that keeps what it is given; ``failing`` is raised first, after it was kept where ``after``."""

    def __init__(self, *failing: BaseException, after: bool = False) -> None:
        self.mails: list[EmailMessage] = []
        self.failing = list(failing)
        self.after = after

    async def send(self, message: EmailMessage) -> None:
        if not self.failing or self.after:
            self.mails.append(message)
        if self.failing:
            raise self.failing.pop(0)


async def test_a_server_that_is_down_gets_the_mail_later(making: Making, clock: Clock) -> None:
    """Nothing is lost while it is away, and what comes then has the id that it had."""
    gone = Sink()
    async with serving(gone):
        pass
    mail = making(SmtpTransport(SmtpServer.of(f"smtp://127.0.0.1:{gone.port}"), timeout=60))
    new = await queued(mail)
    await queued(mail)
    assert await mail.work() == 1  # the other one is not even tried
    async with serving(Sink()) as sink:
        back = making(SmtpTransport(SmtpServer.of(f"smtp://127.0.0.1:{sink.port}"), timeout=60))
        clock.now += 6
        assert await back.work() == 2
        assert f"<{new.id}@app.example>" in [got["Message-ID"] for got in sink.mails]


async def test_a_process_that_dies_after_sending_sends_twice_under_one_id(making: Making, clock: Clock) -> None:
    """At least once: whoever keeps mails by their Message-ID keeps one."""
    box = Box(asyncio.CancelledError(), after=True)
    mail = making(box)
    new = await queued(mail)
    with pytest.raises(asyncio.CancelledError):
        await mail.work()
    assert await mail.work() == 0  # the lease still holds
    clock.now += LEASE_MS / 1000 + 1
    assert await mail.work() == 1
    assert [got["Message-ID"] for got in box.mails] == [f"<{new.id}@app.example>"] * 2
    assert box.mails[0].as_bytes().partition(b"boundary")[0] == box.mails[1].as_bytes().partition(b"boundary")[0]


async def test_pauses_grow_and_end(making: Making, storage: SQLiteStorage, clock: Clock) -> None:
    """Twice as long each time, up to an hour; after twenty attempts it is given up, and the trail says so."""
    mail = making(Box(*[MailFailed("answer_451")] * 30))
    new = await queued(mail)
    attempts = 0
    for seconds in range(1, 40_000, 1):
        if seconds not in _DUE:
            continue
        clock.now = 1_800_000_000 + seconds
        attempts += await mail.work()
    assert attempts == MOST_ATTEMPTS
    [given_up] = [each for each in await storage.events() if each.event == EventName.MAIL_GIVEN_UP]
    assert given_up.data == {
        "attempt": MOST_ATTEMPTS,
        "failure": "answer_451",
        "kind": "password_changed",
        "mail": new.id,
    }


def _due() -> set[int]:
    """When each attempt is due, in whole seconds, and a second before each, when it is not."""
    due, at = {1}, 1
    for attempt in range(25):
        at += min(3600, 5 * 2**attempt)
        due |= {at, at - 1}
    return due


_DUE = _due()


async def test_what_is_refused_for_good_is_given_up_at_once(making: Making, storage: SQLiteStorage) -> None:
    """A mailbox that is not there is not asked twenty times."""
    mail = making(Box(MailFailed("recipient_550", is_final=True)))
    await queued(mail)
    assert await mail.work() == 1
    assert [each.event for each in await storage.events()].count(EventName.MAIL_GIVEN_UP) == 1


async def test_what_is_too_old_is_given_up(making: Making, storage: SQLiteStorage, clock: Clock) -> None:
    """A link that would not work any more is not sent."""
    box = Box()
    mail = making(box)
    await queued(mail, lifetime_ms=1000)
    clock.now += 2
    assert await mail.work() == 1
    assert box.mails == []
    assert [each.event for each in await storage.events()].count(EventName.MAIL_GIVEN_UP) == 1


@pytest.mark.parametrize(
    "failing",
    [
        MailFailed("recipient_550", is_final=True),
        MailFailed("answer_451"),
        ValueError(f"{RECIPIENT} canary-link"),
        TimeoutError(),
    ],
    ids=["final", "later", "unexpected", "slow"],
)
async def test_addresses_are_never_logged(
    making: Making, storage: SQLiteStorage, caplog: pytest.LogCaptureFixture, failing: Exception
) -> None:
    """Neither they, nor what a mail says, nor the words of an error, in the log or in the trail."""
    with caplog.at_level(logging.DEBUG, logger="limen"):
        mail = making(Box(failing))
        await queued(mail, data={"time": "canary-link"})
        await mail.work()
    logged = "".join(str(record.__dict__) for record in caplog.records if record.name.startswith("limen"))
    trail = "".join(str(each) for each in await storage.events())
    assert "mail_" in logged
    for secret in (RECIPIENT, "canary-link"):
        assert secret not in logged + trail


@pytest.mark.parametrize(
    "recipient",
    ["ada@example.org\r\nBcc: eve@example.org", "ada@example.org, eve@example.org", "ada@example.org\n", "<ada@x.org>"],
)
async def test_no_value_adds_a_recipient(making: Making, storage: SQLiteStorage, recipient: str) -> None:
    """What is not one plain address, however it came into the database, is sent to nobody, and given up (CWE-93)."""
    box = Box()
    mail = making(box)
    await queued(mail, recipient=recipient)
    assert await mail.work() == 1
    assert box.mails == []
    assert [each.event for each in await storage.events()].count(EventName.MAIL_GIVEN_UP) == 1


async def test_no_value_adds_a_header(making: Making, tmp_path: Path) -> None:
    """A subject ends with its line, whatever a template puts there; the rest is text."""
    (tmp_path / "password_changed.txt").write_text("Subject: For {{ user_agent }}\n\nText.\n", encoding="utf-8")
    box = Box()
    mail = making(box, Templates(tmp_path))
    await queued(mail, data={"user_agent": "x\nBcc: eve@example.org\n\nhello"})
    await queued(mail, data={"user_agent": "x\rBcc: eve@example.org"})
    assert await mail.work() == 2
    for got in box.mails:
        assert got["Bcc"] is None
        assert "\n" not in got["Subject"]
    assert len(box.mails) == 1


async def test_an_application_replaces_a_template(making: Making, tmp_path: Path) -> None:
    """Its own words where it has some, limen's for all else; HTML is escaped there too."""
    (tmp_path / "password_changed.txt").write_text("Subject: Neues Passwort ✓\n\nGrüße", encoding="utf-8")
    (tmp_path / "password_changed.html").write_text("<h1>{{ user_agent }}</h1>", encoding="utf-8")
    box = Box()
    mail = making(box, Templates(tmp_path))
    await queued(mail)
    await queued(mail, kind=MailKind.ADDRESS_TAKEN.value)
    await mail.work()
    own, other = sorted(box.mails, key=lambda got: got["Subject"])
    assert own["Subject"] == "Neues Passwort ✓"
    html = own.get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == "<h1>&lt;b&gt;browser&lt;/b&gt;</h1>"
    assert other["Subject"] == "You have an account at app.example already"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reset.txt", "Subject: x\n\n{{ lnik }}"),
        ("reset.txt", "no subject"),
        ("reset.html", "{% if %}"),
        ("verify.txt", "Subject:\n\nx"),
    ],
)
def test_a_template_that_cannot_be_used_does_not_start(tmp_path: Path, name: str, content: str) -> None:
    """It is found at the start, not when somebody has forgotten their password."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=name.partition(".")[0]):
        Templates(tmp_path)


def test_a_folder_that_is_not_there_does_not_start(tmp_path: Path) -> None:
    """A name that was misspelt would otherwise be limen's own words for ever."""
    with pytest.raises(ConfigurationError, match="LIMEN_MAIL_TEMPLATES"):
        Templates(tmp_path / "nowhere")


async def test_what_is_for_nobody_is_dropped(making: Making, storage: SQLiteStorage, clock: Clock) -> None:
    """It leaves no row, and no record."""

    async def nobody(_claimed: ClaimedMail) -> Content | None:
        return None

    box = Box()
    mail = making(box)
    mail.fill(MailKind.PASSWORD_CHANGED, nobody)
    await queued(mail)
    assert await mail.work() == 1
    clock.now += 10 * 86_400
    assert (box.mails, await storage.sweep()) == ([], 0)
    assert EventName.MAIL_GIVEN_UP not in [each.event for each in await storage.events()]
