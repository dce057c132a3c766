"""The memory of a worker that has seen a hundred thousand different access tokens."""

from collections.abc import Sequence

from benchmarks.applications import PATH
from benchmarks.gates import TokenMaker, installation, settings_of
from benchmarks.load import Recite, drive, message
from benchmarks.rows import Effort, Row, Target
from benchmarks.servers import serving

BATCH = 5_000


def memory(effort: Effort) -> Sequence[Row]:
    """Send that many tokens to one uvicorn worker, each once, and look at its resident memory."""
    total = effort.count(100_000, 400)
    with installation() as environment:
        maker = TokenMaker(settings_of(environment))
        with serving("fastapi-bare", environment) as bare:
            drive(bare.port, [Recite(iter([message("GET", PATH)]))]).expect(200)
            floor = bare.resident_mib()
        with serving("fastapi-limen", environment) as server:
            drive(server.port, [Recite(iter([message("GET", PATH, token=maker.make())]))]).expect(200)
            at_first = server.resident_mib()
            for begin in range(0, total, BATCH):
                tokens = maker.make_many(min(BATCH, total - begin))
                series = iter([message("GET", PATH, token=token) for token in tokens])
                drive(server.port, [Recite(series) for _ in range(16)]).expect(200)
            after = server.resident_mib()
    return [
        Row(
            "memory",
            f"Resident memory of a uvicorn worker after {total:,} distinct tokens".replace(",", " "),
            "MiB",
            after,
            floor,
            "bare FastAPI",
            after / floor,
            Target("at most", 150),
            note=f"after its first request {at_first:.0f}",
        )
    ]
