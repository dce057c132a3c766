"""The demo: the orders example behind limen, with settings, secrets and accounts of its own in one folder."""

import asyncio
import importlib.util
import json
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from dotenv import dotenv_values
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from limen.core.errors import ConfigurationError, NotFound, UsernameTaken
from limen.server.addresses import bind, is_loopback, url_of
from limen.server.demo_mails import DemoMails, add_mails, settings_with_mail
from limen.server.private_file import require_own_file, require_own_folder, write_private
from limen.server.process import serve
from limen.settings import Settings
from limen.web.docs import add_docs
from limen.web.starlette import public
from limen.wiring import Limen

ACCOUNTS = ("maker", "checker", "super-checker", "admin")
"""The demo's accounts; each holds the role of its name."""

SECRET_BYTES = 48
_SECRET_FILES = ("demo.env", "demo-accounts.json")
_DATABASES = ("limen.db", "orders.db")
_EXAMPLE = "limen.server.orders"
_INSTALLED = Path(__file__).parent / "orders"
_CHECKED_OUT = Path(__file__).parents[3] / "examples" / "orders"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is mistaken for another
_GROUP = 5
_SETTINGS = """\
# The settings of the demo, made at its first run. Only their owner may read this file: it holds secrets.
LIMEN_DATABASE_URL='{database}'
LIMEN_JWT_ACCESS_SECRET={access}
LIMEN_JWT_REFRESH_SECRET={refresh}
LIMEN_DATA_SECRETS={data}
LIMEN_REGISTRATION=open
LIMEN_DOCS=on
LIMEN_LOG_FORMAT=console
"""

Accounts = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that can be served.

    Attributes:
        settings: what limen was told.
        settings_file: where that is kept.
        accounts: by username: ``{"username", "password"}``.
        accounts_file: where those are kept.
        fresh: whether they were made just now.
    """

    settings: Settings
    settings_file: Path
    accounts: Accounts
    accounts_file: Path
    fresh: bool


def run(
    folder: Path,
    *,
    host: str,
    port: int,
    on_prepared: Callable[[Demo], None],
    on_ready: Callable[[Demo, str], None],
) -> None:
    """Make what is missing in the folder and serve the demo until the process is told to end.

    Args:
        folder: of its settings, secrets and databases; made (0700) where there is none.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        on_prepared: called once settings and accounts are there.
        on_ready: called with the URL once requests are answered.

    Raises:
        ConfigurationError, LimenError: what kept it from starting.
    """
    listener = bind(host, port)
    try:
        prepared = prepare(folder)
        on_prepared(prepared)
        here = url_of(listener) if is_loopback(host) else None
        app = application(prepared.settings, prepared.settings_file.parent / "orders.db", here=here)
    except BaseException:
        listener.close()
        raise
    serve(app, listener, prepared.settings, lambda address: on_ready(prepared, address))


def application(settings: Settings, orders: Path, *, here: str | None = None) -> FastAPI:
    """Make the demo's application: the orders example, limen's routes, ``/healthz``, ``/readyz`` and ``/docs``.

    Its mails are shown at ``/demo/mails`` where it is reached at ``here`` alone, a loopback address, and where the
    settings name no mail server.
    """
    example = orders_example()
    mails = None if here is None or settings.smtp_url is not None else DemoMails()
    if mails is not None:
        settings = settings_with_mail(settings, here or "")
    store = example.Database(orders)
    gate = Limen(
        settings,
        roles=example.ROLES,
        policies=example.POLICIES,
        # For whoever asks why somebody may not: GET /admin/api/explain.
        policy_resources={example.Order: store.order},
        mail=mails,
    )
    app: FastAPI = example.create_app(gate, store, title="limen demo: orders")
    add_docs(app, public)
    app.router.routes.append(Route("/", public(_to_docs), methods=["GET"]))
    if mails is not None:
        add_mails(app, mails, settings.public_url or "")
    return app


async def _to_docs(request: Request) -> Response:
    """Lead whoever opens the demo's address in a browser to where it can be tried."""
    return RedirectResponse("docs")


def prepare(folder: Path) -> Demo:
    """Make the settings, the secrets and the accounts that are missing; what is there stays as it is.

    Raises:
        ConfigurationError: the folder cannot be used, somebody else could put files into it, or the accounts'
            passwords were lost.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_own(folder)
        settings_file = _settings_file(folder)
        accounts_file = folder / "demo-accounts.json"
        settings = load_settings(settings_file)
        accounts, fresh = _accounts(accounts_file, settings.password_min_length)
    except OSError as error:
        raise ConfigurationError(f"the folder {folder} cannot be used: {error.strerror}") from None
    taken = asyncio.run(_create_accounts(settings, accounts))
    if fresh and taken:
        accounts_file.unlink()
        raise ConfigurationError(
            f"the accounts {', '.join(taken)} are in the database, but {accounts_file} with their passwords is gone; "
            f"remove {folder} to begin anew"
        )
    return Demo(settings, settings_file, accounts, accounts_file, fresh)


def _require_own(folder: Path) -> None:
    """Refuse what a stranger may have planted: accounts would get their passwords, databases go through their links."""
    require_own_folder(folder)
    for name in _SECRET_FILES:
        require_own_file(folder / name, secret=True)
    for name in _DATABASES:
        for suffix in ("", "-wal", "-shm", "-journal"):
            require_own_file(folder / f"{name}{suffix}")


def _settings_file(folder: Path) -> Path:
    file = folder / "demo.env"
    database = f"sqlite:///{folder / 'limen.db'}"
    if not set(database).isdisjoint("'\\?#\n"):
        raise ConfigurationError("--data names a folder with a character that a settings file cannot carry")
    access, refresh, data = (secrets.token_urlsafe(SECRET_BYTES) for _ in range(3))
    fresh = _SETTINGS.format(database=database, access=access, refresh=refresh, data=data)
    try:
        write_private(file, fresh, replace=False)
    except FileExistsError:
        text = file.read_text(encoding="utf-8")
        # Where the folder was moved or copied, the settings in it must not lead back to where it came from.
        now = re.sub(r"(?m)^LIMEN_DATABASE_URL=.*$", lambda _: f"LIMEN_DATABASE_URL='{database}'", text)
        if not re.search(r"(?m)^LIMEN_DATA_SECRETS=", now):
            now = f"{now.rstrip()}\nLIMEN_DATA_SECRETS={data}\n"
        if now != text:
            write_private(file, now, replace=True)
    return file


def load_settings(file: Path) -> Settings:
    """Read the demo's settings. What the file names wins over the environment, unlike everywhere else.

    A shell in which another installation's database or secrets are set must not lend them to the demo, which makes
    accounts and lets everybody register.
    """
    named = {name.removeprefix("LIMEN_").lower(): value for name, value in dotenv_values(file).items()}
    known = {name: value for name, value in named.items() if name in Settings.model_fields and value is not None}
    others = {"jwt_access_secrets_accepted": (), "jwt_refresh_secrets_accepted": ()}
    return Settings.load(env_file=file, **{**others, **known})


def _accounts(file: Path, shortest: int) -> tuple[Accounts, bool]:
    """Read the accounts of an earlier run, or write down new ones with random passwords, before they are made."""
    made = {name: {"username": name, "password": _password(shortest)} for name in ACCOUNTS}
    try:
        write_private(file, json.dumps(made, indent=2) + "\n", replace=False)
        return made, True
    except FileExistsError:
        pass
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {name: {key: str(kept[name][key]) for key in ("username", "password")} for name in ACCOUNTS}, False
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"{file} is not what the demo wrote; remove {file.parent} to begin anew") from None


def _password(shortest: int) -> str:
    """Return a random password that is easy to type, of 99 bits or more."""
    groups = max(4, -(-shortest // _GROUP))
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(groups))


async def _create_accounts(settings: Settings, accounts: Accounts) -> list[str]:
    """Make the accounts; return the names that were there."""
    async with Limen(settings, roles=orders_example().ROLES).running() as gate:

        async def create(account: Mapping[str, str]) -> str | None:
            name = account["username"]
            try:
                # Asked first only because hashing takes long: making it is what decides.
                await gate.accounts.by_username(name)
                return name
            except NotFound:
                pass
            try:
                await gate.accounts.create(name, account["password"], roles=frozenset({name}), actor="cli")
            except UsernameTaken:
                return name
            return None

        taken = await asyncio.gather(*(create(account) for account in accounts.values()))
    return [name for name in taken if name is not None]


def orders_example() -> ModuleType:
    """Import the orders example: from beside this file in an installation, from ``examples/`` in a checkout.

    Either way it goes by the same name; it knows limen by its public names only.

    Raises:
        ConfigurationError: it is in neither place.
    """
    loaded = sys.modules.get(_EXAMPLE)
    if loaded is not None:
        return loaded
    place = next((place for place in (_INSTALLED, _CHECKED_OUT) if (place / "__init__.py").is_file()), None)
    spec = place and importlib.util.spec_from_file_location(
        _EXAMPLE, place / "__init__.py", submodule_search_locations=[str(place)]
    )
    if not spec or spec.loader is None:
        raise ConfigurationError("the orders example is not installed; install limen from its wheel")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_EXAMPLE] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_EXAMPLE]
        raise
    return module


def orders_module(name: str) -> tuple[str, Path | None]:
    """Return by which name another process runs a module of the example, and in which folder; None for any."""
    if (_INSTALLED / "__init__.py").is_file():
        return f"{_EXAMPLE}.{name}", None
    return f"examples.orders.{name}", _CHECKED_OUT.parents[1]
