"""Orders that take two: asked for by their makers, approved by two others, and done once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from examples.orders import Database, Order
from examples.orders.policies import LIMIT_OF_A_CHECKER, ONE_IS_ENOUGH
from examples.orders.service import OrderService
from limen import Conflict, LimenError, Principal, PrincipalKind
from limen.features.roles.service import OPERATOR
from tests.examples.conftest import Person, Shop
from tests.examples.test_orders import problem

LARGE = ONE_IS_ENOUGH // 100 + 1
MIDDLE = LIMIT_OF_A_CHECKER // 100 + 1
ASK = "Its maker has to ask for this approval: by changing it; a change of nothing, {}, will do."


async def people(shop: Shop) -> tuple[Person, Person, Person, Person]:
    """Return a maker, a checker, a super-checker and an admin."""
    names = {"ann": "maker", "cho": "checker", "sue": "super-checker", "adm": "admin"}
    ann, cho, sue, adm = [await shop.person(name, role) for name, role in names.items()]
    return ann, cho, sue, adm


async def seen(person: Person, order: str) -> dict[str, str]:
    """Return the header that names an order as the person sees it: in the inbox, or else by opening it."""
    inbox = (await person.get("/approvals?limit=200")).json()["items"]
    digests = [one["digest"] for one in inbox if one["resource"] == f"order:{order}"]
    if digests:
        return {"If-Match": f'"{digests[0]}"'}
    opened = await person.get(f"/orders/{order}")
    return {"If-Match": opened.headers["etag"]} if opened.status_code == 200 else {}


async def approve(person: Person, order: str, header: dict[str, str] | None = None) -> tuple[int, Any]:
    """Approve an order as it is seen; return the status with how many are missing, or with code and detail."""
    header = await seen(person, order) if header is None else header
    answer = await person.post(f"/orders/{order}/approve", headers=header)
    if answer.status_code >= 400:
        return answer.status_code, problem(answer)[1:]
    return answer.status_code, answer.json().get("missing")


async def status(person: Person, order: str) -> str:
    """Return the status of an order that the person may look at, once everything approved is done."""
    shown = ""
    for _ in range(600):
        shown = (await person.get(f"/orders/{order}")).json()["status"]
        if shown == "approved":
            break
        await asyncio.sleep(0.1)
    return str(shown)


async def test_it_takes_two_others(shop: Shop) -> None:
    """The first is told that one is missing, again or as its maker nobody counts, and with the second it is done."""
    ann, cho, sue, adm = await people(shop)
    order = await ann.order(amount=LARGE)
    await sue.put(f"/orders/{order}/checker", json={"username": "cho"})
    shown_first = await seen(sue, order)
    first = await sue.post(f"/orders/{order}/approve", headers=shown_first)
    assert first.status_code == 202
    told = first.json()
    assert {name: told[name] for name in ("action", "resource", "status", "quorum", "missing")} == {
        "action": "order:approve",
        "resource": f"order:{order}",
        "status": "pending",
        "quorum": 2,
        "missing": 1,
    }
    assert [given["approver"] for given in told["approvals"]] == [sue.sub]
    assert first.headers["location"] == f"/approvals/{told['id']}"
    shown = (await sue.get(first.headers["location"])).json()
    assert (shown["maker"], shown["payload"]["amount_cents"]) == (ann.sub, ONE_IS_ENOUGH + 100)
    assert await approve(cho, order) == (403, ("policy_denied", "above_limit"))
    assert (await approve(sue, order, shown_first))[1][0] == "already_decided"
    assert (await ann.get(f"/orders/{order}")).json()["status"] == "pending"
    assert await approve(adm, order) == (202, 0)
    assert await status(ann, order) == "approved"
    assert await approve(adm, order) == (409, ("already_decided", None))
    assert problem(await ann.patch(f"/orders/{order}", json={"amount": 1}))[:2] == (409, "already_decided")


async def test_one_is_enough_below(shop: Shop) -> None:
    """Between the two limits an assigned super-checker approves alone, at once; an assigned checker is told why not."""
    ann, cho, sue, _ = await people(shop)
    order = await ann.order(amount=MIDDLE)
    assert await approve(sue, order) == (403, ("policy_denied", "not_assigned"))
    await sue.put(f"/orders/{order}/checker", json={"username": "cho"})
    assert await approve(cho, order) == (403, ("policy_denied", "above_limit"))
    await sue.put(f"/orders/{order}/checker", json={"username": "sue"})
    assert await approve(sue, order) == (200, None)
    at_the_limit = await ann.order(amount=ONE_IS_ENOUGH / 100)
    await sue.put(f"/orders/{at_the_limit}/checker", json={"username": "sue"})
    assert (await sue.post(f"/orders/{at_the_limit}/approve")).json()["status"] == "approved"


async def test_its_maker_is_none_of_the_two(shop: Shop) -> None:
    """Whatever else its maker is: not on the route of the order, and not on that of approvals."""
    sue, adm = await shop.person("sue", "super-checker"), await shop.person("adm", "admin")
    both = await shop.person("both", "maker", "admin")
    order = await both.order(amount=LARGE)
    assert await approve(both, order) == (403, ("policy_denied", "own_order"))
    (waiting,) = (await sue.get("/approvals")).json()["items"]
    assert problem(await both.post(f"/approvals/{waiting['id']}/approve", json={}))[:2] == (403, "own_request")
    assert await approve(sue, order) == (202, 1)
    assert await approve(adm, order) == (202, 0)


async def test_who_may_not_approve_it_does_not_see_the_request(shop: Shop) -> None:
    """On the routes of approvals the same policy decides: it is in the inbox of a super-checker, and not there else."""
    ann, cho, sue, _ = await people(shop)
    order = await ann.order(amount=LARGE)
    await sue.put(f"/orders/{order}/checker", json={"username": "cho"})
    (waiting,) = (await sue.get("/approvals")).json()["items"]
    assert (await cho.get("/approvals")).json()["items"] == []
    assert problem(await cho.post(f"/approvals/{waiting['id']}/approve", json={}))[:2] == (404, "not_found")
    assert (await sue.post(f"/approvals/{waiting['id']}/approve", json={})).status_code == 200


async def test_a_changed_order_takes_both_anew(shop: Shop) -> None:
    """What somebody has approved is the order as it was: after a change of its maker's it takes two again."""
    ann, _, sue, adm = await people(shop)
    order = await ann.order(amount=LARGE)
    assert await approve(sue, order) == (202, 1)
    assert (await ann.patch(f"/orders/{order}", json={"item": "gold"})).status_code == 200
    assert await approve(adm, order) == (202, 1)
    assert (await ann.patch(f"/orders/{order}", json={})).status_code == 200
    assert await approve(sue, order) == (202, 0)
    assert await status(ann, order) == "approved"


async def test_a_rejected_order_is_asked_for_again(shop: Shop) -> None:
    """After a no it can not be approved, until its maker asks again, by a change of nothing."""
    ann, _, sue, adm = await people(shop)
    order = await ann.order(amount=LARGE)
    (waiting,) = (await sue.get("/approvals")).json()["items"]
    no = await sue.post(f"/approvals/{waiting['id']}/reject", json={"reason": "too much oak"})
    assert no.json()["status"] == "rejected"
    assert (await approve(adm, order))[0] == 409
    assert (await ann.patch(f"/orders/{order}", json={})).status_code == 200
    assert await approve(adm, order) == (202, 1)


async def test_nobody_asks_in_anothers_name(shop: Shop) -> None:
    """An admin may change an order; what was asked for is then another one, and its maker has to ask again."""
    ann, _, sue, adm = await people(shop)
    small, large = await ann.order(), await ann.order(amount=LARGE)
    for order in (small, large):
        assert (await adm.patch(f"/orders/{order}", json={"amount": LARGE + 1})).status_code == 200
    assert await approve(sue, small) == (409, ("conflict", ASK))
    assert (await approve(sue, large))[1][0] == "conflict"
    for order in (small, large):
        await ann.patch(f"/orders/{order}", json={})
        assert await approve(sue, order) == (202, 1)


async def test_who_has_changed_it_is_none_of_the_two(shop: Shop) -> None:
    """Also after its maker has asked for it, on the route of the order and on that of approvals."""
    ann, _, sue, adm = await people(shop)
    order = await ann.order()
    assert (await adm.patch(f"/orders/{order}", json={"amount": LARGE})).status_code == 200
    assert (await ann.patch(f"/orders/{order}", json={})).status_code == 200
    assert await approve(adm, order) == (403, ("policy_denied", "changed_by_you"))
    (waiting,) = (await sue.get("/approvals")).json()["items"]
    assert (await adm.get("/approvals")).json()["items"] == []
    assert problem(await adm.post(f"/approvals/{waiting['id']}/approve", json={}))[:2] == (403, "policy_denied")
    assert await approve(sue, order) == (202, 1)
    assert await approve(await shop.person("sal", "super-checker"), order) == (202, 0)
    assert await status(ann, order) == "approved"


async def test_a_smaller_order_takes_one(shop: Shop) -> None:
    """Once its maker made it smaller, one is enough, and the request for two is withdrawn; also when it is removed."""
    ann, _, sue, adm = await people(shop)
    first, second = await ann.order(amount=LARGE), await ann.order(amount=LARGE)
    assert len((await sue.get("/approvals")).json()["items"]) == 2
    assert (await ann.patch(f"/orders/{first}", json={"amount": 12})).status_code == 200
    assert await approve(adm, first) == (200, None)
    assert (await ann.delete(f"/orders/{second}")).status_code == 204
    assert (await sue.get("/approvals")).json()["items"] == []
    assert [one["status"] for one in (await ann.get("/approvals?box=mine")).json()["items"]] == ["withdrawn"] * 2


async def test_it_takes_a_person_who_logged_in(shop: Shop) -> None:
    """A key of a service that has every role approves nothing, however large the order is."""
    ann, _, _, _ = await people(shop)
    assert shop.gate.api_keys is not None
    services = shop.gate.api_keys.services
    await services.create(OPERATOR, "robot", roles=frozenset({"admin", "checker", "super-checker"}))
    robot = shop.stranger()
    admin = await shop.person("boss", "admin")
    listed = (await admin.get("/admin/api/services")).json()["items"]
    made = await admin.post(f"/admin/api/services/{listed[0]['id']}/api-keys", json={"name": "night"})
    robot.headers["X-API-Key"] = made.json()["key"]
    for amount in (1, LARGE):
        answer = await robot.post(f"/orders/{await ann.order(amount=amount)}/approve")
        assert problem(answer)[:2] == (401, "step_up_required")


async def test_of_many_at_once_two_count(shop: Shop) -> None:
    """Of fifty approvals by three people at once two are counted, and the order is approved once."""
    ann, _, sue, adm = await people(shop)
    sal = await shop.person("sal", "super-checker")
    order = await ann.order(amount=LARGE)
    header = await seen(sue, order)
    answers = await asyncio.gather(*(approve(person, order, header) for person in [sue, adm, sal] * 16 + [sue, adm]))
    assert sorted(missing for code, missing in answers if code == 202) == [0, 1]
    assert {code for code, _ in answers} == {202, 409}
    assert await status(ann, order) == "approved"
    (request,) = (await ann.get("/approvals?box=mine")).json()["items"]
    assert (len(request["approvals"]), request["quorum"]) == (2, 2)


async def test_what_was_approved_and_then_changed_is_not_done(shop: Shop, tmp_path: Path) -> None:
    """The order has to be what the two have seen when it is done, and doing it twice is doing it once."""
    ann, _, _, _ = await people(shop)
    order = await ann.order(amount=LARGE)
    store = Database(tmp_path / "orders.db")
    async with store.session() as session:
        orders = OrderService(session, shop.gate)
        asked = {"id": order, "maker_id": ann.sub, "item": "an oak threshold", "amount_cents": ONE_IS_ENOUGH + 100}
        for other in ({"item": "gold"}, {"amount_cents": ONE_IS_ENOUGH + 99}, {"maker_id": "ann"}, {"id": "x"}):
            with pytest.raises(Conflict):
                await orders.approve_as_asked({**asked, **other})
        assert (await ann.get(f"/orders/{order}")).json()["status"] == "pending"
        await orders.approve_as_asked(asked)
        await orders.approve_as_asked(asked)
    assert (await ann.get(f"/orders/{order}")).json()["status"] == "approved"
    await store.close()


async def refusal(act: Any) -> tuple[str, str | None]:
    """Return code and reason of what a use case refuses."""
    with pytest.raises(LimenError) as caught:
        await act
    return caught.value.code, caught.value.detail


async def test_the_update_itself_asks_the_policy(shop: Shop, tmp_path: Path) -> None:
    """An order that became another one, after the route was allowed, is not written: the policy is in the WHERE."""
    ann = await shop.person("ann", "maker")
    store = Database(tmp_path / "orders.db")
    may = frozenset({"order:approve", "order:update", "order:delete"})
    cho = Principal("cho", PrincipalKind.PERSON, frozenset({"checker"}), may)
    changes = {
        "not_assigned": "checker_id = 'dan'",
        "above_limit": f"amount_cents = {LIMIT_OF_A_CHECKER + 1}",
        "own_order": "maker_id = 'cho', checker_id = NULL",
    }
    async with store.session() as session:
        orders = OrderService(session, shop.gate)
        for reason, change in changes.items():
            order = {"id": await ann.order()}
            await session.execute(text("UPDATE orders SET checker_id = 'cho' WHERE id = :id"), order)
            await session.commit()
            seen = await session.get_one(Order, order["id"])
            shop.gate.check(cho, "order:approve", seen)
            await session.execute(text(f"UPDATE orders SET {change} WHERE id = :id"), order)
            await session.commit()
            assert await refusal(orders.approve(cho, seen)) == ("policy_denied", reason)
            assert (await session.scalars(text("SELECT status FROM orders WHERE id = :id"), order)).one() == "pending"
    await store.close()


async def test_a_change_asks_the_policy_where_it_is_written(shop: Shop, tmp_path: Path) -> None:
    """Another's order is neither changed nor removed, also where no route was asked before."""
    ann = await shop.person("ann", "maker")
    order = await ann.order()
    ben = Principal("ben", PrincipalKind.PERSON, frozenset({"maker"}), frozenset({"order:update", "order:delete"}))
    store = Database(tmp_path / "orders.db")
    async with store.session() as session:
        orders = OrderService(session, shop.gate)
        seen = await session.get_one(Order, order)
        assert await refusal(orders.change(ben, seen, {"item": "gold"})) == ("not_found", None)
        assert await refusal(orders.remove(ben, seen)) == ("not_found", None)
    assert (await ann.get(f"/orders/{order}")).json()["item"] == "an oak threshold"
    await store.close()


async def test_an_order_that_grew_is_not_approved_by_one(shop: Shop, tmp_path: Path) -> None:
    """Where its maker makes it an order for two in between, the one is told to look again."""
    ann, _, _, _ = await people(shop)
    order = await ann.order()
    adm = Principal("adm", PrincipalKind.PERSON, frozenset({"admin"}), frozenset({"order:approve"}))
    store = Database(tmp_path / "orders.db")
    async with store.session() as session:
        seen = await session.get_one(Order, order)
        assert (await ann.patch(f"/orders/{order}", json={"amount": LARGE})).status_code == 200
        code, _ = await refusal(OrderService(session, shop.gate).approve(adm, seen))
    assert code == "conflict"
    assert (await ann.get(f"/orders/{order}")).json()["status"] == "pending"
    await store.close()


@pytest.mark.parametrize("column", ["approval_id", "changed_by_id"])
async def test_a_file_of_before_gets_the_column(tmp_path: Path, column: str) -> None:
    """Orders of before some took two are kept, and their table gets the column that it lacks, once."""
    store = Database(tmp_path / "orders.db")
    async with store.session() as session:
        session.add(Order(item="oak", amount_cents=1, maker_id="ann"))
        await session.commit()
        await session.execute(text(f"ALTER TABLE orders DROP COLUMN {column}"))
        await session.commit()
    await store.close()
    for _ in range(2):
        again = Database(tmp_path / "orders.db")
        async with again.session() as session:
            (kept,) = await session.scalars(text(f"SELECT {column} FROM orders"))
        assert kept is None
        await again.close()
