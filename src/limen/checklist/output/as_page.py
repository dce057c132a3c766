"""The page of the documentation that has every rule: ``python -m limen.checklist.output.as_page``."""

from limen.checklist.catalogue import RULES

_HEAD = """# What `limen check` asks

Each rule has a number that stays, a severity, a reason, a remedy, and what it cannot see: silence is no proof. LC001 to
LC099 are about routes, LC101 to LC199 about source text. `limen check --explain LC004` prints one of them.
How to run it: [check your endpoints](../guides/check.md).
"""


def rules_page() -> str:
    """Return the page as Markdown: a heading a rule, so that ``#lc004`` leads there whatever its title becomes."""
    lines = [_HEAD]
    for rule in RULES:
        lines += [f"## {rule.id}", "", f"**{rule.title[0].upper()}{rule.title[1:]}** ({rule.severity.word})", ""]
        lines += [rule.why, "", "```python", rule.fix, "```", ""]
        lines += [f"It cannot see: {rule.unseen[0].lower()}{rule.unseen[1:]}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(rules_page(), end="")
