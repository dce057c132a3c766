"""Devices on which somebody has logged in before: they have a bucket of their own.

A stranger who guesses at an account fills the bucket of strangers, and its owner still gets in where they got in
before. What a device keeps is a cookie that names the device, bound to the account by an HMAC: it opens nothing, and
for another account it is nothing.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from os import urandom
from typing import Final

from limen.core.clock import Clock, system_clock
from limen.crypto.encoding import b64url_encode
from limen.crypto.keys import hkdf_sha256

REMEMBERED_DAYS: Final = 400
"""Days after the last login for which a device is known; browsers keep no cookie for longer (RFC 6265bis, 5.5)."""
MOST_ACCOUNTS: Final = 5
"""Accounts for which one browser is known, the latest ones: colleagues who share a machine."""

_KEY_INFO: Final = b"limen/throttle/device/1"
_ID: Final = 22
_DAY: Final = 5
_MAC: Final = 22
_LENGTH: Final = _ID + _DAY + _MAC
_SEPARATOR: Final = "."


class KnownDevices:
    """Makes and reads the cookies of known devices.

    Args:
        secrets: the first makes cookies, all of them are accepted.
        clock: the time now.
    """

    def __init__(self, secrets: Sequence[str], *, clock: Clock = system_clock) -> None:
        self._keys = [hkdf_sha256(secret.encode(), _KEY_INFO) for secret in secrets]
        self._clock = clock

    def known(self, cookie: str, identifier: str) -> str | None:
        """Return the id of the device on which this account was used before; None where it was not."""
        today = self._today()
        for device, day, mac in _entries(cookie):
            if today - REMEMBERED_DAYS <= int(day) <= today + 1 and any(
                hmac.compare_digest(mac, _mac(key, device, day, identifier)) for key in self._keys
            ):
                return device
        return None

    def remembered(self, cookie: str, identifier: str) -> str:
        """Return the cookie after a login to this account: it comes first, and the oldest one of too many goes.

        A device that is known keeps its id, and so its bucket: nobody gets another one by logging in.
        """
        known = self.known(cookie, identifier)
        others = ["".join(entry) for entry in _entries(cookie) if entry[0] != known]
        device = known or b64url_encode(urandom(16)).decode("ascii")
        day = f"{self._today():0{_DAY}d}"
        first = device + day + _mac(self._keys[0], device, day, identifier)
        return _SEPARATOR.join([first, *others[: MOST_ACCOUNTS - 1]])

    def _today(self) -> int:
        return int(self._clock() // 86_400)


def _entries(cookie: str) -> list[tuple[str, str, str]]:
    """Return id, day and HMAC of each entry that has the form of one; whoever sends more than there are has none."""
    if not cookie.isascii() or len(cookie) > MOST_ACCOUNTS * (_LENGTH + 1):
        return []
    parts = [part for part in cookie.split(_SEPARATOR) if len(part) == _LENGTH]
    entries = [(part[:_ID], part[_ID : _ID + _DAY], part[_ID + _DAY :]) for part in parts]
    return [entry for entry in entries if entry[1].isdigit()]


def _mac(key: bytes, device: str, day: str, identifier: str) -> str:
    # Both before the name are of a fixed length, so no two of these texts are the same.
    digest = hmac.digest(key, f"{device}{day}{identifier}".encode(), sha256)
    return b64url_encode(digest[:16]).decode("ascii")
