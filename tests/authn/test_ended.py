"""The list of ended sessions."""

from limen.authn.ended import EndedSessions


def test_a_listed_session_is_ended_until_its_time() -> None:
    """An entry stays until no access token of its session can be alive, and not longer."""
    ended = EndedSessions()
    ended.add("a", 1_000)
    ended.add("b", 2_000)
    assert [sid in ended for sid in "abc"] == [True, True, False]
    ended.forget_before(1_000)
    assert [sid in ended for sid in "ab"] == [False, True]
    assert len(ended) == 1


def test_listing_again_never_shortens() -> None:
    """An entry read again with an earlier end keeps the later one."""
    ended = EndedSessions()
    ended.add("a", 2_000)
    ended.add("a", 1_000)
    ended.forget_before(1_500)
    assert "a" in ended
