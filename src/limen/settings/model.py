"""The settings of limen, one field each; `docs/reference/settings.md` says the same in words."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict, SettingsError

from limen.core.errors import ConfigurationError
from limen.settings import parsing, sources
from limen.settings.secret_strength import HOW_TO_MAKE_ONE, weakness_of
from limen.settings.sso import SsoClient, clients_in, name_and_key

DAY = 86_400
_SECRETS = ("jwt_access_secret", "jwt_refresh_secret")
_REMEDY = f"; {HOW_TO_MAKE_ONE}"
_EXAMPLES = {"database_url": ", such as sqlite:///limen.db or postgresql://role:password@host/database"}
_ACCEPTED = ("jwt_access_secrets_accepted", "jwt_refresh_secrets_accepted")
_ALGORITHMS = ("HS256", "ES256", "RS256", "EdDSA")


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _read(reader: Callable[[str], str]) -> BeforeValidator:
    """Make a validator of a reader of one text; what is not a text is left to pydantic to refuse."""
    return BeforeValidator(lambda value: reader(value.strip()) if isinstance(value, str) and value.strip() else value)


SecretList = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(parsing.split_list)]
UrlList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parsing.split_list)]
HostList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parsing.split_list)]
OriginList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parsing.split_list)]
ProxyList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parsing.split_list)]
PathList = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(parsing.split_list)]
NetworkList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parsing.split_list)]


class Settings(BaseSettings):
    """What limen was told. Make one with `Settings.load`; it cannot be changed afterwards.

    Secrets are `SecretStr`: neither repr, str nor model_dump shows them. Durations are whole seconds.
    """

    model_config = SettingsConfigDict(
        env_prefix=sources.PREFIX,
        env_ignore_empty=True,
        extra="ignore",  # unknown names are warned about by `load`, and refused where the application gives them
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    database_url: Annotated[str, _read(parsing.database_url)] = Field(repr=False)
    database_pool: int = Field(10, ge=1, le=200)
    valkey_url: Annotated[str | None, _read(parsing.valkey_url)] = Field(None, repr=False)
    # Stands behind the address, without which it cannot be.
    session_store: Annotated[Literal["database", "valkey"], BeforeValidator(_lower)] = "database"
    migrate: Annotated[Literal["start", "never"], BeforeValidator(_lower)] = "start"
    jwt_access_secret: SecretStr
    jwt_refresh_secret: SecretStr
    jwt_access_secrets_accepted: SecretList = ()
    jwt_refresh_secrets_accepted: SecretList = ()
    data_secrets: SecretList = ()
    audit_sinks: UrlList = Field((), repr=False)
    audit_sink_secrets: SecretList = ()
    audit_key_files: PathList = ()
    # Days; 0 stands for ever.
    audit_retention: int = Field(0, ge=0, le=36_500)
    signing_key_files: PathList = ()
    signing_alg: Literal["HS256", "ES256", "RS256", "EdDSA"] = "HS256"
    # Stands before the issuer, which is derived from it.
    public_url: Annotated[str | None, _read(parsing.public_url)] = None
    issuer: Annotated[str, _read(parsing.token_name)] = ""
    audience: Annotated[str, _read(parsing.token_name)] = ""
    access_ttl: int = Field(900, ge=300, le=900)
    refresh_ttl: int = Field(7 * DAY, ge=7 * DAY, le=30 * DAY)
    session_max_ttl: int = Field(90 * DAY, ge=7 * DAY, le=365 * DAY)
    refresh_leeway: int = Field(10, ge=0, le=60)
    cookie_idle_ttl: int = Field(1_800, ge=300, le=7_200)
    cookie_max_ttl: int = Field(43_200, ge=3_600, le=DAY)
    remembered_idle_ttl: int = Field(43_200, ge=3_600, le=30 * DAY)
    # More than a day, and the one above not: so a row tells by its two times which of them it was opened under.
    remembered_max_ttl: int = Field(30 * DAY, ge=2 * DAY, le=90 * DAY)
    permissions: Annotated[Literal["token", "database"], BeforeValidator(_lower)] = "token"
    api_key_ttl: int = Field(90 * DAY, ge=DAY, le=365 * DAY)
    api_key_max_ttl: int = Field(365 * DAY, ge=DAY, le=365 * DAY)
    api_key_environment: str = Field("live", pattern=r"^[a-z0-9]{1,16}$")
    password_hasher: Annotated[Literal["bcrypt", "argon2id"], BeforeValidator(_lower)] = "bcrypt"
    bcrypt_cost: int = Field(12, ge=10, le=16)
    password_min_length: int = Field(15, ge=8, le=64)
    sso_redirects: UrlList = ()
    throttle: Annotated[Literal["shared", "memory", "off"], BeforeValidator(_lower)] = "shared"
    login_limit: Annotated[str, _read(parsing.rate)] = "10/15 minutes"
    login_network_limit: Annotated[str, _read(parsing.rate)] = "300/15 minutes"
    register_limit: Annotated[str, _read(parsing.rate)] = "100/hour"
    max_sessions: int = Field(0, ge=0, le=100_000)
    registration: Annotated[Literal["closed", "open"], BeforeValidator(_lower)] = "closed"
    # Stand behind what mail cannot do without.
    mail_from: Annotated[str | None, _read(parsing.mail_from)] = None
    mail_templates: Path | None = Field(None, repr=False)
    smtp_url: Annotated[SecretStr | None, _read(parsing.smtp_url)] = None
    cors_origins: OriginList = ()
    allowed_hosts: HostList = ()
    max_body: int | None = Field(None, ge=65_536, le=1_073_741_824)
    body_timeout: int | None = Field(None, ge=1, le=3_600)
    opener_policy: Annotated[
        Literal["unsafe-none", "same-origin-allow-popups", "same-origin"], BeforeValidator(_lower)
    ] = "unsafe-none"
    resource_policy: Annotated[Literal["cross-origin", "same-site", "same-origin"], BeforeValidator(_lower)] = (
        "same-site"
    )
    trusted_proxies: ProxyList = ()
    forwarded_header: Annotated[Literal["x-forwarded-for", "forwarded"], BeforeValidator(_lower)] = "x-forwarded-for"
    tls_cert: Path | None = Field(None, repr=False)
    tls_key: Path | None = Field(None, repr=False)
    client_ca: Path | None = Field(None, repr=False)
    client_cert_mode: Annotated[Literal["optional", "required"], BeforeValidator(_lower)] = "optional"
    client_cert_header: Annotated[Literal["none", "client-cert", "nginx", "xfcc"], BeforeValidator(_lower)] = "none"
    outbound_allow: NetworkList = ()
    docs: bool = False
    shutdown_delay: int = Field(0, ge=0, le=300)
    metrics_port: int = Field(0, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    traces: bool = False
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = "json"

    _sso_clients: tuple[SsoClient, ...] = PrivateAttr(default=())

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
            return
        except ValidationError as error:
            problems = [_sentence(fault) for fault in error.errors(include_url=False, include_input=False)]
        except SettingsError:
            problems = ["a setting cannot be read"]
        # Raised outside the handler, after the values are gone: neither the chain of exceptions nor the locals of a
        # frame (crash reporters print them) hold an input, which may be a secret.
        values.clear()
        raise ConfigurationError("\n".join(problems))

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse every change; pydantic's own refusal would repeat the new value, whatever it is told to hide."""
        raise AttributeError(f"{name} cannot be set: settings are read once")

    @classmethod
    def load(cls, *, env_file: str | os.PathLike[str] | None = None, **overrides: Any) -> Self:
        """Read the settings and refuse to go on when one is unsafe.

        What stands first wins: the overrides given here by field name, the environment, the settings file. The file is
        the one that LIMEN_ENV_FILE names, else `env_file`; it must not be open to group or others.

        Raises ConfigurationError with one line for each problem, never with a value.
        """
        unknown = [name for name in overrides if name not in cls.model_fields]
        if unknown:
            overrides.clear()
            raise ConfigurationError("\n".join(f"{name} is not a setting" for name in unknown))
        path = sources.env_file(env_file, os.environ)
        clients = cls._looked_around(path)
        try:
            settings = cls(_env_file=path, _env_file_encoding="utf-8", **overrides)
        finally:
            overrides.clear()
        if settings.__pydantic_private__ is not None:  # one that is frozen takes it nowhere else
            settings.__pydantic_private__["_sso_clients"] = clients
        return settings

    @classmethod
    def _looked_around(cls, path: Path | None) -> tuple[SsoClient, ...]:
        """Return the providers that the variables speak of, and warn of those that mean nothing.

        Apart from `load`, whose locals a crash reporter may print: the values are gone when this has returned.
        """
        variables: dict[str, str | None] = {}
        if path is not None:
            found = DotEnvSettingsSource(cls, env_file=path, env_file_encoding="utf-8").env_vars
            variables = {name.upper(): value for name, value in found.items()}
        variables.update((name.upper(), value) for name, value in os.environ.items() if value)
        named = (name for name in {*variables, *os.environ} if name_and_key(name) is None)
        sources.warn_of_unknown(named, cls.environment_names())
        return clients_in(variables)

    @property
    def sso_clients(self) -> tuple[SsoClient, ...]:
        """What the environment and the settings file say of providers of single sign-on, by name."""
        return self._sso_clients

    @classmethod
    def environment_names(cls) -> tuple[str, ...]:
        """Return the full name of every setting, such as ``LIMEN_ACCESS_TTL``."""
        return tuple(_full_name(field) for field in cls.model_fields)

    @property
    def keeps_keys(self) -> bool:
        """Whether access tokens are signed with keys, in the database or in files, and not with a secret."""
        return self.signing_alg != "HS256"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that are answered for where any are listed: those, and the one of the public address."""
        own = () if self.public_url is None else (parsing.host_of(self.public_url),)
        return tuple(dict.fromkeys((*self.allowed_hosts, *own)))

    @property
    def database_path(self) -> Path | None:
        """The file of the SQLite database, relative to the working directory; None where the database is another."""
        return parsing.database_path(self.database_url)

    def describe(self) -> dict[str, object]:
        """Return what is safe to say in a log at start: no secret, no path, no part of either."""
        hidden = {
            *_SECRETS,
            *_ACCEPTED,
            "database_url",
            "valkey_url",
            "data_secrets",
            "signing_key_files",
            "audit_sinks",
            "audit_sink_secrets",
            "audit_key_files",
            "tls_cert",
            "tls_key",
            "client_ca",
            "mail_from",
            "mail_templates",
            "smtp_url",
        }
        told = {name: getattr(self, name) for name in type(self).model_fields if name not in hidden}
        told["cors_origins"] = list(self.cors_origins)
        told["allowed_hosts"] = list(self.allowed_hosts)
        told["sso_redirects"] = list(self.sso_redirects)
        told["trusted_proxies"] = list(self.trusted_proxies)
        told["outbound_allow"] = list(self.outbound_allow)
        return {
            "database": self.database_url.partition(":")[0],
            "access_keys": 1 + len(self.jwt_access_secrets_accepted),
            "refresh_keys": 1 + len(self.jwt_refresh_secrets_accepted),
            "data_keys": len(self.data_secrets),
            "key_files": len(self.signing_key_files),
            "trail_sinks": len(self.audit_sinks),
            "tls": self.tls_cert is not None,
            "client_certificates": self.client_ca is not None,
            "mail": self.smtp_url is not None,
            **told,
        }

    @field_validator(*_SECRETS)
    @classmethod
    def _strong(cls, secret: SecretStr, info: ValidationInfo) -> SecretStr:
        weakness = weakness_of(secret.get_secret_value())
        if weakness:
            raise ValueError(f"{weakness}; {HOW_TO_MAKE_ONE}")
        if info.field_name == "jwt_refresh_secret" and secret == info.data.get("jwt_access_secret"):
            raise ValueError(
                f"is the same as LIMEN_JWT_ACCESS_SECRET: an access token could pass for the other; {HOW_TO_MAKE_ONE}"
            )
        return secret

    @field_validator(*_ACCEPTED)
    @classmethod
    def _strong_each(cls, secrets: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        """Refuse weak ones and those of the other kind of token; the current secret itself and doubles are dropped."""
        _refuse_weak(secrets)
        access, refresh = (info.data.get(name) for name in _SECRETS)
        of_access = info.field_name == "jwt_access_secrets_accepted"
        current, other = (access, refresh) if of_access else (refresh, access)
        foreign = {other, *(() if of_access else info.data.get("jwt_access_secrets_accepted", ()))}
        if foreign.intersection(secrets):
            raise ValueError("shares a secret with the other kind of token, which could then pass for this one")
        return tuple(dict.fromkeys(secret for secret in secrets if secret != current))

    @field_validator("data_secrets")
    @classmethod
    def _for_data_alone(cls, secrets: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        """Refuse weak ones, and those that sign tokens: whoever learns one of them would read the other's work."""
        _refuse_weak(secrets)
        signing = {info.data.get(name) for name in _SECRETS}
        signing.update(*(info.data.get(name, ()) for name in _ACCEPTED))
        if signing.intersection(secrets):
            raise ValueError("shares a secret with the tokens: what is kept and what is signed never have one secret")
        return tuple(dict.fromkeys(secrets))

    @field_validator("session_store")
    @classmethod
    def _with_a_place(cls, store: str, info: ValidationInfo) -> str:
        if "valkey_url" not in info.data:  # It could not be read, which is told already.
            return store
        if store == "valkey" and info.data["valkey_url"] is None:
            raise ValueError("is valkey: say where it is by LIMEN_VALKEY_URL")
        if store == "database" and info.data["valkey_url"] is not None:
            raise ValueError(
                "is database, and LIMEN_VALKEY_URL is set, which nothing would use: write LIMEN_SESSION_STORE=valkey,"
                " or leave the address out"
            )
        return store

    @field_validator("smtp_url")
    @classmethod
    def _with_what_mail_needs(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        needed = {"public_url": "where links lead", "mail_from": "whom mails are from", "data_secrets": "for links"}
        lacking = [name for name in needed if name in info.data and not info.data[name]]
        if url is not None and lacking:
            told = ", ".join(f"{_full_name(name)} ({needed[name]})" for name in lacking)
            raise ValueError(f"is set, and mail does not go without {told}")
        return url

    @field_validator("signing_alg", mode="before")
    @classmethod
    def _supported(cls, name: object) -> object:
        if name not in _ALGORITHMS:
            raise ValueError(f"is not a signature algorithm of limen, which are {', '.join(_ALGORITHMS)}")
        return name

    @field_validator("signing_alg")
    @classmethod
    def _with_keys_that_can_be_kept(cls, name: str, info: ValidationInfo) -> str:
        files = info.data.get("signing_key_files")
        if name == "HS256" and files:
            raise ValueError("is HS256, and LIMEN_SIGNING_KEY_FILES are for ES256, RS256 or EdDSA: say which of them")
        if name != "HS256" and not files and info.data.get("data_secrets") == ():
            raise ValueError(
                f"is {name}, whose private keys are kept in the database, encrypted: add a line LIMEN_DATA_SECRETS=…"
                " with what «limen secrets new» prints. Where nobody else verifies tokens, LIMEN_SIGNING_ALG=HS256 does"
                " without (limen serve uses ES256 unless it is told otherwise)"
            )
        return name

    @field_validator("issuer", "audience")
    @classmethod
    def _named(cls, name: str, info: ValidationInfo) -> str:
        """Derive what was not set: the issuer from the public address, the audience from the issuer."""
        derived_from = "public_url" if info.field_name == "issuer" else "issuer"
        return name or info.data.get(derived_from) or "limen"

    @field_validator("session_max_ttl")
    @classmethod
    def _not_shorter(cls, seconds: int, info: ValidationInfo) -> int:
        if seconds < info.data.get("refresh_ttl", 0):
            raise ValueError("is shorter than LIMEN_REFRESH_TTL")
        return seconds

    @field_validator("cookie_max_ttl", "remembered_max_ttl")
    @classmethod
    def _not_shorter_than_idle(cls, seconds: int, info: ValidationInfo) -> int:
        idle = str(info.field_name).replace("_max_", "_idle_")
        if seconds < info.data.get(idle, 0):
            raise ValueError(f"is shorter than {_full_name(idle)}")
        return seconds

    @field_validator("api_key_max_ttl")
    @classmethod
    def _not_shorter_than_usual(cls, seconds: int, info: ValidationInfo) -> int:
        if seconds < info.data.get("api_key_ttl", 0):
            raise ValueError("is shorter than LIMEN_API_KEY_TTL")
        return seconds

    @field_validator("sso_redirects")
    @classmethod
    def _redirects(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parsing.redirect_url(url) for url in urls))

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parsing.allowed_host(host) for host in hosts))

    @field_validator("cors_origins")
    @classmethod
    def _exact(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parsing.canonical_origin(origin) for origin in origins))

    @field_validator("outbound_allow")
    @classmethod
    def _of_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parsing.network(each) for each in networks))

    @field_validator("tls_key")
    @classmethod
    def _both_or_neither(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("tls_cert") is None):
            raise ValueError("and LIMEN_TLS_CERT go together: a certificate, and the key that belongs to it")
        return key

    @field_validator("client_cert_header")
    @classmethod
    def _of_known_proxies(cls, header: str, info: ValidationInfo) -> str:
        if header != "none" and (info.data.get("client_ca") is None or not info.data.get("trusted_proxies")):
            raise ValueError(
                "needs LIMEN_TRUSTED_PROXIES, whose word is taken, and LIMEN_CLIENT_CA, which certificates are held"
                " against"
            )
        return header

    @field_validator("trusted_proxies")
    @classmethod
    def _of_proxies(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parsing.trusted_proxy(network) for network in networks))


class ServerSettings(Settings):
    """What `limen serve` was told: the same, but it signs so that others can verify, unless it was told otherwise."""

    signing_alg: Literal["HS256", "ES256", "RS256", "EdDSA"] = "ES256"


def _refuse_weak(secrets: tuple[SecretStr, ...]) -> None:
    for number, secret in enumerate(secrets, start=1):
        weakness = weakness_of(secret.get_secret_value())
        if weakness:
            raise ValueError(f"item {number} {weakness}; {HOW_TO_MAKE_ONE}")


def _full_name(field: str) -> str:
    return f"{sources.PREFIX}{field.upper()}"


def _sentence(fault: Any) -> str:
    """Turn one of pydantic's faults into a line for the operator: the setting, and what is wrong; never the value."""
    field = str(fault["loc"][0]) if fault["loc"] else ""
    name = _full_name(field) if field else "the settings"
    if fault["type"] == "missing":
        return f"{name} is not set{_REMEDY if field in _SECRETS else _EXAMPLES.get(field, '')}"
    if fault["type"] == "value_error":
        return f"{name} {fault['ctx']['error']}"
    limits = {"greater_than_equal": "ge", "less_than_equal": "le"}
    if fault["type"] in limits:
        bound = "less" if fault["type"] == "greater_than_equal" else "more"
        return f"{name} must not be {bound} than {fault['ctx'][limits[fault['type']]]}"
    if fault["type"] == "literal_error":
        return f"{name} must be {fault['ctx']['expected']}"
    # pydantic's own sentences of these types name what was expected, not what came.
    return f"{name} cannot be read: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
