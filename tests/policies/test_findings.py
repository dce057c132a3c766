"""What `limen policy lint` says of a set that can be loaded."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from limen import PolicySet, Principal, PrincipalKind, allow, context, deny, python, resource, subject
from limen.authz.engine import Policies
from limen.authz.findings import Finding, RouteFacts, Severity, lint
from limen.authz.policy.rules import Rule


@dataclass
class User:
    id: str
    limit: int
    department: str | None


@dataclass
class Paper:
    owner_id: str
    reader_id: str | None
    closed_at: datetime | None
    pages: int


class Base(DeclarativeBase):
    pass


class Team(Base):
    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)
    lead_id: Mapped[str]


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"))
    team: Mapped[Team | None] = relationship()


class Forgotten(Base):
    __tablename__ = "forgotten"
    id: Mapped[int] = mapped_column(primary_key=True)


U, P, T, C = subject(User), resource(Paper), resource(Task), context(address=str)
READ = allow("paper:read", P.owner_id == U.id, id="own")


def found(*rules: Rule, **more: object) -> list[Finding]:
    """Lint rules beside one that allows."""
    return lint(Policies.load(PolicySet([READ, *rules], **more)))  # type: ignore[arg-type]


def codes(*rules: Rule, **more: object) -> list[str]:
    """Return the codes of what is found."""
    return [finding.code for finding in found(*rules, **more)]


def test_a_plain_policy_has_no_finding() -> None:
    """Nothing is said of rules that read only what is always there."""
    assert found(deny("paper:read", P.pages > 10, id="long"), deny("paper:read", U.limit < 1, id="none")) == []


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (deny("paper:read", P.closed_at < datetime(2026, 1, 1, tzinfo=UTC), id="x"), "Paper.closed_at"),
        (deny("paper:read", (P.pages > 3) & ~(P.reader_id == "a"), id="x"), "Paper.reader_id"),
        (
            deny("paper:read", (P.reader_id == "a") | P.reader_id.is_not_null() & (P.pages > 3), id="x"),
            "Paper.reader_id",
        ),
        (deny("paper:read", U.department == "sales", id="x"), "subject.department"),
        (deny("paper:read", (P.reader_id == U.department) & P.reader_id.is_not_null(), id="x"), "subject.department"),
    ],
    ids=["time", "negated", "other-branch", "subject", "half-guarded"],
)
def test_a_deny_that_reads_what_may_be_missing(rule: Rule, name: str) -> None:
    """It is an error that names the field, and says how to write it."""
    (finding,) = found(rule)
    assert (finding.code, finding.severity, finding.where) == ("LP001", Severity.ERROR, "deny x")
    assert f"{name}, which may be missing" in finding.message
    assert f"{name}.is_not_null() &" in finding.remedy
    assert 'unknown="deny"' in finding.remedy


@pytest.mark.parametrize(
    "rule",
    [
        deny("paper:read", P.reader_id.is_not_null() & (P.reader_id == "a"), id="x"),
        deny("paper:read", (P.pages > 3) & P.reader_id.is_not_null() & ((P.reader_id == "a") | (P.pages > 9)), id="x"),
        deny("paper:read", P.reader_id == "a", id="x", unknown="deny"),
        deny("paper:read", P.reader_id.is_null(), id="x"),
    ],
    ids=["guarded", "guarded-above", "meant", "asks-for-it"],
)
def test_a_deny_that_says_what_missing_means(rule: Rule) -> None:
    """Whoever guards it, or says that it is meant, is left in peace."""
    assert found(rule) == []


def test_a_guard_is_true_to_the_engine() -> None:
    """What the finding advises lets a row without the value through, and what it warns of denies it."""
    allowed = allow("paper:read", id="all")
    warned = Policies.load([allowed, deny("paper:read", P.reader_id == "a", id="x")])
    guarded = Policies.load([allowed, deny("paper:read", P.reader_id.is_not_null() & (P.reader_id == "a"), id="x")])
    ann = Principal("a", PrincipalKind.PERSON)
    paper = Paper("b", None, None, 1)
    assert not warned.can(ann, "paper:read", paper)
    assert guarded.can(ann, "paper:read", paper)


def test_a_relation_that_may_be_missing_counts() -> None:
    """A field of another row is missing where the row is."""
    task = allow("task:read", T.id > 0, id="tasks")
    (finding,) = found(task, deny("task:read", T.team.lead_id == "a", id="x"))
    assert finding.code == "LP001"
    assert "Task.team.lead_id" in finding.message


def test_a_deny_on_context_that_is_not_told_everywhere() -> None:
    """An error, until the set says that every entrance tells it; the time is told everywhere."""
    rule = deny("paper:read", C.address == "192.0.2.1", id="x")
    assert codes(rule) == ["LP002"]
    assert codes(rule, context=["address"]) == []
    assert codes(deny("paper:read", C.now < C.now, id="x")) == []


def test_an_allow_that_excludes_what_may_be_missing() -> None:
    """A warning: where the reader is missing, «another reader» does not hold."""
    (finding,) = found(allow("paper:read", P.reader_id != "a", id="x"))
    assert (finding.code, finding.severity) == ("LP003", Severity.WARNING)
    assert codes(allow("paper:read", P.reader_id.not_in(["a"]), id="x")) == ["LP003"]
    assert codes(allow("paper:read", ~(P.reader_id == "a"), id="x")) == ["LP003"]


def test_a_route_that_asks_only_for_the_name() -> None:
    """A warning where rules are about the resource, and none where the policy is asked as well."""
    policies = Policies.load([READ, allow("paper:list", U.has_role("reader"), id="list")])
    routes = [
        RouteFacts("GET /papers/{id}", frozenset({"paper:read"})),
        RouteFacts("GET /papers", frozenset({"paper:list"})),
        RouteFacts("GET /other/{id}", frozenset({"paper:read"}), frozenset({"paper:read"})),
    ]
    (finding,) = lint(policies, routes=routes)
    assert (finding.code, finding.where) == ("LP004", "GET /papers/{id}")


def test_models_that_nobody_filters() -> None:
    """Where some models have a read action, those of the same registry without one are listed."""
    rules = [allow("task:read", T.id > 0, id="tasks")]
    found = lint(Policies.load(PolicySet(rules, reads={Task: "task:read"})))
    assert [(finding.code, finding.where) for finding in found] == [("LP005", "Forgotten"), ("LP005", "Team")]


def test_rules_that_do_nothing_or_everything() -> None:
    """A condition that is never true, and a deny without one, deserve a look."""
    assert codes(allow("paper:read", P.pages.in_([]), id="x")) == ["LP006"]
    assert codes(deny("paper:read", id="x")) == ["LP007"]


def test_functions_are_left_alone() -> None:
    """What a function of the application's own reads nobody knows."""
    assert codes(deny("paper:read", python(lambda _subject, _paper, _context: False), id="x")) == []
