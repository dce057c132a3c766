"""The contract of messages: whom a token stands for, and that of many who begin at once one does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from limen.core.errors import ConfigurationError
from limen.core.ids import uuid7
from limen.features.accounts.store import NewAccount
from limen.features.messages.store import Claimed
from limen.storage import Storage
from limen.testing.contracts.contract import DAY, SECOND, Contract, an_account, event

FAR = 2**42
"""A time that is long after these tests, in milliseconds since 1970 UTC."""


async def a_service(storage: Storage) -> str:
    """Make the account of a service and return its id."""
    account_id = uuid7()
    account = NewAccount(
        id=account_id,
        username=f"service-{account_id}",
        email=None,
        password_hash=None,
        roles=frozenset(),
        kind="service",
    )
    assert await storage.accounts.create(account, event())
    return account_id


class MessagesContract(Contract):
    """`MessageStore` and `MessageIssuingStore`."""

    @pytest.mark.parametrize("callers", [2, 50])
    async def test_of_many_who_begin_at_once_one_does(self, storage: Storage, peer: Storage, callers: int) -> None:
        """However many processes are handed one message, one is told that it is the first."""
        jti = uuid7()
        claims = [
            (storage, peer)[number % 2].messages.claim(jti, consumer="orders", keep_until_ms=FAR)
            for number in range(callers)
        ]
        answers = await asyncio.gather(*claims)
        assert answers.count(Claimed.NEW) == 1
        assert answers.count(Claimed.BEGUN) == callers - 1

    async def test_what_is_done_is_told_apart_from_what_was_begun(self, storage: Storage, peer: Storage) -> None:
        """Until its end is noted nobody knows whether the work was done; then every process does."""
        jti = uuid7()
        assert await storage.messages.claim(jti, consumer="orders", keep_until_ms=FAR) is Claimed.NEW
        assert await peer.messages.claim(jti, consumer="orders", keep_until_ms=FAR) is Claimed.BEGUN
        await storage.messages.finish(jti, consumer="orders")
        assert await peer.messages.claim(jti, consumer="orders", keep_until_ms=FAR) is Claimed.DONE

    async def test_each_consumer_counts_for_itself(self, storage: Storage) -> None:
        """Two that are handed the same message, each for work of its own, do not take it from each other."""
        jti = uuid7()
        for consumer in ("billing", "shipping"):
            assert await storage.messages.claim(jti, consumer=consumer, keep_until_ms=FAR) is Claimed.NEW
        await storage.messages.finish(jti, consumer="billing")
        assert await storage.messages.claim(jti, consumer="shipping", keep_until_ms=FAR) is Claimed.BEGUN

    async def test_finishing_what_nobody_began_does_nothing(self, storage: Storage) -> None:
        """The note of an end begins nothing."""
        jti = uuid7()
        await storage.messages.finish(jti, consumer="orders")
        assert await storage.messages.claim(jti, consumer="orders", keep_until_ms=FAR) is Claimed.NEW

    async def test_the_record_with_the_work_needs_the_work_s_transaction(self, storage: Storage) -> None:
        """Outside of a transaction of the application it is refused, and nothing is recorded."""
        jti = uuid7()
        with pytest.raises(ConfigurationError, match=r"gate\.using"):
            await storage.messages.claim_with_work(jti, consumer="orders", keep_until_ms=FAR)
        assert await storage.messages.claim(jti, consumer="orders", keep_until_ms=FAR) is Claimed.NEW

    async def test_records_are_swept_when_their_time_is_over(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Not before, and no more than the limit says."""
        now = await storage.messages.attest(await a_service(storage), epoch=0)
        assert now is not None
        jtis = [uuid7() for _ in range(3)]
        for jti in jtis:
            await storage.messages.claim(jti, consumer="orders", keep_until_ms=now + DAY)
        assert await storage.sweep() == 0
        turn_clock(DAY + 60 * SECOND)
        assert [await storage.sweep(2), await storage.sweep(2)] == [2, 1]
        assert await storage.messages.claim(jtis[0], consumer="orders", keep_until_ms=FAR) is Claimed.NEW

    async def test_only_an_active_service_is_attested(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """Not a person, not another epoch, not an account in whatever other state, nor one that is not there."""
        service = await a_service(storage)
        assert await storage.messages.attest(service, epoch=0) is not None
        assert await storage.messages.attest(service, epoch=1) is None
        assert await storage.messages.attest((await an_account(storage)).id, epoch=0) is None
        assert await storage.messages.attest(uuid7(), epoch=0) is None
        assert await storage.messages.attest("nobody", epoch=0) is None
        for status in ("disabled", "blocked", "deleted", "asleep"):
            await set_status(service, status)
            assert await storage.messages.attest(service, epoch=0) is None

    async def test_the_state_is_that_of_the_row(
        self, storage: Storage, peer: Storage, set_status: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """Kind, status as it is written, epoch and roles, for whoever is handed a message."""
        service = await a_service(storage)
        state = await peer.messages.service_state(service)
        assert state is not None
        assert (state.kind, state.status, state.epoch, state.roles) == ("service", "active", 0, frozenset())
        await set_status(service, "asleep")
        state = await peer.messages.service_state(service)
        assert state is not None
        assert state.status == "asleep"
        assert await peer.messages.service_state("nobody") is None
        assert await peer.messages.service_state(uuid7()) is None
