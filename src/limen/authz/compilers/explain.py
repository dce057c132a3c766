"""Says why: which rule, which leaf of it, and which values. Slower than deciding, and never asked to decide."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from limen.authz.compilers.leaves import asking, comparing, including, matching, null
from limen.authz.compilers.python import Access, Surroundings, condition
from limen.authz.compilers.reading import OWN_FIELDS, NotLoaded, read
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    Constant,
    HasPermission,
    HasRole,
    In,
    IsNull,
    Node,
    Operand,
    Or,
    PythonLeaf,
    Source,
    TextMatch,
    Truth,
)
from limen.authz.policy.normal_form import negated, normal_form
from limen.authz.policy.rules import Effect, Rule
from limen.authz.policy.text import name_of, text_of
from limen.authz.policy.values import ABSENT, is_missing
from limen.core.principal import Principal

ALLOWED: Final = ""
NO_RULE: Final = "policy.no_rule"
UNKNOWN_ACTION: Final = "policy.unknown_action"
DENIED: Final = "policy.denied"
NOT_MET: Final = "policy.not_met"
UNKNOWN: Final = "policy.unknown"
NOT_LOADED: Final = "policy.not_loaded"
ATTRIBUTES_NOT_LOADED: Final = "policy.attributes_not_loaded"
FAILED: Final = "policy.failed"

_OF_THE_PRINCIPAL: Final = OWN_FIELDS | {"id"}


@dataclass(frozen=True, slots=True)
class FailedLeaf:
    """A part of a rule that did not hold.

    Attributes:
        rule: the id of the rule.
        leaf: what would have had to hold, as one would write it; of a deny that is its opposite.
        left: the value on its left; None where there is none.
        right: the value on its right; None where there is none.
        code: ``policy.not_met``, ``policy.unknown``, ``policy.not_loaded``, ``policy.attributes_not_loaded`` or
            ``policy.failed``.
        field: what was missing, such as ``Order.closed_at``; of what failed, the type of what was raised.
    """

    rule: str
    leaf: str
    left: Any = None
    right: Any = None
    code: str = NOT_MET
    field: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something is allowed or not. It holds values: it is for the log and for administrators.

    Attributes:
        action: what was asked.
        allowed: the answer.
        version: that of the policy.
        rule: the id of the allow that held, or of the deny that turned it down; empty where no rule allows it.
        code: empty where it is allowed; ``policy.no_rule``: nothing allows this at all; ``policy.not_met``: no allow
            holds; ``policy.denied``; ``policy.unknown``: something is missing; ``policy.not_loaded``;
            ``policy.attributes_not_loaded``; ``policy.unknown_action``; ``policy.failed``: something was raised.
        failed: what did not hold: of the deny that turned an allow down, or else of every rule.
    """

    action: str
    allowed: bool
    version: str
    rule: str = ""
    code: str = ALLOWED
    failed: tuple[FailedLeaf, ...] = ()

    def for_caller(self) -> "Explanation":
        """Return what whoever asked may know: the code, and the rule that made the difference.

        What else did not hold tells of a resource that they may not see, with its values and without.
        """
        return replace(self, failed=())


Failed: TypeAlias = list[FailedLeaf] | None
"""The leaves for which a condition does not hold; None where it holds."""

Ask = Callable[[Principal, Any, Mapping[str, object]], Failed]


class Reasons:
    """Explains what rules answer; made ready once, and holding nothing of whoever asks.

    Args:
        rules: those that count for what is asked about.
        access: how the resource is read.
        surroundings: as for the compiled functions.
    """

    __slots__ = ("_allows", "_denies")

    def __init__(self, rules: Iterable[Rule], access: Access, surroundings: Surroundings) -> None:
        self._allows: list[tuple[str, Ask]] = []
        self._denies: list[tuple[str, Ask]] = []
        for rule in rules:
            writer = _Writer(rule.id, access, surroundings)
            if rule.effect is Effect.ALLOW:
                self._allows.append((rule.id, writer.node(normal_form(rule.condition))))
            elif rule.fields is None:
                self._denies.append((rule.id, writer.node(negated(rule.condition))))

    def explain(
        self, answer: Explanation, principal: Principal, resource: Any, context: Mapping[str, object]
    ) -> Explanation:
        """Return why an answer was given.

        Args:
            answer: action, version, and what was decided.
            principal: who asked.
            resource: what about.
            context: what was known beside.
        """
        allows = [(rule, ask(principal, resource, context)) for rule, ask in self._allows]
        held = next((rule for rule, failed in allows if failed is None), None)
        if answer.allowed:
            return Explanation(answer.action, True, answer.version, held or "")
        denies = [(rule, ask(principal, resource, context)) for rule, ask in self._denies]
        denied = next(((rule, failed) for rule, failed in denies if failed is not None), None) if held else None
        every = [leaf for _, failed in (*allows, *denies) for leaf in failed or ()]
        broken = _broken(every, otherwise_allowed=held is not None and denied is None)
        if broken is not None:
            rule, code, failed = broken.rule, broken.code, [broken]
        elif denied is not None:
            rule, failed = denied
            code = _code_of_deny(failed)
        else:
            rule, code, failed = "", _code_of_none(allows), every
        return Explanation(answer.action, False, answer.version, rule, code, tuple(failed))


def _broken(every: list[FailedLeaf], *, otherwise_allowed: bool) -> FailedLeaf | None:
    """Return the leaf that ended it all: a field not loaded always does, something raised where it was reached."""
    codes = (NOT_LOADED, FAILED) if otherwise_allowed else (NOT_LOADED,)
    return next((leaf for code in codes for leaf in every if leaf.code == code), None)


def _code_of_deny(failed: list[FailedLeaf]) -> str:
    codes = [leaf.code for leaf in failed]
    if NOT_MET in codes:
        return DENIED
    return ATTRIBUTES_NOT_LOADED if ATTRIBUTES_NOT_LOADED in codes else UNKNOWN


def _code_of_none(allows: list[tuple[str, Failed]]) -> str:
    """Return why no allow holds: where one fails for nothing but what is missing, that it is missing."""
    if not allows:
        return NO_RULE
    for _, failed in allows:
        codes = {leaf.code for leaf in failed or ()}
        if codes and NOT_MET not in codes:
            return ATTRIBUTES_NOT_LOADED if ATTRIBUTES_NOT_LOADED in codes else UNKNOWN
    return NOT_MET


class _Writer:
    """Makes what asks the conditions of one rule."""

    def __init__(self, rule: str, access: Access, surroundings: Surroundings) -> None:
        self._rule = rule
        self._access = access
        self._surroundings = surroundings

    def node(self, node: Node) -> Ask:
        """Return what asks a condition in normal form."""
        match node:
            case And(parts):
                return _every([self.node(part) for part in parts])
            case Or(parts):
                return _some([self.node(part) for part in parts])
            case _:
                return self._leaf(node)

    def _leaf(self, leaf: Node) -> Ask:
        rule, text = self._rule, text_of(leaf)
        operands = _operands(leaf)
        read_left, read_right = ([self._reader(each) for each in operands] + [_nothing, _nothing])[:2]
        holds, is_false = self._test(leaf), self._test(negated(leaf))

        def ask(principal: Principal, resource: Any, context: Mapping[str, object]) -> Failed:
            left = right = None
            try:
                left, right = read_left(principal, resource, context), read_right(principal, resource, context)
                if holds(left, right, principal, resource, context):
                    return None
                code, field = NOT_MET, ""
                if not is_false(left, right, principal, resource, context):
                    code, field = _missing(operands, (left, right), principal)
            except NotLoaded as error:
                code, field = NOT_LOADED, error.field
            except Exception as error:
                code, field = FAILED, type(error).__name__
            return [FailedLeaf(rule, text, left, right, code, field)]

        return ask

    def _reader(self, operand: Operand) -> Callable[[Principal, Any, Mapping[str, object]], Any]:
        if isinstance(operand, Constant):
            value = operand.value
            return lambda principal, resource, context: value
        now = self._surroundings.now
        if operand.source is Source.CONTEXT and operand.path == ("now",):
            return lambda principal, resource, context: now() if context.get("now") is None else context["now"]
        if len(operand.path) == 1 and operand.cast is None:
            quick = self._quick_reader(operand)
            if quick is not None:
                return quick
        return lambda principal, resource, context: read(operand, principal, resource, context)

    def _quick_reader(self, attribute: Attribute) -> Callable[[Principal, Any, Mapping[str, object]], Any] | None:
        """Return what reads the most usual attributes as `read` does, in less time; None for the others."""
        name = attribute.path[0]
        if attribute.source is Source.SUBJECT:
            if name == "id":
                return lambda principal, resource, context: principal.sub or None
            if name not in OWN_FIELDS:
                return lambda principal, resource, context: (
                    ABSENT if principal.attributes is None else principal.attributes.get(name)
                )
        elif attribute.source is Source.RESOURCE and self._access is Access.MAPPED:
            return lambda principal, resource, context: (
                resource.__dict__[name] if name in resource.__dict__ else read(attribute, principal, resource, context)
            )
        return None

    def _test(self, leaf: Node) -> Callable[..., bool]:  # noqa: PLR0911 - one for each kind of node
        """Return what tells whether a leaf holds, of its two values and all that was asked."""
        match leaf:
            case Truth(value):
                return lambda left, right, principal, resource, context: value
            case HasRole(role, is_not):
                return lambda left, right, principal, resource, context: (role in principal.roles) is not is_not
            case HasPermission(name, is_not):
                return lambda left, right, principal, resource, context: (name in principal.permissions) is not is_not
            case PythonLeaf():
                asked = asking(leaf)
                return lambda left, right, principal, resource, context: asked(principal, resource, context)
            case AnyRow():
                found = condition(leaf, self._access, self._surroundings)
                return lambda left, right, principal, resource, context: found(principal, resource, context) is True
            case IsNull():
                one = null(leaf)
                return lambda left, right, principal, resource, context: one(left)
            case _:
                two = _of_two(leaf)
                return lambda left, right, principal, resource, context: two(left, right)


def _of_two(leaf: Node) -> Callable[[Any, Any], bool]:
    match leaf:
        case Compare(comparison, left, right):
            return comparing(comparison, left, right)
        case In():
            return including(leaf)
        case TextMatch():
            return matching(leaf)
        case _:
            raise TypeError(f"{type(leaf).__name__} is not in normal form")


def _every(parts: list[Ask]) -> Ask:
    def ask(principal: Principal, resource: Any, context: Mapping[str, object]) -> Failed:
        failed = [leaf for part in parts for leaf in part(principal, resource, context) or ()]
        return failed or None

    return ask


def _some(parts: list[Ask]) -> Ask:
    def ask(principal: Principal, resource: Any, context: Mapping[str, object]) -> Failed:
        every: list[FailedLeaf] = []
        for part in parts:
            failed = part(principal, resource, context)
            if failed is None:
                return None
            every += failed
        return every

    return ask


def _nothing(_principal: Principal, _resource: Any, _context: Mapping[str, object]) -> None:
    return None


def _missing(operands: tuple[Operand, ...], values: tuple[Any, Any], principal: Principal) -> tuple[str, str]:
    """Return the code of a leaf that is unknown, and for want of which field it is."""
    attributes = [operand for operand in operands if isinstance(operand, Attribute)]
    for each in attributes:
        is_told = each.source is not Source.SUBJECT or each.path[0] in _OF_THE_PRINCIPAL
        if not is_told and principal.attributes is None:
            return ATTRIBUTES_NOT_LOADED, name_of(each)
    for operand, value in zip(operands, values, strict=False):
        if isinstance(operand, Attribute) and (value is ABSENT or is_missing(value)):
            return UNKNOWN, name_of(operand)
    return UNKNOWN, next((name_of(each) for each in attributes), "")


def _operands(leaf: Node) -> tuple[Operand, ...]:
    match leaf:
        case Compare(_, left, right) | In(left, right) | TextMatch(_, left, right):
            return (left, right)
        case IsNull(operand) | AnyRow(operand):
            return (operand,)
        case _:
            return ()
