"""What the owner of an account is told by mail (ASVS 6.3.5 and 6.3.7): one mail for each event, and no secret in it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from limen import Limen
from limen.features.login.service import MANY_FAILURES
from limen.features.roles.service import OPERATOR
from tests.mail.conftest import RECIPIENT, Sink
from tests.support.gates import PASSWORD, settings_for
from tests.support.waiting import PATIENCE, felt

OTHER_PASSWORD = "another battery, another horse"
HOST = "https://app.example"
NEW_DEVICE = "A login on a new device at app.example"
MARKER = "Your password at app.example was changed"


@dataclass
class Site:
    """An application that sends by a real mail server, and browsers that visit it."""

    gate: Limen
    app: Starlette
    sink: Sink
    secrets: list[str] = field(default_factory=lambda: [PASSWORD, OTHER_PASSWORD])

    def browser(self) -> httpx.AsyncClient:
        """Return one that nobody has used yet; it keeps cookies."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=HOST)

    async def register(self, username: str = "ada", *, verify: bool = True) -> None:
        """Make an account with an address, and verify it."""
        async with self.browser() as browser:
            body = {"username": username, "password": PASSWORD, "email": RECIPIENT}
            assert (await browser.post("/auth/register", json=body)).status_code == 201
            await self.arrived(lambda: bool(self.sink.mails))
            token = self.text(-1).partition("#")[2].split()[0]
            if verify:
                assert (await browser.post("/auth/email/verify", json={"token": token})).status_code == 204
            self.sink.mails.clear()

    async def log_in(self, browser: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
        """Log in, and remember what nobody is to read."""
        answer = await browser.post("/auth/login", json={"username": "ada", "password": password})
        found = answer.json()
        self.secrets += [found[name] for name in ("access_token", "refresh_token") if name in found]
        return answer

    async def bearer(self, browser: httpx.AsyncClient, password: str = PASSWORD) -> dict[str, str]:
        """Log in, and return the header that carries the token."""
        return {"Authorization": f"Bearer {(await self.log_in(browser, password)).json()['access_token']}"}

    async def arrived(self, holds: Callable[[], bool]) -> None:
        """Send what waits, and wait until what is meant is there: the process itself looks once a second."""
        assert self.gate.mail is not None
        await self.gate.mail.work()
        await felt(holds, within=PATIENCE, what="the mail")

    def subjects(self) -> list[str]:
        """Return what the mails that arrived are about."""
        return [str(mail["Subject"]) for mail in self.sink.mails]

    def text(self, number: int) -> str:
        """Return the text of a mail that arrived."""
        body = self.sink.mails[number].get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    async def told(self, marker_from: httpx.AsyncClient, *subjects: str) -> None:
        """Fail unless exactly these arrived, by changing the password, whose notice is the last one."""
        header = await self.bearer(marker_from)
        body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        assert (await marker_from.post("/auth/password", json=body, headers=header)).status_code == 204

        # The process sends by itself, too, so that two may come in another order than they were written.
        expected = sorted([*subjects, MARKER])
        await self.arrived(lambda: MARKER in self.subjects() and len(self.subjects()) >= len(expected))
        assert sorted(self.subjects()) == expected
        for mail in self.sink.mails:
            assert mail["To"] == RECIPIENT
            for secret in self.secrets:
                assert secret not in mail.as_string()


@pytest.fixture
async def site(tmp_path: Path, sink: Sink) -> AsyncIterator[Site]:
    """All of it, started."""
    settings = settings_for(
        tmp_path,
        public_url=HOST,
        mail_from="App <no-reply@app.example>",
        smtp_url=f"smtp://127.0.0.1:{sink.port}",
        refresh_leeway=0,
        login_limit="1000/minute",
        login_network_limit="1000/minute",
    )
    gate = Limen(settings, roles={"maker": ["api-keys:own"]})
    app = Starlette()
    gate.protect(app)
    async with gate.running():
        yield Site(gate, app, sink)


async def test_a_new_device_is_told_once(site: Site) -> None:
    """A browser that nobody logged in with before; the second login there is no news, nor is one that fails."""
    await site.register()
    async with site.browser() as browser:
        await site.log_in(browser)
        await site.log_in(browser)
        assert (await site.log_in(browser, "not the password")).status_code == 401
        await site.told(browser, NEW_DEVICE)


async def test_each_device_is_told(site: Site) -> None:
    """The cookie of one browser makes no other one known."""
    await site.register()
    async with site.browser() as first, site.browser() as second:
        await site.log_in(first)
        await site.log_in(second)
        await site.told(first, NEW_DEVICE, NEW_DEVICE)


async def test_a_device_is_new_again_after_the_password_was_changed_elsewhere(site: Site) -> None:
    """Whoever knew the old password hides behind no old login; where it was changed it is known from then on."""
    await site.register()
    async with site.browser() as first, site.browser() as second:
        await site.log_in(first)
        await site.log_in(second)
        header = await site.bearer(second)
        body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        assert (await second.post("/auth/password", json=body, headers=header)).status_code == 204
        assert (await site.log_in(second, OTHER_PASSWORD)).status_code == 200
        assert (await site.log_in(first, OTHER_PASSWORD)).status_code == 200
        assert (await site.log_in(first, OTHER_PASSWORD)).status_code == 200
        expected = [NEW_DEVICE, NEW_DEVICE, MARKER, NEW_DEVICE]
        await site.arrived(lambda: len(site.subjects()) >= len(expected))
        assert sorted(site.subjects()) == sorted(expected)


async def test_a_program_without_cookies_fills_no_mailbox(site: Site) -> None:
    """Each of its logins is one on a new device; its owner is told three times a day."""
    await site.register()
    async with site.browser() as program:
        for _ in range(5):
            await site.log_in(program)
            program.cookies.clear()
        await site.told(program, *[NEW_DEVICE] * 3)


async def test_a_login_after_many_failures_is_told(site: Site) -> None:
    """Somebody who guessed long enough, and was right; the mail says that, and not once more that they are new."""
    await site.register()
    async with site.browser() as owner, site.browser() as stranger:
        await site.log_in(owner)
        for number in range(MANY_FAILURES):
            assert (await site.log_in(stranger, f"a guess, number {number}")).status_code == 401
        assert (await site.log_in(stranger)).status_code == 200
        await site.told(owner, NEW_DEVICE, "A login after many failures at app.example")


async def test_a_few_failures_are_nobodys_business(site: Site) -> None:
    """On a device that is known, whoever mistypes gets no mail for it."""
    await site.register()
    async with site.browser() as owner:
        await site.log_in(owner)
        for number in range(MANY_FAILURES - 1):
            await site.log_in(owner, f"a slip, number {number}")
        await site.told(owner, NEW_DEVICE)


async def test_a_new_key_is_told(site: Site) -> None:
    """When it is made, and when it is given a new secret; neither secret nor name is in the mail."""
    await site.register()
    account = await site.gate.accounts.by_username("ada")
    await site.gate.administration.set_roles(OPERATOR, account.id, frozenset({"maker"}))
    async with site.browser() as browser:
        header = await site.bearer(browser)
        made = await browser.post("/auth/api-keys", json={"name": "call http://evil.example"}, headers=header)
        assert made.status_code == 201
        at = f"/auth/api-keys/{made.json()['id']}/rotate"
        rotated = await browser.post(at, headers=header)
        assert rotated.status_code == 201, rotated.text
        site.secrets += [made.json()["key"], rotated.json()["key"], "evil.example"]
        await site.told(browser, NEW_DEVICE, *["A new API key at app.example"] * 2)


@pytest.mark.parametrize(("behind", "is_told"), [(1, False), (2, True)])
async def test_a_copied_session_is_told(site: Site, behind: int, is_told: bool) -> None:
    """A spent refresh token whose successor was used as well; the direct parent is mostly a retry, and is not told."""
    await site.register()
    async with site.browser() as browser:
        tokens = [(await site.log_in(browser)).json()["refresh_token"]]
        for _ in range(behind):
            answer = await browser.post("/auth/refresh", json={"refresh_token": tokens[-1]})
            tokens.append(answer.json()["refresh_token"])
        site.secrets += tokens
        for _ in range(2):
            answer = await browser.post("/auth/refresh", json={"refresh_token": tokens[0]})
            assert answer.status_code == 401
        await site.told(browser, NEW_DEVICE, *["A session at app.example was ended"] * is_told)


async def test_an_address_that_is_not_proved_hears_nothing(site: Site) -> None:
    """Whoever registers with somebody else's address sends them one link, and no news of an account of a stranger's."""
    await site.register(verify=False)
    async with site.browser() as browser:
        header = await site.bearer(browser)
        body: dict[str, Any] = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
        assert (await browser.post("/auth/password", json=body, headers=header)).status_code == 204
    assert await site.gate.storage.mails.claim(lease_ms=1000) is None
    assert site.sink.mails == []


async def test_without_mail_nothing_is_written(tmp_path: Path) -> None:
    """Where no mail server is set, a login leaves no row that nobody would ever send."""
    gate = Limen(settings_for(tmp_path), roles={})
    app = Starlette()
    gate.protect(app)
    async with gate.running(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as browser:
        await browser.post("/auth/register", json={"username": "ada", "password": PASSWORD, "email": RECIPIENT})
        assert (await browser.post("/auth/login", json={"username": "ada", "password": PASSWORD})).status_code == 200
        assert await gate.storage.mails.claim(lease_ms=1000) is None
