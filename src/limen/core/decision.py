"""The answer to «may this principal do that?»."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and why. Whatever goes wrong while deciding is a «no» (Cedar, AuthZEN).

    Attributes:
        allowed: True only where every requirement held.
        code: the error code of the refusal, from the catalogue; empty when allowed.
        reason: one sentence for the caller: what is missing, never whether something exists.
    """

    allowed: bool
    code: str = ""
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


ALLOWED = Decision(allowed=True)
