"""What counts does not answer: what cannot be counted is not tried."""

import pytest

from limen import Limen
from limen.core.errors import Unavailable
from limen.core.events import Origin
from limen.features.throttling.requests import Purpose
from limen.features.throttling.store import Back, Take
from limen.storage.sql.throttles import SQLThrottles
from tests.support.gates import PASSWORD

HERE = Origin("request-1", "192.0.2.1", "a browser")


async def test_what_cannot_be_counted_is_not_tried(
    gate: Limen, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the right password nor anything else gets past a store that is silent; none is hashed."""
    await gate.accounts.create("ann", PASSWORD)

    async def silent(_: SQLThrottles, takes: list[Take]) -> None:
        raise Unavailable()

    monkeypatch.setattr(SQLThrottles, "take", silent)
    with pytest.raises(Unavailable):
        await gate.login.login("ann", PASSWORD, origin=HERE)
    for purpose in (Purpose.REGISTER, Purpose.SSO, Purpose.RESET, Purpose.VERIFY, Purpose.LINK):
        with pytest.raises(Unavailable):
            await gate.throttling.requests.count(purpose, address="192.0.2.1")
    assert hashed == []


async def test_a_login_that_is_done_is_not_lost(gate: Limen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the count cannot be begun anew after a success the session is there all the same, and the count stays."""
    await gate.accounts.create("ann", PASSWORD)

    async def silent(_: SQLThrottles, backs: list[Back]) -> None:
        raise Unavailable()

    monkeypatch.setattr(SQLThrottles, "give_back", silent)
    issued = await gate.login.login("ann", PASSWORD, origin=HERE)
    assert issued.access_token
