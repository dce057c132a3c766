"""What happened, for the audit trail."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from limen.core.notices import Notice


class EventName(StrEnum):
    """Every act that leaves a record. A record is written in the transaction of its act."""

    ACCOUNT_CREATED = "account_created"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_ENABLED = "account_enabled"
    ACCOUNT_BLOCKED = "account_blocked"
    ACCOUNT_UNBLOCKED = "account_unblocked"
    ACCOUNT_DELETED = "account_deleted"
    ACCOUNTS_IMPORTED = "accounts_imported"
    ACCOUNT_EXPORTED = "account_exported"
    EMAIL_CHANGED = "email_changed"
    LOGIN_SUCCEEDED = "login_succeeded"
    LOGIN_FAILED = "login_failed"
    PASSWORD_CHANGED = "password_changed"
    PASSWORD_CHANGE_FAILED = "password_change_failed"
    PASSWORD_SET = "password_set"
    PASSWORD_REHASHED = "password_rehashed"
    PASSWORD_RESET_REQUESTED = "password_reset_requested"
    PASSWORD_RESET = "password_reset"
    PASSWORD_RESET_FAILED = "password_reset_failed"
    EMAIL_VERIFICATION_REQUESTED = "email_verification_requested"
    EMAIL_VERIFIED = "email_verified"
    EMAIL_VERIFICATION_FAILED = "email_verification_failed"
    RECOVERY_LINK_MADE = "recovery_link_made"
    MAIL_GIVEN_UP = "mail_given_up"
    REFRESHED = "refreshed"
    REFRESH_RESTATED = "refresh_restated"
    REFRESH_REFUSED = "refresh_refused"
    REFRESH_REUSED = "refresh_reused"
    STORE_ROLLED_BACK = "store_rolled_back"
    STORE_RESTORED = "store_restored"
    SESSION_RENEWED = "session_renewed"
    SESSION_ENDED = "session_ended"
    SESSIONS_ENDED = "sessions_ended"
    SIGNING_KEY_PUBLISHED = "signing_key_published"
    SIGNING_KEY_SCHEDULED = "signing_key_scheduled"
    SIGNING_KEY_SIGNS = "signing_key_signs"
    SIGNING_KEY_RETIRED = "signing_key_retired"
    ROLES_SYNCED = "roles_synced"
    ROLE_CREATED = "role_created"
    ROLE_CHANGED = "role_changed"
    ROLE_DELETED = "role_deleted"
    ROLES_ASSIGNED = "roles_assigned"
    ROLES_SEPARATED = "roles_separated"
    PERMISSIONS_GRANTED = "permissions_granted"
    PERMISSIONS_REVOKED = "permissions_revoked"
    CLIENT_CERTIFICATE_ADDED = "client_certificate_added"
    CLIENT_CERTIFICATE_REMOVED = "client_certificate_removed"
    API_KEY_CREATED = "api_key_created"
    API_KEY_ROTATED = "api_key_rotated"
    API_KEY_REVOKED = "api_key_revoked"
    API_KEY_USED = "api_key_used"
    API_KEY_CONFIRMED = "api_key_confirmed"
    IDENTITY_LINKED = "identity_linked"
    IDENTITY_UNLINKED = "identity_unlinked"
    APPROVAL_REQUESTED = "approval_requested"
    APPROVAL_APPROVED = "approval_approved"
    APPROVAL_REJECTED = "approval_rejected"
    APPROVAL_WITHDRAWN = "approval_withdrawn"
    APPROVAL_EXPIRED = "approval_expired"
    APPROVAL_EXECUTED = "approval_executed"
    APPROVAL_FAILED = "approval_failed"
    DETAILS_ERASED = "details_erased"
    TRAIL_PRUNED = "trail_pruned"
    TRAIL_RECOVERED = "trail_recovered"
    TRAIL_SINK_FORGOTTEN = "trail_sink_forgotten"


class Outcome(StrEnum):
    """How the act ended."""

    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from.

    Attributes:
        request_id: names the request in the log and in ``trace_id`` of an error.
        address: the peer's address as the server saw it; empty when there is none (command line, Unix socket).
        user_agent: what the client calls itself, at most 256 characters; not to be believed.
    """

    request_id: str = ""
    address: str = ""
    user_agent: str = ""


NOWHERE = Origin()


@dataclass(frozen=True, slots=True)
class Event:
    """One record of the audit trail. It carries no secret and no personal data beyond ids and addresses.

    Attributes:
        name: what happened.
        outcome: success or failure.
        actor: who did it: an account's id, ``cli``, ``system``, or empty where nobody had proved who they are.
        target: what it was done to: an account's or a session's id, or a keyed hash of an unknown name.
        origin: where the request came from.
        data: details: plain JSON values.
        notice: a mail to whose account it is, written in the same transaction; no part of the record.
    """

    name: EventName
    outcome: Outcome = Outcome.SUCCESS
    actor: str = ""
    target: str = ""
    origin: Origin = NOWHERE
    data: Mapping[str, object] = field(default_factory=dict)
    notice: Notice | None = None


EventSink = Callable[[Event], Awaitable[None]]
"""Writes the event of an act that changed nothing else: a refusal, or a failure."""
