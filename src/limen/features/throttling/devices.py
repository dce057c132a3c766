"""Devices on which somebody has logged in before: they have a bucket of their own.

A stranger who guesses at an account fills the bucket of strangers, and its owner still gets in where they got in
before. What a device keeps is a cookie that names the device, bound by one HMAC to the name that was typed, and by a
second one to the account as it was: it opens nothing, for another account it is nothing, and whatever ends all sessions
of an account, a reset for one, makes strangers of its devices.

The first is asked before anything is looked up, so that nobody has accounts looked up by cookies of their own making.
"""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from os import urandom
from typing import Final, NamedTuple

from limen.core.clock import Clock, system_clock
from limen.crypto.encoding import b64url_encode
from limen.crypto.keys import hkdf_sha256

REMEMBERED_DAYS: Final = 400
"""Days after the last login for which a device is known; browsers keep no cookie for longer (RFC 6265bis, 5.5)."""
MOST_ACCOUNTS: Final = 5
"""Accounts for which one browser is known, the latest ones: colleagues who share a machine."""

_KEY_INFO: Final = b"limen/throttle/device/2"
_ID: Final = 22
_DAY: Final = 5
_MAC: Final = 22
_LENGTH: Final = _ID + _DAY + 2 * _MAC
_SEPARATOR: Final = "."


class Owner(NamedTuple):
    """An account as a device knows it.

    Attributes:
        identifier: its name as it is compared.
        account_id: which account that is: another one may have the name some day.
        epoch: its ``session_epoch``, raised by whatever ends all its sessions.
    """

    identifier: str
    account_id: str
    epoch: int


class Claim(NamedTuple):
    """What a genuine cookie says of a name; whether it still holds, the account says: `KnownDevices.confirmed`."""

    device: str
    day: str
    bound: str


class KnownDevices:
    """Makes and reads the cookies of known devices.

    Args:
        secrets: the first makes cookies, all of them are accepted.
        clock: the time now.
    """

    def __init__(self, secrets: Sequence[str], *, clock: Clock = system_clock) -> None:
        self._keys = [hkdf_sha256(secret.encode(), _KEY_INFO) for secret in secrets]
        self._clock = clock

    def claimed(self, cookie: str, identifier: str) -> Claim | None:
        """Return what the cookie says of this name, where it is one that was made here; otherwise None."""
        today = self._today()
        for device, day, mac, bound in _entries(cookie):
            told = f"name\0{device}{day}{identifier}"
            if today - REMEMBERED_DAYS <= int(day) <= today + 1 and self._is_mac(mac, told):
                return Claim(device, day, bound)
        return None

    def confirmed(self, claim: Claim, account_id: str, epoch: int) -> str | None:
        """Return the id of the device, where all is as it was at the login there; None where it is a stranger's now."""
        return (
            claim.device if self._is_mac(claim.bound, _of_account(claim.device, claim.day, account_id, epoch)) else None
        )

    def known(self, cookie: str, owner: Owner) -> str | None:
        """Return the id of the device on which this account was used before; None where it was not."""
        claim = self.claimed(cookie, owner.identifier)
        return None if claim is None else self.confirmed(claim, owner.account_id, owner.epoch)

    def remembered(self, cookie: str, owner: Owner) -> str:
        """Return the cookie after a login to this account: it comes first, and the oldest one of too many goes.

        A device that was ever known keeps its id, and so its bucket: nobody gets another one by logging in.
        """
        claim = self.claimed(cookie, owner.identifier)
        device = b64url_encode(urandom(16)).decode("ascii") if claim is None else claim.device
        others = ["".join(entry) for entry in _entries(cookie) if entry[0] != device]
        day = f"{self._today():0{_DAY}d}"
        mac = _mac(self._keys[0], f"name\0{device}{day}{owner.identifier}")
        bound = _mac(self._keys[0], _of_account(device, day, owner.account_id, owner.epoch))
        return _SEPARATOR.join([device + day + mac + bound, *others[: MOST_ACCOUNTS - 1]])

    def _is_mac(self, mac: str, told: str) -> bool:
        return any(hmac.compare_digest(mac, _mac(key, told)) for key in self._keys)

    def _today(self) -> int:
        return int(self._clock() // 86_400)


def _entries(cookie: str) -> list[tuple[str, str, str, str]]:
    """Return id, day and both HMACs of each entry that has the form of one; whoever sends too many has none."""
    if not cookie.isascii() or len(cookie) > MOST_ACCOUNTS * (_LENGTH + 1):
        return []
    parts = [part for part in cookie.split(_SEPARATOR) if len(part) == _LENGTH]
    day, mac = _ID + _DAY, _ID + _DAY + _MAC
    entries = [(part[:_ID], part[_ID:day], part[day:mac], part[mac:]) for part in parts]
    return [entry for entry in entries if entry[1].isdigit()]


def _of_account(device: str, day: str, account_id: str, epoch: int) -> str:
    return f"account\0{device}{day}{account_id}\0{epoch}"


def _mac(key: bytes, told: str) -> str:
    # The words before the zero tell the two apart, and id and day are of a fixed length: no two texts are the same.
    return b64url_encode(hmac.digest(key, told.encode(), sha256)[:16]).decode("ascii")
