"""Guards that run elsewhere, or later: in threads, tasks and partials. Where nobody waits for one, it refuses nobody.

Each is read, and each is really called: by a stranger, and by somebody with credentials that nobody gave out.
"""

import asyncio
import sys

import pytest

from tests.checklist.conftest import TOLD, Made
from tests.checklist.test_differential import CALLERS, answer_of

BEGINNING = f"""{TOLD}
import concurrent.futures, functools, inspect
import anyio
from anyio import to_thread
from fastapi.concurrency import run_in_threadpool

POOL = concurrent.futures.ThreadPoolExecutor(1)
LIMITER = None
app.state.provider = None

def verify(headers, *more):
    if headers.get("x-token") not in TOKENS:
        raise HTTPException(401)

async def later(headers, *more):
    verify(headers)

class Provider:
    def verify(self, headers):
        verify(headers)

class Service:
    def __init__(self, provider):
        self.provider = provider
    def ask(self, headers, action):
        if not self.provider:
            return
        self.provider.verify(dict(headers))
    async def ask_in_a_thread(self, headers, action):
        return await to_thread.run_sync(self.ask, *(headers, action))

SERVICE = Service(Provider())

def traced(f):
    if inspect.iscoroutinefunction(f):
        @functools.wraps(f)
        async def wrapper(*args, **kwargs):
            return await f(*args, **kwargs)
    else:
        @functools.wraps(f)
        def wrapper(*args, **kwargs):
            return f(*args, **kwargs)
    return wrapper

async def in_a_thread(f, *args, **kwargs):
    return await run_in_threadpool(f, *args, **kwargs)
"""

WAITED_FOR = {
    "a method in a thread": "    await to_thread.run_sync(SERVICE.ask, r.headers, 'a')",
    "two calls on": "    await SERVICE.ask_in_a_thread(r.headers, 'a')",
    "asyncio's threads": "    await asyncio.to_thread(verify, r.headers)",
    "a pool of threads": "    await asyncio.get_running_loop().run_in_executor(None, verify, r.headers)",
    "a pool, waited for later": (
        "    waiting = asyncio.get_running_loop().run_in_executor(POOL, verify, r.headers)\n    await waiting"
    ),
    "a future's result": "    POOL.submit(verify, r.headers).result()",
    "a partial": "    await to_thread.run_sync(functools.partial(verify, r.headers), limiter=LIMITER)",
    "a partial of a method": (
        "    ask = functools.partial(SERVICE.ask, action='a')\n    await run_in_threadpool(ask, r.headers)"
    ),
    "a function inside": (
        "    def ask(headers, body):\n        SERVICE.ask(headers, body)\n"
        "    await to_thread.run_sync(ask, r.headers, await r.body())"
    ),
    "a lambda": "    await to_thread.run_sync(lambda: SERVICE.ask(r.headers, 'a'))",
    "a coroutine, waited for later": "    waiting = later(r.headers)\n    await waiting",
    "a coroutine, if it is one": (
        "    found = later(r.headers)\n    if inspect.isawaitable(found):\n        await found"
    ),
    "a task, waited for later": "    task = asyncio.create_task(later(r.headers))\n    await task",
    "several at once": "    await asyncio.gather(asyncio.sleep(0), later(r.headers))",
    "within a time": "    await asyncio.wait_for(asyncio.shield(later(r.headers)), 60)",
    "a group of tasks": "    async with asyncio.TaskGroup() as group:\n        group.create_task(later(r.headers))",
    "another group of tasks": (
        "    async with anyio.create_task_group() as group:\n        group.start_soon(later, r.headers)"
    ),
    "a function of one's own that runs others": "    await in_a_thread(verify, r.headers)",
    "a function inside that others run": (
        "    def ask(): verify(r.headers)\n    await in_a_thread(functools.partial(ask))"
    ),
    "from a thread": ("    def ask(): anyio.from_thread.run(later, r.headers)\n    await to_thread.run_sync(ask)"),
    "a traced function": "    await traced(later)(r.headers)",
}

FORGOTTEN = {
    "nobody awaits the coroutine": "    later(r.headers)",
    "nobody awaits it where it is made, or later": "    waiting = later(r.headers)\n    return waiting is None",
    "a task that nobody waits for": "    app.state.task = asyncio.create_task(later(r.headers))",
    "a thread that nobody waits for": "    asyncio.get_running_loop().run_in_executor(None, verify, r.headers)",
    "a future that nobody asks": "    POOL.submit(verify, r.headers)",
    "a thread that nobody awaits": "    to_thread.run_sync(verify, r.headers)",
    "a coroutine made in a thread": "    await to_thread.run_sync(later, r.headers)",
    "a coroutine that a function hands back": ("    def ask(): return later(r.headers)\n    ask()"),
    "the coroutine is what a dependency returns": "    return later(r.headers)",
    "work for later": ("    from fastapi import BackgroundTasks\n    BackgroundTasks().add_task(verify, r.headers)"),
    "a partial that nobody calls": "    functools.partial(verify, r.headers)",
    "a function inside that nobody runs": "    def ask(): verify(r.headers)\n    functools.partial(ask)",
    "errors that are handed back": "    await asyncio.gather(later(r.headers), return_exceptions=True)",
    "tasks that have ended, however": "    await asyncio.wait([asyncio.ensure_future(later(r.headers))])",
    "an exception that is asked for": "    POOL.submit(verify, r.headers).exception()",
    "no provider": "    await to_thread.run_sync(Service(None).ask, r.headers, 'a')",
    "it is caught": (
        "    try:\n        await to_thread.run_sync(verify, r.headers)\n    except HTTPException:\n        pass"
    ),
    "it is caught in the thread": (
        "    def ask():\n        try: SERVICE.ask(r.headers, 'a')\n        except HTTPException: return None\n"
        "    await to_thread.run_sync(ask)"
    ),
    "it is suppressed": (
        "    with contextlib.suppress(HTTPException):\n        await to_thread.run_sync(verify, r.headers)"
    ),
    "a function of one's own that runs nothing": (
        "    async def run_in_threadpool(f, *args): return args\n    await run_in_threadpool(verify, r.headers)"
    ),
}


def text_of(body: str) -> str:
    """Return an application with one route behind a dependency of this body, and one of which it is the handler's."""
    return (
        f"{BEGINNING}\nasync def dep(r: Request):\n{body}\n"
        "def reached(): return {'said': 'reached'}\n"
        "app.get('/behind', dependencies=[Depends(dep)])(reached)\n"
        f"@app.get('/itself')\nasync def itself(r: Request):\n    await dep(r)\n    return reached()\n"
    )


@pytest.mark.parametrize("name", WAITED_FOR)
def test_what_is_waited_for_is_a_guard(name: str, made: Made) -> None:
    """A check that runs in a thread, a task or a partial refuses where somebody waits for its end: it is followed."""
    routes = made(text_of(WAITED_FOR[name])).routes
    assert [each.standing for each in routes] == ["guarded", "guarded"]
    app = sys.modules["application_of_text"].app
    for route in routes:
        answers = [asyncio.run(answer_of(app, route, headers)) for headers in CALLERS]
        assert "lets in" not in answers


@pytest.mark.parametrize("name", FORGOTTEN)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_what_nobody_waits_for_is_none(name: str, made: Made) -> None:
    """A check that nobody waits for, or whose error is caught, lets everybody in, and is never told as a guard."""
    routes = made(text_of(FORGOTTEN[name])).routes
    assert "guarded" not in [each.standing for each in routes]
    app = sys.modules["application_of_text"].app
    for route in routes:
        assert asyncio.run(answer_of(app, route, {})) == "lets in"
