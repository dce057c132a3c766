"""Recovery put together."""

from collections.abc import Awaitable, Callable, Sequence

from limen.core.errors import ConfigurationError
from limen.core.events import EventSink
from limen.crypto.keys import hkdf_sha256
from limen.crypto.sealing import Sealer
from limen.features.accounts.service import AccountService
from limen.features.mail.service import MailService
from limen.features.recovery.service import RecoveryService
from limen.features.recovery.store import RecoveryStore
from limen.features.roles.service import RoleService
from limen.features.throttling.service import LoginThrottle


def build_recovery(
    store: RecoveryStore,
    mail: MailService | None,
    *,
    secrets: Sequence[str],
    public_url: str | None,
    accounts: AccountService,
    roles: RoleService,
    keep_ended_ms: int,
    record: EventSink,
    sessions_ended: Callable[[], Awaitable[None]],
    throttle: LoginThrottle,
) -> RecoveryService | None:
    """Put it together; None where there is no mail.

    Raises:
        ConfigurationError: there is no data secret, under which a link waits for its mail.
    """
    if mail is None:
        return None
    if not secrets or public_url is None:
        raise ConfigurationError("Mail needs LIMEN_DATA_SECRETS and LIMEN_PUBLIC_URL.")
    return RecoveryService(
        store,
        mail,
        accounts=accounts,
        roles=roles,
        sealer=Sealer(secrets, "mail-proof"),
        pseudonym_key=hkdf_sha256(secrets[0].encode(), b"limen/events/address/1"),
        public_url=public_url,
        keep_ended_ms=keep_ended_ms,
        record=record,
        sessions_ended=sessions_ended,
        throttle=throttle,
    )
