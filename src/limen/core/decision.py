"""The answer to «may this principal do that?»."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and why. Whatever goes wrong while deciding is a «no» (Cedar, AuthZEN).

    Attributes:
        allowed: True only where every requirement held.
        code: the error code of the refusal, from the catalogue; empty when allowed.
        reason: one sentence for the caller: what is missing, never whether something exists.
        rule: the id of the rule that made the difference; empty where no policy was asked, and where no rule allows it.
        version: that of the policy that decided; empty where none was asked.
    """

    allowed: bool
    code: str = ""
    reason: str = ""
    rule: str = ""
    version: str = ""

    def __bool__(self) -> bool:
        return self.allowed

    @classmethod
    def allow(cls) -> "Decision":
        """Say yes, in a function of one's own that is asked by `guard`."""
        return ALLOWED

    @classmethod
    def deny(cls, reason: str = "", *, code: str = "policy_denied") -> "Decision":
        """Say no.

        Args:
            reason: one sentence for the caller, or a word that a client can act on: the ``detail`` of the answer.
            code: ``policy_denied``, ``role_required``, ``permission_required`` (403) or ``step_up_required`` (401).
        """
        return cls(allowed=False, code=code, reason=reason)


ALLOWED = Decision(allowed=True)
