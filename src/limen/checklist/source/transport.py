"""Connections whose other side nobody verifies."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, is_constant, text_of

_ROOTS: Final = frozenset(
    {
        "requests",
        "httpx",
        "aiohttp",
        "urllib3",
        "websockets",
        "niquests",
        "boto3",
        "botocore",
        "elasticsearch",
        "opensearchpy",
    }
    | {"httpcore", "requests_html", "curl_cffi"}
)
_HTTP: Final = frozenset(
    {"get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "ws_connect"}
)
_CLIENT: Final = re.compile(r"(^|_)(client|session|http|https|requests|httpx|conn|connection|api|s|c)$", re.IGNORECASE)
# These say it whatever takes them; ``verify`` and ``ssl`` are about certificates only where somebody connects.
_CLEAR: Final = {
    "verify_ssl": False,
    "ssl_verify": False,
    "verify_certs": False,
    "validate_certs": False,
    "ssl_check_hostname": False,
    "assert_hostname": False,
    "tlsAllowInvalidCertificates": True,
    "tlsAllowInvalidHostnames": True,
    "tlsInsecure": True,
}
_REQUIRED: Final = frozenset({"cert_reqs", "ssl_cert_reqs", "tls_require_cert"})
_LOCAL: Final = re.compile(r"^(http://|https?://(localhost|127\.0\.0\.1|\[::1\])([:/]|$))")
_OPTION: Final = re.compile(r"verif|insecure|ssl|tls|cert|self_signed|unsafe", re.IGNORECASE)


def unverified_certificates(module: Module) -> Iterator[Finding]:
    """Find connections whose other side nobody verifies (LC104)."""
    for call in module.all(ast.Call):
        what = _of_call(module, call)
        if what and not _is_local(call) and not _is_option(module, call):
            yield found_at(rules.NO_TLS_CHECK, module, call, what)
    told: set[tuple[object, str]] = set()
    for assignment in module.all(ast.Assign):
        for target in assignment.targets:
            what = _of_assignment(module, target, assignment.value)
            # Both switches of one context are one decision.
            key = module.function_around(assignment), ast.unparse(getattr(target, "value", target))
            if what and key not in told and not _is_option(module, assignment):
                told.add(key)
                yield found_at(rules.NO_TLS_CHECK, module, assignment, what)


def _of_call(module: Module, call: ast.Call) -> str:
    name = module.name_of(call.func)
    if name == "ssl._create_unverified_context":
        return "the context verifies nothing"
    if name == "paramiko.AutoAddPolicy":
        return "every host key is taken"
    connects = _connects(module, call, name)
    for option, value in _options(module, call):
        if option in _CLEAR and _is(module, value, _CLEAR[option]):
            return f"{option}={_CLEAR[option]}"
        if (option in _REQUIRED or name.startswith("ldap3.")) and _is_none_required(module, value):
            return f"{option} asks for no certificate"
        is_own_ssl = option == "ssl" and (
            "aiohttp" in name or (called_name(call) in _HTTP and module.imports("aiohttp"))
        )
        if (is_own_ssl or option == "verify") and connects and _is(module, value, False):
            return f"{option}=False"
    return ""


def _connects(module: Module, call: ast.Call, name: str) -> bool:
    if name.split(".", maxsplit=1)[0] in _ROOTS or called_name(call) in {
        "AsyncClient",
        "ClientSession",
        "TCPConnector",
    }:
        return True
    if name in {"functools.partial", "partial"} and call.args:
        return module.name_of(call.args[0]).split(".")[0] in _ROOTS
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    written = getattr(owner, "attr", "") or getattr(owner, "id", "")
    return called_name(call) in _HTTP and module.imports(*_ROOTS) and bool(_CLIENT.search(written))


def _options(module: Module, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """Yield the keyword arguments of a call; those of a dictionary that is spread, too."""
    for given in call.keywords:
        if given.arg is not None:
            yield given.arg, given.value
            continue
        spread = module.values_of(given.value) if isinstance(given.value, ast.Name) else [given.value]
        for table in spread:
            yield from pairs_of(table)


def pairs_of(table: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield what a dictionary has, written with braces or with ``dict(…)``."""
    if isinstance(table, ast.Dict):
        yield from ((text_of(key) or "", value) for key, value in zip(table.keys, table.values, strict=True))
    elif isinstance(table, ast.Call) and called_name(table) == "dict":
        yield from ((each.arg, each.value) for each in table.keywords if each.arg)


def _is(module: Module, value: ast.expr, wanted: bool) -> bool:
    if isinstance(value, ast.Name):
        values = module.values_of(value)
        return bool(values) and all(is_constant(each, wanted) for each in values)
    return is_constant(value, wanted)


def _is_none_required(module: Module, value: ast.expr) -> bool:
    if module.name_of(value) == "ssl.CERT_NONE":
        return True
    return is_constant(value, None) or (text_of(value) or "").lower() in {"none", "cert_none", "never"}


def _is_local(call: ast.Call) -> bool:
    return any(_LOCAL.match(text_of(each) or "") for each in (*call.args, *(given.value for given in call.keywords)))


def _is_option(module: Module, node: ast.AST) -> bool:
    """Tell whether somebody who runs it asked for this: ``if settings.insecure: …``."""
    inner = node
    for outer in module.above(node):
        if (
            isinstance(outer, ast.If | ast.IfExp)
            and inner is not outer.test
            and _OPTION.search(ast.unparse(outer.test))
        ):
            return True
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
            return outer.name.startswith("test_")
        inner = outer
    return False


def _of_assignment(module: Module, target: ast.expr, value: ast.expr) -> str:
    if not isinstance(target, ast.Attribute):
        return ""
    if target.attr == "check_hostname" and is_constant(value, False):
        return "the name in the certificate is not asked"
    if target.attr == "verify_mode" and module.name_of(value) == "ssl.CERT_NONE":
        return "verify_mode is CERT_NONE"
    if target.attr == "_create_default_https_context" and module.name_of(value) == "ssl._create_unverified_context":
        return "the default context verifies nothing"
    is_session = module.imports(*_ROOTS) and bool(
        _CLIENT.search(getattr(target.value, "attr", "") or getattr(target.value, "id", ""))
    )
    return "verify is False" if target.attr == "verify" and is_constant(value, False) and is_session else ""
