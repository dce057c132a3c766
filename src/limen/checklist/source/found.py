"""Makes a finding at a node of a file."""

import ast
import hashlib
from collections.abc import Iterator

from limen.checklist import catalogue as rules
from limen.checklist.facts import Place
from limen.checklist.findings import Finding, Rule, Severity
from limen.checklist.source.module import Module
from limen.checklist.source.scopes import FunctionNode


def found_at(
    rule: Rule, module: Module, node: ast.AST, what: str, subject: str = "", severity: Severity | None = None
) -> Finding:
    """Return a finding; it is about the function around the node, the subject and the code, so that lines may move."""
    named = f"{_qualified(module, node)}:{subject}:{_digest(rule, node)}"
    return Finding(rule, severity or rule.severity, what, Place(module.file, getattr(node, "lineno", 0)), subject=named)


def _qualified(module: Module, node: ast.AST) -> str:
    """Return the names of the functions and classes around a node: ``Orders.get`` is not ``Bills.get``."""
    around = [each.name for each in module.above(node) if isinstance(each, FunctionNode | ast.ClassDef)]
    return ".".join(reversed(around))


def _digest(rule: Rule, node: ast.AST) -> str:
    """Return a short hash of what is written at a node: of statements with a block, their head.

    It goes by the tree, so that neither its format nor the version of Python changes it. Texts are part of it where the
    rule is about them: elsewhere they may be secrets, and short ones are found again from a hash.
    """
    told = "\0".join(_parts(node, with_texts=rule is rules.SQL_TEXT, is_root=True))
    return hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:8]


def _parts(node: ast.AST, *, with_texts: bool, is_root: bool = False) -> Iterator[str]:
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.Constant):
            if name == "value" and (with_texts or not isinstance(value, str | bytes | int | float)):
                yield repr(value)
            continue
        if is_root and isinstance(value, list) and isinstance(node, ast.stmt | ast.ExceptHandler) and _is_block(value):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.expr_context | ast.type_ignore):
                continue
            if isinstance(each, ast.AST):
                yield from _parts(each, with_texts=with_texts)
            elif isinstance(each, str):
                yield each


def _is_block(value: list[object]) -> bool:
    return bool(value) and isinstance(value[0], ast.stmt | ast.ExceptHandler)
