"""The process that imports the application: ``python -P -m limen.checklist.child FD``, and an `Order` to its input.

It writes what it found out to a file descriptor, as JSON. The application's own output goes elsewhere, so that nothing
that it prints is taken for facts.
"""

import faulthandler
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec

from limen.checklist.facts import Broken
from limen.checklist.haste import collect_rarely, remember_signatures
from limen.checklist.importing import broken, cut_off_network, inner_application, load, own_files, placed
from limen.checklist.intervening import intervene
from limen.checklist.lighter import LIGHTER
from limen.checklist.made_up import FilledEnvironment, fill_settings_of_limen, filling
from limen.checklist.telling import tell_executed

Tell = Callable[[str, object], None]

CLOSED: Final = 71
"""How the process ends where an import closed the file that facts are written to."""
WHERE: Final = signal.SIGUSR1
"""What asks the process to print where it stands."""
_GRACE_SECONDS: Final = 30


class Order(msgspec.Struct, frozen=True):
    """What to look at.

    Attributes:
        target: ``MODULE:NAME``.
        fill: make up settings that are missing.
        seconds: how long it may take.
    """

    target: str
    fill: bool
    seconds: float


def find_out(target: str, tell: Tell, *, fill: bool) -> None:
    """Tell the files of an application, then its facts; or why there are none.

    Args:
        target: ``MODULE:NAME``.
        tell: takes the name of what is told, and the value.
        fill: make up settings that are missing.
    """
    faked: list[str] = []
    if fill:
        environment = FilledEnvironment(os.environ)
        # Not to clear it: whoever asks for a name that is not there is to get one.
        os.environ = environment  # type: ignore[assignment]  # noqa: B003
        faked = environment.faked
        fill_settings_of_limen(environment)
    intervene({**LIGHTER, **({"pydantic_settings": filling(faked)} if fill else {})})
    here = Path.cwd()
    end_telling = tell_executed(here, lambda file: tell("file", file))
    try:
        app = inner_application(load(target))
    except BaseException as error:  # sys.exit() and KeyboardInterrupt in an import, too, are the application's
        end_telling()
        tell("broken", broken(error))
        return
    end_telling()
    try:
        _read(app, target, here, faked, tell)
    except Exception as error:  # an object that answers to everything, say: then that is the reason, and not silence
        why = broken(error)
        tell("broken", msgspec.structs.replace(why, reason=f"its routes cannot be read: {why.reason}"))


def _read(app: Any, target: str, here: Path, faked: list[str], tell: Tell) -> None:
    if not hasattr(app, "routes") and not hasattr(app, "router"):
        what = f"{target} is a {type(app).__qualname__}, and not a FastAPI or Starlette application"
        tell("broken", Broken(what))
        return
    # Before the routes are read, so that the parent reads the files meanwhile.
    files = own_files(target, here)
    tell("files", files)
    from limen.checklist.routes.reading import read_application

    read = read_application(app, target)
    # Those of limen are made up before anybody asks for them.
    is_asked = "limen.settings" in sys.modules
    faked_once = tuple(name for name in dict.fromkeys(faked) if is_asked or not name.startswith("LIMEN_"))
    tell("application", msgspec.structs.replace(read, place=placed(target), files=files, faked=faked_once))


def _limit(seconds: float) -> None:
    """End by itself where whoever started this is gone; tell where it stands when asked; leave no image of memory."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(seconds) + _GRACE_SECONDS)
    faulthandler.enable(all_threads=False)
    faulthandler.register(WHERE, all_threads=False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _teller(descriptor: int) -> Tell:
    # Programs that the import runs do not get it.
    os.set_inheritable(descriptor, False)
    before = os.fstat(descriptor)

    def tell(name: str, value: object) -> None:
        message = memoryview(msgspec.json.encode({name: value}) + b"\n")
        try:
            # An import that closed it may have opened a file of its own under the same number.
            if not os.path.samestat(before, os.fstat(descriptor)):
                os._exit(CLOSED)
            while message:
                message = message[os.write(descriptor, message) :]
        except OSError:
            os._exit(CLOSED)

    return tell


def _order() -> Order:
    """Return the order; end where whoever was to give it is gone. The application finds nothing to read."""
    given = b"".join(iter(lambda: os.read(0, 65_536), b""))
    if not given:
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return msgspec.json.decode(given, type=Order)


def main() -> None:
    """Look at the application that is ordered, and write what was found to the file that the command line names."""
    descriptor = int(sys.argv[1])
    # What parses the command line at import finds none.
    del sys.argv[1:]
    try:
        collect_rarely()
        # Takes a tenth of a second, in which there may be no order yet. What is missing is told when it is needed.
        with suppress(ImportError):
            import_module("limen.checklist.routes.reading")
        order = _order()
        _limit(order.seconds)
        remember_signatures()
        cut_off_network()
        find_out(order.target, _teller(descriptor), fill=order.fill)
    finally:
        # Threads and hooks of the application are not waited for.
        os._exit(0)


if __name__ == "__main__":
    main()
