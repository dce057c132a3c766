"""FastAPI's 422 without the input."""

from pathlib import Path

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel

from limen.fastapi import answer_invalid_input, public
from tests.support.gates import gate_for


class _Body(BaseModel):
    password: int


def _application(folder: Path) -> FastAPI:
    app = FastAPI()
    gate_for(folder).protect(app)

    @app.post("/set")
    @public
    async def set_it(body: _Body) -> int:
        return body.password

    @app.websocket("/socket")
    @public
    async def socket(websocket: WebSocket, number: int) -> None:
        await websocket.accept()

    return app


def test_the_input_is_not_echoed(tmp_path: Path) -> None:
    """The 422 keeps the shape that clients know, and has lost what was sent."""
    with TestClient(_application(tmp_path)) as client:
        answer = client.post("/set", json={"password": "canary"})
        assert answer.status_code == 422
        assert "canary" not in answer.text
        assert [set(each) for each in answer.json()["detail"]] == [{"type", "loc", "msg"}]
        assert answer.json()["detail"][0]["loc"] == ["body", "password"]


def test_an_application_can_speak_like_limen(tmp_path: Path) -> None:
    """With limen's handler the answer is problem details."""
    app = _application(tmp_path)
    app.add_exception_handler(RequestValidationError, answer_invalid_input)
    with TestClient(app) as client:
        answer = client.post("/set", json={"password": "canary"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
        assert answer.json()["errors"][0]["loc"] == ["body", "password"]
        assert "canary" not in answer.text


def test_an_applications_own_handler_stands(tmp_path: Path) -> None:
    """Whoever has a handler of their own keeps it."""

    async def own(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"own": True}, 400)

    app = FastAPI(exception_handlers={RequestValidationError: own})
    gate_for(tmp_path).protect(app)

    @app.post("/set")
    @public
    async def set_it(body: _Body) -> int:
        return body.password

    with TestClient(app) as client:
        assert client.post("/set", json={}).json() == {"own": True}


def test_a_socket_is_closed_without_the_input(tmp_path: Path) -> None:
    """The reason of a close does not carry what was sent."""
    import pytest
    from starlette.websockets import WebSocketDisconnect

    with TestClient(_application(tmp_path)) as client:
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/socket?number=canary"):
            pass
        assert closed.value.code == 1008
        assert "canary" not in (closed.value.reason or "")


def test_an_unknown_fields_name_is_not_echoed(tmp_path: Path) -> None:
    """The name of a field that should not be there is the caller's text, and may be a secret in the wrong place."""

    class Strict(BaseModel, extra="forbid"):
        name: str

    for own in (False, True):
        app = FastAPI()
        gate_for(tmp_path / str(own)).protect(app)
        if own:
            app.add_exception_handler(RequestValidationError, answer_invalid_input)

        @app.post("/set")
        @public
        async def set_it(body: Strict) -> str:
            return body.name

        with TestClient(app) as client:
            answer = client.post("/set", json={"name": "a", "canary": 1})
            assert answer.status_code == 422
            assert "canary" not in answer.text
