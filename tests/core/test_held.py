"""What an account holds, as one set: names, what was granted beside them, and when something ends."""

import pytest

from limen.core.held import Held, counting, ends_of, given, held_at, joined, lasting, read, split

NAMES = frozenset({"maker", "checker"})


def gives(roles: frozenset[str]) -> frozenset[str]:
    """Give each role one permission."""
    return frozenset(f"order:{role}" for role in roles)


def test_what_a_store_says_is_read() -> None:
    """Roles, permissions, and the ends of some of them."""
    held = read(["maker", "checker@5000", "+order:read", "+order:approve@7000"])
    assert held == {"maker", "checker", "+order:read", "+order:approve"}
    assert ends_of(held) == {"checker": 5000, "+order:approve": 7000}
    roles, direct = split(held)
    assert roles == {"maker", "checker"}
    assert direct == {"order:read", "order:approve"}
    assert joined(*split(held)) == held


def test_what_has_no_end_is_a_plain_set() -> None:
    """It is shared, compared and remembered as any other."""
    held = read(["maker"])
    assert type(held) is frozenset
    assert ends_of(held) == {}
    assert held_at(held, 10**15) is held


@pytest.mark.parametrize(
    ("moment", "expected"),
    [(4_999, {"maker", "checker"}), (5_000, {"maker"}), (0, {"maker", "checker"})],
)
def test_what_is_over_at_a_moment_is_left_out(moment: int, expected: set[str]) -> None:
    """At its end something is over, not after it; and what was read late is the same as what was held then."""
    held = read(["maker", "checker@5000"])
    assert held_at(held, moment) == expected
    assert read(["maker", "checker@5000"], moment) == expected
    assert set(ends_of(held_at(held, moment))) == expected - {"maker"}


@pytest.mark.parametrize(("until", "expected"), [(None, {"maker"}), (5_000, {"maker", "checker"}), (5_001, {"maker"})])
def test_what_lasts_until_a_time(until: int | None, expected: set[str]) -> None:
    """For good is longer than any time."""
    assert lasting(read(["maker", "checker@5000"]), until) == expected


def test_a_set_with_ends_is_the_same_as_one_without() -> None:
    """What compares two of them compares what is held."""
    assert Held({"maker"}, {"maker": 5_000}) == frozenset({"maker"})
    assert hash(Held({"maker"}, {"maker": 5_000})) == hash(frozenset({"maker"}))


def test_what_is_given() -> None:
    """The roles that exist, what they give, and what was granted beside them; where no roles are known, all of them."""
    held = frozenset({"maker", "stranger", "+order:read"})
    told = [tuple(map(set, given(held, names, gives))) for names in (NAMES, frozenset())]
    assert told == [
        ({"maker"}, {"order:maker", "order:read"}),
        ({"maker", "stranger"}, {"order:maker", "order:stranger", "order:read"}),
    ]


def test_a_role_that_looks_like_a_permission_gives_none_by_itself() -> None:
    """Only what the database says was granted is taken for granted: what others state are names of roles."""
    assert counting(frozenset({"+order:approve", "maker"}), NAMES) == {"maker"}
    assert counting(frozenset({"+order:approve"}), frozenset()) == {"+order:approve"}
    assert gives(counting(frozenset({"+order:approve"}), NAMES)) == frozenset()
