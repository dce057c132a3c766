"""Says why: which rule, which leaf of it, and which values. Slower than deciding, and never asked to decide."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, Final

from limen.authz.compilers.leaves import asking, comparing, including, matching, null
from limen.authz.compilers.python import Access, Surroundings, condition
from limen.authz.compilers.reading import OWN_FIELDS, NotLoaded, read
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Constant,
    HasPermission,
    HasRole,
    Node,
    Operand,
    Or,
    PythonLeaf,
    Source,
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
        field: what was missing, such as ``Order.closed_at``; empty where nothing was.
    """

    rule: str
    leaf: str
    left: Any = None
    right: Any = None
    code: str = NOT_MET
    node: Node | None = dataclass_field(default=None, repr=False, compare=False)
    field: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something is allowed or not. It holds values: it is for the log and for administrators.

    Attributes:
        action: what was asked.
        allowed: the answer.
        version: that of the policy.
        rule: the id of the allow that held, or of the deny; empty where no rule allows it.
        code: empty where it is allowed; ``policy.no_rule``: nothing allows this at all; ``policy.not_met``: no allow
            holds; ``policy.denied``; ``policy.unknown``: something is missing; ``policy.not_loaded``;
            ``policy.attributes_not_loaded``; ``policy.unknown_action``; ``policy.failed``: something was raised.
        failed: what did not hold.
    """

    action: str
    allowed: bool
    version: str
    rule: str = ""
    code: str = ALLOWED
    failed: tuple[FailedLeaf, ...] = ()

    def for_caller(self) -> "Explanation":
        """Return the same for whoever asked: rules, fields and codes, without a value of anybody or of the policy."""
        bare = tuple(
            replace(each, leaf=text_of(each.node, values=False) if each.node else "", left=None, right=None, node=None)
            for each in self.failed
        )
        return replace(self, failed=bare)


def explained(
    rules: Iterable[Rule],
    access: Access,
    surroundings: Surroundings,
    asked: tuple[Principal, Any, Mapping[str, object]],
    answer: Explanation,
) -> Explanation:
    """Return why rules answer as they do.

    Args:
        rules: those that count for what is asked about.
        access: how the resource is read.
        surroundings: as for the compiled functions.
        asked: principal, resource and context.
        answer: what is to be explained: action, version, and what was decided.
    """
    reader = _Reader(access, surroundings, *asked)
    allows, denies = [], []
    for rule in rules:
        if rule.effect is Effect.ALLOW:
            allows.append((rule, reader.failed(rule, normal_form(rule.condition))))
        elif rule.fields is None:
            denies.append((rule, reader.failed(rule, negated(rule.condition))))
    held = next((rule for rule, failed in allows if failed is None), None)
    if answer.allowed:
        return replace(answer, rule=held.id if held else "")
    denied = next(((rule, failed) for rule, failed in denies if failed is not None), None)
    every = [leaf for _, failed in (*allows, *denies) for leaf in failed or ()]
    broken = _broken(every, otherwise_allowed=held is not None and denied is None)
    if broken is not None:
        return replace(answer, rule=broken.rule, code=broken.code, failed=(broken,))
    if denied is not None:
        return replace(answer, rule=denied[0].id, code=_denied(denied[1] or []), failed=tuple(denied[1] or ()))
    return replace(answer, code=_code(allows), failed=tuple(every))


def _broken(every: list[FailedLeaf], *, otherwise_allowed: bool) -> FailedLeaf | None:
    """Return the leaf that ended it all: a field not loaded always does, something raised where it was reached."""
    codes = (NOT_LOADED, FAILED) if otherwise_allowed else (NOT_LOADED,)
    return next((leaf for code in codes for leaf in every if leaf.code == code), None)


def _denied(failed: list[FailedLeaf]) -> str:
    codes = [leaf.code for leaf in failed]
    if ATTRIBUTES_NOT_LOADED in codes and NOT_MET not in codes:
        return ATTRIBUTES_NOT_LOADED
    return DENIED if NOT_MET in codes else UNKNOWN


def _code(allows: list[tuple[Rule, list[FailedLeaf] | None]]) -> str:
    """Return why no allow holds: of the rules that fail for what is missing alone, what is missing."""
    if not allows:
        return NO_RULE
    for _, failed in allows:
        codes = {leaf.code for leaf in failed or ()}
        if codes and NOT_MET not in codes:
            return ATTRIBUTES_NOT_LOADED if ATTRIBUTES_NOT_LOADED in codes else UNKNOWN
    return NOT_MET


class _Reader:
    """Goes through the tree of a rule for one question."""

    def __init__(
        self,
        access: Access,
        surroundings: Surroundings,
        principal: Principal,
        resource: Any,
        context: Mapping[str, object],
    ) -> None:
        self._access = access
        self._surroundings = surroundings
        self._principal = principal
        self._resource = resource
        self._context = context

    def failed(self, rule: Rule, node: Node) -> list[FailedLeaf] | None:
        """Return the leaves for which a condition in normal form does not hold; None where it holds."""
        match node:
            case And(parts):
                found = [failed for part in parts if (failed := self.failed(rule, part)) is not None]
                return [leaf for failed in found for leaf in failed] if found else None
            case Or(parts):
                every: list[FailedLeaf] = []
                for part in parts:
                    failed = self.failed(rule, part)
                    if failed is None:
                        return None
                    every += failed
                return every
            case _:
                return self._leaf(rule, node)

    def _leaf(self, rule: Rule, leaf: Node) -> list[FailedLeaf] | None:
        values: tuple[Any, ...] = ()
        try:
            operands = _operands(leaf)
            values = tuple(self._value(operand) for operand in operands)
            if self._holds(leaf, values):
                return None
            code, field = self._why(leaf, operands, values)
        except NotLoaded as error:
            code, field = NOT_LOADED, error.field
        except Exception as error:
            code, field = FAILED, type(error).__name__
        left, right = (*values, None, None)[:2]
        return [FailedLeaf(rule.id, text_of(leaf), left, right, code, leaf, field)]

    def _holds(self, leaf: Node, values: tuple[Any, ...]) -> bool:
        match leaf:
            case Truth(value):
                return value
            case HasRole(role, is_not):
                return (role in self._principal.roles) is not is_not
            case HasPermission(permission, is_not):
                return (permission in self._principal.permissions) is not is_not
            case PythonLeaf():
                return asking(leaf)(self._principal, self._resource, self._context)
            case AnyRow():
                found = condition(leaf, self._access, self._surroundings)
                return bool(found(self._principal, self._resource, self._context))
            case _:
                return _test(leaf)(*values)

    def _why(self, leaf: Node, operands: tuple[Operand, ...], values: tuple[Any, ...]) -> tuple[str, str]:
        """Return whether a leaf that does not hold is false or unknown, and for want of which field."""
        if isinstance(leaf, Truth | HasRole | HasPermission):
            return NOT_MET, ""
        if self._holds(negated(leaf), values):
            return NOT_MET, ""
        for operand in operands:
            if self._is_untold(operand):
                return ATTRIBUTES_NOT_LOADED, name_of(operand)  # type: ignore[arg-type]
        missing = [operand for operand, value in zip(operands, values, strict=True) if not _is_told(value)]
        return UNKNOWN, next((name_of(each) for each in missing or operands if isinstance(each, Attribute)), "")

    def _is_untold(self, operand: Operand) -> bool:
        return (
            isinstance(operand, Attribute)
            and operand.source is Source.SUBJECT
            and operand.path[0] not in OWN_FIELDS
            and operand.path[0] != "id"
            and self._principal.attributes is None
        )

    def _value(self, operand: Operand) -> Any:
        if isinstance(operand, Constant):
            return operand.value
        if operand.source is Source.CONTEXT and operand.path == ("now",) and self._context.get("now") is None:
            return self._surroundings.now()
        return read(operand, self._principal, self._resource, self._context)


def _operands(leaf: Node) -> tuple[Operand, ...]:
    match leaf:
        case Compare(_, left, right) | In(left, right) | TextMatch(_, left, right):
            return (left, right)
        case IsNull(operand):
            return (operand,)
        case AnyRow(relation):
            return (relation,)
        case _:
            return ()


def _test(leaf: Node) -> Callable[..., bool]:
    match leaf:
        case Compare(comparison, left, right):
            return comparing(comparison, left, right)
        case In():
            return including(leaf)
        case TextMatch():
            return matching(leaf)
        case IsNull():
            return null(leaf)
        case _:
            raise TypeError(f"{type(leaf).__name__} is not in normal form")


def _is_told(value: object) -> bool:
    return not is_missing(value) and value is not ABSENT
