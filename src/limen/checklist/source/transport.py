"""Certificates, tokens and cookies: what is switched off, and what is left out."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, is_constant, keyword, last_name, text_of

_CALLS_OUT: Final = frozenset({"requests", "httpx", "aiohttp", "urllib3", "websockets", "niquests"})
_HTTP: Final = frozenset(
    {"get", "post", "put", "patch", "delete", "head", "request", "stream", "Client", "AsyncClient", "Session"}
)
_SECRET_COOKIE: Final = re.compile(r"sess|token|auth|jwt|csrf|login|sid|remember", re.IGNORECASE)


def unverified_certificates(module: Module) -> Iterator[Finding]:
    """Find connections whose other side nobody verifies (LC104)."""
    for call in module.all(ast.Call):
        name = module.name_of(call.func)
        if name in {"ssl._create_unverified_context", "urllib3.disable_warnings"} and name.startswith("ssl"):
            yield found_at(rules.NO_TLS_CHECK, module, call, "the context verifies nothing")
        calls_out = name.split(".")[0] in _CALLS_OUT or (
            module.imports(*_CALLS_OUT) and name.rsplit(".", 1)[-1] in _HTTP
        )
        for option in ("verify", "verify_ssl", "ssl", "verify_certs"):
            if calls_out and is_constant(keyword(call, option), False):
                yield found_at(rules.NO_TLS_CHECK, module, call, f"{option}=False")
    for assignment in module.all(ast.Assign):
        for target in assignment.targets:
            if (
                isinstance(target, ast.Attribute)
                and target.attr == "check_hostname"
                and is_constant(assignment.value, False)
            ):
                yield found_at(rules.NO_TLS_CHECK, module, assignment, "the name in the certificate is not asked")
            verifies_nothing = module.name_of(assignment.value) == "ssl.CERT_NONE"
            if verifies_nothing and isinstance(target, ast.Attribute) and target.attr == "verify_mode":
                yield found_at(rules.NO_TLS_CHECK, module, assignment, "verify_mode is CERT_NONE")


def unverified_tokens(module: Module) -> Iterator[Finding]:
    """Find tokens that are read and not verified (LC105)."""
    for call in module.all(ast.Call):
        name = module.name_of(call.func)
        root, last = name.split(".")[0], name.rsplit(".", 1)[-1]
        if root not in {"jwt", "jose", "authlib", "joserfc"}:
            continue
        if last in {"get_unverified_claims", "decode_complete_unverified"}:
            yield found_at(rules.TOKEN_UNVERIFIED, module, call, f"{last}() verifies nothing")
        elif last in {"decode", "encode", "decode_complete"}:
            fault = _fault_of_token(call)
            if fault:
                yield found_at(rules.TOKEN_UNVERIFIED, module, call, fault)


def _fault_of_token(call: ast.Call) -> str:
    if is_constant(keyword(call, "verify"), False):
        return "verify=False"
    options = keyword(call, "options")
    if isinstance(options, ast.Dict):
        for key, value in zip(options.keys, options.values, strict=True):
            if text_of(key) in {"verify_signature", "verify_exp"} and is_constant(value, False):
                return f"{text_of(key)} is False"
    for given in (keyword(call, "algorithms"), keyword(call, "algorithm")):
        listed = given.elts if isinstance(given, ast.List | ast.Tuple | ast.Set) else [given]
        if any((text_of(each) or "").lower() == "none" for each in listed):
            return "«none» is an algorithm here"
    return ""


def cookies_without_flags(module: Module) -> Iterator[Finding]:
    """Find cookies with a secret that are set without HttpOnly or Secure (LC113)."""
    for call in module.all(ast.Call):
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "set_cookie":
            continue
        name = text_of(call.args[0] if call.args else keyword(call, "key"))
        if any(each.arg is None for each in call.keywords):
            continue
        missing = [each for each in ("httponly", "secure") if _is_off(keyword(call, each))]
        # A script has to read the token that it sends back.
        if name is not None and "csrf" in name.lower() and "httponly" in missing:
            missing.remove("httponly")
        told = name or last_name(call.args[0] if call.args else keyword(call, "key"))
        if missing and told and _SECRET_COOKIE.search(told):
            yield found_at(rules.COOKIE_FLAGS, module, call, f"{told} is set without {' and '.join(missing)}", told)


def _is_off(given: ast.expr | None) -> bool:
    return given is None or is_constant(given, False)
