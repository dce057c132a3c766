import os
from pathlib import Path

from limen.settings import Settings
from tests.cli.conftest import Run


def secrets_of(file: Path) -> tuple[str, str, str]:
    """Return the three secrets of a settings file."""
    settings = Settings.load(env_file=file)
    (data,) = settings.data_secrets
    access, refresh = settings.jwt_access_secret, settings.jwt_refresh_secret
    return access.get_secret_value(), refresh.get_secret_value(), data.get_secret_value()


def test_writes_a_private_file_that_limen_accepts(run: Run, clean_environment: Path) -> None:
    """``init`` writes a file (0600, whatever the umask) with three different secrets that the settings accept."""
    before = os.umask(0)
    try:
        done = run("init")
    finally:
        os.umask(before)
    file = clean_environment / ".env"
    assert done.code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    made = secrets_of(file)
    assert len(set(made)) == 3
    assert min(map(len, made)) >= 64
    assert Settings.load(env_file=file).database_path == clean_environment / "limen.db"
    assert [path.name for path in clean_environment.iterdir()] == [".env"]


def test_prints_no_secret(run: Run, clean_environment: Path) -> None:
    """Neither what ``init`` prints for people nor its JSON holds a secret."""
    told = run("init").out + run("init", "--force", "--json").out
    assert not any(secret in told for secret in secrets_of(clean_environment / ".env"))


def test_leaves_a_file_alone(run: Run, clean_environment: Path) -> None:
    """A file that is there is refused with 1 and stays as it is; ``--force`` makes new secrets."""
    run("init")
    before = secrets_of(clean_environment / ".env")
    refused = run("init", "--json")
    assert (refused.code, refused.problem["code"]) == (1, "conflict")
    assert secrets_of(clean_environment / ".env") == before
    assert run("init", "--force").code == 0
    assert set(secrets_of(clean_environment / ".env")).isdisjoint(before)


def test_does_not_follow_a_link(run: Run, clean_environment: Path) -> None:
    """A link in the place of the file is refused without ``--force`` and replaced with it, never written through."""
    target = clean_environment / "somebody's"
    target.write_text("untouched")
    (clean_environment / ".env").symlink_to(target)
    assert run("init").code == 1
    assert run("init", "--force").code == 0
    assert target.read_text() == "untouched"


def test_a_folder_that_is_not_there_is_3(run: Run) -> None:
    """A file that cannot be written ends with 3 and the reason."""
    done = run("init", "--file", "nowhere/.env")
    assert done.code == 3
    assert "No such file" in done.err


def test_what_it_prints_next_works(run: Run, clean_environment: Path) -> None:
    """The printed lines name a file that ``doctor`` and ``accounts`` accept."""
    out = run("init").out
    assert f"export LIMEN_ENV_FILE={clean_environment / '.env'}" in out
    assert run("doctor", "--env-file", str(clean_environment / ".env")).code == 0
