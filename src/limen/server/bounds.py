"""The bounds of a server, in one place; `docs/operations.md` tells what happens at each."""

import signal

BACKLOG = 2048
"""Connections that the system lets in and that wait to be accepted."""
MOST_CONNECTIONS = 4096
"""Connections of one process; on those beyond, a request is answered 503."""
KEEP_ALIVE_SECONDS = 15
"""How long a connection may be idle after an answer."""
MOST_HEAD_BYTES = 64 * 1024
"""Of the head of a request."""
MOST_FIELDS = 200
"""Header fields of a request: 64 KiB have room for thousands, each of which everybody behind walks through again."""
MOST_WEBSOCKET_BYTES = 1024 * 1024
"""Of one message."""

GC_THRESHOLD = 10_000
"""Objects that were made and are still there, before the garbage collector looks for circles among them."""

SHUTDOWN_SECONDS = 15
"""How long the requests under way may take once nobody new is accepted."""
IDLE_SECONDS = 1.0
"""How long a connection without a request is kept then. Its client may be just about to send one, and a connection that
is closed under a request leaves the client not knowing whether it was served."""
END_MARGIN = 5.0
"""Seconds that a worker has beyond its own deadlines before it is killed."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends a server."""
INTERRUPTED = 130
"""The exit code after a second signal, which cuts off what was under way."""
