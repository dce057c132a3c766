"""What ``limen check`` takes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """How the report is printed."""

    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"
    MARKDOWN = "markdown"


class FailOn(StrEnum):
    """From which severity on findings fail."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


Target = Annotated[
    str | None,
    typer.Argument(
        metavar="MODULE:APP",
        envvar="LIMEN_APP",
        help="A FastAPI or Starlette application, or a function that makes it. It is imported, and never started.",
        show_default=False,
    ),
]
AsForm = Annotated[Form, typer.Option("--format", help="How to print it.")]
AsSarif = Annotated[
    Path | None,
    typer.Option("--sarif", metavar="FILE", help="Write a SARIF log as well, for a code host.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
From = Annotated[FailOn, typer.Option("--fail-on", help="End with exit code 1 from this severity on.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="RULES", help="Ask these rules alone: LC004,LC101.", show_default=False),
]
Ignored = Annotated[
    list[str] | None,
    typer.Option("--ignore", metavar="RULES", help="Ask all rules but these: LC013,LC014.", show_default=False),
]
Baseline = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="FILE", help="Leave out the findings of this file.", show_default=False),
]
NewBaseline = Annotated[
    Path | None,
    typer.Option(
        "--write-baseline",
        metavar="FILE",
        help="Write today's findings to a file, and fail on none.",
        show_default=False,
    ),
]
Lock = Annotated[
    Path | None,
    typer.Option(
        "--lock",
        metavar="FILE",
        help="Label what changed since this file was written, who may call which route, and write it anew.",
        show_default=False,
    ),
]
Locked = Annotated[
    bool, typer.Option("--locked", help="With --lock: write nothing, and fail where the file is not up to date.")
]
Source = Annotated[bool, typer.Option("--source/--no-source", help="Ask the rules about source text, too.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long importing may take.")]
All = Annotated[bool, typer.Option("--all", "--verbose", "-v", help="Show every finding, and what rules cannot see.")]
Explained = Annotated[
    str | None,
    typer.Option("--explain", metavar="RULE", help="Print what is to be known of a rule, and end.", show_default=False),
]
