"""``/auth/sso/…``: logging in by a provider of single sign-on, and linking one's own account to it."""

from functools import partial
from urllib.parse import urlencode, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authn.cookie import LOOPBACK_NAME, PresentedCookie, cookie_name, is_loopback, read_cookie
from limen.core.errors import InvalidInput, Unavailable
from limen.features.sso import proofs
from limen.features.sso.building import Sso
from limen.features.sso.flows import FLOW_SECONDS, Answer, Begun
from limen.features.sso.redirects import is_own_path, next_of
from limen.features.throttling.building import Throttling
from limen.features.throttling.requests import Purpose
from limen.web.body import read_json
from limen.web.cookies import set_cookie
from limen.web.disconnect import while_connected
from limen.web.fields import values_of
from limen.web.routes.endpoint import Routes, endpoint, json_answer, no_content, origin_of, principal_of
from limen.web.routes.lists import rfc3339
from limen.web.routes.refresh_cookie import tokens_answer
from limen.web.routes.session_cookie import Cookies
from limen.web.routes.sso_logout import sso_logout_routes
from limen.web.routes.sso_pages import for_browsers
from limen.web.routes.sso_requests import Location, once, provider_name, refuse_head
from limen.web.starlette import interactive, live, public


class Exchange(msgspec.Struct, forbid_unknown_fields=True):
    """A one-time code, and the verifier of the challenge that the login was begun with (RFC 7636, section 4.5)."""

    code: str
    code_verifier: str


class Linking(msgspec.Struct, forbid_unknown_fields=True):
    """Where the browser is to go in the end, and the account's password, where it has one."""

    next: str | None = None
    current_password: str | None = None


class IdentityItem(msgspec.Struct):
    """An identity of one's own account."""

    id: str
    provider: str
    issuer: str
    created_at: str


class Identities(msgspec.Struct):
    """All of them."""

    items: list[IdentityItem]
    next: str | None = None


class SsoRoutes:
    """The endpoints, and what they share.

    Args:
        sso: the use cases.
        cookies: sessions by cookie.
        throttling: counts what is begun, what comes back, and guesses at a password.
        prefix: what the paths begin with.
    """

    def __init__(self, sso: Sso, cookies: Cookies, throttling: Throttling, *, prefix: str) -> None:
        self._throttling = throttling
        self._sso = sso
        self._cookies = cookies
        self._prefix = prefix
        self._allowed_pages = frozenset(each for each in sso.redirects if each.startswith(("https://", "http://")))

    # --- logging in

    async def login(self, request: Request) -> Response:
        """Send the browser to the provider."""
        refuse_head(request)
        name = provider_name(request)
        given, challenge = once(request, "next"), once(request, "code_challenge")
        if challenge is None:
            following = next_of(given, self._allowed_pages)
        else:
            self._require_client(request, given, challenge)
            following = given or ""
        await self._throttling.requests.count(Purpose.SSO, address=origin_of(request).address)
        begun = await self._sso.service.begin(
            name,
            following=following,
            redirect_uri=self._redirect_uri(request, name),
            browser=self._browser(request),
            challenge=challenge,
        )
        return self._begun(request, begun, _redirect(begun.location))

    def _require_client(self, request: Request, given: str | None, challenge: str) -> None:
        """Refuse a client whose one-time code would go astray, or could be used by who intercepts it."""
        if once(request, "code_challenge_method") != "S256" or not proofs.is_challenge(challenge):
            raise InvalidInput("A code_challenge is 43 characters, of the code_challenge_method S256.")
        if not given or not (is_own_path(given) or given in self._sso.redirects):
            raise InvalidInput("With a code_challenge, next is a path of this origin or one of LIMEN_SSO_REDIRECTS.")

    async def callback(self, request: Request) -> Response:
        """End the login by what the provider says."""
        refuse_head(request)
        name = provider_name(request)
        before = read_cookie(request.scope, https_only=self._cookies.https_only)
        await self._throttling.requests.count(Purpose.SSO, address=origin_of(request).address)
        done = await self._sso.service.complete(
            name,
            Answer(once(request, "state"), once(request, "code"), once(request, "iss"), once(request, "error")),
            browser=self._browser(request),
            redirect_uri=self._redirect_uri(request, name),
            presented=before if isinstance(before, PresentedCookie) else None,
            origin=origin_of(request),
        )
        if done.code is not None:
            return _redirect(_with_code(done.next, done.code))
        response = _redirect(done.next)
        if done.cookie is not None:
            set_cookie(response, request.scope, done.cookie, https_only=self._cookies.https_only)
        return response

    async def exchange(self, request: Request) -> Response:
        """Exchange a one-time code for tokens."""
        body = await read_json(request.scope, request.receive, Exchange)
        origin = origin_of(request)
        counted = await self._throttling.requests.admit(Purpose.EXCHANGE, origin.address)
        issued = await self._sso.service.exchange(body.code, body.code_verifier, origin=origin)
        await self._throttling.requests.granted(counted)
        return tokens_answer(issued)

    # --- linking

    async def link(self, request: Request) -> Response:
        """Begin to link an identity to one's own account."""
        name = provider_name(request)
        body = await read_json(request.scope, request.receive, Linking)
        principal, origin = principal_of(request), origin_of(request)
        await self._throttling.requests.count(Purpose.SSO, address=origin.address)
        prove = partial(self._sso.service.prove_again, principal, body.current_password, origin=origin)
        if body.current_password is None:
            epoch = await prove()
        else:
            async with self._throttling.logins.guess(principal.sub):
                epoch = await while_connected(request.receive, prove())
        begun = await self._sso.service.begin_link(
            principal,
            epoch,
            name,
            following=next_of(body.next, self._allowed_pages),
            redirect_uri=self._redirect_uri(request, name),
            browser=self._browser(request),
        )
        return self._begun(request, begun, json_answer(Location(begun.location)))

    async def identities(self, request: Request) -> Response:
        """List the identities of one's own account."""
        found = await self._sso.service.identities(principal_of(request))
        items = [IdentityItem(each.id, each.provider, each.issuer, rfc3339(each.created_at)) for each in found]
        return json_answer(Identities(items))

    async def unlink(self, request: Request) -> Response:
        """Unlink one of them."""
        principal = principal_of(request)
        await self._sso.service.unlink(principal, request.path_params["id"], origin=origin_of(request))
        return no_content()

    # --- shared

    def _redirect_uri(self, request: Request, name: str) -> str:
        """Return the address that the provider sends browsers back to: never one that a Host header makes up."""
        base = self._sso.public_url
        if not base:
            host = request.headers.get("host", "")
            if not is_loopback(host.encode("latin-1")):
                raise Unavailable("LIMEN_PUBLIC_URL is not set, so a provider cannot send anybody back.")
            base = f"{request.scope['scheme']}://{host}{request.scope.get('root_path', '')}"
        return f"{base}{self._prefix}/sso/{name}/callback"

    def _cookie_name(self, request: Request) -> bytes:
        return cookie_name(request.scope, https_only=self._cookies.https_only) + b"-sso"

    def _browser(self, request: Request) -> str | None:
        """Return what the browser's cookie of single sign-on holds; None where it has none, or several."""
        wanted = self._cookie_name(request) + b"="
        values = values_of(request.scope, b"cookie")
        pairs = [pair.strip(b" \t") for value in values for pair in value.split(b";")]
        found = [pair[len(wanted) :] for pair in pairs if pair.startswith(wanted)]
        text = found[0].decode("latin-1") if len(found) == 1 else ""
        return text if proofs.is_secret(text) else None

    def _begun(self, request: Request, begun: Begun, response: Response) -> Response:
        name = self._cookie_name(request)
        secure = "" if name.startswith(LOOPBACK_NAME) else "; Secure"
        # Lax: the provider's redirect is a navigation from elsewhere, and has to bring it along.
        response.headers.append(
            "Set-Cookie",
            f"{name.decode('ascii')}={begun.browser}; Max-Age={FLOW_SECONDS}; Path=/{secure}; HttpOnly; SameSite=Lax",
        )
        return response


def sso_routes(sso: Sso, cookies: Cookies, throttling: Throttling, *, prefix: str) -> Routes:
    """Make the endpoints under ``prefix``."""
    routes = SsoRoutes(sso, cookies, throttling, prefix=prefix)
    at = f"{prefix}/sso"
    # The first that matches is asked: a provider may have the name of a list.
    return {**_logins(routes, at), **sso_logout_routes(sso, cookies, throttling, at=at), **_identities(routes, at)}


def _logins(routes: SsoRoutes, at: str) -> Routes:
    @public
    @for_browsers
    @endpoint
    async def login(request: Request) -> Response:
        """Send the browser to a provider."""
        return await routes.login(request)

    @public
    @for_browsers
    @endpoint
    async def callback(request: Request) -> Response:
        """Take a browser back from a provider."""
        return await routes.callback(request)

    @public
    @endpoint
    async def exchange(request: Request) -> Response:
        """Exchange a one-time code for tokens."""
        return await routes.exchange(request)

    return {
        f"{at}/exchange": {"POST": exchange},
        f"{at}/{{provider}}/login": {"GET": login},
        f"{at}/{{provider}}/callback": {"GET": callback},
    }


def _identities(routes: SsoRoutes, at: str) -> Routes:
    @interactive
    @live
    @endpoint
    async def link(request: Request) -> Response:
        """Begin to link an identity to one's own account."""
        return await routes.link(request)

    @endpoint
    async def identities(request: Request) -> Response:
        """List the identities of one's own account."""
        return await routes.identities(request)

    @interactive
    @live
    @endpoint
    async def unlink(request: Request) -> Response:
        """Unlink an identity of one's own account."""
        return await routes.unlink(request)

    return {
        f"{at}/identities": {"GET": identities},
        f"{at}/{{provider}}/link": {"POST": link},
        f"{at}/identities/{{id}}": {"DELETE": unlink},
    }


def _redirect(location: str) -> Response:
    response = Response(status_code=302)
    response.headers["Location"] = location
    response.headers["Cache-Control"] = "no-store"
    # The address holds a code or a state: nobody who is linked to from the next page is told it.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _with_code(following: str, code: str) -> str:
    parts = urlsplit(following)
    question = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{question}{urlencode({'code': code})}").geturl()
