"""A PostgreSQL server for the benchmarks: durable, its data on a disk, beside the load and not on the server's core."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

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
    wanted = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    found = [path for path in wanted if path.is_dir() and (os.getuid() != 0 or is_open_to_all(path))]
    return next((path for path in found if kind_of_disk(path) not in _IN_MEMORY), found[0])


def kind_of_disk(folder: Path) -> str:
    """Return the kind of file system that a folder is on, such as ``ext4``."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def free_gib(folder: Path) -> float:
    """Return how much room there is, in GiB."""
    return shutil.disk_usage(folder).free / 2**30
