"""Single sign-on with providers that others made: the certified oidc-provider, and canaille."""

import time
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from starlette.applications import Starlette

from limen import Limen, SSOProvider
from limen.features.sso.proofs import challenge_of
from tests.sso import real
from tests.support.gates import ROLES, settings_for
from tests.support.postgres import Lacking

ALLOWED = ["127.0.0.0/8", "::1/128"]


class There(NamedTuple):
    """An application that is served, its gate, and what the provider said of itself."""

    url: str
    gate: Limen
    provider: dict[str, Any]

    def browser(self) -> httpx.Client:
        """A browser without cookies."""
        return httpx.Client(headers={"Accept": "text/html"}, timeout=20)

    def me(self, browser: httpx.Client) -> Any:
        """Who the browser is."""
        return browser.get(f"{self.url}/auth/me").json()

    def log_in(self, browser: httpx.Client, query: str = "", **filled: str) -> httpx.Response:
        """Click on the button, and do at the provider what it asks for."""
        return real.browse(browser, f"{self.url}/auth/sso/corp/login{query}", self.url, **filled)

    def proof(self, browser: httpx.Client) -> dict[str, str]:
        """What a page of this origin sends with a change."""
        own = {"Sec-Fetch-Site": "same-origin", "Origin": self.url}
        token = browser.get(f"{self.url}/auth/session", headers=own).json()["csrf_token"]
        return {**own, "X-CSRF-Token": token, "Accept": "application/json"}


def gate_at(folder: Path, url: str, issuer: str, **declared: Any) -> Limen:
    """Make a gate for a provider."""
    values: dict[str, Any] = {
        **real.CLIENT,
        "create": True,
        "trusted_email": True,
        "scopes": ("openid", "email", "groups"),
        **declared,
    }
    corp = SSOProvider(name="corp", issuer=issuer, **values)
    return Limen(settings_for(folder, public_url=url, outbound_allow=ALLOWED), roles=ROLES, sso=[corp])


@contextmanager
def beside_the_certified(folder: Path, **more: str) -> Iterator[There]:
    """Serve an application beside the certified provider."""
    port, url = real.own_address()
    try:
        with real.certified(url, **more) as provider:
            gate = gate_at(folder, url, provider["issuer"], roles={"makers": "maker"})
            app = Starlette()
            gate.protect(app)
            with real.served(app, port):
                yield There(url, gate, provider)
    except Lacking as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    """An application beside the certified provider."""
    with beside_the_certified(tmp_path_factory.mktemp("certified")) as there:
        yield there


@pytest.fixture(scope="module")
def canaille(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    """An application beside canaille."""
    port, url = real.own_address()
    folder = tmp_path_factory.mktemp("canaille")
    with real.canaille(url, folder) as provider:
        gate = gate_at(folder, url, provider["issuer"], username_claim="preferred_username")
        app = Starlette()
        gate.protect(app)
        with real.served(app, port):
            yield There(url, gate, provider)


# --- the certified one


def test_a_login_at_the_certified_provider(certified: There) -> None:
    """From the click through its forms to a session, with the role that its group gives."""
    with certified.browser() as browser:
        answer = certified.log_in(browser, "?next=/auth/me", login="ann", password="x")
        assert answer.headers["location"] == "/auth/me"
        who = certified.me(browser)
        assert (who["amr"], who["roles"]) == (["sso"], ["maker"])
        assert abs(time.time() - timegm(time.strptime(who["auth_time"], "%Y-%m-%dT%H:%M:%SZ"))) < 300


def test_a_second_login_is_the_same_account(certified: There) -> None:
    """The subject is the account; another person is another one, without the role."""
    found = []
    for person in ("ann", "ann", "bob"):
        with certified.browser() as browser:
            certified.log_in(browser, login=person, password="x")
            found.append((certified.me(browser)["sub"], certified.me(browser)["roles"]))
    assert found[0] == found[1]
    assert found[2][0] != found[0][0]
    assert found[2][1] == []


def test_a_userinfo_that_the_certified_provider_signs(tmp_path: Path) -> None:
    """Where it alone tells of the groups, they give the role, and each account is that of its subject."""
    with beside_the_certified(tmp_path, USERINFO_ALG="RS256") as there:
        for person, roles in (("ann", ["maker"]), ("bob", [])):
            with there.browser() as browser:
                there.log_in(browser, login=person, password="x")
                assert there.me(browser)["roles"] == roles


def test_a_person_who_goes_back_is_told(certified: There) -> None:
    """Its «cancel» is an error that the page names."""
    with certified.browser() as browser:
        going = browser.get(f"{certified.url}/auth/sso/corp/login")
        shown = browser.get(going.headers["location"], follow_redirects=True)
        abort = shown.text.partition('href="')[2].partition('"')[0]
        assert abort.endswith("/abort")
        answer = real.browse(browser, httpx.URL(str(shown.url)).join(abort).__str__(), certified.url)
        assert (answer.status_code, "access_denied" in answer.text) == (403, True)


def test_a_code_is_exchanged_with_its_verifier(certified: There) -> None:
    """A single-page application gets tokens, which are refreshed."""
    verifier = "v" * 64
    query = f"?next=/spa&code_challenge={challenge_of(verifier)}&code_challenge_method=S256"
    with certified.browser() as browser:
        location = certified.log_in(browser, query, login="ann", password="x").headers["location"]
        body = {"code": location.partition("code=")[2], "code_verifier": verifier}
        answer = browser.post(f"{certified.url}/auth/sso/exchange", json=body)
        assert answer.status_code == 200
        refreshed = browser.post(
            f"{certified.url}/auth/refresh", json={"refresh_token": answer.json()["refresh_token"]}
        )
        assert refreshed.status_code == 200


def test_a_logout_there_ends_the_session_here(certified: There) -> None:
    """RP-initiated logout takes the hint and the address; the back channel then ends the person's other session."""
    with certified.browser() as browser, certified.browser() as other:
        certified.log_in(browser, login="ann", password="x")
        # The other browser has the provider's session too, so that it is one and the same there.
        for cookie in browser.cookies.jar:
            if not cookie.name.startswith("limen"):
                other.cookies.jar.set_cookie(cookie)
        certified.log_in(other)
        assert certified.me(other)["sub"] == certified.me(browser)["sub"]
        left = browser.post(f"{certified.url}/auth/sso/corp/logout", headers=certified.proof(browser))
        location = left.json()["location"]
        assert "id_token_hint=" in location
        answer = real.browse(browser, location, certified.url, logout="yes")
        assert str(answer.request.url) == f"{certified.url}/"
        deadline = time.monotonic() + 10
        while other.get(f"{certified.url}/auth/me").status_code != 401:
            assert time.monotonic() < deadline, "the back channel was not heard"
            time.sleep(0.05)


# --- canaille


def test_a_login_at_canaille(canaille: There) -> None:
    """By discovery alone, with a secret in a header, and userinfo."""
    with canaille.browser() as browser:
        answer = canaille.log_in(browser)
        assert (answer.status_code, answer.headers.get("location")) == (302, "/")
        who = canaille.me(browser)
        assert who["amr"] == ["sso"]
    with canaille.browser() as browser:
        canaille.log_in(browser)
        assert canaille.me(browser)["sub"] == who["sub"]


def test_a_logout_at_canaille(canaille: There) -> None:
    """Its end_session_endpoint is told who leaves, and where to send them."""
    with canaille.browser() as browser:
        canaille.log_in(browser)
        left = browser.post(f"{canaille.url}/auth/sso/corp/logout", headers=canaille.proof(browser))
        location = left.json()["location"]
        assert location.startswith(f"{canaille.provider['issuer']}/oauth/end_session?")
        answer = browser.get(location)
        assert answer.status_code in (200, 302)
        assert browser.get(f"{canaille.url}/auth/me").status_code == 401
