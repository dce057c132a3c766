"""The short list of sessions that ended while access tokens of theirs may still be alive."""


class EndedSessions:
    """Ids of ended sessions, each kept until no access token of it can be alive.

    Every use of a token asks this list, also for a token whose claims are in a cache.
    """

    def __init__(self) -> None:
        self._keep_until: dict[str, int] = {}

    def __contains__(self, sid: object) -> bool:
        return sid in self._keep_until

    def __len__(self) -> int:
        return len(self._keep_until)

    def add(self, sid: str, keep_until_ms: int) -> None:
        """List a session as ended until this time (milliseconds since 1970 UTC)."""
        self._keep_until[sid] = max(keep_until_ms, self._keep_until.get(sid, 0))

    def forget_before(self, now_ms: int) -> None:
        """Drop what no living access token can belong to any more."""
        over = [sid for sid, keep_until in self._keep_until.items() if keep_until <= now_ms]
        for sid in over:
            del self._keep_until[sid]
