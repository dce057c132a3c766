"""What may get in, by a small model: people, their passwords, sessions, keys and mailed links."""

from dataclasses import dataclass, field
from typing import Final

LEEWAY: Final = 10
"""Seconds in which the token that was just replaced is answered once more."""
ACCESS_SECONDS: Final = 900
LINK_SECONDS: Final = 1800
OLD_SECRET_SECONDS: Final = 86_400


@dataclass(eq=False)
class Person:
    """An account."""

    id: str
    username: str
    email: str
    password: str
    former: list[str] = field(default_factory=list)
    status: str = "active"
    sessions: "list[Session]" = field(default_factory=list)
    keys: "list[Key]" = field(default_factory=list)
    links: "list[Link]" = field(default_factory=list)

    @property
    def is_active(self) -> bool:
        """Whether it may be used."""
        return self.status == "active"

    def end_sessions(self, *, but: "Session | None" = None) -> None:
        """All that is open ends, but for one."""
        for session in self.sessions:
            session.is_alive = session.is_alive and session is but

    def end_links(self) -> None:
        """No link that is on its way counts any more."""
        for link in self.links:
            link.is_good = False

    def take_password(self, password: str) -> None:
        """Another password is its own from now on."""
        self.former.append(self.password)
        self.password = password
        self.end_links()


@dataclass(eq=False)
class Session:
    """What a login opened."""

    person: Person
    refresh: list[str]
    access: list[tuple[str, float]]
    rotated_at: float
    is_alive: bool = True


@dataclass(eq=False)
class Key:
    """An API key: its secrets, each with the second from which on it is none."""

    person: Person
    id: str
    texts: list[tuple[str, float]]
    is_alive: bool = True


@dataclass(eq=False)
class Link:
    """What a mail carries."""

    person: Person
    token: str
    until: float
    is_good: bool = True
