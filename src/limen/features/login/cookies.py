"""Sessions of browsers: begun by a password, renewed by one, and ended."""

from limen.authn.cookie import CookieSession, CookieStrategy, IssuedCookie, PresentedCookie
from limen.authn.issuing import Door
from limen.core.errors import SessionEnded
from limen.core.events import Origin
from limen.features.login.service import LoginService
from limen.features.sessions.service import SessionService


class CookieLogin:
    """The use cases of cookie sessions.

    Args:
        login: checks the passwords.
        door: the one that issues.
        sessions: ends what is over.
        strategy: finds the session of a cookie.
    """

    def __init__(self, login: LoginService, door: Door, sessions: SessionService, strategy: CookieStrategy) -> None:
        self._login = login
        self._door = door
        self._sessions = sessions
        self._strategy = strategy

    async def open(
        self,
        username: str,
        password: str,
        *,
        remembered: bool,
        new_password: str | None,
        replaced: PresentedCookie | None,
        origin: Origin,
        device: str = "",
    ) -> IssuedCookie:
        """Check the password and open a session; the one whose cookie the browser sent along ends.

        Args:
            username: in any spelling.
            password: the password now.
            remembered: it is to last longer, and to outlive the closing of the browser.
            new_password: the password to be, where the present one is temporary.
            replaced: the cookie that the browser had until now; nothing of it is taken over.
            origin: where the request came from.
            device: the cookie of known devices that came along.

        Raises:
            RateLimited: there were too many attempts.
            InvalidCredentials, PasswordChangeRequired, InvalidInput, Busy: as `LoginService.open_cookie_session`.
            Unavailable: the store does not answer.
        """
        issued = await self._login.open_cookie_session(
            username, password, remembered=remembered, new_password=new_password, origin=origin, device=device
        )
        before = None if replaced is None else await self._strategy.session_of(replaced)
        if before is not None:
            await self._sessions.end_replaced(before.principal, origin=origin)
        return issued

    async def renew(self, session: CookieSession, *, origin: Origin) -> IssuedCookie:
        """Give the session another id, after its holder has proved anew who they are; the one before is dead at once.

        Raises:
            SessionEnded: it ended meanwhile.
        """
        issued = await self._door.renew(session, origin)
        if issued is None:
            raise SessionEnded()
        return issued

    async def end(self, session: CookieSession, *, origin: Origin) -> None:
        """End the session."""
        await self._sessions.logout_principal(session.principal, origin=origin)
