"""A leaf remembers the names that met it; what else it asks for is asked again every time."""

from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from limen.core.principal import BY_CERTIFICATE, Authentication
from limen.fastapi import client_certificate, interactive, roles
from limen.web.guard import protect
from tests.web.guard.kit import Counted, SmallGate, call, principal


@pytest.mark.parametrize(
    ("asked", "method", "code"),
    [(client_certificate, BY_CERTIFICATE, "certificate_required"), (interactive, "pwd", "step_up_required")],
    ids=["client_certificate", "interactive"],
)
async def test_the_same_names_without_the_proof_are_refused(asked: Any, method: str, code: str) -> None:
    """Somebody with the very same sets of roles and permissions, who proved it by other means, is not let in after."""
    counted, gate, app = Counted(), SmallGate(), FastAPI()
    app.get("/leaf")(asked(roles("checker")(counted.handler())))
    proved = replace(principal("checker"), authentication=Authentication((method,), 0))
    gate.people = {"with": proved, "without": replace(proved, authentication=Authentication(("other",), 0))}
    protect(app, gate)
    assert (await call(app, "/leaf", "with")).status == 200
    reply = await call(app, "/leaf", "without")
    assert (reply.status, reply.code, len(counted.ran)) == (401, code, 1)
