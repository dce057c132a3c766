"""What a check of ``limen doctor`` found."""

from dataclasses import dataclass

from limen.storage import Schema, Standing

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        standing: ``ok``, ``warn`` or ``fail``.
        what: what was looked at.
        found: how it is, without anything secret.
        advice: what to do; empty where nothing is to be done.
    """

    standing: str
    what: str
    found: str
    advice: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it under the names that `--json` prints."""
        return {"check": self.what, "standing": self.standing, "found": self.found, "advice": self.advice}


def schema_finding(known: Schema) -> Finding:
    """Say how the schema of a database is to this version."""
    found = f"{known.revision or 'none'}: {known.standing}"
    if known.standing is Standing.BEHIND:
        return Finding(WARN, "schema", found, "the next start migrates it, or limen db upgrade; make a backup first")
    if not known.suits:
        return Finding(FAIL, "schema", f"{found}, of a later limen", "start the newer version")
    return Finding(OK, "schema", found)
