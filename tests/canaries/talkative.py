"""A server with every route of limen's, at its most talkative: ``python talkative.py PORT FOLDER``.

It serves as ``limen serve`` does. Every logger of the process is at level debug, asyncio and SQLAlchemy included; spans
go to ``spans.jsonl``, the table of routes to ``routes.json``.
"""

import json
import logging
import sys
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from starlette.applications import Starlette

from limen import ADMINISTRATION, Limen, Settings
from limen.core import telemetry
from limen.features.approvals.service import Approved
from limen.server.addresses import bind
from limen.server.process import serve
from limen.web.guard.dispatch import instrument
from limen.wiring.telemetry import OpenTelemetryTracer

LOGGERS = ("asyncio", "sqlalchemy", "alembic", "httpx", "httpcore", "redis", "asyncpg", "uvicorn", "mail", "concurrent")


def main(port: int, folder: Path) -> None:
    """Serve until told to end."""
    provider = TracerProvider()
    exported = (folder / "spans.jsonl").open("w", encoding="utf-8", buffering=1)
    as_line = ConsoleSpanExporter(out=exported, formatter=lambda span: span.to_json(indent=None) + "\n")
    provider.add_span_processor(SimpleSpanProcessor(as_line))
    telemetry.use(OpenTelemetryTracer(provider))
    settings = Settings.load()
    gate = Limen(settings, default_roles={"chief": [*ADMINISTRATION, "order:approve", "api-keys:own"]})

    @gate.approvals.action("order:approve", permission="order:approve")
    async def approve(_approved: Approved) -> None:
        """Do nothing."""

    app = Starlette()
    gate.protect(app, health=True, administration=True, approvals=True)
    own = instrument(app.router).own
    assert own is not None
    routes = [(method, path) for path, methods, _ in own.listed() for method in sorted(methods - {"HEAD"})]
    (folder / "routes.json").write_text(json.dumps(routes), encoding="utf-8")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)

    def on_ready(_address: str) -> None:
        # Whatever is below it says all that it can, by limen's handler.
        logging.getLogger().setLevel(logging.DEBUG)
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).setLevel(logging.DEBUG)

    serve(app, bind("127.0.0.1", port), settings, on_ready)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
