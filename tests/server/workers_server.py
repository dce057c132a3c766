"""Several workers on SQLite, which the command line refuses: ``workers_server.py SETTINGS_FILE PORT WORKERS``.

What a supervisor does has nothing to do with the database, and SQLite needs no server of its own.
"""

import sys
from pathlib import Path

from limen.cli.exits import report
from limen.core.errors import ConfigurationError, LimenError
from limen.server.supervisor import run
from limen.settings import Settings

if __name__ == "__main__":
    file = Path(sys.argv[1])

    def ready(address: str) -> None:
        """Say what the command says."""
        print(f"limen serves {address}", flush=True)

    try:
        run(
            Settings.load(env_file=file),
            host="127.0.0.1",
            port=int(sys.argv[2]),
            workers=int(sys.argv[3]),
            on_ready=ready,
            env_file=file,
        )
    except (ConfigurationError, LimenError) as error:
        sys.exit(report(error, as_json=False))
