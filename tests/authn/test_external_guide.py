"""The page about tokens of other issuers: its code runs, and its table can be declared as it stands."""

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from limen import ClaimRule, ExternalIssuer, Limen
from limen.authn.external import read_external
from tests.docs.markdown import blocks
from tests.support.gates import settings_for

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "external-issuers.md"
NOW = 1_800_000_000
TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Auth0": (
        {"issuer": "https://tenant.eu.auth0.com/", "audience": "api",
         "rules": [ClaimRule("permissions", "p", ["maker"])]},
        {"iss": "https://tenant.eu.auth0.com/", "aud": ["api", "https://tenant.eu.auth0.com/userinfo"],
         "permissions": ["p"], "azp": "spa"},
    ),
    "Keycloak": (
        {"issuer": "https://sso.example/realms/name", "audience": "orders",
         "rules": [ClaimRule(("realm_access", "roles"), "maker", roles=["maker"])]},
        {"iss": "https://sso.example/realms/name", "aud": ["orders", "account"], "typ": "Bearer", "azp": "spa",
         "realm_access": {"roles": ["maker"]}, "sid": "x", "acr": "1"},
    ),
    "Cognito": (
        {"issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", "audience": "app",
         "audience_claim": "client_id", "require": {"token_use": "access"},
         "rules": [ClaimRule("cognito:groups", "makers", roles=["maker"])]},
        {"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", "client_id": "app", "token_use": "access",
         "cognito:groups": ["makers"], "scope": "openid", "auth_time": NOW - 60, "origin_jti": "x"},
    ),
    "Entra, one tenant": (
        {"issuer": f"https://login.microsoftonline.com/{TENANT}/v2.0", "audience": "app",
         "rules": [ClaimRule("roles", "Maker", roles=["maker"])]},
        {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "aud": "app", "roles": ["Maker"], "tid": TENANT,
         "ver": "2.0", "azp": "spa"},
    ),
    "Entra, several": (
        {"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0", "audience": "app", "require": {"tid": [TENANT]},
         "metadata_url": "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
         "rules": [ClaimRule("roles", "Maker", roles=["maker"])]},
        {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "aud": "app", "roles": ["Maker"], "tid": TENANT},
    ),
    "another limen": (
        {"issuer": "https://auth.example", "audience": "orders", "algorithms": ["ES256"],
         "jwks_uri": "https://auth.example/.well-known/jwks.json",
         "rules": [ClaimRule("roles", "maker", roles=["maker"])]},
        {"iss": "https://auth.example", "aud": "orders", "roles": ["maker"], "client_id": "limen",
         "auth_time": NOW - 60, "amr": ["pwd"], "sid": "01a204b2-500a-72a9-bca5-a426f0c0bd7b", "jti": "x"},
    ),
}  # fmt: skip


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, but for the settings, which come from elsewhere."""
    (code,) = [block.text for block in blocks(PAGE.read_text(encoding="utf-8")) if block.language == "python"]
    settings = settings_for(tmp_path)
    monkeypatch.setattr(Limen, "from_env", lambda **given: Limen(settings, **given))
    run: dict[str, Any] = {"app": Starlette()}
    exec(compile(code, PAGE.name, "exec"), run)  # noqa: S102 - it is our own page
    assert run["gate"].external is not None


@pytest.mark.parametrize("row", ROWS)
def test_the_rows_of_the_table(row: str) -> None:
    """Each kind of issuer, declared as its row says, with the claims that it sends: the role is given."""
    assert f"| {row} |" in PAGE.read_text(encoding="utf-8")
    declared, claims = ROWS[row]
    told = read_external(
        {"sub": "somebody", "iat": NOW, "exp": NOW + 300, **claims},
        ExternalIssuer(**declared), typ="jwt", of_key=None, now=NOW,
    )  # fmt: skip
    assert (told.principal.roles, told.principal.subject) == (frozenset({"maker"}), "somebody")
