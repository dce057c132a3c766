"""Work that ends when the client that asked for it hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from limen.core.errors import BadRequest

T = TypeVar("T")


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do the work and return its result; cancel it when the client goes away.

    Without this, clients that send a password and hang up fill the queue for hashing, and hashes are made for nobody.
    A write that was handed to the store before runs to its end; that is the store's to say.

    Args:
        receive: of the request, whose whole body was read: the next message then is the disconnection.
        work: what to do; it runs in a task of its own.

    Raises:
        BadRequest: the client went away; nobody is there to read it.
        BaseException: whatever the work raises.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and watching.result():
            raise BadRequest("The client went away before it was answered.")
        return await working
    finally:
        working.cancel()
        watching.cancel()
        # The work has ended when this returns, and no error of a task goes unheard.
        await asyncio.gather(working, watching, return_exceptions=True)


async def _gone(receive: Receive) -> bool:
    """Return True when the client goes away, False where that cannot be told."""
    try:
        message = await receive()
    except Exception:  # a middleware's own receive may not like to be asked once more: the work goes on
        return False
    return bool(message["type"] == "http.disconnect")
