"""A server with short deadlines for request heads, for tests: ``heads_server.py FOLDER PORT httptools|h11 LIMITS``."""

import json
import sys
from pathlib import Path

if sys.argv[3] == "h11":
    sys.modules["httptools"] = None  # type: ignore[assignment] # as where it is not installed

from limen.server.addresses import bind
from limen.server.head_deadline import HeadLimits
from limen.server.process import serve
from limen.server.standalone import application
from tests.support.gates import settings_for

if __name__ == "__main__":
    settings = settings_for(Path(sys.argv[1]))
    limits = HeadLimits(**json.loads(sys.argv[4]))
    serve(application(settings), bind("127.0.0.1", int(sys.argv[2])), settings, lambda _: None, heads=limits)
