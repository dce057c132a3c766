"""SQL that is put together from text."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding, Severity
from limen.checklist.source.fixed import NAMES, is_fixed, is_handed
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, keyword, last_name
from limen.checklist.source.statements import HOLE, Statement, read_statement

_RUNS: Final = frozenset(
    {"execute", "executemany", "executescript", "exec_driver_sql", "raw", "scalar", "scalars", "fetch", "fetchrow"}
    | {"fetchval", "fetch_all", "fetch_one", "fetch_val", "fetchall", "fetchone", "iterate", "prepare", "cursor"}
    | {"read_sql", "read_sql_query", "query", "text", "sql", "run", "run_sql", "run_query", "stream", "stream_scalars"}
    | {"execute_sql", "execute_query", "execute_fetchall", "execute_insert", "from_statement", "copy_from_query"}
    | {"SQL", "RawSQL", "DDL", "literal_column", "exec", "mogrify", "copy_expert"}
)
# Other things are asked and told so, too: there only what no prose looks like counts.
_VAGUE: Final = frozenset(
    {"query", "text", "sql", "run", "raw", "stream", "fetch", "exec", "prepare", "iterate", "cursor"}
)
_LIBRARIES: Final = frozenset(
    {
        "sqlalchemy",
        "sqlmodel",
        "sqlite3",
        "aiosqlite",
        "asyncpg",
        "psycopg",
        "psycopg2",
        "databases",
        "duckdb",
        "pymysql",
    }
    | {"MySQLdb", "aiomysql", "asyncmy", "mysql", "oracledb", "pyodbc", "clickhouse_connect", "snowflake", "tortoise"}
)
_NARROWS: Final = frozenset({"where", "filter", "order_by", "having", "group_by", "select_from"})
_STATEMENTS: Final = ("query", "statement", "sql", "operation", "stmt", "q")
_TEXTS: Final = re.compile(
    r"^(sqlalchemy|sqlmodel|sa)\.(\w+\.)*(text|literal_column|DDL)$|^(psycopg|psycopg2)\.(\w+\.)*SQL$"
)
_START: Final = r"^(\s|--[^\n]*\n|/\*.*?\*/|\()*"
_SQL: Final = re.compile(
    _START + r"(select\b.+\bfrom\b|select\s+\w+\s*\(|insert\s+(or\s+\w+\s+)?into\b|replace\s+into\b|update\b.+\bset\b"
    r"|delete\s+from\b|merge\s+into\b|with\b.+\bselect\b|alter\s+(table|role|user|database|schema|system)\b|grant\b.+\bto\b"
    r"|(drop|create)\s+(or\s+replace\s+|temp\w*\s+|unique\s+|virtual\s+)*(table|index|user|database|schema|role|view)\b"
    r"|truncate\b|revoke\b.+\bfrom\b|pragma\s+\w|call\s+\w+\s*\(|exec(ute)?\s+\w+|explain\s+\w|set\s+(local\s+|session\s+)?"
    r"[\w.]+\s*(=|to)\s|copy\b.+\b(from|to)\b|attach\s+database\b|listen\s|notify\s)",
    re.IGNORECASE | re.DOTALL,
)
_DEFINES: Final = re.compile(_START + r"(create|alter|drop|truncate)\b", re.IGNORECASE)
_SETS: Final = re.compile(_START + r"set\s+(local|session|global)\b", re.IGNORECASE)
_COUNTS: Final = re.compile(
    r"(^|_)(id|ids|ms|seconds|secs|minutes|hours|days|count|timeout|size|bytes|timestamp|index)$"
)
_NAMED: Final = re.compile(r"(^|_)(table|column|col|schema|index|constraint|field)s?(_?names?|_type)?$", re.IGNORECASE)
_VALUE: Final = re.compile(
    r"([=<>~(,%]|\b(like|ilike|in|is|not|between|and|limit|offset|values|then|else|call|select))\s*[\"']?$|'[^']*$",
    re.IGNORECASE,
)


def sql_from_text(module: Module) -> Iterator[Finding]:
    """Find statements whose text has values in it (LC101)."""
    told: set[ast.expr] = set()
    for call in module.all(ast.Call):
        if called_name(call) not in _RUNS and not _TEXTS.match(module.name_of(call.func)):
            continue
        expression = call.args[0] if call.args else keyword(call, *_STATEMENTS)
        if expression is None or isinstance(expression, ast.Constant | ast.Starred):
            continue
        statement = read_statement(module, expression)
        if not _is_sql(module, call, statement):
            continue
        values = {each: is_name for each, is_name in open_values(module, statement) if each not in told}
        if not values:
            continue
        told.update(values)
        first = min(values, key=lambda each: values[each])
        what = f"the statement that {called_name(call)}() runs has {_written(first)} in its text"
        if values[first]:
            what += " as a name, which is no parameter: quote it as the dialect does"
        yield found_at(rules.SQL_TEXT, module, call, what, severity=Severity.LOW if values[first] else None)


def _is_sql(module: Module, call: ast.Call, statement: Statement) -> bool:
    if _TEXTS.match(module.name_of(call.func)):
        return any(each.isalpha() for each in statement.text)
    name, text = called_name(call), statement.text.replace(HOLE, "x")
    outer = module.parent(call)
    if name == "text" and isinstance(outer, ast.Call) and called_name(outer) in _NARROWS:
        return bool(statement.text.strip(HOLE + " "))
    if name in _VAGUE and not module.imports(*_LIBRARIES):
        found = _SQL.search(text)
        return found is not None and found[0].split(maxsplit=1)[0].lstrip("(").isupper()
    return bool(_SQL.search(text) or (name not in _VAGUE and re.match(r"\s*select\s+x", text, re.IGNORECASE)))


def open_values(module: Module, statement: Statement) -> Iterator[tuple[ast.expr, bool]]:
    """Yield what is put into a statement and is not fixed by the source text, and whether it is only a name there.

    A value behind an operator counts wherever it comes from. A name or a clause counts only where the function was
    handed it: what other functions of the application make of their own tables is no value of a caller.
    """
    is_definition = bool(_DEFINES.match(statement.text))
    is_setting = bool(_SETS.match(statement.text))  # which takes no parameters at all
    for index, each in enumerate(statement.values):
        before = statement.before(index)
        if is_fixed(module, each, before):
            continue
        # Names of tables are handed to helpers by code, and to handlers by whoever calls.
        is_named = bool(_NAMED.search(last_name(each))) and not before.endswith(("'", "%"))
        is_name = is_named or is_definition or bool(NAMES.search(before))
        is_value = (
            bool(_VALUE.search(before)) and not is_name and not is_setting and not _COUNTS.search(last_name(each))
        )
        if is_value or is_handed(module, each, by_route=is_definition):
            yield each, is_name and not is_handed(module, each, by_route=True)


def _written(value: ast.expr) -> str:
    text = " ".join(ast.unparse(value).split())
    return text if len(text) <= 40 else text[:39] + "…"
