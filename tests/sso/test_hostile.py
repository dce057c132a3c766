"""A provider, or somebody between, that means no good: nothing of it opens a session."""

import hashlib
import hmac
import json
import socket
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from starlette.testclient import TestClient

from limen import Limen
from limen.authn.issuer_keys import IssuerKeys
from limen.features.sso import client
from tests.sso.conftest import begin, code_of, declared, log_in, me
from tests.sso.provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Claims,
    Provider,
    callback,
    jwk_of,
    running_provider,
    unsigned,
)

NOW = int(time.time())


def signed_with_the_secret(claims: Claims) -> str:
    """Return an ID token of HS256, made with the client's secret."""
    parts = b".".join(
        urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT", "kid": "key-0"}, claims)
    )
    digest = hmac.new(CLIENT_SECRET.encode(), parts, hashlib.sha256).digest()
    return f"{parts.decode()}.{urlsafe_b64encode(digest).rstrip(b'=').decode()}"


# What the ID token says instead; None takes a claim away. OpenID Connect Core, 3.1.3.7, rule by rule.
CLAIMS: dict[str, Callable[[Claims], Claims]] = {
    "iss of another": lambda told: told | {"iss": "https://other.example"},
    "iss with a slash": lambda told: told | {"iss": told["iss"] + "/"},
    "iss in capitals": lambda told: told | {"iss": told["iss"].upper()},
    "no iss": lambda told: told | {"iss": None},
    "aud of another": lambda told: told | {"aud": "somebody-else"},
    "aud of several": lambda told: told | {"aud": [CLIENT_ID, "somebody-else"], "azp": CLIENT_ID},
    "aud empty": lambda told: told | {"aud": []},
    "aud in part": lambda told: told | {"aud": CLIENT_ID[:-1]},
    "no aud": lambda told: told | {"aud": None},
    "azp of another": lambda told: told | {"azp": "somebody-else"},
    "several aud, no azp": lambda told: told | {"aud": [CLIENT_ID, CLIENT_ID]},
    "nonce of another": lambda told: told | {"nonce": "x" * 43},
    "nonce empty": lambda told: told | {"nonce": ""},
    "no nonce": lambda told: told | {"nonce": None},
    "at_hash of another": lambda told: told | {"at_hash": "x" * 22},
    "at_hash empty": lambda told: told | {"at_hash": ""},
    "expired": lambda told: told | {"exp": NOW - 120, "iat": NOW - 400},
    "no exp": lambda told: told | {"exp": None},
    "exp as text": lambda told: told | {"exp": str(told["exp"])},
    "exp for ever": lambda told: told | {"exp": 10**300},
    "of the future": lambda told: told | {"iat": NOW + 3_600, "exp": NOW + 7_200},
    "of yesterday": lambda told: told | {"iat": NOW - 86_400},
    "no iat": lambda told: told | {"iat": None},
    "not yet": lambda told: told | {"nbf": NOW + 3_600},
    "no sub": lambda told: told | {"sub": None},
    "sub empty": lambda told: told | {"sub": ""},
    "sub a number": lambda told: told | {"sub": 7},
    "sub a list": lambda told: told | {"sub": ["Ann-1"]},
    "sub with NUL": lambda told: told | {"sub": "Ann\x00-1"},
    "sub too long": lambda told: told | {"sub": "a" * 256},
    "auth_time of the future": lambda told: told | {"auth_time": NOW + 3_600},
    "sid no text": lambda told: told | {"sid": {"a": 1}},
}


@pytest.mark.parametrize("wrong", CLAIMS)
def test_an_id_token_with_wrong_claims(browser: TestClient, provider: Provider, wrong: str) -> None:
    """Each is refused with one code, and no session begins; the right one then works."""
    provider.id_token = CLAIMS[wrong]
    provider.userinfo = lambda told: told | {"sub": CLAIMS[wrong]({"sub": told["sub"], "iss": "", "exp": 0})["sub"]} \
        if wrong.startswith("sub ") else told  # fmt: skip
    assert code_of(log_in(browser, provider)) == (400, "sso_failed")
    assert browser.get("/auth/me").status_code == 401
    provider.id_token = provider.userinfo = lambda told: told
    assert log_in(browser, provider).status_code == 302


SIGNATURES: dict[str, Callable[[Provider, Claims], str]] = {
    "none": lambda provider, claims: unsigned(claims),
    "HS256 with the client's secret": lambda provider, claims: signed_with_the_secret(claims),
    "another key": lambda provider, claims: provider.signed(claims, key=1),
    "another key under this one's id": lambda provider, claims: provider.signed(claims, key=1, kid="key-0"),
    "no signature": lambda provider, claims: provider.signed(claims).rpartition(".")[0] + ".",
    "cut": lambda provider, claims: provider.signed(claims)[:-4],
    "a logout token's type": lambda provider, claims: provider.signed(claims, typ="logout+jwt"),
    "an access token's type": lambda provider, claims: provider.signed(claims, typ="at+jwt"),
    "a key of its own": lambda provider, claims: provider.signed(claims, key=1, jwk=jwk_of(1)),
    "a key elsewhere": lambda provider, claims: provider.signed(claims, key=1, jku="https://evil.example/jwks"),
    "no token": lambda provider, claims: "x",
    "five parts": lambda provider, claims: "a.b.c.d.e",
    "a megabyte": lambda provider, claims: provider.signed(claims | {"x": "x" * 100_000}),
}


@pytest.mark.parametrize("wrong", SIGNATURES)
def test_an_id_token_with_a_wrong_signature(browser: TestClient, provider: Provider, wrong: str) -> None:
    """Only the provider's key counts, with the algorithm that was declared."""
    provider.sign = lambda claims: SIGNATURES[wrong](provider, claims)
    answer = log_in(browser, provider)
    assert code_of(answer) == (400, "sso_failed")
    assert browser.get("/auth/me").status_code == 401


ANSWERS: dict[str, Callable[[Claims], Any]] = {
    "no id_token": lambda told: {**told, "id_token": None},
    "id_token a number": lambda told: {**told, "id_token": 7},
    "no access_token": lambda told: {**told, "access_token": None},
    "access_token with a line": lambda told: {**told, "access_token": "a\r\nX: y"},
    "another token_type": lambda told: {**told, "token_type": "DPoP"},
    "no token_type": lambda told: {**told, "token_type": None},
    "an error with 200": lambda told: {**told, "error": "invalid_grant"},
    "an error that is a list": lambda told: {**told, "error": ["invalid_grant"]},
    "an error that is an object": lambda told: {**told, "error": {}},
}


@pytest.mark.parametrize("wrong", ANSWERS)
def test_an_answer_of_the_token_endpoint(browser: TestClient, provider: Provider, wrong: str) -> None:
    """What is not of its form is refused."""
    provider.tokens = ANSWERS[wrong]
    assert code_of(log_in(browser, provider)) == (400, "sso_failed")


USERINFO: dict[str, Any] = {
    "of another": lambda told: told | {"sub": "Bob-2"},
    "in another case": lambda told: told | {"sub": told["sub"].lower()},
    "without sub": lambda told: {"email": "ann@example.org"},
    "sub a list": lambda told: told | {"sub": [told["sub"]]},
}


@pytest.mark.parametrize("wrong", USERINFO)
def test_userinfo_of_another(browser: TestClient, provider: Provider, wrong: str) -> None:
    """An access token that was slipped in tells of somebody else (Core, 5.3.2)."""
    provider.userinfo = USERINFO[wrong]
    assert code_of(log_in(browser, provider)) == (400, "sso_failed")
    assert browser.get("/auth/me").status_code == 401


def signing(provider: Provider, sign: Callable[[Claims], str] | None = None, **changes: Any) -> None:
    """Let the provider sign its userinfo, and say in it what is given here as well; None takes a claim away."""

    def answer(told: Claims) -> bytes:
        claims = told | {"iss": provider.issuer, "aud": CLIENT_ID} | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return (sign or provider.signed)(claims).encode()

    provider.userinfo, provider.userinfo_type = answer, "application/jwt"


FITTING: dict[str, Claims] = {
    "with issuer and audience": {},
    "for several, of which this is one": {"aud": ["somebody-else", CLIENT_ID]},
    "without issuer and audience": {"iss": None, "aud": None},
    "with times": {"iat": NOW - 60, "exp": NOW + 3_600, "nbf": NOW - 60},
}


@pytest.mark.parametrize("said", FITTING)
def test_a_signed_userinfo_is_believed(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider, said: str
) -> None:
    """With the provider's key, of the same person; what it alone says counts (Core, 5.3.2)."""
    browser = serve(make_gate(declared(provider, roles={"editors": "maker"})))
    signing(provider, groups=["editors"], **FITTING[said])
    assert log_in(browser, provider).status_code == 302
    assert me(browser)["roles"] == ["maker"]


MISFITS: dict[str, Claims] = {
    "of another person": {"sub": "Bob-2"},
    "of the person in another case": {"sub": "ann-1"},
    "of nobody": {"sub": None},
    "of a list": {"sub": ["Ann-1"]},
    "of another issuer": {"iss": "https://other.example"},
    "of the issuer with a slash": {"iss": "/"},
    "for another client": {"aud": "somebody-else"},
    "for several others": {"aud": ["a", "b"]},
    "for nobody": {"aud": []},
    "for a part of the client": {"aud": CLIENT_ID[:-1]},
    "an ID token": {"nonce": "x" * 43, "iat": NOW, "exp": NOW + 300},
    "an ID token by its hash": {"at_hash": "x" * 22, "iat": NOW, "exp": NOW + 300},
    "a logout token": {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
    "over": {"exp": NOW - 3_600},
    "over, as a text": {"exp": "0"},
    "not yet": {"nbf": NOW + 3_600},
    "of the future": {"iat": NOW + 3_600},
}


@pytest.mark.parametrize("wrong", MISFITS)
def test_a_signed_userinfo_that_does_not_fit(browser: TestClient, provider: Provider, wrong: str) -> None:
    """Signed by the provider, and about somebody else, for somebody else, or another token than userinfo."""
    changes = MISFITS[wrong]
    if changes.get("iss") == "/":
        changes = {"iss": f"{provider.issuer}/"}
    signing(provider, **changes)
    assert code_of(log_in(browser, provider)) == (400, "sso_failed")
    assert browser.get("/auth/me").status_code == 401


def test_an_id_token_is_no_userinfo(browser: TestClient, provider: Provider) -> None:
    """The provider's own token of this very login, put in the place of the userinfo, is refused."""
    tokens: list[str] = []

    def sign(claims: Claims) -> str:
        tokens.append(provider.signed(claims))
        return tokens[-1]

    provider.sign = sign
    provider.userinfo, provider.userinfo_type = lambda told: tokens[-1].encode(), "application/jwt"
    assert code_of(log_in(browser, provider)) == (400, "sso_failed")
    assert len(tokens) == 1
    assert browser.get("/auth/me").status_code == 401


@pytest.mark.parametrize("wrong", SIGNATURES)
def test_a_userinfo_with_a_wrong_signature(browser: TestClient, provider: Provider, wrong: str) -> None:
    """As with an ID token: only the provider's key counts, with the algorithm that was declared."""
    signing(provider, lambda claims: SIGNATURES[wrong](provider, claims))
    assert code_of(log_in(browser, provider)) == (400, "sso_failed")
    assert browser.get("/auth/me").status_code == 401


def test_a_userinfo_is_what_its_media_type_says(browser: TestClient, provider: Provider) -> None:
    """A JWT that is called JSON is not read, nor JSON that is called a JWT; one of ten megabytes is cut off."""
    signing(provider)
    provider.userinfo_type = "application/json"
    assert code_of(log_in(browser, provider)) == (503, "unavailable")
    provider.userinfo, provider.userinfo_type = lambda told: told, "application/jwt"
    assert code_of(log_in(browser, provider)) == (400, "sso_failed")
    signing(provider, x="x" * 10_000_000)
    assert code_of(log_in(browser, provider)) == (503, "unavailable")
    signing(provider)
    provider.userinfo_type = "Application/JWT; charset=utf-8"
    assert log_in(browser, provider).status_code == 302


METADATA: dict[str, Callable[[Claims], Any]] = {
    "issuer of another": lambda told: told | {"issuer": "https://other.example"},
    "issuer with a slash": lambda told: told | {"issuer": told["issuer"] + "/"},
    "no issuer": lambda told: {name: value for name, value in told.items() if name != "issuer"},
    "plain http": lambda told: told | {"token_endpoint": "http://op.example/token"},
    "a file": lambda told: told | {"jwks_uri": "file:///etc/passwd"},
    "credentials in it": lambda told: told | {"token_endpoint": "https://a:b@op.example/token"},
    "no token endpoint": lambda told: told | {"token_endpoint": None},
    "no JSON": lambda told: b"<html>",
    "a list": lambda told: [told],
    "ten megabytes": lambda told: json.dumps(told | {"x": "x" * 10_000_000}).encode(),
    "a name twice": lambda told: b'{"issuer":"a","issuer":"b"}',
    "a redirect inside": lambda told: (302, "http://169.254.169.254/latest/meta-data"),
    "a name that is none": lambda told: told | {"token_endpoint": "https://xn--/"},
    "an address that no header holds": lambda told: told | {"authorization_endpoint": f"{told['issuer']}/\u2603"},
    "no method for a secret": lambda told: told | {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
}


@pytest.mark.parametrize("wrong", METADATA)
def test_a_description_that_is_not_believed(browser: TestClient, provider: Provider, wrong: str) -> None:
    """Nobody is sent anywhere: 503, with a time."""
    provider.metadata = METADATA[wrong]
    answer = browser.get("/auth/sso/corp/login")
    assert code_of(answer) == (503, "unavailable")
    assert "retry-after" in answer.headers


KEYS: dict[str, Callable[[Claims], Any]] = {
    "ten megabytes": lambda told: json.dumps({"keys": told["keys"], "x": "x" * 10_000_000}).encode(),
    "a secret among them": lambda told: {"keys": [*told["keys"], {"kty": "oct", "k": "AAAA", "kid": "s"}]},
    "one id twice": lambda told: {"keys": [*told["keys"], jwk_of(1, kid="key-0")]},
    "a thousand": lambda told: {"keys": [jwk_of(0, kid=f"key-{number}") for number in range(1_000)]},
    "a redirect inside": lambda told: (302, "http://127.0.0.1:1/"),
    "no keys": lambda told: {"keys": []},
    "a key for encryption": lambda told: {"keys": [jwk_of(0, use="enc")]},
    "a curve that is a list": lambda told: {"keys": [jwk_of(1, crv=["P-256"], alg=None)]},
}


@pytest.mark.parametrize("wrong", KEYS)
def test_keys_that_are_not_believed(browser: TestClient, provider: Provider, wrong: str) -> None:
    """Without keys nobody can tell who it is: 503, no session."""
    provider.jwks = KEYS[wrong]
    assert log_in(browser, provider).status_code == 503
    assert browser.get("/auth/me").status_code == 401


def test_keys_are_rotated(
    make_gate: Callable[..., Limen],
    serve: Callable[..., TestClient],
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A token of a new key has the keys fetched, and is believed; one of a key that is gone is not."""
    monkeypatch.setattr(client, "IssuerKeys", partial(IssuerKeys, cool_down=0.0))
    browser = serve(make_gate(declared(provider)))
    log_in(browser, provider)
    provider.jwks = lambda told: {"keys": [jwk_of(1)]}
    provider.sign = lambda claims: provider.signed(claims, key=1)
    assert log_in(browser, provider).status_code == 302
    assert len([path for path, _, _ in provider.requests if path == "/jwks"]) == 2
    provider.sign = lambda claims: provider.signed(claims, key=0)
    assert code_of(log_in(browser, provider)) == (400, "sso_failed")


def test_tokens_of_unknown_keys_make_few_calls(browser: TestClient, provider: Provider) -> None:
    """Whoever can have ID tokens made cannot have the keys fetched for each: once in ten seconds at most."""
    log_in(browser, provider)
    provider.sign = lambda claims: provider.signed(claims, key=1)
    for _ in range(5):
        assert code_of(log_in(browser, provider)) == (400, "sso_failed")
    assert len([path for path, _, _ in provider.requests if path == "/jwks"]) == 1


# --- the browser


def test_a_callback_in_another_browser(
    browser: TestClient, gate: Limen, serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Login CSRF: the attacker's code and state open nothing in a victim's browser, and stay the attacker's."""
    victim = serve(gate)
    begin(victim)
    back = callback(provider.authorize(begin(browser)))
    assert code_of(victim.get(back)) == (400, "sso_state_invalid")
    assert victim.get("/auth/me").status_code == 401
    assert "__Host-limen" not in victim.cookies
    victim.cookies.clear()
    assert code_of(victim.get(back)) == (400, "sso_state_invalid")
    assert browser.get(back).status_code == 302


def test_a_code_of_another_session(
    browser: TestClient,
    gate: Limen,
    serve: Callable[..., TestClient],
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Code injection: a stolen code with one's own state fails at the provider, since the verifier is another."""
    stolen = provider.authorize(begin(serve(gate)))["code"]
    provider.subject = "Mallory"
    own = provider.authorize(begin(browser))
    assert code_of(browser.get(callback(own | {"code": stolen}))) == (400, "sso_failed")
    assert browser.get("/auth/me").status_code == 401
    # It was the provider that refused the verifier, before there was a token whose nonce could be looked at.
    assert [getattr(each, "reason", "") for each in caplog.records if each.msg == "sso_refused"] == [
        "token_invalid_grant"
    ]


def test_a_state_is_used_once(browser: TestClient, provider: Provider) -> None:
    """The same answer a second time is refused, though the cookie is still there."""
    back = callback(provider.authorize(begin(browser)))
    assert browser.get(back).status_code == 302
    sid = me(browser)["sid"]
    assert code_of(browser.get(back)) == (400, "sso_state_invalid")
    assert me(browser)["sid"] == sid


def test_a_state_holds_ten_minutes(browser: TestClient, provider: Provider, clock: Any) -> None:
    """After that it is nobody's."""
    back = callback(provider.authorize(begin(browser)))
    clock.turn(601)
    assert code_of(browser.get(back)) == (400, "sso_state_invalid")


BACK: dict[str, Callable[[dict[str, str]], str]] = {
    "no state": lambda back: callback({"code": back["code"]}),
    "another state": lambda back: callback(back | {"state": "x" * 43}),
    "state cut": lambda back: callback(back | {"state": back["state"][:-1]}),
    "state twice": lambda back: callback(back) + f"&state={back['state']}",
    "code twice": lambda back: callback(back) + "&code=x",
    "state with NUL": lambda back: callback(back | {"state": "\x00" * 43}),
    "nothing": lambda back: callback({}),
    "a megabyte": lambda back: callback(back | {"state": "x" * 60_000}),
}


@pytest.mark.parametrize("wrong", BACK)
def test_a_callback_that_fits_nothing(browser: TestClient, provider: Provider, wrong: str) -> None:
    """It is refused before the provider is asked."""
    back = provider.authorize(begin(browser))
    assert code_of(browser.get(BACK[wrong](back))) == (400, "sso_state_invalid")
    assert "/token" not in [path for path, _, _ in provider.requests]


@pytest.mark.parametrize("code", ["", "a b", "a\r\nb", "ü", "x" * 5_000])
def test_a_code_that_is_none(browser: TestClient, provider: Provider, code: str) -> None:
    """It does not reach the provider."""
    back = provider.authorize(begin(browser))
    assert code_of(browser.get(callback(back | {"code": code}))) == (400, "sso_failed")
    assert "/token" not in [path for path, _, _ in provider.requests]


@pytest.mark.parametrize("cookie", ["", "x", "x" * 43, "x" * 10_000, "\x01" * 43, "a; __Host-limen-sso=b"])
def test_a_cookie_that_is_not_ours(browser: TestClient, provider: Provider, cookie: str) -> None:
    """Malformed, made up, or given twice: no login is this browser's."""
    back = callback(provider.authorize(begin(browser)))
    browser.cookies.clear()
    answer = browser.get(back, headers={"Cookie": f"__Host-limen-sso={cookie}"})
    assert code_of(answer) == (400, "sso_state_invalid")


# --- issuers


@pytest.mark.parametrize("iss", ["https://other.example", "", None])
def test_an_answer_of_another_issuer(browser: TestClient, provider: Provider, iss: str | None) -> None:
    """RFC 9207: where the provider says that it names itself, an answer without its name is refused too."""
    back = provider.authorize(begin(browser))
    back.pop("iss")
    if iss is not None:
        back["iss"] = iss
    assert code_of(browser.get(callback(back))) == (400, "sso_failed")
    assert "/token" not in [path for path, _, _ in provider.requests]


def test_a_wrong_issuer_is_refused_where_none_was_promised(browser: TestClient, provider: Provider) -> None:
    """A provider that promises no name may leave it out, not give another's."""
    provider.metadata = lambda told: told | {"authorization_response_iss_parameter_supported": False}
    back = provider.authorize(begin(browser))
    assert code_of(browser.get(callback(back | {"iss": "https://other.example"}))) == (400, "sso_failed")
    back = provider.authorize(begin(browser))
    back.pop("iss")
    assert browser.get(callback(back)).status_code == 302


def test_two_providers_are_not_mixed_up(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """RFC 9700, 4.4: a code of the honest provider never goes to the other, whose login was begun."""
    with running_provider() as evil:
        # The evil one passes the browser on to the honest one, to have its code brought home.
        evil.metadata = lambda told: told | {"authorization_response_iss_parameter_supported": False}
        browser = serve(make_gate(declared(provider, "honest"), declared(evil, "evil")))
        location = begin(browser, name="evil")
        stolen = provider.authorize(location)
        assert code_of(browser.get(callback(stolen, "evil"))) == (400, "sso_failed")
        assert evil.requests == [("/.well-known/openid-configuration", {}, evil.requests[0][2])]
        # And a state of the one at the callback of the other is nobody's.
        stolen = provider.authorize(begin(browser, name="honest"))
        assert code_of(browser.get(callback(stolen, "evil"))) == (400, "sso_state_invalid")
        assert browser.get(callback(stolen, "honest")).status_code == 302


def test_a_token_of_the_other_provider(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """An ID token that is right at one provider is nothing at another."""
    with running_provider() as evil:
        evil.key = 2
        browser = serve(make_gate(declared(provider, "honest"), declared(evil, "evil")))
        evil.sign = lambda claims: provider.signed(claims | {"iss": provider.issuer})
        assert code_of(log_in(browser, evil, name="evil")) == (400, "sso_failed")


def test_a_provider_inside_is_not_called(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Without LIMEN_OUTBOUND_ALLOW nothing on this machine is asked."""
    browser = serve(make_gate(declared(provider), outbound_allow=[]))
    assert browser.get("/auth/sso/corp/login").status_code == 503
    assert provider.requests == []


def test_a_provider_that_drips(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """A peer that takes the connection and never answers holds nobody beyond the call's seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        browser = serve(make_gate(declared(provider, issuer=url)))
        began = time.monotonic()
        assert browser.get("/auth/sso/corp/login").status_code == 503
        assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("age", "status"), [(None, 400), (3_600, 400), (10, 302)], ids=["missing", "long ago", "just now"]
)
def test_max_age_is_held_against_the_token(
    make_gate: Callable[..., Limen],
    serve: Callable[..., TestClient],
    provider: Provider,
    age: int | None,
    status: int,
) -> None:
    """With max_age the time of the login there must be told, and recent (Core, 3.1.3.7, rule 13)."""
    browser = serve(make_gate(declared(provider, max_age=300)))
    if age is not None:
        provider.claims["auth_time"] = int(time.time()) - age
    assert "max_age=300" in begin(browser)
    assert log_in(browser, provider).status_code == status
