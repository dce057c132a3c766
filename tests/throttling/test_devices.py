"""Cookies of known devices: bound to one account, made by nobody else, and over some day."""

import pytest

from limen.features.throttling.devices import MOST_ACCOUNTS, REMEMBERED_DAYS, KnownDevices
from limen.testing.clock import TurnableClock

SECRET = "a-secret-of-devices-1-0123456789abcdef"
OTHER = "a-secret-of-devices-2-0123456789abcdef"


def test_a_device_is_known_for_the_account_it_was_used_for() -> None:
    """And for no other one, whose name it could be given for."""
    devices = KnownDevices([SECRET])
    cookie = devices.remembered("", "ann")
    assert devices.known(cookie, "ann")
    for name in ("bob", "an", "annn", "ANN", ""):
        assert devices.known(cookie, name) is None


def test_what_others_made_is_known_to_nobody() -> None:
    """Another secret's cookie, one that was changed anywhere, and what is no cookie."""
    devices = KnownDevices([SECRET])
    cookie = devices.remembered("", "ann")
    assert KnownDevices([OTHER]).known(cookie, "ann") is None
    for at in range(len(cookie)):
        changed = cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :]
        assert devices.known(changed, "ann") is None, at
    for text in ("", ".", "." * 5, cookie[:-1], cookie + "x", "é" * 49, "0" * 49, cookie * 6):
        assert devices.known(text, "ann") is None


def test_a_secret_that_is_replaced_is_accepted_for_as_long_as_it_is_listed() -> None:
    """The first of the list makes cookies, each of it reads them."""
    cookie = KnownDevices([OTHER]).remembered("", "ann")
    both = KnownDevices([SECRET, OTHER])
    assert both.known(cookie, "ann")
    renewed = both.remembered(cookie, "ann")
    assert KnownDevices([SECRET]).known(renewed, "ann") == KnownDevices([OTHER]).known(cookie, "ann")


def test_a_device_keeps_its_id() -> None:
    """Whoever logs in once more gets no other bucket."""
    devices = KnownDevices([SECRET])
    cookie = devices.remembered("", "ann")
    assert devices.known(devices.remembered(cookie, "ann"), "ann") == devices.known(cookie, "ann")


@pytest.mark.parametrize(("days", "known"), [(REMEMBERED_DAYS, True), (REMEMBERED_DAYS + 1, False), (-3, False)])
def test_a_device_is_forgotten_some_day(days: int, known: bool) -> None:
    """After 400 days without a login, and where its day has yet to come."""
    clock = TurnableClock(1_800_000_000)
    devices = KnownDevices([SECRET], clock=clock)
    cookie = devices.remembered("", "ann")
    clock.turn(days * 86_400)
    assert (devices.known(cookie, "ann") is not None) is known


def test_one_browser_is_known_for_the_latest_accounts() -> None:
    """Colleagues who share a machine are all known on it; the one who came first goes."""
    devices, cookie = KnownDevices([SECRET]), ""
    names = [f"name-{number}" for number in range(MOST_ACCOUNTS + 1)]
    for name in names:
        cookie = devices.remembered(cookie, name)
    assert [devices.known(cookie, name) is not None for name in names] == [False] + [True] * MOST_ACCOUNTS
    assert len({devices.known(cookie, name) for name in names[1:]}) == MOST_ACCOUNTS
