"""Hands mails to an SMTP server (RFC 5321), encrypted unless it is on this machine."""

import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from limen.core.mails import MailFailed

TIMEOUT: Final = 20.0
"""Seconds that one step of the conversation may take."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mails are handed over.

    Attributes:
        host: its name or address.
        port: 587 where nothing is said, 465 with ``smtps``.
        is_tls: the connection begins with TLS (RFC 8314, section 3.3).
        name: who logs in; None where nobody does.
        password: theirs.
    """

    host: str
    port: int
    is_tls: bool
    name: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> "SmtpServer":
        """Read what LIMEN_SMTP_URL says; the settings have held it against its form."""
        parts = urlsplit(url)
        is_tls = parts.scheme == "smtps"
        name = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.hostname or "", parts.port or (465 if is_tls else 587), is_tls, name, password)

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, where nobody reads along."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


class SmtpTransport:
    """Sends each mail over a connection of its own.

    Beyond this machine it is TLS from the start, or STARTTLS, without which nothing is sent: whoever reads along could
    use the links (RFC 8314, section 3). Certificates are verified.

    Args:
        server: where mails are handed over.
        timeout: seconds that one step may take.
    """

    def __init__(self, server: SmtpServer, *, timeout: float = TIMEOUT) -> None:
        self._server = server
        self._timeout = timeout

    async def send(self, message: EmailMessage) -> None:
        """Hand over one mail; see `limen.core.mails.MailTransport`."""
        server = self._server
        sender, recipient = (parseaddr(str(message[name]))[1] for name in ("From", "To"))
        plain = server.is_here and not server.is_tls
        try:
            await aiosmtplib.send(
                message,
                sender=sender,
                recipients=[recipient],
                hostname=server.host,
                port=server.port,
                username=server.name,
                password=server.password,
                use_tls=server.is_tls,
                start_tls=None if server.is_tls else not plain,
                tls_context=None if plain else ssl.create_default_context(),
                timeout=self._timeout,
                # Its default asks the resolver, in the event loop.
                local_hostname=sender.rpartition("@")[2],
            )
        except Exception as error:
            failed = failure_of(error)
        else:
            return
        # Outside the handler: an error of the library quotes the address and what the server said of it.
        raise failed


def failure_of(error: Exception) -> MailFailed:
    """Say what an error of the conversation means, without its words."""
    name = type(error).__name__
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [each.code for each in error.recipients]
        code = codes[0] if codes else 450
        return MailFailed(f"recipient_{code}", is_final=500 <= code < 600)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        # A password that is wrong now may be put right; until then no mail goes.
        return MailFailed("login_refused", is_unreachable=True)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        is_about_this_mail = isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPSenderRefused)
        is_final = is_about_this_mail and 500 <= error.code < 600
        return MailFailed(f"answer_{error.code}", is_final=is_final, is_unreachable=not is_about_this_mail)
    if isinstance(error, OSError | TimeoutError | aiosmtplib.SMTPException):
        return MailFailed(name, is_unreachable=True)
    return MailFailed(name)
