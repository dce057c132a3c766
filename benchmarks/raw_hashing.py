"""The floor of logins: threads that hash with bcrypt and do nothing else.

``python -m benchmarks.raw_hashing COUNT COST THREADS`` prints the hashes a second.

The threads run at nice 19 as limen's do, or a machine with other work would be measured instead.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from itertools import count

import bcrypt


def hashes_a_second(total: int, cost: int, threads: int) -> float:
    """Return the rate at which the threads together verify passwords, over ``total`` of them."""
    stored = bcrypt.hashpw(b"correct horse battery staple", bcrypt.gensalt(cost))
    tickets = count()
    begin = threading.Barrier(threads + 1)

    def work() -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        begin.wait()
        while next(tickets) < total:
            bcrypt.checkpw(b"correct horse battery staple", stored)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    begin.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return total / (time.perf_counter() - start)


if __name__ == "__main__":
    print(hashes_a_second(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
