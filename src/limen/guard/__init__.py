"""Requirements as plain values, and the one function that holds a principal against them. It knows no HTTP."""

from limen.guard.decisions import decide
from limen.guard.requirements import AUTHENTICATED, PUBLIC, Requirement

__all__ = ["AUTHENTICATED", "PUBLIC", "Requirement", "decide"]
