"""Usernames and e-mail addresses are one string, normalised once."""

import pytest

from limen.core.errors import InvalidInput
from limen.features.accounts.names import normalise_email, normalise_username


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Maker", "maker"),
        ("\uff2d\uff21\uff2b\uff25\uff32", "maker"),
        ("Stra\N{LATIN SMALL LETTER SHARP S}e", "strasse"),
        ("\N{LATIN SMALL LIGATURE FF}", "ff"),
        ("a" * 64, "a" * 64),
        ("o'brien+x@example.test", "o'brien+x@example.test"),
        ("x'); drop table limen_accounts;--".replace(" ", ""), "x');droptablelimen_accounts;--"),
    ],
)
def test_username_is_folded_once(given: str, stored: str) -> None:
    """NFKC and case folding make spellings of one name one name, and doing it again changes nothing."""
    assert normalise_username(given) == stored
    assert normalise_username(stored) == stored


def test_every_folded_name_is_a_fixed_point() -> None:
    """No single character has two normal forms: otherwise login would not find what registration stored."""
    broken = []
    for code in range(0x110000):
        try:
            name = normalise_username(chr(code))
        except InvalidInput:
            continue
        if normalise_username(name) != name:
            broken.append(hex(code))
    assert broken == []


@pytest.mark.parametrize(
    "given",
    ["", "a b", " a", "a\n", "a\x00", "a\u200b", "a\u202e", "\ud800", "a" * 65, "a" * 100_000, "\u00a0", "\ufdfa" * 10],
)
def test_username_refused(given: str) -> None:
    """Spaces, control, format and surrogate characters, and what is empty or too long, are refused with a 4xx."""
    with pytest.raises(InvalidInput) as refused:
        normalise_username(given)
    assert refused.value.status == 422
    assert refused.value.errors[0].loc == ("body", "username")


def test_email_is_normalised() -> None:
    """The domain becomes lower-case ASCII; the local part is case folded."""
    assert normalise_email("Ann@B\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.Example") == "ann@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("domain", "stored"),
    [
        ("stra\N{LATIN SMALL LETTER SHARP S}e.de", "xn--strae-oqa.de"),
        ("STRA\N{LATIN CAPITAL LETTER SHARP S}E.de", "xn--strae-oqa.de"),
        ("XN--strae-oqa.de", "xn--strae-oqa.de"),
        ("strasse.de", "strasse.de"),
        ("\u03b2\u03cc\u03bb\u03bf\u03c2.com", "xn--nxasmm1c.com"),
        ("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher\N{IDEOGRAPHIC FULL STOP}example", "xn--bcher-kva.example"),
        ("r3---sn.example", "r3---sn.example"),
    ],
)
def test_a_domain_is_the_one_that_mail_goes_to(domain: str, stored: str) -> None:
    """IDNA 2008: what the version of 2003 made into another domain, somebody else's, is its own (UTS 46, section 7)."""
    assert normalise_email(f"ann@{domain}") == f"ann@{stored}"
    assert normalise_email(f"ann@{stored}") == f"ann@{stored}"


@pytest.mark.parametrize(
    "given",
    [
        "a@\N{ZERO WIDTH JOINER}.test",
        "a@b\N{LATIN SMALL LETTER U WITH DIAERESIS}_c.test",
        "a@\u2603.test",
        "a@b.test,c@d.test",
        "a@b.test\n",
        "a@b.test\r\nbcc: c@d.test",
        "a b@c.test",
        "m\N{LATIN SMALL LETTER DOTLESS I}ke@b.test",
        "@b.test",
        "a@",
        "a",
        "a@b",
        "a@-b.test",
        "a@b..test",
        "a" * 65 + "@b.test",
        "a@" + "b" * 300 + ".test",
        "\ud800@b.test",
        "a@\ud800.test",
        "=?utf-8?q?victim=40other.test?=@b.test",
        "a.=?utf-8?b?w6k=?=@b.test",
    ],
)
def test_email_refused(given: str) -> None:
    """Lists, line breaks, look-alikes of a local part and malformed domains are refused (CVE-2019-19844)."""
    with pytest.raises(InvalidInput) as refused:
        normalise_email(given)
    assert refused.value.errors[0].loc == ("body", "email")
