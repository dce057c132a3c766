"""A loaded set of policies with another one in its shadow: what the guard gets in place of the one alone.

Whoever has no shadow pays nothing for it: nothing is asked on the way, the object in its place is another one.
"""

from dataclasses import replace

from limen.authz.shadow import Compared, Differences, Told, sample_of
from limen.core.principal import Principal
from limen.guard.policies import Context, Facts, LoadedPolicies
from limen.guard.requirements import Requirement


class ShadowedPolicies(LoadedPolicies):
    """Answers as the policies in force, and counts where those in the shadow answer otherwise.

    Args:
        in_force: the snapshot whose answers count.
        shadow: the snapshot beside.
        differences: where it is counted.
    """

    __slots__ = ("_alone", "differences", "shadow")

    def __init__(self, in_force: LoadedPolicies, shadow: LoadedPolicies, differences: Differences) -> None:
        for name in LoadedPolicies.__slots__:
            setattr(self, name, getattr(in_force, name))
        self._alone, self.shadow, self.differences = in_force, shadow, differences
        self._facts = {}
        self._ask(Compared(in_force.policies, shadow.policies, differences))
        self.shadow_reads_attributes = shadow.reads_attributes
        self.shadow_reads_context = shadow.reads_context

    @property
    def in_force(self) -> LoadedPolicies:
        """The snapshot in force, by itself."""
        return self._alone

    def _look_at(self, requirement: Requirement) -> Facts:
        in_force, shadow = self._alone.facts_of(requirement), self.shadow.facts_of(requirement)
        return replace(
            in_force,
            # A handler that is given the principal may ask policies whose attributes only the shadow reads.
            by_names=in_force.by_names and shadow.by_names and not self.shadow_reads_attributes,
            shadow_attributes=shadow.attributes,
            shadow_context=shadow.context,
        )

    def denial(self, requirement: Requirement, principal: Principal, context: Context) -> str | None:
        """Return what the policies in force say, and compare; see `LoadedPolicies.denial`."""
        reason = self._alone.denial(requirement, principal, context)
        try:
            self._compare(reason, requirement, principal, context)
        except Exception as error:
            self.differences.fail(error)
        return reason

    def _compare(self, reason: str | None, requirement: Requirement, principal: Principal, context: Context) -> None:
        # What is asked of policies by name is compared when it is answered, unless it is turned down before.
        asked = replace(requirement, questions=()) if reason is None else requirement
        if reason is None and self.shadow.facts_of(asked).by_names:
            return
        self.differences.count()
        shadow = self.shadow.denial(asked, principal, context)
        if (shadow is None) is not (reason is None):
            told = Told(_named(requirement), reason or "", shadow or "", sample_of(principal, None))
            self.differences.note(reason is None, told)


def _named(requirement: Requirement) -> str:
    """Return what a route asks for: the actions, or the roles where it asks for nothing else."""
    actions = {*requirement.permission_names, *(each.action for each in requirement.questions)}
    return ", ".join(sorted(actions or requirement.role_names))
