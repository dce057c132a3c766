"""Whose folder the demo takes: nobody's but the caller's own."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from limen.core.errors import ConfigurationError
from limen.server.demo import ACCOUNTS, prepare
from limen.server.private_file import require_own_file, require_own_folder

NOBODY = 65534
PLANTED = json.dumps({name: {"username": name, "password": "a stranger chose this one"} for name in ACCOUNTS})

Plant = Callable[[Path], None]


def others_can_write(folder: Path) -> None:
    """Make the folder one that everybody may put files into."""
    folder.chmod(0o777)


def group_can_write(folder: Path) -> None:
    """Make the folder one that its group may put files into."""
    folder.chmod(0o770)


def open_accounts(folder: Path) -> None:
    """Plant accounts that others may read."""
    file = folder / "demo-accounts.json"
    file.write_text(PLANTED)
    file.chmod(0o644)


def linked_accounts(folder: Path) -> None:
    """Plant accounts behind a link."""
    file = folder.parent / "accounts.json"
    file.write_text(PLANTED)
    file.chmod(0o600)
    (folder / "demo-accounts.json").symlink_to(file)


def linked_settings(folder: Path) -> None:
    """Plant settings behind a link."""
    (folder / "demo.env").symlink_to(folder.parent / "elsewhere.env")


def linked_database(folder: Path) -> None:
    """Plant a link in the place of limen's database."""
    (folder / "limen.db").symlink_to(folder.parent / "elsewhere.db")


def linked_orders(folder: Path) -> None:
    """Plant a link in the place of the example's database."""
    (folder / "orders.db").symlink_to(folder.parent / "elsewhere.db")


def open_log(folder: Path) -> None:
    """Plant a write-ahead log that everybody may write."""
    file = folder / "limen.db-wal"
    file.touch()
    file.chmod(0o666)


@pytest.mark.parametrize(
    "plant",
    [
        others_can_write,
        group_can_write,
        open_accounts,
        linked_accounts,
        linked_settings,
        linked_database,
        linked_orders,
        open_log,
    ],
)
def test_what_a_stranger_may_have_planted_is_refused(tmp_path: Path, plant: Plant) -> None:
    """A folder or file that others can write, and a link, are refused with what to do; nothing is made anywhere."""
    folder = tmp_path / "shared"
    folder.mkdir(0o700)
    plant(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigurationError, match=r"chmod|remove it"):
        prepare(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    """A link in the place of the folder is refused: it leads where somebody else decides."""
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        prepare(tmp_path / "link")
    assert list((tmp_path / "real").iterdir()) == []


def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    """A folder or file of another user is refused whatever its mode; root's, for whoever is not root."""
    if os.geteuid() == 0:
        folder, file = tmp_path / "theirs", tmp_path / "file"
        folder.mkdir(0o700)
        file.touch(0o600)
        os.chown(folder, NOBODY, NOBODY)
        os.chown(file, NOBODY, NOBODY)
    else:
        folder, file = Path("/"), Path("/etc/passwd")
    with pytest.raises(ConfigurationError, match="another user"):
        require_own_folder(folder)
    with pytest.raises(ConfigurationError, match="another user"):
        require_own_file(file)


def test_an_own_folder_is_taken_whatever_the_umask(tmp_path: Path) -> None:
    """What the demo made itself it takes again, also where the umask lets the group write."""
    before = os.umask(0o002)
    try:
        first = prepare(tmp_path / "own")
        second = prepare(tmp_path / "own")
    finally:
        os.umask(before)
    assert (first.fresh, second.fresh) == (True, False)
    assert first.accounts == second.accounts
