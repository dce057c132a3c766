"""Whether a piece of code lets in a request that shows nothing, or one that shows something nobody has verified.

Frameworks do not say which dependency is a guard. So its code is run through twice, as far as it can be followed: once
as for a request without any credential, once as for one with a credential that is made up. What refuses both is a
guard. What lets the first in is optional, what lets the second in verifies nothing, and where it cannot be told, that
is the answer: then the route is «unknown», never «guarded» and never «open».
"""

import ast
import functools
import inspect
import logging
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from limen.checklist.routes.code import MISSING, function_of, hints_of, lambda_of, node_of
from limen.checklist.routes.handing import Home, env_of_nested, rests_of
from limen.checklist.routes.libraries import is_closed_book
from limen.checklist.routes.places import Asked, Spot
from limen.checklist.routes.running import Role, Run
from limen.checklist.routes.states import Facts, State, Summary
from limen.checklist.routes.values import ONWARD, Carrier, Instance, Nested, Sign, is_flag, of_annotation
from limen.checklist.syntax import unparsed

_log = logging.getLogger(__name__)

DEEPEST: Final = 6
_MOST_FUNCTIONS: Final = 400
_REFUSALS: Final = frozenset({401, 403})

Parameters = Callable[[bool], dict[str, Any]]
"""What a framework hands to a function by name, for a request that shows something or nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a piece of code does with somebody who is not known.

    Attributes:
        is_firm: it refuses them.
        is_optional: it lets those in who show nothing.
        takes_only: it lets those in who show anything.
        doubtful: why it cannot be told, a few words each.
        statuses: those of its refusals.
        is_fresh: it asks a store; None where the code does not show it.
        returned: what it returns to whoever calls it, for a request that shows nothing.
        asks_right: it asks what somebody may do, and not only who they are.
        sees_credential: it looks at something by which it could tell who is calling.
        turns_away: it refuses some of those who show nothing, since they do not.
        handed: what it returns for a request that shows something.
        lets_in: somebody who shows nothing may go on from it.
        skips: it may answer without what stands behind it.
        reads: what it asks that other code has put into a session or a state, or in the place of the caller.
        writes: what it puts there although it does not know who is calling.
    """

    is_firm: bool = False
    is_optional: bool = False
    takes_only: bool = False
    doubtful: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    is_fresh: bool | None = None
    returned: Any = MISSING
    asks_right: bool = False
    sees_credential: bool = False
    turns_away: bool = False
    handed: Any = MISSING
    lets_in: bool = False
    skips: bool = False
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()

    @property
    def throttles(self) -> bool:
        """Tell whether it answers 429."""
        return 429 in self.statuses


class Reading:
    """One question: what becomes of a request of this kind.

    Attributes:
        kind: ``http`` or ``websocket``.
        shown: it shows a credential that nobody has verified.
        wrapped: the function that a wrapper stands around.
        is_middleware: what is read stands around an application.
        knows_who: a dependency has let them in before.
        was_asked: something depended on whether it shows one. Where nothing did, the other question has this answer.
        asked: the place of the route for which the code is read, and what was asked of it; None for any route.
    """

    deepest = DEEPEST

    def __init__(
        self,
        kind: str,
        *,
        shown: bool,
        wrapped: object = None,
        is_middleware: bool = False,
        asked: Asked | None = None,
    ) -> None:
        self.kind, self._shown, self.wrapped, self.is_middleware = kind, shown, wrapped, is_middleware
        self.asked = asked
        self.was_asked = False
        self.knows_who = False
        self._open: set[types.FunctionType] = set()
        self._count = 0

    @property
    def shown(self) -> bool:
        """Whether it shows a credential that nobody has verified."""
        self.was_asked = True
        return self._shown

    def first(self, function: types.FunctionType, owner: object, role: Role, env: dict[str, Any]) -> Summary:
        """Return what the function ends in that a framework calls."""
        self.knows_who = any(each is Sign.WHO for each in env.values())
        known = self._env(function, owner, [], env)
        return self._run(function, owner, role, known | {name: env[name] for name in env if name in known}, 0)

    def summary(
        self, function: types.FunctionType, owner: object, args: list[Any], named: dict[Any, Any], depth: int
    ) -> Summary:
        """Return what a call of a function ends in."""
        env = self._env(function, owner, args, named)
        if depth > DEEPEST or function in self._open or self._count > _MOST_FUNCTIONS:
            return _cut()
        about = (self.kind, self._shown, self.knows_who, id(self.wrapped), self.is_middleware, id(self.asked))
        key = (id(function), key_of(owner), about, tuple((name, key_of(value)) for name, value in env.items()))
        known = _known.get(key)
        if known is None or (known.summary.facts.is_cut and known.depth > depth):
            before, self.was_asked = self.was_asked, False
            summary = self._run(function, owner, "inner", env, depth)
            # What is known is kept alive with it: a freed object's id may be another's.
            known = _known[key] = _Known(summary, depth, self.was_asked, (function, owner, env, self.asked))
            self.was_asked = before
        self.was_asked = self.was_asked or known.was_asked
        return known.summary

    def nested(self, outer: Run, nested: Nested, args: list[Any], named: dict[Any, Any], state: State) -> Summary:
        """Return what a call of a function ends in that stands inside another."""
        home = nested.home or Home(outer.function, state.env)
        env = home.env | env_of_nested(nested, args, named)
        self._count += 1
        if self._count > _MOST_FUNCTIONS:
            return _cut()
        run = Run(self, home.function, "inner", outer.depth + 1)
        return run.read(nested.node.body, State(env))

    def made(self, function: types.FunctionType, maker: Summary) -> Summary:
        """Return what the function ends in that another returns, called with a request."""
        if not isinstance(maker.value, Nested) or not maker.passes:
            return _cut()
        run = Run(self, function, "onward", 1)
        names = [each.arg for each in maker.value.node.args.args]
        env = maker.passes[0].env | dict.fromkeys(names, _request())
        body = maker.value.node.body
        return run.read(body, State(env))

    def is_abstract(self, function: types.FunctionType) -> bool:
        """Tell whether another class has to say what a method does, or nobody can read it."""
        return _is_abstract(function)

    def _run(self, function: types.FunctionType, owner: object, role: Role, env: dict[str, Any], depth: int) -> Summary:
        node = node_of(function) or lambda_of(function)
        if node is None:
            return _cut()
        self._open.add(function)
        self._count += 1
        try:
            return Run(self, function, role, depth).read(node.body, State(env))
        finally:
            self._open.discard(function)

    def _env(
        self, function: types.FunctionType, owner: object, args: list[Any], named: dict[Any, Any]
    ) -> dict[str, Any]:
        code = function.__code__
        names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        hints = hints_of(function)
        env: dict[str, Any] = {name: of_annotation(hints.get(name, MISSING)) for name in names}
        defaults = dict(
            zip(code.co_varnames[: code.co_argcount][::-1], (function.__defaults__ or ())[::-1], strict=False)
        )
        for name, value in (defaults | (function.__kwdefaults__ or {})).items():
            if (is_flag(value) or value is None) and (env[name] is MISSING or value is not None):
                env[name] = value
        positional = names[: code.co_argcount]
        given = dict(zip(positional[1:] if owner is not None else positional, args, strict=False))
        given |= {name: value for name, value in named.items() if name in names}
        env |= {name: value for name, value in given.items() if value is not MISSING or name in defaults}
        env |= rests_of(code, [owner, *args] if owner is not None else args, named)
        if owner is not None and positional:
            env[positional[0]] = owner
        for name in names:
            if name == "call_next":
                env[name] = ONWARD
            elif name == "scope" and env[name] is MISSING:
                env[name] = Carrier("scope")
            elif name in {"request", "websocket", "conn", "connection"} and env[name] is MISSING:
                env[name] = _request()
        return env


@dataclass(frozen=True, slots=True)
class _Known:
    summary: Summary
    depth: int
    was_asked: bool
    kept: object


_known: dict[Any, _Known] = {}


def _cut() -> Summary:
    return Summary([State(sure=False)], [], MISSING, Facts(is_cut=True))


def _request() -> Instance:
    from starlette.requests import Request

    return Instance(Request)


def key_of(value: Any) -> Any:
    """Return by what a value is told apart from others: what it says, or else which object it is."""
    if isinstance(value, Sign | Instance | Carrier | Spot):
        return value
    return (type(value), value) if is_flag(value) or value is None else id(value)


@functools.lru_cache(maxsize=8192)
def _is_abstract(function: types.FunctionType) -> bool:
    node = node_of(function)
    if node is None:
        return lambda_of(function) is None
    for each in node.body:
        if isinstance(each, ast.Pass) or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)):
            continue
        return isinstance(each, ast.Raise) and "NotImplemented" in unparsed(each)
    return bool(getattr(function, "__isabstractmethod__", False)) or _is_protocol(function)


def _is_protocol(function: types.FunctionType) -> bool:
    return "." in function.__qualname__ and "<locals>" not in function.__qualname__


def verdict_of(
    call: object,
    role: Role,
    kind: str = "http",
    parameters: Parameters = lambda shown: {},
    *,
    wrapped: object = None,
    is_middleware: bool = False,
    is_route_class: bool = False,
    asked: Asked | None = None,
) -> Verdict:
    """Return what a function, a class, or an object with ``__call__`` does with somebody who is not known.

    Args:
        call: what the framework calls.
        role: as what.
        kind: ``http`` or ``websocket``.
        parameters: what it is handed.
        wrapped: the function that it hands on to.
        is_middleware: it stands around an application.
        is_route_class: it returns the function that is called for each request.
        asked: for which route, and what was asked of its place.
    """
    function = function_of(call)
    if function is None:
        return Verdict()
    if (node_of(function) or lambda_of(function)) is None:
        is_made = function.__code__.co_filename.startswith("<")  # by a library, as a dataclass' constructor is
        is_told = role == "dependency" and not is_made and not is_closed_book(function)
        return Verdict(doubtful=frozenset({"its code cannot be read"}) if is_told else frozenset())
    try:
        return _read(call, function, role, kind, parameters, (wrapped, is_middleware, is_route_class, asked))
    except Exception as error:  # whatever live objects do, and however deep code is nested: then it cannot be told
        _log.debug("code that cannot be read", exc_info=error, extra={"code": function.__qualname__})
        return Verdict(doubtful=frozenset({f"its code cannot be read ({type(error).__name__})"}))


def _read(
    call: object,
    function: types.FunctionType,
    role: Role,
    kind: str,
    parameters: Parameters,
    around: tuple[object, bool, bool, Asked | None],
) -> Verdict:
    wrapped, is_middleware, is_route_class, asked = around
    owner = owner_of(call)
    bound = _bound(call, function, owner)
    summaries: list[Summary] = []
    before: list[tuple[str, Any]] | None = None
    for shown in (False, True):
        handed = parameters(shown)
        told = [(name, key_of(value)) for name, value in handed.items()]
        if told == before:
            summaries.append(summaries[0])
            break
        reading = Reading(kind, shown=shown, wrapped=wrapped, is_middleware=is_middleware, asked=asked)
        summary = reading.first(function, owner, role, bound | handed)
        summaries.append(reading.made(function, summary) if is_route_class else summary)
        before = None if reading.was_asked else told
    return _verdict(summaries[0], summaries[1], role)


def owner_of(call: object) -> object:
    """Return what ``self`` is when something is called."""
    if isinstance(call, types.MethodType):
        return call.__self__
    if isinstance(call, functools.partial):
        return owner_of(call.func)
    is_wrapper = isinstance(getattr(call, "__wrapped__", None), types.FunctionType) and not inspect.isclass(call)
    if isinstance(call, types.FunctionType | types.BuiltinFunctionType) or is_wrapper:
        return None
    return call


def _may_refuse(summary: Summary) -> bool:
    told = [each for each in (*summary.ends, *summary.partly) if each.kind == "refused" and not each.state.gone]
    return any(each.status < 500 for each in told)


def _bound(call: object, function: types.FunctionType, owner: object) -> dict[str, Any]:
    """Return what a partial hands over, as far as that says something."""
    if not isinstance(call, functools.partial):
        return {}
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    given = dict(zip(names[owner is not None :], call.args, strict=False)) | dict(call.keywords)
    return {name: each for name, each in given.items() if each is None or is_flag(each)}


def _verdict(nothing: Summary, something: Summary, role: Role) -> Verdict:
    let_in = [each for each in nothing.passes if not each.checked]
    passed = [each for each in something.passes if not each.checked]
    facts = Facts()
    facts.add(nothing.facts)
    facts.add(something.facts)
    # Around a handler, what is never left but onward refuses nobody, whatever was caught on the way.
    is_left = role != "onward" or any(_may_refuse(each) for each in (nothing, something))
    refuses = is_left and bool(facts.statuses & _REFUSALS or facts.named)
    # Whoever shows nothing is turned away, with whatever status.
    turned_away = not let_in and any(each.kind == "refused" and each.state.asked for each in nothing.ends)
    is_firm = not let_in and not passed and (refuses or (turned_away and role != "handler"))
    doubtful = set(facts.doubtful)
    is_optional = takes_only = False
    if not is_firm and (refuses or turned_away):
        whys = frozenset().union(*(each.why for each in (*let_in, *passed)))
        if whys:
            doubtful |= {f"it depends on {each}" for each in whys}
        elif any(each.sure for each in let_in):
            is_optional = True
        elif turned_away and any(each.sure for each in passed):
            takes_only = True
        else:
            doubtful.add("not everybody is refused")
    fresh = True if facts.asks_store else False if facts.reads_token else None
    return Verdict(
        is_firm,
        is_optional,
        takes_only,
        frozenset(doubtful),
        frozenset(facts.statuses),
        fresh,
        nothing.value,
        facts.asks_right,
        facts.sees_credential,
        any(each.kind == "refused" and each.state.asked for each in (*nothing.ends, *nothing.partly)),
        something.value,
        bool(let_in),
        nothing.skips or something.skips,
        frozenset(facts.reads),
        frozenset(facts.writes),
    )


__all__ = ["Parameters", "Reading", "Verdict", "key_of", "owner_of", "verdict_of"]
