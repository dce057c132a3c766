"""An answer in many parts lives no longer than what opened it (OWASP ASVS 5.0, 4.4): it is cut off."""

import logging
import time

from limen.web.guard.state import GuardState

POLL_SECONDS = 1.0
"""How often a streaming answer is asked about, at most, when its next part is about to be sent."""

_log = logging.getLogger("limen.guard")


class StreamEndedError(Exception):
    """The rest of an answer was kept back: whoever asked for it is no longer authenticated."""


def go_on(state: GuardState) -> None:
    """Let the next part of an answer be sent.

    Only a credential can end, so a principal that came without one is not asked about. A server takes an answer that
    breaks off for what it is and closes the connection, and the client sees that something is missing.

    Raises:
        StreamEndedError: the token has expired or the session has ended; from then on, for every part.
    """
    if not state.ended:
        now = time.monotonic()
        if state.ask_next is None:
            state.ask_next = now + POLL_SECONDS
        if now < state.ask_next or _is_valid(state):
            return
        state.ended = True
        _log.info(
            "a streaming answer is cut off: what opened it is no longer valid", extra={"request_id": state.request_id}
        )
    raise StreamEndedError


def _is_valid(asked: GuardState) -> bool:
    asked.ask_next = time.monotonic() + POLL_SECONDS
    state: GuardState | None = asked
    try:
        while state is not None:
            known = state.credential is not None and state.principal.is_authenticated
            if known and not state.gate.still_valid(state):
                return False
            state = state.parent
    except Exception:
        _log.exception("a streaming answer is cut off: whether it may go on cannot be told")
        return False
    return True
