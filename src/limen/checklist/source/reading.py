"""Asks all rules about source text of the files of an application."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from limen.checklist.findings import Finding
from limen.checklist.source.databases import ids_from_body, sql_from_text
from limen.checklist.source.guards import order_of_decorators, swallowed_checks
from limen.checklist.source.module import Module
from limen.checklist.source.secrets import (
    compared_secrets,
    fast_hashes,
    logged_secrets,
    predictable_secrets,
    secrets_in_code,
)
from limen.checklist.source.transport import cookies_without_flags, unverified_certificates, unverified_tokens

Question = Callable[[Module], Iterator[Finding]]

QUESTIONS: Final[tuple[Question, ...]] = (
    sql_from_text,
    fast_hashes,
    predictable_secrets,
    unverified_certificates,
    unverified_tokens,
    secrets_in_code,
    logged_secrets,
    swallowed_checks,
    order_of_decorators,
    compared_secrets,
    ids_from_body,
    cookies_without_flags,
)


def read_files(files: Iterable[str]) -> Iterator[tuple[Module, list[Finding]]]:
    """Yield each file that can be read, with what was found in it; tests and migrations are not asked."""
    for file in files:
        path = Path(file)
        if path.name.startswith("test_") or path.name == "conftest.py" or {"tests", "versions"} & set(path.parts):
            continue
        module = Module.read(file)
        if module is not None:
            yield module, [found for question in QUESTIONS for found in question(module)]
