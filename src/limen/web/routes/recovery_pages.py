"""The pages that mailed links lead to. Opening one changes nothing: mail scanners and previews open links too.

The token stands behind the ``#`` of the link, which a browser keeps to itself. A script of one line, allowed by its
digest, moves it into the form; without scripts it can be pasted. Nothing is loaded from anywhere.
"""

import base64
from hashlib import sha256
from html import escape
from typing import Final

from starlette.responses import Response

from limen.core.errors import LimenError
from limen.web.routes.sso_pages import page

_SCRIPT: Final = (
    "var f=document.forms[0].elements.token;if(location.hash.length>1){f.value=location.hash.slice(1);"
    "f.parentNode.hidden=true;history.replaceState(null,'',location.pathname)}"
)
_SCRIPT_HASH: Final = base64.b64encode(sha256(_SCRIPT.encode()).digest()).decode("ascii")
_FIELD: Final = (
    '<p><label>Code from the mail, all that stands behind the #<br><input name="token" value="{token}" required'
    ' autocomplete="off" autocapitalize="none" spellcheck="false" size="44"></label></p>'
)
_PASSWORD: Final = (
    '<p><label>New password<br><input type="password" name="new_password" required autocomplete="new-password"'
    ' size="30"></label></p>'
)


def reset_page(error: LimenError | None = None, token: str = "") -> Response:
    """Return the page on which a new password is chosen; once more with what was wrong."""
    return _form("Choose a new password", _PASSWORD, "Set the password", error, token)


def verify_page(error: LimenError | None = None, token: str = "") -> Response:
    """Return the page on which an address is confirmed."""
    return _form("Confirm your address", "", "Confirm", error, token)


def done_page(title: str, sentence: str) -> Response:
    """Return what is said when it is done."""
    return page(title, f"<p>{escape(sentence)}</p>")


def _form(title: str, fields: str, button: str, error: LimenError | None, token: str) -> Response:
    told = ""
    if error is not None:
        sentences = [fault.message for fault in error.errors] or [error.detail or error.title]
        told = "".join(f'<p role="alert"><strong>{escape(sentence)}</strong></p>' for sentence in sentences)
    field = _FIELD.format(token=escape(token))
    form = f'<form method="post">{field}{fields}<button>{button}</button></form><script>{_SCRIPT}</script>'
    response = page(title, told + form, status=200 if error is None else error.status)
    policy = response.headers["Content-Security-Policy"]
    response.headers["Content-Security-Policy"] = f"{policy}; script-src 'sha256-{_SCRIPT_HASH}'"
    if error is not None and (error.retry_after is not None or error.status == 503):
        response.headers["Retry-After"] = str(max(1, error.retry_after or 1))
    return response
