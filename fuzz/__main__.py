"""`python -m fuzz TARGET [options of libFuzzer]`: look for inputs that a target does not bear.

Needs atheris, which `make fuzz` installs beside the environment. New inputs go to ``var/fuzz/TARGET``; ``--minimise``
instead writes into ``fuzz/corpus`` what of them, and of those kept already, reaches code that nothing smaller does.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from hashlib import sha256
from pathlib import Path

from fuzz import CORPUS, TARGETS

MOST_BYTES = 4096


def main(arguments: list[str]) -> None:
    """Run one target; libFuzzer ends the process."""
    atheris = importlib.import_module("atheris")  # no build of it for every system: the rest does without
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minimise", action="store_true")
    given, options = parser.parse_known_args(arguments)
    found = Path("var/fuzz") / given.target
    found.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["limen"]):
        target = importlib.import_module(f"fuzz.fuzz_{given.target}")
    kept = CORPUS / given.target
    kept.mkdir(parents=True, exist_ok=True)
    # libFuzzer merges in a process of its own, which it starts by a line for a shell and tells what to read.
    line = f"{shlex.quote(sys.executable)} -m fuzz {given.target}"
    if any(option.startswith("-merge_inner") for option in options):
        folders = []
    elif given.minimise:
        folders = ["-merge=1", str(kept), str(found)]
    else:
        for seed in target.seeds():
            (found / sha256(seed).hexdigest()[:40]).write_bytes(seed)
        folders = [str(found), str(kept)]
    common = [f"-max_len={MOST_BYTES}", "-timeout=30", f"-artifact_prefix={found}.", "-print_final_stats=1"]
    with target.opened() as check:
        atheris.Setup([line, *common, *options, *folders], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
