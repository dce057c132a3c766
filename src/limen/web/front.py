"""What an application's answers carry, and what is asked of a request before anything else: one object for a gate."""

from dataclasses import dataclass
from typing import Final

from limen.web.headers import USUAL, AnswerHeaders
from limen.web.hosts import AllowedHosts


@dataclass(frozen=True, slots=True)
class Front:
    """How a gate meets the outside.

    Attributes:
        headers: the security headers of the application's answers.
        hosts: the hosts that are answered for; None for any.
        most_body_bytes: of a request to the application's own routes; None for any number.
        body_seconds: how long such a body may take; None for any time.
    """

    headers: AnswerHeaders = USUAL
    hosts: AllowedHosts | None = None
    most_body_bytes: int | None = None
    body_seconds: int | None = None

    @property
    def bounds_bodies(self) -> bool:
        """Whether bodies are bounded in any way."""
        return self.most_body_bytes is not None or self.body_seconds is not None


USUAL_FRONT: Final = Front()
