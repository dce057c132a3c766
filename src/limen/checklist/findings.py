"""What a rule finds, and what a rule is."""

from enum import IntEnum

from msgspec import Struct

from limen.checklist.facts import Place


class Severity(IntEnum):
    """How bad a finding is; a greater one is worse."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @property
    def word(self) -> str:
        """As it is printed, and as ``--fail-on`` takes it."""
        return self.name.lower()


class Rule(Struct, frozen=True):
    """One question that is asked of every endpoint, or of every file.

    Attributes:
        id: the same in every version; a rule that goes leaves its number empty.
        severity: of what it finds, unless it says otherwise.
        title: what is wrong, as a few words.
        why: two sentences: what it means, and what somebody makes of it.
        fix: code that mends it.
        unseen: what the rule cannot see, so that nobody takes silence for proof.
    """

    id: str
    severity: Severity
    title: str
    why: str
    fix: str
    unseen: str


class Finding(Struct, frozen=True):
    """One thing to look at.

    Attributes:
        rule: what was asked.
        severity: how bad it is here.
        what: what was found, in one sentence.
        place: where.
        route: the path; empty for what is about a file, or the whole application.
        method: the HTTP methods of the route, with commas; ``WS`` for a WebSocket.
        subject: what it is about below that: a parameter, a field, a name; part of its identity in a baseline.
    """

    rule: Rule
    severity: Severity
    what: str
    place: Place = Place()
    route: str = ""
    method: str = ""
    subject: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str, str]:
        """What stays the same while lines move: rule, route, method, file, subject."""
        return self.rule.id, self.route, self.method, self.place.file, self.subject
