"""Mails against a real SMTP server: what arrives, what is encrypted, and what a refusal means."""

import pytest
import trustme

from limen.core.mails import MailFailed, MailKind
from limen.features.mail.smtp import SmtpServer, SmtpTransport
from limen.storage import SQLiteStorage
from tests.mail.conftest import RECIPIENT, Making, Sink, context_of, queued, serving

NAME, SECRET = "limen", "the%20password%20of%20the%20mail%20server"


def transport(sink: Sink, scheme: str = "smtp", *, login: bool = False) -> SmtpTransport:
    """The transport that a setting describes."""
    who = f"{NAME}:{SECRET}@" if login else ""
    return SmtpTransport(SmtpServer.of(f"{scheme}://{who}127.0.0.1:{sink.port}"), timeout=60)


async def test_a_mail_arrives_in_text_and_html(sink: Sink, making: Making) -> None:
    """From whom, to whom, what about; one id; and nothing of the values is HTML."""
    mail = making(transport(sink))
    new = await queued(mail)
    assert await mail.work() == 1
    [got], [envelope] = sink.mails, sink.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@app.example", [RECIPIENT])
    assert (got["From"], got["To"]) == ("App <no-reply@app.example>", RECIPIENT)
    assert got["Subject"] == "Your password at app.example was changed"
    assert (got["Message-ID"], got["Auto-Submitted"]) == (f"<{new.id}@app.example>", "auto-generated")
    text, html = (got.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert "192.0.2.7, <b>browser</b>" in text.get_content()
    assert "192.0.2.7, &lt;b&gt;browser&lt;/b&gt;" in html.get_content()
    assert await mail.work() == 0


async def test_beyond_this_machine_nothing_goes_unencrypted(
    sink: Sink, making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that offers no STARTTLS, or somebody between who hides it, gets neither mail nor password."""
    monkeypatch.setattr(SmtpServer, "is_here", property(lambda _: False))
    mail = making(transport(sink))
    await queued(mail)
    await mail.work()
    assert (sink.mails, sink.envelopes) == ([], [])


async def test_starttls_with_a_verified_certificate(
    making: Making, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then who logs in is known, and the mail goes."""
    monkeypatch.setattr(SmtpServer, "is_here", property(lambda _: False))
    async with serving(Sink(), starttls=context_of(authority), login=True) as sink:
        mail = making(transport(sink, login=True))
        await queued(mail)
        await mail.work()
        assert len(sink.mails) == 1


async def test_tls_from_the_start(making: Making, authority: trustme.CA) -> None:
    """With ``smtps`` it is TLS before the first word, on this machine too."""
    async with serving(Sink(), tls=context_of(authority)) as sink:
        mail = making(transport(sink, "smtps"))
        await queued(mail)
        await mail.work()
        assert len(sink.mails) == 1


@pytest.mark.parametrize("how", ["another authority", "another name"])
async def test_a_strange_certificate_gets_no_mail(making: Making, authority: trustme.CA, how: str) -> None:
    """One that nobody vouches for, and one of another host."""
    context = context_of(trustme.CA()) if how == "another authority" else context_of(authority, "evil.example")
    async with serving(Sink(), tls=context) as sink:
        mail = making(transport(sink, "smtps"))
        await queued(mail)
        await mail.work()
        assert sink.mails == []


@pytest.mark.parametrize(
    ("command", "answer", "is_final", "is_unreachable"),
    [
        ("RCPT", "550 no such mailbox", True, False),
        ("RCPT", "451 greylisted", False, False),
        ("DATA", "554 looks like spam", True, False),
        ("DATA", "452 no room", False, False),
    ],
)
async def test_what_a_refusal_means(
    sink: Sink, making: Making, command: str, answer: str, is_final: bool, is_unreachable: bool
) -> None:
    """For good, or for now; and the words of the server, which quote the address, are not part of it."""
    sink.answers[command] = answer + f" for {RECIPIENT}"
    mail = making(transport(sink))
    await queued(mail)
    claimed = await mail._store.claim(lease_ms=60_000)
    assert claimed is not None
    content = await mail._content(claimed)
    assert content is not None
    with pytest.raises(MailFailed) as caught:
        await transport(sink).send(mail.message(claimed, content))
    assert (caught.value.is_final, caught.value.is_unreachable) == (is_final, is_unreachable)
    assert answer[:3] in caught.value.code
    assert RECIPIENT not in repr(caught.value) + str(caught.value.__context__) + str(caught.value.__cause__)


async def test_a_wrong_password_stops_the_round(
    making: Making, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No mail is lost by it: all of them wait."""
    monkeypatch.setattr(SmtpServer, "is_here", property(lambda _: False))
    async with serving(Sink(), starttls=context_of(authority), login=True) as sink:
        server = SmtpServer.of(f"smtp://limen:wrong@127.0.0.1:{sink.port}")
        mail = making(SmtpTransport(server, timeout=60))
        for _ in range(3):
            await queued(mail)
        assert await mail.work() == 1
        assert sink.mails == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_neither_name_nor_password_is_shown(scheme: str) -> None:
    """Whoever prints the server sees host and port."""
    server = SmtpServer.of(f"{scheme}://who:canary-password@mail.example")
    assert "canary" not in repr(server) + repr(SmtpTransport(server))
    assert "who" not in repr(server)
    assert (server.port, server.is_tls, server.is_here) == (
        (465, True, False) if scheme == "smtps" else (587, False, False)
    )


async def test_a_mail_of_an_unknown_kind_is_put_off(sink: Sink, making: Making, storage: SQLiteStorage) -> None:
    """A later version wrote it: one of that version may send it."""
    mail = making(transport(sink))
    await queued(mail, kind="of-a-later-version")
    await queued(mail, kind=MailKind.ADDRESS_TAKEN.value, data={})
    assert await mail.work() == 2
    assert [got["Subject"] for got in sink.mails] == ["You have an account at app.example already"]
