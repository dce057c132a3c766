"""Cookies of known devices: bound to one account, made by nobody else, and over some day."""

import pytest

from limen.features.throttling.devices import MOST_ACCOUNTS, REMEMBERED_DAYS, KnownDevices, Owner
from limen.testing.clock import TurnableClock

SECRET = "a-secret-of-devices-1-0123456789abcdef"
OTHER = "a-secret-of-devices-2-0123456789abcdef"
ANN = Owner("ann", "0190-ann", 3)


def test_a_device_is_known_for_the_account_it_was_used_for() -> None:
    """And for no other one, whose name it could be given for."""
    devices = KnownDevices([SECRET])
    cookie = devices.remembered("", ANN)
    assert devices.known(cookie, ANN)
    for name in ("bob", "an", "annn", "ANN", ""):
        assert devices.known(cookie, ANN._replace(identifier=name)) is None


def test_a_device_is_known_to_the_account_as_it_was() -> None:
    """Not once its sessions were ended, nor before, nor to another account that has its name by now."""
    devices = KnownDevices([SECRET])
    cookie = devices.remembered("", ANN)
    for other in (ANN._replace(epoch=4), ANN._replace(epoch=2), ANN._replace(account_id="0190-ann-the-second")):
        assert devices.known(cookie, other) is None
        claim = devices.claimed(cookie, "ann")
        assert claim is not None
        assert devices.confirmed(claim, other.account_id, other.epoch) is None
        renewed = devices.remembered(cookie, other)
        assert devices.known(renewed, other) == claim.device
        assert devices.known(renewed, ANN) is None


def test_no_text_of_one_account_is_one_of_another() -> None:
    """Where id and number meet, and where the words that tell the two HMACs apart are given as a name."""
    devices = KnownDevices([SECRET])
    cookie = devices.remembered("", Owner("ann", "a1", 2))
    assert devices.known(cookie, Owner("ann", "a", 12)) is None
    mixed = cookie[:27] + cookie[49:] + cookie[27:49]
    assert devices.claimed(mixed, "ann") is None
    assert devices.claimed(mixed, "a1\0" + "2") is None


def test_what_others_made_is_known_to_nobody() -> None:
    """Another secret's cookie, one that was changed anywhere, and what is no cookie."""
    devices = KnownDevices([SECRET])
    cookie = devices.remembered("", ANN)
    assert KnownDevices([OTHER]).known(cookie, ANN) is None
    for at in range(len(cookie)):
        changed = cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :]
        assert devices.known(changed, ANN) is None, at
    for text in ("", ".", "." * 5, cookie[:-1], cookie + "x", "é" * 71, "0" * 71, cookie * 6):
        assert devices.known(text, ANN) is None


def test_a_secret_that_is_replaced_is_accepted_for_as_long_as_it_is_listed() -> None:
    """The first of the list makes cookies, each of it reads them."""
    cookie = KnownDevices([OTHER]).remembered("", ANN)
    both = KnownDevices([SECRET, OTHER])
    assert both.known(cookie, ANN)
    renewed = both.remembered(cookie, ANN)
    assert KnownDevices([SECRET]).known(renewed, ANN) == KnownDevices([OTHER]).known(cookie, ANN)


def test_a_device_keeps_its_id() -> None:
    """Whoever logs in once more gets no other bucket."""
    devices = KnownDevices([SECRET])
    cookie = devices.remembered("", ANN)
    assert devices.known(devices.remembered(cookie, ANN), ANN) == devices.known(cookie, ANN)


@pytest.mark.parametrize(("days", "known"), [(REMEMBERED_DAYS, True), (REMEMBERED_DAYS + 1, False), (-3, False)])
def test_a_device_is_forgotten_some_day(days: int, known: bool) -> None:
    """After 400 days without a login, and where its day has yet to come."""
    clock = TurnableClock(1_800_000_000)
    devices = KnownDevices([SECRET], clock=clock)
    cookie = devices.remembered("", ANN)
    clock.turn(days * 86_400)
    assert (devices.known(cookie, ANN) is not None) is known


def test_one_browser_is_known_for_the_latest_accounts() -> None:
    """Colleagues who share a machine are all known on it; the one who came first goes."""
    devices, cookie = KnownDevices([SECRET]), ""
    names = [Owner(f"name-{number}", f"id-{number}", 0) for number in range(MOST_ACCOUNTS + 1)]
    for name in names:
        cookie = devices.remembered(cookie, name)
    assert [devices.known(cookie, name) is not None for name in names] == [False] + [True] * MOST_ACCOUNTS
    assert len({devices.known(cookie, name) for name in names[1:]}) == MOST_ACCOUNTS
