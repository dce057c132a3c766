"""What the demo prints to be tried: lines for a POSIX shell with curl and sed, and for certificates openssl."""

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


_JSON: Final = "-H 'Content-Type: application/json'"
_ORDER: Final = """-d '{"item": "an oak threshold", "amount": 120}'"""
_CREDENTIALS: Final = """-d '{"username": "maker", "password": "'"$password"'"}'"""


def things_to_try(address: str, accounts_file: Path, settings_file: Path) -> list[Section]:
    """Return the lines for a demo at this address whose passwords and settings are in these files."""
    return [
        Section("To try, paste into another shell:", _tokens(address, accounts_file)),
        Section("A browser's session, by a cookie; a change takes a proof of whose page asks:", _COOKIE),
        Section("An API key of one's own, which may read and nothing else:", _OWN_KEY),
        Section("What a gateway (nginx, Caddy, Traefik, Envoy) asks, and is told:", _GATEWAY),
        Section("A service, which has nothing but the key that an administrator makes:", _service(accounts_file)),
        Section(
            "A service by its certificate, at a server with TLS beside the demo:", _certificate(address, settings_file)
        ),
    ]


def _password(name: str, accounts_file: Path) -> str:
    picked = f"""sed -n '/"{name}"/,/}}/s/.*"password": *"\\([^"]*\\)".*/\\1/p'"""
    return f"$({picked} {shlex.quote(str(accounts_file))})"


def _field(name: str) -> str:
    return f"""sed 's/.*"{name}":"\\([^"]*\\)".*/\\1/'"""


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
    account = """-d '{"name": "robot-'"$(date +%s)"'", "roles": ["maker"]}'"""
    key = """-d '{"name": "night shift"}'"""
    return (
        f"admin={_password('admin', accounts_file)}",
        f'boss=$(curl -sS "$limen/auth/login" {_JSON} {credentials} | {_field("access_token")})',
        f'robot=$(curl -sS {services}" {bearer} {_JSON} {account} | {_field("id")})',
        f'key=$(curl -sS {services}/$robot/api-keys" {bearer} {_JSON} {key} | {_field("key")})',
        'curl -sS "$limen/auth/me" -H "Authorization: Bearer $key"; echo',
        f'curl -sS "$limen/orders" -H "Authorization: Bearer $key" {_JSON} {_ORDER}; echo',
        f'curl -sS -X POST {services}/$robot/disable" {bearer}',
        'sleep 2; curl -sS "$limen/auth/me" -H "Authorization: Bearer $key"; echo',
    )


def _certificate(address: str, settings_file: Path) -> tuple[str, ...]:
    limen = f"{shlex.quote(sys.executable)} -m limen.cli"
    key = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj"
    port = (urlsplit(address).port or 8000) % 65_535 + 1
    authority = '-CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial'
    curl = 'curl -sS --cacert "$d/ca.pem"'
    certificate = '--cert "$d/us.pem" --key "$d/us.key"'
    serve = '--tls-cert "$d/server.pem" --tls-key "$d/server.key" --client-ca "$d/ca.pem"'
    return (
        f"d=$(mktemp -d); us=billing-$(date +%s); tls=https://127.0.0.1:{port}",
        f'{key} "/CN=an authority" -x509 -days 1 -keyout "$d/ca.key" -out "$d/ca.pem" 2> "$d/log"',
        f'certify() {{ {key} "/CN=$1" -keyout "$d/$1.key" -out "$d/$1.csr"',
        'printf "subjectAltName=$2\\nextendedKeyUsage=$3" > "$d/ext"',
        f'openssl x509 -req -in "$d/$1.csr" {authority} -days 1 -extfile "$d/ext" -out "$d/$1.pem"; }}',
        'certify server IP:127.0.0.1 serverAuth 2> "$d/log"',
        'certify us "URI:spiffe://example.org/$us" clientAuth 2> "$d/log"',
        f"export LIMEN_ENV_FILE={shlex.quote(str(settings_file))}",
        f'{limen} services create "$us" --role maker',
        f'{limen} certificates add "$us" --uri "spiffe://example.org/$us"',
        f'{limen} serve --port {port} {serve} > "$d/log" 2>&1 &',
        f'{curl} --retry 30 --retry-connrefused --retry-delay 1 -o "$d/ready" "$tls/readyz" 2> "$d/log"',
        f'{curl} {certificate} "$tls/auth/me"; echo',
        f'{curl} "$tls/auth/me"; echo',
        "kill $!; unset LIMEN_ENV_FILE",
    )
