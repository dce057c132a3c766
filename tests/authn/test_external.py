"""How issuers that are not limen are declared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limen import ClaimRule, ExternalIssuer, Limen
from limen.core.errors import ConfigurationError
from tests.support.gates import settings_for


def test_what_cannot_be_declared(tmp_path: Path) -> None:
    """An issuer without audience, over http, by a secret, of all tenants, twice, or limen itself is refused at once."""
    good = ExternalIssuer(issuer="https://op.example", audience="api")
    odd: list[dict[str, Any]] = [
        {"issuer": "http://op.example"}, {"issuer": "op"}, {"issuer": ""}, {"audience": ""}, {"audience": []},
        {"audience": ["a", ""]}, {"algorithms": ["HS256"]}, {"algorithms": ["none"]}, {"algorithms": []},
        {"algorithms": "RS256"}, {"types": ["logout+jwt"]}, {"types": "at+jwt"}, {"types": []}, {"scopes": "orders"},
        {"max_lifetime": 86_401}, {"max_lifetime": 0}, {"leeway": 61}, {"leeway": -1}, {"jwks_uri": "http://10.0.0.1/"},
        {"metadata_url": "ftp://op.example"}, {"issuer": "https://op.example/{tenantid}"},
        {"issuer": "https://op.example/{tenantid}", "jwks_uri": "https://op.example/keys"},
        {"issuer": "https://op.example/{tenantid}", "jwks_uri": "https://op.example/keys", "require": {"tid": []}},
    ]  # fmt: skip
    for wrong in odd:
        values: dict[str, Any] = {"issuer": "https://op.example", "audience": "api", **wrong}
        with pytest.raises(ConfigurationError):
            ExternalIssuer(**values)
    rules: list[dict[str, Any]] = [
        {}, {"roles": "maker"}, {"roles": ["maker"], "value": ""}, {"roles": ["maker"], "claim": ()},
        {"roles": ["maker"], "claim": ("a", "")},
    ]  # fmt: skip
    for rule in rules:
        with pytest.raises(ConfigurationError):
            ClaimRule(**{"claim": "groups", "value": "makers", **rule})
    settings = settings_for(tmp_path, issuer="https://limen.example")
    bad = ClaimRule("groups", "makers", permissions=["everything"])
    for issuers in ([good, good], [replace(good, issuer="https://limen.example")], [replace(good, rules=[bad])]):
        with pytest.raises(ConfigurationError):
            Limen(settings, issuers=issuers)
