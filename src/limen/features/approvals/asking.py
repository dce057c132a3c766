"""What who asks has to bring, and how a refusal of the database is told."""

from collections.abc import Callable, Mapping
from typing import Final

from limen.core.errors import (
    AlreadyDecided,
    Conflict,
    CredentialMissing,
    InputFault,
    InvalidInput,
    LimenError,
    OwnRequest,
    SessionEnded,
    StepUpRequired,
)
from limen.core.principal import Principal
from limen.features.approvals.actions import Action, ApprovalView, can_decide
from limen.features.approvals.declarations import no_such_request
from limen.features.approvals.store import Decided, Maker, Verdict

_REFUSALS: Final[Mapping[Verdict, Callable[[], LimenError]]] = {
    Verdict.OWN: lambda: OwnRequest("Somebody else has to decide on what you have asked for."),
    Verdict.EXPIRED: lambda: AlreadyDecided("Its time is over."),
    Verdict.DECIDED: AlreadyDecided,
    Verdict.GIVEN: lambda: AlreadyDecided("You have approved it already; somebody else has to as well."),
    Verdict.CHANGED: lambda: Conflict("What was seen is not what is asked for; look at it again."),
    Verdict.MAKER: lambda: Conflict("The account that asked for it is not active."),
    Verdict.SESSION: SessionEnded,
}


def view_of(decided: Decided) -> ApprovalView:
    """Return the request that was decided, or raise what it was refused by."""
    if decided.verdict is not Verdict.DONE:
        raise _REFUSALS.get(decided.verdict, no_such_request)()
    if decided.approval is None:
        raise no_such_request()
    return ApprovalView.of(decided.approval)


def reader_of(me: Principal) -> Maker:
    """Return who asks; CredentialMissing where nobody does."""
    if not me.is_authenticated or not me.sub:
        raise CredentialMissing()
    return Maker(me.sub, me.issuer, me.subject, me.sid)


def session_of(me: Principal) -> str:
    """Return the session in which a person decides.

    Raises:
        CredentialMissing: nobody is there.
        StepUpRequired: it is no session here that a person has opened by a login.
    """
    if not me.is_authenticated:
        raise CredentialMissing()
    if me.sid is None or not can_decide(me):
        raise StepUpRequired("A person has to log in here to decide.")
    return me.sid


def data_of(action: Action, digest: bytes | None) -> dict[str, object]:
    """Return what the event of a decision says."""
    return {"action": action.name, **({} if digest is None else {"seen": digest.hex()})}


def digest_of(seen: str | None) -> bytes | None:
    """Return the digest that was seen; InvalidInput where it is none."""
    if seen is None:
        return None
    try:
        digest = bytes.fromhex(seen)
    except ValueError:
        digest = b""
    if len(digest) != 32 or len(seen) != 64:
        message = "The digest is 64 hexadecimal digits, as the request shows it."
        raise InvalidInput(message, errors=[InputFault(("body", "digest"), "invalid_value", message)])
    return digest


def line_of(field: str, text: object, most: int) -> str:
    """Return one line of printable text; InvalidInput where it is empty, longer, or something else."""
    if not isinstance(text, str) or not text.strip() or len(text) > most or not text.isprintable():
        message = f"Write 1 to {most} printable characters."
        raise InvalidInput(message, errors=[InputFault(("body", field), "invalid_value", message)])
    return text
