"""What is kept while one function is run through, and the steps that are written in several files."""

import abc
import ast
import types
from typing import Any

from limen.checklist.routes.questions import Test
from limen.checklist.routes.states import Exit, Facts, Looped, State


class Steps(abc.ABC):
    """One function that is run through, for one kind of request.

    Its steps stand in several classes, from conditions to statements; `limen.checklist.routes.running` is the whole.

    Attributes:
        exits: how the function is left, as far as it was read.
        facts: what was seen.
        handed_on: the states in which the request was handed on to what stands behind.
        caught: what an ``except`` has caught, the innermost last.
        partly: refusals in what is called, of which nobody knows whether they are met.
    """

    def __init__(self, reading: Any, function: types.FunctionType, role: str, depth: int) -> None:
        self.reading, self.function, self.role, self.depth = reading, function, role, depth
        self.exits: list[Exit] = []
        self.facts = Facts()
        self.handed_on: list[State] = []
        self.caught: list[list[Exit]] = []
        self.partly: list[Exit] = []
        self.looped = Looped()

    @abc.abstractmethod
    def block(self, statements: list[ast.stmt], state: State) -> State | None:
        """Run through statements."""

    @abc.abstractmethod
    def call(self, node: ast.Call, state: State) -> Any:
        """Return what a call returns."""

    @abc.abstractmethod
    def awaited(self, value: Any, state: State) -> Any:
        """Run through what somebody waits for."""

    @abc.abstractmethod
    def left(self, state: State, value: Any) -> None:
        """Take a return, or a yield."""

    @abc.abstractmethod
    def refuses(self, left: Exit, asked: Test) -> bool:
        """Tell whether who goes on past a condition was asked."""

    @abc.abstractmethod
    def eval(self, node: ast.expr, state: State) -> Any:
        """Return what an expression stands for, and run through the calls in it.

        Raises:
            Ended: it never has a value.
        """

    @abc.abstractmethod
    def written(self, base: Any, key: Any, state: State) -> Any:
        """Return what the code itself has put under a name of a session or a state; None where it has not."""
