"""The catalogue of errors: class, code, status, text for the caller, hint for the operator.

One place, so that a code means the same wherever it is met. `limen.web.problems` turns these into RFC 9457 problem
details; nothing else does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class InputFault:
    """What is wrong with one field of the input. It never holds the input itself.

    Attributes:
        loc: the path to the field, such as ``("body", "password")``.
        code: a stable code, such as ``missing`` or ``too_long``.
        message: one sentence for the caller.
    """

    loc: tuple[str | int, ...]
    code: str
    message: str


class LimenError(Exception):
    """Everything limen refuses, and why.

    Args:
        detail: one sentence for the caller about this case; it must not help an attacker.
        errors: what is wrong with single fields.
        retry_after: seconds after which the caller may try again (RFC 9110, section 10.2.3).
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side."
    hint: str = "The log has the traceback under the trace_id of the answer."

    def __init__(
        self, detail: str | None = None, *, errors: Sequence[InputFault] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after


class ConfigurationError(Exception):
    """limen refuses to start: a setting, or the way the application is put together, is unsafe or unusable."""


# --- 401: who are you? Each of these is answered with WWW-Authenticate (RFC 9110, section 11.6.1).


class Unauthenticated(LimenError):
    """Nobody has been proved to be there.

    Attributes:
        oauth_error: the ``error`` of the Bearer challenge (RFC 6750, section 3.1); None where no credential was sent.
    """

    status = 401
    code = "credential_missing"
    title = "Authentication is required."
    hint = "The request carried no credential. Send Authorization: Bearer <access token>."
    oauth_error: ClassVar[str | None] = None


class CredentialMissing(Unauthenticated):
    """No credential was sent (RFC 6750, section 3.1: the challenge then names no error)."""


class CredentialMalformed(Unauthenticated):
    """Something was sent that is no credential: it never counts as «nothing sent»."""

    code = "credential_malformed"
    title = "The credential is malformed."
    hint = "One Authorization header, of the form Bearer <token>."
    oauth_error = "invalid_request"


class TokenRejected(Unauthenticated):
    """The credential, a token or a key, is none that is accepted here."""

    code = "token_invalid"
    title = "The credential is not valid."
    hint = "A token's signature, issuer, audience, type or claims do not fit, or there is no such key; the log has why."
    oauth_error = "invalid_token"


class TokenExpired(Unauthenticated):
    """The credential, a token or a key, was valid once."""

    code = "token_expired"
    title = "The credential has expired."
    hint = "An access token is refreshed; a key is replaced by another one."
    oauth_error = "invalid_token"


class TokenStale(Unauthenticated):
    """The roles of the account have changed since the access token was issued."""

    code = "token_stale"
    title = "The access token no longer says which roles are held."
    hint = "A role was granted or revoked since; refresh it, and the new one has the roles of now."
    oauth_error = "invalid_token"


class SessionEnded(Unauthenticated):
    """The session the credential belongs to is over."""

    code = "session_ended"
    title = "The session has ended."
    hint = "Logged out, revoked, or ended because a spent refresh token was used again."
    oauth_error = "invalid_token"


class AccountNotActive(Unauthenticated):
    """The account behind the credential is disabled, blocked or gone."""

    code = "account_not_active"
    title = "The account is not active."
    hint = "limen accounts show NAME tells its state."
    oauth_error = "invalid_token"


class InvalidCredentials(Unauthenticated):
    """The one answer of the login: unknown name, wrong password, disabled and blocked all look like this."""

    code = "invalid_credentials"
    title = "The username or the password is not right."
    hint = "The audit trail (login_failed) has the reason."


class InvalidRefreshToken(Unauthenticated):
    """The one answer to a refresh token that is not accepted, whatever the reason."""

    code = "invalid_refresh_token"
    title = "The refresh token is not valid."
    hint = "The audit trail (refresh_refused, refresh_reused) has the reason."
    oauth_error = "invalid_token"


class CertificateRejected(Unauthenticated):
    """The connection's client certificate stands for nobody here, or may not be used."""

    code = "certificate_invalid"
    title = "The client certificate is not accepted."
    hint = "Chain, time, extended key usage or name do not fit; the log has the reason."


class CertificateRequired(Unauthenticated):
    """The route takes a client certificate, whatever else proves who is calling."""

    code = "certificate_required"
    title = "A client certificate is required."
    hint = "Connect with the certificate of a service (limen certificates list SERVICE)."


class StepUpRequired(Unauthenticated):
    """A stronger or a more recent authentication is asked for (RFC 9470)."""

    code = "step_up_required"
    title = "A stronger or more recent authentication is required."
    hint = "Log in again, with the factor that the route asks for."
    oauth_error = "insufficient_user_authentication"


# --- 403: may you?


class Forbidden(LimenError):
    """The principal is known and may not do this."""

    status = 403
    code = "policy_denied"
    title = "This is not allowed."
    hint = "The detail says what is missing."


class PolicyDenied(Forbidden):
    """A rule says no, or there is no rule."""


class RoleRequired(Forbidden):
    """None of the roles the route asks for is held."""

    code = "role_required"
    title = "A role is missing."
    hint = "limen accounts show NAME lists the roles an account holds."


class PermissionRequired(Forbidden):
    """A permission the route asks for is not held."""

    code = "permission_required"
    title = "A permission is missing."
    hint = "Permissions come with roles; the detail names what is missing."


class OwnRequest(Forbidden):
    """Somebody else has to do this: nobody changes their own roles, or decides on their own request."""

    code = "own_request"
    title = "This is for somebody else to do."
    hint = "Another administrator can; nobody changes their own roles."


class CsrfFailed(Forbidden):
    """A request with a session cookie does not show that a page of this very origin made it (OWASP ASVS 5.0, 3.5.1)."""

    code = "csrf_failed"
    title = "The request does not prove that it comes from this site's own pages."
    hint = "Send Sec-Fetch-Site or Origin as browsers do, and the session's token in X-CSRF-Token (GET /auth/session)."


class PasswordChangeRequired(Forbidden):
    """The password is right, and temporary: it opens nothing until another one has taken its place."""

    code = "password_change_required"
    title = "The password is temporary and has to be replaced."
    hint = "Log in with a new_password beside it; limen accounts set-password NAME makes another temporary one."


# --- Other 4xx


class InvalidInput(LimenError):
    """The input is not of the form that is asked for."""

    status = 422
    code = "invalid_input"
    title = "The input is not valid."
    hint = "The errors say which field, and why."


class PasswordTooShort(InvalidInput):
    """The new password is shorter than the setting PASSWORD_MIN_LENGTH."""

    code = "password_too_short"
    title = "The password is too short."


class PasswordTooCommon(InvalidInput):
    """The new password is on the list of common passwords (NIST 800-63B-4, section 3.1.1.2)."""

    code = "password_too_common"
    title = "The password is too common."


class PasswordContainsName(InvalidInput):
    """The new password contains a word that an attacker tries first: the account's own name, or the service's."""

    code = "password_contains_name"
    title = "The password contains a name that is easy to guess."


class BadRequest(LimenError):
    """The request itself cannot be read (RFC 9110, section 15.5.1)."""

    status = 400
    code = "invalid_input"
    title = "The request cannot be read."
    hint = "The body must be one JSON object in UTF-8, without duplicate names."


class CredentialsConflict(LimenError):
    """Two credentials of two different principals: whom the request is to be attributed to would be a guess."""

    status = 400
    code = "credentials_conflict"
    title = "The request carries the credentials of two different accounts."
    hint = "An Authorization header and a session cookie of somebody else; send one of them."


class SsoStateInvalid(LimenError):
    """A provider's answer that fits no login begun in this browser: spent, too late, or somebody else's (CSRF)."""

    status = 400
    code = "sso_state_invalid"
    title = "This sign-in was not begun in this browser, was used already, or has taken too long."
    hint = "Begin again. Where it happens to everybody: does the browser keep cookies, and is LIMEN_PUBLIC_URL right?"


class SsoFailed(LimenError):
    """What the provider answered is not accepted: another issuer, audience, nonce, signature or time than asked for."""

    status = 400
    code = "sso_failed"
    title = "The sign-in provider's answer was not accepted."
    hint = "The log (sso_refused) has the reason under the trace_id; nothing of the answer was believed."


class SsoCodeInvalid(LimenError):
    """The one-time code is not one, was used, is over, or its verifier does not fit: always the same."""

    status = 400
    code = "sso_code_invalid"
    title = "The one-time code is not valid."
    hint = "It holds for 60 seconds and once, for the client that began with the challenge of this verifier."


class LinkInvalid(LimenError):
    """What a mailed link proves is nothing: unknown, used, over, replaced by a newer one, or for something else."""

    status = 400
    code = "link_invalid"
    title = "The link is not valid, or not any more."
    hint = "It works once, only the newest one works, and a changed password or address ends it. Ask for another one."


class SsoDenied(Forbidden):
    """The provider said no, or the person did there."""

    code = "sso_denied"
    title = "The sign-in provider did not let you in."
    hint = "The detail has the provider's error code (RFC 6749, section 4.1.2.1)."


class SsoAccountMissing(Forbidden):
    """The provider knows who it is, and there is no account of that identity here; none is made."""

    code = "sso_account_missing"
    title = "There is no account here for this identity."
    hint = "An administrator makes one and its holder links it, or the provider is declared with create."


class NotFound(LimenError):
    """There is no such thing, or it is not the caller's to know of."""

    status = 404
    code = "not_found"
    title = "There is no such thing here."
    hint = "Also the answer where the thing exists and is somebody else's."


class MethodNotAllowed(LimenError):
    """The resource does not know this method."""

    status = 405
    code = "method_not_allowed"
    title = "The method is not allowed here."
    hint = "The Allow header lists the methods."


class Conflict(LimenError):
    """The thing is not in the state the request assumes."""

    status = 409
    code = "conflict"
    title = "The request does not fit the present state."
    hint = "Read the thing again, then decide anew."


class SsoLinkRequired(Conflict):
    """An account has the address that the provider vouches for: its holder has to prove that it is theirs first."""

    code = "sso_link_required"
    title = "An account with this e-mail address exists already."
    hint = "Log in to it as before, then link the provider: POST /auth/sso/{provider}/link."


class MessageRepeated(Conflict):
    """The message was handled before: its work is done, and is not done again."""

    code = "message_repeated"
    title = "The message was handled before."
    hint = "The same token came again: delivered twice by the queue, or copied."


class MessageInDoubt(Conflict):
    """Somebody has begun with the message, and nobody knows of an end: they are at it, or they are gone."""

    code = "message_in_doubt"
    title = "The message was begun before, and whether its work was done is not known."
    hint = "A consumer is at it, or it ended in the middle; look at its work before it is sent again."


class AlreadyDecided(Conflict):
    """What is to be decided was decided, withdrawn or over before, or this person has said yes to it already."""

    code = "already_decided"
    title = "This was decided already."
    hint = "Read it again: somebody else was first, its time is over, or you have approved it before."


class UsernameTaken(Conflict):
    """The one answer that tells that an account exists: a free name cannot be hidden."""

    code = "username_taken"
    title = "The username is taken."
    hint = "Usernames are compared after NFKC and case folding."


class BodyTooLarge(LimenError):
    """The body is larger than the route accepts."""

    status = 413
    code = "body_too_large"
    title = "The body is too large."
    hint = "limen's own routes read at most 64 KiB, the application's what LIMEN_MAX_BODY says, if anything."


class HostNotAllowed(LimenError):
    """The request is for a host that is not answered for (RFC 9110, section 15.5.20)."""

    status = 421
    code = "host_not_allowed"
    title = "This server does not answer for that host."
    hint = "LIMEN_ALLOWED_HOSTS lists the hosts that are answered for."


class UnsupportedMediaType(LimenError):
    """The body is not what the route reads."""

    status = 415
    code = "unsupported_media_type"
    title = "The media type is not supported."
    hint = "Send Content-Type: application/json."


# --- 429: not so often


@dataclass(frozen=True, slots=True)
class LimitHit:
    """A limit, and what is left of it.

    Attributes:
        name: letters, digits and dashes.
        most: how many it allows.
        seconds: in how many seconds.
        left: how many are left.
        reset: seconds until all are there again.
    """

    name: str
    most: int
    seconds: int
    left: int
    reset: int


class RateLimited(LimenError):
    """There were too many attempts (RFC 6585, section 4). Nothing was looked at: a right password is answered so too.

    Attributes:
        hits: the limits that are reached; empty where it was a matter of a moment.
    """

    status = 429
    code = "rate_limited"
    title = "Too many attempts."
    hint = "The log names the limits; the account's own is given anew by a login on a device that is known."

    def __init__(self, detail: str | None = None, *, retry_after: int = 1, hits: Sequence[LimitHit] = ()) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.hits = tuple(hits)


# --- 503: not now


class Busy(LimenError):
    """There is more to do than the machine can: the queue of password hashes is full."""

    status = 503
    code = "busy"
    title = "Too much is going on at this moment."
    hint = "More logins wait than the cores can hash; add processes."

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail, retry_after=retry_after)


class Unavailable(LimenError):
    """Something that limen stands on does not answer; nothing was changed."""

    status = 503
    code = "unavailable"
    title = "The service cannot answer at this moment."
    hint = "The log names what does not answer: the database, or its disk."

    def __init__(self, detail: str | None = None, *, retry_after: int = 2) -> None:
        super().__init__(detail, retry_after=retry_after)
