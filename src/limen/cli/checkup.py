"""The checks of ``limen doctor``. Each returns what it found; none changes anything."""

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from limen.cli.findings import FAIL, OK, WARN, Finding, schema_finding
from limen.core.errors import ConfigurationError
from limen.core.networks import is_wide
from limen.crypto.passwords import PasswordHasher
from limen.settings import Settings
from limen.storage.sql.sqlite_file import OLDEST_SQLITE, schema_of

SLOWEST_HASH_SECONDS = 1.0
FASTEST_HASH_SECONDS = 0.02
CLOCK_TOLERANCE_SECONDS = 60
EARLIEST_TIME = 1_767_225_600
"""2026-01-01: no machine with this version has an earlier one, unless its clock is wrong."""
LEAST_FREE_BYTES = 512 * 1024 * 1024

_NEWEST_EVENT = "SELECT time FROM limen_events ORDER BY seq DESC LIMIT 1"
_PACKAGES = ("starlette", "fastapi", "uvicorn", "cryptography", "joserfc", "bcrypt")

_THROTTLING = {
    "off": ("off", "passwords are guessed without end, unless something in front counts; leave LIMEN_THROTTLE out"),
    "memory": ("in memory", "each process counts by itself: with several, leave LIMEN_THROTTLE out"),
}


def examine(env_file: Path | None) -> list[Finding]:
    """Run every check that can be run; without usable settings those about the data are left out."""
    findings = [*_versions(), *_clock()]
    try:
        settings = Settings.load(env_file=env_file)
    except ConfigurationError as error:
        advice = "limen init writes a file of settings; LIMEN_ENV_FILE or --env-file names it"
        return [*(Finding(FAIL, "settings", line, advice) for line in str(error).splitlines()), *findings]
    return [
        *_settings(settings, env_file),
        *_database(settings),
        *_valkey(settings),
        *_hashing(settings),
        _proxies(settings),
        *findings,
    ]


def _settings(settings: Settings, env_file: Path | None) -> Iterator[Finding]:
    named = os.environ.get("LIMEN_ENV_FILE") or env_file
    source = f"the environment and {named} (private)" if named else "the environment"
    yield Finding(OK, "settings", f"from {source}")
    # Weak, equal and sample secrets do not get past the settings.
    keys = settings.describe()
    yield Finding(OK, "secrets", f"{keys['access_keys']} for access tokens, {keys['refresh_keys']} for refresh tokens")
    if not settings.data_secrets and "signing_alg" not in settings.model_fields_set:
        yield Finding(
            WARN,
            "signing keys",
            "LIMEN_DATA_SECRETS is not set",
            "limen serve does not start without it, unless LIMEN_SIGNING_ALG=HS256; an application of your own does",
        )
    if settings.registration == "open":
        yield Finding(WARN, "registration", "open", "anybody can make an account; LIMEN_REGISTRATION=closed ends that")
    if settings.throttle != "shared":
        yield Finding(WARN, "throttling", *_THROTTLING[settings.throttle])
    if settings.docs:
        yield Finding(WARN, "documentation", "/docs is served", "leave LIMEN_DOCS out where strangers can reach it")
    yield _mail(settings)
    if settings.public_url is None:
        yield Finding(
            WARN,
            "public address",
            "not set",
            "LIMEN_PUBLIC_URL names the issuer of the tokens, which is «limen» without it",
        )
    elif settings.public_url.startswith("http://"):
        yield Finding(WARN, "public address", "http", "without TLS every token can be read on the way; use https")
    if settings.public_url is not None and not settings.allowed_hosts:
        advice = "LIMEN_ALLOWED_HOSTS lists the hosts that are; that of LIMEN_PUBLIC_URL always is"
        yield Finding(WARN, "hosts", "any host is answered for", advice)


def _mail(settings: Settings) -> Finding:
    if settings.smtp_url is None:
        advice = "nobody can choose another password for one that is forgotten; LIMEN_SMTP_URL names a mail server"
        return Finding(WARN, "mail", "no mail server is set", advice)
    return Finding(OK, "mail", "a mail server is set; what it did not take is mail_given_up in the trail")


def _database(settings: Settings) -> Iterator[Finding]:
    path = settings.database_path
    if path is not None:
        yield from _sqlite(path)
        return
    from limen.cli.checkup_postgres import examine_postgres

    yield from examine_postgres(settings)


def _valkey(settings: Settings) -> Iterator[Finding]:
    if settings.valkey_url is not None:
        from limen.cli.checkup_valkey import examine_valkey

        yield from examine_valkey(settings.valkey_url)


def _sqlite(path: Path) -> Iterator[Finding]:
    folder = path.absolute().parent
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        yield Finding(FAIL, "SQLite", sqlite3.sqlite_version, "3.35 or newer is needed; use a newer Python")
    if not folder.is_dir():
        yield Finding(FAIL, "database", f"there is no folder {folder}", "make it, or correct LIMEN_DATABASE_URL")
        return
    if not os.access(folder, os.W_OK):
        yield Finding(FAIL, "database", f"{folder} cannot be written to", "SQLite writes its log beside the database")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        yield Finding(WARN, "disk", f"{free // 2**20} MiB free", "a full disk stops every login and refresh")
    if not path.exists():
        yield Finding(WARN, "database", f"{path} is not there yet", "the first start makes it")
        return
    yield from _file_modes(path)
    yield from _content(path)


def _file_modes(path: Path) -> Iterator[Finding]:
    if os.name != "posix":
        return
    present = [file for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if file.exists()]
    open_to_others = [file for file in present if stat.S_IMODE(file.stat().st_mode) & 0o077]
    for file in open_to_others:
        yield Finding(
            FAIL, "database file", f"others can open {file}", f"it holds password hashes; run: chmod 600 {file}"
        )
    if not open_to_others:
        yield Finding(OK, "database file", "only its owner can open it")


def _content(path: Path) -> Iterator[Finding]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            known = schema_of(path)
            newest = connection.execute(_NEWEST_EVENT).fetchone() if known.revision else None
    except sqlite3.Error as error:
        advice = "is it a SQLite file, and its disk well?"
        yield Finding(FAIL, "database", f"does not answer ({type(error).__name__})", advice)
        return
    if damage != "ok":
        yield Finding(FAIL, "database", "is damaged", "stop limen and restore a backup")
        return
    yield Finding(OK, "database", "answers, undamaged")
    yield schema_finding(known)
    ahead = newest[0] / 1000 - time.time() if newest else 0
    if ahead > CLOCK_TOLERANCE_SECONDS:
        advice = "the clock is behind, or was ahead then; sessions and tokens go by it"
        yield Finding(FAIL, "clock", f"the newest record in the database is {ahead:.0f} s in the future", advice)


def _hashing(settings: Settings) -> Iterator[Finding]:
    hasher = PasswordHasher(settings.password_hasher, bcrypt_cost=settings.bcrypt_cost)
    begun = time.perf_counter()
    hasher.hash("how long does this take")
    seconds = time.perf_counter() - begun
    cores = os.cpu_count() or 1
    found = f"{seconds * 1000:.0f} ms a password: {1 / seconds:.1f} logins a second and core, {cores} cores"
    if seconds > SLOWEST_HASH_SECONDS:
        yield Finding(
            WARN, "passwords", found, "logins wait; a smaller LIMEN_BCRYPT_COST (never under 10) or more cores help"
        )
    elif seconds < FASTEST_HASH_SECONDS:
        yield Finding(WARN, "passwords", found, "cheap for who stole the hashes as well; raise LIMEN_BCRYPT_COST")
    else:
        yield Finding(OK, "passwords", found)


def _proxies(settings: Settings) -> Finding:
    advice = "around an application of your own, run uvicorn with --no-proxy-headers: it believes local processes"
    if not settings.trusted_proxies:
        return Finding(OK, "proxies", "none is trusted: no forwarding header is believed", advice)
    found = f"{', '.join(settings.trusted_proxies)} may name the client in {settings.forwarded_header}"
    wide = [each for each in settings.trusted_proxies if each != "unix" and is_wide(each)]
    if wide:
        return Finding(WARN, "proxies", found, f"{', '.join(wide)} is more than proxies: whoever is there is believed")
    return Finding(OK, "proxies", found, f"limen doctor --listen shows what they say; {advice}")


def _clock() -> Iterator[Finding]:
    now = time.time()
    if now < EARLIEST_TIME:
        yield Finding(
            FAIL, "clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)), "set it: tokens expire by it"
        )
        return
    yield Finding(OK, "clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _versions() -> Iterator[Finding]:
    told = [f"limen {version('limen')}", f"SQLite {sqlite3.sqlite_version}"]
    for name in _PACKAGES:
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    yield Finding(OK, "versions", ", ".join(told))
