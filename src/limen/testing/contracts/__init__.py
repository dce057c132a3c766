"""The contract of limen's stores, as tests: for those who write a store of their own.

A suite is a class of tests. Derive from it in a test module of your own, and give the fixtures that
`limen.testing.contracts.contract.Contract` names::

    from limen.testing.contracts.accounts import AccountsContract

    class TestMyAccounts(AccountsContract):
        @pytest.fixture
        async def storage(self, database_url):
            storage = MyStorage(database_url)
            await storage.start()
            yield storage
            await storage.stop()

The tests are coroutines: run them with pytest-asyncio in its mode ``auto``, or mark the class with
``pytest.mark.asyncio``.
Races are part of the contract: a store that reads and then writes fails here.
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{suite}"
        for suite in (
            "account_administration",
            "accounts",
            "approval_decisions",
            "approvals",
            "client_certificates",
            "contract",
            "cookies",
            "events",
            "existing_accounts",
            "grants",
            "issuing",
            "mails",
            "messages",
            "notices",
            "reach",
            "recovery",
            "restoring",
            "role_assignment",
            "roles",
            "sessions",
            "sso",
            "storage",
            "tampering",
            "trail",
            "trail_checkpoints",
            "trail_sinks",
        )
    )
)
