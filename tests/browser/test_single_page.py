"""A single-page application in a real browser, with the script of the guide; no script reads its refresh token."""

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Page

from tests.browser.conftest import Shop, ask
from tests.browser.site import OTHER_SITE, SUB_DOMAIN, foreign_pages
from tests.support.gates import PASSWORD

ROUNDS = 5
DEVICE = "limen-device"
REFRESH_NOW = "Promise.all([refresh(), refresh(), refresh()]).then(() => access)"
WITHOUT_LOCK = """async () => {
  const answers = await Promise.all([1, 2, 3].map(() => fetch("/auth/refresh", {method: "POST"})));
  return answers.map((answer) => answer.status);
}"""


def tab(context: BrowserContext, shop: Shop) -> Page:
    """Open the page in a tab."""
    page = context.new_page()
    page.goto(f"{shop.address}/single-page")
    return page


def logged_in(context: BrowserContext, shop: Shop) -> Page:
    """Open the page and log in."""
    page = tab(context, shop)
    page.evaluate("([name, password]) => login(name, password)", ["ann", PASSWORD])
    return page


def cookies(context: BrowserContext) -> list[dict[str, Any]]:
    """Return what the browser keeps, but the one by which the device is known: it opens nothing."""
    return [dict(cookie) for cookie in context.cookies() if not str(cookie.get("name")).endswith(DEVICE)]


def order(page: Page) -> Any:
    """Order with the access token that the page has."""
    return ask(page, "POST", "/orders", {}, Authorization=page.evaluate("`Bearer ${access}`"))


def test_the_script_of_the_guide(context: BrowserContext, shop: Shop) -> None:
    """Login, a request, a reload, a refresh, a logout; the cookie is kept from scripts and from the application."""
    page = logged_in(context, shop)
    (cookie,) = cookies(context)
    is_secure = shop.certificate is not None
    assert cookie["name"] == ("__Secure-limen-refresh" if is_secure else "limen-refresh")
    assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == ("/auth", True, "Strict")
    assert cookie["secure"] == is_secure
    assert page.evaluate("document.cookie + JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"
    device = ("__Host-" if is_secure else "") + DEVICE
    assert order(page) == {"status": 201, "json": {"cookies": [device]}}
    page.reload()
    assert page.evaluate("access") is None
    page.evaluate("refresh()")
    assert order(page)["status"] == 201
    page.evaluate("logout()")
    assert cookies(context) == []
    assert ask(page, "POST", "/auth/refresh", {})["status"] == 422
    assert len(shop.orders) == 2


def test_two_tabs(context: BrowserContext, shop: Shop) -> None:
    """They refresh at the same time, again and again, by the guide's lock and without it: nobody is logged out."""
    first = logged_in(context, shop)
    second = tab(context, shop)
    for _ in range(ROUNDS):
        for page in (first, second):
            page.evaluate(f"window.refreshed = {REFRESH_NOW}; null")
        for page in (first, second):
            assert page.evaluate("window.refreshed")
            assert order(page)["status"] == 201
    for page in (second, first):
        assert page.evaluate(WITHOUT_LOCK) == [200, 200, 200]
    assert len(cookies(context)) == 1
    second.evaluate("logout()")
    with pytest.raises(Error):
        first.evaluate("refresh()")
    assert order(first)["json"]["code"] == "session_ended"


@pytest.mark.parametrize("where", ["a sub-domain beside it", "another site"])
@pytest.mark.parametrize("shop", ["https"], indirect=True)
def test_a_foreign_page_uses_no_cookie(context: BrowserContext, shop: Shop, where: str) -> None:
    """It can make the browser send a request, and neither refreshes nor ends anything by it."""
    page = logged_in(context, shop)
    before = cookies(context)
    host = SUB_DOMAIN if where == "a sub-domain beside it" else OTHER_SITE
    # What the browser may not even hand over unread, by its Cross-Origin-Resource-Policy, is a failure.
    simple = """url => fetch(url, {method: "POST", mode: "no-cors", credentials: "include"})
      .then(() => null, () => null)"""
    with foreign_pages(shop.address, shop.certificate) as port:
        evil = context.new_page()
        evil.goto(f"https://{host}:{port}")
        for path in ("/auth/refresh", "/auth/logout"):
            evil.evaluate(simple, f"{shop.address}{path}")
            with pytest.raises(Error, match="Failed to fetch"):
                ask(evil, "POST", f"{shop.address}{path}", {})
    assert cookies(context) == before
    page.evaluate("refresh()")
    assert order(page)["status"] == 201


@pytest.mark.parametrize("shop", ["https"], indirect=True)
def test_a_planted_cookie_beside_the_real_one_is_refused(context: BrowserContext, shop: Shop) -> None:
    """A sub-domain can set a second cookie of that name: neither is taken, and this session goes on."""
    page = logged_in(context, shop)
    with foreign_pages(shop.address, shop.certificate) as port:
        evil = context.new_page()
        evil.goto(f"https://{SUB_DOMAIN}:{port}")
        evil.evaluate("document.cookie = '__Secure-limen-refresh=planted; Domain=shop.test; Path=/auth; Secure'")
    assert len(cookies(context)) == 2
    assert ask(page, "POST", "/auth/refresh", {})["json"]["code"] == "credential_malformed"
    context.clear_cookies(domain=".shop.test")
    page.evaluate("refresh()")
    assert order(page)["status"] == 201
