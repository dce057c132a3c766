"""What comes in by single sign-on without end is limited by network, and what is granted counts for nothing."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from limen import Limen
from limen.core.rates import Rate
from limen.features.throttling.requests import BY_NETWORK, Purpose
from tests.sso.conftest import declared, log_in
from tests.sso.provider import Provider
from tests.sso.test_exchange import APP, code_for, exchange
from tests.sso.test_logout import back_channel


@pytest.fixture
def gate(
    make_gate: Callable[..., Limen],
    provider: Provider,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Limen:
    """A gate with three of what the test is about."""
    monkeypatch.setattr("limen.features.throttling.requests.BY_NETWORK", {**BY_NETWORK, request.param: Rate(3, 900)})
    return make_gate(declared(provider), sso_redirects=[APP])


@pytest.mark.parametrize("gate", [Purpose.EXCHANGE], indirect=True)
def test_codes_that_are_refused_are_limited(browser: TestClient, provider: Provider) -> None:
    """Whoever exchanges codes that are good, for however many people, is counted nowhere."""
    for _ in range(5):
        assert exchange(browser, code_for(browser, provider)).status_code == 200
    refused = [exchange(browser, "x" * 43) for _ in range(4)]
    assert [each.status_code for each in refused] == [400, 400, 400, 429]
    assert refused[-1].headers["ratelimit-policy"] == '"sso-exchange-network";q=3;w=900'


@pytest.mark.parametrize("gate", [Purpose.PROVIDER_LOGOUT], indirect=True)
def test_logouts_that_no_provider_sent_are_limited(browser: TestClient) -> None:
    """Each of them costs the check of a signature."""
    refused = [back_channel(browser, "no token") for _ in range(4)]
    assert [each.status_code for each in refused] == [400, 400, 400, 429]


@pytest.mark.parametrize("gate", [Purpose.SSO], indirect=True)
def test_logins_that_are_begun_are_limited(browser: TestClient, provider: Provider) -> None:
    """Each is a row, and its end a call to the provider; both count."""
    log_in(browser, provider)
    answers = [browser.get("/auth/sso/corp/login", follow_redirects=False).status_code for _ in range(2)]
    assert answers == [302, 429]
