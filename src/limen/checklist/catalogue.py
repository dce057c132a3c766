"""Every rule of ``limen check``: what it asks, why it matters, how to mend it, and what it cannot see."""

from typing import Final

from limen.checklist.findings import Rule, Severity

_LOW, _MEDIUM, _HIGH = Severity.LOW, Severity.MEDIUM, Severity.HIGH

OPEN_ROUTE: Final = Rule(
    "LC001",
    _HIGH,
    "nothing asks who is calling",
    "No dependency, decorator or middleware in front of this route refuses anybody. Whoever reaches the port can "
    "call it.",
    '@router.get("/orders", dependencies=[Depends(current_user)])\ndef orders(): ...',
    "A gateway in front of the service that lets only some requests through; a network that nobody else reaches; what "
    "lies in a folder of static files, which is counted as open and not told; "
    "a guard that refuses by an assertion or by an exception that is thrown into a generator. A guard that finds "
    "strangers in a table of its own, such as one with a default, is told as a guard.",
)
UNKNOWN_GUARD: Final = Rule(
    "LC002",
    _LOW,
    "it cannot be told whether anybody asks",
    "Something here may be a guard, but its code could not be followed, or it decides by the path. What nobody "
    "can read, nobody notices when it stops working.",
    '# State it on the route itself, where it is seen:\n@router.get("/orders", dependencies=[Depends(current_user)])',
    "What compiled code, a plugin that is loaded later, or an application of another framework does. What is named "
    "like no check and cannot be followed is not asked about.",
)
ANYBODY_LOGGED_IN: Final = Rule(
    "LC003",
    _MEDIUM,
    "anybody who is logged in may change it",
    "The route changes something, asks for no role, permission, scope or policy, and its code never looks at who "
    "is calling. The least account of the installation may do it.",
    '@router.post("/products", dependencies=[Depends(admin_only)])  # which answers 403\n'
    '@router.post("/products")\n@permissions("products:write")  # with limen',
    "A rule in the database that refuses, such as row-level security; whether what the code does with who is calling "
    "is a question at all.",
)
OBJECT_NOT_ASKED: Final = Rule(
    "LC004",
    _HIGH,
    "nobody asks about the object that the path names",
    "An id in the path names one object, and nothing compares it with who is calling. Counting the id up shows "
    "the objects of others (broken object level authorization, first of OWASP's API list).",
    "if order is None or order.owner_id != me.id:  # in the handler, or in a dependency that loads the order\n"
    "    raise HTTPException(404)\n"
    "\n"
    "\n"
    'def read(order: Annotated[Order, policy("orders:read", load=order_by_id)]) -> OrderOut: ...  # with limen',
    "A query that filters by the caller without naming them, such as a session variable of the database; an id in "
    "the query or in the body, or one that is a number under another name; whether the caller, where the code uses "
    "them for more than a log, is compared with the object.",
)
UNDECLARED_INPUT: Final = Rule(
    "LC005",
    _MEDIUM,
    "the input is no declared model",
    "The body is a dict, or the handler reads it itself, so nothing says which fields and types may come. What is "
    "handed on can set columns that nobody meant to open.",
    'class OrderIn(BaseModel):\n    model_config = ConfigDict(extra="forbid")\n    item: str\n    amount: int',
    "Code that validates the dict later, by hand or by another library; a body that is read besides a declared one.",
)
OPEN_MODEL: Final = Rule(
    "LC006",
    _LOW,
    "the model takes unknown fields",
    "A field that the model does not know is dropped in silence. A client's mistake passes, and where somebody "
    "stores the raw body it is mass assignment.",
    'class OrderIn(BaseModel):\n    model_config = ConfigDict(extra="forbid")',
    "Code that compares the body's fields itself; models of other libraries than pydantic, dataclasses and TypedDict.",
)
SECRET_IN_ANSWER: Final = Rule(
    "LC007",
    _HIGH,
    "the answer has a field for a secret",
    "The model of the answer has a password, hash, secret or key in it, so every caller of the route gets it. A "
    "hash can be guessed at without any limit by whoever has it.",
    "class AccountOut(BaseModel):  # a model of its own, without it\n    id: int\n    name: str",
    "What a handler puts into a dict or a response; a field whose name says nothing of what is in it; whether a "
    "validator or a serializer that stands on the field hides all of it.",
)
NO_ANSWER_MODEL: Final = Rule(
    "LC008",
    _LOW,
    "the answer has no model",
    "Whatever the handler returns goes out. A column that is added to the table next year is in the answer that day.",
    '@router.get("/accounts/{id}")\ndef account(id: int) -> AccountOut: ...',
    "A handler that builds its answer field by field, which is fine.",
)
NOT_ASKED_AGAIN: Final = Rule(
    "LC009",
    _MEDIUM,
    "the database is not asked again before money moves or a right changes",
    "The guard reads a token, and a token says what was true when it was made. Somebody who was dismissed a "
    "minute ago still moves money until it expires.",
    '@router.post("/payments", dependencies=[Depends(active_account)])  # which reads the account, and answers 401\n'
    '@router.post("/payments")\n@live  # with limen, which asks the account and its session again',
    "A handler that asks the database itself, in code that could not be followed; what a route does when its name "
    "hides it.",
)
NOT_THROTTLED: Final = Rule(
    "LC010",
    _MEDIUM,
    "nothing limits how often it is tried",
    "A login, reset or registration answers as often as it is asked. Passwords and codes are guessed by machines, "
    "and mails are sent to strangers.",
    '@router.post("/login")\n@limiter.limit("10/minute")  # slowapi\nasync def login(request: Request, ...): ...\n'
    "\n"
    '@router.post("/login")\n@rate_limit("10/minute")  # with limen\nasync def login(...): ...',
    "A limit in a proxy in front of the service; whether a limit that is there is low enough, and what it counts by; "
    "a secret that is tried where neither the path nor the fields say so.",
)
ANY_ORIGIN: Final = Rule(
    "LC011",
    _HIGH,
    "every site may call it with the visitor's cookies",
    "CORS allows every origin and credentials at once, and Starlette then answers with the origin that asked. Any "
    "page that somebody opens reads this service as them.",
    'app.add_middleware(CORSMiddleware, allow_origins=["https://app.example.com"], allow_credentials=True)',
    "Headers that a proxy adds; a CORS middleware of another name.",
)
SESSION_COOKIE: Final = Rule(
    "LC012",
    _MEDIUM,
    "the session cookie goes over plain http",
    "The cookie is set without Secure, or with SameSite=None. Whoever sits on the network, or another site, sends "
    "or reads it.",
    "app.add_middleware(SessionMiddleware, secret_key=..., https_only=True)",
    "A setting that is another one in production; cookies that code sets (LC113).",
)
NO_HEADERS: Final = Rule(
    "LC013",
    _LOW,
    "no middleware sets security headers",
    "Answers carry no X-Content-Type-Options, no framing rule, no Strict-Transport-Security. Browsers then guess "
    "types and let other sites frame the pages.",
    '@app.middleware("http")\n'
    "async def headers(request, call_next):\n"
    "    answer = await call_next(request)\n"
    '    answer.headers["X-Content-Type-Options"] = "nosniff"\n'
    "    return answer\n"
    "\n"
    "\n"
    "gate.protect(app)  # with limen, which sets all of them on every answer",
    "Headers that a proxy adds, or that each handler sets; which of them a middleware sets that sets one.",
)
OPEN_PAGES: Final = Rule(
    "LC014",
    _LOW,
    "the pages of the schema are open",
    "/docs and /openapi.json tell every stranger each route, field and error of the service. In a public API that "
    "is meant; inside a company it is a map.",
    "app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)",
    "A proxy that keeps them inside.",
)
FORGERY: Final = Rule(
    "LC015",
    _MEDIUM,
    "a cookie opens it, and nothing asks for a proof against forgery",
    "The credential is a cookie, which browsers send along with requests that other sites cause. A page that "
    "somebody opens can change their data.",
    "# SameSite=Lax or Strict on the cookie, and a token per session that the form or the script sends back",
    "SameSite of a cookie that another service sets, or that a setting says; a check of Origin inside the handler; a "
    "cookie that is as good as a header which is taken, too.",
)
NOT_VERIFIED: Final = Rule(
    "LC016",
    _HIGH,
    "a credential is taken and not verified",
    "FastAPI's security classes take a token out of a header and hand it on; they verify nothing. Any text in the "
    "header gets in.",
    "def current_user(token: Annotated[str, Depends(oauth2)]) -> User:\n"
    "    return verified(token)  # which raises HTTPException(401)",
    "Verification in code that could not be followed: then the route is unknown (LC002), not this.",
)
SQL_TEXT: Final = Rule(
    "LC101",
    _HIGH,
    "SQL is put together from text",
    "A value becomes part of the statement and not a parameter of it. Whoever controls the value writes the query "
    "(SQL injection).",
    'await session.execute(text("SELECT * FROM orders WHERE id = :id"), {"id": order_id})',
    "Text that was put together in another file, or is handed in; a check of the value in another function.",
)
PASSWORD_STORAGE: Final = Rule(
    "LC102",
    _HIGH,
    "a password is stored without a password hash",
    "A fast hash, or none, is tried billions of times a second once the table leaks. People use the password "
    "elsewhere, too.",
    "import argon2\n\nhashed = argon2.PasswordHasher().hash(password)",
    "What another file does with the password; a setter of a class that hashes what it is given.",
)
PREDICTABLE: Final = Rule(
    "LC103",
    _HIGH,
    "a secret is made by a predictable generator",
    "The random module is a Mersenne Twister: who has seen some of its values computes the next. A reset link "
    "made so opens other accounts.",
    "import secrets\n\ntoken = secrets.token_urlsafe(32)",
    "Secrets whose names say nothing of what they are; generators that another file makes.",
)
NO_TLS_CHECK: Final = Rule(
    "LC104",
    _HIGH,
    "the certificate of the other side is not verified",
    "The connection is encrypted to whoever answers. Somebody between the two reads and changes everything, "
    "credentials included.",
    'httpx.get(url, verify="/etc/ssl/company-ca.pem")',
    "Settings and options that switch it off at run time; connections to this very machine are left alone.",
)
TOKEN_UNVERIFIED: Final = Rule(
    "LC105",
    _HIGH,
    "a token is read without verifying it",
    "The signature, or the time, of the token is not asked, or «none» is accepted as an algorithm. Anybody writes "
    "themselves one.",
    'claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="orders", issuer="https://id.example.com")',
    "Options that are put together in another file; audience and issuer that nobody asks; claims that joserfc and "
    "Authlib hand out before somebody validates them.",
)
SECRET_IN_CODE: Final = Rule(
    "LC106",
    _HIGH,
    "a secret is in the code",
    "Whoever reads the repository, an image, or a traceback has it. It cannot be changed without a release, and "
    "stays in the history.",
    'SECRET_KEY = os.environ["SECRET_KEY"]',
    "Secrets in files that are no Python, and those whose names and form say nothing.",
)
SECRET_LOGGED: Final = Rule(
    "LC107",
    _MEDIUM,
    "a secret, or everything, is logged",
    "Whole settings, headers, bodies and tokens end up in a log that more people read than the database. A token "
    "in it opens what it opens.",
    'log.info("login", extra={"account_id": account.id})',
    "What a log handler takes out; objects of other files whose text form has secrets, or leaves them out.",
)
SWALLOWED: Final = Rule(
    "LC108",
    _HIGH,
    "a wide except stands around a check",
    "The check fails, the error is swallowed, and the code goes on as if it had passed. A fault then opens what "
    "it was to close.",
    "try:\n    verify(token)\nexcept InvalidToken:\n    raise HTTPException(401) from None",
    "Checks whose names say nothing of what they are; what another function does with the error.",
)
TRAVELLING_PUBLIC: Final = Rule(
    "LC109",
    _MEDIUM,
    "@public stands below another decorator",
    "functools.wraps copies marks, so limen counts @public only on the very function that is registered. Below "
    "another decorator it opens nothing, or is meant for something else.",
    '@app.get("/news")\n@public\n@cached\ndef news(): ...',
    "Decorators that are put around a handler in several steps.",
)
WRONG_ORDER: Final = Rule(
    "LC110",
    _HIGH,
    "a guard stands above the decorator that registers the route",
    "Decorators are applied from below, so the route is registered before the guard is put around it. The guard "
    "is never asked.",
    '@app.get("/orders")  # registers\n@roles("maker")  # guards\ndef orders(): ...',
    "Guards whose names say nothing of what they are; limen's own marks are found by limen at start as well.",
)
COMPARED: Final = Rule(
    "LC111",
    _MEDIUM,
    "a secret is compared with ==",
    "The comparison ends at the first byte that differs, and how long it took tells how many were right. An API "
    "key is found byte by byte.",
    "import hmac\n\nhmac.compare_digest(given.encode(), expected.encode())",
    "Secrets whose names say nothing of what they are; ``in`` a list of secrets.",
)
BODY_ID: Final = Rule(
    "LC112",
    _MEDIUM,
    "who it is about comes from the body",
    "The account is found by an id that the caller writes into the body, and not by who is calling. Another "
    "number acts for somebody else.",
    "def transfer(body: TransferIn, me: CurrentPrincipal): ...  # me.id, and nothing of the body",
    "Ids that are renamed on the way; a check of the id against the caller in another function.",
)
COOKIE_FLAGS: Final = Rule(
    "LC113",
    _MEDIUM,
    "a cookie with a secret is set without its flags",
    "Without HttpOnly a script in the page reads the cookie, without Secure the network does. Either is enough to "
    "be somebody else.",
    'response.set_cookie("__Host-session", value, secure=True, httponly=True, samesite="lax")',
    "Flags that come from the settings or another file; cookies whose names and values say nothing.",
)
BAD_ACCEPTANCE: Final = Rule(
    "LC900",
    _MEDIUM,
    "an acceptance is over, incomplete, or for nothing",
    "A finding was accepted without a reason or an end, or is not found any more. What nobody has to look at again "
    "stays for ever, and hides what comes to its place.",
    "# limen: accept LC004 until 2027-03-01 because prices are the same for everybody",
    "Comments in files that are no part of the application. In a file that another application uses too, a comment "
    "for that one names LC900 as well.",
)

RULES: Final = tuple(each for each in list(globals().values()) if isinstance(each, Rule))
"""All of them, in the order of their numbers."""

BY_ID: Final = {each.id: each for each in RULES}
