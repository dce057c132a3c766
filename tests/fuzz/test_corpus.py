"""What the fuzzer found to reach something of its own is tried again, and what limen did wrong once stays right."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from types import ModuleType

import pytest

from fuzz import TARGETS, corpus_of, fuzz_certificate_headers, fuzz_extractor, fuzz_json, fuzz_token
from limen.crypto.certificates import CertificateError, read_der
from tests.crypto import hostile_tokens as made


def target(name: str) -> ModuleType:
    """Return a target's module."""
    return import_module(f"fuzz.fuzz_{name}")


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_was_kept_does_harm(name: str) -> None:
    """Every input of the corpus, and every seed, is borne: no exception but those that are written down."""
    kept = corpus_of(name)
    assert len(kept) > 20
    assert sum(path.stat().st_size for path in kept) < 400_000
    with target(name).opened() as check:
        for path in kept:
            check(path.read_bytes())
        for seed in target(name).seeds():
            check(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_cut_off_and_joined_do_no_harm(name: str) -> None:
    """Half of an input, and two of them behind each other, are borne as well."""
    inputs = [path.read_bytes() for path in corpus_of(name)]
    with target(name).opened() as check:
        for one, other in zip(inputs, reversed(inputs), strict=True):
            check(one[: len(one) // 2])
            check(one + other)


def all_of(check: Callable[[bytes], None], module: ModuleType) -> None:
    """Try every seed."""
    for seed in module.seeds():
        check(seed)


class TestATargetNotices:
    """A target that can find nothing is none: each of them is shown something that is believed."""

    def test_a_token_that_is_accepted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A right token is accepted, and would be noticed were it not known to be right."""
        monkeypatch.setattr(fuzz_token, "_GOOD", frozenset())
        with fuzz_token.opened() as check, pytest.raises(AssertionError):
            all_of(check, fuzz_token)

    def test_a_certificate_that_is_believed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A certificate of the authority is believed, and would be noticed had the authority not signed it."""
        monkeypatch.setattr(fuzz_certificate_headers, "_SIGNED", frozenset())
        with fuzz_certificate_headers.opened() as check, pytest.raises(AssertionError, match="nobody has signed"):
            all_of(check, fuzz_certificate_headers)

    def test_a_caller_who_is_somebody(self) -> None:
        """Whoever has a token of this gate is somebody, which is noticed."""
        now = int(time.time())
        secret = (fuzz_extractor.SECRET + "1").encode()
        body = made.payload(iat=now, exp=now + 600, auth_time=now)
        token = made.token(made.header(kid=made.kid_of(secret)), body, secret=secret)
        with ExitStack() as stack:
            check = stack.enter_context(fuzz_extractor.opened())
            with pytest.raises(AssertionError, match="taken for somebody"):
                check(b"G\nauthorization: Bearer " + token.encode())

    def test_an_object_that_is_too_deep(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An object is read, and held against the depth that is allowed."""
        monkeypatch.setattr(fuzz_json, "MAX_DEPTH", 1)
        with fuzz_json.opened() as check, pytest.raises(AssertionError):
            all_of(check, fuzz_json)


def test_a_subject_that_is_no_text_is_malformed() -> None:
    """A name in a certificate that is no UTF-8, which the library parses only when it is asked, ends as malformed."""
    good = fuzz_certificate_headers._der("good")
    broken = good.replace(b"\x0c\x06client", b"\x0c\x06clien\xff")
    assert broken != good
    with pytest.raises(CertificateError, match="malformed"):
        read_der(broken)
    with fuzz_certificate_headers.opened() as check:
        for kind in range(3):
            check(bytes([kind + 3]) + broken)
