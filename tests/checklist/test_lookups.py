"""A look-up inside a ``try``: the ``except`` around what never raises refuses nobody."""

import pytest

from tests.checklist.conftest import Told

_DEP = """
import json
from uuid import UUID
class Users:
    def by_token(self, t): return TOKENS.get(t)
    def strict(self, t): return TOKENS[t]
    async def later(self, t): return self.by_token(t)
class Base:
    def find(self, t): ...
users, store = Users(), Base()
def find(t): return TOKENS.get(t.strip())
def strict(t):
    found = TOKENS.get(t)
    if found is None: raise KeyError(t)
    return found
def valid(t):
    try:
        str(t)
        return True
    except ValueError:
        return False
def number(t):
    try:
        return int(t)
    except ValueError:
        return None
async def dep(r: Request, t: str = Header("")):
    try:
        {}
    except {}:
        raise HTTPException(401)
    return user
app.get('/a', dependencies=[Depends(dep)])(handler)
"""

TRIED = {
    "an own function": ("open", "user = find(t)", "Exception"),
    "a table": ("open", "user = TOKENS.get(t)", "Exception"),
    "an own method": ("open", "user = users.by_token(t)", "LookupError"),
    "an own method, later": ("open", "user = await users.later(t)", "Exception"),
    "a store": ("unknown", "user = r.app.state.users.find(t)", "Exception"),
    "a database": ("unknown", "user = await r.app.state.db.fetch_one('select', t)", "Exception"),
    "a query": ("unknown", "user = r.app.state.db.query(str).filter(t).first()", "Exception"),
    "what another class says": ("unknown", "user = store.find(t)", "Exception"),
    "a table's item": ("guarded", "user = TOKENS[t]", "KeyError"),
    "an own method that raises": ("guarded", "user = users.strict(t)", "KeyError"),
    "an own function that raises": ("guarded", "user = strict(t)", "KeyError"),
    "a token": ("guarded", "user = jwt.decode(t, KEY, algorithms=['HS256'])", "jwt.InvalidTokenError"),
    "a verification": ("guarded", "user = r.app.state.keys.verify_token(t)", "Exception"),
    "what is read of nobody": ("guarded", "user = find(t).name", "AttributeError"),
    "what is read of nobody, later": ("guarded", "user = find(t); user = user.name", "AttributeError"),
}


@pytest.mark.parametrize("name", TRIED)
def test_a_look_up_in_a_try(name: str, told: Told) -> None:
    """What is followed and raises for nobody refuses nobody; of a look-up that cannot be followed nobody can tell."""
    standing, line, caught = TRIED[name]
    assert told(_DEP.format(line, caught)) == {"GET /a": standing}


FLAGS = {
    "what is always valid": ("open", "if not valid(t): raise HTTPException(401)"),
    "a look-up that is asked": ("guarded", "if find(t) is None: raise HTTPException(401)"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_what_cannot_fail_is_always_true(name: str, told: Told) -> None:
    """``try: str(t); return True`` is true for everybody."""
    standing, line = FLAGS[name]
    text = _DEP.partition("async def dep")[0]
    text += f"def dep(t: str = Header('')):\n    {line}\napp.get('/a', dependencies=[Depends(dep)])(handler)\n"
    assert told(text) == {"GET /a": standing}


def test_a_look_up_in_a_try_is_asked_behind_it(told: Told) -> None:
    """Where nobody is let on who was not found, it matters nothing what the look-up does."""
    text = _DEP.format("user = r.app.state.users.find(t)", "Exception")
    text = text.replace("    return user\n", "    if user is None: raise HTTPException(401)\n    return user\n")
    assert told(text) == {"GET /a": "guarded"}
