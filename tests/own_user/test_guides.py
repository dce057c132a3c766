"""The applications of the guides are run as printed, on SQLite and on PostgreSQL."""

import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
from fastapi.testclient import TestClient

from tests.own_user.conftest import sqlalchemy_url
from tests.own_user.guides import Guide
from tests.support.gates import PASSWORD
from tests.support.postgres import rows

Pages = Callable[[str], Guide]


@pytest.fixture
def guide(tmp_path: Path, database_url: str) -> Pages:
    """A page, with its files written beside an empty database."""

    def of(name: str) -> Guide:
        environment = {
            "LIMEN_DATABASE_URL": database_url,
            "APP_DATABASE_URL": sqlalchemy_url(database_url),
            "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
            "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
            "LIMEN_BCRYPT_COST": "10",
            "LIMEN_REGISTRATION": "open",
        }
        page = Guide(name, tmp_path, environment)
        page.write()
        return page

    return of


def _read(url: str, statement: str) -> list[tuple[object, ...]]:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            return connection.execute(statement).fetchall()
    return [tuple(row) for row in rows(url, statement)]


def _login(client: TestClient, username: str, password: str = PASSWORD) -> dict[str, str]:
    answer = client.post("/auth/login", json={"username": username, "password": password})
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def _register(client: TestClient, username: str) -> dict[str, str]:
    answer = client.post("/auth/register", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return _login(client, username)


def _limens_tables(url: str) -> dict[str, str]:
    """Return the definition of each of limen's tables, to be compared."""
    if url.startswith("sqlite"):
        found = _read(url, "SELECT name, sql FROM sqlite_master WHERE tbl_name LIKE 'limen%'")
    else:
        found = _read(
            url,
            "SELECT table_name || '.' || column_name, data_type || is_nullable FROM information_schema.columns"
            " WHERE table_name LIKE 'limen%'",
        )
    return {str(name): str(definition) for name, definition in found}


class TestOwnUser:
    def _migrated(self, page: Guide) -> str:
        """Run the commands of the page; return the migration that Alembic wrote."""
        make, run = page.commands()
        page.run(make)
        page.write()
        page.run(run)
        (written,) = (page.place / "migrations" / "versions").glob("*_profiles.py")
        return written.read_text(encoding="utf-8")

    def test_alembic_leaves_limens_tables_alone(self, guide: Pages, database_url: str) -> None:
        """Autogenerate writes the application's table with its foreign key, and nothing about limen's; then nothing."""
        page = guide("own-user")
        make, run = page.commands()
        page.run(make)
        page.write()
        upgrade, generate, head = run.strip().splitlines()
        page.run(upgrade)
        before = _limens_tables(database_url)
        page.run(f"{generate}\n{head}")
        (written,) = (page.place / "migrations" / "versions").glob("*_profiles.py")
        text = written.read_text(encoding="utf-8")
        assert "sa.ForeignKeyConstraint(['sub'], ['limen_accounts.id']" in text
        assert text.count("op.create_table(") == 1
        assert text.count("op.drop_table(") == 1
        assert text.count("limen_") == 1
        assert _limens_tables(database_url) == before
        # What is there is what the metadata says: the foreign key is not dropped and made again for ever.
        assert "No new upgrade operations detected" in page.run("alembic check")
        page.run("alembic downgrade base")
        assert _limens_tables(database_url) == before

    def test_without_the_filter_limens_tables_would_go(self, guide: Pages, database_url: str) -> None:
        """The filter is what saves them: Alembic's own env.py would drop every one."""
        page = guide("own-user")
        make, _ = page.commands()
        page.run(make)
        page.write()
        env = page.place / "migrations" / "env.py"
        env.write_text(env.read_text(encoding="utf-8").replace(", include_name=is_ours", ""), encoding="utf-8")
        page.run("limen db upgrade\nalembic revision --autogenerate -m profiles")
        (written,) = (page.place / "migrations" / "versions").glob("*_profiles.py")
        assert "op.drop_table('limen_accounts')" in written.read_text(encoding="utf-8")

    def test_the_application_runs(self, guide: Pages, database_url: str) -> None:
        """A profile belongs to its account by a foreign key, and its limit decides; without a profile there is none."""
        page = guide("own-user")
        self._migrated(page)
        with page.imported("app") as module, TestClient(module.app) as client:
            ann = _register(client, "ann")
            assert client.post("/orders?amount=1", headers=ann).status_code == 403
            assert client.get("/profile", headers=ann).status_code == 404
            sub = client.put("/profile?city=Turin", headers=ann).json()
            assert client.get("/profile", headers=ann).json() == "Turin"
            assert client.post("/orders?amount=100", headers=ann).json() == "ordered"
            assert client.post("/orders?amount=101", headers=ann).status_code == 403
            assert client.post("/orders?amount=1").status_code == 401
            assert client.portal is not None
            client.portal.call(module.sessions.kw["bind"].dispose)
        assert [str(found) for (found,) in _read(database_url, "SELECT sub FROM profiles")] == [sub]


class TestOwnTransaction:
    def test_the_application_runs(self, guide: Pages, database_url: str) -> None:
        """Account and profile come together, fail together, and go together."""
        tables = guide("own-user").files()["tables.py"]
        page = guide("own-transaction")
        (page.place / "tables.py").write_text(tables, encoding="utf-8")
        with page.imported("app") as module, TestClient(module.app) as client:
            assert client.portal is not None
            client.portal.call(self._make_tables, module)
            wanted = {"username": "ann", "password": PASSWORD, "city": "Turin"}
            sub = client.post("/register", json=wanted).json()
            assert client.post("/register", json=wanted).json()["code"] == "username_taken"
            nowhere = {**wanted, "username": "bob", "city": "Atlantis"}
            assert client.post("/register", json=nowhere).status_code == 422
            assert _read(database_url, "SELECT username FROM limen_accounts") == [("ann",)]
            assert [(str(found), city) for found, city in _read(database_url, "SELECT sub, city FROM profiles")] == [
                (sub, "Turin")
            ]
            ann = _login(client, "ann")
            assert client.post("/leave", headers=ann).status_code == 200
            answer = client.post("/auth/login", json={"username": "ann", "password": PASSWORD})
            assert answer.json()["code"] == "invalid_credentials"
            client.portal.call(module.sessions.kw["bind"].dispose)
        assert _read(database_url, "SELECT sub FROM profiles") == []
        assert _read(database_url, "SELECT status FROM limen_accounts") == [("disabled",)]

    @staticmethod
    async def _make_tables(module: object) -> None:
        async with module.sessions.kw["bind"].begin() as connection:  # type: ignore[attr-defined]
            await connection.run_sync(module.Profile.metadata.create_all)  # type: ignore[attr-defined]


class TestExistingTable:
    @pytest.fixture
    def page(self, guide: Pages) -> Guide:
        return guide("existing-table")

    @staticmethod
    async def _fill(module: object) -> None:
        from old_users import METADATA, USERS  # type: ignore[import-not-found]

        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
        people = [
            {"id": 7, "login": "Ann", "mail": "ann@example.com", "is_staff": True, "is_active": True},
            {"id": 8, "login": "bob", "mail": "no address", "is_staff": False, "is_active": True},
            {"id": 9, "login": "eve", "mail": None, "is_staff": False, "is_active": False},
        ]
        async with module.engine.begin() as connection:  # type: ignore[attr-defined]
            await connection.run_sync(METADATA.create_all)
            await connection.execute(USERS.insert(), [{**each, "password": hashed} for each in people])

    def test_the_application_runs(self, page: Guide, database_url: str) -> None:
        """Whoever is in the table gets in with the password they have, once, and nobody else does."""
        with page.imported("app") as module, TestClient(module.app) as client:
            assert client.portal is not None
            client.portal.call(self._fill, module)
            ann, bob = _login(client, "ANN"), _login(client, "bob")
            assert client.get("/old-id", headers=ann).json() == 7
            assert client.get("/old-id", headers=bob).json() == 8
            assert client.get("/staff", headers=ann).json() == "welcome"
            assert client.get("/staff", headers=bob).status_code == 403
            for name, password in (("eve", PASSWORD), ("ann", "not the password"), ("nobody", PASSWORD)):
                answer = client.post("/auth/login", json={"username": name, "password": password})
                assert answer.json()["code"] == "invalid_credentials", name
            answer = client.post("/auth/register", json={"username": "EVE", "password": PASSWORD})
            assert answer.json()["code"] == "username_taken"
            _login(client, "ann")
            client.portal.call(module.engine.dispose)
        found = _read(database_url, "SELECT username, email FROM limen_accounts ORDER BY username")
        assert found == [("ann", "ann@example.com"), ("bob", None)]
        subs = {str(sub) for (sub,) in _read(database_url, "SELECT sub FROM users WHERE sub IS NOT NULL")}
        assert subs == {str(sub) for (sub,) in _read(database_url, "SELECT id FROM limen_accounts")}

    def test_the_store_keeps_the_contract(self, page: Guide) -> None:
        """The printed suite runs, and passes."""
        told = page.run("python -m pytest -q -p no:cacheprovider -o asyncio_mode=auto test_old_users.py")
        assert "11 passed" in told
