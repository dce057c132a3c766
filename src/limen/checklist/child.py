"""The process that imports the application: ``python -m limen.checklist.child MODULE:NAME FD``.

It writes what it found out to a file descriptor, as JSON. The application's own output goes elsewhere, so that nothing
that it prints is taken for facts.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from limen.checklist.facts import Broken
from limen.checklist.haste import collect_rarely, remember_signatures
from limen.checklist.importing import (
    FilledEnvironment,
    broken,
    cut_off_network,
    fill_settings,
    fill_settings_of_limen,
    inner_application,
    load,
    own_files,
    placed,
)

Tell = Callable[[str, object], None]


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
        fill_settings(faked)
        fill_settings_of_limen(environment)
    try:
        app = inner_application(load(target))
    except BaseException as error:  # sys.exit() and KeyboardInterrupt in an import, too, are the application's
        tell("broken", broken(error, ""))
        return
    _read(app, target, faked, tell)


def _read(app: Any, target: str, faked: list[str], tell: Tell) -> None:
    if not hasattr(app, "routes") and not hasattr(app, "router"):
        what = f"{target} is a {type(app).__qualname__}, and not a FastAPI or Starlette application"
        tell("broken", Broken(what))
        return
    # Before the routes are read, so that the parent reads the files meanwhile.
    files = own_files(target)
    tell("files", files)
    from limen.checklist.routes.reading import read_application

    read = read_application(app, target)
    # Those of limen are made up before anybody asks for them.
    is_asked = "limen.settings" in sys.modules
    faked_once = tuple(name for name in dict.fromkeys(faked) if is_asked or not name.startswith("LIMEN_"))
    tell("application", msgspec.structs.replace(read, place=placed(target), files=files, faked=faked_once))


def main() -> None:
    """Look at the application that the command line names, and write what was found."""
    target, descriptor, fill = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "fill"
    collect_rarely()
    remember_signatures()
    cut_off_network()
    with os.fdopen(descriptor, "wb") as pipe:

        def tell(name: str, value: object) -> None:
            pipe.write(msgspec.json.encode({name: value}) + b"\n")
            pipe.flush()

        find_out(target, tell, fill=fill)
    # Threads and hooks of the application are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
