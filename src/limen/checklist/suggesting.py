"""Which application somebody means, and what to do where it cannot be imported: read from files, nothing is run."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from limen.checklist.facts import Broken

_KIND: Final = re.compile(r"(?:FastAPI|Starlette)(?:Offline)?$")
"""How classes of applications end: those of the frameworks, and those that others make of them."""
_MAKES: Final = re.compile(
    r"^_*(?:create|make|build|get|init|setup|new)_\w*(?:app|application|api|server)$|^app_factory$"
)
"""How functions are called that make an application, where they come from another file."""
_CALLED: Final = frozenset({"app", "application", "api", "asgi", "asgi_app"})
_WORTH_READING: Final = re.compile(r"FastAPI|Starlette|^(?:app|application|api|asgi|asgi_app)\s*[:=]", re.MULTILINE)
_NAMES_SRC: Final = re.compile(r"^\s*(?:from|import) src\b", re.MULTILINE)
_USUAL: Final = ("main", "app", "asgi", "api", "server", "application", "__init__")
_NO_CODE: Final = frozenset(
    {"tests", "test", "docs", "examples", "migrations", "alembic", "node_modules", "venv", "env"}
)
_MOST_FILES: Final = 400
_MOST_BYTES: Final = 400_000
_ADVICE: Final = (
    (
        "routes cannot be read",
        "It is imported well: limen fails on it, and its maintainers would like to know of this line.",
    ),
    (
        "^ValidationError.* for .*(Settings|Config)",
        "Not all of its settings could be made up: set them for the check, such as in .env.",
    ),
    (
        "without a network|Connection",
        "It connects to something while it is imported. Done in its lifespan, that keeps nobody from importing it.",
    ),
    ("longer than", "What takes so long is done at import. --timeout SECONDS gives it more."),
    (
        "has no route",
        "Where a function adds the routes, name it: limen check MODULE:create_app. What a lifespan adds is not seen.",
    ),
    (
        "^TypeError.* argument",
        "A function that makes an application is called without arguments: name one that needs none.",
    ),
)
_MISSING: Final = re.compile(r"No module named '([^']+)'")


class NoModule(ValueError):
    """What was written names no module; the text says what to do."""


def spelled(target: str, folder: Path) -> str:
    """Return ``MODULE:NAME`` for what somebody wrote: a path of a file is as good, and so is a module alone.

    Args:
        target: ``app/main.py:application`` is ``app.main:application``; without a name, the file's only application.
        folder: where the command was called.

    Raises:
        NoModule: it names none that can be imported from there.
    """
    module, colon, name = target.partition(":")
    if module.endswith(".py") or "/" in module:
        module = _module_of(Path(module.removesuffix(".py")), folder)
    if not all(part.isidentifier() for part in module.split(".")):
        raise NoModule("Write MODULE:NAME, such as app.main:app.")
    if colon:
        return f"{module}:{name}"
    names = [each for each, _ in _in_module(module, folder)]
    return f"{module}:{names[0] if len(names) == 1 else 'app'}"


def _module_of(path: Path, folder: Path) -> str:
    """Return the module that a file is below a folder."""
    if path.is_absolute() and path.is_relative_to(folder):
        path = path.relative_to(folder)
    parts = [each for each in path.parts if each != "."]
    if path.is_absolute() or ".." in parts:
        raise NoModule(f"It is imported from its own folder: cd {path.parent} && limen check {path.name}.py")
    file = folder.joinpath(*parts).with_suffix(".py")
    if file.is_file():
        return ".".join(_imported_by(file, folder))
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def applications_in(folder: Path) -> tuple[str, ...]:
    """Return the applications that the files of a folder make, as ``MODULE:NAME``, the likeliest first.

    Functions that make an application are returned where there is no other.

    Args:
        folder: it and three folders below it are looked through; folders of tests, libraries and documents are not.
    """
    found: list[tuple[tuple[bool, int, int, str], str]] = []
    for path in _files_of(folder):
        made = applications_of(path)
        parts = _imported_by(path, folder) if made else []
        if not all(each.isidentifier() for each in parts):
            continue
        rank = _USUAL.index(path.stem) if path.stem in _USUAL else len(_USUAL)
        for name, is_factory in made:
            found.append(((is_factory, len(parts), rank, name), f"{'.'.join(parts)}:{name}"))
    objects = [each for each in found if not each[0][0]]
    return tuple(dict.fromkeys(target for _, target in sorted(objects or found)))


def _imported_by(path: Path, folder: Path) -> list[str]:
    """Return the parts of the name of a module; what lies in ``src`` goes without it, unless its code says so."""
    parts = list(path.relative_to(folder).with_suffix("").parts)
    is_layout = parts[0] == "src" and len(parts) > 1 and not (folder / "src" / "__init__.py").exists()
    if is_layout and not _NAMES_SRC.search(path.read_text(encoding="utf-8", errors="replace")):
        parts = parts[1:]
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def applications_of(file: Path) -> tuple[tuple[str, bool], ...]:
    """Return the names at the top of a file that are applications, or functions that make one, which is told beside."""
    try:
        text = file.read_text(encoding="utf-8")
        if not _WORTH_READING.search(text):
            return ()
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError):
        return ()
    makes = _Makes(tree)
    made: dict[str, bool] = {}
    for node in _top(tree.body):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            names = [each.id for each in _targets(node) if isinstance(each, ast.Name)]
            # app = create_app(), of a function above or of another file; app = server.app
            is_made = isinstance(node.value, ast.Call) and made.get(_name(node.value.func))
            is_likely = bool(_CALLED.intersection(names)) and makes.is_likely(node.value)
            if makes.makes(node.value) or is_made or is_likely:
                made |= dict.fromkeys(names, False)
        elif isinstance(node, ast.FunctionDef) and makes.is_factory(node):
            made[node.name] = True
    return tuple(made.items())


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _top(body: "list[ast.stmt]") -> Iterator[ast.stmt]:
    """Yield the statements of a module, also those under a condition or in a try."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody") if isinstance(node, ast.If | ast.Try | ast.With) else ():
            yield from _top(getattr(node, name, []))


def _name(expression: ast.expr) -> str:
    return expression.attr if isinstance(expression, ast.Attribute) else getattr(expression, "id", "")


class _Makes:
    """What makes an application in one file: the frameworks' classes under their names there, and classes of its own.

    Args:
        tree: of the file.
    """

    def __init__(self, tree: ast.Module) -> None:
        nodes = list(_top(tree.body))
        self._kinds = {
            alias.asname
            for node in nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.asname and _KIND.search(alias.name)
        }
        for node in nodes:
            if isinstance(node, ast.ClassDef) and any(self._is_kind(_name(each)) for each in node.bases):
                self._kinds.add(node.name)
        self._imported = {
            alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        self._has_framework = bool(self._kinds or any(_KIND.search(each) for each in self._imported))

    def _is_kind(self, name: str) -> bool:
        return name in self._kinds or _KIND.search(name) is not None

    def makes(self, value: ast.expr | None) -> bool:
        """Tell whether an expression makes an application, maybe with something around it."""
        if not isinstance(value, ast.Call):
            return False
        return any(self._is_kind(_name(node.func)) for node in ast.walk(value) if isinstance(node, ast.Call))

    def is_likely(self, value: ast.expr | None) -> bool:
        """Tell whether something that is called ``app`` comes from what seems to make one, or to hold one."""
        if isinstance(value, ast.Call):
            return _MAKES.search(_name(value.func)) is not None
        return isinstance(value, ast.Attribute) and value.attr in _CALLED and self._has_framework

    def is_factory(self, function: ast.FunctionDef) -> bool:
        """Tell whether a function needs no argument and makes an application."""
        given = function.args
        if len(given.posonlyargs) + len(given.args) > len(given.defaults) or None in given.kw_defaults:
            return False
        returned = ast.unparse(function.returns).strip("'\"").rsplit(".", 1)[-1] if function.returns else ""
        made = any(isinstance(node, ast.Call) and self.makes(node) for node in ast.walk(function))
        returns = any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(function))
        return returns and (self._is_kind(returned) or made)


def advice(target: str, broken: Broken, folder: Path) -> str:
    """Return what to do about an application that cannot be looked at, in one or two sentences.

    Args:
        target: as it was named.
        broken: why it cannot.
        folder: where the command was called.
    """
    module = target.partition(":")[0]
    missing = _MISSING.search(broken.reason) if broken.reason.startswith("ModuleNotFoundError") else None
    if missing is not None:
        return _of_missing(missing[1], module, target, folder)
    if broken.reason.startswith("NotFound:") or "not a FastAPI or Starlette application" in broken.reason:
        return _instead([f"{module}:{name}" for name, _ in _in_module(module, folder)] or applications_in(folder))
    known = next((told for words, told in _ADVICE if re.search(words, broken.reason)), None)
    return known or f"Whatever keeps it from being imported: python -c 'import {module}' says the same."


def _of_missing(name: str, module: str, target: str, folder: Path) -> str:
    """Tell a wrong folder from a wrong environment."""
    root = name.partition(".")[0]
    if name == module or module.startswith(f"{name}."):
        inner = _folder_of(root, folder)
        if inner:
            return f"It lies in {inner}: cd {inner} && limen check {target}"
        others = [each for each in applications_in(folder) if each != target]
        return _instead(others) if others else "Call it in the folder that the application is imported from."
    inner = _folder_of(root, folder)
    if inner and target.startswith(f"{inner.replace('/', '.')}."):
        rest = target.removeprefix(f"{inner.replace('/', '.')}.")
        return f"It is imported from {inner}: cd {inner} && limen check {rest}"
    if root == folder.name:
        return f"The application is imported from one folder above: cd .. && limen check {root}.{target}"
    return (
        f"{sys.executable} has no {root}. Install limen beside the application's dependencies, and call it there: "
        "python -m pip install limen"
    )


def _folder_of(root: str, folder: Path) -> str:
    """Return the folder, one or two below, that a package or module lies in; empty where none has it."""
    found = [*folder.glob(f"*/{root}/"), *folder.glob(f"*/{root}.py"), *folder.glob(f"*/*/{root}/")]
    inside = [each.parent.relative_to(folder) for each in found]
    return next((each.as_posix() for each in inside if all(_may_have_code(folder / part) for part in each.parts)), "")


def _instead(candidates: "list[str] | tuple[str, ...]") -> str:
    if not candidates:
        return "Write MODULE:NAME, such as app.main:app; a function that makes the application will do."
    listed = ", ".join(f"limen check {each}" for each in candidates[:3])
    return f"Here it may be: {listed}"


def _in_module(module: str, folder: Path) -> tuple[tuple[str, bool], ...]:
    paths = [root.joinpath(*module.split(".")) for root in (folder, folder / "src")]
    files = [each for path in paths for each in (path.with_suffix(".py"), path / "__init__.py")]
    return next((applications_of(each) for each in files if each.is_file()), ())


def _files_of(folder: Path, depth: int = 3) -> Iterator[Path]:
    """Yield the Python files of a folder and those below, the near ones first, and not without end."""
    waiting = [(folder, 0)]
    count = 0
    while waiting:
        here, level = waiting.pop(0)
        try:
            listed = sorted(here.iterdir())
        except OSError:
            continue
        for each in listed:
            if each.suffix == ".py" and each.is_file() and each.stat().st_size < _MOST_BYTES:
                count += 1
                if count > _MOST_FILES:
                    return
                yield each
            elif level < depth and each.is_dir() and _may_have_code(each):
                waiting.append((each, level + 1))


def _may_have_code(folder: Path) -> bool:
    name = folder.name
    if name.startswith((".", "_")) or name in _NO_CODE or name.endswith(".egg-info"):
        return False
    return not (folder / "pyvenv.cfg").exists()
