"""An application's own object that a command is about: ``MODULE:NAME``, as servers name an application."""

import importlib
import inspect
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limen.cli.exits import UsageError

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.authz.engine import Policies
    from limen.authz.findings import RouteFacts
    from limen.authz.roles import RoleCatalogue

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:NAME",
        envvar="LIMEN_APP",
        help="Rules, a PolicySet, a Limen, or an application that one protects; a function that makes it will do.",
    ),
]


@dataclass(frozen=True, slots=True)
class Policed:
    """What was found.

    Attributes:
        policies: the rules, loaded.
        catalogue: the roles, where a gate knows them.
        routes: the routes, where it is an application.
        gate: the gate, where there is one.
        tests: how many tests the rules have of their own; all of them hold.
    """

    policies: "Policies"
    catalogue: "RoleCatalogue"
    routes: "tuple[RouteFacts, ...]" = ()
    gate: Any = None
    tests: int = 0


def find(target: str) -> Any:
    """Return the object; the current folder is on the path.

    Raises:
        UsageError: the name has another form, or there is no such object.
    """
    module, _, name = target.partition(":")
    if not module or not name:
        raise UsageError(f"{target!r} names no object.", "Write MODULE:NAME, such as app.main:gate.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    # What the application says while it is imported is not what was asked for.
    logging.getLogger("limen").setLevel(logging.ERROR)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(f"There is no module {error.name}.", "Call it in the folder of the application.") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"{module} has no {name}.", "Write MODULE:NAME, such as app.main:gate.") from None
    return found


def policed(target: str) -> Policed:
    """Return the policies of the object, loaded as the application loads them.

    Raises:
        UsageError: it has none.
        ConfigurationError: they are refused.
    """
    from limen.authz.policy.rules import PolicySet, Rule

    found = find(target)
    if inspect.isfunction(found):
        found = found()
    if isinstance(found, Rule):
        found = [found]
    gate = _gate_of(found)
    if gate is not None:
        return _of_gate(gate, found)
    if isinstance(found, PolicySet) or (isinstance(found, Iterable) and not isinstance(found, str)):
        return _of_rules(found)
    raise UsageError(f"{target} has no policies.", "Name rules, a PolicySet, a Limen, or an application it protects.")


def _of_rules(declared: Any) -> Policed:
    from limen.authz.engine import Policies
    from limen.authz.policy.rules import PolicySet
    from limen.authz.roles import RoleCatalogue

    declared = declared if isinstance(declared, PolicySet) else PolicySet(declared)
    named = _roles_named(declared)
    return Policed(Policies.load(declared), RoleCatalogue(dict.fromkeys(named, ())), tests=len(declared.tests))


def _roles_named(declared: Any) -> set[str]:
    """Return the roles that rules name: all that is known where there is no gate."""
    from limen.authz.loading import leaves_of
    from limen.authz.policy.nodes import HasRole

    return {leaf.role for rule in declared.rules for leaf in leaves_of(rule.condition) if isinstance(leaf, HasRole)}


def _gate_of(found: Any) -> Any:
    """Return a gate: what was found, or what protects it."""
    if hasattr(found, "load_policies"):
        return found
    return getattr(getattr(found, "limen_protection", None), "gate", None)


def _of_gate(gate: Any, found: Any) -> Policed:
    import asyncio

    if gate.loaded_policies is None and hasattr(gate, "running"):

        async def load() -> None:
            async with gate.running():
                pass

        # Its roles are in its database, so the database is asked.
        asyncio.run(load())
    if gate.loaded_policies is None:
        raise UsageError("This Limen has no policies.", "Give it some: Limen(…, policies=POLICIES).")
    protection = getattr(found, "limen_protection", None)
    routes = () if protection is None else tuple(_facts(leaf) for leaf in protection.leaves() if not leaf.is_own)
    declared = gate.declared_policies
    return Policed(gate.policies, gate.catalogue, routes, gate, len(getattr(declared, "tests", ())))


def _facts(listed: Any) -> "RouteFacts":
    from limen.authz.findings import RouteFacts

    requirement = listed.leaf.requirement
    loaded = frozenset(question.action for question in requirement.questions if question.load is not None)
    return RouteFacts(listed.name, requirement.permission_names, loaded)
