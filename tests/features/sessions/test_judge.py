"""What a refresh token is that did not rotate: the table of SECURITY.md, row by row."""

from dataclasses import replace

import pytest

from limen.core.ids import uuid7
from limen.crypto.claims import RefreshClaims
from limen.crypto.refresh import new_secret, secret_hash, secret_text
from limen.features.sessions.service import Verdict, judge
from limen.features.sessions.store import SessionState

SID, SUB = uuid7(), uuid7()
GRANDPARENT, PARENT, CURRENT = new_secret(), new_secret(), new_secret()
LEEWAY = 10_000

ROW = SessionState(
    sid=SID,
    account_id=SUB,
    account_epoch=3,
    kind="refresh",
    generation=5,
    token_hash=secret_hash(CURRENT),
    parent_hash=secret_hash(PARENT),
    nonce=b"n" * 16,
    kid="k",
    rotated_at=1_000_000,
    idle_until=2_000_000,
    ends_at=3_000_000,
    auth_time=900,
    amr=("pwd",),
    acr=None,
    client_id="c",
    account_status="active",
    session_epoch=3,
    roles=frozenset(),
    now=1_005_000,
)


def token(generation: int, secret: bytes, *, sub: str = SUB) -> RefreshClaims:
    """Claims of a refresh token whose signature is ours."""
    return RefreshClaims(iss="i", aud="i", sub=sub, sid=SID, gen=generation, jti=secret_text(secret), iat=0, exp=1)


@pytest.mark.parametrize(
    ("presented", "row", "leeway", "verdict"),
    [
        (token(5, CURRENT), None, LEEWAY, Verdict.GONE),
        (token(5, CURRENT), replace(ROW, now=2_000_000), LEEWAY, Verdict.EXPIRED),
        (token(5, CURRENT), replace(ROW, idle_until=9_000_000, now=3_000_000), LEEWAY, Verdict.EXPIRED),
        (token(1, GRANDPARENT), replace(ROW, now=2_000_000), LEEWAY, Verdict.EXPIRED),
        (token(5, CURRENT, sub=uuid7()), ROW, LEEWAY, Verdict.ACCOUNT),
        (token(5, CURRENT), replace(ROW, account_status="disabled"), LEEWAY, Verdict.ACCOUNT),
        (token(5, CURRENT), replace(ROW, account_status="of-a-later-version"), LEEWAY, Verdict.ACCOUNT),
        (token(5, CURRENT), replace(ROW, session_epoch=4), LEEWAY, Verdict.ACCOUNT),
        (token(4, PARENT), replace(ROW, session_epoch=4), LEEWAY, Verdict.ACCOUNT),
        (token(5, CURRENT), ROW, LEEWAY, Verdict.CURRENT),
        (token(4, PARENT), ROW, LEEWAY, Verdict.REPLAY),
        (token(4, PARENT), replace(ROW, now=1_010_000), LEEWAY, Verdict.REPLAY),
        (token(4, PARENT), replace(ROW, now=998_000), LEEWAY, Verdict.REPLAY),
        (token(4, PARENT), replace(ROW, now=1_010_001), LEEWAY, Verdict.REUSE),
        (token(4, PARENT), replace(ROW, now=997_999), LEEWAY, Verdict.REUSE),
        (token(4, PARENT), ROW, 0, Verdict.REUSE),
        (token(4, PARENT), replace(ROW, now=1_000_000), 0, Verdict.REUSE),
        (token(4, CURRENT), ROW, LEEWAY, Verdict.REUSE),
        (token(3, GRANDPARENT), ROW, LEEWAY, Verdict.REUSE),
        (token(3, PARENT), ROW, LEEWAY, Verdict.REUSE),
        (token(6, CURRENT), ROW, LEEWAY, Verdict.AHEAD),
        (token(5, PARENT), ROW, LEEWAY, Verdict.AHEAD),
    ],
)
def test_verdicts(presented: RefreshClaims, row: SessionState | None, leeway: int, verdict: Verdict) -> None:
    """Each case is judged as the table says, the edges of the leeway to the millisecond."""
    assert judge(presented, row, leeway_ms=leeway) is verdict
