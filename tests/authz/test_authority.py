"""Acts that are judged: done where it still holds, judged anew where it does not, and recorded where refused."""

import pytest

from limen.authz.authority import ATTEMPTS, Authority, AuthorityMoved, judged
from limen.core.errors import (
    Conflict,
    InvalidInput,
    LimenError,
    NotFound,
    OwnRequest,
    PermissionRequired,
    Unavailable,
    UsernameTaken,
)
from limen.core.events import Event, EventName, Origin, Outcome

REFUSED = Event(EventName.ACCOUNT_DISABLED, actor="a", target="b", origin=Origin("r"), data={"roles": []})


class Act:
    """Somebody who acts while others change roles."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.judgements = 0
        self.records: list[Event] = []

    async def judge(self) -> Authority:
        """Read what it is judged by."""
        self.judgements += 1
        return Authority(self.judgements, "a", 1)

    async def attempt(self, authority: Authority | None) -> int:
        """Act, and answer what it was judged by."""
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        assert authority is not None
        return authority.catalogue

    async def record(self, event: Event) -> None:
        """Keep an event."""
        self.records.append(event)

    async def run(self) -> int:
        """Judge and act."""
        return await judged(self.judge, self.attempt, record=self.record, refused=REFUSED)


async def test_what_has_moved_is_judged_anew() -> None:
    """The act that is done is the one judged last, and nothing is recorded of those before."""
    act = Act(AuthorityMoved(), AuthorityMoved(), None)
    assert await act.run() == 3
    assert act.records == []


async def test_what_moves_each_time_is_given_up() -> None:
    """After five times it is 503, and no refusal."""
    act = Act(*[AuthorityMoved() for _ in range(ATTEMPTS)])
    with pytest.raises(Unavailable, match="being changed by others"):
        await act.run()
    assert (act.judgements, ATTEMPTS, act.records) == (5, 5, [])


@pytest.mark.parametrize("error", [PermissionRequired(), OwnRequest(), Conflict()], ids=lambda error: str(error.code))
async def test_a_refusal_is_recorded(error: LimenError) -> None:
    """Once, with who, on whom, from where and why; and it is raised as it was."""
    act = Act(AuthorityMoved(), error)
    with pytest.raises(type(error)) as raised:
        await act.run()
    assert raised.value is error
    (record,) = act.records
    assert (record.name, record.outcome, record.actor, record.target) == (REFUSED.name, Outcome.FAILURE, "a", "b")
    assert (record.origin, record.data) == (REFUSED.origin, {"roles": [], "reason": error.code})


@pytest.mark.parametrize(
    "error", [NotFound(), InvalidInput(), UsernameTaken(), Unavailable()], ids=lambda error: str(error.code)
)
async def test_what_is_no_refusal_is_not_recorded(error: LimenError) -> None:
    """A typing mistake, a name that is taken, a database that is away: the trail is of what somebody might not."""
    act = Act(error)
    with pytest.raises(type(error)):
        await act.run()
    assert act.records == []
