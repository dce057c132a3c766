"""The questions about routes: facts go in, findings come out."""

import re
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from limen.checklist import catalogue as rules
from limen.checklist.facts import Application, Cors, Field, Place, Route
from limen.checklist.findings import Finding, Rule, Severity
from limen.checklist.lock import hides, pattern_of
from limen.checklist.nature import is_webhook, open_by_nature

_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ID: Final = re.compile(r"(^|_)(id|ids|uuid|guid|pk|key|slug|name|username|user|email|code|number|no|ref)$|Id$")
_WORD: Final = re.compile(r"(^|_)(name|slug|code|key|number|no|ref)$")
"""What names a thing of a catalogue as often as somebody's object."""
_SECRET_FIELD: Final = re.compile(
    r"(^|_)(password|passwd|pwd|passphrase|secret|secrets|private_key|api_key|apikey|secret_key|totp_seed|pin"
    r"|(password|hashed|api|key|token)_?hash(ed)?|hashed_password|salt|client_secret|access_key)$",
    re.IGNORECASE,
)
_HASH: Final = re.compile(r"hash|password|passwd|pwd|salt", re.IGNORECASE)
_NO_SECRET_TYPE: Final = re.compile(r"SecretStr|SecretBytes|hidden by|UUID|Url\b|UploadFile")
_TELLS_A_SECRET_ONCE: Final = frozenset(
    {
        *("login", "token", "tokens", "refresh", "register", "create", "keys", "key", "rotate"),
        *("api_keys", "api_key", "apikey", "apikeys", "api-keys", "api-key"),
    }
)
_TRIED: Final = frozenset(
    {
        *("login", "signin", "token", "tokens", "register", "signup", "registration", "forgot", "reset", "recover"),
        *("recovery", "otp", "mfa", "2fa", "totp", "activate", "authenticate", "magic"),
    }
)
_ABOUT_ACCOUNTS: Final = frozenset(
    {"password", "account", "accounts", "email", "auth", "user", "users", "credential", "credentials", "me"}
)
_MATTERS: Final = frozenset(
    {
        *("pay", "payment", "payments", "transfer", "transfers", "refund", "refunds", "payout", "payouts", "withdraw"),
        *("withdrawal", "withdrawals", "charge", "role", "roles", "permission", "permissions", "grant", "grants"),
        *("revoke", "promote", "admins", "superuser", "password", "approve"),
        *("wallet", "wallets", "balance", "balances", "iban", "payroll", "deposit", "deposits", "money"),
    }
)
_ONE_TIME: Final = frozenset({"otp", "totp", "2fa", "mfa"})
_VERIFIES: Final = frozenset({"verify", "check", "validate", "confirm", "submit"})
_GUESSED: Final = frozenset({"current_password", "old_password"})
"""Fields in which somebody who is logged in says the password once more."""
_LOGS_IN: Final = re.compile(r"log_?in|sign_?in|token|session|authenticate", re.IGNORECASE)
_WORDS: Final = re.compile(r"[a-z0-9.]+|[A-Z][a-z0-9]*")


def judge(application: Application) -> Iterator[Finding]:
    """Yield what is wrong with an application's routes, and with what stands around them."""
    yield from _around(application)
    for route in application.routes:
        yield from _of_route(route, application)


def named_public(application: Application) -> Application:
    """Return the application with what its routes' paths say of those that nobody guards: logins, probes, webhooks."""
    return replace(application, routes=tuple(_named(each) for each in _answered(application.routes)))


def _answered(routes: tuple[Route, ...]) -> Iterator[Route]:
    """Yield the routes; one that an open route before it answers for is as open as that."""
    before: list[tuple[re.Pattern[str], Route]] = []
    for route in routes:
        if route.standing == "guarded":
            hider = next((one for pattern, one in before if hides(pattern, one, route)), None)
            if hider is not None:
                why = f"{hider.name} stands before it and answers, and is open"
                yield replace(route, standing="open", why=why, guards=hider.guards)
                continue
        elif route.standing == "open" and route.kind in {"http", "websocket"}:
            before.append((pattern_of(route.path), route))
        yield route


def _named(route: Route) -> Route:
    # Of a login, its own code refuses a wrong password: that guards nothing.
    is_own = bool(route.guards) and all(each.by == "handler" or each.is_optional for each in route.guards)
    if open_by_nature(route) and (route.standing in {"open", "unknown"} or (route.standing == "guarded" and is_own)):
        return replace(route, standing="public", why="has to be open, by its name")
    if route.standing == "open" and route.methods == ("POST",) and _asks_for_password(route):
        return replace(route, standing="public", why="asks for a password itself")
    if route.standing == "open" and is_webhook(route):
        return replace(route, standing="unknown", why="a webhook, and whether it asks for a signature cannot be told")
    return route


def _around(application: Application) -> Iterator[Finding]:
    for each in application.cors:
        if each.credentials and _lets_strangers_in(each):
            origins = ",".join([*sorted(each.origins), each.pattern])
            yield _about(rules.ANY_ORIGIN, application, "CORSMiddleware allows every origin, with credentials", origins)
    for cookie in application.cookies:
        if not cookie.is_secure or cookie.same_site.lower() == "none":
            is_none = cookie.same_site.lower() == "none"
            faults = ["without Secure"] * (not cookie.is_secure) + ["with SameSite=None"] * is_none
            what = f"the cookie {cookie.name} is set {' and '.join(faults)}"
            yield _about(rules.SESSION_COOKIE, application, what, f"{cookie.name} {' and '.join(faults)}")
    if application.sends_security_headers is False and any(each.kind == "http" for each in application.routes):
        yield _about(rules.NO_HEADERS, application, "no middleware sets security headers")
    pages = [each for each in application.routes if each.kind == "pages" and each.standing == "open"]
    if pages:
        told = ", ".join(each.path for each in pages[:4])
        subject = ",".join(sorted(each.path for each in pages))
        yield _about(rules.OPEN_PAGES, application, f"everybody may read {told}", subject)


def _lets_strangers_in(cors: Cors) -> bool:
    """Tell whether a site that nobody here has heard of is among the origins that are let in."""
    if {"*", "null"} & set(cors.origins):
        return True
    if not cors.pattern:
        return False
    # Also the one whose name ends as that of somebody who may: ``https://.*example.com`` lets in evilexample.com.
    names = re.findall(r"[a-z0-9-]+(?:\\?\.[a-z0-9-]+)+", cors.pattern)
    strangers = ["https://evil.invalid", "http://evil.invalid", "null"]
    strangers += [f"https://evil{name.replace(chr(92), '')}" for name in names]
    try:
        return any(re.fullmatch(cors.pattern, each) for each in strangers)
    except re.error:
        return False


def _about(rule: Rule, application: Application, what: str, subject: str = "") -> Finding:
    return Finding(rule, rule.severity, what, application.place, subject=subject)


def _of_route(route: Route, application: Application) -> Iterator[Finding]:
    if route.kind in {"pages", "static"} or route.why == "limen's own route":
        return
    if route.standing == "open":
        taken = any(each.takes_only and not each.is_optional for each in route.guards)
        yield _on(rules.NOT_VERIFIED if taken else rules.OPEN_ROUTE, route, route.why)
    elif route.standing == "unknown":
        is_seen = "cannot be followed" not in route.why and "another kind" not in route.why
        yield _on(rules.UNKNOWN_GUARD, route, route.why, Severity.MEDIUM if is_seen else None)
    if route.kind != "http":
        return
    if route.standing == "guarded":
        yield from _of_guarded(route)
    yield from _of_input(route)
    yield from _of_output(route)
    if not route.throttled_by and _is_tried(route):
        yield _on(rules.NOT_THROTTLED, route, "it is tried as often as anybody likes")


def _is_tried(route: Route) -> bool:
    """Tell whether a secret can be guessed here, or strangers have mails sent."""
    if set(route.methods) & {"POST", "PUT", "PATCH"} and _fields(route) & _GUESSED:
        return True
    if route.standing == "guarded" and not all(each.by == "handler" for each in route.guards):
        return False
    last = _last_words(route)
    if last & _ONE_TIME and last & _VERIFIES:
        return True
    if not set(route.methods) & {"POST", "PUT"}:
        return False
    if last & {"reset", "recover", "recovery", "activate"} and not last & _ABOUT_ACCOUNTS:
        return bool(_words(route) & _ABOUT_ACCOUNTS)
    return bool(last & _TRIED) or _asks_for_password(route)


def _fields(route: Route) -> set[str]:
    return {each.name for each in route.inputs} | {field.path for each in route.inputs for field in each.fields}


def _asks_for_password(route: Route) -> bool:
    """Tell whether a name and a password, and little else, are sent: that is a login, whatever it is called."""
    fields = _fields(route)
    if {"username", "password", "grant_type"} <= fields:  # FastAPI's OAuth2PasswordRequestForm
        return True
    is_named = _LOGS_IN.search(route.handler.name + route.path) is not None
    return is_named and "password" in fields and bool(fields & {"username", "email", "login"})


def _of_guarded(route: Route) -> Iterator[Finding]:
    changes = bool(set(route.methods) & _CHANGES) or not route.methods
    named = [each for each in route.parameters if _ID.search(each) or each in route.uuids]
    narrow = any(each.asks for each in route.guards) or any(each.about_object for each in route.guards)
    firm = [each for each in route.guards if not each.takes_only and not each.is_optional]
    is_own = bool(firm) and all(each.by == "handler" for each in firm)
    if not narrow and not is_own and route.handler.asks_principal is not True and route.handler.is_own_code:
        if named:
            is_word = not changes and all(_WORD.search(each) and each not in route.uuids for each in named)
            severity = Severity.HIGH if changes else Severity.LOW if is_word else Severity.MEDIUM
            what = f"{', '.join(named)} in its path, and only {_asked(route)}"
            yield _on(rules.OBJECT_NOT_ASKED, route, what, severity, ",".join(named))
        elif changes:
            yield _on(rules.ANYBODY_LOGGED_IN, route, f"only {_asked(route)}")
    fresh = [each.is_fresh for each in route.guards]
    if changes and False in fresh and True not in fresh and _words(route) & _MATTERS:
        yield _on(rules.NOT_ASKED_AGAIN, route, "its guards read a token, and nothing asks the database again")
    if changes and not route.forgery and route.is_forgeable:
        yield _on(rules.FORGERY, route, "its credential is a cookie")


def _asked(route: Route) -> str:
    firm = list(dict.fromkeys(each.name for each in route.guards if not each.takes_only))
    if not firm or firm == ["limen"]:
        return "who is calling is asked"
    return f"{firm[0]} is asked" if len(firm) == 1 else f"{' and '.join(firm[:2])} are asked"


def _of_input(route: Route) -> Iterator[Finding]:
    for each in route.inputs:
        place = each.place if each.place.line else route.handler.place
        if each.shape == "undeclared":
            what = f"its body {each.name} is a {each.type}"
            yield _on(rules.UNDECLARED_INPUT, route, what, subject=each.name)
        elif each.shape == "raw":
            yield _on(rules.UNDECLARED_INPUT, route, "its handler reads the body itself", subject=each.name)
        elif each.shape in {"open", "keeping"}:
            what = f"{each.type} {'ignores' if each.shape == 'open' else 'keeps'} fields that it does not know"
            yield Finding(rules.OPEN_MODEL, Severity.LOW, what, place, route.path, _methods(route), each.type)


def _of_output(route: Route) -> Iterator[Finding]:
    once = "POST" in route.methods and bool(_words(route) & _TELLS_A_SECRET_ONCE)
    paths = {each.path.rpartition(".")[0] for each in route.output.fields}
    secret = [
        each
        for each in route.output.fields
        if _is_secret(each) and each.path not in paths and not (once and not _HASH.search(each.path))
    ]
    if secret:
        place = route.output.place if route.output.place.line else route.handler.place
        what = f"{route.output.type} has {', '.join(each.path for each in secret[:3])}"
        subject = ",".join(sorted(each.path for each in secret))
        yield Finding(rules.SECRET_IN_ANSWER, Severity.HIGH, what, place, route.path, _methods(route), subject)
    if not route.output.is_declared and route.handler.is_own_code and route.methods != ("DELETE",):
        yield _on(rules.NO_ANSWER_MODEL, route, "its answer is declared nowhere")


def _is_secret(field: Field) -> bool:
    if _NO_SECRET_TYPE.search(field.type) or field.type in {"bool", "int", "datetime", "float"}:
        return False
    *before, last = field.path.split(".")
    if {"links", "_links", "urls", "href"} & set(before):
        return False
    return bool(_SECRET_FIELD.search(last))


def _on(rule: Rule, route: Route, what: str, severity: Severity | None = None, subject: str = "") -> Finding:
    place: Place = route.handler.place
    return Finding(rule, severity or rule.severity, what, place, route.path, _methods(route), subject)


def _methods(route: Route) -> str:
    return "WS" if route.kind == "websocket" else ",".join(route.methods)


def _last_words(route: Route) -> set[str]:
    """Return the words of the last part of a path that is no parameter."""
    parts = [each for each in route.path.split("/") if each and not each.startswith("{")]
    return _split(parts[-1]) if parts else set()


def _words(route: Route) -> set[str]:
    parts = [each for each in route.path.split("/") if not each.startswith("{")]
    return {word for part in (*parts, route.handler.name) for word in _split(part)}


def _split(text: str) -> set[str]:
    return {text.lower(), *(word.lower() for word in _WORDS.findall(text))}
