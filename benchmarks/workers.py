"""What a second worker brings, on a machine whose cores the database and the load share with the workers."""

import asyncio
import statistics
from collections.abc import Sequence

from benchmarks.gates import installation
from benchmarks.load import Repeat, drive, message
from benchmarks.postgres import durable_server
from benchmarks.refreshes import Rotating, log_in
from benchmarks.rows import Effort, Row, Target, median_ratio
from benchmarks.servers import cores, serving

CONNECTIONS = 16
PAUSE = 0.01


def workers(effort: Effort) -> Sequence[Row]:
    """Alternate one worker with two: a guarded route that computes, and refreshes."""
    ways = ("one", "two")
    rates: dict[str, list[float]] = {way: [] for way in ways}
    costs: dict[str, list[float]] = {way: [] for way in ways}
    refreshed: dict[str, list[float]] = {way: [] for way in ways}
    with durable_server() as cluster:
        url = cluster.create()
        with installation(database_url=url) as environment:
            issued = asyncio.run(log_in(environment, effort.count(CONNECTIONS, 4)))
            computing = [Repeat(message("GET", "/work", token=each.access_token)) for each in issued]
            rotating = [Rotating(each.refresh_token) for each in issued]
            with (
                serving("starlette-routes", environment) as one,
                serving("starlette-routes", environment, workers=2) as two,
            ):
                for server in (one, two):
                    drive(server.port, computing, seconds=effort.seconds(0.5)).expect(200)
                    drive(server.port, rotating, seconds=effort.seconds(0.5)).expect(200)
                for _ in range(effort.rounds(5)):
                    for way, server in zip(ways, (one, two), strict=True):
                        rates[way].append(
                            drive(server.port, computing, seconds=effort.seconds(2), pause=PAUSE).expect(200).rate
                        )
                        before = server.cpu_seconds()
                        load = drive(server.port, rotating, seconds=effort.seconds(2), pause=PAUSE).expect(200)
                        refreshed[way].append(load.rate)
                        costs[way].append((server.cpu_seconds() - before) / load.count * 1e6)
    both, alone = (statistics.median(refreshed[way]) for way in ("two", "one"))
    shared = f"{len(cores())} cores for workers, load and database"
    return [
        Row(
            "workers",
            "Requests that compute for 1-2 ms, two workers",
            "requests/s",
            statistics.median(rates["two"]),
            statistics.median(rates["one"]),
            "one worker",
            median_ratio(rates["two"], rates["one"]),
            Target("at least", 1.8, of="ratio") if len(cores()) > 1 else None,
            len(rates["two"]),
            f"guarded, no store call; {shared}",
        ),
        Row(
            "workers",
            "CPU of the workers for one refresh, two workers",
            "µs",
            statistics.median(costs["two"]),
            statistics.median(costs["one"]),
            "one worker",
            median_ratio(costs["two"], costs["one"]),
            rounds=len(costs["two"]),
            note=f"{both:.0f} refreshes/s with two, {alone:.0f} with one, which shows no more than there are {shared}",
        ),
    ]
