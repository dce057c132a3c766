"""Makes a finding at a node of a file."""

import ast

from limen.checklist.facts import Place
from limen.checklist.findings import Finding, Rule, Severity
from limen.checklist.source.module import Module


def found_at(
    rule: Rule, module: Module, node: ast.AST, what: str, subject: str = "", severity: Severity | None = None
) -> Finding:
    """Return a finding; it is about the function around the node and the subject, so that lines may move."""
    around = module.function_around(node)
    named = f"{around.name if around is not None else ''}:{subject}"
    return Finding(rule, severity or rule.severity, what, Place(module.file, getattr(node, "lineno", 0)), subject=named)
