"""How often recovery may be asked for, and what it does to the counts of logins."""

from itertools import count

import pytest

from limen.core.rates import Rate
from limen.features.roles.service import Operator
from limen.features.throttling.requests import Purpose
from limen.features.throttling.service import CHANGES_IN_A_ROW
from tests.recovery.conftest import ADDRESS, NEW_PASSWORD, World
from tests.support.gates import PASSWORD

WRONG = "wrong horse battery staple"


@pytest.fixture
def three_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of links that are shown, three in an hour: each one that is nothing is written down, which takes time."""
    monkeypatch.setattr("limen.features.throttling.requests.BY_NETWORK", {Purpose.LINK: Rate(3, 3_600)})


@pytest.mark.parametrize("address", [ADDRESS, "nobody@example.org"])
def test_links_are_limited_by_address(world: World, address: str) -> None:
    """Five in an hour to one address, in whatever spelling, whether anybody has it or not; others get theirs."""
    world.register()
    for at in range(5):
        assert world.forgot(address if at % 2 else address.replace("example", "EXAMPLE")).status_code == 202
    answer = world.forgot(address)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["ratelimit-policy"] == '"reset";q=5;w=3600'
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    assert world.forgot("other@example.org").status_code == 202


def test_links_are_limited_by_network(world: World) -> None:
    """Sixty in an hour over all addresses: nobody sends the world mails in our name."""
    answers = [world.forgot(f"name-{at}@example.org").status_code for at in range(62)]
    assert answers == [202] * 60 + [429] * 2


def test_verification_is_limited_by_account(world: World) -> None:
    """Twenty links in an hour; another account gets its own."""
    world.register("ada", None)
    headers = world.bearer()
    asked = [world.client.post("/auth/email/verification", headers=headers).status_code for _ in range(21)]
    assert asked == [202] * 20 + [429]
    world.register("bob")
    assert world.client.post("/auth/email/verification", headers=world.bearer("bob")).status_code == 202


@pytest.mark.parametrize("address", ["third@example.org", ADDRESS])
def test_mails_to_one_address_are_limited_whoever_asks(world: World, address: str) -> None:
    """Ten in an hour, by registrations, verifications and changes together, whether the address is anybody's or not."""
    world.register()
    sent = 1 if address == ADDRESS else 0
    spelled = address.replace("example", "EXAMPLE")

    def registered(at: int) -> int:
        body = {"username": f"eve-{at}", "password": PASSWORD, "email": spelled if at % 2 else address}
        return world.client.post("/auth/register", json=body).status_code

    assert [registered(at) for at in range(6 - sent)] == [201] * (6 - sent)
    eve = world.bearer("eve-1")
    assert [world.client.post("/auth/email/verification", headers=eve).status_code for _ in range(2)] == [202] * 2
    world.register("bob", None)
    bob = world.bearer("bob")
    body = {"email": spelled, "current_password": PASSWORD}
    assert [world.client.post("/auth/email", json=body, headers=bob).status_code for _ in range(2)] == [202] * 2

    answer = world.client.post("/auth/email", json=body, headers=bob)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["ratelimit-policy"] == '"mail-recipient";q=10;w=3600'
    assert world.client.post("/auth/email/verification", headers=eve).status_code == 429
    assert registered(20) == 429
    other = {**body, "email": "other@example.org"}
    assert world.client.post("/auth/email", json=other, headers=bob).status_code == 202


def test_mails_by_administrators_are_limited_by_recipient(world: World) -> None:
    """Ten in an hour to one address, over all accounts that it is given to; strangers use up none of these."""
    world.register("chief", None)
    chief = world.call(world.gate.accounts.by_username, "chief").id

    async def grant() -> None:
        await world.gate.roles.grant(Operator("cli"), chief, ["chief"])

    world.call(grant)
    headers = world.bearer("chief")

    def invited(at: int, address: str = "third@example.org") -> tuple[int, str]:
        body: dict[str, object] = {"username": f"new-{at}", "password": None, "email": address, "roles": []}
        answer = world.client.post("/admin/api/accounts", json=body, headers=headers)
        return answer.status_code, answer.json().get("id", "")

    for at in range(10):
        body = {"username": f"eve-{at}", "password": PASSWORD, "email": "third@example.org"}
        assert world.client.post("/auth/register", json=body).status_code == 201
    made = [invited(at) for at in range(8)]
    assert [status for status, _ in made] == [201] * 8
    starts = [f"/admin/api/accounts/{made[at][1]}/start-reset" for at in range(3)]
    assert [world.client.post(at, headers=headers).status_code for at in starts] == [202, 202, 429]
    assert invited(20)[0] == 429
    assert invited(21, "other@example.org")[0] == 201


def test_starting_a_reset_is_limited_by_account(world: World) -> None:
    """Five mails in an hour to one account; an administrator may start those of everybody."""
    for name in ("chief", "ann", "bob"):
        world.register(name, None if name == "chief" else f"{name}@example.org")
    ids = {name: world.call(world.gate.accounts.by_username, name).id for name in ("chief", "ann", "bob")}

    async def grant() -> None:
        await world.gate.roles.grant(Operator("cli"), ids["chief"], ["chief"])

    world.call(grant)
    headers = world.bearer("chief")

    def start(name: str) -> int:
        return world.client.post(f"/admin/api/accounts/{ids[name]}/start-reset", headers=headers).status_code

    assert [start("ann") for _ in range(6)] == [202] * 5 + [429]
    assert start("bob") == 202


def test_a_stranger_uses_up_no_link_that_an_administrator_starts(world: World) -> None:
    """An account's id in the place of an address counts for nobody's account, however often it is sent."""
    for name in ("chief", "ann"):
        world.register(name, None if name == "chief" else f"{name}@example.org")
    ids = {name: world.call(world.gate.accounts.by_username, name).id for name in ("chief", "ann")}

    async def grant() -> None:
        await world.gate.roles.grant(Operator("cli"), ids["chief"], ["chief"])

    world.call(grant)
    assert [world.forgot(ids["ann"]).status_code for _ in range(6)] == [202] * 5 + [429]
    assert world.forgot(f"account\0{ids['ann']}").status_code == 400
    answer = world.client.post(f"/admin/api/accounts/{ids['ann']}/start-reset", headers=world.bearer("chief"))
    assert answer.status_code == 202


def test_the_present_password_is_not_guessed_by_way_of_the_address(world: World) -> None:
    """Guesses with a change of the address and with one of the password are one count; a login begins it anew."""
    world.register()
    headers = world.bearer()

    addresses = count()

    def by_address(current: str) -> int:
        body = {"email": f"new-{next(addresses)}@example.org", "current_password": current}
        return world.client.post("/auth/email", json=body, headers=headers).status_code

    def by_password(current: str) -> int:
        body = {"current_password": current, "new_password": NEW_PASSWORD}
        return world.client.post("/auth/password", json=body, headers=headers).status_code

    half = CHANGES_IN_A_ROW // 2
    assert [by_address(WRONG) for _ in range(half)] == [401] * half
    assert [by_password(WRONG) for _ in range(half)] == [401] * half
    assert (by_address(PASSWORD), by_password(PASSWORD)) == (429, 429)
    assert world.login().status_code == 200
    assert [by_address(WRONG) for _ in range(half)] == [401] * half
    assert by_address(PASSWORD) == 202
    assert [by_password(WRONG) for _ in range(CHANGES_IN_A_ROW)] == [401] * CHANGES_IN_A_ROW
    assert by_password(PASSWORD) == 429


class TestShown:
    """What a link proves is shown no more than so often from one network."""

    @pytest.mark.parametrize("path", ["/auth/password/reset", "/auth/email/verify"])
    def test_by_a_program(self, three_links: None, world: World, path: str) -> None:
        """The fourth is refused, with what it would have been told left out."""
        more = {"new_password": NEW_PASSWORD} if path.endswith("reset") else {}
        answers = [world.client.post(path, json={"token": "a" * 43, **more}) for _ in range(4)]
        assert [answer.json()["code"] for answer in answers] == ["link_invalid"] * 3 + ["rate_limited"]
        assert answers[-1].headers["ratelimit-policy"] == '"link-network";q=3;w=3600'

    @pytest.mark.parametrize("path", ["/auth/password/reset", "/auth/email/verify"])
    def test_by_the_page(self, three_links: None, world: World, path: str) -> None:
        """The page says so, and when to come again."""
        more = {"new_password": NEW_PASSWORD} if path.endswith("reset") else {}
        answers = [world.client.post(path, data={"token": "a" * 43, **more}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [400] * 3 + [429]
        assert "Too many attempts." in answers[-1].text
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 3600


def test_a_reset_begins_the_accounts_counts_anew(world: World) -> None:
    """Whom a stranger has kept out gets in by the mailbox; what was counted were guesses at another password."""
    world.register()
    assert [world.login(password=WRONG).status_code for _ in range(10)] == [401] * 10
    assert world.login().status_code == 429
    world.forgot()
    assert world.reset(world.token()).status_code == 204
    assert world.login(password=NEW_PASSWORD).status_code == 200


def test_a_link_that_is_nothing_begins_no_count_anew(world: World) -> None:
    """Neither does a password that is refused: nothing is another one by it."""
    world.register()
    world.forgot()
    token = world.token()
    for _ in range(10):
        world.login(password=WRONG)
    assert world.reset("a" * 43).status_code == 400
    assert world.reset(token, "short").status_code == 422
    assert world.login().status_code == 429


def test_mails_for_nobody_hold_up_nobodys(world: World) -> None:
    """Many ask for addresses that nobody has: those cost no word with the mail server, and go before the next that has.

    What a stranger can have sent is bounded by the limits above; what waits behind them is sent in the same turn.
    """
    world.register()
    recovery = world.gate.recovery
    assert recovery is not None
    for number in range(100):
        world.call(recovery.forgot, f"nobody-{number}@example.org")
    world.call(recovery.forgot, ADDRESS)
    assert world.gate.mail is not None
    sent = len(world.box.mails)
    world.call(world.gate.mail.work)
    [mail] = world.mails()
    assert (mail["To"], len(world.box.mails)) == (ADDRESS, sent + 1)
