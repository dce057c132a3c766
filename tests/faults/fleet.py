"""Several servers on one database, and clients that write down what they are told."""

import json
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.faults.checker import claims
from tests.faults.history import History, Open
from tests.faults.servers import ROOT, Nursery, Server
from tests.faults.wire import Answer, Unanswered, call
from tests.support.gates import PASSWORD
from tests.support.processes import uncounted

MAY_BE_DONE = (500, 502, 503, 504)
"""Answers after which nobody knows whether it was done."""
INSISTENCE_SECONDS = 60.0


class Fleet:
    """Servers that have one database and one set of secrets, as the workers and nodes of an installation do.

    Args:
        nurseries: where their processes come from, in turn: one with a clock of its own makes nodes with that clock.
        folder: for what they write.
        database_url: of the database that they share.
        size: how many.
        application: ``serve``, the stand-alone server, or ``faults``, an application.
        settings: of limen, by their lower-case names.
    """

    def __init__(
        self,
        nurseries: Sequence[Nursery],
        folder: Path,
        database_url: str,
        size: int,
        *,
        application: str = "serve",
        **settings: str,
    ) -> None:
        shared = {
            "database_url": database_url,
            "jwt_access_secret": secrets.token_urlsafe(48),
            "jwt_refresh_secret": secrets.token_urlsafe(48),
            # Otherwise each would name itself after its own database or port.
            "issuer": "limen-of-the-tests",
            "audience": "limen-of-the-tests",
        }
        self.settings = {**shared, **settings}
        self.nodes = []
        for number in range(size):
            place = folder / f"node-{number}"
            place.mkdir()
            nursery = nurseries[number % len(nurseries)]
            self.nodes.append(Server(nursery, place, one_core=False, application=application, **self.settings))

    def start(self) -> None:
        """Start all that do not run, at the same moment, and wait until they answer."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(Server.start, [node for node in self.nodes if not node.pid]))

    def make_administrator(self, name: str, *, role: str = "admin") -> str:
        """Make an account that administers, by the command line as an operator does; return its id."""
        command = [sys.executable, "-m", "limen.cli", "accounts", "create", name, "--role", role, "--password-stdin"]
        done = subprocess.run(
            [*command, "--json"],
            cwd=ROOT,
            env={**uncounted(), **self.nodes[0].environment},
            input=PASSWORD + "\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["id"])

    def close(self) -> None:
        """End all."""
        for node in self.nodes:
            node.close()

    def output(self) -> str:
        """Return everything that the nodes wrote."""
        return "\n".join(node.output() for node in self.nodes)


@contextmanager
def running_fleet(
    nurseries: Sequence[Nursery],
    folder: Path,
    database_url: str,
    size: int,
    *,
    application: str = "serve",
    **settings: str,
) -> Iterator[Fleet]:
    """Run servers on one database for as long as the context lasts."""
    fleet = Fleet(nurseries, folder, database_url, size, application=application, **settings)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()


class Session:
    """A session as its client knows it: the newest tokens that it was given."""

    def __init__(self, account: str, tokens: dict[str, str]) -> None:
        self.account = account
        self.id = str(claims(tokens["access_token"])["sid"])
        self.refresh_token = tokens["refresh_token"]
        self.access_token = tokens["access_token"]


class Witness:
    """A client of several servers: asks one of them, by the dice, and writes down what was asked and answered.

    Its methods return None where the outcome is unknown, because the server was gone or could not say.

    Attributes:
        answers: every answer, and how long it took, in seconds.
        unanswered: how many requests had none.
    """

    def __init__(self, history: History, nodes: Sequence[Server], *, seed: int) -> None:
        self._history = history
        self._nodes = nodes
        self._dice = random.Random(seed)
        self.answers: list[tuple[Answer, float]] = []
        self.unanswered = 0

    def _ask(self, act: Open, method: str, path: str, **parts: object) -> Answer | None:
        """Send a request; tell the act of a refusal, and leave it unknown where nobody knows."""
        answer = self._call(method, path, **parts)
        if answer is None or answer.status in MAY_BE_DONE:
            return None
        if answer.status >= 400:
            act.refused(answer.code)
        return answer

    def _call(self, method: str, path: str, **parts: object) -> Answer | None:
        began = time.monotonic()
        try:
            answer = call(self._dice.choice(self._nodes).port, method, path, **parts)
        except Unanswered:
            self.unanswered += 1
            return None
        self.answers.append((answer, time.monotonic() - began))
        return answer

    def log_in(self, account: str, password: str = PASSWORD) -> Session | None:
        """Open a session."""
        with self._history.act("login", account) as act:
            body = {"username": account, "password": password}
            answer = self._ask(act, "POST", "/auth/login", json_body=body)
            if answer is None or answer.status != 200:
                return None
            session = Session(account, answer.json())
            act.done(session=session.id, successor=self._keep(session))
            return session

    def _keep(self, session: Session) -> str:
        self._history.keep_access(session.id, session.access_token)
        return self._history.keep(session.refresh_token)

    def refresh(self, session: Session) -> bool | None:
        """Refresh a session with its newest token; it then has the new ones."""
        presented = self._history.keep(session.refresh_token)
        with self._history.act("refresh", session.account, session=session.id, token=presented) as act:
            body = {"refresh_token": session.refresh_token}
            answer = self._ask(act, "POST", "/auth/refresh", json_body=body)
            if answer is None:
                return None
            if answer.status != 200:
                return False
            tokens = answer.json()
            session.refresh_token, session.access_token = tokens["refresh_token"], tokens["access_token"]
            act.done(successor=self._keep(session))
            return True

    def log_out(self, session: Session) -> bool | None:
        """End a session with its newest token."""
        with self._history.act("logout", session.account, session=session.id) as act:
            body = {"refresh_token": session.refresh_token}
            return self._told(act, self._ask(act, "POST", "/auth/logout", json_body=body))

    def end_all(self, session: Session) -> bool | None:
        """End every session of an account, by its own token."""
        with self._history.act("end", session.account) as act:
            return self._told(act, self._ask(act, "POST", "/auth/logout-all", token=session.access_token))

    def administer(self, account: str, account_id: str, verb: str, *, by: Session) -> bool | None:
        """Disable or block an account, or end its sessions (``end-sessions``), which ends them all."""
        with self._history.act("end", account) as act:
            path = f"/admin/api/accounts/{account_id}/{verb}"
            return self._told(act, self._ask(act, "POST", path, token=by.access_token))

    def set_roles(self, account: str, account_id: str, roles: Iterable[str], *, by: Session) -> bool | None:
        """Give an account exactly these roles."""
        wanted = sorted(roles)
        with self._history.act("roles", account, roles=wanted) as act:
            path, body = f"/admin/api/accounts/{account_id}", {"roles": wanted}
            return self._told(act, self._ask(act, "PATCH", path, json_body=body, token=by.access_token))

    def insist(self, path: str, *, by: Session) -> None:
        """Ask for what may be done twice until somebody says yes or no; it is not written down."""
        deadline = time.monotonic() + INSISTENCE_SECONDS
        while (answer := self._call("POST", path, token=by.access_token)) is None or answer.status in MAY_BE_DONE:
            assert time.monotonic() < deadline, f"no answer to {path}"
            time.sleep(0.01)

    @staticmethod
    def _told(act: Open, answer: Answer | None) -> bool | None:
        if answer is None:
            return None
        if answer.status >= 400:
            return False
        act.done()
        return True
