"""Policies in the shadow of those in force: they are asked the same, and nobody goes by what they answer.

Where the two answers differ it is counted by kind: what was asked, the two answers and the two rules. Of each kind a
few examples are kept, which name who asked and the class of what it was about, and never a value.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock, get_ident
from typing import Any, Final

from limen.authz.engine import Policies
from limen.core import metrics
from limen.core.clock import Clock
from limen.core.decision import Decision
from limen.core.errors import PolicyDenied
from limen.core.principal import Principal

MOST_KINDS: Final = 500
"""How many kinds of differences are listed; others are only counted."""
SAMPLES_A_KIND: Final = 3
"""How many examples are kept of a kind: the first ones, each of another principal or another class of resource."""
LINES_A_MINUTE: Final = 20
"""How many kinds are written to the log within a minute; each is written once."""

Context = Mapping[str, object]

_log = logging.getLogger("limen.policies")


@dataclass(frozen=True, slots=True)
class DifferenceSample:
    """Somebody about whom the two did not agree.

    Attributes:
        kind: of the principal: ``person``, ``service`` and so on.
        id: its id.
        resource: the name of the class of what it was about; empty where it was about nothing in particular.
    """

    kind: str
    id: str
    resource: str


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """A kind of difference.

    Attributes:
        action: what was asked; of a route that asks for roles alone, their names.
        allowed: the answer of the policies in force, by which everybody went.
        shadow_allowed: the answer of those in the shadow.
        rule: the id of the rule that made the answer in force; empty where no rule allows it, or nothing denies the
            names that a route asks for; None where it failed.
        shadow_rule: the same of the answer in the shadow.
        count: how often.
        first_seen: milliseconds since 1970 UTC.
        last_seen: milliseconds since 1970 UTC.
        samples: a few examples, the first ones.
    """

    action: str
    allowed: bool
    shadow_allowed: bool
    rule: str | None
    shadow_rule: str | None
    count: int
    first_seen: int
    last_seen: int
    samples: tuple[DifferenceSample, ...]


@dataclass(frozen=True, slots=True)
class PolicyDifferences:
    """What this process has seen since it compares these two versions.

    Attributes:
        version: of the policies in force.
        shadow_version: of those in the shadow.
        since: milliseconds since 1970 UTC.
        compared: how many answers were compared.
        failures: how many answers of the shadow failed; each is a no, as it would be in force.
        unlisted: how many differences are of kinds beyond those that are listed.
        differences: by kind, the most frequent first.
    """

    version: str
    shadow_version: str
    since: int
    compared: int
    failures: int
    unlisted: int
    differences: tuple[PolicyDifference, ...]


_Key = tuple[str, bool, str | None, str | None]


class _Seen:
    """How often a kind was seen, and by whom first."""

    __slots__ = ("count", "first_seen", "is_logged", "last_seen", "samples")

    def __init__(self, now: int) -> None:
        self.count = 0
        self.first_seen = self.last_seen = now
        self.samples: list[DifferenceSample] = []
        self.is_logged = False


class Differences:
    """Where two policies differ: counted by kind, listed up to a bound, told to the log once for each kind.

    Args:
        in_force: the policies by which everybody goes.
        shadow: those beside.
        clock: the time in seconds since 1970 UTC.
    """

    def __init__(self, in_force: Policies, shadow: Policies, clock: Clock) -> None:
        self.versions = (in_force.version, shadow.version)
        self._clock = clock
        self._since = self._now()
        self._lock = Lock()
        self._seen: dict[_Key, _Seen] = {}
        self._unlisted = 0
        self._failed = 0
        # A cell for each thread: nothing is lost, and no thread waits for another.
        self._compared: dict[int, int] = {}
        self._lines = 0
        self._minute = self._since

    def count(self) -> None:
        """Count one answer that is compared."""
        cell = get_ident()
        self._compared[cell] = self._compared.get(cell, 0) + 1

    def snapshot(self, failures: int = 0) -> PolicyDifferences:
        """Return what was seen until now.

        Args:
            failures: those that the shadow has counted itself.
        """
        with self._lock:
            found = [
                PolicyDifference(
                    action, allowed, not allowed, rule, shadow_rule,
                    seen.count, seen.first_seen, seen.last_seen, tuple(seen.samples),
                )
                for (action, allowed, rule, shadow_rule), seen in self._seen.items()
            ]  # fmt: skip
            unlisted, failed = self._unlisted, self._failed
        found.sort(key=lambda each: (-each.count, each.action, each.rule or "", each.shadow_rule or ""))
        compared = sum(list(self._compared.values()))
        return PolicyDifferences(*self.versions, self._since, compared, failures + failed, unlisted, tuple(found))

    def note(self, allowed: bool, told: "Told") -> None:
        """Count an answer that is another one.

        Args:
            allowed: the answer in force.
            told: what is listed of it.
        """
        metrics.POLICY_DIFFERENCES.add("denied" if allowed else "allowed")
        now = self._now()
        with self._lock:
            key = (told.action, allowed, told.rule, told.shadow_rule)
            seen = self._seen.get(key)
            if seen is None:
                if len(self._seen) >= MOST_KINDS:
                    self._unlisted += 1
                    return
                seen = self._seen[key] = _Seen(now)
            seen.count += 1
            seen.last_seen = now
            if len(seen.samples) < SAMPLES_A_KIND and told.sample not in seen.samples:
                seen.samples.append(told.sample)
            is_told = not seen.is_logged and self._may_log(now)
            seen.is_logged = seen.is_logged or is_told
        if is_told:
            _log.warning("policies in the shadow decide otherwise", extra=self._line(key))

    def _line(self, key: _Key) -> dict[str, object]:
        action, allowed, rule, shadow_rule = key
        return {
            "action": action,
            "allowed": allowed,
            "shadow_allowed": not allowed,
            "rule": rule,
            "shadow_rule": shadow_rule,
            "version": self.versions[0],
            "shadow_version": self.versions[1],
        }

    def _may_log(self, now: int) -> bool:
        if not 0 <= now - self._minute < 60_000:
            self._minute, self._lines = now, 0
        self._lines += 1
        return self._lines <= LINES_A_MINUTE

    def fail(self, error: Exception) -> None:
        """Count a failure of what compares, which reaches nobody; the first is logged, by its type."""
        with self._lock:
            self._failed += 1
            is_first = self._failed == 1
        if is_first:
            _log.error("policies in the shadow could not be asked", extra={"failure": type(error).__name__})

    def _now(self) -> int:
        return int(self._clock() * 1000)


@dataclass(frozen=True, slots=True)
class Told:
    """What is listed of one difference."""

    action: str
    rule: str | None
    shadow_rule: str | None
    sample: DifferenceSample


def sample_of(principal: Principal, resource: object) -> DifferenceSample:
    """Return who asked about what, without a value of it."""
    named = "" if resource is None else type(resource).__name__
    return DifferenceSample(str(principal.kind), str(principal.sub), named)


class Compared:
    """Answers as the policies in force do, and asks those in the shadow beside.

    Args:
        in_force: the policies whose answer counts.
        shadow: those whose answer is compared.
        differences: where it is counted.
    """

    def __init__(self, in_force: Policies, shadow: Policies, differences: Differences) -> None:
        self.in_force = in_force
        self.shadow = shadow
        self.differences = differences

    def can(self, principal: Principal, action: str, resource: Any = None, context: Context | None = None) -> bool:
        """As `Policies.can` in force."""
        allowed = self.in_force.can(principal, action, resource, context)
        self._compare(allowed, principal, action, resource, context)
        return allowed

    def can_many(
        self, principal: Principal, action: str, resources: Iterable[Any], context: Context | None = None
    ) -> list[bool]:
        """As `Policies.can_many` in force."""
        return [self.can(principal, action, resource, context) for resource in resources]

    def decide(
        self, principal: Principal, action: str, resource: Any = None, context: Context | None = None
    ) -> Decision:
        """As `Policies.decide` in force."""
        decision = self.in_force.decide(principal, action, resource, context)
        self._compare(decision.allowed, principal, action, resource, context)
        return decision

    def check(self, principal: Principal, action: str, resource: Any = None, context: Context | None = None) -> None:
        """As `Policies.check` in force.

        Raises:
            PolicyDenied: the policies in force do not allow it.
        """
        decision = self.decide(principal, action, resource, context)
        if not decision.allowed:
            raise PolicyDenied(decision.reason or None)

    def _compare(
        self, allowed: bool, principal: Principal, action: str, resource: Any, context: Context | None
    ) -> None:
        try:
            self.differences.count()
            if (self.shadow.can(principal, action, resource, context) is True) is not (allowed is True):
                asked = (principal, action, resource, context)
                rules = (self.in_force.rule_of(*asked), self.shadow.rule_of(*asked))
                self.differences.note(allowed, Told(str(action), *rules, sample_of(principal, resource)))
        except Exception as error:
            self.differences.fail(error)
