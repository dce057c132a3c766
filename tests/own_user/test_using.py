"""limen's verbs in the application's own transaction: one commit, one rollback, and nothing that leaks."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from limen.core.errors import ConfigurationError, Conflict, InvalidInput, UsernameTaken
from limen.core.events import NOWHERE, Event, EventName
from limen.core.ids import uuid7
from limen.features.accounts.store import AccountStatus, NewAccount
from limen.features.roles.service import OPERATOR
from tests.own_user.conftest import Place, Undo, named, profile
from tests.support.gates import PASSWORD
from tests.support.waiting import felt


class TestOneTransaction:
    async def test_account_and_profile_are_one_commit(self, place: Place) -> None:
        """Nobody else sees either before the commit, and both after it; the profile's foreign key holds meanwhile."""
        async with place.engine.begin() as connection:
            async with place.gate.using(connection):
                account = await place.gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
            await profile(connection, account.id)
            assert account.roles == {"maker"}
            assert await named(place, "ann") == 0
        assert await named(place, "ann") == 1
        assert [str(sub) for (sub,) in await place.rows("SELECT sub FROM profiles")] == [account.id]
        assert (await place.gate.accounts.by_id(account.id)).username == "ann"
        assert (await place.gate.login.login("ann", PASSWORD, origin=NOWHERE)).account_id == account.id

    async def test_a_rollback_takes_everything_back(self, place: Place) -> None:
        """Neither account nor profile nor record of the audit trail is left of a transaction that was rolled back."""
        before = await place.events()
        with suppress(Undo):
            async with place.engine.begin() as connection, place.gate.using(connection):
                account = await place.gate.accounts.create("ann", PASSWORD)
                await profile(connection, account.id)
                raise Undo
        assert await named(place, "ann") == 0
        assert await place.rows("SELECT sub FROM profiles") == []
        assert await place.events() == before
        # The name is as free as before.
        await place.gate.accounts.create("ann", PASSWORD)

    async def test_a_verb_that_comes_first_is_not_committed_by_itself(self, place: Place) -> None:
        """The first statement of a transaction is limen's: it is rolled back all the same."""
        async with place.engine.connect() as connection:
            async with place.gate.using(connection):
                await place.gate.accounts.create("ann", None)
                await place.gate.accounts.create("bob", None)
            await connection.rollback()
        assert await named(place, "ann") + await named(place, "bob") == 0

    async def test_a_session_of_the_orm(self, place: Place) -> None:
        """An AsyncSession is handed in as it is; its commit is the commit."""
        async with AsyncSession(place.engine) as session:
            async with place.gate.using(session):
                account = await place.gate.accounts.create("ann", None)
            await profile(session, account.id)
            assert await named(place, "ann") == 0
            await session.commit()
        assert await named(place, "ann") == 1

    async def test_the_verbs_see_what_the_transaction_has_done(self, place: Place) -> None:
        """What is read in the block is read in the transaction, and every verb counts as a store call."""
        before = place.gate.storage.calls
        async with place.engine.begin() as connection, place.gate.using(connection):
            account = await place.gate.accounts.create("ann", None)
            assert (await place.gate.accounts.by_username("ann")).id == account.id
            page = await place.gate.accounts.page(query="ann")
            assert [found.id for found in page.items] == [account.id]
        assert place.gate.storage.calls == before + 4

    async def test_the_record_is_in_the_transaction(self, place: Place) -> None:
        """The event of the act comes with the act's commit."""
        async with place.engine.begin() as connection:
            async with place.gate.using(connection):
                await place.gate.accounts.create("ann", None)
            assert EventName.ACCOUNT_CREATED not in await place.events()
        assert (await place.events()).count(EventName.ACCOUNT_CREATED) == 1

    async def test_blocks_may_be_nested(self, place: Place) -> None:
        """A function that opens a block of its own may be called within one; the outer one goes on."""
        async with place.engine.begin() as connection, place.gate.using(connection):
            async with place.gate.using(connection):
                await place.gate.accounts.create("ann", None)
            await place.gate.accounts.create("bob", None)
            assert await named(place, "bob") == 0
        assert await named(place, "ann") + await named(place, "bob") == 2


class TestRefusedVerbs:
    async def test_a_taken_name_leaves_the_transaction_usable(self, place: Place) -> None:
        """UsernameTaken is an answer like any other: what came before stays, what comes after works."""
        await place.gate.accounts.create("ann", None)
        async with place.engine.begin() as connection, place.gate.using(connection):
            bob = await place.gate.accounts.create("bob", None)
            with pytest.raises(UsernameTaken):
                await place.gate.accounts.create("ANN", None)
            await profile(connection, bob.id)
        assert len(await place.rows("SELECT sub FROM profiles")) == 1

    async def test_a_failing_verb_is_taken_back_alone(self, place: Place) -> None:
        """A verb that fails half-way leaves nothing of itself, and the transaction commits the rest."""
        new = NewAccount(uuid7(), "ann", None, None, frozenset({"maker", "no such role"}))
        async with place.engine.begin() as connection, place.gate.using(connection):
            await place.gate.accounts.create("bob", None)
            with pytest.raises(Conflict):
                await place.gate.storage.accounts.create(new, Event(EventName.ACCOUNT_CREATED))
            assert await place.gate.storage.accounts.by_id(new.id) is None
        assert await named(place, "bob") == 1
        assert await named(place, "ann") == 0

    async def test_a_failing_statement_is_a_conflict(self, place: Place) -> None:
        """An error of the database (an id twice) is limen's error, and the transaction goes on after it."""
        account_id = uuid7()
        async with place.engine.begin() as connection, place.gate.using(connection):
            for name in ("ann", "bob"):
                made = place.gate.storage.accounts.create(
                    NewAccount(account_id, name, None, None), Event(EventName.ACCOUNT_CREATED)
                )
                if name == "ann":
                    assert await made
                else:
                    with pytest.raises(Conflict):
                        await made
            await profile(connection, account_id)
        assert await named(place, "ann") == 1

    async def test_no_token_is_issued_in_a_transaction(self, place: Place) -> None:
        """A token for a session that is rolled back would verify all the same: login and refresh are refused."""
        await place.gate.accounts.create("ann", PASSWORD)
        issued = await place.gate.login.login("ann", PASSWORD, origin=NOWHERE)
        async with place.engine.begin() as connection, place.gate.using(connection):
            with pytest.raises(ConfigurationError, match="after the block"):
                await place.gate.login.login("ann", PASSWORD, origin=NOWHERE)
            with pytest.raises(ConfigurationError, match="after the block"):
                await place.gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
        assert (await place.gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)).sid == issued.sid

    async def test_input_is_checked_before_the_transaction_is_touched(self, place: Place) -> None:
        """A name that cannot be one is refused as anywhere."""
        async with place.engine.begin() as connection, place.gate.using(connection):
            with pytest.raises(InvalidInput):
                await place.gate.accounts.create("a b", None)


class TestNothingLeaks:
    async def test_another_task_is_not_in_the_transaction(self, place: Place) -> None:
        """A task begun in the block reads on limen's own connections: it sees what is committed, and nothing else."""
        async with place.engine.begin() as connection, place.gate.using(connection):
            account = await place.gate.accounts.create("ann", None)
            found = await asyncio.create_task(place.gate.storage.accounts.by_id(account.id))
            assert found is None
            assert await place.gate.storage.accounts.by_id(account.id) is not None

    async def test_a_task_outlives_the_block(self, place: Place) -> None:
        """A task begun in the block works after it, when the connection is long gone."""
        go = asyncio.Event()

        async def later() -> int:
            await go.wait()
            return len((await place.gate.accounts.page()).items)

        async with place.engine.begin() as connection, place.gate.using(connection):
            task = asyncio.create_task(later())
            await place.gate.accounts.create("ann", None)
        go.set()
        assert await task == 1

    async def test_after_the_block_limen_is_on_its_own(self, place: Place) -> None:
        """What is called after the block, which may end by an error, is not part of the transaction."""
        async with place.engine.connect() as connection:
            with pytest.raises(Undo):
                async with place.gate.using(connection):
                    raise Undo
            await place.gate.accounts.create("ann", None)
            await connection.rollback()
        assert await named(place, "ann") == 1

    async def test_background_work_is_not_in_the_transaction(self, place: Place) -> None:
        """While a block is open the process polls on connections of its own, and meets only what is committed."""
        account = await place.gate.accounts.create("ann", PASSWORD)
        issued = await place.gate.login.login("ann", PASSWORD, origin=NOWHERE)
        async with place.engine.begin() as connection, place.gate.using(connection):
            await place.gate.sessions.logout_everywhere(account.id, actor="", origin=NOWHERE)
            await asyncio.sleep(1.2)
            await place.gate.ready()
            assert not place.ended(issued.sid)
        await felt(lambda: place.ended(issued.sid), within=2.0)

    async def test_two_tasks_two_transactions(self, place: Place) -> None:
        """Two requests at once work each in their own transaction: one is rolled back, the other is not."""

        async def register(name: str) -> None:
            async with place.engine.begin() as connection, place.gate.using(connection):
                await place.gate.accounts.create(name, None)
                await asyncio.sleep(0.05)
                if name == "bob":
                    raise Undo

        results = await asyncio.gather(register("ann"), register("bob"), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), Undo]
        assert await named(place, "ann") == 1
        assert await named(place, "bob") == 0


class TestEndings:
    async def _logged_in(self, place: Place) -> tuple[Any, Any]:
        account = await place.gate.accounts.create("ann", PASSWORD)
        return account, await place.gate.login.login("ann", PASSWORD, origin=NOWHERE)

    async def test_an_ending_is_not_believed_before_its_commit(self, place: Place) -> None:
        """Sessions ended in a transaction that is rolled back go on, in this process too, tokens included."""
        account, issued = await self._logged_in(place)
        with suppress(Undo):
            async with place.engine.begin() as connection, place.gate.using(connection):
                await place.gate.accounts.disable(account, actor="")
                await place.gate.sessions.logout_everywhere(account.id, actor="", origin=NOWHERE)
                raise Undo
        await place.gate.sessions.catch_up()
        assert not place.ended(issued.sid)
        assert (await place.gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)).sid == issued.sid

    async def test_an_ending_is_felt_after_its_commit(self, place: Place) -> None:
        """The next look at the list, a second later at most, knows the session that the transaction has ended."""
        account, issued = await self._logged_in(place)
        async with place.engine.begin() as connection:
            async with place.gate.using(connection):
                await place.gate.accounts.disable(account, actor="")
            assert not place.ended(issued.sid)
        await felt(lambda: place.ended(issued.sid), within=2.0)
        assert (await place.gate.accounts.by_id(account.id)).status is AccountStatus.DISABLED

    async def test_a_late_commit_is_met_by_every_poll(self, place: Place) -> None:
        """What a long transaction has ended bears the time of its commit, and is kept for as much longer."""
        account, issued = await self._logged_in(place)
        async with place.engine.begin() as connection:
            async with place.gate.using(connection):
                await place.gate.sessions.logout_everywhere(account.id, actor="", origin=NOWHERE)
            # The verb was a minute ago: further back than any poll reads.
            await connection.execute(
                text("UPDATE limen_ended_sessions SET ended_at = ended_at - 60000, keep_until = keep_until - 60000")
            )
        ((age, kept),) = await place.rows("SELECT ended_at, keep_until - ended_at FROM limen_ended_sessions")
        assert abs(time.time() * 1000 - age) < 30_000
        assert abs(kept - (place.gate.settings.access_ttl + 60) * 1000) < 30_000
        await place.gate.sessions.catch_up()
        assert place.ended(issued.sid)

    async def test_what_was_rolled_back_is_not_stamped(self, place: Place) -> None:
        """A connection that goes on after a rollback commits its next transaction as if nothing had been."""
        account, issued = await self._logged_in(place)
        async with place.engine.connect() as connection:
            async with place.gate.using(connection):
                await place.gate.sessions.logout_everywhere(account.id, actor="", origin=NOWHERE)
            await connection.rollback()
            await connection.execute(text("SELECT 1"))
            await connection.commit()
        assert await place.rows("SELECT id FROM limen_ended_sessions") == []
        assert not place.ended(issued.sid)


class TestRoles:
    async def test_a_rollback_gives_nobody_anything(self, place: Place) -> None:
        """A role made and granted in a transaction that is rolled back is not known to this process, nor held."""
        account = await place.gate.accounts.create("ann", None)
        with suppress(Undo):
            async with place.engine.begin() as connection, place.gate.using(connection):
                await place.gate.roles.put(OPERATOR, "clerk", permissions=["order:read"])
                await place.gate.roles.grant(OPERATOR, account.id, ["clerk"])
                assert (await place.gate.accounts.by_id(account.id)).roles == {"clerk"}
                assert "clerk" not in place.gate.catalogue.names
                raise Undo
        await asyncio.sleep(1.2)
        assert "clerk" not in place.gate.catalogue.names
        assert account.id not in place.gate.changed
        assert (await place.gate.accounts.by_id(account.id)).roles == frozenset()

    async def test_a_late_commit_is_met_by_every_poll(self, place: Place) -> None:
        """What a long transaction has granted bears the time of its commit, and is kept for as much longer."""
        account = await place.gate.accounts.create("ann", None)
        async with place.engine.begin() as connection:
            async with place.gate.using(connection):
                await place.gate.roles.grant(OPERATOR, account.id, ["maker"])
            assert account.id not in place.gate.changed
            await connection.execute(
                text("UPDATE limen_changed_roles SET changed_at = changed_at - 60000, keep_until = keep_until - 60000")
            )
        ((age, kept),) = await place.rows("SELECT changed_at, keep_until - changed_at FROM limen_changed_roles")
        assert abs(time.time() * 1000 - age) < 30_000
        assert abs(kept - (place.gate.settings.access_ttl + 60) * 1000) < 30_000
        await felt(lambda: account.id in place.gate.changed, within=2.0)
