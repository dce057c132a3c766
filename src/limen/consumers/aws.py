"""What the adapters for AWS share: a client, and calls that wait in a thread."""

import asyncio
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from limen.core.errors import ConfigurationError


def client_for(service: str) -> Any:
    """Make a client of boto3, by its own settings (``AWS_REGION``, ``AWS_ENDPOINT_URL``, …).

    Raises:
        ConfigurationError: boto3 is not installed.
    """
    if find_spec("boto3") is None:
        raise ConfigurationError("Install limen[aws], which brings boto3, or hand in a client.")
    return import_module("boto3").client(service)


async def call(method: Callable[..., Any], **arguments: Any) -> Any:
    """Call a method of a client of boto3, which blocks, in a thread. A client may be used by several threads."""
    return await asyncio.to_thread(method, **arguments)


def retry_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row: 1, 2, 4 … at most 30 seconds."""
    return float(min(30, 2 ** max(0, min(failures, 10) - 1)))
