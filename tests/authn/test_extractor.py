"""The extractor: one credential, none, or malformed."""

import pytest

from limen.authn.chain import AuthenticationChain
from limen.authn.extractor import MAX_HEADER
from limen.authn.strategy import PresentedCredential, Rejected
from limen.core.errors import CredentialMalformed


def extract(headers: list[tuple[bytes, bytes]]) -> object:
    """Return what a chain without strategies finds: the credential, the error of a malformed one, or None."""
    found = AuthenticationChain([]).recall(headers)
    return found.error if isinstance(found, Rejected) else found


def test_no_header_is_no_credential() -> None:
    """A request without Authorization presents nothing."""
    assert extract([(b"host", b"a"), (b"x-authorization", b"Bearer a")]) is None


@pytest.mark.parametrize(
    ("value", "scheme", "token"),
    [
        (b"Bearer abc.def.ghi", "bearer", b"abc.def.ghi"),
        (b"bearer abc", "bearer", b"abc"),
        (b"BEARER  abc==", "bearer", b"abc=="),
        (b"Basic dXNlcjpwYXNz", "basic", b"dXNlcjpwYXNz"),
    ],
)
def test_scheme_is_case_insensitive(value: bytes, scheme: str, token: bytes) -> None:
    """The scheme's case does not matter (RFC 9110, section 11.1); the token stays as it came."""
    assert extract([(b"authorization", value)]) == PresentedCredential(scheme, token)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer  ",
        b"Bearer\tabc",
        b"bearer a b",
        b"bearer \xff",
        b"abc.def.ghi",
        b"bearer a,b",
        b'Digest username="a"',
        b"Bearer " + b"a" * MAX_HEADER,
        b"bearer " + b"a" * MAX_HEADER,
    ],
)
def test_malformed_is_not_none(value: bytes) -> None:
    """What is no credential is malformed, never «nothing sent»."""
    assert isinstance(extract([(b"authorization", value)]), CredentialMalformed)


def test_two_headers_are_malformed() -> None:
    """Two Authorization headers are refused, also where both are the same: a proxy may have read the other one."""
    assert isinstance(extract([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")]), CredentialMalformed)


def test_repr_hides_the_token() -> None:
    """A credential that ends in a log or a traceback shows no token."""
    assert "secret-token" not in repr(PresentedCredential("bearer", b"secret-token"))
