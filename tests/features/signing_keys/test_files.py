"""Keys in files: what each is for follows from the times of the files; others must not be able to read them."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limen import Limen
from limen.authn.strategy import Authenticated, PresentedCredential
from limen.core.errors import ConfigurationError, Conflict, Unavailable
from limen.core.events import NOWHERE
from limen.crypto.keys import AsymmetricAlgorithm, SigningKey
from limen.features.signing_keys.files import MOST_BYTES, KeyFiles
from limen.features.signing_keys.service import LEAD_MS
from tests.features.conftest import Turned
from tests.support.gates import PASSWORD, gate_for

LEAD = LEAD_MS // 1000
KEEP = 900 + 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for keys that only its owner can write to."""
    made = tmp_path / "keys"
    made.mkdir(mode=0o700)
    return made


def put(path: Path, alg: AsymmetricAlgorithm = "ES256", *, age: float = 0, mode: int = 0o600) -> str:
    """Write a new key to a file, as old as it is to be, and return its id."""
    key = SigningKey.generate(alg)
    path.write_bytes(key.private_pem_in_the_clear())
    path.chmod(mode)
    written = time.time() - age
    os.utime(path, (written, written))
    return key.kid


def a_gate(tmp_path: Path, clock: Turned, *paths: Path, **overrides: Any) -> Limen:
    """Make a gate that signs with the keys in files; it has no data secret."""
    files = ",".join(map(str, paths))
    return gate_for(
        tmp_path, clock=clock, **{"signing_alg": "ES256", "signing_key_files": files, "data_secrets": "", **overrides}
    )


def keys_of(gate: Limen) -> KeyFiles:
    """Return the keys of a gate that has them in files."""
    assert isinstance(gate.signing_keys, KeyFiles)
    return gate.signing_keys


async def states(gate: Limen) -> dict[str, str]:
    """Return what every key is for."""
    return {key.kid: str(key.state) for key in await keys_of(gate).all()}


async def token(gate: Limen) -> str:
    """Log ann in."""
    return (await gate.login.login("ann", PASSWORD, origin=NOWHERE)).access_token


def is_let_in(gate: Limen, text: str) -> bool:
    """Tell whether a gate takes a token."""
    return isinstance(gate.bearer.recall(PresentedCredential("bearer", text.encode())), Authenticated)


def published(gate: Limen) -> set[str]:
    """Return the ids of the keys that others verify with."""
    return {key["kid"] for key in gate.bearer.keys.public_jwks()["keys"]}


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
async def test_the_only_key_signs_at_once(
    tmp_path: Path, folder: Path, clock: Turned, alg: AsymmetricAlgorithm
) -> None:
    """However new it is, and without a data secret; nothing is put into the database."""
    kid = put(folder / "one.pem", alg)
    async with a_gate(tmp_path, clock, folder / "one.pem", signing_alg=alg).running() as gate:
        await gate.accounts.create("ann", PASSWORD)
        assert is_let_in(gate, await token(gate))
        assert published(gate) == {kid}
        assert (await gate.storage.signing_keys.all()).keys == []
        await gate.ready()


async def test_a_new_file_is_published_first_and_signs_later(tmp_path: Path, folder: Path, clock: Turned) -> None:
    """The same rule as in the database: six minutes; then the one before is accepted until its tokens have expired."""
    old = put(folder / "2026-01.pem", age=3600)
    async with a_gate(tmp_path, clock, folder).running() as gate, a_gate(tmp_path, clock, folder).running() as peer:
        await gate.accounts.create("ann", PASSWORD)
        before = await token(gate)
        new = put(folder / "2026-02.pem")
        for each in (gate, peer):
            await keys_of(each).catch_up()
            assert await states(each) == {old: "signing", new: "published"}
            assert published(each) == {old, new}
        assert is_let_in(peer, await token(gate))
        clock.ahead = LEAD - 5
        await keys_of(gate).catch_up()
        assert (await states(gate))[old] == "signing"
        clock.ahead = LEAD + 5
        for each in (gate, peer):
            await keys_of(each).catch_up()
            assert await states(each) == {old: "retiring", new: "signing"}
        assert is_let_in(peer, await token(gate))
        assert is_let_in(gate, before)
        clock.ahead = LEAD + KEEP + 10
        await keys_of(gate).catch_up()
        assert await states(gate) == {old: "retired", new: "signing"}
        assert published(gate) == {new}


async def test_a_file_that_is_taken_away_ends_its_tokens(tmp_path: Path, folder: Path, clock: Turned) -> None:
    """In an emergency that is all there is to do; without any file nothing is signed, and the process is not ready."""
    put(folder / "a.pem", age=7200)
    second = put(folder / "b.pem", age=3600)
    async with a_gate(tmp_path, clock, folder).running() as gate:
        await gate.accounts.create("ann", PASSWORD)
        issued = await token(gate)
        assert is_let_in(gate, issued)
        (folder / "b.pem").unlink()
        await keys_of(gate).catch_up()
        assert not is_let_in(gate, issued)
        assert second not in published(gate)
        assert is_let_in(gate, await token(gate))
        (folder / "a.pem").unlink()
        await keys_of(gate).catch_up()
        with pytest.raises(Unavailable):
            await gate.ready()
        with pytest.raises(Unavailable):
            await token(gate)


async def test_files_of_one_time_are_taken_by_their_names(tmp_path: Path, folder: Path, clock: Turned) -> None:
    """An orchestrator writes all of them anew at once: then the last name is the newest, and the first signs on."""
    first, last = put(folder / "2026-01.pem"), put(folder / "2026-02.pem")
    now = time.time()
    for name in ("2026-01.pem", "2026-02.pem"):
        os.utime(folder / name, (now, now))
    async with a_gate(tmp_path, clock, folder).running() as gate:
        assert await states(gate) == {first: "signing", last: "published"}
        clock.ahead = LEAD + 1
        assert await states(gate) == {first: "retiring", last: "signing"}


async def test_another_algorithm_is_accepted_and_does_not_sign(tmp_path: Path, folder: Path, clock: Turned) -> None:
    """After a change of the algorithm the files of before stay until their tokens have expired."""
    rsa, mine = put(folder / "rsa.pem", "RS256", age=3600), put(folder / "ec.pem")
    async with a_gate(tmp_path, clock, folder).running() as gate:
        assert await states(gate) == {rsa: "retiring", mine: "signing"}
        assert published(gate) == {rsa, mine}


def _open_to_group(folder: Path) -> None:
    put(folder / "k.pem", mode=0o640)


def _open_to_all(folder: Path) -> None:
    put(folder / "k.pem", mode=0o604)


def _not_a_key(folder: Path) -> None:
    (folder / "k.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (folder / "k.pem").chmod(0o600)


def _too_long(folder: Path) -> None:
    (folder / "k.pem").write_bytes(b"x" * (MOST_BYTES + 1))
    (folder / "k.pem").chmod(0o600)


def _a_public_key(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    public = SigningKey.generate("ES256").verification_key._public
    assert public is not None
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "k.pem").write_bytes(pem)
    (folder / "k.pem").chmod(0o600)


def _another_algorithm(folder: Path) -> None:
    put(folder / "k.pem", "EdDSA")


def _writable_folder(folder: Path) -> None:
    put(folder / "k.pem")
    folder.chmod(0o770)


def _a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "k.pem", 0o600)


def _nothing(folder: Path) -> None:
    (folder / "k.txt").write_text("no key")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_open_to_group, "chmod 600"), (_open_to_all, "chmod 600"), (_not_a_key, "no key to sign with"),
        (_too_long, "too long"), (_a_public_key, "no key to sign with"), (_another_algorithm, "No file"),
        (_writable_folder, "chmod go-w"), (_a_pipe, "not a plain file"), (_nothing, "No file"),
    ],
)  # fmt: skip
async def test_files_that_cannot_be_used_stop_the_start(
    tmp_path: Path, folder: Path, clock: Turned, make: Callable[[Path], None], words: str
) -> None:
    """Above all those that others can read: they could sign, too."""
    make(folder)
    gate = a_gate(tmp_path, clock, folder)
    with pytest.raises(ConfigurationError, match=words):
        await gate.start()
    await gate.storage.stop()


async def test_files_that_are_not_there(tmp_path: Path, folder: Path, clock: Turned) -> None:
    """A missing file stops the start, and says which."""
    gate = a_gate(tmp_path, clock, folder / "missing.pem")
    with pytest.raises(ConfigurationError, match=r"missing\.pem is not there"):
        await gate.start()
    await gate.storage.stop()


async def test_what_goes_wrong_later_is_told_and_stops_nothing(
    tmp_path: Path, folder: Path, clock: Turned, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is half written, or became readable, keeps its key of before; the log has a line, once."""
    kid = put(folder / "a.pem", age=3600)
    async with a_gate(tmp_path, clock, folder).running() as gate:
        (folder / "a.pem").chmod(0o644)
        (folder / "b.pem").write_text("-----BEGIN PRIVATE")
        (folder / "b.pem").chmod(0o600)
        for _ in range(3):
            await keys_of(gate).catch_up()
        assert await states(gate) == {kid: "signing"}
        told = [record.__dict__["reason"] for record in caplog.records if record.msg == "a key file cannot be used"]
        assert len(told) == 2
        os.chmod(folder, 0o777)  # noqa: PTH101, S103 - that is what is tested
        await keys_of(gate).catch_up()
        assert await states(gate) == {kid: "signing"}
        os.chmod(folder, 0o700)  # noqa: PTH101
        (folder / "a.pem").chmod(0o600)
        put(folder / "b.pem")
        await keys_of(gate).catch_up()
        assert len(published(gate)) == 2


async def test_the_commands_say_where_the_keys_are(tmp_path: Path, folder: Path, clock: Turned) -> None:
    """Whoever brings the files makes and takes them, too."""
    put(folder / "a.pem")
    async with a_gate(tmp_path, clock, folder).running() as gate:
        keys = keys_of(gate)
        for act in (keys.generate(actor="cli"), keys.rotate(actor="cli"), keys.retire("x", actor="cli")):
            with pytest.raises(Conflict, match="in files"):
                await act


def test_files_need_an_algorithm(tmp_path: Path, folder: Path, clock: Turned) -> None:
    """With a secret they would never be read: that is refused, and not passed over."""
    with pytest.raises(ConfigurationError, match="LIMEN_SIGNING_ALG is HS256"):
        a_gate(tmp_path, clock, folder, signing_alg="HS256")
    assert "keys" not in str(a_gate(tmp_path, clock, folder).settings.describe().values())
