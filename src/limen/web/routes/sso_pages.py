"""Pages of single sign-on: for a person whose browser was sent here, and who has to be told what to do now."""

import base64
import functools
from hashlib import sha256
from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from limen.core import metrics
from limen.core.errors import LimenError
from limen.web.guard.state import state_of
from limen.web.headers import OWN_PAGE_HEADERS
from limen.web.problems import as_limen_error, challenge
from limen.web.routes.endpoint import Endpoint

_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;margin:12vh auto;max-width:34rem;padding:0 1rem;color:#1b1b1b;"
    "background:#fff}h1{font-size:1.4rem}h2{font-size:1.15rem}a{color:#0645ad}button{font:inherit;padding:.4rem 1rem}"
    "small{color:#555}main{overflow-wrap:anywhere}input{font:inherit;max-width:100%;box-sizing:border-box}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}a{color:#8ab4f8}small{color:#aaa}}"
)
_STYLE_HASH: Final = base64.b64encode(sha256(_STYLE.encode()).digest()).decode("ascii")
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_ADVICE: Final = {
    "sso_state_invalid": "Please begin again, in this browser. It has to accept cookies of this site.",
    "sso_failed": "Please begin again. If it happens each time, tell the operator of this site.",
    "sso_denied": "Please try again, or use another account there.",
    "sso_account_missing": "Please ask an administrator of this site for an account.",
    "sso_link_required": "Please log in to that account as you did before, and link this provider there.",
    "account_not_active": "Please ask an administrator of this site.",
    "conflict": "Please log in to the account that it is linked to.",
    "unavailable": "Please try again in a moment.",
    "busy": "Please try again in a moment.",
    "rate_limited": "Please try again in a quarter of an hour.",
}


def wants_page(request: Request) -> bool:
    """Tell whether a person is there to read it: a browser that goes to an address asks for HTML."""
    return "text/html" in request.headers.get("accept", "")


def page(title: str, content: str, *, status: int = 200, head: str = "") -> Response:
    """Return a whole page; ``content`` and ``head`` are HTML, in which everything foreign was escaped."""
    document = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f"<title>{escape(title)}</title>{head}<style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )
    response = Response(document, status, media_type="text/html")
    response.raw_headers += OWN_PAGE_HEADERS
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def error_page(error: LimenError, trace_id: str, again: str) -> Response:
    """Return what a person is told of a refusal: the code, what to do, and by what name the log has it."""
    advice = _ADVICE.get(error.code, "Please begin again.")
    detail = f"<p>{escape(error.detail)}</p>" if error.detail else ""
    response = page(
        error.title,
        f'{detail}<p>{escape(advice)}</p><p><a href="{escape(again)}">Begin again</a></p>'
        f"<p><small>{escape(error.code)} · {escape(trace_id)}</small></p>",
        status=error.status,
    )
    if error.retry_after is not None or error.status == 503:
        response.headers["Retry-After"] = str(max(1, error.retry_after or 1))
    return response


def for_browsers(handler: Endpoint) -> Endpoint:
    """Answer a refusal with a page where a browser has come by itself, with problem details where a program asks."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except LimenError as error:
            if not wants_page(request):
                raise
            trace_id = state_of(request.scope).request_id
            known = as_limen_error(error, trace_id)
            metrics.REFUSALS.add(known.code)
            again = request.url.path.rpartition("/")[0] + "/login"
            response = error_page(known, trace_id, again)
            if known.status == 401:  # which names the schemes there are, whoever reads it (RFC 9110, 15.5.2)
                for scheme in state_of(request.scope).gate.challenges:
                    response.headers.append("WWW-Authenticate", challenge(scheme, known, "limen").decode("ascii"))
            return response

    return answer


def confirm_page(title: str, token: str) -> Response:
    """Return the page that asks before somebody is logged out: a foreign page's image asks for nothing."""
    return page(
        "Log out?",
        f"<p>You will be logged out here and at {escape(title)}.</p>"
        f'<form method="post"><input type="hidden" name="csrf_token" value="{escape(token)}">'
        "<button>Log out</button></form>",
    )


def leaving_page(title: str, location: str) -> Response:
    """Return the page that goes on to the provider's logout; a redirect would be held up by the form's own policy."""
    target = escape(location)
    return page(
        "You are logged out here.",
        f'<p>Going on to {escape(title)}, to log out there too. <a href="{target}">Go on</a></p>',
        head=f'<meta http-equiv="refresh" content="0;url={target}">',
    )
