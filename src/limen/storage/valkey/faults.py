"""What a failure of Valkey means to whoever asked."""

import logging

from redis import exceptions

from limen.core import metrics
from limen.core.errors import Unavailable

_log = logging.getLogger(__name__)

FAILURES = (exceptions.RedisError, OSError, TimeoutError)
"""Whatever a call of Valkey may end in, where it does not end well."""

MISCONFIGURED = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
"""What waiting does not mend."""


def translated(error: Exception) -> Unavailable:
    """Return the error of the catalogue for a failure.

    The log names the kind of it and no more: a text of the server's may repeat what was sent.
    """
    metrics.VALKEY_FAILURES.add()
    _log.error("valkey_failed", extra={"valkey_error": name_of(error)})
    answer = Unavailable("The store of the sessions does not answer.")
    answer.__cause__ = error
    return answer


def name_of(error: Exception) -> str:
    """Return the kind of a failure."""
    return type(error).__name__
