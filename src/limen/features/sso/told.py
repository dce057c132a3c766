"""What a provider said of a login itself, on its way to the door."""

import json
from dataclasses import dataclass

from limen.features.sso.client import Assertion
from limen.features.sso.providers import SSOProvider


@dataclass(frozen=True, slots=True)
class Told:
    """What the provider said of the login itself."""

    provider: str
    amr: tuple[str, ...]
    acr: str | None
    auth_time: int | None
    sid: str | None
    factors: int

    @classmethod
    def of(cls, provider: SSOProvider, assertion: Assertion) -> "Told":
        """Return it; the login counts as two factors only where the provider is trusted with that, and says so."""
        factors = 2 if provider.second_factor and "mfa" in assertion.amr else 1
        return cls(provider.name, assertion.amr, assertion.acr, assertion.auth_time, assertion.sid, factors)

    def as_text(self) -> str:
        """Return it as it lies beside a one-time code."""
        return json.dumps([self.provider, self.amr, self.acr, self.auth_time, self.sid, self.factors])

    @classmethod
    def from_text(cls, text: str) -> "Told":
        """Read it again."""
        provider, amr, acr, auth_time, sid, factors = json.loads(text)
        return cls(provider, tuple(amr), acr, auth_time, sid, factors)


def hint_row(issuer: str, subject: str) -> str:
    """Return what a sealed ID token is bound to."""
    return json.dumps([issuer, subject])
