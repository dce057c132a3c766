"""What mail asks of a database: an outbox."""

from typing import Protocol

from limen.authz.authority import Authority
from limen.core.events import Event
from limen.core.mails import ClaimedMail, NewMail


class MailStore(Protocol):
    """The outbox. Every verb is one transaction, and an event is written in it."""

    async def queue(self, mail: NewMail, event: Event, *, authority: Authority | None = None) -> bool:
        """Insert a mail to be sent; the same statements whether anybody has the address or not.

        False, and nothing written, where it is an account's that is no longer as the mail says. A link that an
        authority was given for ends where the account's roles are changed.

        Raises:
            AuthorityMoved: an authority over the mail's account was given, and does not hold any more.
        """
        ...

    async def claim(self, *, lease_ms: int) -> ClaimedMail | None:
        """Take the next mail whose time has come; None where there is none.

        However many processes ask, one gets it, for ``lease_ms``; then it can be taken again. It counts as an attempt.
        """
        ...

    async def finish(self, claimed: ClaimedMail) -> bool:
        """Note that it was sent, and forget to whom and what; False where the lease has passed to another process."""
        ...

    async def put_off(self, claimed: ClaimedMail, *, failure: str, again_ms: int) -> bool:
        """Note that it failed, and in how many milliseconds it is tried again; False as `finish`."""
        ...

    async def give_up(self, claimed: ClaimedMail, event: Event, *, failure: str) -> bool:
        """Note that it is not sent, and forget to whom and what; the event is written with it. False as `finish`."""
        ...

    async def drop(self, claimed: ClaimedMail) -> bool:
        """Delete a mail that is for nobody; False as `finish`."""
        ...
