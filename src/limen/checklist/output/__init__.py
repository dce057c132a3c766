"""The forms of a report: a table for people, JSON, SARIF for code hosts, Markdown for a pull request."""
