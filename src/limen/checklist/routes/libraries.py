"""Libraries that the check knows by name: where code ends that is worth following, and what verifies a token."""

import ast
import inspect
import sys
import types
from typing import Any, Final

from limen.checklist.routes.code import MISSING, function_of
from limen.checklist.syntax import unparsed

_TOKENS: Final = frozenset({"jwt", "jose", "joserfc", "authlib", "itsdangerous", "google", "firebase_admin"})
_READS: Final = frozenset(
    {"decode", "verify_oauth2_token", "verify_id_token", "verify_token", "loads", "unsign", "jwt_decode"}
)
_ERRORS: Final = (
    ("jwt.exceptions", "DecodeError"),
    ("jose.exceptions", "JWTError"),
    ("joserfc.errors", "DecodeError"),
    ("authlib.jose.errors", "DecodeError"),
    ("itsdangerous", "BadSignature"),
)
# Code in which a refusal is somebody else's: a framework's own 401 says nothing about a route that calls it.
_CLOSED_BOOKS: Final = frozenset(sys.stdlib_module_names) | {
    *("fastapi", "starlette", "pydantic", "pydantic_core", "sqlalchemy", "anyio", "uvicorn", "httpx", "httpcore"),
    *("redis", "asyncpg", "psycopg", "pymongo", "motor", "numpy", "pandas", "torch", "rich", "click", "typer"),
    *("jwt", "jose", "joserfc", "cryptography", "passlib", "bcrypt", "argon2", "opentelemetry", "prometheus_client"),
    *("jinja2", "makefun", "boto3", "botocore", "requests", "aiohttp", "loguru", "structlog", "sqlmodel", "wrapt"),
}


def is_closed_book(function: types.FunctionType) -> bool:
    """Tell whether a function is of a library in which no guard of an application is looked for.

    FastAPI's own security classes are read, since an application's class hands on to them.
    """
    module = function.__module__ or ""
    return module.split(".")[0] in _CLOSED_BOOKS and not module.startswith("fastapi.security")


def is_own(callee: Any) -> bool:
    """Tell whether what is called is code in which a guard may be, and that can be read."""
    if callee is MISSING or inspect.isclass(callee):
        return False
    function = function_of(callee)
    return function is not None and not is_closed_book(function)


def reads_token(callee: Any, base: Any, name: str) -> bool:
    """Tell whether a call reads a token with a library that verifies it.

    Args:
        callee: what is called.
        base: what it is an attribute of.
        name: how it is called there.
    """
    name = name if base is not None else getattr(callee, "__name__", "")
    owner = callee if hasattr(callee, "__module__") else base
    module = getattr(owner, "__module__", None) or getattr(base, "__name__", "")
    return str(module).split(".")[0] in _TOKENS and name in _READS


def skips_signature(node: ast.Call) -> bool:
    """Tell whether a token is read without asking its signature."""
    text = unparsed(node).replace('"', "'")
    return "'verify_signature': False" in text or "verify=False" in text or "get_unverified" in text


def error_of_token(callee: Any) -> type[BaseException]:
    """Return what a library raises for a token that is none."""
    root = str(getattr(callee, "__module__", "")).split(".")[0]
    for module, name in _ERRORS:
        if module.split(".")[0] == root and module in sys.modules:
            found = getattr(sys.modules[module], name, None)
            if isinstance(found, type) and issubclass(found, BaseException):
                return found
    return ValueError
