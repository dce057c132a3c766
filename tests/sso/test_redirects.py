"""Where a browser is sent afterwards: never elsewhere (ASVS 5.0, 3.7.2)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from starlette.testclient import TestClient

from limen import Limen
from limen.core.errors import ConfigurationError
from limen.features.sso.redirects import is_own_path, next_of
from tests.sso.conftest import code_of, declared, log_in
from tests.sso.provider import Provider
from tests.support.gates import settings_for

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/ /evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\t//evil.example",
    "\n//evil.example",
    " //evil.example",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "HTTPS://evil.example",
    "http://evil.example",
    "hTTp:evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "ftp://evil.example",
    "blob:https://evil.example/x",
    "evil.example",
    "www.evil.example/x",
    "@evil.example",
    "https://app.example@evil.example",
    "https://app.example:443@evil.example",
    "https://app.example.evil.example",
    "https://evil.example/https://app.example",
    "https://evil.example?https://app.example/",
    "https://evil.example#https://app.example/",
    "https://app.example\\.evil.example",
    "https://app.example%2eevil.example",
    "https://app.example",
    "/%2f%2fevil.example",
    "/%2F/evil.example",
    "/%5cevil.example",
    "/%5C%5Cevil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%0d%0aSet-Cookie:x",
    "/%00",
    "/.//evil.example",
    "/..//evil.example",
    "/./../evil.example",
    "/a/..//evil.example",
    "/%2e%2e//evil.example",
    "/;//evil.example",
    "//%65vil.example",
    "/\u2044evil.example",
    "\uff0f\uff0fevil.example",
    "/\u202eevil.example",
    "/\x00evil.example",
    "/\x7fevil.example",
    "/x\u00a0y",
    "?next=//evil.example",
    "#//evil.example",
    "./evil.example",
    "../evil.example",
    "[::1]",
    "//[::1]",
    "//127.0.0.1",
    "/a%2",
    "/" + "a" * 1_024,
    "",
]
OWN = [
    "/",
    "/orders",
    "/orders/7",
    "/orders?page=2&q=a%20b",
    "/a/b/",
    "/#top",
    "/app#/deep/link",
    "/~ann/@me;v=1?x=//y",
]


@pytest.mark.parametrize("text", ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_what_leads_elsewhere_is_not_followed(text: str) -> None:
    """It is no path of this origin, and the default takes its place."""
    assert not is_own_path(text)
    assert next_of(text, frozenset()) == "/"


@pytest.mark.parametrize("text", OWN)
def test_what_leads_home_is_followed(text: str) -> None:
    """Paths with a question and a fragment are as they were asked for."""
    assert is_own_path(text)
    assert next_of(text, frozenset()) == text


@pytest.mark.parametrize("given", ["//evil.example", "https://evil.example/", "/\\evil.example", "/%0d%0aX:y"])
def test_a_login_that_would_lead_elsewhere_leads_home(browser: TestClient, provider: Provider, given: str) -> None:
    """The login goes on, to the default."""
    assert log_in(browser, provider, f"?next={quote(given)}").headers["location"] == "/"


def test_a_login_leads_where_it_was_asked_to(browser: TestClient, provider: Provider) -> None:
    """To a path of this origin."""
    answer = log_in(browser, provider, "?next=" + quote("/orders?page=2#top"))
    assert answer.headers["location"] == "/orders?page=2#top"


def test_an_address_of_the_list_is_compared_exactly(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """A longer one, another case or another query is another address."""
    there = "https://spa.example/done?x=1"
    browser = serve(make_gate(declared(provider), sso_redirects=[there]))
    assert log_in(browser, provider, f"?next={quote(there)}").headers["location"] == there
    for other in (there + "2", there + "/", "https://spa.example/done", "https://SPA.example/done?x=1", there + "#a"):
        assert log_in(browser, provider, f"?next={quote(other)}").headers["location"] == "/"


def test_next_is_given_once(browser: TestClient, provider: Provider) -> None:
    """Which of two counts would depend on who reads."""
    assert code_of(browser.get("/auth/sso/corp/login?next=/a&next=/b"))[0] == 400


@pytest.mark.parametrize(
    "url",
    ["http://spa.example/", "//spa.example", "https://", "app:/x", "https://a@spa.example/", "https://spa.example/#x"],
)
def test_an_address_that_cannot_be_listed(tmp_path: Any, url: str) -> None:
    """Plain http elsewhere, no host, a scheme that is anybody's: the settings are refused."""
    with pytest.raises(ConfigurationError, match="LIMEN_SSO_REDIRECTS"):
        settings_for(tmp_path, sso_redirects=[url])


def test_the_code_goes_into_the_query(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Beside what is there, before the fragment, also of an app's own scheme."""
    app, page = "com.example.app:/done", "/spa?x=1#/home"
    browser = serve(make_gate(declared(provider), sso_redirects=[app]))
    challenge = "&code_challenge=" + "a" * 43 + "&code_challenge_method=S256"
    location = ""
    for given in (app, page):
        location = log_in(browser, provider, f"?next={quote(given)}{challenge}").headers["location"]
        parts, asked = urlsplit(location), urlsplit(given)
        assert (parts.scheme, parts.path, parts.fragment) == (asked.scheme, asked.path, asked.fragment)
        assert len(parse_qs(parts.query)["code"][0]) == 43
    assert "x=1&code=" in location
