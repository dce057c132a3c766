"""What the demo prints to be tried: lines for a POSIX shell with curl and sed, and for certificates openssl.

Single sign-on takes a provider: the lines install canaille beside the demo, and make its client and its person there.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that belong together; those of the sections before were pasted already.

    Attributes:
        heading: what they show.
        lines: the lines.
    """

    heading: str
    lines: tuple[str, ...]


_PYTHON: Final = shlex.quote(sys.executable)
_LIMEN: Final = f"{_PYTHON} -m limen.cli"
_PATIENT: Final = '--retry 60 --retry-connrefused --retry-delay 1 -o "$d/ready"'
_JSON: Final = "-H 'Content-Type: application/json'"
_ORDER: Final = """-d '{"item": "an oak threshold", "amount": 120}'"""
_CREDENTIALS: Final = """-d '{"username": "maker", "password": "'"$password"'"}'"""


def things_to_try(address: str, accounts_file: Path, settings_file: Path) -> list[Section]:
    """Return the lines for a demo at this address whose passwords and settings are in these files."""
    return [
        Section("To try, paste into another shell:", _tokens(address, accounts_file)),
        Section("A browser's session, by a cookie; a change takes a proof of whose page asks:", _COOKIE),
        Section("Policies: what each may see, who may approve, and why not:", _policies(accounts_file)),
        Section("An order so large that it takes two others; above a checker's limit:", _TWO),
        Section("An API key of one's own, which may read and nothing else:", _OWN_KEY),
        Section("What a gateway (nginx, Caddy, Traefik, Envoy) asks, and is told:", _GATEWAY),
        Section("A service, which has nothing but the key that an administrator makes:", _service(accounts_file)),
        Section(
            "A service by its certificate, at a server with TLS beside the demo:", _certificate(address, settings_file)
        ),
        Section("Single sign-on, at a server and a provider (canaille) beside the demo:", _sso(address, settings_file)),
        Section(
            "Tokens of another issuer: a limen that signs with a key, and an application beside that trusts it:",
            _issuer(address, settings_file),
        ),
        Section(
            "Messages of a service, with a pipe for the queue: one, its copy, and one that was changed:",
            _messages(settings_file),
        ),
    ]


def _password(name: str, accounts_file: Path) -> str:
    picked = f"""sed -n '/"{name}"/,/}}/s/.*"password": *"\\([^"]*\\)".*/\\1/p'"""
    return f"$({picked} {shlex.quote(str(accounts_file))})"


def _field(name: str) -> str:
    return f"""sed 's/.*"{name}": *"\\([^"]*\\)".*/\\1/'"""


def _tokens(address: str, accounts_file: Path) -> tuple[str, ...]:
    bearer = '-H "Authorization: Bearer $access"'
    return (
        f"limen={address}",
        f"password={_password('maker', accounts_file)}",
        f'tokens=$(curl -sS "$limen/auth/login" {_JSON} {_CREDENTIALS})',
        f'access=$(echo "$tokens" | {_field("access_token")})',
        f'refresh=$(echo "$tokens" | {_field("refresh_token")})',
        f'curl -sS "$limen/auth/me" {bearer}; echo',
        f'curl -sS "$limen/orders" {bearer} {_JSON} {_ORDER}; echo',
        'curl -sS -i "$limen/orders"; echo',
        f"""curl -sS "$limen/auth/refresh" {_JSON} -d '{{"refresh_token": "'"$refresh"'"}}'; echo""",
    )


_BROWSER: Final = 'curl -sS -b "$jar" -c "$jar" -H "Origin: $limen"'
_COOKIE: Final = (
    "jar=$(mktemp)",
    f'session=$({_BROWSER} "$limen/auth/session" {_JSON} {_CREDENTIALS})',
    f'csrf=$(echo "$session" | {_field("csrf_token")})',
    f'{_BROWSER} "$limen/auth/me"; echo',
    f'{_BROWSER} "$limen/orders" {_JSON} {_ORDER}; echo',
    f'{_BROWSER} "$limen/orders" -H "X-CSRF-Token: $csrf" {_JSON} {_ORDER}; echo',
    f'{_BROWSER} -X DELETE "$limen/auth/session" -H "X-CSRF-Token: $csrf"',
    f'{_BROWSER} "$limen/auth/me"; echo',
)


def _policies(accounts_file: Path) -> tuple[str, ...]:
    read = f"""sed -n '/"'"$1"'"/,/}}/s/.*"password": *"\\([^"]*\\)".*/\\1/p' {shlex.quote(str(accounts_file))}"""
    credentials = """-d '{"username": "'"$1"'", "password": "'"$2"'"}'"""
    newcomer = """-d '{"username": "'"$both"'", "password": "'"$password"'"}'"""
    return (
        f'login() {{ curl -sS "$limen/auth/login" {_JSON} {credentials} | {_field("access_token")}; }}',
        f'token() {{ login "$1" "$({read})"; }}',
        f'as() {{ t=$1; shift; curl -sS {_JSON} -H "Authorization: Bearer $t" "$@"; echo; }}',
        f"""order() {{ as "$1" "$limen/orders" -d '{{"item": "oak", "amount": '$2'}}' | {_field("id")}; }}""",
        "maker=$(token maker); checker=$(token checker); super=$(token super-checker); boss=$(token admin)",
        'zero=$(order "$maker" 1); first=$(order "$maker" 120); second=$(order "$maker" 240)',
        """as "$super" -X PUT "$limen/orders/$second/checker" -d '{"username": "checker"}'""",
        'as "$maker" "$limen/orders?after=$zero"',
        'as "$checker" "$limen/orders?after=$zero"',
        'as "$checker" -X POST "$limen/orders/$first/approve"',
        'as "$checker" -X POST "$limen/orders/$second/approve"',
        "both=both-$(date +%s)-$$",
        f'id=$(curl -sS "$limen/auth/register" {_JSON} {newcomer} | {_field("id")})',
        """as "$boss" -X PATCH "$limen/admin/api/accounts/$id" -d '{"roles": ["maker", "checker"]}'""",
        'both=$(login "$both" "$password"); own=$(order "$both" 120)',
        'as "$both" -X POST "$limen/orders/$own/approve"',
    )


_SEEN: Final = """tr '{' '\\n' | sed -n 's/.*"id": *"'"$large"'".*"digest": *"\\([^"]*\\)".*/If-Match: "\\1"/p'"""
_TWO: Final = (
    'large=$(order "$maker" 600000)',
    """as "$super" -X PUT "$limen/orders/$large/checker" -d '{"username": "checker"}'""",
    'as "$checker" -X POST "$limen/orders/$large/approve"',
    'as "$boss" "$limen/admin/api/explain?account=checker&action=order:approve&resource=Order:$large"',
    'as "$super" -X POST "$limen/orders/$large/approve"',
    'as "$super" "$limen/approvals"',
    f"""seen=$(as "$super" "$limen/approvals" | {_SEEN})""",
    'as "$super" -H "$seen" -X POST "$limen/orders/$large/approve"',
    'as "$super" -H "$seen" -X POST "$limen/orders/$large/approve"',
    'as "$boss" -H "$seen" -X POST "$limen/orders/$large/approve"',
    """until as "$maker" "$limen/orders/$large" | grep '"approved"'; do sleep 1; done""",
)

_KEY: Final = """-d '{"name": "reads orders", "scopes": ["order:read"]}'"""
_OWN_KEY: Final = (
    f'made=$(curl -sS "$limen/auth/api-keys" -H "Authorization: Bearer $access" {_JSON} {_KEY})',
    f'key=$(echo "$made" | {_field("key")})',
    'curl -sS "$limen/orders" -H "X-API-Key: $key"; echo',
    f'curl -sS "$limen/orders" -H "X-API-Key: $key" {_JSON} {_ORDER}; echo',
)


_GATEWAY: Final = (
    'curl -sS -i "$limen/auth/verify?roles=maker" -H "Authorization: Bearer $access"; echo',
    'curl -sS "$limen/auth/verify?roles=admin" -H "Authorization: Bearer $access"; echo',
    'curl -sS "$limen/auth/verify"; echo',
)


def _service(accounts_file: Path) -> tuple[str, ...]:
    credentials = _CREDENTIALS.replace("maker", "admin").replace("$password", "$admin")
    services = '"$limen/admin/api/services'
    bearer = '-H "Authorization: Bearer $boss"'
    account = """-d '{"name": "robot-'"$(date +%s)-$$"'", "roles": ["maker"]}'"""
    key = """-d '{"name": "night shift"}'"""
    return (
        f"admin={_password('admin', accounts_file)}",
        f'boss=$(curl -sS "$limen/auth/login" {_JSON} {credentials} | {_field("access_token")})',
        f'robot=$(curl -sS {services}" {bearer} {_JSON} {account} | {_field("id")})',
        f'key=$(curl -sS {services}/$robot/api-keys" {bearer} {_JSON} {key} | {_field("key")})',
        'curl -sS "$limen/auth/me" -H "Authorization: Bearer $key"; echo',
        f'curl -sS "$limen/orders" -H "Authorization: Bearer $key" {_JSON} {_ORDER}; echo',
        f'curl -sS -X POST {services}/$robot/disable" {bearer}',
        'sleep 3; curl -sS "$limen/auth/me" -H "Authorization: Bearer $key"; echo',
    )


def _certificate(address: str, settings_file: Path) -> tuple[str, ...]:
    key = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj"
    port = _beside(address, 1)
    authority = '-CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial'
    curl = 'curl -sS --cacert "$d/ca.pem"'
    certificate = '--cert "$d/us.pem" --key "$d/us.key"'
    serve = '--tls-cert "$d/server.pem" --tls-key "$d/server.key" --client-ca "$d/ca.pem"'
    return (
        f"d=$(mktemp -d); us=billing-$(date +%s)-$$; tls=https://127.0.0.1:{port}",
        f'{key} "/CN=an authority" -x509 -days 1 -keyout "$d/ca.key" -out "$d/ca.pem" 2> "$d/log"',
        f'certify() {{ {key} "/CN=$1" -keyout "$d/$1.key" -out "$d/$1.csr"',
        'printf "subjectAltName=$2\\nextendedKeyUsage=$3" > "$d/ext"',
        f'openssl x509 -req -in "$d/$1.csr" {authority} -days 1 -extfile "$d/ext" -out "$d/$1.pem"; }}',
        'certify server IP:127.0.0.1 serverAuth 2> "$d/log"',
        'certify us "URI:spiffe://example.org/$us" clientAuth 2> "$d/log"',
        f"export LIMEN_ENV_FILE={shlex.quote(str(settings_file))}",
        f'{_LIMEN} services create "$us" --role maker',
        f'{_LIMEN} certificates add "$us" --uri "spiffe://example.org/$us"',
        f'{_LIMEN} serve --port {port} {serve} > "$d/log" 2>&1 &',
        f'{curl} {_PATIENT} "$tls/readyz" 2> "$d/log"',
        f'{curl} {certificate} "$tls/auth/me"; echo',
        f'{curl} "$tls/auth/me"; echo',
        "kill $!; unset LIMEN_ENV_FILE",
    )


def _sso(address: str, settings_file: Path) -> tuple[str, ...]:
    here, there = _beside(address, 2), _beside(address, 3)
    client = (
        """-d '{"client_name": "limen", "client_uri": "'"$sso"'", "scope": "openid email profile", """
        """"grant_types": ["authorization_code"], "response_types": ["code"], """
        """"redirect_uris": ["'"$sso"'/auth/sso/corp/callback"]}'"""
    )
    person = "-d user_name=ann -d family_name=Lee -d emails-0=ann@example.org"
    password = "-d password1=only-to-try-it -d password2=only-to-try-it"
    settings_there = 'CANAILLE_CONFIG="$d/op.toml" AUTHLIB_INSECURE_TRANSPORT=1'
    settings_here = f"LIMEN_ENV_FILE={shlex.quote(str(settings_file))} LIMEN_OUTBOUND_ALLOW=127.0.0.0/8"
    return (
        f"d=$(mktemp -d); op=http://127.0.0.1:{there}; sso=http://127.0.0.1:{here}",
        f'{_PYTHON} -m venv "$d/op" && "$d/op/bin/pip" install -q --disable-pip-version-check "canaille[front,oidc]"',
        'cat > "$d/op.toml" << end',
        'SECRET_KEY = "only to try it"',
        "WTF_CSRF_ENABLED = false",
        'CANAILLE = {DATABASE = "memory", ENABLE_REGISTRATION = true}',
        "CANAILLE_OIDC = {DYNAMIC_CLIENT_REGISTRATION_OPEN = true}",
        "end",
        f'{settings_there} "$d/op/bin/flask" --app canaille run --port {there} > "$d/log" 2>&1 & op_runs=$!',
        f'curl -sS {_PATIENT} "$op/.well-known/openid-configuration" 2> "$d/wait"',
        f'client=$(curl -sS "$op/oauth/register" {_JSON} {client})',
        f'id=$(echo "$client" | {_field("client_id")}); secret=$(echo "$client" | {_field("client_secret")})',
        f'curl -sS -o "$d/page" -c "$d/ann" "$op/register" {person} {password}',
        f'( export {settings_here} LIMEN_SSO_CORP_ISSUER="$op/" LIMEN_SSO_CORP_CLIENT_ID="$id"',
        'export LIMEN_SSO_CORP_CLIENT_SECRET="$secret" LIMEN_SSO_CORP_CREATE=on LIMEN_SSO_CORP_ROLES="*=maker"',
        f'exec {_LIMEN} serve --port {here} > "$d/log.sso" 2>&1 ) &',
        f'curl -sS {_PATIENT} "$sso/readyz" 2> "$d/wait"',
        'curl -sS -o "$d/page" -w "%{redirect_url}" "$sso/auth/sso/corp/login"; echo',
        'curl -sS -L -b "$d/ann" -c "$d/ann" "$sso/auth/sso/corp/login?next=/auth/me"; echo',
        'kill $! "$op_runs"',
    )


def _issuer(address: str, settings_file: Path) -> tuple[str, ...]:
    there, here = _beside(address, 4), _beside(address, 5)
    keys = 'jwks_uri="$auth/.well-known/jwks.json", algorithms=["ES256"]'
    return (
        f"d=$(mktemp -d); auth=http://127.0.0.1:{there}; shop=http://127.0.0.1:{here}",
        f'( export LIMEN_ENV_FILE={shlex.quote(str(settings_file))} LIMEN_ISSUER="$auth" LIMEN_AUDIENCE=shop',
        f'LIMEN_SIGNING_ALG=ES256 exec {_LIMEN} serve --port {there} > "$d/log.auth" 2>&1 ) & auth_runs=$!',
        f'{_LIMEN} init --file "$d/shop.env" --database "$d/shop.db" > "$d/log"',
        'cat > "$d/shop.py" << end',
        "from fastapi import FastAPI",
        "from limen import ClaimRule, ExternalIssuer, Limen",
        "from limen.fastapi import CurrentPrincipal, roles",
        'rules = [ClaimRule("roles", "maker", roles=["maker"])]',
        f'auth = ExternalIssuer(issuer="$auth", audience="shop", rules=rules, {keys})',
        'gate = Limen.from_env(roles={"maker": ["order:create"]}, issuers=[auth])',
        "app = FastAPI()",
        "gate.protect(app, health=True)",
        '@app.get("/me")',
        '@roles("maker")',
        "async def me(who: CurrentPrincipal) -> dict[str, str | None]:",
        '    return {"sub": who.sub, "issuer": who.issuer, "subject": who.subject}',
        "end",
        f'curl -sS {_PATIENT} "$auth/readyz" 2> "$d/wait"',
        '( cd "$d"; export LIMEN_ENV_FILE="$d/shop.env" LIMEN_OUTBOUND_ALLOW=127.0.0.0/8',
        f'exec {_PYTHON} -m uvicorn shop:app --port {here} --no-proxy-headers > "$d/log.shop" 2>&1 ) &',
        f'curl -sS {_PATIENT} "$shop/readyz" 2> "$d/wait"',
        f'theirs=$(curl -sS "$auth/auth/login" {_JSON} {_CREDENTIALS} | {_field("access_token")})',
        'curl -sS "$shop/me" -H "Authorization: Bearer $theirs"; echo',
        'curl -sS "$shop/me" -H "Authorization: Bearer $access"; echo',
        'kill $! "$auth_runs"',
    )


def _messages(settings_file: Path) -> tuple[str, ...]:
    from limen.server.demo import orders_module

    module, folder = orders_module("worker")
    place = "" if folder is None else f"cd {shlex.quote(str(folder))} && "
    database = shlex.quote(str(settings_file.parent / "orders.db"))
    return (
        f"export LIMEN_ENV_FILE={shlex.quote(str(settings_file))} ORDERS_DATABASE={database}",
        f'worker() ( {place}{_PYTHON} -m {module} "$@" )',
        f'shop=shop-$(date +%s)-$$; {_LIMEN} services create "$shop" --role maker',
        'message=$(worker send "$shop" "an oak threshold" 120)',
        """changed=$(printf '%s' "$message" | sed 's/an oak/a golden/')""",
        'printf \'%s\\n\' "$message" "$message" "$changed" | worker handle',
        "unset LIMEN_ENV_FILE ORDERS_DATABASE",
    )


def _beside(address: str, number: int) -> int:
    """Return a port near the demo's."""
    return ((urlsplit(address).port or 8000) + number - 1) % 65_535 + 1
