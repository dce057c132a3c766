"""An approval holds for the order that was seen, or is refused: ETag and If-Match."""

from pathlib import Path

import pytest
from sqlalchemy import text

from examples.orders import Database, Order
from examples.orders.service import OrderService
from limen import Principal, PrincipalKind
from tests.examples.conftest import Shop
from tests.examples.test_orders import problem
from tests.examples.test_together import LARGE, approve, people, refusal, seen, status

CHANGED = (409, "conflict", "The order is not as you have seen it; look at it again.")


async def test_a_tag_is_that_of_what_is_approved(shop: Shop) -> None:
    """It is a strong one on every answer with one order, the same until item or amount change, and no other's."""
    ann, _, sue, adm = await people(shop)
    made = await ann.post("/orders", json={"item": "oak", "amount": 120})
    path = f"/orders/{made.json()['id']}"
    tag = made.headers["etag"]
    assert tag[0] == tag[-1] == '"'
    assert (await ann.get(path)).headers["etag"] == tag
    assert (await sue.put(f"{path}/checker", json={"username": "cho"})).headers["etag"] == tag
    changed = [await ann.patch(path, json=body) for body in ({"item": "elm"}, {"amount": 121}, {}, {"item": "oak"})]
    tags = [answer.headers["etag"] for answer in changed]
    assert (len({tag, *tags}), tags[1]) == (4, tags[2])
    other = await ann.post("/orders", json={"item": "oak", "amount": 121})
    assert other.headers["etag"] not in tags
    assert (await adm.post(f"{path}/approve")).headers["etag"] == tags[-1]


@pytest.mark.parametrize("change", [{"amount": 99999}, {"item": "gold"}])
async def test_an_order_that_was_changed_since_is_not_approved(shop: Shop, change: dict[str, object]) -> None:
    """By nobody who says which one was seen; what was seen afterwards is approved."""
    ann, adm = await shop.person("ann", "maker"), await shop.person("adm", "admin")
    order = await ann.order(amount=10)
    before = {"If-Match": (await adm.get(f"/orders/{order}")).headers["etag"]}
    after = {"If-Match": (await ann.patch(f"/orders/{order}", json=change)).headers["etag"]}
    assert problem(await adm.post(f"/orders/{order}/approve", headers=before)) == CHANGED
    assert (await ann.get(f"/orders/{order}")).json()["status"] == "pending"
    assert (await adm.post(f"/orders/{order}/approve", headers=after)).json()["status"] == "approved"


async def test_what_a_condition_may_look_like(shop: Shop) -> None:
    """A list, with one that matches, and a star count; weak tags and what is none match nothing (RFC 9110, 13.1.1)."""
    ann, adm = await shop.person("ann", "maker"), await shop.person("adm", "admin")
    order = await ann.order()
    tag = (await adm.get(f"/orders/{order}")).headers["etag"]
    wrong = [f"W/{tag}", tag[1:-1], '"x"', "", f'{tag} "x', f"{tag}, *", tag.upper(), "x" + tag]
    for value in wrong:
        assert problem(await adm.post(f"/orders/{order}/approve", headers={"If-Match": value})) == CHANGED, value
    for value in (f'"x", W/"y" ,{tag}', "*", tag):
        good = await adm.post(
            f"/orders/{order if value != '*' else await ann.order()}/approve", headers={"If-Match": value}
        )
        assert good.status_code == (200 if value != tag else 409)


async def test_the_update_itself_asks_for_what_was_seen(shop: Shop, tmp_path: Path) -> None:
    """A change after the tag was compared is seen where it is written; without a tag the policy alone decides."""
    ann = await shop.person("ann", "maker")
    adm = Principal("adm", PrincipalKind.PERSON, frozenset({"admin"}), frozenset({"order:approve"}))
    store = Database(tmp_path / "orders.db")
    async with store.session() as session:
        orders = OrderService(session, shop.gate)
        for change in ("item = 'gold'", "amount_cents = 1", "changed_by_id = 'bob'"):
            order = {"id": await ann.order()}
            looked_at = await session.get_one(Order, order["id"])
            await session.execute(text(f"UPDATE orders SET {change} WHERE id = :id"), order)
            await session.commit()
            code, _ = await refusal(orders.approve(adm, looked_at, as_seen=True))
            assert code == "conflict"
            assert (await orders.approve(adm, looked_at)).status == "approved"
    await store.close()


async def test_one_that_takes_two_takes_what_was_seen(shop: Shop) -> None:
    """Without If-Match, or with a star, it is 422 that says what to send, and nothing is counted."""
    ann, _, sue, _ = await people(shop)
    order = await ann.order(amount=LARGE)
    for header in ({}, {"If-Match": "*"}):
        answer = await sue.post(f"/orders/{order}/approve", headers=header)
        assert problem(answer)[:2] == (422, "invalid_input")
        (fault,) = answer.json()["errors"]
        assert (fault["loc"], fault["code"]) == (["header", "If-Match"], "missing")
        assert "/approvals" in fault["message"]
    assert await approve(sue, order) == (202, 1)


async def test_of_a_large_order_the_change_is_seen(shop: Shop) -> None:
    """What the approvers looked at is not what its maker made of it: neither counts, and the order waits."""
    ann, _, sue, adm = await people(shop)
    order, small = await ann.order(amount=LARGE), await ann.order()
    by_sue, by_adm = await seen(sue, order), {"If-Match": (await adm.get(f"/orders/{order}")).headers["etag"]}
    assert by_sue == by_adm
    of_small = {"If-Match": (await adm.get(f"/orders/{small}")).headers["etag"]}
    for each in (order, small):
        await ann.patch(f"/orders/{each}", json={"amount": 9_000_000, "item": "something else"})
    for person, header in ((sue, by_sue), (adm, by_adm)):
        assert problem(await person.post(f"/orders/{order}/approve", headers=header)) == CHANGED
    assert problem(await adm.post(f"/orders/{small}/approve", headers=of_small)) == CHANGED
    assert problem(await adm.post(f"/orders/{small}/approve"))[:2] == (422, "invalid_input")
    assert await approve(sue, order) == (202, 1)
    assert await approve(adm, order) == (202, 0)
    assert await status(ann, order) == "approved"
