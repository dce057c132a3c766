"""Clients that keep several servers busy: they log in, refresh and leave, and one of them administers the others."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.faults.fleet import Fleet, Session, Witness
from tests.faults.history import History

LOGOUTS = 0.01
LOGINS = 0.1
PAUSE_SECONDS = 0.01
RIGHTS_PAUSE_SECONDS = 0.1
ENDS = 0.02
DISABLES = 0.02
SESSIONS = 6


@dataclass
class Client:
    """One account with several sessions, of which it refreshes one, or ends one, again and again."""

    witness: Witness
    account: str
    account_id: str
    dice: random.Random
    sessions: list[Session] = field(default_factory=list)

    def act_until(self, stop: threading.Event) -> None:
        """Do what clients do until told to stop; whose answer was lost is asked again."""
        while not stop.is_set():
            self.act()
            # Leaves the processors some time to start nodes in.
            time.sleep(self.dice.uniform(0, PAUSE_SECONDS))

    def act(self) -> None:
        """Do one thing."""
        opens = not self.sessions or (len(self.sessions) < SESSIONS and self.dice.random() < LOGINS)
        session = self.witness.log_in(self.account) if opens else self.dice.choice(self.sessions)
        if session is None:
            # Switched off just now, or nobody could say: a login costs a hash, so not at once.
            time.sleep(RIGHTS_PAUSE_SECONDS)
            return
        if session not in self.sessions:
            self.sessions.append(session)
        leaves = self.dice.random() < LOGOUTS
        outcome = self.witness.log_out(session) if leaves else self.witness.refresh(session)
        if outcome is False or (leaves and outcome):
            self.sessions.remove(session)


@dataclass
class Administrator:
    """Gives the others roles, ends their sessions, and switches them off and on."""

    witness: Witness
    own: Session
    others: Sequence[Client]
    roles: Sequence[str]
    dice: random.Random

    def act_until(self, stop: threading.Event) -> None:
        """Administer until told to stop; nobody is left switched off."""
        while not stop.is_set():
            self.act()
            time.sleep(self.dice.uniform(0, RIGHTS_PAUSE_SECONDS))

    def act(self) -> None:
        """Do one thing to one of the others."""
        other, chance = self.dice.choice(self.others), self.dice.random()
        if chance < DISABLES:
            self.witness.administer(
                other.account, other.account_id, self.dice.choice(("disable", "block")), by=self.own
            )
            for verb in ("enable", "unblock"):
                self.witness.insist(f"/admin/api/accounts/{other.account_id}/{verb}", by=self.own)
        elif chance < DISABLES + ENDS:
            self.witness.administer(other.account, other.account_id, "end-sessions", by=self.own)
        else:
            wanted = self.dice.sample(self.roles, self.dice.randint(0, len(self.roles)))
            self.witness.set_roles(other.account, other.account_id, wanted, by=self.own)


@dataclass
class Crowd:
    """Clients and, where there is one, their administrator."""

    clients: list[Client]
    administrator: Administrator | None = None

    @property
    def witnesses(self) -> list[Witness]:
        """Return who wrote the history."""
        found = [client.witness for client in self.clients]
        return [*found, self.administrator.witness] if self.administrator else found

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let them all act for as long as the context lasts."""
        stop = threading.Event()
        everyone: list[Client | Administrator] = [*self.clients, *([self.administrator] if self.administrator else [])]
        with ThreadPoolExecutor(len(everyone)) as pool:
            acting = [pool.submit(each.act_until, stop) for each in everyone]
            try:
                yield
            finally:
                stop.set()
            for each in acting:
                each.result(60)


def crowd_of(
    fleet: Fleet,
    history: History,
    dice: random.Random,
    *,
    size: int,
    roles: Sequence[str] = (),
    administrator_role: str = "admin",
) -> Crowd:
    """Make clients with their sessions, and with ``roles`` an administrator who gives and takes those."""
    clients = []
    for number in range(size):
        account = f"client-{number}"
        account_id = fleet.nodes[0].register(account)
        history.created(account)
        client = Client(_witness(fleet, history, dice), account, account_id, random.Random(dice.randrange(2**32)))
        opened = [client.witness.log_in(account) for _ in range(SESSIONS)]
        client.sessions = [session for session in opened if session is not None]
        clients.append(client)
    if not roles:
        return Crowd(clients)
    name = "administrator"
    fleet.make_administrator(name, role=administrator_role)
    witness = _witness(fleet, history, dice)
    own = witness.log_in(name)
    assert own is not None
    return Crowd(clients, Administrator(witness, own, clients, roles, random.Random(dice.randrange(2**32))))


def _witness(fleet: Fleet, history: History, dice: random.Random) -> Witness:
    return Witness(history, fleet.nodes, seed=dice.randrange(2**32))
