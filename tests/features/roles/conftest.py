"""A gate with roles that administer, wholly or in part."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen import Limen
from tests.features.roles.acting import ROLES
from tests.support.gates import settings_for


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Limen]:
    """A started gate whose roles administer."""
    async with Limen(settings_for(tmp_path), roles=ROLES).running() as started:
        yield started
