"""A PostgreSQL server for the benchmarks: durable, its data on a disk, beside the load and not on the server's core."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.servers import ROOT, processor_seconds
from tests.support.postgres import Cluster, is_open_to_all, own

# What an operator sets for a small server; the rest are PostgreSQL's own defaults.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@contextmanager
def durable_server(**settings: str) -> Iterator[Cluster]:
    """Run a server for as long as the context lasts: ``fsync``, ``synchronous_commit`` and ``full_page_writes`` on.

    Raises:
        Lacking: there is no PostgreSQL on this machine.
    """
    with own(durable=True, place=place_on_disk(), **{**SETTINGS, **settings}) as cluster:
        yield cluster


def place_on_disk() -> Path:
    """Return a folder on a disk: in memory a flush costs nothing, and the figures would be those of another machine."""
    wanted = [Path(tempfile.gettempdir()), ROOT]
    found = [path for path in wanted if path.is_dir() and (os.getuid() != 0 or is_open_to_all(path))]
    return next((path for path in found if kind_of_disk(path) not in _IN_MEMORY), found[0])


def kind_of_disk(folder: Path) -> str:
    """Return the kind of file system that a folder is on, such as ``ext4``."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def where(cluster: Cluster) -> str:
    """Return in a few words what a figure depends on that the table does not show."""
    version = cluster.execute("SHOW server_version")[0][0].split()[0]
    return f"PostgreSQL {version}, fsync on, its data on {kind_of_disk(cluster.folder)}"


class Backends:
    """What the database's processes spend on the connections to one database.

    Args:
        cluster: the server.
        url: of the database; others' connections, and what the server does by itself, are not counted.
    """

    def __init__(self, cluster: Cluster, url: str) -> None:
        self._server = psutil.Process(cluster.pid)
        self._name = urlsplit(url).path[1:]
        self._spent: dict[int, float] = {}

    def cpu_seconds(self) -> float:
        """Return the processor time spent so far by the backends that are there, or were when last asked."""
        for process in self._server.children():
            with suppress(psutil.Error):
                # Its title: «postgres: role database address(port) idle».
                if self._name in " ".join(process.cmdline()).split():
                    self._spent[process.pid] = processor_seconds(process)
        return sum(self._spent.values())
