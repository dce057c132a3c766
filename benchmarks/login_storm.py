"""A storm of logins from a process of its own: ``python -m benchmarks.login_storm PORT SECONDS`` prints how many."""

import sys

from benchmarks.load import Repeat, drive
from benchmarks.logins import CONNECTIONS, login_message


def main() -> None:
    """Log in over all connections until the time is over."""
    load = drive(int(sys.argv[1]), [Repeat(login_message()) for _ in range(CONNECTIONS)], seconds=float(sys.argv[2]))
    print(load.expect(200).count)


if __name__ == "__main__":
    main()
