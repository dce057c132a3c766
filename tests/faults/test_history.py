"""The checker finds every broken promise in a forged history, and none in a true one."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.checker import Checker, Verdict
from tests.faults.fleet import Session, Witness
from tests.faults.history import Act, History, contradictions, possible_roles, read
from tests.faults.servers import Server

LEEWAY = 10.0
LOGIN = Act(1, "login", "ann", 0.0, session="s", successor="a", answered=0.1, outcome="done")


def refresh(number: int, token: str, successor: str, asked: float, answered: float | None = None) -> Act:
    """An acknowledged refresh that took a tenth of a second."""
    ended = asked + 0.1 if answered is None else answered
    return Act(
        number, "refresh", "ann", asked, session="s", token=token, successor=successor, answered=ended, outcome="done"
    )


def unknown(act: Act) -> Act:
    """The same without an answer."""
    return replace(act, successor="", outcome="unknown")


def refused(act: Act) -> Act:
    """The same, refused."""
    return replace(act, successor="", outcome="refused", code="invalid_refresh_token")


def logout(number: int, asked: float) -> Act:
    """An acknowledged logout."""
    return Act(number, "logout", "ann", asked, session="s", answered=asked + 0.1, outcome="done")


def roles(number: int, asked: float, *names: str) -> Act:
    """An acknowledged change of roles."""
    return Act(number, "roles", "ann", asked, roles=frozenset(names), answered=asked + 0.1, outcome="done")


END_OF_ALL = Act(8, "end", "ann", 1.5, answered=1.6, outcome="done")

TRUE = {
    "a line of refreshes": [refresh(2, "a", "b", 1), refresh(3, "b", "c", 2)],
    "a retry that is restated": [unknown(refresh(2, "a", "", 1)), refresh(3, "a", "b", 2), refresh(4, "b", "c", 3)],
    "two at once with one successor": [refresh(2, "a", "b", 1, 2), refresh(3, "a", "b", 1.1, 2.1)],
    "refused after a logout": [logout(2, 1), refused(refresh(3, "a", "", 2))],
    "refused during a logout": [replace(logout(2, 1), answered=5.0), refused(refresh(3, "a", "", 2))],
    "refused after a logout without an answer": [
        replace(logout(2, 1), outcome="unknown"),
        refused(refresh(3, "a", "", 2)),
    ],
    "refreshed while it was logged out": [replace(logout(2, 1), answered=5.0), refresh(3, "a", "b", 2)],
    "refreshed after a logout that was refused": [replace(logout(2, 1), outcome="refused"), refresh(3, "a", "b", 2)],
    "refused after the end of all": [END_OF_ALL, refused(refresh(9, "a", "", 2))],
    "opened after the end of all": [
        END_OF_ALL,
        Act(9, "login", "ann", 2.0, session="t", successor="x", answered=2.1, outcome="done"),
        replace(refresh(10, "x", "y", 3), session="t"),
    ],
    "a retry that came too late": [unknown(refresh(2, "a", "", 1)), refused(refresh(3, "a", "", 11.5))],
    "a spent token ended it": [
        refresh(2, "a", "b", 1),
        refresh(3, "b", "c", 2),
        refused(refresh(4, "a", "", 3)),
        refused(refresh(5, "c", "", 4)),
    ],
}

REFUSED = "refused (invalid_refresh_token) although nothing had ended it"

FALSE = [
    ("a second successor", [refresh(2, "a", "b", 1), refresh(3, "a", "c", 2)]),
    # At once, too.
    ("a second successor", [refresh(2, "a", "b", 1, 3), refresh(3, "a", "c", 1.1, 3.1)]),
    ("a token that replaces itself", [refresh(2, "a", "a", 1)]),
    ("a spent token worked", [refresh(2, "a", "b", 1), refresh(3, "b", "c", 2), refresh(4, "a", "b", 3)]),
    # Its own successor is not spent; but the leeway is over.
    ("a spent token worked", [refresh(2, "a", "b", 1), refresh(3, "a", "b", 14)]),
    ("refreshed although act 2 had ended it", [logout(2, 1), refresh(3, "a", "b", 2)]),
    ("refreshed although act 8 had ended it", [END_OF_ALL, refresh(9, "a", "b", 2)]),
    (REFUSED, [refused(refresh(2, "a", "", 1))]),
    # A retry within the leeway.
    (REFUSED, [unknown(refresh(2, "a", "", 1)), refused(refresh(3, "a", "", 5))]),
    # Two at once.
    (REFUSED, [refresh(2, "a", "b", 1, 2), refused(refresh(3, "a", "", 1.1, 2.1))]),
    # A logout that came later, and an end of all from before the login.
    (REFUSED, [refused(refresh(2, "a", "", 1)), logout(3, 2)]),
    (REFUSED, [replace(END_OF_ALL, asked=-2.0, answered=-1.0), refused(refresh(9, "a", "", 2))]),
    # A spent token of another session.
    (REFUSED, [replace(refresh(2, "x", "y", 1), session="t"), refused(refresh(3, "a", "", 2))]),
    ("session s was opened twice", [replace(LOGIN, number=2, account="bob")]),
]


@pytest.mark.parametrize("acts", TRUE.values(), ids=TRUE)
def test_what_limen_promises_is_no_contradiction(acts: list[Act]) -> None:
    """What may happen, among kills and rivals, is not complained about."""
    assert contradictions([LOGIN, *acts], LEEWAY) == []


@pytest.mark.parametrize(("words", "acts"), FALSE)
def test_what_cannot_be_is_found(words: str, acts: list[Act]) -> None:
    """Each broken promise is named, once."""
    (found,) = contradictions([LOGIN, *acts], LEEWAY)
    assert words in found


def test_the_last_acknowledged_roles_hold() -> None:
    """Of changes one after the other the last counts; of changes at once each may; an unknown one may or may not."""
    first, second = roles(1, 1, "maker"), roles(2, 2, "checker")
    assert possible_roles([first, second], "ann") == {frozenset({"checker"})}
    assert possible_roles([first, replace(second, asked=1.05)], "ann") == {first.roles, second.roles}
    assert possible_roles([first, replace(second, outcome="unknown")], "ann") == {first.roles, second.roles}
    assert possible_roles([replace(first, outcome="unknown"), second], "ann") == {second.roles}
    assert possible_roles([first, replace(second, outcome="refused")], "ann") == {first.roles}
    assert possible_roles([first], "bob") == set()


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """An empty history."""
    made = History(tmp_path / "history.jsonl")
    yield made
    made.close()


def test_an_act_is_written_before_it_is_asked(history: History) -> None:
    """Whoever reads in the middle finds an act without an outcome, and no token in clear."""
    token = "header.payload.signature"
    with history.act("refresh", "ann", session="s", token=history.keep(token)) as act:
        (begun,) = read(history.path)
        assert (begun.kind, begun.outcome, begun.answered) == ("refresh", "unknown", float("inf"))
        act.done(successor=history.keep("next"))
    (ended,) = read(history.path)
    assert (ended.outcome, history.token(ended.successor)) == ("done", "next")
    assert begun.asked <= ended.answered <= time.monotonic()
    assert token not in history.path.read_text(encoding="utf-8")


def test_an_act_that_breaks_off_is_unknown(history: History) -> None:
    """An exception on the way to the answer leaves an act that may have been done."""
    with pytest.raises(ZeroDivisionError), history.act("logout", "ann", session="s"):
        raise ZeroDivisionError
    (act,) = read(history.path)
    assert act.outcome == "unknown"


Check = Callable[[], Verdict]


@pytest.fixture
def check(history: History, server: Server) -> Check:
    """Checks the history against a real server."""
    return Checker(history, [server], leeway=LEEWAY, seed=7, felt_seconds=0.0).check


@pytest.fixture
def witness(history: History, server: Server) -> Witness:
    """A client of that server."""
    return Witness(history, [server], seed=7)


@pytest.fixture
def session(history: History, server: Server, witness: Witness) -> Session:
    """A session that was refreshed three times."""
    server.register("ann")
    history.created("ann")
    opened = witness.log_in("ann")
    assert opened is not None
    assert [witness.refresh(opened) for _ in range(3)] == [True] * 3
    return opened


def test_a_true_history_is_clean(witness: Witness, session: Session, server: Server, check: Check) -> None:
    """Of one that lives, one that was logged out and one that lost its answer, all is as was acknowledged."""
    left = witness.log_in("ann")
    assert left is not None
    assert witness.log_out(left)
    unanswered = witness.log_in("ann")
    assert unanswered is not None
    server.kill()
    assert witness.refresh(unanswered) is None
    server.start()
    assert server.refresh(unanswered.refresh_token).status == 200
    verdict = check()
    assert verdict.violations == []
    counts = (verdict.living, verdict.ended, verdict.open_ended, verdict.spent, verdict.roles)
    assert counts == (2, 1, 0, 1, 1)


def test_a_logout_that_did_not_hold_is_found(history: History, session: Session, check: Check) -> None:
    """A logout that was acknowledged and never done: the refresh token and the access tokens that work are named."""
    with history.act("logout", "ann", session=session.id) as act:
        act.done()
    violations = check().violations
    assert any("its end was acknowledged, and its refresh token works" in text for text in violations)
    assert any("its end was acknowledged, and port" in text for text in violations)


def test_an_end_of_all_that_did_not_hold_is_found(history: History, session: Session, check: Check) -> None:
    """The same for the end of all sessions of an account."""
    with history.act("end", "ann") as act:
        act.done()
    assert any("its end was acknowledged" in text for text in check().violations)


def test_a_lost_refresh_is_found(history: History, session: Session, check: Check) -> None:
    """A refresh that was acknowledged and is not in the database: its token, which must work, is refused."""
    presented = history.keep(session.refresh_token)
    with history.act("refresh", "ann", session=session.id, token=presented) as act:
        act.done(successor=history.keep("a.token.nobody-knows"))
    (violation,) = check().violations
    assert "its newest acknowledged token is refused" in violation


def test_a_session_that_ended_without_a_word_is_found(server: Server, session: Session, check: Check) -> None:
    """A session that somebody else ended, past the history, counts as lost."""
    assert server.post("/auth/logout", {"refresh_token": session.refresh_token}).status == 204
    (violation,) = check().violations
    assert "its newest acknowledged token is refused" in violation


def test_a_spent_token_that_works_is_found(history: History, witness: Witness, server: Server, check: Check) -> None:
    """A token that the history calls spent and that the server takes is named, and so is a session that goes on."""
    server.register("ann")
    one, other = witness.log_in("ann"), witness.log_in("ann")
    assert one is not None
    assert other is not None
    # The first session's line ends in the second one's newest token: now its own, unspent one counts as spent.
    presented = history.keep(one.refresh_token)
    with history.act("refresh", "ann", session=one.id, token=presented) as act:
        act.done(successor=history.keep(other.refresh_token))
    violations = check().violations
    assert any(one.id in text and "a spent token works" in text for text in violations)
    assert any(one.id in text and "it went on after a spent token" in text for text in violations)


def test_roles_that_were_not_given_are_found(history: History, session: Session, check: Check) -> None:
    """A change of roles that was acknowledged and never done: new tokens bear others, old ones are taken."""
    with history.act("roles", "ann", roles=["checker"]) as act:
        act.done()
    violations = check().violations
    assert any("has the roles [], acknowledged were ['checker']" in text for text in violations)
    assert any("takes a token of other roles" in text for text in violations)


def test_what_is_late_is_neither(history: History, session: Session, server: Server) -> None:
    """A token that was presented longer ago than the leeway, without an answer, may live or not: nothing is claimed."""
    with history.act("refresh", "ann", session=session.id, token=history.keep(session.refresh_token)):
        pass
    verdict = Checker(history, [server], leeway=0.0, seed=7, felt_seconds=0.0).check()
    assert (verdict.violations, verdict.open_ended, verdict.living) == ([], 1, 0)
