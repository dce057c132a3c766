"""What the child process found out about an application: plain values that cross to the process that judges them.

The child imports the application and looks at live objects; it judges nothing. The parent has no code of the
application in it, and judges facts. So what an application does at import cannot reach the judgement, and rules are
tested by facts.
"""

from typing import Literal

from msgspec import Struct

Standing = Literal["guarded", "public", "open", "unknown"]
Kind = Literal["http", "websocket", "static", "pages", "mount", "opaque"]


class Place(Struct, frozen=True):
    """A line of a file.

    Attributes:
        file: its path as Python has it; relative where it is below the folder of the application.
        line: counted from 1.
    """

    file: str = ""
    line: int = 0


class Guard(Struct, frozen=True):
    """Something that stands in front of a route, or in its handler, and refuses.

    Attributes:
        by: what kind of thing it is.
        name: how it is called where it was written.
        asks: what it asks besides who is calling: ``role:admin``, ``permission:orders:read``, ``policy:orders:read``,
            ``scope:items``, ``code`` for code that answers 403.
        about_object: it is asked about what the path names.
        is_fresh: it asks a store, so that what was taken away a second ago is seen; None where that cannot be told.
        credential: where the credential comes from.
        takes_only: it takes a credential out of the request and verifies nothing.
        is_optional: it lets those in who show nothing.
        made_with: the values it was made with, such as ``minimum=9``; nothing that might be a secret.
    """

    by: Literal["limen", "dependency", "scheme", "middleware", "decorator", "handler"]
    name: str
    asks: tuple[str, ...] = ()
    about_object: bool = False
    is_fresh: bool | None = None
    credential: Literal["", "bearer", "cookie", "api_key", "basic"] = ""
    takes_only: bool = False
    is_optional: bool = False
    made_with: tuple[str, ...] = ()


class Field(Struct, frozen=True):
    """A field of a model, or a parameter, by its name and the path that leads to it.

    Attributes:
        path: such as ``owner.password_hash``.
        type: the name of its type.
    """

    path: str
    type: str = ""


class Input(Struct, frozen=True):
    """What a route takes from the body.

    Attributes:
        name: of the parameter.
        type: the name of its type.
        shape: a closed model refuses unknown fields, an open one drops them, or is or has in it one that does,
            ``keeping`` is one that hands them on, ``undeclared`` is a dict or anything, ``raw`` is a handler that reads
            the request itself, ``plain`` a number, a text or a file.
        fields: of the model.
        place: where the model is written.
    """

    name: str
    type: str
    shape: Literal["closed", "open", "keeping", "undeclared", "raw", "plain"]
    fields: tuple[Field, ...] = ()
    place: Place = Place()


class Output(Struct, frozen=True):
    """What a route declares that it answers.

    Attributes:
        type: the name of the declared type; empty where there is none.
        is_declared: there is a model that the framework filters the answer by, or the handler makes a response itself.
        fields: of the model, nested ones included.
        place: where the model is written.
    """

    type: str = ""
    is_declared: bool = False
    fields: tuple[Field, ...] = ()
    place: Place = Place()


class Handler(Struct, frozen=True):
    """What the code of a handler shows.

    Attributes:
        place: where it is written, decorators left out.
        name: how it is called.
        asks_principal: it uses what a guard handed it; None where nothing was handed.
        uses: the names that it calls and reads, in lower case, for rules that go by what is done.
        sets_cookies: it sets a cookie itself.
        is_own_code: it is the application's, not a library's.
    """

    place: Place = Place()
    name: str = ""
    asks_principal: bool | None = None
    uses: tuple[str, ...] = ()
    sets_cookies: bool = False
    is_own_code: bool = True


class Route(Struct, frozen=True):
    """One leaf of the effective tree.

    Attributes:
        path: from the application's root, with the names of its parameters.
        methods: the HTTP methods; empty for all, and for a WebSocket.
        kind: what it is.
        standing: whether somebody asks who is calling.
        why: what the standing rests on, in a few words.
        guards: what stands in front of it.
        parameters: the names in its path that may be those of an object.
        inputs: what it takes from the body.
        output: what it declares to answer.
        handler: its code.
        throttled_by: what limits how often it is called; empty where nothing was seen.
        forgery: what asks for a proof against forged requests; empty where nothing was seen.
        is_forgeable: its guards go by cookies alone, and browsers send one of them with what other sites cause.
        uuids: the parameters that are declared as a UUID.
    """

    path: str
    methods: tuple[str, ...] = ()
    kind: Kind = "http"
    standing: Standing = "open"
    why: str = ""
    guards: tuple[Guard, ...] = ()
    parameters: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    output: Output = Output()
    handler: Handler = Handler()
    throttled_by: str = ""
    forgery: str = ""
    is_forgeable: bool = False
    uuids: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How messages call it."""
        if self.kind == "websocket":
            return f"WS {self.path}"
        return f"{','.join(self.methods) or 'ANY'} {self.path}"


class Cors(Struct, frozen=True):
    """What a middleware lets other origins do.

    Attributes:
        origins: the list as it was given.
        pattern: the regular expression, or empty.
        credentials: whether cookies come along.
    """

    origins: tuple[str, ...] = ()
    pattern: str = ""
    credentials: bool = False


class Cookie(Struct, frozen=True):
    """A cookie that a middleware sets.

    Attributes:
        name: of the cookie.
        is_secure: it goes over https only.
        same_site: as it was given.
    """

    name: str
    is_secure: bool
    same_site: str


class Application(Struct, frozen=True):
    """One application.

    Attributes:
        target: as it was named.
        framework: its class.
        place: where it is made.
        routes: every leaf, in the order of its routers.
        middleware: the names of what stands around it.
        cors: what other origins may do.
        cookies: what middleware sets.
        sends_security_headers: something sets them; None where a middleware could not be seen into.
        throttled_by: what limits requests to all routes.
        files: the files of its own code, for the rules about source text.
        faked: the settings that were missing and made up for the import.
        said: what it printed while it was imported, the end of it.
    """

    target: str
    framework: str = ""
    place: Place = Place()
    routes: tuple[Route, ...] = ()
    middleware: tuple[str, ...] = ()
    cors: tuple[Cors, ...] = ()
    cookies: tuple[Cookie, ...] = ()
    sends_security_headers: bool | None = False
    throttled_by: str = ""
    files: tuple[str, ...] = ()
    faked: tuple[str, ...] = ()
    said: str = ""


class Broken(Struct, frozen=True):
    """Why the application could not be looked at.

    Attributes:
        reason: the error, in one line.
        place: the innermost line of the application's own code.
        said: the end of what it printed.
    """

    reason: str
    place: Place = Place()
    said: str = ""
