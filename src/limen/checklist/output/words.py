"""The sentences of a report that all its forms share."""

from limen.checklist.checking import Report
from limen.checklist.findings import Finding, Rule, Severity


def counted(count: int, what: str) -> str:
    """Return «1 route», «2 routes», «no routes»."""
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return a text with control characters as escapes: a name in somebody's code steers no terminal and no page."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def route_of(finding: Finding) -> str:
    """Return the route as people write it, ``GET /orders``; empty where a finding is about none."""
    return f"{finding.method or 'ANY'} {finding.route}" if finding.route else ""


def page_of(rule: Rule) -> str:
    """Return where the documentation tells of a rule: a page of the repository, and the anchor on it."""
    return f"docs/reference/checks.md#{rule.id.lower()}"


def explained(rule: Rule) -> str:
    """Return what the page of a rule says, for a terminal without the pages."""
    fix = "\n".join(f"    {line}".rstrip() for line in rule.fix.splitlines())
    unseen = rule.unseen[0].lower() + rule.unseen[1:]
    return f"{rule.id} {rule.severity.word}: {rule.title}\n\n{rule.why}\n\n{fix}\n\nIt cannot see: {unseen}\n"


def summary(report: Report, *, before: int = 0, not_asked: int = 0) -> str:
    """Return what was looked at and what was found, in one line.

    Args:
        report: of a check.
        before: how many findings a baseline took out.
        not_asked: how many rules were left out.
    """
    routes = report.application.routes
    # Open pages of the schema are a matter of their own (LC014), and no open door.
    pages = sum(each.kind == "pages" and each.standing == "open" for each in routes)
    standings = [each.standing for each in routes if each.kind != "pages" or each.standing != "open"]
    told = [f"{standings.count(each)} {each}" for each in ("guarded", "public", "open", "unknown") if each in standings]
    told += [f"{counted(pages, 'page')} of the schema"] if pages else []
    severities = [each.severity for each in report.findings]
    bad = [f"{severities.count(each)} {each.word}" for each in sorted(Severity, reverse=True) if each in severities]
    files = counted(len(report.application.files), "file")
    if report.skipped:
        files += f" ({len(report.skipped)} not read)"
    text = f"{counted(len(routes), 'route')} ({', '.join(told)}), {files}: "
    text += counted(len(report.findings), "finding") + (f" ({', '.join(bad)})" if bad else "")
    if report.accepted:
        text += f", {len(report.accepted)} accepted"
    if before:
        text += f", {before} in the baseline"
    if not_asked:
        text += f", {counted(not_asked, 'rule')} not asked"
    return text
