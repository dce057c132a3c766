"""What a start says of the actions that are declared."""

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from limen import Limen
from limen.core.errors import ConfigurationError
from limen.features.approvals.service import Approved
from tests.approvals.conftest import RELEASE
from tests.support.gates import settings_for


async def test_a_start_refuses_sessions_of_another_database(tmp_path: Path) -> None:
    """It names the action, and what to do: the last yes is no time to find out. One that fails is let be."""
    elsewhere = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'elsewhere.db'}")
    gone = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'no such folder' / 'a.db'}")

    async def release(approved: Approved, session: AsyncSession) -> None: ...

    gate = Limen(settings_for(tmp_path), roles={"checker": ["payout:release:approve"]})
    gate.approvals.action(RELEASE, session=async_sessionmaker(gone))(release)
    await gate.start()
    gate.approvals.action("payout:cancel", session=async_sessionmaker(elsewhere))(release)
    with pytest.raises(ConfigurationError, match=r"payout:cancel, session=.* outbox"):
        await gate.approvals.check()
    await gate.stop()
    await elsewhere.dispose()
    await gone.dispose()
