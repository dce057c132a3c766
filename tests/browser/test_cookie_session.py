"""A cookie session in a real browser: what pages of the site may do, and what pages of others may not."""

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Page

from tests.browser.conftest import Shop, ask
from tests.browser.site import OTHER_SITE, SUB_DOMAIN, foreign_pages
from tests.support.gates import PASSWORD

CREDENTIALS = {"username": "ann", "password": PASSWORD}
DEVICE = "limen-device"


def opened(context: BrowserContext, shop: Shop) -> tuple[Page, str]:
    """Visit the shop and open a session; return the tab and the anti-forgery token."""
    page = context.new_page()
    page.goto(shop.address)
    answer = ask(page, "POST", "/auth/session", CREDENTIALS)
    assert answer["status"] == 200, answer
    return page, answer["json"]["csrf_token"]


def jar(context: BrowserContext) -> dict[str, Any]:
    """Return the cookies that the browser keeps, by name, but the one by which the device is known."""
    found = {str(cookie.get("name")): cookie for cookie in context.cookies()}
    return {name: cookie for name, cookie in found.items() if not name.endswith(DEVICE)}


def test_a_session_from_login_to_logout(context: BrowserContext, shop: Shop) -> None:
    """The browser takes the cookie and shows it to no script; a change takes the token; a reload finds it again."""
    page, csrf = opened(context, shop)
    name = "__Host-limen" if shop.address.startswith("https") else "limen"
    (cookie,) = jar(context).values()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (name, True, "Lax", "/")
    assert cookie["secure"] == (name == "__Host-limen")
    assert page.evaluate("document.cookie") == ""
    assert ask(page, "POST", "/orders", {})["json"]["code"] == "csrf_failed"
    assert ask(page, "POST", "/orders", {}, X_CSRF_Token=csrf)["status"] == 201
    page.reload()
    again = ask(page, "GET", "/auth/session")
    assert (again["status"], again["json"]["csrf_token"]) == (200, csrf)
    assert ask(page, "GET", "/auth/me")["json"]["username"] == "ann"
    assert ask(page, "DELETE", "/auth/session", X_CSRF_Token=csrf)["status"] == 204
    assert jar(context) == {}
    (device,) = context.cookies()
    assert device.get("name") == ("__Host-" if name == "__Host-limen" else "") + DEVICE
    assert (device.get("httpOnly"), device.get("sameSite"), device.get("path")) == (True, "Strict", "/")
    assert ask(page, "GET", "/auth/me")["json"]["code"] == "credential_missing"
    assert len(shop.orders) == 1


PLACES = ["a sub-domain beside it", "another port", "another site"]


def place_of(shop: Shop, where: str, port: int) -> str:
    """Return the address of a foreign page, by how it stands to the shop."""
    scheme, host, _ = shop.address.replace("//", "").split(":")
    beside = SUB_DOMAIN if scheme == "https" else "sub.localhost"
    return f"{scheme}://{ {PLACES[0]: beside, PLACES[1]: host, PLACES[2]: OTHER_SITE}[where] }:{port}"


@pytest.mark.parametrize("where", PLACES)
def test_a_foreign_form_changes_nothing(context: BrowserContext, shop: Shop, where: str) -> None:
    """Sent by the browser, with the cookie where it is the same site to it, and refused; nothing ran."""
    opened(context, shop)
    with foreign_pages(f"{shop.address}/orders", shop.certificate) as port:
        page = context.new_page()
        with page.expect_navigation(url=f"{shop.address}/orders"):
            page.goto(f"{place_of(shop, where, port)}/form", wait_until="commit")
        refusal = page.locator("body").inner_text()
    # To a browser, sub.localhost is another site than localhost: it sends no Lax cookie.
    is_same_site = where == PLACES[1] or (where == PLACES[0] and shop.certificate is not None)
    assert ("csrf_failed" if is_same_site else "credential_missing") in refusal
    assert shop.orders == []
    assert ask(context.pages[0], "GET", "/auth/me")["status"] == 200


@pytest.mark.parametrize("where", PLACES)
def test_a_foreign_script_neither_changes_nor_reads(context: BrowserContext, shop: Shop, where: str) -> None:
    """Whatever it asks for, the browser keeps the answer from it, and nothing was done: no login either."""
    opened(context, shop)
    before = jar(context)
    simple = """async ([url, body]) => {
      // What the browser may not even hand over unread, by its Cross-Origin-Resource-Policy, is a failure.
      await fetch(url, {method: "POST", mode: "no-cors", credentials: "include", body}).catch(() => null);
    }"""
    with foreign_pages(shop.address, shop.certificate) as port:
        page = context.new_page()
        page.goto(place_of(shop, where, port))
        for path, body in (("/orders", "{}"), ("/auth/session", '{"username": "mallory"}'), ("/auth/logout", "")):
            page.evaluate(simple, [f"{shop.address}{path}", body])
        for method, path in (("GET", "/auth/session"), ("GET", "/auth/me"), ("POST", "/orders")):
            with pytest.raises(Error, match="Failed to fetch"):
                ask(page, method, f"{shop.address}{path}", None if method == "GET" else {}, X_CSRF_Token="x" * 43)
    assert shop.orders == []
    assert jar(context) == before
    assert ask(context.pages[0], "GET", "/auth/me")["json"]["username"] == "ann"


@pytest.mark.parametrize("shop", ["https"], indirect=True)
def test_a_sub_domain_plants_no_session(context: BrowserContext, shop: Shop) -> None:
    """The browser itself refuses a cookie of that prefix from a sub-domain; without the prefix it is not looked at."""
    page, _ = opened(context, shop)
    mine = jar(context)["__Host-limen"]
    with foreign_pages(shop.address, shop.certificate) as port:
        evil = context.new_page()
        evil.goto(f"https://{SUB_DOMAIN}:{port}")
        for name in ("__Host-limen", "limen"):
            evil.evaluate(f"document.cookie = '{name}={'A' * 64}; Domain=shop.test; Path=/; Secure'")
    assert jar(context)["__Host-limen"] == mine
    assert {"__Host-limen", "limen"} == set(jar(context))
    assert ask(page, "GET", "/auth/me")["json"]["username"] == "ann"
