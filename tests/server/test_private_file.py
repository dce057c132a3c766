import errno
import os
from pathlib import Path

import pytest

from limen.server.private_file import write_private


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """The file is 0600 whatever the umask says, and nothing else is left in the folder."""
    before = os.umask(0)
    try:
        write_private(tmp_path / "file", "content", replace=False)
        write_private(tmp_path / "file", "other", replace=True)
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_text() == "other"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("links", [True, False])
def test_nothing_is_overwritten_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """A file that is there stays, on file systems with hard links and on those without."""

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    write_private(tmp_path / "file", "first", replace=False)
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "file", "second", replace=False)
    assert (tmp_path / "file").read_text() == "first"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 1
