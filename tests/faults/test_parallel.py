"""Many at once, over HTTP: one successor, one winner, and an end that nothing outlives."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.servers import Nursery, Server, running
from tests.faults.wire import Answer

PARALLEL = 50
ROUNDS = 5


def at_once(server: Server, requests: list[bytes]) -> list[Answer]:
    """Send requests over as many connections at the same moment."""
    barrier = threading.Barrier(len(requests))

    def send(text: bytes) -> Answer:
        barrier.wait(30)
        return server.send(text)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


def events(server: Server, sid: str) -> Counter[str]:
    """Return how often each event stands in the audit trail of a session."""
    return Counter(name for (name,) in server.rows("SELECT event FROM limen_events WHERE target = ?", sid))


def test_fifty_parallel_refreshes_have_one_successor_and_nobody_is_out(server: Server) -> None:
    """All fifty get the same refresh token, one rotation is recorded, and the session goes on with it: five times."""
    server.register("client")
    for _ in range(ROUNDS):
        parent = server.log_in("client")["refresh_token"]
        ((sid,),) = server.rows("SELECT id FROM limen_sessions ORDER BY id DESC LIMIT 1")
        answers = at_once(server, [server.refresh_bytes(parent)] * PARALLEL)
        assert Counter(answer.status for answer in answers) == {200: PARALLEL}
        successors = {answer.json()["refresh_token"] for answer in answers}
        assert len(successors) == 1
        assert len({answer.json()["access_token"] for answer in answers}) == PARALLEL
        counted = events(server, sid)
        assert (counted["refreshed"], counted["refresh_restated"]) == (1, PARALLEL - 1)
        assert server.refresh(successors.pop()).status == 200


def test_without_leeway_one_of_fifty_wins_and_the_session_ends(nursery: Nursery, tmp_path: Path) -> None:
    """With leeway 0 a duplicate is reuse: one is answered, the others end the session, once; five times."""
    with running(nursery, tmp_path, refresh_leeway="0") as server:
        server.register("client")
        for _ in range(ROUNDS):
            parent = server.log_in("client")["refresh_token"]
            ((sid,),) = server.rows("SELECT id FROM limen_sessions")
            answers = at_once(server, [server.refresh_bytes(parent)] * PARALLEL)
            assert Counter(answer.status for answer in answers) == {200: 1, 401: PARALLEL - 1}
            assert {answer.code for answer in answers if answer.status == 401} == {"invalid_refresh_token"}
            winner = next(answer.json() for answer in answers if answer.status == 200)
            assert server.refresh(winner["refresh_token"]).status == 401
            refused = server.get("/guarded", token=winner["access_token"])
            assert (refused.status, refused.code) == (401, "session_ended")
            assert server.rows("SELECT count(*) FROM limen_sessions") == [(0,)]
            assert events(server, sid)["refresh_reused"] == 1


def test_nothing_lives_after_an_acknowledged_logout(server: Server) -> None:
    """Logout against seven refreshes, thirty times: whichever came first, no token of the session works afterwards."""
    server.register("client")
    for _ in range(30):
        tokens = server.log_in("client")
        body = {"refresh_token": tokens["refresh_token"]}
        logout = b"POST /auth/logout" + server.refresh_bytes(tokens["refresh_token"]).removeprefix(
            b"POST /auth/refresh"
        )
        refresh = server.refresh_bytes(body["refresh_token"])
        answers = at_once(server, [refresh, refresh, logout, refresh, refresh, refresh, refresh, refresh])
        assert Counter(answer.status for answer in answers)[204] == 1
        issued = [answer.json() for answer in answers if answer.status == 200]
        assert {answer.status for answer in answers} <= {200, 204, 401}
        for each in [tokens, *issued]:
            assert server.refresh(each["refresh_token"]).status == 401
            assert server.get("/guarded", token=each["access_token"]).code == "session_ended"
    assert server.rows("SELECT count(*) FROM limen_sessions") == [(0,)]


def test_logout_everywhere_races_logins_and_refreshes(server: Server) -> None:
    """What was issued before the sessions ended is dead after it; what a later login got works."""
    server.register("client")
    for _ in range(5):
        first, second = server.log_in("client"), server.log_in("client")
        everywhere = b"POST /auth/logout-all HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n"
        everywhere += b"Authorization: Bearer " + first["access_token"].encode() + b"\r\n\r\n"
        answers = at_once(server, [server.refresh_bytes(second["refresh_token"]), everywhere])
        assert answers[1].status == 204
        issued = [answer.json() for answer in answers if answer.status == 200]
        for each in [first, second, *issued]:
            assert server.refresh(each["refresh_token"]).status == 401
            assert server.get("/guarded", token=each["access_token"]).code == "session_ended"
    assert server.get("/guarded", token=server.log_in("client")["access_token"]).status == 200
