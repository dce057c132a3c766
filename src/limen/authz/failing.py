"""What went wrong while deciding: counted every time, logged once for each rule, by its type only."""

import logging
from threading import Lock

_log = logging.getLogger(__name__)


class Failures:
    """The failures of one policy. As many lines of log as it has rules, however often it is asked.

    Args:
        always: what each line says beside.

    Attributes:
        count: how many decisions were a no because something failed.
    """

    __slots__ = ("_always", "_lock", "_logged", "count")

    def __init__(self, **always: str) -> None:
        self.count = 0
        self._always = always
        self._lock = Lock()
        self._logged: set[tuple[str, str]] = set()

    def add(self) -> None:
        """Count one."""
        with self._lock:
            self.count += 1

    def is_new(self, event: str, rule: str) -> bool:
        """Tell, once, that this is the first time that it happens to a rule."""
        with self._lock:
            if (event, rule) in self._logged:
                return False
            self._logged.add((event, rule))
            return True

    def log(self, event: str, rule: str, **details: str) -> None:
        """Log what happened to a rule, unless it was logged before. Values of anybody are never among the details."""
        if self.is_new(event, rule):
            _log.error(event, extra={"rule": rule, **self._always, **details})
