"""The short list of accounts whose roles changed while access tokens with other roles may still be alive."""


class ChangedRoles(dict[str, frozenset[str]]):
    """Accounts by id, each with what it holds now (`limen.core.held`). A token that states anything else is stale.

    Every use of a token asks this list, also for a token whose claims are in a cache; so it is a dict, and is asked
    without a call.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keep_until: dict[str, int] = {}

    def note(self, account_id: str, roles: frozenset[str], keep_until_ms: int) -> None:
        """List an account with its roles of now, until this time (milliseconds since 1970 UTC)."""
        self._keep_until[account_id] = max(keep_until_ms, self._keep_until.get(account_id, 0))
        self[account_id] = roles

    def correct(self, account_id: str, roles: frozenset[str]) -> None:
        """Take over what was just read of an account, if it is listed.

        The list is read once a second: without this, a process that hands out a token with the roles of now could
        refuse it, for what it has last read of an account whose roles changed twice. What was read by a statement that
        began before a change is put right by the next reading, which goes back ten seconds.
        """
        if account_id in self:
            self[account_id] = roles

    def forget_before(self, now_ms: int) -> None:
        """Drop the accounts of which no living access token can state other roles any more."""
        for account_id in [each for each, keep_until in self._keep_until.items() if keep_until <= now_ms]:
            del self[account_id], self._keep_until[account_id]
