"""An authority, and applications that believe it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen import Limen
from limen.features.accounts.service import AccountView
from limen.features.roles.service import OPERATOR
from tests.mtls.authority import Authority
from tests.support.gates import gate_for

SPIFFE = "spiffe://example.org/billing"


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority that is believed."""
    return Authority()


@pytest.fixture(scope="session")
def stranger() -> Authority:
    """Another one, which has the same name."""
    return Authority()


@pytest.fixture
def authorities(authority: Authority, tmp_path: Path) -> Path:
    """The file of what is believed."""
    path = tmp_path / "clients.pem"
    path.write_text(authority.root.pem)
    return path


@pytest.fixture
async def gate(tmp_path: Path, authorities: Path) -> AsyncIterator[Limen]:
    """A started gate to which certificates count."""
    async with gate_for(tmp_path, client_ca=authorities).running() as started:
        yield started


async def a_service(gate: Limen, name: str, *registered: tuple[str, str], roles: frozenset[str]) -> AccountView:
    """Make a service that is known by certificates with these names."""
    assert gate.api_keys is not None
    account = await gate.api_keys.services.create(OPERATOR, name, roles=roles)
    for kind, value in registered:
        await gate.client_certificates.service.add(OPERATOR, account.id, kind, value)
    return account


@pytest.fixture
async def billing(gate: Limen) -> AccountView:
    """A service that is known by a SPIFFE ID and holds a role."""
    return await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset({"maker"}))
