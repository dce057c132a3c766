"""What clients asked of limen and what they were told, in a file, and what in it contradicts limen's promises.

An act is written down before it is asked, and again when its outcome is known. An act without an answer, or answered by
503, may have been done or not: both are right. Tokens stand in the file as digests; those who present them again take
them from `History.token`.
"""

import hashlib
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Kind = Literal["login", "refresh", "logout", "end", "roles"]
Outcome = Literal["done", "refused", "unknown"]

CLOCK_MARGIN_SECONDS = 2.0
"""By which limen's own judgement of the leeway is wider than the leeway (a clock that steps back)."""


@dataclass(frozen=True, slots=True)
class Act:
    """One request and what came of it.

    Attributes:
        number: in the order of asking.
        kind: ``login``, ``refresh``, ``logout`` (of one session), ``end`` (of all of an account's), ``roles`` (set).
        account: whose.
        asked: when, in seconds of this machine's monotonic clock.
        session: its id, where it is known.
        token: digest of the refresh token that was presented.
        successor: digest of the refresh token that was given.
        roles: that the account was to have.
        answered: when the outcome was known; infinity where it never was.
        outcome: ``done`` (acknowledged), ``refused``, or ``unknown``.
        code: of the refusal.
    """

    number: int
    kind: Kind
    account: str
    asked: float
    session: str = ""
    token: str = ""
    successor: str = ""
    roles: frozenset[str] = frozenset()
    answered: float = float("inf")
    outcome: Outcome = "unknown"
    code: str = ""

    def is_before(self, other: "Act") -> bool:
        """Say whether this was over when the other began: what overlaps has no order."""
        return self.answered < other.asked


def digest(token: str) -> str:
    """Return what stands for a token in the file."""
    return hashlib.sha256(token.encode()).hexdigest()


class Open:
    """An act whose outcome is to be told; untold it is unknown."""

    def __init__(self) -> None:
        self.outcome: Outcome = "unknown"
        self.told: dict[str, str] = {}

    def done(self, **told: str) -> None:
        """It was acknowledged; ``session`` and ``successor`` where the answer told them."""
        self.outcome, self.told = "done", told

    def refused(self, code: str) -> None:
        """It was refused."""
        self.outcome, self.told = "refused", {"code": code}


class History:
    """Writes acts into a file, for any number of threads; the file is whole after each line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()
        self._number = 0
        self._tokens: dict[str, str] = {}
        self._access: dict[str, tuple[str, ...]] = {}

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def keep(self, token: str) -> str:
        """Remember a token and return its digest."""
        name = digest(token)
        self._tokens[name] = token
        return name

    def keep_access(self, session: str, token: str) -> None:
        """Remember the newest access token of a session, and the first one."""
        first, *_ = self._access.get(session, (token,))
        self._access[session] = (first, token)

    def access_tokens(self, session: str) -> tuple[str, ...]:
        """Return the first and the newest access token of a session."""
        return self._access.get(session, ())

    def token(self, name: str) -> str:
        """Return the token of a digest."""
        return self._tokens[name]

    def created(self, account: str, roles: Iterable[str] = ()) -> None:
        """Write down that an account is there, and the roles that it has from the beginning."""
        with self.act("roles", account, roles=roles) as act:
            act.done()

    @contextmanager
    def act(
        self, kind: Kind, account: str, *, session: str = "", token: str = "", roles: Iterable[str] = ()
    ) -> Iterator[Open]:
        """Write down that something is asked now, and at the end of the block what came of it."""
        with self._lock:
            self._number += 1
            number = self._number
        asked = {"number": number, "kind": kind, "account": account, "asked": time.monotonic(), "session": session}
        self._write({**asked, "token": token, "roles": sorted(roles)})
        opened = Open()
        try:
            yield opened
        finally:
            self._write(
                {"number": number, "answered": time.monotonic(), "outcome": opened.outcome, **opened.told},
            )

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line).encode() + b"\n"
        # One write: the lines of several threads, and of a process that is killed, stay whole.
        assert os.write(self._file, text) == len(text)


def read(path: Path) -> list[Act]:
    """Return the acts of a file, in the order in which they were asked."""
    found: dict[int, Act] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        number = told.pop("number")
        if "kind" in told:
            found[number] = Act(number=number, **{**told, "roles": frozenset(told["roles"])})
        else:
            found[number] = replace(found[number], **told)
    return sorted(found.values(), key=lambda act: act.number)


@dataclass(frozen=True, slots=True)
class Line:
    """One session as its acts tell it.

    Attributes:
        session: its id.
        account: whose.
        acts: its login, its refreshes and its logouts, and the ends of all of the account's sessions.
        leeway: in seconds, the time for which a spent token is still answered by its successor.
    """

    session: str
    account: str
    acts: tuple[Act, ...]
    leeway: float

    @property
    def login(self) -> Act:
        """Return the act that opened it."""
        return next(act for act in self.acts if act.kind == "login")

    @property
    def refreshes(self) -> list[Act]:
        """Return its refreshes."""
        return [act for act in self.acts if act.kind == "refresh"]

    @property
    def ends(self) -> list[Act]:
        """Return what ended it or may have; what was over before it began, or was refused, did not."""
        ends = [act for act in self.acts if act.kind in ("logout", "end") and act.outcome != "refused"]
        return [act for act in ends if not act.is_before(self.login)]

    def is_certain(self, end: Act) -> bool:
        """Say whether an end certainly ended it: it was acknowledged, and asked when the session was there."""
        return end.outcome == "done" and self.login.is_before(end)

    def tokens(self) -> list[str]:
        """Return the digests of its acknowledged tokens, in the order of their descent: the last one is the newest."""
        successors = {act.token: act.successor for act in self.refreshes if act.outcome == "done"}
        line = [self.login.successor]
        while line[-1] in successors and successors[line[-1]] not in line:
            line.append(successors[line[-1]])
        return line

    def was_spent(self, token: str, at: Act) -> bool:
        """Say whether a token was certainly spent when an act began: replaced, and no longer to be answered."""
        replaced = [act for act in self.refreshes if act.token == token and act.outcome == "done"]
        if not replaced:
            return False
        first = min(act.answered for act in replaced)
        if at.asked > first + self.leeway + CLOCK_MARGIN_SECONDS:
            return True
        successors = {act.successor for act in replaced}
        return any(act.token in successors and act.outcome == "done" and act.is_before(at) for act in self.refreshes)

    def may_be_reuse(self, act: Act) -> bool:
        """Say whether a refresh may have looked like reuse, which ends the session.

        It may if another one may have replaced its token before, and either that may be longer ago than the leeway, or
        the successor may have been replaced as well.
        """
        rivals = [
            other
            for other in self.refreshes
            if other.token == act.token
            and other is not act
            and other.outcome != "refused"
            and other.asked < act.answered
        ]
        if any(act.answered - other.asked > self.leeway - CLOCK_MARGIN_SECONDS for other in rivals):
            return True
        successors = {other.successor for other in (*rivals, act) if other.outcome == "done"}
        return any(
            other.token in successors and other.outcome != "refused" and other.asked < act.answered
            for other in self.refreshes
        )


def lines(acts: Iterable[Act], leeway: float) -> list[Line]:
    """Return the sessions of a history; one whose login was not acknowledged is nobody's and not among them."""
    acts = list(acts)
    by_session: dict[str, list[Act]] = defaultdict(list)
    ends: dict[str, list[Act]] = defaultdict(list)
    for act in acts:
        if act.kind == "end":
            ends[act.account].append(act)
        elif act.session:
            by_session[act.session].append(act)
    found = []
    for session, own in by_session.items():
        opened = [act for act in own if act.kind == "login" and act.outcome == "done"]
        if opened:
            account = opened[0].account
            found.append(Line(session, account, tuple(own + ends[account]), leeway))
    return found


def contradictions(acts: Iterable[Act], leeway: float) -> list[str]:
    """Return what in a history cannot have happened if limen keeps its promises, one sentence each."""
    acts = list(acts)
    found = []
    for line in lines(acts, leeway):
        found += [f"session {line.session}: {text}" for text in _of_line(line)]
    opened = [act.session for act in acts if act.kind == "login" and act.outcome == "done"]
    found += [f"session {session} was opened twice" for session in set(opened) if opened.count(session) > 1]
    return found


def _of_line(line: Line) -> Iterator[str]:
    successors: dict[str, str] = {}
    ends = [end for end in line.ends if line.is_certain(end)]
    suspicious = [act for act in line.refreshes if line.may_be_reuse(act)]
    for act in line.refreshes:
        if act.outcome == "done":
            if successors.setdefault(act.token, act.successor) != act.successor:
                yield f"act {act.number}: a second successor of one token"
            if act.successor == act.token:
                yield f"act {act.number}: a token that replaces itself"
            if line.was_spent(act.token, act):
                yield f"act {act.number}: a spent token worked"
            yield from (
                f"act {act.number}: refreshed although act {end.number} had ended it"
                for end in ends
                if end.is_before(act)
            )
        elif act.outcome == "refused":
            ended = any(end.asked < act.answered for end in line.ends)
            reused = any(one.asked < act.answered for one in suspicious)
            if not ended and not reused:
                yield f"act {act.number}: refused ({act.code}) although nothing had ended it"


def possible_roles(acts: Iterable[Act], account: str) -> set[frozenset[str]]:
    """Return the sets of roles that an account may have after all its acts; empty where nobody set any.

    An acknowledged change holds until another one that is not over before it; an unknown one may have been done.
    """
    changes = [act for act in acts if act.kind == "roles" and act.account == account and act.outcome != "refused"]
    done = [act for act in changes if act.outcome == "done"]
    return {act.roles for act in changes if not any(act.is_before(later) for later in done)}
