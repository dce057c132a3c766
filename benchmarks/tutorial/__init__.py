"""Writes an application of 1 000 routes as FastAPI's tutorial has them: a file, a model and five routes a thing.

Who is calling is one dependency that reads a token; it depends on nothing but FastAPI and PyJWT. What the files say
stands in `texts`, with ``@number@`` for the number of a thing.
"""

from pathlib import Path
from typing import Final

THINGS: Final = 200
"""How many things the whole application has."""


def write_tutorial(folder: Path, things: int = THINGS) -> int:
    """Write the application ``tutorial.main:app`` into a folder.

    Args:
        folder: where it goes; it is the current folder of who checks it.
        things: how many files of five routes.

    Returns:
        the number of files with code in them.
    """
    routers = folder / "tutorial" / "routers"
    routers.mkdir(parents=True)
    for package in (routers, routers.parent):
        (package / "__init__.py").write_text("", encoding="utf-8")
    (routers.parent / "security.py").write_text(_text("security"), encoding="utf-8")
    thing = _text("thing")
    for number in range(things):
        (routers / f"things{number}.py").write_text(thing.replace("@number@", str(number)), encoding="utf-8")
    included = (
        f"from tutorial.routers import things{number}\n\napp.include_router(things{number}.router)\n"
        for number in range(things)
    )
    (routers.parent / "main.py").write_text(_text("main") + "".join(included), encoding="utf-8")
    return things + 2


def _text(name: str) -> str:
    return (Path(__file__).parent / "texts" / f"{name}.txt").read_text(encoding="utf-8")
