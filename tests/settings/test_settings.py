"""The settings: what is read, what is refused, and what is never shown."""

import logging
import os
import pickle
import re
import secrets
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from limen.core.errors import ConfigurationError
from limen.settings import HOW_TO_MAKE_ONE, Settings
from limen.settings.sso import name_and_key

ROOT = Path(__file__).parents[2]
CANARY = "canary-" + secrets.token_urlsafe(36)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the settings of whoever runs the tests out of the environment."""
    for name in list(os.environ):
        if name.upper().startswith("LIMEN_"):
            monkeypatch.delenv(name)


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Put what is required into the environment."""
    values = {
        "LIMEN_DATABASE_URL": "sqlite:///var/limen.db",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def refusal(**overrides: Any) -> list[str]:
    """Load the settings and return the lines of the refusal."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(**overrides)
    return str(caught.value).splitlines()


@pytest.mark.usefixtures("good")
def test_defaults() -> None:
    """Three settings are enough; the others have the defaults of the contract."""
    settings = Settings.load()
    assert settings.database_path == Path("var/limen.db")
    assert (settings.signing_alg, settings.issuer, settings.audience) == ("HS256", "limen", "limen")
    assert (settings.access_ttl, settings.refresh_ttl, settings.session_max_ttl) == (900, 604_800, 7_776_000)
    assert (settings.refresh_leeway, settings.password_hasher, settings.bcrypt_cost) == (10, "bcrypt", 12)
    assert (settings.password_min_length, settings.registration, settings.docs) == (15, "closed", False)
    assert (settings.cors_origins, settings.log_level, settings.log_format) == ((), "info", "json")


def test_environment_is_read(good: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of value is read from the environment: text, number, switch, list."""
    monkeypatch.setenv("LIMEN_ACCESS_TTL", "300")
    monkeypatch.setenv("LIMEN_DOCS", "on")
    monkeypatch.setenv("LIMEN_REGISTRATION", "OPEN")
    monkeypatch.setenv("LIMEN_CORS_ORIGINS", "https://a.example, HTTPS://B.example:443")
    monkeypatch.setenv("LIMEN_PUBLIC_URL", "https://login.example/base/")
    monkeypatch.setenv("LIMEN_OUTBOUND_ALLOW", "10.1.2.3/8, ::ffff:127.0.0.1")
    settings = Settings.load()
    assert settings.outbound_allow == ("10.0.0.0/8", "127.0.0.1/32")
    assert settings.jwt_access_secret.get_secret_value() == good["LIMEN_JWT_ACCESS_SECRET"]
    assert (settings.access_ttl, settings.docs, settings.registration) == (300, True, "open")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert (settings.issuer, settings.audience) == ("https://login.example/base", "https://login.example/base")


@pytest.mark.usefixtures("good")
def test_overrides_stand_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the application hands in wins over the environment, and is checked like it."""
    monkeypatch.setenv("LIMEN_ACCESS_TTL", "300")
    assert Settings.load(access_ttl=600).access_ttl == 600
    assert refusal(access_ttl=901) == ["LIMEN_ACCESS_TTL must not be more than 900"]


@pytest.mark.usefixtures("good")
def test_unknown_override_is_refused() -> None:
    """A misspelt override is an error, not silence."""
    assert refusal(acess_ttl=600) == ["acess_ttl is not a setting"]


@pytest.mark.usefixtures("good")
def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as compose files leave them, means the default; for a secret it means missing."""
    monkeypatch.setenv("LIMEN_REGISTRATION", "")
    assert Settings.load().registration == "closed"
    monkeypatch.setenv("LIMEN_JWT_ACCESS_SECRET", "")
    assert refusal() == [f"LIMEN_JWT_ACCESS_SECRET is not set; {HOW_TO_MAKE_ONE}"]


def test_missing_settings_are_all_named() -> None:
    """Whatever is required and missing is named at once, a line each, secrets with the way to make one."""
    lines = refusal()
    assert lines[0].startswith("LIMEN_DATABASE_URL is not set, such as sqlite:///limen.db")
    assert [line.partition(" ")[0] for line in lines[1:]] == ["LIMEN_JWT_ACCESS_SECRET", "LIMEN_JWT_REFRESH_SECRET"]
    assert all("token_urlsafe(48)" in line and "limen init" in line for line in lines[1:])


WEAK = [
    "changeme",
    "x" * 31,
    "x" * 64,
    "kWz7Rq3Xv9Lm2Tp5Yb8Nc4Hd6Jf1Gs0",  # one character too short
    "k3Vq9ZtR1x" * 4,
    "changeme" * 4,
    "secret" * 8,
    "0123456789" * 4,
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "change-me-please-change-me-please!",
    "my-super-secret-key-that-is-at-least-32-characters",
    "a-string-secret-at-least-256-bits-long",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "REPLACE_ME_WITH_A_SECRET_OF_32_CHARS",
]


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize("weak", [*WEAK, pytest.param(secrets.token_urlsafe(48) + "\n", id="with a line break")])
@pytest.mark.parametrize("name", ["JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET"])
def test_weak_secret_does_not_start(monkeypatch: pytest.MonkeyPatch, name: str, weak: str) -> None:
    """A short, sample or repeated secret is refused with the setting's name and how to make a good one."""
    monkeypatch.setenv(f"LIMEN_{name}", weak)
    (line,) = refusal()
    assert line.startswith(f"LIMEN_{name} ")
    assert line.endswith(HOW_TO_MAKE_ONE)
    assert weak not in line


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize("weak", [*WEAK])
def test_weak_accepted_secret_does_not_start(monkeypatch: pytest.MonkeyPatch, weak: str) -> None:
    """A secret that only verifies has to be as good as the one that signs."""
    monkeypatch.setenv("LIMEN_JWT_ACCESS_SECRETS_ACCEPTED", f"{secrets.token_urlsafe(48)},{weak}")
    (line,) = refusal()
    assert line.startswith("LIMEN_JWT_ACCESS_SECRETS_ACCEPTED item 2 ")
    assert weak not in line


def test_random_secrets_are_accepted() -> None:
    """No secret made by the recommended line is taken for a sample; nor is one with a word before it."""
    for number in range(500):
        made = (secrets.token_urlsafe(48), "prod-secret-" + secrets.token_hex(32), secrets.token_hex(16))[number % 3]
        settings = Settings.load(
            database_url="sqlite:///x.db", jwt_access_secret=made, jwt_refresh_secret=secrets.token_urlsafe(48)
        )
        assert settings.jwt_access_secret.get_secret_value() == made


def test_equal_secrets_do_not_start(good: dict[str, str]) -> None:
    """Access and refresh tokens never share a secret, neither to sign nor to verify."""
    access, refresh = good["LIMEN_JWT_ACCESS_SECRET"], good["LIMEN_JWT_REFRESH_SECRET"]
    old = secrets.token_urlsafe(48)
    (line,) = refusal(jwt_refresh_secret=access)
    assert line.startswith("LIMEN_JWT_REFRESH_SECRET is the same as LIMEN_JWT_ACCESS_SECRET")
    for mixed in (
        {"jwt_access_secrets_accepted": refresh},
        {"jwt_refresh_secrets_accepted": access},
        {"jwt_access_secrets_accepted": old, "jwt_refresh_secrets_accepted": old},
    ):
        (line,) = refusal(**mixed)
        assert "shares a secret with the other kind of token" in line


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize("weak", [*WEAK])
def test_weak_data_secret_does_not_start(monkeypatch: pytest.MonkeyPatch, weak: str) -> None:
    """What encrypts has to be as good as what signs, the first and every other one."""
    monkeypatch.setenv("LIMEN_DATA_SECRETS", f"{secrets.token_urlsafe(48)},{weak}")
    (line,) = refusal()
    assert line.startswith("LIMEN_DATA_SECRETS item 2 ")
    assert weak not in line


def test_data_secrets_are_secrets_of_their_own(good: dict[str, str]) -> None:
    """None of those that sign is taken, the accepted ones included; the order stays, and doubles fall out."""
    one, two = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
    assert Settings.load().data_secrets == ()
    kept = Settings.load(data_secrets=f"{one},{two},{one}")
    assert [secret.get_secret_value() for secret in kept.data_secrets] == [one, two]
    assert kept.describe()["data_keys"] == 2
    assert one not in f"{kept!r} {kept.describe()} {kept.model_dump_json(exclude={'database_url'})}"
    for shared in (good["LIMEN_JWT_ACCESS_SECRET"], good["LIMEN_JWT_REFRESH_SECRET"], two):
        (line,) = refusal(data_secrets=[one, shared], jwt_refresh_secrets_accepted=two)
        assert line.startswith("LIMEN_DATA_SECRETS shares a secret with the tokens")


def test_accepted_secrets_are_lists(good: dict[str, str]) -> None:
    """Commas or JSON; the current secret and doubles fall out, so that a roll-over keeps one list everywhere."""
    one, two = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
    current = good["LIMEN_JWT_REFRESH_SECRET"]
    for text in (f"{one}, {two},{one},{current}", f'["{one}", "{two}", "{current}"]'):
        settings = Settings.load(jwt_refresh_secrets_accepted=text)
        assert [secret.get_secret_value() for secret in settings.jwt_refresh_secrets_accepted] == [one, two]


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SIGNING_ALG", "ES256", "add a line LIMEN_DATA_SECRETS"),
        ("SIGNING_ALG", "none", "is not a signature algorithm"),
        ("SIGNING_ALG", "hs256", "is not a signature algorithm"),
        ("ACCESS_TTL", "299", "must not be less than 300"),
        ("ACCESS_TTL", "901", "must not be more than 900"),
        ("ACCESS_TTL", "15m", "cannot be read"),
        ("REFRESH_TTL", "604799", "must not be less than 604800"),
        ("REFRESH_TTL", "2592001", "must not be more than 2592000"),
        ("SESSION_MAX_TTL", "604799", "must not be less than"),
        ("SESSION_MAX_TTL", "1" + "0" * 30, "must not be more than"),
        ("REFRESH_LEEWAY", "61", "must not be more than 60"),
        ("REFRESH_LEEWAY", "-1", "must not be less than 0"),
        ("PASSWORD_HASHER", "md5", "must be 'bcrypt' or 'argon2id'"),
        ("BCRYPT_COST", "9", "must not be less than 10"),
        ("BCRYPT_COST", "17", "must not be more than 16"),
        ("PASSWORD_MIN_LENGTH", "7", "must not be less than 8"),
        ("REGISTRATION", "maybe", "must be 'closed' or 'open'"),
        ("DOCS", "perhaps", "cannot be read"),
        ("LOG_LEVEL", "loud", "must be"),
        ("LOG_FORMAT", "xml", "must be"),
        ("DATABASE_URL", "postgresql+asyncpg://limen:hunter2@db/limen", "names a driver"),
        ("DATABASE_URL", "postgresql://", "must be postgresql://"),
        ("DATABASE_URL", "sqlite+aiosqlite:///x.db", "leave it out"),
        ("DATABASE_URL", "sqlite://", "must be sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        ("DATABASE_URL", "sqlite:///x.db?mode=ro", "plain path"),
        ("DATABASE_URL", "/var/x.db", "must be sqlite:///"),
        ("ISSUER", "two words", "printable ASCII"),
        ("ISSUER", "§: x", "printable ASCII"),
        ("AUDIENCE", "9:x", "has to be a URI"),
        ("AUDIENCE", "x" * 201, "printable ASCII"),
        ("PUBLIC_URL", "login.example", "is not an address"),
        ("PUBLIC_URL", "https://user:hunter2@login.example", "is not an address"),
        ("PUBLIC_URL", "https://login.example/?a=b", "neither a query"),
        ("PUBLIC_URL", "ftp://login.example", "must begin with"),
        ("OUTBOUND_ALLOW", "10.0.0.0/99", "must be an address such as 10.0.0.5 or a network"),
        ("OUTBOUND_ALLOW", "issuer.internal", "must be an address such as 10.0.0.5 or a network"),
        ("CORS_ORIGINS", "*", "wildcard"),
        ("CORS_ORIGINS", "https://*.example", "wildcard"),
        ("CORS_ORIGINS", "null", "null"),
        ("CORS_ORIGINS", "https://a.example/", "not even a slash"),
        ("CORS_ORIGINS", "https://a.example/path", "not even a slash"),
        ("CORS_ORIGINS", "https://a.example?", "not even a slash"),
        ("CORS_ORIGINS", "a.example", "scheme://host"),
        ("CORS_ORIGINS", "https://user@a.example", "scheme://host"),
        ("CORS_ORIGINS", "https://a.example:99999", "port"),
        ("CORS_ORIGINS", "https://bücher.example", "xn--"),
        ("CORS_ORIGINS", '["https://a.example", 5]', "is not a list"),
        ("CORS_ORIGINS", '["https://a.example"', "is not a list"),
    ],
)
def test_unusable_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    """What is unsafe or cannot be read is refused by the setting's full name, in a sentence that says what is right."""
    monkeypatch.setenv(f"LIMEN_{name}", value)
    (line,) = refusal()
    assert line.startswith(f"LIMEN_{name} ")
    assert words in line
    assert "hunter2" not in line


@pytest.mark.usefixtures("good")
def test_session_end_is_not_before_the_refresh_token_s() -> None:
    """The absolute end of a session is not shorter than its idle time."""
    (line,) = refusal(refresh_ttl=2_592_000, session_max_ttl=2_591_999)
    assert line == "LIMEN_SESSION_MAX_TTL is shorter than LIMEN_REFRESH_TTL"
    assert Settings.load(refresh_ttl=2_592_000, session_max_ttl=2_592_000).session_max_ttl == 2_592_000


def test_all_problems_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten problems are ten lines: nobody has to start ten times."""
    wrong = ["JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "ACCESS_TTL", "REFRESH_LEEWAY", "LOG_LEVEL"]
    for name in [*wrong, "DOCS", "CORS_ORIGINS", "SIGNING_ALG", "ISSUER", "DATABASE_URL"]:
        monkeypatch.setenv(f"LIMEN_{name}", "not right")
    lines = refusal()
    assert len(lines) == 10
    assert len({line.partition(" ")[0] for line in lines}) == 10


def test_no_value_in_any_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a refused setting is neither in the message, the chain of exceptions nor the locals of frames."""
    for name in Settings.environment_names():
        monkeypatch.setenv(name, CANARY + "\x01")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(jwt_access_secret=CANARY, bcrypt_cost=CANARY, log_level=SecretStr(CANARY), env_file=None)
    assert len(str(caught.value).splitlines()) > 15
    assert caught.value.__context__ is None
    rendered = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    ours = rendered[rendered.index("settings/model.py") :]
    assert "def load" in ours or "in load" in ours
    assert CANARY not in ours


@pytest.mark.usefixtures("good")
def test_no_secret_is_shown() -> None:
    """Neither repr, str, dump, description nor a failed assignment shows a secret."""
    settings = Settings.load(
        jwt_access_secret=CANARY,
        jwt_refresh_secret=CANARY[::-1],
        jwt_refresh_secrets_accepted=[CANARY + "-old"],
        database_url=f"sqlite:///{CANARY}.db",
    )
    shown = [repr(settings), str(settings), str(settings.describe()), str(settings.model_dump()["jwt_access_secret"])]
    shown.append(settings.model_dump_json(exclude={"database_url"}))
    with pytest.raises(AttributeError) as refused:
        setattr(settings, "jwt_access_secret", CANARY)  # noqa: B010  # of a type that hides nothing itself
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(CANARY)
    shown += [str(refused.value), str(caught.value)]
    for text in shown:
        assert CANARY[:16] not in text  # pydantic shows the beginning and the end of a long input
        assert CANARY[::-1][:16] not in text
    assert settings.jwt_access_secret.get_secret_value() == CANARY
    assert settings.describe()["refresh_keys"] == 2
    assert not [name for name in settings.describe() if "secret" in name or name == "database_url"]
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  # a worker process gets them this way


def test_uncaught_refusal_prints_no_value(tmp_path: Path) -> None:
    """A process that dies of its settings prints their names and exits with an error; the values stay unseen."""
    environment = {"PATH": os.environ["PATH"], "LIMEN_JWT_ACCESS_SECRET": "changeme", "LIMEN_ISSUER": f"{CANARY} x"}
    done = subprocess.run(
        [sys.executable, "-c", "from limen.settings import Settings; Settings.load()"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "LIMEN_JWT_ACCESS_SECRET is shorter than 32 characters" in done.stderr
    assert "changeme" not in done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr


class Extended(Settings):
    """The settings of an application that adds its own to limen's."""

    limits: tuple[int, ...] = ()


@pytest.mark.usefixtures("good")
def test_settings_of_an_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass with settings of its own is refused in the same way, without the value."""
    monkeypatch.setenv("LIMEN_LIMITS", "[1, 2]")
    assert Extended.load().limits == (1, 2)
    for value in (f'["{CANARY}"]', f"[{CANARY}"):
        monkeypatch.setenv("LIMEN_LIMITS", value)
        with pytest.raises(ConfigurationError) as caught:
            Extended.load()
        assert CANARY not in str(caught.value)
        assert caught.value.__context__ is None


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a settings file with the mode."""
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_settings_file(good: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file named on purpose is read; the environment stands before it, LIMEN_ENV_FILE before the application's."""
    handed = write(tmp_path / "a.env", "LIMEN_ACCESS_TTL=301\nLIMEN_REFRESH_LEEWAY=1\nOTHER=5\nLIMEN_DOCS=\n")
    named = write(tmp_path / "b.env", "LIMEN_ACCESS_TTL=302\n# note\nLIMEN_REFRESH_LEEWAY='2'\n")
    assert good
    assert Settings.load(env_file=handed).access_ttl == 301
    monkeypatch.setenv("LIMEN_ACCESS_TTL", "303")
    assert (Settings.load(env_file=handed).access_ttl, Settings.load(env_file=handed).refresh_leeway) == (303, 1)
    monkeypatch.setenv("LIMEN_ENV_FILE", str(named))
    assert Settings.load(env_file=handed).refresh_leeway == 2
    assert Settings.load(env_file=handed, refresh_leeway=3).refresh_leeway == 3


@pytest.mark.usefixtures("good")
def test_env_file_of_the_working_directory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting limen in a folder with a foreign .env changes nothing."""
    write(tmp_path / ".env", "LIMEN_REGISTRATION=open\n")
    monkeypatch.chdir(tmp_path)
    assert Settings.load().registration == "closed"


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_open_settings_file_is_refused(tmp_path: Path, mode: int) -> None:
    """A settings file that group or others can open is refused, with the line that mends it."""
    path = write(tmp_path / "open.env", f"LIMEN_JWT_ACCESS_SECRET={CANARY}\n", mode)
    (line,) = refusal(env_file=path)
    assert f"chmod 600 {path}" in line
    assert CANARY not in line


@pytest.mark.usefixtures("good")
def test_strangers_settings_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings file of a user who is neither the caller nor root is refused; the caller's is taken."""
    path = write(tmp_path / "theirs.env", "LIMEN_ACCESS_TTL=301\n")
    stranger = 65534
    if os.geteuid() == 0:
        assert Settings.load(env_file=path).access_ttl == 301
        os.chown(path, stranger, stranger)
    else:
        # Nobody but root can give a file away: the caller becomes another instead.
        monkeypatch.setattr(os, "geteuid", lambda: stranger)
    (line,) = refusal(env_file=path)
    assert "belongs to user" in line


@pytest.mark.usefixtures("good")
def test_unreadable_settings_file_is_refused(tmp_path: Path) -> None:
    """A named file that is missing, a folder or not UTF-8 stops the start instead of being passed over."""
    latin = tmp_path / "latin.env"
    latin.write_bytes(b"LIMEN_ISSUER=\xff\n")
    latin.chmod(0o600)
    for path in (tmp_path / "missing.env", tmp_path, latin):
        (line,) = refusal(env_file=path)
        assert line.startswith("the settings file cannot be read")
    (line,) = refusal(env_file="/dev/null")
    assert line.startswith("the settings file is not a plain file")


@pytest.mark.usefixtures("good")
def test_misspelt_variable_is_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no setting is named in the log with the nearest one that is, without its value."""
    monkeypatch.setenv("LIMEN_ACESS_TTL", CANARY)
    monkeypatch.setenv("LIMEN_TEST_REPORT", "of the test suite")
    path = write(tmp_path / "a.env", f"LIMEN_REGISTRATOIN={CANARY}\n")
    with caplog.at_level(logging.WARNING, "limen"):
        Settings.load(env_file=path)
    assert [record.getMessage() for record in caplog.records] == [
        "'LIMEN_ACESS_TTL' is not a setting of this version and has no effect; did you mean LIMEN_ACCESS_TTL?",
        "'LIMEN_REGISTRATOIN' is not a setting of this version and has no effect; did you mean LIMEN_REGISTRATION?",
    ]


def manual() -> dict[str, list[str]]:
    """Return the rows of the manual: values, default and words of each setting."""
    text = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(LIMEN_[A-Z_]+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in rows}


def test_manual_and_code_name_the_same_settings() -> None:
    """Every setting has a row in the manual, every row of the manual is a setting, in the same order."""
    documented = list(manual())
    assert sorted(documented) == sorted(Settings.environment_names())
    mentioned = re.findall(r"LIMEN_[A-Z_]+[A-Z]", (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8"))
    # The settings of a provider bear its name, which is anybody's to choose.
    mentioned = [name for name in mentioned if name_and_key(name) is None]
    assert set(mentioned) - set(documented) == {"LIMEN_ENV_FILE"}


@pytest.mark.usefixtures("good")
def test_manual_states_the_defaults_and_bounds() -> None:
    """Defaults and bounds in the manual are those of the code."""
    for field, info in Settings.model_fields.items():
        values, default, _ = manual()[f"LIMEN_{field.upper()}"]
        if info.is_required():
            assert default == "required"
        elif isinstance(info.default, bool):
            assert default == ("`on`" if info.default else "`off`")
        elif info.default in ((), None):
            assert default == "none"
        elif info.default != "":
            assert default == f"`{info.default}`"
        limits = [getattr(limit, "ge", getattr(limit, "le", None)) for limit in info.metadata]
        if any(limit is not None for limit in limits):
            low, high = (limit for limit in limits if limit is not None)
            assert values.startswith(f"{low} to {high}")
