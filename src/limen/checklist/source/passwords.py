"""Passwords: how they are hashed, and where they are kept as they came."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, is_constant, keyword, last_name, text_of
from limen.checklist.source.scopes import FunctionNode
from limen.checklist.source.words import is_password

_FAST: Final = re.compile(
    r"^(hashlib\.(md5|sha1|sha224|sha256|sha384|sha512|sha3_\d+|blake2[bs]|new|shake_\d+)"
    r"|(Crypto|Cryptodome)\.Hash\.(MD\d|SHA\d*|SHA3_\d+|BLAKE2[bs])\.new|zlib\.(crc32|adler32)|base64\.\w*encode"
    r"|passlib\.(hash\.)+(hex_\w+|md5_crypt|sha1_crypt|plaintext|des_crypt|ldap_md5|ldap_sha1|mysql\d*|lmhash|nthash"
    r"|apr_md5_crypt|msdcc2?|oracle10)(\.using\(\))?\.(hash|encrypt))$"
)
_WEAK: Final = re.compile(
    r"^(plaintext|hex_.*|.*md5.*|sha1_crypt|des_crypt|.*(lm|nt)hash|mysql\d*|ldap_sha1|plain|sha1)$"
)
_HASHES: Final = re.compile(
    r"(hash|make|encode|encrypt|verify|check|compare|get|store)\w*_?(password|passwd|pwd)|(password|passwd|pwd)_?\w*hash"
)
_STORES: Final = frozenset(
    {"add", "add_all", "commit", "save", "flush", "merge", "insert", "insert_one", "create", "update_one"}
)
_TABLES: Final = ("sqlalchemy", "sqlmodel", "tortoise", "peewee", "mongoengine", "beanie", "odmantic", "pony", "ormar")
# A digest of the first bytes is what a service of leaked passwords is asked for; bcrypt takes 72 bytes at most.
_ELSEWHERE: Final = re.compile(
    r"pwned|breach|leaked|hibp|bcrypt|argon2|scrypt|pbkdf2|hashpw|PasswordHasher", re.IGNORECASE
)
# What is handed to a call, or to another system: its password is no account's.
_NO_TABLE: Final = re.compile(
    r"(Connection|Client|Request|Config|Settings|Credentials?|Auth|Engine|Options|Params|Schema|Create|Update|In|Form)$"
    r"|Connection|Client"
)
_ROUNDS: Final = 100_000
_INSERTS: Final = re.compile(r"\b(insert\s+into|update)\b.*\b(password|passwd|pwd)\b", re.IGNORECASE | re.DOTALL)


def weak_passwords(module: Module) -> Iterator[Finding]:
    """Find passwords that are hashed fast, or kept as they are (LC102)."""
    for call in module.all(ast.Call):
        what = _hashed_fast(module, call) or _weak_scheme(module, call) or _kept_by_call(module, call)
        if what:
            yield found_at(rules.PASSWORD_STORAGE, module, call, what)
    for assignment in module.all(ast.Assign):
        for target in assignment.targets:
            what = _kept(module, target, assignment.value)
            if what:
                yield found_at(rules.PASSWORD_STORAGE, module, assignment, what)


def _hashed_fast(module: Module, call: ast.Call) -> str:
    name = module.name_of(call.func)
    if name.endswith("().update") and called_name(call) == "update":
        name = name.removesuffix("().update")
    if name == "hashlib.pbkdf2_hmac" and not _is_slow_enough(call) and _has_password(module, call):
        return "a password goes through PBKDF2 too few times"
    if not _FAST.match(name):
        return ""
    function = module.function_around(call)
    is_for_passwords = function is not None and bool(_HASHES.search(function.name.lower()))
    if is_constant(keyword(call, "usedforsecurity"), False) and not is_for_passwords:
        return ""
    if name.startswith("base64.") and not _is_called_hash(module, call):
        return ""
    given = any(_has_password(module, each) for each in call.args)
    if not given and not (is_for_passwords and call.args and not _is_fixed_text(call)):
        return ""
    return "" if _is_not_kept(module, call, function) else f"a password goes into {name}"


def _is_called_hash(module: Module, call: ast.Call) -> bool:
    """Tell whether what comes out is called a hash: an encoding is none."""
    statement = module.statement_around(call)
    return isinstance(statement, ast.Assign) and any("hash" in last_name(each) for each in statement.targets)


def _is_slow_enough(call: ast.Call) -> bool:
    """Tell whether PBKDF2 runs as often as it must; a number that is not written here is believed."""
    rounds = call.args[3] if len(call.args) > 3 else keyword(call, "iterations")
    return not (isinstance(rounds, ast.Constant) and isinstance(rounds.value, int) and rounds.value < _ROUNDS)


def _is_fixed_text(call: ast.Call) -> bool:
    return all(isinstance(each, ast.Constant) for each in call.args)


def _has_password(module: Module, expression: ast.expr, hops: int = 0) -> bool:
    """Tell whether an expression is made of a password; a variable is what it was given."""
    for each in ast.walk(expression):
        if not isinstance(each, ast.Name | ast.Attribute | ast.Subscript):
            continue
        if is_password(last_name(each)):
            return True
        if isinstance(each, ast.Name) and hops < 2:
            steps = [value for value in module.values_of(each) if not isinstance(value, ast.Call) or _unchanged(value)]
            if any(_has_password(module, value, hops + 1) for value in steps):
                return True
    return False


def _unchanged(call: ast.Call) -> bool:
    return called_name(call) in {"encode", "decode", "strip", "format", "join", "str", "bytes", "get"}


def _is_not_kept(module: Module, call: ast.Call, function: FunctionNode | None) -> bool:
    """Tell whether the digest is a step on the way to a password hash, or is compared and thrown away."""
    for each in module.above(call):
        if isinstance(each, ast.Call):
            name = called_name(each)
            if _ELSEWHERE.search(name):
                return True
            if name == "compare_digest" and all(_is_digest(module, given) for given in each.args):
                return True
    return function is not None and any(
        bool(_ELSEWHERE.search(module.name_of(each.func) or called_name(each))) or "pwned" in ast.unparse(each).lower()
        for each in ast.walk(function)
        if isinstance(each, ast.Call)
    )


def _is_digest(module: Module, expression: ast.expr) -> bool:
    return any(isinstance(each, ast.Call) and _FAST.match(module.name_of(each.func)) for each in ast.walk(expression))


def _weak_scheme(module: Module, call: ast.Call) -> str:
    name = called_name(call)
    if name == "CryptContext":
        listed = keyword(call, "schemes") or (call.args[0] if call.args else None)
        schemes = [text_of(each) or "" for each in getattr(listed, "elts", [])]
        default = text_of(keyword(call, "default")) or (schemes[0] if schemes else "")
        return f"{default} is the scheme of the context" if _WEAK.match(default) else ""
    if name == "generate_password_hash":
        method = text_of(keyword(call, "method") or (call.args[1] if len(call.args) > 1 else None)) or ""
        return f"the method is {method}" if _WEAK.match(method) else ""
    return ""


def _kept_by_call(module: Module, call: ast.Call) -> str:
    """Tell what is kept: ``User(hashed_password=data.password)``, or an INSERT with a password among its values."""
    for given in call.keywords:
        is_hash = given.arg is not None and "hash" in given.arg.lower() and "passw" in given.arg.lower()
        if is_hash and _is_raw(module, given.value):
            return f"{given.arg} is given the password itself"
        if given.arg and is_password(given.arg) and _is_typed(module, given.value) and _is_stored(module, call):
            return "a password is stored as it came"
    if called_name(call) in {"execute", "executemany", "fetchrow", "fetchval"} and len(call.args) > 1:
        values = [inner for each in call.args[1:] for inner in _listed(each)]
        if _INSERTS.search(text_of(call.args[0]) or "") and any(_is_raw(module, each) for each in values):
            return "a password is stored as it came"
    return ""


def _listed(given: ast.expr) -> list[ast.expr]:
    if isinstance(given, ast.Tuple | ast.List):
        return list(given.elts)
    return list(given.values) if isinstance(given, ast.Dict) else [given]


def _is_typed(module: Module, value: ast.expr) -> bool:
    """Tell whether a value is what somebody typed: of an account, ``password`` may be the name of its hash."""
    owner = last_name(value.value) if isinstance(value, ast.Attribute) else ""
    return _is_raw(module, value) and not re.search(r"^_?(user|account|member|row|record|self|model)$", owner)


def _is_raw(module: Module, value: ast.expr) -> bool:
    """Tell whether a value is a password as it came: no call has made something else of it."""
    tests = [ast.unparse(each.test) for each in module.above(value) if isinstance(each, ast.If | ast.IfExp)]
    if any(re.search(r"identify|hash|startswith|crypt", each) for each in tests):
        return False  # the code asks whether it is one already
    if isinstance(value, ast.BinOp):  # user.password + "notreallyhashed"
        return _is_raw(module, value.left) or _is_raw(module, value.right)
    if isinstance(value, ast.Call) and called_name(value) in {"get_secret_value", "strip"}:
        return isinstance(value.func, ast.Attribute) and _is_raw(module, value.func.value)
    if not isinstance(value, ast.Name | ast.Attribute | ast.Subscript) or not is_password(last_name(value)):
        return False
    if isinstance(value, ast.Name):
        return not any(isinstance(each, ast.Call | ast.Await) for each in module.values_of(value))
    function = module.function_around(value)
    return function is None or not any(
        ast.dump(target).replace("Store()", "Load()") == ast.dump(value)
        for each in ast.walk(function)
        if isinstance(each, ast.Assign)
        for target in each.targets
    )


def _is_stored(module: Module, call: ast.Call) -> bool:
    """Tell whether what a call makes goes into a session, or the call is an insert itself."""
    if called_name(call) == "values" and "insert" in module.name_of(call.func):
        return True
    made = called_name(call)
    table = module.class_named(made)
    if table is None and (not made[:1].isupper() or _NO_TABLE.search(made)):
        return False
    if table is not None and not _is_table(table):
        return False
    outer = module.parent(call)
    if isinstance(outer, ast.Call) and called_name(outer) in _STORES:
        return True
    function = module.function_around(call)
    statement = module.statement_around(call)
    names = [last_name(each) for each in statement.targets] if isinstance(statement, ast.Assign) else []
    return function is not None and any(
        called_name(each) in _STORES and any(last_name(given) in names for given in each.args)
        for each in ast.walk(function)
        if isinstance(each, ast.Call)
    )


def _is_table(definition: ast.ClassDef) -> bool:
    """Tell whether a class of this file is kept in a database."""
    if any(is_constant(each.value, True) for each in definition.keywords if each.arg == "table"):
        return True
    names = {last_name(each) for each in definition.bases}
    return not names & {"BaseModel", "Schema", "TypedDict", "NamedTuple", "SQLModel", "Struct", "BaseSettings"}


def _kept(module: Module, target: ast.expr, value: ast.expr) -> str:
    """Tell what is kept by an assignment: ``row.password = data.password``, ``hashed = password + "…"``."""
    name = last_name(target)
    if "hash" in name.lower() and "passw" in name.lower() and _is_raw(module, value):
        return f"{name} is given the password itself"
    is_own = isinstance(target, ast.Attribute) and last_name(target.value) in {"self", "cls"}
    if not isinstance(target, ast.Attribute) or is_own or not is_password(name):
        return ""
    return "a password is stored as it came" if _is_typed(module, value) and _is_row(module, target) else ""


def _is_row(module: Module, target: ast.Attribute) -> bool:
    """Tell whether what has the attribute is kept: it is added or committed here, or the file is about tables."""
    owner = last_name(target.value).lower()
    if re.search(
        r"conn|client|config|request|update|body|payload|form|redis|smtp|server|proxy|url|args|options", owner
    ):
        return False
    if module.imports(*_TABLES):
        return True
    function = module.function_around(target)
    return function is not None and any(
        called_name(each) in _STORES for each in ast.walk(function) if isinstance(each, ast.Call)
    )
