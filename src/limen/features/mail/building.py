"""Mail put together."""

from pathlib import Path
from urllib.parse import urlsplit

from limen.core.clock import Clock
from limen.core.errors import ConfigurationError
from limen.core.mails import MailTransport
from limen.features.mail.service import MailService
from limen.features.mail.store import MailStore


def build_mail(
    store: MailStore,
    *,
    transport: MailTransport | None,
    smtp_url: str | None,
    sender: str | None,
    templates: Path | None,
    public_url: str | None,
    clock: Clock,
) -> MailService | None:
    """Put it together; None where there is nobody to hand a mail to.

    Raises:
        ConfigurationError: a mail could not say who it is from, or where its links lead; or a template cannot be used.
    """
    if transport is None and smtp_url is None:
        return None
    if sender is None or public_url is None:
        raise ConfigurationError("Mail needs LIMEN_MAIL_FROM, and LIMEN_PUBLIC_URL, where its links lead.")
    # Loaded by those who send mail.
    from limen.features.mail.texts import Templates

    if transport is None:
        from limen.features.mail.smtp import SmtpServer, SmtpTransport

        transport = SmtpTransport(SmtpServer.of(smtp_url or ""))
    service = urlsplit(public_url).hostname or public_url
    return MailService(store, transport, Templates(templates), sender=sender, service=service, clock=clock)
