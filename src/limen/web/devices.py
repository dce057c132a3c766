"""The cookie of known devices (RFC 6265bis, section 4.1): it says where somebody has logged in before, no more."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from limen.authn.cookie import HOST_NAME, cookie_header, cookie_name, values_named
from limen.features.accounts.names import normalise_username
from limen.features.throttling.devices import REMEMBERED_DAYS, KnownDevices, Owner

DEVICE_NAME: Final = b"__Host-limen-device"
LOOPBACK_DEVICE_NAME: Final = b"limen-device"
"""The name on plain http at a loopback address, where browsers refuse the prefix."""


class DeviceCookies:
    """Reads and sets the cookie.

    Args:
        devices: makes what is in it; None where nobody asks for it, and no cookie is set.
        https_only: see `limen.authn.cookie.cookie_name`.
    """

    def __init__(self, devices: KnownDevices | None, *, https_only: bool) -> None:
        self._devices = devices
        self._https_only = https_only

    def presented(self, request: Request) -> str:
        """Return what the browser sent along; empty for nothing, and for two, of which one is somebody else's."""
        given = cookie_header(request.scope) if self._devices is not None else None
        values = values_named(given, self._name(request.scope)) if isinstance(given, bytes) else []
        return values[0].decode("latin-1") if len(values) == 1 else ""

    def remember(self, request: Request, response: Response, username: str, account_id: str, epoch: int | None) -> None:
        """Have the browser remember that somebody has proved the password of this account, as it was at that epoch."""
        if self._devices is None or epoch is None:
            return
        name = self._name(request.scope)
        secure = "; Secure" if name == DEVICE_NAME else ""
        value = self._devices.remembered(
            self.presented(request), Owner(normalise_username(username), account_id, epoch)
        )
        response.headers.append(
            "Set-Cookie",
            f"{name.decode('ascii')}={value}; Max-Age={REMEMBERED_DAYS * 86_400}; Path=/{secure}; HttpOnly;"
            " SameSite=Strict",
        )

    def _name(self, scope: Scope) -> bytes:
        return DEVICE_NAME if cookie_name(scope, https_only=self._https_only) == HOST_NAME else LOOPBACK_DEVICE_NAME
