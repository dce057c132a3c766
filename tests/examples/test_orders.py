import asyncio
from typing import Any

import httpx
import pytest

from limen import Limen
from tests.examples.conftest import Shop


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return status, code and detail of problem details."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    return answer.status_code, body["code"], body.get("detail")


async def test_a_maker_creates(shop: Shop) -> None:
    """A maker's order is pending, theirs, and without a checker."""
    maker = await shop.person("ann", "maker")
    made = await maker.post("/orders", json={"item": "oak", "amount": 12})
    assert made.status_code == 201
    assert {**made.json(), "id": ""} == {
        "id": "",
        "item": "oak",
        "amount": 12,
        "status": "pending",
        "maker_id": maker.sub,
        "checker_id": None,
    }
    assert (await maker.get(f"/orders/{made.json()['id']}")).json() == made.json()


@pytest.mark.parametrize("role", ["checker", "super-checker", "admin"])
async def test_nobody_else_creates(shop: Shop, role: str) -> None:
    """Who is no maker is told which permission is missing."""
    other = await shop.person("bob", role)
    status, code, detail = problem(await other.post("/orders", json={"item": "oak", "amount": 12}))
    assert (status, code) == (403, "permission_required")
    assert "order:create" in (detail or "")


ROUTES = [
    ("POST", "/orders"),
    ("GET", "/orders"),
    ("GET", "/orders/x"),
    ("PATCH", "/orders/x"),
    ("DELETE", "/orders/x"),
    ("PUT", "/orders/x/checker"),
    ("POST", "/orders/x/approve"),
]


async def test_strangers_are_asked_who_they_are(shop: Shop) -> None:
    """Without a token every route is 401 with a challenge, before the body is looked at."""
    for method, path in ROUTES:
        answer = await shop.stranger().request(method, path, content=b"{not json")
        assert problem(answer)[:2] == (401, "credential_missing"), path
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_amounts_come_back_as_they_were(shop: Shop) -> None:
    """An amount with at most two decimals comes back as the same number."""
    maker = await shop.person("ann", "maker")
    for amount in (1, 0.01, 12.5, 99.99, 1e3, 999999999.99):
        order = await maker.order(amount=amount)
        assert (await maker.get(f"/orders/{order}")).json()["amount"] == amount


WRONG_BODIES: list[Any] = [
    {"item": "oak", "amount": 0},
    {"item": "oak", "amount": -1},
    {"item": "oak", "amount": 1.005},
    {"item": "oak", "amount": "12"},
    {"item": "oak", "amount": True},
    {"item": "oak", "amount": None},
    {"item": "oak", "amount": 1e12},
    {"item": "oak", "amount": 10**400},
    {"item": " ", "amount": 1},
    {"item": "x" * 201, "amount": 1},
    {"item": "a\x00b", "amount": 1},
    {"item": 7, "amount": 1},
    {"item": "oak"},
    {"amount": 1},
    {"item": "oak", "amount": 1, "status": "approved"},
    {"item": "oak", "amount": 1, "maker_id": "somebody"},
    [],
    "oak",
]


async def test_wrong_input_is_422_and_is_not_echoed(shop: Shop) -> None:
    """Input that does not hold is 422 ``invalid_input`` with the field, without the input, and nothing is made."""
    maker = await shop.person("ann", "maker")
    for body in WRONG_BODIES:
        answer = await maker.post("/orders", json=body)
        assert problem(answer)[:2] == (422, "invalid_input"), body
        assert all(each["loc"][0] == "body" for each in answer.json()["errors"]), body
        for text in ("approved", "somebody", "status", "maker_id", "xxx"):
            assert text not in str(answer.json()["errors"]), body
    assert (await maker.get("/orders")).json()["items"] == []


HARDLY_JSON = [
    b'{"item": "oak", "amount": NaN}',
    b'{"item": "oak", "amount": Infinity}',
    b'{"item": "\\ud800", "amount": 1}',
    b"{",
]


async def test_what_is_hardly_json_is_4xx(shop: Shop) -> None:
    """NaN, infinities, half a surrogate pair and broken JSON are answered with a 4xx and a code, never a 500."""
    maker = await shop.person("ann", "maker")
    for content in HARDLY_JSON:
        answer = await maker.post("/orders", content=content, headers={"Content-Type": "application/json"})
        status, code, _ = problem(answer)
        assert 400 <= status < 500
        assert code == "invalid_input"


async def test_lists_show_what_is_ones_own(shop: Shop) -> None:
    """A maker sees their own orders, a checker the assigned ones, super-checker and admin all."""
    ann, ben = await shop.person("ann", "maker"), await shop.person("ben", "maker")
    cho, dan = await shop.person("cho", "checker"), await shop.person("dan", "checker")
    sue, adm = await shop.person("sue", "super-checker"), await shop.person("adm", "admin")
    first, second = await shop.assigned(ann, "cho", sue), await ben.order()
    seen = {
        name: {order["id"] for order in (await person.get("/orders")).json()["items"]}
        for name, person in {"ann": ann, "ben": ben, "cho": cho, "dan": dan, "sue": sue, "adm": adm}.items()
    }
    both = {first, second}
    assert seen == {"ann": {first}, "ben": {second}, "cho": {first}, "dan": set(), "sue": both, "adm": both}


async def test_lists_come_in_pages(shop: Shop) -> None:
    """``limit`` and ``after`` walk through all orders once, in the order they were made; ``next`` ends with null."""
    maker = await shop.person("ann", "maker")
    made = [await maker.order(item=f"item {number}") for number in range(5)]
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await maker.get("/orders", params={"limit": 2, **after})).json()
        found += [order["id"] for order in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sorted(found) == sorted(made)
    assert len(found) == 5
    for wrong in ({"limit": 0}, {"limit": 201}, {"limit": "x"}, {"after": "' OR 1=1"}):
        assert problem(await maker.get("/orders", params=wrong))[:2] == (422, "invalid_input")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_anothers_order_is_not_there(shop: Shop, method: str) -> None:
    """Another maker is answered about somebody's order exactly as about one that does not exist: 404."""
    ann, ben = await shop.person("ann", "maker"), await shop.person("ben", "maker")
    order = await ann.order()
    body = {"item": "mine now"} if method == "PATCH" else None
    others = await ben.request(method, f"/orders/{order}", json=body)
    nowhere = await ben.request(method, "/orders/01980000-0000-7000-8000-000000000000", json=body)
    assert problem(others) == problem(nowhere) == (404, "not_found", None)
    assert (await ann.get(f"/orders/{order}")).json()["item"] == "an oak threshold"


async def test_an_admin_may_see_change_and_remove(shop: Shop) -> None:
    """An admin reads, changes and removes an order of anybody's."""
    ann, adm = await shop.person("ann", "maker"), await shop.person("adm", "admin")
    order = await ann.order()
    assert (await adm.get(f"/orders/{order}")).json()["maker_id"] == ann.sub
    changed = await adm.patch(f"/orders/{order}", json={"amount": 7})
    assert (changed.status_code, changed.json()["amount"], changed.json()["item"]) == (200, 7, "an oak threshold")
    assert (await adm.delete(f"/orders/{order}")).status_code == 204
    assert (await ann.get(f"/orders/{order}")).status_code == 404


async def test_a_change_names_what_is_different(shop: Shop) -> None:
    """PATCH changes what it names, leaves the rest, and refuses fields that are not the maker's to set."""
    ann = await shop.person("ann", "maker")
    order = await ann.order(amount=120)
    assert (await ann.patch(f"/orders/{order}", json={})).json()["amount"] == 120
    assert (await ann.patch(f"/orders/{order}", json={"item": "pine"})).json()["item"] == "pine"
    for wrong in ({"status": "approved"}, {"checker_id": ann.sub}, {"item": None}, {"amount": 0}):
        assert problem(await ann.patch(f"/orders/{order}", json=wrong))[:2] == (422, "invalid_input")
    kept = (await ann.get(f"/orders/{order}")).json()
    assert (kept["item"], kept["amount"], kept["status"], kept["checker_id"]) == ("pine", 120, "pending", None)


async def test_only_checkers_are_assigned(shop: Shop) -> None:
    """The assigned account must exist, be active, and be a checker: otherwise 422, the same for each."""
    ann, sue = await shop.person("ann", "maker"), await shop.person("sue", "super-checker")
    await shop.person("cho", "checker")
    gone = await shop.gate.accounts.create("gone", None, roles=frozenset({"checker"}))
    await shop.gate.accounts.disable(gone, actor="system")
    order = await ann.order()
    refused = [
        problem(await sue.put(f"/orders/{order}/checker", json={"username": name}))
        for name in ("nobody", "ann", "gone")
    ]
    assert refused == [(422, "invalid_input", "There is no checker of that name.")] * 3
    assigned = await sue.put(f"/orders/{order}/checker", json={"username": "CHO"})
    assert assigned.json()["checker_id"] == (await shop.gate.accounts.by_username("cho")).id
    assert (await ann.put(f"/orders/{order}/checker", json={"username": "cho"})).status_code == 403
    unknown = await sue.put("/orders/x/checker", json={"username": "cho"})
    assert problem(unknown)[:2] == (404, "not_found")


async def test_an_order_is_never_assigned_to_its_maker(shop: Shop) -> None:
    """Who is maker and checker at once is not made the checker of their own order."""
    both = await shop.person("both", "maker", "checker")
    sue = await shop.person("sue", "super-checker")
    order = await both.order()
    answer = await sue.put(f"/orders/{order}/checker", json={"username": "both"})
    assert problem(answer) == (403, "policy_denied", "own_order")


async def test_the_assigned_checker_approves(shop: Shop) -> None:
    """The assigned checker approves, once; then it is decided, for change, removal and assignment too."""
    ann, cho = await shop.person("ann", "maker"), await shop.person("cho", "checker")
    sue = await shop.person("sue", "super-checker")
    order = await shop.assigned(ann, "cho", sue)
    approved = await cho.post(f"/orders/{order}/approve")
    assert (approved.status_code, approved.json()["status"]) == (200, "approved")
    for answer in (
        await cho.post(f"/orders/{order}/approve"),
        await ann.patch(f"/orders/{order}", json={"amount": 1}),
        await ann.delete(f"/orders/{order}"),
        await sue.put(f"/orders/{order}/checker", json={"username": "cho"}),
    ):
        assert problem(answer)[:2] == (409, "already_decided")


async def test_who_is_not_assigned_does_not_approve(shop: Shop) -> None:
    """Another checker, and a super-checker, are refused with ``not_assigned``; an order that is not there is 404."""
    ann, sue = await shop.person("ann", "maker"), await shop.person("sue", "super-checker")
    dan = await shop.person("dan", "checker")
    await shop.person("cho", "checker")
    order = await shop.assigned(ann, "cho", sue)
    for person in (dan, sue):
        assert problem(await person.post(f"/orders/{order}/approve")) == (403, "policy_denied", "not_assigned")
    assert (await dan.post("/orders/x/approve")).status_code == 404
    assert (await ann.get(f"/orders/{order}")).json()["status"] == "pending"


@pytest.mark.parametrize("roles", [("maker", "checker"), ("maker", "super-checker"), ("maker", "admin")], ids="+".join)
async def test_nobody_approves_their_own(shop: Shop, roles: tuple[str, ...]) -> None:
    """Whatever else they are, makers are refused with ``own_order``."""
    both = await shop.person("both", *roles)
    order = await both.order()
    assert problem(await both.post(f"/orders/{order}/approve")) == (403, "policy_denied", "own_order")


async def test_an_admin_approves_what_is_not_their_own(shop: Shop) -> None:
    """An admin approves an order of somebody else's without being assigned."""
    ann, adm = await shop.person("ann", "maker"), await shop.person("adm", "admin")
    order = await ann.order()
    assert (await adm.post(f"/orders/{order}/approve")).json()["status"] == "approved"


async def test_who_has_changed_an_order_does_not_approve_it(shop: Shop) -> None:
    """An admin who has changed another's order is refused with ``changed_by_you``, until its maker changes it."""
    ann, adm = await shop.person("ann", "maker"), await shop.person("adm", "admin")
    bob = await shop.person("bob", "admin")
    first, second = await ann.order(), await ann.order()
    for order in (first, second):
        changed = await adm.patch(f"/orders/{order}", json={"amount": 499999, "item": "a car for the admin"})
        assert changed.status_code == 200
        refused = await adm.post(f"/orders/{order}/approve")
        assert problem(refused) == (403, "policy_denied", "changed_by_you")
    assert (await ann.get(f"/orders/{first}")).json()["status"] == "pending"
    assert (await bob.post(f"/orders/{first}/approve")).json()["status"] == "approved"
    assert (await ann.patch(f"/orders/{second}", json={})).status_code == 200
    assert (await adm.post(f"/orders/{second}/approve")).status_code == 403
    assert (await ann.patch(f"/orders/{second}", json={"item": "an oak threshold"})).status_code == 200
    assert (await adm.post(f"/orders/{second}/approve")).json()["status"] == "approved"


async def test_two_who_approve_at_once_have_one_winner(shop: Shop) -> None:
    """Of fifty approvals at once one is 200 and the others are 409 ``already_decided``."""
    ann, cho, adm = (
        await shop.person("ann", "maker"),
        await shop.person("cho", "checker"),
        await shop.person("adm", "admin"),
    )
    order = await shop.assigned(ann, "cho", adm)
    answers = await asyncio.gather(*(person.post(f"/orders/{order}/approve") for person in [cho, adm] * 25))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already_decided"}


async def test_an_approval_and_a_change_at_once_do_not_both_happen_unseen(shop: Shop) -> None:
    """A change that is acknowledged came before the approval: none happens to an approved order."""
    ann, adm = await shop.person("ann", "maker"), await shop.person("adm", "admin")
    for _ in range(5):
        order = await ann.order()
        approved, changed = await asyncio.gather(
            adm.post(f"/orders/{order}/approve"), ann.patch(f"/orders/{order}", json={"amount": 999})
        )
        assert approved.status_code == 200
        kept = (await ann.get(f"/orders/{order}")).json()
        assert kept["amount"] == (999 if changed.status_code == 200 else 120)
        if changed.status_code == 200:
            assert changed.json()["status"] == "pending"


async def test_a_disabled_checker_approves_nothing(shop: Shop) -> None:
    """An approval asks the database: a checker who was disabled a moment ago is refused, token or not."""
    ann, cho = await shop.person("ann", "maker"), await shop.person("cho", "checker")
    adm = await shop.person("adm", "admin")
    order = await shop.assigned(ann, "cho", adm)
    # By another process, whose acts this one would otherwise learn of within two seconds.
    async with Limen(shop.gate.settings).running() as elsewhere:
        await elsewhere.accounts.disable(await elsewhere.accounts.by_username("cho"), actor="system")
        refused = await cho.post(f"/orders/{order}/approve")
    assert problem(refused)[0] == 401
    assert (await ann.get(f"/orders/{order}")).json()["status"] == "pending"


async def test_an_admin_makes_others_makers_and_makes_no_orders(shop: Shop) -> None:
    """The admin grants every role of the example over HTTP, the maker's too, whose work the admin may not do."""
    adm, bob = await shop.person("adm", "admin"), await shop.person("bob")
    for roles in (["maker"], ["checker", "super-checker"], ["admin"], ["maker"]):
        answer = await adm.request("PATCH", f"/admin/api/accounts/{bob.sub}", json={"roles": roles})
        assert (answer.status_code, answer.json()["roles"]) == (200, roles)
    answer = await adm.request("PUT", "/admin/api/roles/apprentice", json={"permissions": ["order:create"]})
    assert answer.status_code == 201
    assert problem(await adm.post("/orders", json={"item": "oak", "amount": 12}))[:2] == (403, "permission_required")
    answer = await adm.request("PATCH", f"/admin/api/accounts/{adm.sub}", json={"roles": ["admin", "maker"]})
    assert problem(answer)[:2] == (403, "own_request")
    assert (await adm.request("POST", f"/admin/api/accounts/{bob.sub}/disable")).status_code == 204
