"""Placeholder."""

from typing import Any


async def assert_guard_holds(app: Any) -> None: ...
