"""The files of tools/applications, and the page that is made of them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "tools" / "applications"
LEFT_OUT: Final = FOLDER / "left-out"
"""Applications that were read as the others were and are not counted, since too much of what is said is not so yet."""
PAGE: Final = ROOT / "docs" / "reference" / "check-applications.md"
STANDINGS: Final = ("guarded", "public", "open", "unknown")
SEVERITIES: Final = ("high", "medium", "low")
MOST_FALSE: Final = 0.10
"""The share of false findings below which all applications together have to stay."""

_INTRODUCTION: Final = """\
# `limen check` on applications of others

The check was run on published applications and servers whose authors wrote them without knowing of it, each installed
as its users install it. Every finding was read in the code that it is about, and is *true* or *false*:

- **True**: what it says about the code is so, and a careful reviewer would want it asked. An open route of a server
  that is meant for one machine is true: that it is open is a fact, and whether it should be is the question.
- **False**: what it says is not so. The route is guarded where the check did not look, the field is no secret, the
  text of the query comes from nobody else.

"""
_HOW: Final = """
Of all findings together less than 10 % may be false. A test holds this page to the verdicts in
[tools/applications](../../tools/applications), which name each finding. Whoever wants to see them again runs

```sh
python -m tools.check_applications tipg
```

which installs that version into a virtual environment of its own, checks it, and tells every finding that has no
verdict. The numbers are about the versions named here. Most of these projects are meant to run behind something that
guards them, and say so.
"""


class Verdict(msgspec.Struct, forbid_unknown_fields=True):
    """Why one finding is false, or what the check did not see.

    Attributes:
        rule: such as ``LC004``.
        place: as `places_of` names it.
        why: one sentence.
    """

    rule: str
    place: str
    why: str


class Application(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One file of tools/applications.

    Attributes:
        name: of its distribution, as its file is called.
        version: which one was read.
        what: what it is, in a few words.
        target: what `limen check` is told; ``launcher:app`` for the text below.
        requirements: lines for the installer, each pinned with ``==``.
        read: the day on which each finding was last read.
        learned: what this application showed, a few sentences.
        launcher: the text of a module that makes the application, where no function of its own does.
        environment: variables that it wants.
        files: what else stands in the folder in which the check is run, such as a configuration.
        routes: how many, and how many of each standing.
        severities: how many findings of each.
        findings: how many findings of each rule.
        first: how many ``findings`` the very first run told and how many of them were ``false``, where the application
            was looked at for the first time when the rules stood.
        true: the places of those that are so, by rule.
        false: those that are not, each with its reason.
        missed: what reading by hand found and the check did not.
    """

    name: str
    version: str
    what: str
    target: str
    requirements: tuple[str, ...]
    read: str = ""
    learned: str = ""
    launcher: str = ""
    environment: dict[str, str] = {}
    files: dict[str, str] = {}
    routes: dict[str, int] = {}
    severities: dict[str, int] = {}
    findings: dict[str, int] = {}
    first: dict[str, int] = {}
    true: dict[str, tuple[str, ...]] = {}
    false: tuple[Verdict, ...] = ()
    missed: tuple[Verdict, ...] = ()

    @property
    def found(self) -> int:
        """How many findings there are."""
        return sum(self.findings.values())

    def known(self) -> set[tuple[str, str]]:
        """Return the rule and place of every finding that has a verdict."""
        is_so = {(rule, place) for rule, places in self.true.items() for place in places}
        return is_so | {(each.rule, each.place) for each in self.false}


def read_file(path: Path) -> Application:
    """Return what a file says.

    Raises:
        msgspec.DecodeError: it is no TOML, or has a key that is none.
    """
    return msgspec.toml.decode(path.read_bytes(), type=Application)


def all_applications(folder: Path = FOLDER) -> list[Application]:
    """Return every application, by name."""
    return [read_file(path) for path in sorted(folder.glob("*.toml"))]


def as_toml(application: Application) -> str:
    """Return the text of an application's file; whatever was written by hand is in it, comments are not."""
    texts = ("name", "version", "what", "target", "read", "learned")
    lines = [f"{name} = {_quoted(value)}" for name in texts if (value := getattr(application, name))]
    lines += [f"requirements = {_listed(application.requirements)}"]
    if application.launcher:
        lines.append(f"launcher = '''\n{application.launcher.strip()}\n'''")
    for name in ("environment", "files", "routes", "severities", "findings", "first"):
        if values := getattr(application, name):
            lines += ["", f"[{name}]", *(f"{_key(key)} = {_value(value)}" for key, value in values.items())]
    if application.true:
        lines += ["", "[true]", *(f"{rule} = {_listed(places)}" for rule, places in sorted(application.true.items()))]
    for name in ("false", "missed"):
        for each in getattr(application, name):
            lines += ["", f"[[{name}]]", f"rule = {_quoted(each.rule)}"]
            lines += [f"place = {_quoted(each.place)}", f"why = {_quoted(each.why)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # every JSON string is a basic string of TOML


def _key(text: str) -> str:
    return text if text.replace("_", "").replace("-", "").isalnum() else _quoted(text)


def _value(value: str | int) -> str:
    if isinstance(value, str) and value.endswith("\n"):
        return f"'''\n{value}'''"
    return _quoted(value) if isinstance(value, str) else str(value)


def _listed(values: Iterable[str]) -> str:
    quoted = [_quoted(each) for each in values]
    one = f"[{', '.join(quoted)}]"
    return one if len(one) <= 100 else "[\n" + "".join(f"  {each},\n" for each in quoted) + "]"


def page_of(applications: Iterable[Application], left_out: Iterable[Application] | None = None) -> str:
    """Return the page: a table of all, what each one showed, and those that are not counted, with their figures.

    Args:
        applications: those of the table.
        left_out: the others; those of tools/applications/left-out where nothing is said.
    """
    listed = sorted(applications, key=lambda each: each.name.lower())
    others = all_applications(LEFT_OUT) if left_out is None else list(left_out)
    text = _INTRODUCTION + "\n".join(_table(listed)) + "\n\n" + _without_open(listed) + "\n" + _HOW
    text += _not_counted(listed, others) + _first_looks([*listed, *others])
    return text + "".join("\n" + "\n".join(_section(each)) + "\n" for each in listed)


def _table(applications: list[Application]) -> Iterator[str]:
    headings = ("Application", "Routes", *(each.capitalize() for each in STANDINGS), "Findings")
    yield f"| {' | '.join((*headings, *(each.capitalize() for each in SEVERITIES), 'False', 'Share'))} |"
    yield "| --- |" + " --: |" * (len(headings) + len(SEVERITIES) + 1)
    rows = [_figures(each) for each in applications]
    for application, figures in zip(applications, rows, strict=True):
        yield _row(f"[{application.name}](#{anchor(application)}) {application.version}", figures)
    yield _row("**Together**", [sum(column) for column in zip(*rows, strict=True)])


def _without_open(applications: list[Application]) -> str:
    """Say the share once more without the rule that is easily right, where an application asks nobody."""
    found = sum(each.found - each.findings.get("LC001", 0) for each in applications)
    false = sum(sum(verdict.rule != "LC001" for verdict in each.false) for each in applications)
    return _wrapped(
        "LC001 is told for every route of an application that asks nobody, and is easily right there. "
        f"Of the {found} findings of all other rules {false} are false, {100 * false / max(found, 1):.1f} %."
    )


def _not_counted(applications: list[Application], others: list[Application]) -> str:
    """Say which were left out of the table, with their figures, and what the share would be with them."""
    if not others:
        return ""
    everyone = [*applications, *others]
    found, false = sum(each.found for each in everyone), sum(len(each.false) for each in everyone)
    said = (
        "These were read in the same way and are not counted in the table, since too much of what is said of them is "
        f"not so yet. With them {false} of {found} findings would be false, {100 * false / max(found, 1):.1f} %. Their "
        "verdicts stand in [tools/applications/left-out](../../tools/applications/left-out)."
    )
    lines = [
        f"- {each.name} {each.version}, {each.routes.get('total', 0)} routes: "
        f"{len(each.false)} of {each.found} findings are false. {each.learned}"
        for each in others
    ]
    return "\n" + _wrapped(said) + "\n\n" + "\n".join(_wrapped(line, "  ") for line in lines) + "\n"


def _first_looks(applications: list[Application]) -> str:
    """Say what was told of code that nobody had looked at while the rules were made."""
    looked = [each for each in applications if each.first]
    if not looked:
        return ""
    found, false = (sum(each.first[which] for each in looked) for which in ("findings", "false"))
    rows = [f"{each.name} ({each.first['false']} of {each.first['findings']})" for each in looked]
    said = (
        "Most of the applications were read while the rules were made, which is kind to the rules. These were looked "
        f"at for the first time when the rules stood, and what was false of what the very first run told of them is "
        f"the figure to expect of code that nobody has seen: {', '.join(rows)}. Together {false} of {found} were "
        f"false, {100 * false / max(found, 1):.1f} %. What is told of them now is above. litellm 1.106.2 was tried as "
        "well and not read to its end: with its master key set 479 of its 657 routes are told as LC002, *unknown*, and "
        "nearly all falsely, since its guard of more than a thousand lines cannot be followed."
    )
    return "\n" + _wrapped(said) + "\n"


def _figures(application: Application) -> list[int]:
    routes = [application.routes.get("total", 0), *(application.routes.get(each, 0) for each in STANDINGS)]
    severities = [application.severities.get(each, 0) for each in SEVERITIES]
    return [*routes, application.found, *severities, len(application.false)]


def _row(name: str, figures: list[int]) -> str:
    found, false = figures[len(STANDINGS) + 1], figures[-1]
    share = f"{100 * false / found:.1f} %" if found else "0 %"
    return f"| {name} | {' | '.join(str(each) for each in figures)} | {share} |"


def anchor(application: Application) -> str:
    """Return the end of the address of an application's section, as code hosts make it of the heading."""
    kept = [each for each in application.name.lower() if each.isalnum() or each in "-_ "]
    return "".join(kept).replace(" ", "-")


def _section(application: Application) -> Iterator[str]:
    told = ", ".join(f"{rule} {count}" for rule, count in application.findings.items())
    looked = f"`limen check {application.target}`, read on {application.read}"
    yield f"## {application.name}"
    yield ""
    yield _wrapped(f"{application.what} Version {application.version}, {looked}.")
    yield ""
    yield _wrapped(f"Findings: {told or 'none'}. {application.learned}".strip())
    yield from _verdicts("False:", application.false)
    yield from _verdicts("Not seen by the check, and found by reading:", application.missed)


def _verdicts(heading: str, verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    """Yield verdicts, those of one rule and reason together."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for each in verdicts:
        by_reason.setdefault((each.rule, each.why), []).append(each.place)
    if by_reason:
        yield from ("", heading, "")
    for (rule, why), places in by_reason.items():
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        yield _wrapped(f"- {rule}, {', '.join(f'`{place}`' for place in places[:3])}{more}: {why.rstrip('.')}.", "  ")


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
