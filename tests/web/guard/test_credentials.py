"""Every way into an application, for every credential: the guard does not care by which of them somebody came in."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from limen import Limen, OwnStrategy, PresentedCredential, Principal, PrincipalKind
from limen.core.events import NOWHERE
from limen.core.principal import ANONYMOUS
from limen.fastapi import roles
from tests.support.gates import PASSWORD, settings_for
from tests.web.guard.kit import CATALOGUE, Counted, call
from tests.web.guard.rows import MARKED, OPAQUE, Row

ROLES: Mapping[str, list[str]] = {
    name: sorted(CATALOGUE.permissions_of(frozenset({name}))) for name in ("maker", "checker", "admin")
}

Headers = tuple[tuple[str, str], ...]


class Badges(OwnStrategy):
    """A badge is the name of a role; it knows at any time who that is."""

    name = "badge"
    header = "X-Badge"

    async def authenticate(self, credential: PresentedCredential) -> Principal | None:
        role = credential.value.decode("ascii")
        return Principal(f"badge-{role}", PrincipalKind.PERSON, frozenset({role})) if role in ROLES else None

    async def live(self, principal: Principal) -> Principal:
        return principal


async def _bearer(gate: Limen, name: str, host: str) -> Headers:
    return (("authorization", f"Bearer {(await gate.login.login(name, PASSWORD, origin=NOWHERE)).access_token}"),)


async def _cookie(gate: Limen, name: str, host: str) -> Headers:
    issued = await gate.cookie_login.open(
        name, PASSWORD, remembered=False, new_password=None, replaced=None, origin=NOWHERE
    )
    return (
        ("cookie", f"__Host-limen={issued.value}"),
        ("x-csrf-token", gate._csrf.tokens.token_of(issued.presented)),
        ("origin", f"https://{host}"),
    )


async def _key(gate: Limen, name: str, host: str) -> Headers:
    from limen.features.api_keys.service import Wanted

    assert gate.api_keys is not None
    (token,) = await _bearer(gate, name, host)
    state: Any = _State()
    pending = gate.authenticate({"type": "http", "headers": [(b"authorization", token[1].encode())]}, state)
    assert pending is None
    made = await gate.api_keys.service.create_own(state.principal, Wanted(name))
    return (("x-api-key", made.key),)


async def _badge(gate: Limen, name: str, host: str) -> Headers:
    return (("x-badge", name),)


class _State:
    """Where the principal of a token is noted."""

    principal = ANONYMOUS
    rejection = None
    credential: object = None
    safe_only = False
    origin = NOWHERE


KINDS = {"token": _bearer, "cookie": _cookie, "key": _key, "badge": _badge}
WRONG: dict[str, Headers] = {
    "token": (("authorization", "Bearer nonsense"),),
    "cookie": (("cookie", "__Host-limen=nonsense"),),
    "key": (("x-api-key", "lim_live_nonsense"),),
    "badge": (("x-badge", "nonsense"),),
}


def _rows(framework: Any) -> list[Row]:
    return [row for row in (*MARKED, *OPAQUE) if framework is FastAPI or not row.only_fastapi]


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(120)
async def test_only_the_right_role_reaches_the_handler(kind: str, framework: Any, tmp_path: Path) -> None:
    """Nobody, a wrong credential and a wrong role are refused and run nothing; the right role runs the handler once."""
    gate = Limen(settings_for(tmp_path), roles=ROLES, strategies=[Badges()])
    await gate.start()
    for name in ("maker", "checker"):
        await gate.accounts.create(name, PASSWORD, roles=frozenset({name}))
    known: dict[tuple[str, str], Headers] = {}
    for row in _rows(framework):
        counted, app = Counted(), framework()
        row.add(app, counted)
        gate._protections.clear()
        gate.protect(app)
        if row.opaque is not None:
            gate.mount_rule(row.opaque, roles("checker"))
        for who, expected in (("nobody", {401}), ("wrong", {401}), ("maker", {403}), ("checker", {200, 101})):
            given: Headers = WRONG[kind] if who == "wrong" else ()
            if who in ROLES:
                key = who, row.host
                given = known[key] if key in known else await KINDS[kind](gate, who, row.host)
                known[key] = given
            reply = await call(
                app,
                row.path,
                method=row.method,
                headers=given,
                host=row.host,
                scheme="wss" if row.method == "SOCKET" else "https",
            )
            assert reply.status in expected, (row.name, who, reply)
            assert len(counted.ran) == (1 if who == "checker" else 0), (row.name, who)
    gate._protections.clear()
    await gate.stop()


async def test_two_ways_of_the_same_person_are_one(tmp_path: Path) -> None:
    """A cookie beside a token of the same account is that account; beside another's it is nobody (400)."""
    gate = Limen(settings_for(tmp_path), roles=ROLES)
    await gate.start()
    counted, app = Counted(), Starlette()
    row = replace(next(each for each in MARKED if each.name == "plain route"), method="POST")
    app.add_route(row.path, roles("checker")(counted.endpoint()), methods=["POST"])
    gate.protect(app)
    for name in ("maker", "checker"):
        await gate.accounts.create(name, PASSWORD, roles=frozenset({name}))
    cookie = await _cookie(gate, "checker", row.host)
    for name, status in (("checker", 200), ("maker", 400)):
        headers = (*cookie, *await _bearer(gate, name, row.host))
        reply = await call(app, row.path, method="POST", headers=headers, host=row.host, scheme="https")
        assert reply.status == status
    assert len(counted.ran) == 1
    gate._protections.clear()
    await gate.stop()
