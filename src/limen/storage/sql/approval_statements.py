"""The statements of approvals."""

from typing import Final

from limen.storage.sql.statement import Statement

# Whoever reads is ``:me``, the principal's sub, and ``:account``, their account here; nobody's id where they have none.
# Two-valued throughout: an unknown must neither make somebody the maker nor unmake them.
MINE: Final = "(maker_id = CAST(:me AS text) OR COALESCE(maker_account = :account, FALSE))"

# Theirs as well: what an identity has asked for that is linked to their account by now or was once, and what was asked
# for by an API key that they made or rotated or a certificate that they registered, whosever account it is of.
OWN: Final = f"""
({MINE}
 OR EXISTS (SELECT 1 FROM limen_sso_identities i
             WHERE i.issuer = maker_issuer AND i.subject = maker_subject AND i.account_id = :account)
 OR EXISTS (SELECT 1 FROM limen_former_identities f
             WHERE f.issuer = maker_issuer AND f.subject = maker_subject AND f.account_id = :account)
 OR EXISTS (SELECT 1 FROM limen_credential_hands h
             WHERE h.credential_id = maker_sid AND h.held_by = CAST(:me AS text))
 OR EXISTS (SELECT 1 FROM limen_api_keys k WHERE k.id = maker_sid AND k.created_by = CAST(:me AS text))
 OR EXISTS (SELECT 1 FROM limen_client_certificates c WHERE c.id = maker_sid AND c.created_by = CAST(:me AS text)))
"""  # noqa: S608

GIVEN: Final = """
EXISTS (SELECT 1 FROM limen_approval_votes v WHERE v.request_id = limen_approvals.id AND v.approver_id = :account)
"""

_VOTES: Final = """
(SELECT @array_of(CAST(v.approver_id AS text) || ' ' || CAST(v.approved_at AS text))
   FROM limen_approval_votes v WHERE v.request_id = limen_approvals.id)
"""

_COLUMNS: Final = f"""
id, action, resource, payload, digest, version, quorum,
CASE WHEN status = 'pending' AND expires_at <= @now THEN 'expired' ELSE status END,
maker_id, maker_account, {_VOTES}, created_at, expires_at, decided_at, decided_by, reason, execution, attempts, failure,
{MINE}, {OWN}, {GIVEN}
"""

_LISTED = "IN (SELECT value FROM json_each(:names))"
_LISTED_POSTGRES = "IN (SELECT json_array_elements_text(CAST(:names AS json)))"


def _with_names(text: str) -> Statement:
    """Return a statement in which ``@@names`` stands for being one of a list in JSON."""
    return Statement(text.replace("@@names", _LISTED), postgres=text.replace("@@names", _LISTED_POSTGRES))


READ: Final = Statement(f"SELECT {_COLUMNS} FROM limen_approvals WHERE id = :id")  # noqa: S608

# The newest first: ids begin with the time.
_PAGE: Final = f"SELECT {_COLUMNS} FROM limen_approvals WHERE id < :before AND {{}} ORDER BY id DESC LIMIT :limit"  # noqa: S608
PAGE_OF_ALL: Final = Statement(_PAGE.format("TRUE"))
PAGE_OF_MINE: Final = Statement(_PAGE.format(MINE))
PAGE_OF_INBOX: Final = _with_names(
    _PAGE.format(f"status = 'pending' AND expires_at > @now AND action @@names AND NOT {OWN} AND NOT {GIVEN}")
)

COUNT_PENDING: Final = Statement("""
SELECT count(*) FROM limen_approvals WHERE maker_id = CAST(:me AS text) AND status = 'pending' AND expires_at > @now
""")

PENDING: Final = Statement("""
SELECT id, maker_id, digest, version, quorum, expires_at <= @now, maker_account FROM limen_approvals
 WHERE action = :action AND resource = :resource AND status = 'pending' @for_update
""")

INSERT: Final = Statement("""
INSERT INTO limen_approvals (
    id, action, resource, payload, digest, version, quorum, status, maker_id, maker_account, maker_issuer,
    maker_subject, maker_sid, created_at, expires_at)
VALUES (:id, :action, :resource, :payload, :digest, :version, :quorum, 'pending', :maker,
        COALESCE((SELECT i.account_id FROM limen_sso_identities i
                   WHERE i.issuer = :issuer AND i.subject = :subject), :account),
        :issuer, :subject, :sid, @now, @now + :lifetime)
ON CONFLICT DO NOTHING RETURNING id
""")

# Nobody changes the accounts or the roles until the end of the transaction, and those who decide on other requests do
# not wait for each other. In the order of their ids, as everybody who locks accounts does.
HOLD: Final = Statement("""
SELECT a.id, a.status, a.roles_version, c.version FROM limen_accounts a CROSS JOIN limen_catalogue c
 WHERE c.id = 1 AND (a.id = :one OR a.id = :other) ORDER BY a.id @for_share
""")

MAKER_IS_ACTIVE: Final = """
(maker_account IS NULL
 OR EXISTS (SELECT 1 FROM limen_accounts m WHERE m.id = maker_account AND m.status = 'active'))
"""

SESSION_LIVES: Final = """
EXISTS (SELECT 1 FROM limen_sessions s JOIN limen_accounts a ON a.id = s.account_id
         WHERE s.id = :sid AND s.account_id = :account AND a.status = 'active' AND a.account_kind = 'person'
           AND s.account_epoch = a.session_epoch AND @now < s.idle_until AND @now < s.ends_at)
"""

_MAY_DECIDE: Final = f"""
 WHERE id = :id AND status = 'pending' AND expires_at > @now AND digest = COALESCE(:seen, digest)
   AND NOT {OWN} AND {MAKER_IS_ACTIVE} AND {SESSION_LIVES}
"""

# A yes counts as long as the account that gave it is active: whoever took one over is not to be counted on.
_GIVEN_WITH_THIS: Final = """
1 + (SELECT count(*) FROM limen_approval_votes v JOIN limen_accounts a ON a.id = v.approver_id
      WHERE v.request_id = limen_approvals.id AND a.status = 'active')
"""

APPROVE: Final = Statement(f"""
UPDATE limen_approvals
   SET given = {_GIVEN_WITH_THIS},
       status = CASE WHEN {_GIVEN_WITH_THIS} >= quorum THEN 'approved' ELSE status END,
       decided_at = CASE WHEN {_GIVEN_WITH_THIS} >= quorum THEN @now END,
       decided_by = CASE WHEN {_GIVEN_WITH_THIS} >= quorum THEN CAST(:me AS text) END
{_MAY_DECIDE} AND NOT {GIVEN}
RETURNING status, given, quorum
""")  # noqa: S608

VOTE: Final = Statement("""
INSERT INTO limen_approval_votes (request_id, approver_id, sid, approved_at) VALUES (:id, :account, :sid, @now)
ON CONFLICT DO NOTHING
""")

QUEUE: Final = Statement("""
UPDATE limen_approvals SET execution = 'queued', next_at = @now
 WHERE id = :id AND status = 'approved' AND execution IS NULL
""")

REJECT: Final = Statement(f"""
UPDATE limen_approvals
   SET status = 'rejected', decided_at = @now, decided_by = CAST(:me AS text), reason = :reason
{_MAY_DECIDE}
RETURNING given, quorum
""")  # noqa: S608

# A statement of its own before the one that decides: on PostgreSQL a statement that waited for a row looks at that row
# again, but at the votes beside it as they were when it began.
LOCK: Final = Statement(f"""
SELECT status, expires_at <= @now, {OWN}, {GIVEN}, digest = COALESCE(:seen, digest), {MAKER_IS_ACTIVE}
  FROM limen_approvals WHERE id = :id @for_update
""")  # noqa: S608

WITHDRAW: Final = Statement(f"""
UPDATE limen_approvals SET status = 'withdrawn', decided_at = @now, decided_by = CAST(:me AS text)
 WHERE id = :id AND status = 'pending' AND expires_at > @now AND {MINE}
RETURNING id
""")  # noqa: S608

SUPERSEDE: Final = Statement("""
UPDATE limen_approvals
   SET status = 'withdrawn', decided_at = @now, decided_by = CAST(:me AS text), reason = 'superseded'
 WHERE id = :id AND status = 'pending' AND expires_at > @now
""")

EXPIRE: Final = Statement("""
UPDATE limen_approvals SET status = 'expired', decided_at = @now
 WHERE id = :id AND status = 'pending' AND expires_at <= @now
RETURNING id, action, maker_id
""")

# Chosen once and for all: PostgreSQL may otherwise run the part with the limit again for each row.
EXPIRE_SOME: Final = Statement("""
WITH chosen AS MATERIALIZED (
    SELECT id FROM limen_approvals WHERE status = 'pending' AND expires_at <= @now
     ORDER BY expires_at LIMIT :limit @skip_locked)
UPDATE limen_approvals SET status = 'expired', decided_at = @now
 WHERE id IN (SELECT id FROM chosen) AND status = 'pending'
RETURNING id, action, maker_id
""")

CANCEL_SOME: Final = Statement("""
WITH chosen AS MATERIALIZED (
    SELECT id FROM limen_approvals WHERE status = 'pending' ORDER BY id LIMIT :limit @for_update)
UPDATE limen_approvals
   SET status = 'withdrawn', decided_at = @now, decided_by = CAST(:actor AS text), reason = 'restored'
 WHERE id IN (SELECT id FROM chosen) AND status = 'pending'
RETURNING id, action, maker_id
""")

COUNT_HOLDERS: Final = _with_names("""
SELECT count(*) FROM (
    SELECT a.id FROM limen_accounts a JOIN (
        SELECT account_id FROM limen_account_roles WHERE role @@names AND (expires_at IS NULL OR expires_at > @now)
         UNION
        SELECT account_id FROM limen_account_permissions
         WHERE permission = :permission AND (expires_at IS NULL OR expires_at > @now)) h ON h.account_id = a.id
     WHERE a.status = 'active' AND a.account_kind = 'person' LIMIT 1000) holders
""")

# --- execution

EXECUTED: Final = Statement("""
UPDATE limen_approvals SET execution = 'done', attempts = attempts + 1
 WHERE id = :id AND status = 'approved' AND execution IS NULL
""")

CLAIM: Final = _with_names("""
UPDATE limen_approvals SET attempts = attempts + 1, lease = :lease, next_at = @now + :lease_ms
 WHERE id = (SELECT id FROM limen_approvals
              WHERE execution = 'queued' AND next_at <= @now AND action @@names
              ORDER BY next_at LIMIT 1 @skip_locked)
   AND execution = 'queued'
RETURNING id
""")

FINISH: Final = Statement("""
UPDATE limen_approvals SET execution = 'done', next_at = NULL, lease = NULL, failure = NULL
 WHERE id = :id AND execution = 'queued' AND lease = :lease
""")

PUT_OFF: Final = Statement("""
UPDATE limen_approvals SET next_at = @now + :again, lease = NULL, failure = :failure
 WHERE id = :id AND execution = 'queued' AND lease = :lease
""")

GIVE_UP: Final = Statement("""
UPDATE limen_approvals SET execution = 'failed', next_at = NULL, lease = NULL, failure = :failure
 WHERE id = :id AND execution = 'queued' AND lease = :lease
""")
