"""Readers of single values. Each raises ValueError with a sentence that never holds the value."""

import json
import re
from email.utils import parseaddr
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from limen.core.networks import canonical_address, canonical_network
from limen.core.rates import Rate

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z")
_HOST = re.compile(r"(?:\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)\Z")
_DATABASE_NUMBER = re.compile(r"(?:/\d{0,5})?\Z")
_SENDER = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\Z")
_TLS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_MAX_NAME = 200


def split_list(value: object) -> object:
    """Read a list from one text: a JSON list of strings, or items separated by commas.

    Anything but a text is handed back as it is: the application may give a sequence.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text.startswith("["):
        return tuple(item.strip() for item in text.split(",") if item.strip())
    try:
        items = json.loads(text)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("is not a list: separate the items by commas, or write a JSON list of strings")
    return tuple(items)


def rate(text: str) -> str:
    """Return how often something may be done, in its one spelling, such as ``10/15 minutes``."""
    return str(Rate.of(text))


def canonical_origin(text: str) -> str:
    """Return a web origin as browsers write it (RFC 6454, section 6.2): lower case, no default port.

    Raises ValueError for what is not exactly one origin: wildcards and ``null`` (every sandboxed page sends it) would
    let strangers in; a path is a sign that something else was meant.
    """
    if text == "*" or "*" in text:
        raise ValueError("must name each origin: a wildcard would let every web site use its visitors' credentials")
    if text.casefold() == "null":
        raise ValueError("must not hold null: every sandboxed page and local file has that origin")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be ASCII without spaces (write an international host name in its xn-- form)")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("holds a port or an address that cannot be read") from None
    host = text.partition("://")[2].rpartition(":")[0] if port is not None else parts.netloc
    host = host.casefold()
    if parts.path or parts.query or parts.fragment or text.endswith(("?", "#", ":")):
        raise ValueError("must be scheme://host or scheme://host:port, with nothing after it, not even a slash")
    if "@" in parts.netloc or "://" not in text or not _SCHEME.match(parts.scheme) or not _HOST.match(host):
        raise ValueError("must be scheme://host or scheme://host:port, such as https://app.example")
    if port is None or port == _DEFAULT_PORTS.get(parts.scheme):
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{port}"


def allowed_host(text: str) -> str:
    """Return a host that is answered for: a name, an address, or ``*.`` before a name, as they are compared.

    IPv6 addresses lose their brackets, names their capitals and the dot at their end.
    """
    host = text.strip().casefold().removesuffix(".")
    if host == "*":
        raise ValueError("must name each host; leave it out where any is answered for")
    address = canonical_address(host.removeprefix("[").removesuffix("]"))
    if address:
        return address
    if not _HOST.match(host.removeprefix("*.")) or host.startswith("["):
        raise ValueError("must be a host such as app.example, *.app.example, 10.0.0.5 or ::1, without scheme and port")
    return host


def host_of(url: str) -> str:
    """Return the host of an address that was read, as `allowed_host` writes it."""
    return allowed_host(urlsplit(url).hostname or "")


def public_url(text: str) -> str:
    """Return the address under which others reach the application, without a slash at its end."""
    try:
        parts = urlsplit(text)
        canonical_origin(f"{parts.scheme}://{parts.netloc}")
    except ValueError:
        raise ValueError("is not an address such as https://app.example or https://app.example/base") from None
    if parts.scheme not in _DEFAULT_PORTS or parts.query or parts.fragment or not text.isascii() or " " in text:
        raise ValueError("must begin with https:// or http:// and hold neither a query nor a fragment")
    return f"{canonical_origin(f'{parts.scheme}://{parts.netloc}')}{parts.path.rstrip('/')}"


def trusted_proxy(text: str) -> str:
    """Return an address or network of proxies in canonical CIDR notation, or ``unix`` for Unix sockets.

    Raises ValueError for everybody's network: whoever trusts it believes what any stranger writes into a header.
    """
    if text.strip().casefold() == "unix":
        return "unix"
    try:
        network = canonical_network(text.strip())
    except ValueError:
        raise ValueError("must be an address such as 10.0.0.5, a network such as 10.0.0.0/8, or unix") from None
    if ip_network(network).prefixlen == 0:
        raise ValueError("must not be everybody's network: any stranger could say who they are; name the proxies")
    return network


def network(text: str) -> str:
    """Return an address or a network in canonical CIDR notation."""
    try:
        return canonical_network(text.strip())
    except ValueError:
        raise ValueError("must be an address such as 10.0.0.5 or a network such as 10.0.0.0/8") from None


def redirect_url(text: str) -> str:
    """Return an address that browsers may be sent to after a login, as it is: it is compared exactly (RFC 9700, 2.1).

    It is https, plain http at a loopback address, or a scheme of an app's own with a dot in it (RFC 8252, section 7.1).
    """
    parts = urlsplit(text)
    scheme, host = parts.scheme, parts.hostname or ""
    is_plain = text.isascii() and text.isprintable() and not {" ", "\\", "#", "@"} & set(text) and len(text) <= 1024
    is_web = scheme == "https" and bool(host)
    is_local = scheme == "http" and host in {"localhost", "127.0.0.1", "::1"}
    if not is_plain or not (is_web or is_local or "." in scheme):
        raise ValueError("must be https://…, http://127.0.0.1:port/…, or an app's own such as com.example.app:/done")
    return text


def token_name(text: str) -> str:
    """Return a value fit for ``iss`` and ``aud``: a StringOrURI (RFC 7519, section 2), at most 200 ASCII characters."""
    if not text or len(text) > _MAX_NAME or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"must be 1 to {_MAX_NAME} printable ASCII characters without spaces")
    if ":" in text and not _SCHEME.match(text.partition(":")[0].casefold()):
        raise ValueError("holds a colon, so it has to be a URI (RFC 7519, section 2)")
    return text


def database_url(text: str) -> str:
    """Return the address of the database: a SQLite file, or PostgreSQL, without the name of a driver."""
    scheme, found, rest = text.partition("://")
    if "+" in scheme:
        raise ValueError(
            "names a driver: leave it out, as in sqlite:///path/to/limen.db or postgresql://role@host/name"
        )
    if found and scheme in {"postgresql", "postgres"}:
        if not text.isprintable() or " " in text or not rest.strip("/"):
            raise ValueError("must be postgresql://role:password@host:5432/database")
        return text
    if not text.startswith("sqlite:///") or not text.isprintable():
        raise ValueError(
            "must be sqlite:///path/to/limen.db (four slashes before an absolute path) or postgresql://role@host/database"
        )
    path = text.removeprefix("sqlite:///")
    if path in {"", ":memory:"} or path.endswith("/"):
        raise ValueError("must name a file: without one, every account and session is gone when the process ends")
    if "?" in path or "#" in path:
        raise ValueError("must be a plain path: options behind ? or # are not supported")
    return text


def valkey_url(text: str) -> str:
    """Return the address of Valkey or Redis, over TLS with an ``s`` at the end of the scheme.

    Options behind ``?`` could switch the verification of certificates off: only those that name files are taken.
    """
    try:
        parts = urlsplit(text)
        named, port = parts.hostname, parts.port
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("holds a port, an address or an option that cannot be read") from None
    if parts.scheme not in {"valkey", "valkeys", "redis", "rediss"} or not text.isprintable() or " " in text:
        raise ValueError(
            "must be valkey://name:password@host:6379/0, or valkeys:// for TLS (redis:// and rediss:// too)"
        )
    if not named or port == 0 or parts.fragment or not _DATABASE_NUMBER.match(parts.path):
        raise ValueError("must name a host, and behind it at most a port and the number of a database")
    if options and (not parts.scheme.endswith("s") or not options.keys() <= _TLS_FILES):
        raise ValueError(f"takes no options but those of valkeys://, which are {', '.join(sorted(_TLS_FILES))}")
    return text


def smtp_url(text: str) -> str:
    """Return the address of the mail server: ``smtps://`` for TLS from the start, ``smtp://`` for STARTTLS."""
    try:
        parts = urlsplit(text)
        named, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("holds a port or an address that cannot be read") from None
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if parts.scheme not in {"smtp", "smtps"} or not is_plain or not named or port == 0:
        raise ValueError("must be smtps://name:password@host:465, or smtp://… for STARTTLS")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must hold nothing behind host and port; write / ? # in a password as %2F %3F %23")
    if parts.password and not parts.username:
        raise ValueError("holds a password and no name")
    return text


def mail_from(text: str) -> str:
    """Return whom mails are from: ``no-reply@app.example`` or ``App <no-reply@app.example>``."""
    name, address = parseaddr(text)
    plain = text.isprintable() and not {'"', ","} & set(text)
    if not plain or not _SENDER.match(address) or text not in (address, f"{name} <{address}>"):
        raise ValueError("must be one address, such as no-reply@app.example or App <no-reply@app.example>")
    return text


def database_path(url: str) -> Path | None:
    """Return the file that a SQLite address names, relative to the working directory; None for PostgreSQL."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
