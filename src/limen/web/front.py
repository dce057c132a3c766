"""What an application's answers carry, and what is asked of a request before anything else: one object for a gate."""

from dataclasses import dataclass
from typing import Final

from limen.web.headers import USUAL, AnswerHeaders


@dataclass(frozen=True, slots=True)
class Front:
    """How a gate meets the outside.

    Attributes:
        headers: the security headers of the application's answers.
    """

    headers: AnswerHeaders = USUAL


USUAL_FRONT: Final = Front()
