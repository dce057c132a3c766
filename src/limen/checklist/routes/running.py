"""Goes through the statements of a function as a request would that shows nothing, or nothing that was verified."""

import ast
import inspect
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Literal

from limen.checklist.routes.catching import Catching
from limen.checklist.routes.code import MISSING
from limen.checklist.routes.handing import Home
from limen.checklist.routes.questions import Test, is_of_rights
from limen.checklist.routes.states import Ended, Exit, Looped, State, Summary, join
from limen.checklist.routes.values import IDENTITY, Answer, Nested, Sign, is_tainted, joined
from limen.checklist.syntax import unparsed, walk

Role = Literal["dependency", "handler", "onward", "inner", "backend"]
"""Who is read: what a framework calls before the handler; the handler; what hands on to another; what these call;
what says to Starlette who is calling, or None."""

_REFUSED: Final = frozenset({401, 403})
_SAYS_NOTHING: Final = (
    *(ast.AnnAssign, ast.ClassDef, ast.Delete, ast.Global, ast.Import, ast.ImportFrom, ast.Nonlocal, ast.Pass),
    *([ast.TypeAlias] if hasattr(ast, "TypeAlias") else []),
)
"""Statements that neither ask nor refuse."""
_RIGHT: Final = re.compile(r"permission|forbidden|denied|scope|role", re.IGNORECASE)


class Run(Catching):
    """One run through one function."""

    def read(self, body: list[ast.stmt] | ast.expr, state: State) -> Summary:
        """Run through the body of a function or of a lambda, and return what it ends in."""
        if isinstance(body, ast.expr):
            body = [ast.copy_location(ast.Return(body), body)]
        after = self.block(body, state)
        if after is not None:
            self._leave(after, None)
        returned = [each for each in self.exits if each.kind == "return"]
        ends = [each for each in self.exits if each.kind != "return"]
        for each in ends:
            self._count(each)
        passes = [each.state for each in returned if not each.state.gone]
        if self.handed_on:
            # What was not handed on was answered here.
            passes = self.handed_on
        known = [each.state.is_known for each in returned]
        value = joined([each.value for each in returned], known) if returned else None
        skips = any(not each.state.gone and " tried" not in each.state.env for each in returned)
        return Summary(passes, ends, value, self.facts, bool(self.handed_on), self.partly, skips)

    def _count(self, left: Exit) -> None:
        if left.kind == "refused":
            if left.status:
                self.facts.statuses.add(left.status)
                self.facts.asks_right |= left.status == 403 and left.is_right
            else:
                self.facts.named.add(left.name)
                self.facts.asks_right |= bool(_RIGHT.search(left.name))

    def block(self, statements: Iterable[ast.stmt], state: State) -> State | None:
        """Run through statements; return the state behind them, or None where nobody gets there."""
        here: State | None = state
        choices: list[tuple[int, int, Test]] = []
        for statement in statements:
            if here is None:
                return None
            before = len(self.exits)
            if isinstance(
                statement, ast.If | ast.For | ast.AsyncFor | ast.While | ast.Match | ast.With | ast.AsyncWith
            ):
                asked = self._asked_in(statement, here)
            else:
                asked = Test(None)
            try:
                here = self._statement(statement, here)
            except Ended as ended:
                self.exits.append(ended.left)
                here = None
            choices.append((before, len(self.exits), asked))
            if here is None:
                self._check_those_before(choices)
                return None
        return here

    def _asked_in(self, statement: ast.stmt, state: State) -> Test:
        """Return what the conditions in a statement are about, all together."""
        tests = [each.test for each in walk([statement]) if isinstance(each, ast.If | ast.While | ast.IfExp)]
        tests += [each.iter for each in walk([statement]) if isinstance(each, ast.For | ast.AsyncFor)]
        tests += [each.subject for each in walk([statement]) if isinstance(each, ast.Match)]
        names = {each.id for each in walk(tests) if isinstance(each, ast.Name)}
        texts = [unparsed(each) for each in tests]
        tainted = any(is_tainted(state.env.get(name)) for name in names)
        return Test(None, frozenset(), tainted or any(IDENTITY.search(each) for each in texts), tainted)

    def _check_those_before(self, choices: list[tuple[int, int, Test]]) -> None:
        """Where all that is left is a refusal, those who have returned before it were asked."""
        for first, last, asked in choices[:-1]:
            rest = self.exits[last:]
            if rest and all(self.refuses(each, asked) for each in rest):
                for each in self.exits[first:last]:
                    if each.kind == "return" and each.state.vouched and not each.state.why:
                        each.state.checked = True

    def _statement(self, statement: ast.stmt, state: State) -> State | None:  # noqa: PLR0911 - a line for each kind
        match statement:
            case ast.Return():
                value = None if statement.value is None else self.eval(statement.value, state)
                self._leave(state, self.awaited(value, state) if self._is_awaited() else value)
                return None
            case ast.Raise():
                self.exits.append(self.raised(statement.exc, state))
                return None
            case ast.If():
                return self._if(statement.test, statement.body, statement.orelse, state)
            case ast.Try() | ast.TryStar():
                return self._try(statement, state)
            case ast.With() | ast.AsyncWith():
                return self._with(statement, state)
            case ast.For() | ast.AsyncFor() | ast.While():
                return self._loop(statement, state)
            case ast.Match():
                return self._match(statement, state)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                state.env[statement.name] = Nested(statement)
            case ast.Break():
                self.looped.broken.append(state)
                return None
            case ast.Continue():
                self.looped.continued.append(state)
                return None
            case ast.Assert():
                return self._if(statement.test, [], [_assertion(statement)], state)
            case _:
                self._simple(statement, state)
        return state

    def _simple(self, statement: ast.stmt, state: State) -> None:
        match statement:
            case ast.Assign():
                value = self.eval(statement.value, state)
                for target in statement.targets:
                    self.bind(target, value, state)
            case ast.AnnAssign() if statement.value is not None:
                self.bind(statement.target, self.eval(statement.value, state), state)
            case ast.AugAssign():
                self.bind(statement.target, self.eval(statement.value, state) and MISSING, state)
            case ast.Expr():
                self.eval(statement.value, state)
            case _ if not isinstance(statement, _SAYS_NOTHING):
                self.cannot_tell(statement, state)

    def left(self, state: State, value: Any) -> None:
        """Take a return, or a yield."""
        self._leave(state, value)

    def _leave(self, state: State, value: Any) -> None:
        """Take a return: of a response that refuses, it is a refusal wherever the framework looks at it."""
        if isinstance(value, Nested) and value.home is None:
            value = replace(value, home=Home(self.function, state.env))
        status = value.status if isinstance(value, Answer) else state.answered
        if self.role == "backend" and value is None:
            self.exits.append(Exit("refused", state, status=401, name="nobody"))
            return
        if status and self.role != "dependency" and not state.gone:
            if self.role == "inner" and not state.answered:
                self.exits.append(Exit("return", state, value))
                return
            self.exits.append(Exit("refused", state, status=status, name=str(status)))
            return
        self.exits.append(Exit("return", state, value))

    def _is_awaited(self) -> bool:
        """Tell whether the framework waits for what this function returns, as of a wrapper of what it waits for."""
        wrapped = inspect.unwrap(self.function)
        is_first = self.role != "inner" and wrapped is not self.function
        return is_first and inspect.iscoroutinefunction(wrapped) and not inspect.iscoroutinefunction(self.function)

    def _if(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], state: State) -> State | None:
        asked = self.truth(test, state)
        first = len(self.exits)
        after = self._if_asked(test, asked, body, orelse, state)
        if not is_of_rights(test, self.function):
            # A 403 for an account that is switched off, or for a token of somebody else's, asks nobody's rights.
            for each in self.exits[first:]:
                each.is_right = False
        return after

    def _if_asked(
        self, test: ast.expr, asked: Test, body: list[ast.stmt], orelse: list[ast.stmt], state: State
    ) -> State | None:
        if asked.value is None:
            return self._arms([(body, asked.yes), (orelse, asked.no)], state, asked)
        state.why |= asked.why
        state.asked |= asked.is_about_caller
        taken, other = (body, orelse) if asked.value else (orelse, body)
        before, first = state.copy(), len(self.exits)
        after = self.block(taken, state)
        left = self.exits[first:]
        is_fault = after is None and bool(left) and all(each.kind == "raised" for each in left)
        if is_fault and self._is_not_started(test, before):
            # What is there only once the server has started is not there yet: nobody is let in or refused by that.
            del self.exits[first:]
            return self.block(other, before)
        return after

    def _is_not_started(self, test: ast.expr, state: State) -> bool:
        """Tell whether a condition is about something outside this function that is None as long as nothing runs."""
        for each in ast.walk(test):
            if isinstance(each, ast.Name) and each.id not in state.env and self.known(each, state) is None:
                return True
            if isinstance(each, ast.Attribute) and self.known(each, state) is None:
                return True
        return False

    def _arms(self, arms: list[tuple[list[ast.stmt], bool]], state: State, asked: Test) -> State | None:
        """Run through arms of which one is taken, nobody knows which.

        Where one refuses, those others are checked in which only those are who are known.
        """
        outside, ended = self.exits, []
        for arm, is_known in arms:
            self.exits = []
            here = state.copy()
            here.sure = False
            here.vouched |= is_known
            here.why |= asked.why
            here.asked |= asked.is_about_caller
            ended.append((self.block(arm, here), self.exits))
        self.exits = outside
        refusing = [
            after is None and bool(left) and all(self.refuses(each, asked) for each in left) for after, left in ended
        ]
        if any(refusing):
            for (_, is_known), (after, left) in zip(arms, ended, strict=True):
                for each in (after, *(every.state for every in left)):
                    if each is not None and is_known:
                        each.checked = True
        for _, left in ended:
            outside.extend(left)
        return join(after for after, _ in ended)

    def refuses(self, left: Exit, asked: Test) -> bool:
        """Tell whether who goes on past a condition was asked, since the other arm is a refusal."""
        if left.kind != "refused" or asked.why:
            return False
        if left.status == 401 or not left.status:
            return asked.is_about_caller or left.status == 401
        if self.role == "handler" and not asked.is_tainted:
            return False  # what it says of an object, it says of no caller
        return asked.is_about_caller and (left.status in _REFUSED or (400 <= left.status < 500 and asked.is_tainted))

    def _loop(self, loop: ast.For | ast.AsyncFor | ast.While, state: State) -> State | None:
        asked = self._asked_in(loop, state)
        runs = self._runs(loop, state, asked)
        if runs is False:
            return self.block(loop.orelse, state)
        before, outside = state.copy(), self.looped
        before.vouched |= asked.no
        state.asked |= asked.is_about_caller
        state.sure &= runs is True
        state.vouched |= asked.yes
        self.looped, first = Looped(), len(self.exits)
        after = join([self.block(loop.body, state), *self.looped.continued])
        broken, self.looped = self.looped.broken, outside
        if isinstance(loop, ast.While) and runs:
            return join(broken)  # nobody leaves it otherwise
        before.checked |= asked.no and after is None and not broken and self._all_refuse(first, asked)
        # Of a loop that may have nothing to go through, nobody was asked in it.
        here = after if runs and after is not None else join([before, after])
        first = len(self.exits)
        here = None if here is None else self.block(loop.orelse, here)
        if here is None and self._all_refuse(first, asked):
            for each in broken:
                each.checked |= each.vouched and not each.why
        return join([here, *broken])

    def _runs(self, loop: ast.For | ast.AsyncFor | ast.While, state: State, asked: Test) -> bool | None:
        """Tell whether a loop is gone through at all; where a condition says so, take over what it asks."""
        if isinstance(loop, ast.While):
            test = self.truth(loop.test, state)
            asked.yes, asked.no, asked.why = test.yes, test.no, test.why
            return test.value
        listed = self.eval(loop.iter, state)
        self.bind(loop.target, _element(listed), state)
        if isinstance(listed, tuple | frozenset):
            return bool(listed)
        # What is empty now may be filled before the first request.
        return True if isinstance(listed, list | dict | set) and listed else None

    def _all_refuse(self, first: int, asked: Test) -> bool:
        left = self.exits[first:]
        return bool(left) and all(self.refuses(each, asked) for each in left)

    def _match(self, statement: ast.Match, state: State) -> State | None:
        value = self.eval(statement.subject, state)
        arms: list[tuple[list[ast.stmt], bool]] = []
        is_none_gone = False
        for each in statement.cases:
            guard = Test(None) if each.guard is None else self.truth(each.guard, state.copy())
            is_told = guard.yes or any(isinstance(part, ast.MatchValue) for part in ast.walk(each.pattern))
            is_none = isinstance(each.pattern, ast.MatchSingleton) and not each.pattern.value
            is_any = isinstance(each.pattern, ast.MatchAs) and each.pattern.pattern is None
            arms.append((each.body, is_told or (is_any and is_none_gone)))
            is_none_gone |= is_none and each.guard is None
        last = statement.cases[-1]
        if last.guard is not None or not isinstance(last.pattern, ast.MatchAs) or last.pattern.pattern is not None:
            arms.append(([], is_none_gone))
        return self._arms(arms, state, self.test_of(statement.subject, value))


def _assertion(statement: ast.Assert) -> ast.stmt:
    return ast.copy_location(ast.Raise(ast.Name("AssertionError", ast.Load())), statement)


def _element(value: Any) -> Any:
    return Sign.DERIVED if isinstance(value, Sign) and value is not Sign.PLACE else MISSING
