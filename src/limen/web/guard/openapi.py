"""Placeholder."""

from typing import Any


def describe_requirements(protection: Any, paths: Any) -> None: ...
