"""Cookies and headers that let others in: flags that are left out, origins that are let in."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, is_constant, keyword, last_name, text_of
from limen.checklist.source.statements import read_statement
from limen.checklist.source.transport import pairs_of
from limen.checklist.source.words import is_secret, plain

_SECRET_COOKIE: Final = re.compile(
    r"(^|_)(sess|session|sessions|session_?id|sessid|phpsessid|jsessionid|\w*token|auth|jwt|csrf|xsrf|login|sid|remember|remember_me)(_|$)"
)
_NO_SECRET: Final = re.compile(
    r"(^|_)(banner|closed|seen|theme|hint|notice|count|redirect|next|url|at|expires|expiry|is|has|lang)(_|$)"
)
_FLAGS: Final = {"secure": 6, "httponly": 7}
"""Where `Response.set_cookie` of Starlette takes them, counted from 0."""
_ORIGIN: Final = "access-control-allow-origin"
_CREDENTIALS: Final = "access-control-allow-credentials"


def cookies_without_flags(module: Module) -> Iterator[Finding]:
    """Find cookies with a secret that are set without HttpOnly or Secure (LC113)."""
    for call in module.all(ast.Call):
        for flag in ("cookie_secure", "cookie_httponly"):
            if called_name(call) == "CookieTransport" and is_constant(keyword(call, flag), False):
                yield found_at(rules.COOKIE_FLAGS, module, call, f"{flag} is False", flag)
        if called_name(call) != "set_cookie" or not isinstance(call.func, ast.Attribute):
            continue
        name = _cookie_name(module, call)
        missing = _missing(module, call, name)
        if missing and not _is_deleted(call):
            yield found_at(rules.COOKIE_FLAGS, module, call, f"{name} is set without {' and '.join(missing)}", name)
    for header, value, node in _headers(module):
        text = read_statement(module, value).text.lower() if header == "set-cookie" else ""
        name = text.partition("=")[0].strip()
        missing = [each for each in ("httponly", "secure") if each not in text]
        if _is_secret_cookie(name) and missing and "max-age=0" not in text:
            yield found_at(rules.COOKIE_FLAGS, module, node, f"{name} is set without {' and '.join(missing)}", name)


def _cookie_name(module: Module, call: ast.Call) -> str:
    """Return what tells what a cookie is for: its name, or the name of the variable that has it, or its value's."""
    given = call.args[0] if call.args else keyword(call, "key", "name")
    if isinstance(given, ast.Name | ast.Attribute):
        texts = [text_of(each) for each in module.values_of(given)]
        given_name = next((each for each in texts if each), "") or re.sub(r"_(name|key)$", "", plain(last_name(given)))
    else:
        given_name = text_of(given) or ""
    if _is_secret_cookie(given_name):
        return given_name
    made = call.args[1] if len(call.args) > 1 else keyword(call, "value")
    value = last_name(made) or (called_name(made) if isinstance(made, ast.Call) else "")
    return value if is_secret(value) and not _NO_SECRET.search(plain(given_name)) else ""


def _is_secret_cookie(name: str) -> bool:
    spelled = re.sub(r"^__(host|secure)_", "", plain(name))
    spelled = re.sub(r"(session|refresh|access|auth)_?(cookie)$", r"\1", spelled)
    return bool(_SECRET_COOKIE.search(spelled)) and not _NO_SECRET.search(spelled)


def _missing(module: Module, call: ast.Call, name: str) -> list[str]:
    options = {each.arg: each.value for each in call.keywords if each.arg}
    for spread in (each.value for each in call.keywords if each.arg is None):
        tables = module.values_of(spread) if isinstance(spread, ast.Name | ast.Attribute) else [spread]
        if not tables or any(not isinstance(each, ast.Dict | ast.Call) for each in tables):
            return []
        options |= dict(pair for table in tables for pair in pairs_of(table))
    missing = []
    for flag, index in _FLAGS.items():
        given = options.get(flag) or (call.args[index] if len(call.args) > index else None)
        if isinstance(given, ast.Name):
            given = next(iter(module.values_of(given)), given)
        # A script has to read the token that it sends back.
        is_for_scripts = flag == "httponly" and re.search("csrf|xsrf", name, re.IGNORECASE)
        if (given is None or is_constant(given, False)) and not is_for_scripts:
            missing.append(flag)
    return missing if name else []


def _is_deleted(call: ast.Call) -> bool:
    """Tell whether a cookie is taken away, or only says yes or no: it gets no value, or no time."""
    value = call.args[1] if len(call.args) > 1 else keyword(call, "value")
    ages = [keyword(call, "max_age"), keyword(call, "expires"), *call.args[2:4]]
    return text_of(value) in {"", "true", "false"} or any(
        isinstance(each, ast.Constant) and each.value == 0 for each in ages
    )


def any_origin(module: Module) -> Iterator[Finding]:
    """Find answers that let every site in, with the visitor's cookies (LC011)."""
    for call in module.all(ast.Call):
        first = call.args[0] if call.args else None
        is_cors = called_name(call) == "CORSMiddleware" or last_name(first) == "CORSMiddleware"
        origins = keyword(call, "allow_origins")
        pattern = text_of(keyword(call, "allow_origin_regex")) or ""
        is_any = _is_any(module, origins) or pattern in {".*", "^.*$", ".+", "https?://.*", "http.*", "^https?://.*$"}
        is_open = is_cors and is_any and is_constant(keyword(call, "allow_credentials"), True)
        if is_open and not _is_for_developers(module, call):
            yield found_at(rules.ANY_ORIGIN, module, call, "CORSMiddleware allows every origin, with credentials")
    headers = list(_headers(module))
    for header, value, node in headers:
        if header == _ORIGIN and _is_asking_origin(module, value):
            function = module.function_around(node)
            others = [
                each for name, each, at in headers if name == _CREDENTIALS and module.function_around(at) is function
            ]
            if any((text_of(each) or "").lower() == "true" for each in others):
                yield found_at(
                    rules.ANY_ORIGIN, module, node, "the answer allows the origin that asks, with credentials"
                )


def _is_for_developers(module: Module, node: ast.AST) -> bool:
    """Tell whether it is done on a developer's machine only: ``if settings.debug: …``."""
    tests = [ast.unparse(each.test) for each in module.above(node) if isinstance(each, ast.If)]
    return any(re.search(r"debug|\bdev|local|test", each, re.IGNORECASE) for each in tests)


def _is_any(module: Module, origins: ast.expr | None) -> bool:
    if isinstance(origins, ast.Name | ast.Attribute):
        return any(_is_any(module, each) for each in module.values_of(origins))
    listed = origins.elts if isinstance(origins, ast.List | ast.Tuple | ast.Set) else [origins]
    return any(text_of(each) == "*" for each in listed)


def _is_asking_origin(module: Module, value: ast.expr, hops: int = 0) -> bool:
    """Tell whether a header is every origin: ``*``, or whichever stands in the request, and nobody asked which."""
    if text_of(value) == "*":
        return True
    if isinstance(value, ast.BoolOp):
        return any(_is_asking_origin(module, each, hops) for each in value.values)
    if isinstance(value, ast.Name) and hops < 3 and not module.is_argument(value.id, value):
        tests = [ast.unparse(each) for each in module.above(value) if isinstance(each, ast.If | ast.IfExp)]
        function = module.function_around(value)
        asked = [ast.unparse(each) for each in (module.tests_in(function) if function is not None else ())]
        is_asked = any(re.search(rf"\b{value.id}\b.*( in |==)|\w+\({value.id}\)", text) for text in (*tests, *asked))
        return not is_asked and any(_is_asking_origin(module, each, hops + 1) for each in module.values_of(value))
    return last_name(value).lower() == "origin" and isinstance(value, ast.Call | ast.Subscript)


def _headers(module: Module) -> Iterator[tuple[str, ast.expr, ast.AST]]:
    """Yield each header that is set: its name in lower case, its value, and where."""
    for assignment in module.all(ast.Assign):
        for target in assignment.targets:
            if isinstance(target, ast.Subscript) and text_of(target.slice):
                yield (text_of(target.slice) or "").lower(), assignment.value, assignment
    for table in module.all(ast.Dict):
        for key, value in pairs_of(table):
            yield key.lower(), value, value
    for call in module.all(ast.Call):
        if called_name(call) in {"append", "setdefault", "add"} and len(call.args) == 2:
            yield (text_of(call.args[0]) or "").lower(), call.args[1], call
