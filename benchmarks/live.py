"""What ``@live`` adds to a guarded request: statements of the database, and time."""

import asyncio
from collections.abc import Sequence

from benchmarks.applications import PATH
from benchmarks.gates import installation
from benchmarks.load import Recite, drive, message
from benchmarks.postgres import durable_server, where
from benchmarks.refreshes import log_in
from benchmarks.rows import Effort, Row, Target, percentile
from benchmarks.servers import on_the_other_cores, server_core, serving
from tests.support.postgres import Cluster

STATEMENTS = "SELECT xact_commit FROM pg_stat_database WHERE datname = $1"
"""On PostgreSQL limen reads by statements that are transactions of their own: one more is one statement more."""


def live(effort: Effort) -> Sequence[Row]:
    """Alternate a guarded route with the same one that is also live, one request after the other."""
    core = server_core()
    count = effort.count(2_000, 50)
    with on_the_other_cores(), durable_server() as cluster:
        url = cluster.create()
        with installation(database_url=url) as environment:
            token = asyncio.run(log_in(environment, 1))[0].access_token
            texts = {path: message("GET", path, token=token) for path in (PATH, "/live")}
            times: dict[str, list[float]] = {path: [] for path in texts}
            with serving("starlette-routes", environment, core=core) as server:
                for _ in range(effort.rounds(10)):
                    for path, text in texts.items():
                        load = drive(server.port, [Recite(iter([text] * (count // 10)))]).expect(200)
                        times[path] += load.latencies
            statements = {}
            for path, text in texts.items():
                before = _statements(cluster, url)
                with serving("starlette-routes", environment, core=core) as server:
                    drive(server.port, [Recite(iter([text] * count))]).expect(200)
                # What its connections have counted is told when they close.
                statements[path] = _statements(cluster, url) - before
        told = where(cluster)
    guarded, also_live = (percentile(times[path], 0.5) * 1000 for path in texts)
    return [
        Row(
            "live",
            "Time that @live adds to a guarded request",
            "ms",
            also_live - guarded,
            target=Target("at most", 1),
            rounds=effort.rounds(10),
            note=f"medians {also_live:.2f} and {guarded:.2f} ms, one request at a time; {told}",
        ),
        Row(
            "live",
            "Statements that @live adds to a guarded request",
            "",
            round((statements["/live"] - statements[PATH]) / count, 2),
            target=Target("at most", 1.01 if not effort.quick else 2),
            note=f"{statements['/live']} and {statements[PATH]} for {count} requests each, with start and polling",
        ),
    ]


def _statements(cluster: Cluster, url: str) -> int:
    ((count,),) = cluster.execute(STATEMENTS, url.rsplit("/", 1)[1])
    return int(count)
