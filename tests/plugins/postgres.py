"""A real PostgreSQL for every test that asks for one; where there is none, the end of the run says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import Cluster, Databases, Lacking, own, shared


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """The server that all workers of this run share: fast, and for nobody to stop."""
    base = tmp_path_factory.getbasetemp()
    # Each worker's folder lies in the one of the run.
    common = base.parent if hasattr(request.config, "workerinput") else base
    try:
        with shared(common / "postgres") as databases:
            yield databases
    except Lacking as error:
        pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres: Databases) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture
def own_postgres() -> Iterator[Cluster]:
    """A durable server of the test's own, to be stopped, killed and started again."""
    try:
        with own() as cluster:
            yield cluster
    except Lacking as error:
        pytest.skip(str(error))
