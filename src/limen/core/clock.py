"""The time, as something that can be handed in, so that a test can turn it."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Answers the time now, in seconds since 1970 UTC."""

system_clock: Clock = time.time
