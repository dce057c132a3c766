"""Signing keys in files: the alternative to the key set in the database, by the same rules of publishing.

Somebody else makes the files and brings them to every machine: a secret store, a key ceremony, an orchestrator. limen
reads them again whenever they change, and asks nobody when a key is due: what a key is for follows from the times of
the files, so every process that has the same files comes to the same answer.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Final, NoReturn

from limen.core.clock import Clock
from limen.core.errors import ConfigurationError, Conflict, Unavailable
from limen.core.occasionally import Occasionally
from limen.crypto.key_files import key_of_pem
from limen.crypto.keys import KeySet, SigningKey
from limen.features.signing_keys.service import LEAD_MS
from limen.features.signing_keys.store import KeyState, Retired
from limen.features.signing_keys.watch import LEARN_SECONDS, UseKeys

MOST_BYTES: Final = 16_384
MOST_FILES: Final = 32
_OPEN_TO_OTHERS: Final = 0o077
_WRITABLE_BY_OTHERS: Final = 0o022
_ROOT: Final = 0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileKey:
    """A key in a file. Times are milliseconds since 1970 UTC.

    Attributes:
        kid: its id, the thumbprint (RFC 7638).
        alg: its algorithm.
        state: what it is for.
        published_at: when the file was last written.
        signs_at: when it is to sign, or began to.
        stopped_at: when it signed no more.
        keep_until: when its last token has expired, and the file may be taken away.
        path: the file.
        key: the key.
    """

    kid: str
    alg: str
    state: KeyState
    published_at: int
    signs_at: int | None
    stopped_at: int | None
    keep_until: int | None
    path: Path
    key: SigningKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read from a file, and how the file looked."""

    look: tuple[int, ...]
    written_at: int
    key: SigningKey


class KeyFiles:
    """The signing keys of one installation, in files.

    Of the keys for the algorithm, the newest signs that has been there for `LEAD_MS`; where none has, the oldest. So a
    new file is published at once and signs six minutes later, in every process, and the key before it is accepted until
    its last token has expired. A key whose file is taken away counts for nothing from the next second on.

    Args:
        paths: files, and folders whose ``*.pem`` count.
        alg: what this process signs with.
        use: told the keys whenever they changed.
        keep_ms: how long tokens of a key that signs no more are accepted.
        clock: the time, in seconds since 1970 UTC.
        lead_ms: how long a key is published before it signs.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        alg: str,
        use: UseKeys,
        keep_ms: int,
        clock: Clock,
        lead_ms: int = LEAD_MS,
    ) -> None:
        self.alg = alg
        self._paths = tuple(paths)
        self._use = use
        self._keep_ms = keep_ms
        self._clock = clock
        self._lead_ms = lead_ms
        self._read: dict[Path, _Read] = {}
        self._faults: dict[Path, str] = {}
        self._known: list[tuple[str, KeyState]] | None = None
        self._asking = Occasionally(self.catch_up, LEARN_SECONDS)
        self.learn = self._asking.ask
        self.keys = KeySet.empty()
        self._signs = False

    async def start(self) -> None:
        """Read the files.

        Raises:
            ConfigurationError: one of them cannot be used, others can read it, or none is there to sign with.
        """
        await self.catch_up()
        if self._faults:
            raise ConfigurationError("\n".join(f"{path} {fault}" for path, fault in self._faults.items()))
        if not self._signs:
            raise ConfigurationError(f"No file of LIMEN_SIGNING_KEY_FILES holds a key for {self.alg}.")

    async def catch_up(self) -> None:
        """Read what changed, and use it. A file that cannot be used any more is told; its key of before stays."""
        await asyncio.to_thread(self._look)
        judged = self._judge()
        known = [(each.kid, each.state) for each in judged]
        if known == self._known:
            return
        self._known = known
        signing = next((each.key for each in judged if each.state is KeyState.SIGNING), None)
        accepted = [each.key for each in judged if each.state is not KeyState.RETIRED]
        self.keys = KeySet(accepted) if accepted else KeySet.empty()
        self._signs = signing is not None
        self._use(signing, self.keys)
        _log.info(
            "signing keys in use",
            extra={"signs": None if signing is None else signing.kid, "accepted": [key.kid for key in self.keys]},
        )

    def require_usable(self) -> None:
        """Return where there is a key to sign with.

        Raises:
            Unavailable: there is none.
        """
        if not self._signs:
            raise Unavailable("There is no key to sign tokens with.")

    async def all(self) -> Sequence[FileKey]:
        """Return every key there is, oldest first."""
        await asyncio.to_thread(self._look)
        return self._judge()

    async def generate(self, *, actor: str) -> NoReturn:
        """Refuse: whoever brings the files to every machine makes them, too.

        Raises:
            Conflict: always.
        """
        raise Conflict("The keys are in files: put a new one beside them, and it is published within a second.")

    async def rotate(self, *, actor: str) -> NoReturn:
        """Refuse, as `generate`.

        Raises:
            Conflict: always.
        """
        raise Conflict("The keys are in files: a new file signs six minutes after it was written.")

    async def retire(self, kid: str, *, actor: str) -> Retired:
        """Refuse: this machine's files are not the only ones.

        Raises:
            Conflict: always.
        """
        raise Conflict("The keys are in files: take the file away on every machine, and its tokens are refused.")

    # --- what the files are

    def _look(self) -> None:
        """Read every file that looks otherwise than before."""
        found: dict[Path, _Read] = {}
        faults: dict[Path, str] = {}
        for path in self._files(faults):
            before = self._read.get(path)
            try:
                found[path] = _read(path, before)
            except FileNotFoundError:
                faults.setdefault(path, "is not there")
            except (OSError, ConfigurationError) as error:
                faults[path] = str(error) if isinstance(error, ConfigurationError) else "cannot be read"
                if before is not None:
                    found[path] = before
        for path, fault in faults.items():
            if self._faults.get(path) != fault:
                _log.error("a key file cannot be used", extra={"path": str(path), "reason": fault})
        self._read, self._faults = found, faults

    def _files(self, faults: dict[Path, str]) -> list[Path]:
        files: list[Path] = []
        for path in self._paths:
            try:
                status = path.stat()
                if not stat.S_ISDIR(status.st_mode):
                    files.append(path)
                    continue
                if status.st_mode & _WRITABLE_BY_OTHERS or status.st_uid not in {os.geteuid(), _ROOT}:
                    # Whoever can put a file there chooses a key, and signs with it.
                    faults[path] = "is a folder that others can write to; run: chmod go-w"
                    files.extend(known for known in self._read if known.parent == path)
                    continue
                files.extend(sorted(each for each in path.glob("*.pem") if not each.name.startswith(".")))
            except OSError:
                faults[path] = "is not there, or cannot be read"
                files.extend(known for known in self._read if known.parent == path)
        if len(files) > MOST_FILES:
            faults[files[MOST_FILES]] = f"is one too many: there are at most {MOST_FILES}"
        return files[:MOST_FILES]

    # --- what the keys are for

    def _judge(self) -> list[FileKey]:
        """Return the keys, oldest first, with what each is for now."""
        now = int(self._clock() * 1000)
        keys: dict[str, FileKey] = {}
        for path, read in sorted(self._read.items(), key=lambda item: (item[1].written_at, item[0].name)):
            made = FileKey(
                read.key.kid, read.key.alg, KeyState.RETIRING, read.written_at, None, None, None, path, read.key
            )
            keys.setdefault(made.kid, made)
        own = [each for each in keys.values() if each.alg == self.alg]
        due = [each for each in own if each.published_at + self._lead_ms <= now]
        if own:
            self._give_states(keys, own, due[-1] if due else own[0], now)
        return sorted(keys.values(), key=attrgetter("published_at"))

    def _give_states(self, keys: dict[str, FileKey], own: list[FileKey], signing: FileKey, now: int) -> None:
        at = own.index(signing)
        began = signing.published_at + self._lead_ms
        for number, each in enumerate(own):
            if number < at:
                keep_until = began + self._keep_ms
                state = KeyState.RETIRING if now < keep_until else KeyState.RETIRED
                keys[each.kid] = replace(each, state=state, stopped_at=began, keep_until=keep_until)
            elif number == at:
                since = began if began <= now else each.published_at
                keys[each.kid] = replace(each, state=KeyState.SIGNING, signs_at=since)
            else:
                keys[each.kid] = replace(each, state=KeyState.PUBLISHED, signs_at=each.published_at + self._lead_ms)


def _read(path: Path, before: _Read | None) -> _Read:
    """Read a key file that nobody else can.

    Raises:
        OSError: it cannot be opened.
        ConfigurationError: others can read it, it is somebody else's, or it holds no key that limen signs with.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as opened:
        # Asked of what was opened, and not of the name, which may mean another file a moment later.
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError("is not a plain file")
        if status.st_mode & _OPEN_TO_OTHERS:
            raise ConfigurationError("can be opened by others, who could sign with it; run: chmod 600")
        if status.st_uid not in {os.geteuid(), _ROOT}:
            raise ConfigurationError("belongs to somebody else, who could choose the key")
        look = (status.st_ino, status.st_mtime_ns, status.st_size)
        if before is not None and before.look == look:
            return before
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigurationError("is too long to be a key")
    try:
        key = key_of_pem(content)
    except ConfigurationError as error:
        raise ConfigurationError(f"holds no key to sign with: {error}") from None
    return _Read(look, status.st_mtime_ns // 1_000_000, key)
