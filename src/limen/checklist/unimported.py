"""Finds modules of the application's own that its functions import when they are called: the usual way out of cycles.

They are found without being imported, as files, so that the rules about source text are asked of them as well.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from limen.checklist.syntax import walk

_INSIDE: Final = re.compile(rb"^[ \t]+(?:from|import)[ \t]", re.MULTILINE)
_LIBRARIES: Final = frozenset({"site-packages", "dist-packages"})
_MOST: Final = 2_000
"""How many files are found at most."""

Import = ast.Import | ast.ImportFrom


def with_unimported(files: Iterable[str], here: Path) -> tuple[str, ...]:
    """Return some files, and those that functions in them import; and what these import, in turn.

    Args:
        files: the files of the modules that were imported.
        here: the folder of the application; what lies elsewhere, or among installed libraries, is not looked for.
    """
    found = dict.fromkeys(files)
    imported = len(found)
    waiting = [(file, True) for file in found]
    for file, is_imported in waiting:
        for other in _named_in(Path(file), here, inside=is_imported):
            if str(other) not in found and len(found) < imported + _MOST:
                found[str(other)] = None
                waiting.append((str(other), False))
    return tuple(sorted(found))


def _named_in(file: Path, here: Path, *, inside: bool) -> Iterator[Path]:
    """Yield the files that a file imports; inside functions only, where all others were imported with it."""
    try:
        text = file.read_bytes()
        if inside and not _INSIDE.search(text):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, str(file))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    functions = [each for each in walk([tree]) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    for node in walk(functions if inside else [tree]):
        if isinstance(node, Import):
            for path in _paths(node, file, here):
                yield from _own(path, here)


def _paths(node: Import, file: Path, here: Path) -> Iterator[Path]:
    """Yield where the modules may lie that a statement names, without the ending."""
    if isinstance(node, ast.Import):
        names = [each.name for each in node.names]
        roots = _roots(file, here)
    else:
        # What is imported from a package may be a module of it, or a name in it.
        names = [".".join(filter(None, (node.module, each.name))) for each in node.names] + [node.module or ""]
        roots = [file.parents[node.level - 1]] if 0 < node.level <= len(file.parents) else _roots(file, here)
    # Of a.b.c, a and a.b are imported first.
    parts = [name.split(".") for name in names if name]
    for root in roots:
        yield from (root.joinpath(*each[:number]) for each in parts for number in range(1, len(each) + 1))


def _roots(file: Path, here: Path) -> list[Path]:
    top = file.parent
    while (top / "__init__.py").is_file() and top != top.parent:
        top = top.parent
    return list(dict.fromkeys((here, here / "src", top)))


def _own(path: Path, here: Path) -> Iterator[Path]:
    for each in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if each.is_file():
            file = each.resolve()
            if file.is_relative_to(here) and not _LIBRARIES & {*file.parts}:
                yield file
