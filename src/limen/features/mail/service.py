"""Sends what waits in the outbox: at least once, under a Message-ID that stays, and not for ever."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Final

from limen.authz.authority import Authority
from limen.core import metrics
from limen.core.clock import Clock
from limen.core.events import NOWHERE, Event, EventName, Origin, Outcome
from limen.core.ids import uuid7
from limen.core.mails import ClaimedMail, MailFailed, MailTransport, NewMail
from limen.core.notices import Notice
from limen.features.mail.store import MailStore
from limen.features.mail.texts import Templates

_log = logging.getLogger(__name__)

LEASE_MS: Final = 120_000
MOST_SECONDS: Final = 60.0
"""Seconds that handing over one mail may take; its lease is longer, so that two never send it at the same time."""
MOST_ATTEMPTS: Final = 20
FIRST_PAUSE: Final = 5
LONGEST_PAUSE: Final = 3600
"""Seconds between two attempts: each time twice as many, at most these. Twenty attempts take about ten hours."""

_BROWSERS: Final = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
"""What stands in a User-Agent, and whose it is; the first that is there, since each names those that follow."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a mail is to say.

    Attributes:
        kind: the name of its template.
        values: for the template.
    """

    kind: str
    values: Mapping[str, object] = field(repr=False)


Filler = Callable[[ClaimedMail], Awaitable[Content | None]]
"""Says what a mail is to say when it is sent; None where it is for nobody."""


class MailService:
    """The worker, and what it takes to write a notice.

    Args:
        store: the outbox.
        transport: hands mails over.
        templates: their words.
        sender: who they are from: ``name@host`` or ``Name <name@host>``.
        service: by what name mails speak of this installation: its public host.
        clock: the time in seconds since 1970 UTC.
    """

    def __init__(
        self,
        store: MailStore,
        transport: MailTransport,
        templates: Templates,
        *,
        sender: str,
        service: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._transport = transport
        self._templates = templates
        name, address = parseaddr(sender)
        self._sender = Address(display_name=name, addr_spec=address)
        self._service = service
        self._clock = clock
        self._fillers: dict[str, Filler] = {}

    @property
    def transport(self) -> MailTransport:
        """What hands mails over."""
        return self._transport

    def through(self, transport: MailTransport) -> None:
        """Hand mails over by another one from now on."""
        self._transport = transport

    def fill(self, kind: str, filler: Filler) -> None:
        """Let mails of a kind be filled when they are sent."""
        self._fillers[kind] = filler

    async def queue(self, mail: NewMail, event: Event, *, authority: Authority | None = None) -> bool:
        """Write a mail to be sent, and the event of the act, in one transaction; False where its account has moved."""
        return await self._store.queue(mail, event, authority=authority)

    def notice(self, kind: str, origin: Origin = NOWHERE) -> Notice:
        """Return a notice about what is done to an account now; `limen.core.mails.Notices`."""
        told = {"time": shown_time(self._clock()), "address": origin.address, "user_agent": _browser(origin.user_agent)}
        return Notice(uuid7(), kind, told)

    async def work(self) -> int:
        """Send what waits, one mail after the other; return how many were taken up."""
        taken = 0
        while (claimed := await self._store.claim(lease_ms=LEASE_MS)) is not None:
            taken += 1
            if not await self._attempt(claimed):
                break
        return taken

    async def _attempt(self, claimed: ClaimedMail) -> bool:
        """Try one mail; False where there is no use in trying others now."""
        if claimed.is_expired or claimed.attempts > MOST_ATTEMPTS:
            await self._give_up(claimed, "expired" if claimed.is_expired else "too_many_attempts")
            return True
        try:
            content = await self._content(claimed)
            if content is None:
                await self._store.drop(claimed)
                return True
            message = self._written(claimed, content)
            async with asyncio.timeout(MOST_SECONDS):
                await self._transport.send(message)
        except MailFailed as error:
            failed = error
        except TimeoutError:
            failed = MailFailed("timeout", is_unreachable=True)
        except Exception as error:
            # Its words may hold the address, or the link.
            failed = MailFailed(type(error).__name__)
        else:
            await self._store.finish(claimed)
            metrics.MAILS.add("sent")
            return True
        await self._failed(claimed, failed)
        return not failed.is_unreachable

    async def _content(self, claimed: ClaimedMail) -> Content | None:
        filler = self._fillers.get(claimed.kind)
        return Content(claimed.kind, claimed.data) if filler is None else await filler(claimed)

    def _written(self, claimed: ClaimedMail, content: Content) -> EmailMessage:
        try:
            return self.message(claimed, content)
        except (ValueError, IndexError, MessageError) as error:
            # No header can be made of it, and none will be at the next attempt.
            raise MailFailed(type(error).__name__, is_final=True) from None

    def message(self, claimed: ClaimedMail, content: Content) -> EmailMessage:
        """Return the mail as it goes out.

        A header is one line: what breaks out of it raises ValueError in the standard library's policy, so no value can
        add a header or a recipient (CWE-93).
        """
        texts = self._templates.render(content.kind, {**content.values, "service": self._service})
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = Address(addr_spec=claimed.recipient)
        message["Subject"] = texts.subject
        message["Date"] = format_datetime(datetime.fromtimestamp(claimed.created_at // 1000, UTC))
        message["Message-ID"] = f"<{claimed.id}@{self._sender.domain}>"
        # So that nobody's absence notice answers it (RFC 3834, section 5).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(texts.text)
        message.add_alternative(texts.html, subtype="html")
        return message

    async def _failed(self, claimed: ClaimedMail, failed: MailFailed) -> None:
        if failed.is_final or claimed.attempts >= MOST_ATTEMPTS:
            await self._give_up(claimed, failed.code)
            return
        again = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (claimed.attempts - 1))
        _log.warning("mail_put_off", extra={**_told(claimed, failed.code), "again": again})
        metrics.MAILS.add("put_off")
        await self._store.put_off(claimed, failure=failed.code, again_ms=again * 1000)

    async def _give_up(self, claimed: ClaimedMail, failure: str) -> None:
        told = _told(claimed, failure)
        event = Event(EventName.MAIL_GIVEN_UP, Outcome.FAILURE, "system", claimed.account_id or "", data=told)
        if await self._store.give_up(claimed, event, failure=failure):
            metrics.MAILS.add("given_up")
            _log.error("mail_given_up", extra=told)


def _browser(user_agent: str) -> str:
    """Return the name of a known browser, or nothing: whoever acts writes the header, and the owner reads the mail."""
    return next((name for mark, name in _BROWSERS.items() if mark in user_agent), "")


def shown_time(seconds: float) -> str:
    """Return a time as mails show it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _told(claimed: ClaimedMail, failure: str) -> dict[str, object]:
    return {"mail": claimed.id, "kind": claimed.kind, "attempt": claimed.attempts, "failure": failure}
