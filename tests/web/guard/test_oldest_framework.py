"""The guard holds on the oldest supported FastAPI and Starlette as on the newest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_INSIDE = "LIMEN_TEST_OLDEST"
_ROOT = Path(__file__).parents[3]

if _INSIDE not in os.environ:

    @pytest.mark.timeout(600)
    def test_all_of_these_tests_pass_on_the_oldest_framework() -> None:
        """Every test of this folder, of policies on routes and of what a check sees, with the oldest framework."""
        oldest = Path(sys.prefix) / "oldest"
        assert (oldest / "fastapi").is_dir(), "the environment of the tests was made without the oldest framework"
        path = os.pathsep.join([str(oldest), str(_ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        policies = [f"tests/policies/test_{name}.py" for name in ("fastapi", "starlette", "openapi")]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        checks = [f"tests/checklist/test_{name}.py" for name in ("libraries", "routes", "standing")]
        command += ["tests/web/guard", *policies, *checks]
        done = subprocess.run(
            command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": path, _INSIDE: "1"}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        assert " passed" in done.stdout

else:

    def test_this_is_the_oldest_framework() -> None:
        """The versions are the lower bounds of pyproject.toml."""
        from importlib.metadata import version

        import fastapi
        import starlette

        declared = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert f'"starlette>={starlette.__version__}"' in declared
        assert f'"fastapi>={".".join(fastapi.__version__.split(".")[:2])}"' in declared
        assert version("fastapi") == fastapi.__version__
