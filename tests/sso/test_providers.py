"""Which providers there are, by code and by settings."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from limen import Limen, SSOProvider
from limen.core.errors import ConfigurationError
from limen.features.sso.providers import providers_of
from limen.settings.sso import SsoClient, clients_in
from tests.sso.conftest import HOST, LOOPBACK, begin, code_of, log_in, me
from tests.sso.provider import CLIENT_ID, CLIENT_SECRET, Provider, callback
from tests.support.gates import settings_for

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"


def only(*providers: SSOProvider, **variables: str) -> SSOProvider:
    """Return the one provider that code and settings declare."""
    (found,) = providers_of(
        providers, clients_in({f"LIMEN_SSO_{name}": each for name, each in variables.items()})
    ).values()
    return found


@pytest.mark.parametrize(
    ("preset", "issuer"),
    [
        (SSOProvider.google(), "https://accounts.google.com"),
        (SSOProvider.entra(tenant=GUID.upper()), f"https://login.microsoftonline.com/{GUID}/v2.0"),
        (SSOProvider.auth0(domain="corp.eu.auth0.com"), "https://corp.eu.auth0.com/"),
        (SSOProvider.keycloak(url="https://id.corp.example/", realm="staff"), "https://id.corp.example/realms/staff"),
        (
            SSOProvider.cognito(region="eu-south-1", pool="eu-south-1_AbCdEf"),
            "https://cognito-idp.eu-south-1.amazonaws.com/eu-south-1_AbCdEf",
        ),
        (SSOProvider.github(), "https://github.com"),
    ],
    ids=["google", "entra", "auth0", "keycloak", "cognito", "github"],
)
def test_presets_know_the_issuer(preset: SSOProvider, issuer: str) -> None:
    """Exactly as the product calls itself, slash or none; nobody is let in, and no address believed, by itself."""
    found = only(preset, **{f"{preset.name.upper()}_CLIENT_ID": "id", f"{preset.name.upper()}_CLIENT_SECRET": "s"})
    assert (found.issuer, found.client_id, found.secret) == (issuer, "id", "s")
    assert (found.create, found.trusted_email, found.managed_roles) == (False, False, frozenset())


@pytest.mark.parametrize("tenant", ["common", "organizations", "consumers", "corp.onmicrosoft.com", "{tenantid}"])
def test_entra_is_one_tenant(tenant: str) -> None:
    """A tenant that anybody makes for themselves is not let in with it."""
    with pytest.raises(ConfigurationError, match="GUID"):
        SSOProvider.entra(tenant=tenant)


def test_a_provider_by_settings_alone() -> None:
    """Its name is in the variables; what they say is all there is."""
    found = only(
        CORP_ISSUER="https://op.example",
        CORP_CLIENT_ID="id",
        CORP_CLIENT_SECRET="secret",
        CORP_SCOPES="openid groups",
        CORP_CREATE="on",
        CORP_TRUSTED_EMAIL="on",
        CORP_ROLES_CLAIM="realm_access.roles",
        CORP_ROLES="makers=maker, chiefs=checker,chiefs=maker,cn=a=b=admin",
        CORP_LABEL="Corp",
        CORP_LOGOUT_URL="https://app.example/bye",
    )
    assert (found.name, found.issuer, found.client_id, found.secret) == ("corp", "https://op.example", "id", "secret")
    assert (tuple(found.scopes), found.create, found.trusted_email) == (("openid", "groups"), True, True)
    assert found.roles_of == {"makers": {"maker"}, "chiefs": {"checker", "maker"}, "cn=a=b": {"admin"}}
    assert (found.title, found.logout_url) == ("Corp", "https://app.example/bye")


def test_a_name_that_is_a_preset_is_that_preset() -> None:
    """Google takes no more than its client; any other name can be of a preset that is named."""
    assert only(GOOGLE_CLIENT_ID="id").issuer == "https://accounts.google.com"
    found = only(LOGIN_PRESET="google", LOGIN_CLIENT_ID="id")
    assert (found.name, found.issuer) == ("login", "https://accounts.google.com")


def test_settings_stand_before_the_code() -> None:
    """An operator can point a declared provider elsewhere."""
    found = only(
        SSOProvider(name="corp", issuer="https://a.example"), CORP_ISSUER="https://b.example", CORP_CLIENT_ID="i"
    )
    assert found.issuer == "https://b.example"


REFUSED: dict[str, tuple[SSOProvider, str]] = {
    "no issuer": (SSOProvider(name="corp", client_id="id"), "LIMEN_SSO_CORP_ISSUER"),
    "no client": (SSOProvider(name="corp", issuer="https://a.example"), "LIMEN_SSO_CORP_CLIENT_ID"),
    "plain http": (SSOProvider(name="corp", issuer="http://a.example", client_id="id"), "https"),
    "a query": (SSOProvider(name="corp", issuer="https://a.example?x", client_id="id"), "query"),
    "credentials": (SSOProvider(name="corp", issuer="https://u:p@a.example", client_id="id"), "credentials"),
    "too long": (SSOProvider(name="corp", issuer="https://a.example/" + "a" * 255, client_id="id"), "issuer"),
    "two words": (SSOProvider(name="my-corp", issuer="https://a.example", client_id="id"), "one word"),
    "no openid": (
        SSOProvider(name="corp", issuer="https://a.example", client_id="id", scopes=["email"]),
        "scope openid",
    ),
    "no signature": (
        SSOProvider(name="corp", issuer="https://a.example", client_id="id", signing_alg="none"),
        "signs with",
    ),
    "a shared secret": (
        SSOProvider(name="corp", issuer="https://a.example", client_id="id", signing_alg="HS256"),
        "signs with",
    ),
    "a negative age": (SSOProvider(name="corp", issuer="https://a.example", client_id="id", max_age=-1), "max_age"),
    "GitHub's addresses": (SSOProvider.github(client_id="id", trusted_email=True), "verified"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_provider_that_cannot_be_used_does_not_start(wrong: str) -> None:
    """The operator is told which setting."""
    provider, words = REFUSED[wrong]
    with pytest.raises(ConfigurationError, match=words):
        providers_of([provider], [])


@pytest.mark.parametrize(
    "variables",
    [{"CORP_CREATE": "perhaps"}, {"CORP_ROLES": "makers"}, {"CORP_ROLES": "=maker"}, {"CORP_PRESET": "okta"}],
    ids=str,
)
def test_a_setting_that_cannot_be_read_does_not_start(variables: dict[str, str]) -> None:
    """With its full name."""
    with pytest.raises(ConfigurationError, match="LIMEN_SSO_CORP_"):
        only(CORP_ISSUER="https://a.example", CORP_CLIENT_ID="id", **variables)


def test_two_of_one_name_do_not_start() -> None:
    """Whose callback it is must not depend on an order."""
    one = SSOProvider(name="corp", issuer="https://a.example", client_id="id")
    with pytest.raises(ConfigurationError, match="Two providers"):
        providers_of([one, one], [])


def test_a_secret_is_not_shown() -> None:
    """Neither by the declaration nor by what was read."""
    assert "canary" not in repr(SSOProvider(name="corp", client_secret="canary"))
    assert "canary" not in repr(clients_in({"LIMEN_SSO_CORP_CLIENT_SECRET": "canary"}))
    assert isinstance(clients_in({"LIMEN_SSO_CORP_CLIENT_ID": "x"})[0], SsoClient)


def test_the_settings_of_a_provider_come_from_environment_and_file(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, provider: Provider, serve: Callable[..., TestClient]
) -> None:
    """A file may hold the secret; the environment stands before it. The login works by settings alone."""
    file = tmp_path / "limen.env"
    file.write_text(
        f"LIMEN_SSO_CORP_ISSUER={provider.issuer}\nLIMEN_SSO_CORP_CLIENT_ID=wrong\n"
        f"LIMEN_SSO_CORP_CLIENT_SECRET='{CLIENT_SECRET}'\nLIMEN_SSO_CORP_CREATE=on\n"
    )
    file.chmod(0o600)
    monkeypatch.setenv("LIMEN_ENV_FILE", str(file))
    monkeypatch.setenv("LIMEN_SSO_CORP_CLIENT_ID", CLIENT_ID)
    gate = Limen(settings_for(tmp_path, public_url=HOST, outbound_allow=LOOPBACK))
    assert log_in(serve(gate), provider).status_code == 302


@pytest.mark.parametrize("methods", [["client_secret_basic"], ["client_secret_post"], None], ids=str)
def test_the_secret_goes_where_the_provider_takes_it(browser: TestClient, provider: Provider, methods: Any) -> None:
    """In a header, form-encoded first, or in the form; never in both (RFC 6749, section 2.3.1)."""
    provider.metadata = lambda told: {
        name: value
        for name, value in (told | {"token_endpoint_auth_methods_supported": methods}).items()
        if value is not None
    }
    assert log_in(browser, provider).status_code == 302
    _, form, headers = next(each for each in provider.requests if each[0] == "/token")
    assert ("client_secret" in form) == (methods == ["client_secret_post"])
    assert ("authorization" in headers) == (methods != ["client_secret_post"])


def test_without_providers_there_are_no_routes(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient]
) -> None:
    """What is not used is not there."""
    gate = make_gate()
    assert gate.sso is None
    assert serve(gate).get("/auth/sso/corp/login").status_code == 404


# --- a provider without OpenID Connect, as GitHub is one


def plain(provider: Provider, **changes: Any) -> SSOProvider:
    """Declare the provider as one that knows userinfo alone."""
    from limen.features.sso.providers import OAuthEndpoints

    endpoints = OAuthEndpoints(
        f"{provider.issuer}/authorize", f"{provider.issuer}/token", f"{provider.issuer}/userinfo"
    )
    return SSOProvider.github(
        issuer=provider.issuer,
        endpoints=endpoints,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        create=True,
        **changes,
    )


@pytest.fixture
def github(make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider) -> TestClient:
    """A browser of an application that people come to from such a provider."""
    provider.claims = {"id": 583231, "login": "octocat", "email": "ann@example.org"}
    provider.id_token = lambda told: told | {"nonce": None}
    # It gives no nonce, since none was asked for.
    provider.authorize = _without_nonce(provider.authorize)  # type: ignore[method-assign]
    return serve(make_gate(plain(provider, roles={"*": "maker"})))


def _without_nonce(authorize: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    def answered(location: str, **changes: str) -> dict[str, str]:
        assert "nonce=" not in location
        back = authorize(f"{location}&nonce=x", **changes)
        del back["iss"]
        return back

    return answered


def test_userinfo_alone_says_who_it_is(github: TestClient, provider: Provider) -> None:
    """By the number, which stays when the name is given to somebody else; state and PKCE are as ever."""
    assert log_in(github, provider, name="github").status_code == 302
    first = me(github)
    assert (first["roles"], first["amr"]) == (["maker"], ["sso"])
    provider.claims |= {"login": "renamed"}
    log_in(github, provider, name="github")
    assert me(github)["sub"] == first["sub"]
    provider.claims |= {"id": 7, "login": "octocat"}
    log_in(github, provider, name="github")
    assert me(github)["sub"] != first["sub"]
    assert not {"/.well-known/openid-configuration", "/jwks"} & {path for path, _, _ in provider.requests}


@pytest.mark.parametrize("stated", [None, "", True, 1.5, ["7"], {"id": 7}, "a\x00b", "a" * 256], ids=repr)
def test_userinfo_without_a_subject_is_refused(github: TestClient, provider: Provider, stated: Any) -> None:
    """Whatever is no number and no text is nobody."""
    provider.userinfo = lambda told: told | {"id": stated}
    answer = log_in(github, provider, name="github")
    assert answer.status_code in (400, 503)
    assert github.get("/auth/me").status_code == 401


def test_a_signed_userinfo_of_it_is_refused(github: TestClient, provider: Provider) -> None:
    """There are no keys of it that a signature could be held against."""
    provider.userinfo = lambda told: provider.signed(told | {"id": 583231}).encode()
    provider.userinfo_type = "application/jwt"
    assert code_of(log_in(github, provider, name="github")) == (400, "sso_failed")
    assert github.get("/auth/me").status_code == 401


def test_it_knows_no_logout(github: TestClient, provider: Provider) -> None:
    """A logout token of it is nothing; the session here ends as ever."""
    begin(github, name="github")
    answer = github.post("/auth/sso/github/backchannel-logout", data={"logout_token": provider.logout_token()})
    assert code_of(answer) == (400, "sso_failed")
    assert callback({}, "github") == "/auth/sso/github/callback?"
