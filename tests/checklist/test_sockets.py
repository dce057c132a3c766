"""WebSockets: a close refuses strangers only where what decided it is about who is calling.

Each is read, and each is really called: by a stranger, and by somebody with credentials that nobody gave out.
"""

import asyncio
import sys

import pytest

from tests.checklist.conftest import TOLD, Made
from tests.checklist.test_differential import CALLERS, answer_of

BEGINNING = f"""{TOLD}
THINGS = {{"thing": 1}}
LISTENS = []
KEYS = dict.fromkeys(TOKENS, 1)

async def found(name):
    if name not in THINGS:
        raise HTTPException(404)
    return THINGS[name]

def known(key):
    if key not in TOKENS:
        raise HTTPException(401)
    return key

async def shown(websocket, name):
    try:
        who = getattr(websocket.state, "auth_user", None)
        if who is not None and name not in who.names:
            raise HTTPException(403)
        return await found(name)
    except HTTPException as error:
        await websocket.close(code=1008, reason=str(error.detail))
        return None

async def whose(websocket, key):
    try:
        return known(key)
    except HTTPException:
        await websocket.close(code=1008)
        return None

def named(websocket):
    lines = websocket.headers.getlist("Sec-WebSocket-Protocol")
    return [each.strip() for line in lines for each in line.split(",")]

async def spoken(websocket, *, is_required=False):
    speaks = "words" in named(websocket)
    if not speaks:
        if is_required:
            return await websocket.close(1008)
        await websocket.accept()
        return websocket
    await websocket.accept(subprotocol="words")
    message = await websocket.receive_json() if LISTENS else {{"type": "auth"}}
    if message.get("type") != "auth":
        return await websocket.close(1008, reason="the first message is of type auth")
    return websocket
"""

NO_GUARDS = {
    "what does not exist": """
    await ws.accept()
    if await shown(ws, name) is None: return
    await ws.send_text("reached")
""",
    "a subprotocol that another function asks for": """
    ws = await spoken(ws, is_required=True)
    if not ws: return
    await ws.send_text("reached")
""",
    "a subprotocol": """
    if ws.headers.get("sec-websocket-protocol") != "words":
        await ws.close(code=1008)
        return
    await ws.accept(subprotocol="words")
    await ws.send_text("reached")
""",
    "one of several subprotocols": """
    if ws.headers.get("sec-websocket-protocol", "") not in ("words", "more"):
        await ws.close(code=1008)
        return
    await ws.accept()
    await ws.send_text("reached")
""",
}
GUARDS = {
    "who is calling, in a function that closes": """
    await ws.accept()
    if await whose(ws, ws.headers.get("x-token")) is None: return
    await ws.send_text("reached")
""",
    "a token before it is accepted": """
    if ws.headers.get("x-token") not in TOKENS:
        await ws.close(code=4001)
        return
    await ws.accept()
    await ws.send_text("reached")
""",
    "a token among the subprotocols": """
    if named(ws)[-1:] == [] or named(ws)[-1] not in TOKENS:
        await ws.close(code=1008)
        return
    await ws.accept()
    await ws.send_text("reached")
""",
    "whom a token in the subprotocol belongs to": """
    who = KEYS.get(ws.headers.get("sec-websocket-protocol", ""))
    if who is None:
        await ws.close(code=1008)
        return
    await ws.accept()
    await ws.send_text("reached")
""",
}


FIRST_MESSAGE = """
    await ws.accept()
    message = await ws.receive_json()
    if message.get("token") not in TOKENS:
        await ws.close(code=1008)
        return
    await ws.send_text("reached")
"""


def text_of(body: str) -> str:
    """Return an application with one WebSocket whose handler has this body."""
    return f'{BEGINNING}\n@app.websocket("/a")\nasync def a(ws: WebSocket, name: str = "thing"):{body}'


@pytest.mark.parametrize("name", NO_GUARDS)
def test_a_close_that_asks_nobody_who_they_are_is_no_guard(name: str, made: Made) -> None:
    """Who names a thing that exists, or the word of a protocol, is let in by those: they are never told guarded."""
    (route,) = made(text_of(NO_GUARDS[name])).routes
    assert route.standing in {"open", "unknown"}
    app = sys.modules["application_of_text"].app
    assert asyncio.run(answer_of(app, route, {"sec-websocket-protocol": "words"})) == "lets in"


@pytest.mark.parametrize("name", GUARDS)
def test_a_close_for_those_who_are_not_known_is_a_guard(name: str, made: Made) -> None:
    """A close that depends on a credential is told guarded, and nobody gets past it without one."""
    (route,) = made(text_of(GUARDS[name])).routes
    assert route.standing == "guarded"
    app = sys.modules["application_of_text"].app
    assert [asyncio.run(answer_of(app, route, headers)) for headers in CALLERS] == ["refuses", "refuses"]


def test_a_token_in_the_first_message_is_not_told_open(made: Made) -> None:
    """A message is no header: whether what is asked of it is a credential cannot be told, so it is unknown."""
    (route,) = made(text_of(FIRST_MESSAGE)).routes
    assert route.standing == "unknown"
