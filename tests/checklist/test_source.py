"""The rules about source text: each finds what it is for, and leaves alone what is close to it."""

from pathlib import Path

import pytest

from limen.checklist.source.module import Module
from limen.checklist.source.reading import QUESTIONS

FOUND = {
    "sql in an f-string": (
        "LC101",
        """
def f(db, name):
    db.execute(f"SELECT * FROM t WHERE n = {name}")
""",
    ),
    "sql by per cent": (
        "LC101",
        """
def f(db, name):
    db.execute("SELECT * FROM t WHERE n = %s" % name)
""",
    ),
    "sql by plus": (
        "LC101",
        """
def f(db, name):
    db.execute("DELETE FROM t WHERE n = " + name)
""",
    ),
    "sql by format": (
        "LC101",
        """
def f(db, name):
    db.execute("UPDATE t SET a = {}".format(name))
""",
    ),
    "sql in a variable": (
        "LC101",
        """
def f(db, name):
    q = f"SELECT a FROM t WHERE n = {name}"
    db.execute(q)
""",
    ),
    "sql in text()": (
        "LC101",
        """
from sqlalchemy import text as t
def f(n):
    return t(f"SELECT 1 FROM t WHERE a={n}")
""",
    ),
    "a password by md5": (
        "LC102",
        """
from hashlib import md5 as quick
def f(password):
    return quick(password.encode())
""",
    ),
    "a password by sha256": (
        "LC102",
        """
import hashlib
def f(u):
    return hashlib.sha256(u.password.encode())
""",
    ),
    "a password as its own hash": (
        "LC102",
        """
def f(data):
    return User(hashed_password=data.password)
""",
    ),
    "a password as it came": (
        "LC102",
        """
def f(row, data):
    row.password = data.password
""",
    ),
    "random token": (
        "LC103",
        """
import random
def f():
    token = random.choice('abc')
    return token
""",
    ),
    "random code, renamed": (
        "LC103",
        """
from random import randint as r
def make_otp():
    return r(0, 999999)
""",
    ),
    "verify off": (
        "LC104",
        """
import httpx
httpx.get('https://a', verify=False)
""",
    ),
    "verify off in a client": (
        "LC104",
        """
from httpx import AsyncClient
c = AsyncClient(verify=False)
""",
    ),
    "no name in the certificate": (
        "LC104",
        """
def f(context):
    context.check_hostname = False
""",
    ),
    "no certificate": (
        "LC104",
        """
import ssl
def f(context):
    context.verify_mode = ssl.CERT_NONE
""",
    ),
    "an unverified context": (
        "LC104",
        """
import ssl
c = ssl._create_unverified_context()
""",
    ),
    "no signature": (
        "LC105",
        """
import jwt
c = jwt.decode(t, options={'verify_signature': False})
""",
    ),
    "no expiry": (
        "LC105",
        """
import jwt
c = jwt.decode(t, k, algorithms=['HS256'], options={'verify_exp': False})
""",
    ),
    "none": (
        "LC105",
        """
import jwt
c = jwt.decode(t, k, algorithms=['HS256', 'none'])
""",
    ),
    "unverified claims": (
        "LC105",
        """
from jose import jwt
c = jwt.get_unverified_claims(t)
""",
    ),
    "a secret": (
        "LC106",
        """
SECRET_KEY = 'f9bf78b9a18ce6d46a0cd2b0b86df9da'
""",
    ),
    "a secret of settings": (
        "LC106",
        """
class S(BaseSettings):
    jwt_secret: str = 'change-me-1234'
""",
    ),
    "a default of the environment": (
        "LC106",
        """
import os
k = os.getenv('API_KEY', 'abc123def456')
""",
    ),
    "a secret as an argument": (
        "LC106",
        """
app.add_middleware(M, secret_key='not-so-secret-1')
""",
    ),
    "a key of a known form": (
        "LC106",
        """
x = 'AKIA' 'IOSFODNN7EXAMPLE'
""",
    ),
    "a password in an address": (
        "LC106",
        """
x = 'postgresql://app:hunter2@db.example.org/app'
""",
    ),
    "a token in a log": (
        "LC107",
        """
import logging
def f(token):
    logging.info('got %s', token)
""",
    ),
    "a password in an f-string": (
        "LC107",
        """
def f(log, user, password):
    log.debug(f'{user} {password}')
""",
    ),
    "headers in a log": (
        "LC107",
        """
def f(logger, request):
    logger.info(request.headers)
""",
    ),
    "the environment printed": (
        "LC107",
        """
import os
print(os.environ)
""",
    ),
    "settings in a log": (
        "LC107",
        """
def f(logger, settings):
    logger.info('start', settings)
""",
    ),
    "a swallowed check": (
        "LC108",
        """
def f(t):
    try:
        verify_token(t)
    except Exception:
        pass
""",
    ),
    "a bare except": (
        "LC108",
        """
def f(t):
    try:
        authorize(t)
    except:
        log(t)
""",
    ),
    "an error that is a yes": (
        "LC108",
        """
def f(t):
    try:
        return verify(t)
    except Exception:
        return True
""",
    ),
    "@public below another": (
        "LC109",
        """
from limen.fastapi import public
@app.get('/a')
@cached
@public
def f(): ...
""",
    ),
    "@roles above the route": (
        "LC110",
        """
from limen.fastapi import roles
@roles('a')
@app.get('/a')
def f(): ...
""",
    ),
    "@login_required above the route": (
        "LC110",
        """
@login_required
@router.post('/a')
def f(): ...
""",
    ),
    "a key compared": (
        "LC111",
        """
def f(request, api_key):
    return request.headers.get('x-api-key') == api_key
""",
    ),
    "a signature compared": (
        "LC111",
        """
def f(signature, expected):
    if signature != expected:
        raise E
""",
    ),
    "an id of the body": (
        "LC112",
        """
@app.post('/a')
def f(body: Transfer, db):
    return db.get(Account, body.user_id)
""",
    ),
    "a cookie without flags": (
        "LC113",
        """
def f(response, v):
    response.set_cookie('session', v)
""",
    ),
    "a cookie without Secure": (
        "LC113",
        """
def f(response, v):
    response.set_cookie('auth_token', v, httponly=True)
""",
    ),
}

LEFT_ALONE = {
    "parameters": """
def f(db, name):
    db.execute("SELECT * FROM t WHERE n = :n", {"n": name})
""",
    "a constant in sql": """
T = "orders"
def f(db):
    db.execute(f"SELECT * FROM {T}")
""",
    "a loop over constants": """
def f(db):
    for name in ("a", "b"):
        db.execute(f"ALTER TABLE t ADD COLUMN {name} INT")
""",
    "another spelling": """
def f(token, raw):
    return b64encode(raw).decode() != token
""",
    "placeholders in sql": """
def f(db, ids):
    db.execute(f"SELECT a FROM t WHERE i IN ({','.join('?' * len(ids))})", ids)
""",
    "a text that is no sql": """
def f(page, name):
    page.query(f"select {name}")
""",
    "a message of another kind": """
def f(bus, name):
    bus.execute(f"update for {name}")
""",
    "a file's hash": """
import hashlib
def f(content):
    return hashlib.md5(content)
""",
    "a password hash": """
def f(data):
    return User(hashed_password=hash_password(data.password))
""",
    "a password of its own object": """
class A:
    def __init__(self, o):
        self.password = o.password
""",
    "random that is no secret": """
import random
def jitter():
    return random.random()
""",
    "secrets": """
import secrets
def f():
    token = secrets.token_urlsafe(32)
    return token
""",
    "verify on": """
import httpx
httpx.get('https://a', verify=True)
""",
    "verify of something else": """
def f(model):
    model.run(verify=False)
""",
    "a verified token": """
import jwt
c = jwt.decode(t, k, algorithms=['EdDSA'], audience='a')
""",
    "a token's header": """
import jwt
h = jwt.get_unverified_header(t)
""",
    "a secret of the environment": """
import os
SECRET_KEY = os.environ['SECRET_KEY']
""",
    "a placeholder": """
SECRET_KEY = '<your secret>'
""",
    "a name of a header": """
api_key_header = 'X-API-Key'
""",
    "a kind of token": """
token = 'bearer'
""",
    "an address on this machine": """
x = 'postgresql://app:app@localhost/app'
""",
    "an address without a password": """
x = 'https://example.org/a:b@c'
""",
    "a count of tokens": """
def f(log, tokens, max_tokens):
    log.info('%s of %s', tokens, max_tokens)
""",
    "an id in a log": """
def f(log, account):
    log.info('login', extra={'account_id': account.id})
""",
    "a length in a log": """
def f(log, token):
    log.info('%s', len(token))
""",
    "a check that refuses": """
def f(t):
    try:
        verify(t)
    except Exception:
        raise HTTPException(401)
""",
    "a check that says no": """
def f(t):
    try:
        return verify(t)
    except Exception:
        return None
""",
    "a narrow except": """
def f(t):
    try:
        verify(t)
    except KeyError:
        pass
""",
    "nothing that is set": """
def f(t):
    try:
        u = verify(t)
    except Exception:
        u = None
    return u
""",
    "marks below the route": """
from limen.fastapi import roles
@app.get('/a')
@roles('a')
def f(): ...
""",
    "@public right below": """
from limen.fastapi import public
@app.get('/a')
@public
@cached
def f(): ...
""",
    "another's public": """
@app.get('/a')
@cached
@public
def f(): ...
""",
    "compared in constant time": """
import hmac
def f(a, api_key):
    return hmac.compare_digest(a, api_key)
""",
    "a form's second field": """
def f(password, password_confirm):
    return password == password_confirm
""",
    "a kind compared": """
def f(token):
    return token == 'a'
""",
    "an id of the caller": """
@app.post('/a')
def f(body: Transfer, me, db):
    return db.get(Account, me.id)
""",
    "an id that is stored": """
@app.post('/a')
def f(body: Order, db):
    return Row(owner=body.user_id)
""",
    "a cookie with flags": """
def f(r, v):
    r.set_cookie('session', v, httponly=True, secure=True)
""",
    "a cookie of the theme": """
def f(r, v):
    r.set_cookie('theme', v)
""",
    "flags of elsewhere": """
def f(r, v):
    r.set_cookie('session', v, **FLAGS)
""",
}


def _found(text: str) -> list[str]:
    module = Module("app.py", text)
    return [finding.rule.id for question in QUESTIONS for finding in question(module)]


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    """What a rule is for is found, and nothing else beside it."""
    rule, text = FOUND[name]
    assert set(_found(text)) == {rule}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str) -> None:
    """What only looks like it is left alone."""
    assert _found(LEFT_ALONE[name]) == []


def test_what_cannot_be_read_is_no_module(tmp_path: Path) -> None:
    """A file that is no Python, or too large, or gone, is passed over."""
    broken = tmp_path / "broken.py"
    broken.write_text("def f(:")
    assert Module.read(str(broken)) is None
    assert Module.read(str(tmp_path / "gone.py")) is None
