"""The short list of sessions that ended while access tokens of theirs may still be alive."""


class EndedSessions(dict[str, int]):
    """Ids of ended sessions, each with the time until which it is kept: no access token of it can be alive then.

    Every use of a token asks this list, also for a token whose claims are in a cache; so it is a dict, and is asked
    without a call.
    """

    def add(self, sid: str, keep_until_ms: int) -> None:
        """List a session as ended until this time (milliseconds since 1970 UTC)."""
        self[sid] = max(keep_until_ms, self.get(sid, 0))

    def forget_before(self, now_ms: int) -> None:
        """Drop what no living access token can belong to any more."""
        for sid in [sid for sid, keep_until in self.items() if keep_until <= now_ms]:
            del self[sid]
