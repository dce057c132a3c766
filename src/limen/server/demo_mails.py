"""The mails of the demo: where no mail server is set, they are kept in the process and shown on a page.

Whoever can open the page can use every link on it, so it is there for this machine alone: the demo has to listen on a
loopback address, the request has to come from one, and to name one (a page elsewhere that has its own name lead here
would otherwise read it, which is DNS rebinding). A proxy on this machine may ask for somebody who is not on it, by an
address of this machine: what bears the mark of one is refused.
"""

import re
from collections import deque
from email.message import EmailMessage
from html import escape
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from limen.authn.cookie import is_loopback
from limen.core.errors import NotFound
from limen.settings import Settings
from limen.web.routes.sso_pages import page
from limen.web.starlette import public

PATH: Final = "/demo/mails"
MOST: Final = 50
"""Mails that are kept, the newest ones; links are over after half an hour, or a day."""
SENDER: Final = "limen demo <no-reply@demo.example>"

_RELOAD: Final = '<meta http-equiv="refresh" content="5">'
_HERE: Final = frozenset({"127.0.0.1", "::1"})
_OF_PROXIES: Final = frozenset(
    {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)


class DemoMails:
    """Takes mails in the place of a mail server; implements `limen.core.mails.MailTransport`."""

    def __init__(self) -> None:
        self._mails: deque[EmailMessage] = deque(maxlen=MOST)

    async def send(self, message: EmailMessage) -> None:
        """Keep a mail."""
        self._mails.append(message)

    def shown(self, public_url: str) -> str:
        """Return the mails as HTML, the newest first; what leads to the demo itself can be clicked."""
        if not self._mails:
            return "<p>There are none yet. Register with an e-mail address: POST /auth/register.</p>"
        return "".join(_shown(mail, public_url) for mail in reversed(self._mails))


def settings_with_mail(settings: Settings, address: str) -> Settings:
    """Return the demo's settings with what links in its mails begin with."""
    more = {"public_url": settings.public_url or address, "mail_from": settings.mail_from or SENDER}
    return settings.model_copy(update=more)


def add_mails(app: FastAPI, mails: DemoMails, public_url: str) -> None:
    """Serve the page."""

    @public
    async def show_mails(request: Request) -> Response:
        """Show the mails of the demo."""
        peer = "" if request.client is None else request.client.host
        host = request.headers.get("host", "").encode("latin-1")
        if peer not in _HERE or not is_loopback(host) or not _OF_PROXIES.isdisjoint(request.headers.keys()):
            raise NotFound("There is no such page.")
        return page("Mails of the demo", mails.shown(public_url), head=_RELOAD)

    app.add_api_route(PATH, show_mails, include_in_schema=False)


def _shown(mail: EmailMessage, public_url: str) -> str:
    body = mail.get_body(("plain",))
    text = "" if body is None else str(body.get_content())
    link = re.compile(re.escape(public_url) + r"/[^\s<>\"']*")
    pieces, end = [], 0
    for found in link.finditer(text):
        target = escape(found.group())
        pieces += [escape(text[end : found.start()]), f'<a href="{target}">{target}</a>']
        end = found.end()
    told = "".join([*pieces, escape(text[end:])]).strip().replace("\n\n", "</p><p>").replace("\n", "<br>")
    subject, to, date = (escape(str(mail[name])) for name in ("Subject", "To", "Date"))
    return f"<article><h2>{subject}</h2><p><small>to {to}, {date}</small></p><p>{told}</p></article>"
