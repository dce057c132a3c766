"""Asks the servers at the end whether they still keep what a history says they acknowledged."""

import base64
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.history import CLOCK_MARGIN_SECONDS, Act, History, Line, contradictions, lines, possible_roles, read
from tests.faults.servers import Server
from tests.support.gates import PASSWORD

FELT_SECONDS = 4.0
"""Within which every process goes by what was acknowledged by another one."""


@dataclass
class Verdict:
    """What was found.

    Attributes:
        violations: broken promises, one sentence each.
        living: sessions whose newest token was tried and had to work.
        ended: sessions that had to be over.
        open_ended: sessions of which neither is certain.
        spent: spent tokens that were tried and had to be refused.
        stale: access tokens with roles of before that had to be refused.
        roles: accounts whose roles were compared.
    """

    violations: list[str] = field(default_factory=list)
    living: int = 0
    ended: int = 0
    open_ended: int = 0
    spent: int = 0
    stale: int = 0
    roles: int = 0


def claims(token: str) -> dict[str, Any]:
    """Return what an access or refresh token says, without a look at its signature."""
    body = token.split(".")[1]
    told: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return told


class Checker:
    """Checks one history against servers that all run and that nobody else uses any more.

    Args:
        history: what was written down.
        nodes: the servers on one database; each question goes to one of them, by the dice.
        leeway: LIMEN_REFRESH_LEEWAY, in seconds.
        seed: of the dice; told by who reports a failure.
        password: of all accounts.
        felt_seconds: to wait for after the last act.
    """

    def __init__(
        self,
        history: History,
        nodes: Sequence[Server],
        *,
        leeway: float,
        seed: int,
        password: str = PASSWORD,
        felt_seconds: float = FELT_SECONDS,
    ) -> None:
        self._history = history
        self._nodes = nodes
        self._leeway = leeway
        self._password = password
        self._felt_seconds = felt_seconds
        self._possible: dict[str, set[frozenset[str]]] = {}
        self._dice = random.Random(seed)
        self._verdict = Verdict()

    def check(self) -> Verdict:
        """Read the history, ask the servers, and return what was found; it spends and ends the sessions asked about."""
        acts = read(self._history.path)
        verdict = self._verdict
        verdict.violations += contradictions(acts, self._leeway)
        accounts = sorted({act.account for act in acts if act.kind == "roles"})
        self._possible = {account: possible_roles(acts, account) for account in accounts}
        known = lines(acts, self._leeway)
        if acts:
            last = max(act.asked if act.answered == float("inf") else act.answered for act in acts)
            time.sleep(max(0.0, last + self._felt_seconds - time.monotonic()))
        for line in known:
            self._check_stale(line)
        for line in known:
            self._check_line(line)
        for account in accounts:
            self._check_login(account, acts)
        return verdict

    def _node(self) -> Server:
        return self._dice.choice(self._nodes)

    def _broken(self, about: str, promise: str, *details: object) -> None:
        self._verdict.violations.append(" ".join([f"{about}: {promise}", *map(str, details)]))

    def _check_line(self, line: Line) -> None:
        newest = self._history.token(line.tokens()[-1])
        if any(line.is_certain(end) for end in line.ends):
            self._verdict.ended += 1
            self._check_ended(line, newest)
        elif line.ends or self._may_be_late(line):
            self._verdict.open_ended += 1
        else:
            self._verdict.living += 1
            self._check_living(line, newest)

    def _may_be_late(self, line: Line) -> bool:
        """Say whether the newest token was presented so long ago that a retry is reuse, or a spent one was already."""
        newest = line.tokens()[-1]
        now = time.monotonic()
        asked = [act for act in line.refreshes if act.token == newest]
        if any(now - act.asked > self._leeway - CLOCK_MARGIN_SECONDS for act in asked):
            return True
        return any(line.may_be_reuse(act) for act in line.refreshes)

    def _check_ended(self, line: Line, newest: str) -> None:
        about = f"session {line.session}"
        answer = self._node().refresh(newest)
        if answer.status != 401:
            self._broken(about, "its end was acknowledged, and its refresh token works:", answer.status)
        for node in self._nodes:
            for access in self._history.access_tokens(line.session):
                status = node.get("/auth/me", token=access).status
                if status != 401:
                    self._broken(about, f"its end was acknowledged, and port {node.port} takes its token:", status)

    def _check_living(self, line: Line, newest: str) -> None:
        about = f"session {line.session}"
        answer = self._node().refresh(newest)
        if answer.status != 200:
            self._broken(about, "its newest acknowledged token is refused:", answer.status, answer.code)
            return
        current = answer.json()["refresh_token"]
        self._check_roles(line.account, answer.json()["access_token"])
        older = line.tokens()[:-1]
        if not older:
            return
        self._verdict.spent += 1
        # After this refresh the newest is the parent, and all before it are spent for good, whatever the leeway.
        answer = self._node().refresh(self._history.token(self._dice.choice(older)))
        if answer.status != 401:
            self._broken(about, "a spent token works:", answer.status)
        answer = self._node().refresh(current)
        if answer.status != 401:
            self._broken(about, "it went on after a spent token:", answer.status)

    def _check_stale(self, line: Line) -> None:
        """Access tokens that bear other roles than the account has now are refused by every node."""
        possible = self._possible.get(line.account)
        for access in self._history.access_tokens(line.session):
            if not possible or frozenset(claims(access)["roles"]) in possible:
                continue
            self._verdict.stale += 1
            for node in self._nodes:
                status = node.get("/auth/me", token=access).status
                if status != 401:
                    self._broken(f"account {line.account}", f"port {node.port} takes a token of other roles:", status)

    def _check_roles(self, account: str, access: str) -> None:
        """A fresh access token bears the roles that were acknowledged last."""
        possible = self._possible.get(account)
        given = frozenset(claims(access)["roles"])
        if possible and given not in possible:
            told = " or ".join(str(sorted(roles)) for roles in possible)
            self._broken(f"account {account}", f"has the roles {sorted(given)}, acknowledged were", told)

    def _check_login(self, account: str, acts: Sequence[Act]) -> None:
        self._verdict.roles += 1
        answer = self._node().post("/auth/login", {"username": account, "password": self._password})
        if answer.status == 200:
            self._check_roles(account, answer.json()["access_token"])
        elif not any(act.kind == "end" and act.account == account and act.outcome != "refused" for act in acts):
            self._broken(f"account {account}", "cannot log in:", answer.status, answer.code)
