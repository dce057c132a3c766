"""Settings that are missing, made up: secrets that CI has not are no reason not to look at an application."""

import re
import secrets
from collections.abc import Iterator, Mapping, MutableMapping
from enum import Enum
from types import ModuleType
from typing import Any, Final, Literal, get_args, get_origin

from limen.checklist.intervening import Change

FAKE_SECRET: Final = "made-up-by-limen-check-0123456789abcdef0123456789abcdef"
"""What stands in for a setting that is missing."""

_BY_TYPE: Final[tuple[tuple[str, Any], ...]] = (
    ("bool", "false"),
    ("int", 60),
    ("float", 60),
    ("postgresdsn", "postgresql://made-up:made-up@made-up.invalid/made_up"),
    ("redisdsn", "redis://127.0.0.1:1/0"),
    ("anyurl", "https://made-up.invalid"),
    ("anyhttpurl", "https://made-up.invalid"),
    ("httpurl", "https://made-up.invalid"),
    ("path", "."),
    ("list", ["made-up"]),
    ("set", ["made-up"]),
    ("tuple", ["made-up"]),
    ("dict", {"made-up": "made-up"}),
)
"""What a field of a settings class is given, by the beginning of its type's name."""


class FilledEnvironment(MutableMapping[str, str]):
    """The environment, in which every variable that is demanded exists.

    Only ``os.environ["NAME"]`` is answered so; ``os.environ.get`` and ``in`` tell the truth, since they have a default.

    Attributes:
        faked: the names that were made up.
    """

    def __init__(self, real: MutableMapping[str, str]) -> None:
        self._real = real
        self.faked: list[str] = []

    def __getitem__(self, name: str) -> str:
        try:
            return self._real[name]
        except KeyError:
            self.faked.append(name)
            return made_up(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the variable, or the default: nothing is made up where somebody has one."""
        return self._real.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._real

    def __setitem__(self, name: str, value: str) -> None:
        self._real[name] = value

    def __delitem__(self, name: str) -> None:
        del self._real[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)

    def copy(self) -> dict[str, str]:
        """Return the variables that are there."""
        return dict(self._real)


def fill_settings_of_limen(environment: FilledEnvironment) -> None:
    """Make up what limen itself demands, which it asks for without a ``[…]``; the database is never opened."""
    wanted = {
        "LIMEN_DATABASE_URL": "sqlite:///made-up-by-limen-check.db",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
    }
    for name in wanted.keys() - environment.keys():
        environment[name] = wanted[name]
        environment.faked.append(name)


def made_up(name: str) -> str:
    """Return a value for a setting by its name: an address where it sounds like one, a number, or a secret."""
    lower = name.lower()
    if "database" in lower or lower.endswith(("db_url", "db_uri", "dsn", "sqlalchemy_url")):
        return "sqlite://"
    if "redis" in lower or "valkey" in lower or "broker" in lower:
        return "redis://127.0.0.1:1/0"
    if lower.endswith(("url", "uri", "endpoint", "issuer", "origin")):
        return "https://made-up.invalid"
    if lower.endswith(("port", "_ttl", "timeout", "minutes", "seconds", "days", "size", "limit", "count", "workers")):
        return "60"
    if "email" in lower or "mail_from" in lower:
        return "nobody@made-up.invalid"
    return FAKE_SECRET


def filling(faked: list[str]) -> Change:
    """Return what makes pydantic's settings classes start: required fields without a value get one by their type.

    A field that refuses what was made up for it, as its own validator demands something else, gets others.
    """

    def change(settings: ModuleType) -> None:
        original = settings.BaseSettings.__init__

        def filled(self: Any, /, **given: Any) -> None:
            from pydantic import ValidationError

            tried: dict[str, int] = {}
            for _ in range(_ATTEMPTS):
                try:
                    original(self, **given)
                except ValidationError as error:
                    more = _more(type(self), error.errors(), given, tried)
                    if not more:
                        raise
                    faked.extend(name for name in more if name not in given)
                    given |= more
                else:
                    return
            original(self, **given)

        settings.BaseSettings.__init__ = filled

    return change


def _more(kind: Any, errors: list[Any], given: Mapping[str, Any], tried: dict[str, int]) -> dict[str, Any]:
    """Return values for the fields that have none, and others for those whose made up value is refused."""
    found: dict[str, Any] = {}
    for each in errors:
        name = str(each["loc"][0]) if each["loc"] else ""
        if each["type"] == "missing" and len(each["loc"]) == 1 and name not in given:
            tried[name] = 0
            found[name] = _for_field(kind, name)
        elif name in tried and tried[name] < len(_OTHERS):
            found[name] = _OTHERS[tried[name]]
            tried[name] += 1
    return found


def _for_field(kind: Any, name: str) -> Any:
    field = kind.model_fields.get(name)
    for other, each in kind.model_fields.items():
        if field is None and name in {each.alias, each.validation_alias, other.upper()}:
            field = each
    annotation = getattr(field, "annotation", str)
    members: list[Any] = list(get_args(annotation)) if get_origin(annotation) is Literal else []
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        members = list(annotation)
    if members:
        return members[0]
    text = getattr(annotation, "__name__", str(annotation)).lower().removeprefix("typing.")
    return next((value for prefix, value in _BY_TYPE if text.startswith(prefix)), None) or made_up(name)


_ATTEMPTS: Final = 12
_OTHERS: Final = (
    "postgresql://made-up:made-up@made-up.invalid/made_up",
    "postgresql+asyncpg://made-up:made-up@made-up.invalid/made_up",
    "https://made-up.invalid",
    "nobody@made-up.invalid",
    "60",
    "true",
    "made-up",
    "0" * 64,
)
"""What is tried for a field whose validator refuses what its name and type suggest."""
_VALUES: Final = (None, "60", "true", "https://made-up.invalid", "[]", "{}")
"""What is tried for a variable, one after the other; the first goes by its name."""
_NAMES: Final = re.compile(r"(?<![\w/.$])[A-Z][A-Z0-9]*_[A-Z0-9_]+(?![\w/])|(?<=['\"])[A-Z][A-Z0-9]{2,}(?=['\"])")
_SAYS_SO: Final = re.compile(
    r"missing|not found|not set|unset|not defined|undefined|require|must|environment|env ?var|config|invalid|empty|none"
    r"|no value|provide|expected|valid|literal",
    re.IGNORECASE,
)


def guess(reason: str, tried: dict[str, int], environment: Mapping[str, str]) -> bool:
    """Note which variable an error demands, and how often it has; false where it names none that is missing.

    ``environs``, ``decouple``, Starlette's ``Config`` and code of one's own ask in ways of their own and have in common
    that their error names the variable.

    Args:
        reason: the error, in one line.
        tried: the variables that were made up so far, and which of the values each has.
        environment: what is there.
    """
    if not _SAYS_SO.search(reason):
        return False
    for name in dict.fromkeys(_NAMES.findall(reason)):
        following = tried.get(name, -1) + 1
        if name not in environment and following < len(_VALUES):
            tried[name] = following
            return True
    return False


def guessed(tried: Mapping[str, int]) -> dict[str, str]:
    """Return the variables that were made up, with their values."""
    return {name: _VALUES[number] or made_up(name) for name, number in tried.items()}
