"""Writes an honest application of 200 files and 1 000 routes, as people write them, for `limen check` to look at.

Forty areas, each a package of five files: tables, schemas, services, routes, routes for the staff. Routers are nested
three deep; who is calling is a chain of dependencies that ends in a token; a service asks SQLAlchemy and another
company's service by httpx. It depends on nothing but FastAPI, SQLAlchemy, httpx and PyJWT. What the files say stands
in `texts`, with ``@thing@`` for the name of an area.
"""

from pathlib import Path
from typing import Final

AREAS: Final = 40
"""How many areas the whole application has."""

_THINGS: Final = (
    "order", "invoice", "customer", "product", "shipment", "refund", "coupon", "ticket", "review", "supplier",
    "contract", "quote", "payment", "parcel", "return", "warranty", "claim", "budget", "expense", "report",
    "project", "task", "meeting", "document", "template", "campaign", "lead", "channel", "message", "notice",
    "device", "sensor", "alarm", "route", "vehicle", "driver", "depot", "stock", "batch", "recipe",
)  # fmt: skip

_CORE: Final = {
    "__init__.py": "package",
    "database.py": "database",
    "settings.py": "settings",
    "security.py": "security",
    "people.py": "people",
}
_OF_STAFF: Final = ', dependencies=[Depends(role("staff"))]'


def write_shop(folder: Path, areas: int = AREAS) -> int:
    """Write the application ``shop.main:app`` into a folder.

    Args:
        folder: where it goes; it is the current folder of who checks it.
        areas: how many packages of five files and 25 routes.

    Returns:
        the number of files with code in them.
    """
    package = folder / "shop"
    package.mkdir(parents=True)
    for name, text in _CORE.items():
        (package / name).write_text(_text(text), encoding="utf-8")
    things = _THINGS[:areas]
    for thing in things:
        _write_area(package / f"{thing}s", thing)
    (package / "main.py").write_text(_main(things), encoding="utf-8")
    return len(_CORE) + 5 * len(things)


def _text(name: str) -> str:
    return (Path(__file__).parent / "texts" / f"{name}.txt").read_text(encoding="utf-8")


def _write_area(area: Path, thing: str) -> None:
    area.mkdir()
    (area / "__init__.py").write_text("", encoding="utf-8")
    texts = {name: _text(name) for name in ("tables", "schemas", "services")}
    for name, for_whom, prefix, more in (
        ("routes", "", f"/{thing}s", ""),
        ("staff", " for the staff", f"/staff/{thing}s", _OF_STAFF),
    ):
        both = _text("routes_of_both").replace("@for_whom@", for_whom).replace("@prefix@", prefix)
        texts[name] = f"{both.replace('@dependencies@', more)}\n\n{_text(name)}"
    for name, text in texts.items():
        filled = text.replace("@thing@", thing).replace("@Thing@", thing.title())
        (area / f"{name}.py").write_text(filled, encoding="utf-8")


def _main(things: tuple[str, ...]) -> str:
    imports = "".join(
        f"from shop.{each}s import routes as {each}_routes\nfrom shop.{each}s import staff as {each}_staff\n"
        for each in sorted(things)
    )
    included = "".join(
        f"everybody.include_router({each}_routes.router)\nstaff.include_router({each}_staff.router)\n"
        for each in things
    )
    return _text("main").replace("@imports@\n", imports).replace("@included@\n", included)
