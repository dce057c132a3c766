"""The texts of mails: templates in text and HTML, which an application replaces by a folder of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from limen.core.errors import ConfigurationError
from limen.core.mails import MailKind

OWN_FOLDER: Final = Path(__file__).with_name("templates")

SAMPLE: Final[Mapping[str, object]] = {
    "service": "app.example",
    "username": "name",
    "link": "https://app.example/auth/password/reset#token",
    "expires": "12:00 UTC",
    "time": "2026-01-31 12:00 UTC",
    "address": "192.0.2.1",
    "user_agent": "browser",
    "provider": "Provider",
}
"""Every value that a template may name. All of them are there each time; some are empty."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A mail's words.

    Attributes:
        subject: one line.
        text: for whoever reads no HTML.
        html: the same.
    """

    subject: str
    text: str
    html: str


class Templates:
    """Renders mails. A kind has two files: ``<kind>.txt``, whose first line is ``Subject: …``, and ``<kind>.html``.

    In HTML every value is escaped. A name that is misspelt is an error, and is met at the start.

    Args:
        folder: an application's own files; those that are not there are limen's.

    Raises:
        ConfigurationError: there is no such folder, or a template cannot be used.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise ConfigurationError("LIMEN_MAIL_TEMPLATES names no folder.")
        folders = [OWN_FOLDER] if folder is None else [folder, OWN_FOLDER]
        self._environment = Environment(
            loader=FileSystemLoader(folders),
            autoescape=select_autoescape(("html",), ("txt",), default=True),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        for kind in MailKind:
            try:
                self.render(kind.value, {})
            except (TemplateError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise ConfigurationError(f"the template of the mail {kind.value} cannot be used: {reason}") from error

    def render(self, kind: str, values: Mapping[str, Any]) -> Texts:
        """Return the words of a mail.

        Args:
            kind: one of `MailKind`.
            values: what of `SAMPLE` there is; the rest is empty.

        Raises:
            ValueError: the text does not begin with its subject.
        """
        all_values = {**dict.fromkeys(SAMPLE, ""), **values}
        whole = self._environment.get_template(f"{kind}.txt").render(all_values)
        first, _, text = whole.partition("\n")
        name, found, subject = first.partition(":")
        if name != "Subject" or not found or not subject.strip():
            raise ValueError("its first line must be «Subject: …»")
        html = self._environment.get_template(f"{kind}.html").render(all_values)
        return Texts(subject.strip(), text.lstrip("\n"), html)
