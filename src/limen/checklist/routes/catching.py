"""Goes through ``try`` and ``with`` as a request would: what is raised inside, and who catches it."""

import ast
import inspect
from typing import Any

from starlette.exceptions import HTTPException

from limen.checklist.routes.calling import Calling
from limen.checklist.routes.code import MISSING, swallows
from limen.checklist.routes.failing import Fails, fails
from limen.checklist.routes.questions import Test, is_of_rights
from limen.checklist.routes.states import Exit, State, join
from limen.checklist.routes.values import IDENTITY, Instance, is_tainted
from limen.checklist.syntax import unparsed, walk


class Catching(Calling):
    """The blocks of one function of which something catches what is raised."""

    def _with(self, statement: ast.With | ast.AsyncWith, state: State) -> State | None:
        caught: list[ast.expr] = []
        for item in statement.items:
            value = self.eval(item.context_expr, state)
            call = item.context_expr
            if swallows(self.known(call.func, state)) if isinstance(call, ast.Call) else False:
                caught = [ast.Name("BaseException", ast.Load())]
            if isinstance(call, ast.Call) and unparsed(call.func).rsplit(".", 1)[-1] == "suppress":
                caught = call.args
            if item.optional_vars is not None:
                self.bind(item.optional_vars, value, state)
        if not caught:
            return self.block(statement.body, state)
        handler = ast.ExceptHandler(ast.Tuple(caught, ast.Load()), None, [ast.Pass()])
        return self._guarded(statement.body, [handler], [], state)

    def _try(self, statement: ast.Try | ast.TryStar, state: State) -> State | None:
        after = self._guarded(statement.body, statement.handlers, statement.orelse, state)
        if not statement.finalbody:
            return after
        if after is None:
            self.block(statement.finalbody, state.copy())
            return None
        return self.block(statement.finalbody, after)

    def _guarded(
        self, body: list[ast.stmt], handlers: list[ast.ExceptHandler], orelse: list[ast.stmt], state: State
    ) -> State | None:
        before, outside = state.copy(), self.exits
        self.exits, partly = [], len(self.partly)
        after = self.block(body, state)
        inside, self.exits = self.exits, outside
        within = self.partly[partly:]
        self.partly[partly:] = [
            each for each in self.partly[partly:] if not any(self._catches(handler, each) for handler in handlers)
        ]
        is_call = any(isinstance(each, ast.Call | ast.Subscript) for each in _without_raising(body))
        how = fails(body, self.function, before.env) if is_call and handlers else Fails.NEVER
        is_about_caller = bool(IDENTITY.search(" ".join(unparsed(each) for each in body)))
        is_about_caller |= _names_tainted(body, before)
        kept, states = list(inside), [after]
        asked = Test(None, is_about_caller=is_about_caller)
        is_refused = False
        for handler in handlers:
            caught = [each for each in kept if each.kind != "return" and self._catches(handler, each)]
            kept = [each for each in kept if each not in caught]
            if not caught and how is Fails.NEVER:
                continue
            here = join([each.state for each in caught]) if caught else before.copy()
            if here is None:
                continue
            if not caught or after is not None or any(each.kind == "return" for each in inside):
                here.sure = False
            if self.handed_on:
                here.env[" tried"] = True
            here.asked |= is_about_caller
            ended, left = self._handler(handler, caught, here)
            is_right = any(one.status == 403 and one.is_right for one in caught)
            if not is_right and not is_of_rights(handler.type, self.function):
                # A 403 for a token that cannot be read asks nobody's rights.
                for one in left:
                    one.is_right = False
            states.append(ended)
            outside.extend(left)
            asks_nobody = self._asks_nobody([*caught, *within], handler, before, body)
            refuses = (
                not asks_nobody and ended is None and bool(left) and all(self.refuses(each, asked) for each in left)
            )
            if refuses and not caught and how is Fails.PERHAPS:
                self._looked_up([after, *(each.state for each in inside if each.kind == "return")])
            else:
                is_refused |= refuses
        if is_refused:
            for each in (after, *(left.state for left in kept if left.kind == "return")):
                if each is not None:
                    each.checked = True
        outside.extend(kept)
        states[0] = self.block(orelse, after) if after is not None and orelse else after
        return join(states)

    def _looked_up(self, states: list[State | None]) -> None:
        """Take that whoever is not found may go on, unless what looks them up raises then: nobody can tell."""
        self.facts.doubtful.add("not everybody is refused")
        for each in states:
            if each is not None:
                each.sure = False

    def _asks_nobody(self, turned: list[Exit], handler: ast.ExceptHandler, before: State, body: list[ast.stmt]) -> bool:
        """Tell whether a WebSocket is closed for what is not there, or is of a wrong kind, whoever is calling."""
        if self.reading.kind != "websocket" or _names_tainted(body, before):
            return False
        known = [each for each in turned if each.kind == "refused" and self._catches(handler, each)]
        return all(each.status not in {0, 401, 403} for each in known)

    def _handler(self, handler: ast.ExceptHandler, caught: list[Exit], state: State) -> tuple[State | None, list[Exit]]:
        outside, self.exits = self.exits, []
        kind = MISSING if handler.type is None else self.known(handler.type, state)
        if handler.name:
            state.env[handler.name] = Instance(kind) if inspect.isclass(kind) else MISSING
        self.caught.append(caught)
        ended = self.block(handler.body, state)
        self.caught.pop()
        left, self.exits = self.exits, outside
        return ended, left

    def known(self, node: ast.expr, state: State) -> Any:
        """Return what a name of a class stands for."""
        return self.eval(node, state) if isinstance(node, ast.Name | ast.Attribute) else MISSING

    def _catches(self, handler: ast.ExceptHandler, left: Exit) -> bool:
        if handler.type is None:
            return True
        types_ = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        raised = left.exception or (HTTPException if left.status else Exception)
        for each in types_:
            kind = self.known(each, left.state)
            kinds = kind if isinstance(kind, tuple) else (kind,)
            for one in kinds:
                if inspect.isclass(one) and issubclass(raised, one):
                    return True
        return False


def _names_tainted(body: list[ast.stmt], before: State) -> bool:
    names = [each.id for part in body for each in ast.walk(part) if isinstance(each, ast.Name)]
    return any(is_tainted(before.env.get(each)) for each in names)


def _without_raising(body: list[ast.stmt]) -> list[ast.AST]:
    """Return what is in some statements, without what is made only to be raised."""
    raised = {id(inner) for each in walk(body) if isinstance(each, ast.Raise) for inner in walk([each])}
    return [each for each in walk(body) if id(each) not in raised]
