"""Puts throttling together."""

from collections.abc import Sequence
from dataclasses import dataclass

from limen.core.clock import Clock
from limen.core.rates import Rate
from limen.features.throttling.counting import Throttle
from limen.features.throttling.devices import KnownDevices
from limen.features.throttling.memory import MemoryThrottles
from limen.features.throttling.requests import RequestThrottle
from limen.features.throttling.service import LoginLimits, LoginThrottle
from limen.features.throttling.store import ThrottleStore


@dataclass(frozen=True, slots=True)
class ThrottleSettings:
    """What is said of throttling.

    Attributes:
        where: ``shared``, ``memory`` or ``off``.
        secrets: key the buckets (the first one) and the cookies of known devices (all of them).
        login: attempts at one account.
        network: attempts from one network.
        register: registrations from one network.
    """

    where: str
    secrets: Sequence[str]
    login: Rate
    network: Rate
    register: Rate


@dataclass(frozen=True, slots=True)
class Throttling:
    """All of it.

    Attributes:
        logins: attempts to log in.
        requests: attempts at the rest of limen's own routes.
        throttle: for limits of the application's own.
    """

    logins: LoginThrottle
    requests: RequestThrottle
    throttle: Throttle


def build_throttling(settings: ThrottleSettings, shared: ThrottleStore, *, clock: Clock) -> Throttling:
    """Return it; nothing is opened. ``shared`` counts for all processes."""
    memory = None if settings.where == "off" else MemoryThrottles(clock)
    secret = settings.secrets[0]
    throttle = Throttle(shared if settings.where == "shared" else memory, secret=secret)
    limits = LoginLimits(settings.login, settings.network)
    return Throttling(
        LoginThrottle(throttle, KnownDevices(settings.secrets, clock=clock), limits),
        RequestThrottle(throttle, Throttle(memory, secret=secret), register=settings.register),
        throttle,
    )
