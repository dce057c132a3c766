"""What is written on an endpoint: marks, and how they are read back.

Restrictions are followed through ``__wrapped__``, ``functools.partial``, methods, base classes and the ``__call__`` of
an object, so that a wrong order of decorators loses nothing. `public` counts only on the very object that was
registered: ``functools.wraps`` copies ``__dict__``, and classes inherit, so a mark that travelled would open a route
nobody opened. Limits are followed like restrictions, and restrict nobody: they may stand beside `public`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from limen.guard.layers import layers
from limen.guard.limits import RouteLimit
from limen.guard.requirements import Question, Requirement

MARK = "__limen__"


@dataclass(frozen=True, slots=True)
class Mark:
    """What was written on one object.

    Attributes:
        owner: the object it was written on; a copy of the mark elsewhere has another bearer.
        public: it was marked public.
        restriction: everything else that was stated, together; None for nothing.
        limits: how often it may be called.
    """

    owner: object
    public: bool = False
    restriction: Requirement | None = None
    limits: tuple[RouteLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """What an endpoint states.

    Attributes:
        public: it is public, and the mark is its own.
        restriction: what must hold; None where nothing is stated.
        stray_public: a `public` was found that does not count, because it belongs to something the endpoint wraps.
        contradiction: `public` stands beside a restriction.
        solved: the questions that dependencies of FastAPI's decide, each with the calls that lead to its dependency:
            where one of them is replaced, it is not decided.
        hidden: what stands where no framework reads it, one sentence each; a contradiction as well.
        limits: how often it may be called; that restricts nobody, so it may stand beside `public`.
    """

    public: bool = False
    restriction: Requirement | None = None
    stray_public: bool = False
    contradiction: bool = False
    solved: tuple[tuple[Question, frozenset[Any]], ...] = ()
    hidden: tuple[str, ...] = ()
    limits: tuple[RouteLimit, ...] = ()

    @property
    def unsolved(self) -> tuple[Question, ...]:
        """The questions about a resource that nothing decides."""
        solved = {question for question, _ in self.solved}
        loading = () if self.restriction is None else self.restriction.loading
        return tuple(question for question in loading if question not in solved)

    @property
    def is_stated(self) -> bool:
        """Tell whether anything at all is stated."""
        return self.public or self.restriction is not None

    def __and__(self, other: "Statement") -> "Statement":
        """Both are stated about the same leaf."""
        public = self.public or other.public
        restriction = joined(self.restriction, other.restriction)
        return Statement(
            public,
            restriction,
            self.stray_public or other.stray_public,
            self.contradiction or other.contradiction or (public and restriction is not None),
            self.solved + other.solved,
            tuple(dict.fromkeys(self.hidden + other.hidden)),
            tuple(dict.fromkeys(self.limits + other.limits)),
        )

    def required(self, otherwise: Requirement) -> Requirement:
        """Return what must hold, and how often it may be called.

        Args:
            otherwise: what must hold where nothing is stated of it.
        """
        return (self.restriction or otherwise).limited(self.limits)


NOTHING_STATED = Statement()


def joined(first: Requirement | None, second: Requirement | None) -> Requirement | None:
    """Return both requirements as one."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def write_mark(target: Any, requirement: Requirement) -> None:
    """Write a requirement on a function or class, beside what is already there."""
    present = own_mark(target) or Mark(target)
    if requirement.public:
        mark = replace(present, public=True)
    else:
        restriction, limits = requirement.split()
        owned = tuple(each.owned(target) for each in limits)
        mark = Mark(
            target,
            present.public,
            joined(present.restriction, restriction),
            tuple(dict.fromkeys(present.limits + owned)),
        )
    setattr(target, MARK, mark)


def own_mark(target: object) -> Mark | None:
    """Return the mark that was written on this very object."""
    mark = getattr(target, "__dict__", {}).get(MARK)
    return mark if isinstance(mark, Mark) and mark.owner is target else None


def read_marks(endpoint: object) -> Statement:
    """Return what is written on an endpoint, a function or a class."""
    restriction: Requirement | None = None
    limits: tuple[RouteLimit, ...] = ()
    public = stray = contradiction = False
    for layer in layers(endpoint):
        for bearer in layer.__mro__ if inspect.isclass(layer) else (layer,):
            mark = getattr(bearer, "__dict__", {}).get(MARK)
            if not isinstance(mark, Mark):
                continue
            restriction = joined(restriction, mark.restriction)
            limits = tuple(dict.fromkeys(limits + mark.limits))
            if mark.public and mark.owner is endpoint:
                public = True
            elif mark.public:
                stray = True
                contradiction = contradiction or mark.restriction is not None
    contradiction = contradiction or (public and restriction is not None)
    return Statement(public, restriction, stray, contradiction, limits=limits)


def read_method_marks(view: type, method: str) -> Statement:
    """Return what is written on the method of a class view that serves this HTTP method, as Starlette chooses it."""
    name = method.lower()
    if method == "HEAD" and not hasattr(view, "head"):
        name = "get"
    handler: Callable[..., Any] | None = getattr(view, name, None)
    if handler is None:
        return NOTHING_STATED
    stated = read_marks(handler)
    # The class was registered, not its method: a public method does not open the class.
    stray = stated.public or stated.stray_public
    return Statement(False, stated.restriction, stray, stated.contradiction, limits=stated.limits)
