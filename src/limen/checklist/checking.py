"""The whole check: look, judge, sift. What the command line prints is made of its `Report`."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from limen.checklist import catalogue as rules
from limen.checklist.accepting import Acceptance, acceptances_of, sift
from limen.checklist.facts import Application, Broken, Place
from limen.checklist.findings import Finding
from limen.checklist.judging import judge, named_public
from limen.checklist.looking import look_at
from limen.checklist.unimported import with_unimported

if TYPE_CHECKING:
    from limen.checklist.source.reading import Read


class Report(Struct, frozen=True):
    """What a check found.

    Attributes:
        application: what was looked at.
        findings: what stands, the worst first.
        accepted: what somebody accepted, with the comment that does.
        skipped: the files whose text was not read, with the reason.
    """

    application: Application
    findings: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Acceptance], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


def check(
    target: str, *, timeout: float = 60.0, today: date | None = None, with_source: bool = True
) -> Report | Broken:
    """Check an application.

    Args:
        target: ``MODULE:NAME``; the current folder is on the path.
        timeout: seconds that importing it may take.
        today: the day by which acceptances are judged; today's in UTC by default.
        with_source: ask the rules about source text, too.

    Returns:
        the report; or why the application could not be looked at. One without a route of its own is broken too:
        nothing would have been checked.
    """
    here, texts = Path.cwd(), dict[str, "Read"]()

    def read_meanwhile(name: str) -> None:
        # Loaded while the application is imported, and not before that begins.
        from limen.checklist.source.reading import read_file

        if name not in texts:
            texts[name] = read_file(name, here)

    application = look_at(target, timeout=timeout, meanwhile=read_meanwhile if with_source else None)
    if isinstance(application, Broken):
        return replace(application, place=_relative(application.place))
    if all(each.kind == "pages" for each in application.routes):
        what = "has no route of its own: nothing was checked, and routes that are made at start are not seen"
        return Broken(f"{target} {what}", said=application.said)
    application = named_public(application)
    if with_source:
        application = replace(application, files=with_unimported(application.files, here))
        for name in application.files:
            read_meanwhile(name)
    # Of what is no file of the application's in the end, nothing is told, though it was read.
    files = [texts[name] for name in application.files if name in texts]
    findings = _joined(judge(application), files)
    own = set(application.files)
    # A library that is installed does not accept what is found in it.
    named = own | {each.place.file for each in findings if str(Path(each.place.file).resolve()) in own}
    acceptances = {file: acceptances_of(file) for file in sorted(named) if file}
    read = {each.file for each in files if not each.skipped}
    standing, accepted = sift(findings, acceptances, today or datetime.now(UTC).date(), read=read)
    ordered = sorted(standing, key=_order)
    return Report(
        application,
        tuple(replace(each, place=_relative(each.place)) for each in ordered),
        tuple((replace(each, place=_relative(each.place)), reason) for each, reason in accepted),
        tuple((_relative(Place(each.file)).file, each.skipped) for each in files if each.skipped),
    )


def _joined(judged: Iterable[Finding], files: "Iterable[Read]") -> list[Finding]:
    """Return what was found in the application and in its files, each once.

    A model that two routes share is one finding for each route. Where the text shows the very line that lets every
    origin in, the application that it is about need not be told as well.
    """
    in_files = [found for each in files for found in each.findings]
    seen = {each.rule for each in in_files} & {rules.ANY_ORIGIN}
    return list(dict.fromkeys([*(each for each in judged if each.rule not in seen), *in_files]))


def _order(finding: Finding) -> tuple[int, str, str, str, int]:
    return -finding.severity, finding.rule.id, finding.route, finding.place.file, finding.place.line


def _relative(place: Place) -> Place:
    """Return a place below the current folder relative to it; a baseline is the same on another machine."""
    if not place.file:
        return place
    here = Path.cwd()
    path = Path(place.file)
    if path.is_absolute() and path.is_relative_to(here):
        return Place(path.relative_to(here).as_posix(), place.line)
    parts = path.parts
    for folder in ("site-packages", "dist-packages"):
        if folder in parts:
            return Place(PurePosixPath(*parts[parts.index(folder) + 1 :]).as_posix(), place.line)
    return place
