"""What is sealed opens for its purpose and its row, under a secret that is configured, and for nothing else."""

import secrets

import pytest

from limen.core.errors import ConfigurationError
from limen.crypto.keys import key_id
from limen.crypto.sealing import CannotOpen, Sealer

OLD, NEW = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
PLAIN = b"a private key"


def test_what_is_sealed_opens() -> None:
    """It comes back as it went in, also when it is empty, and what lies in the row tells nothing of it."""
    sealer = Sealer([OLD], "signing-key")
    sealed = sealer.seal(PLAIN, "row-1")
    assert sealer.open(sealed, "row-1") == PLAIN
    assert PLAIN not in sealed
    assert len(sealed) == len(PLAIN) + 37
    assert sealer.open(sealer.seal(b"", "row-1"), "row-1") == b""


def test_it_says_under_which_secret() -> None:
    """The id of the secret stands in front, and the first secret is the one that seals."""
    sealer = Sealer([NEW, OLD], "signing-key")
    assert sealer.kid == key_id(NEW.encode())
    assert sealer.seal(PLAIN, "row-1")[1:9].decode() == key_id(NEW.encode())


def test_another_row_does_not_open_it() -> None:
    """Sealed bytes that were swapped between two rows open in neither."""
    sealer = Sealer([OLD], "signing-key")
    one, other = sealer.seal(b"one", "row-1"), sealer.seal(b"other", "row-2")
    for sealed, row in ((one, "row-2"), (other, "row-1"), (one, ""), (one, "row-1\x00")):
        with pytest.raises(CannotOpen):
            sealer.open(sealed, row)


def test_another_purpose_does_not_open_it() -> None:
    """The same secret and the same row, for another use: neither opens what the other sealed."""
    first, second = Sealer([OLD], "signing-key"), Sealer([OLD], "sso-state")
    with pytest.raises(CannotOpen) as caught:
        second.open(first.seal(PLAIN, "row-1"), "row-1")
    assert caught.value.kid is None
    with pytest.raises(CannotOpen):
        first.open(second.seal(PLAIN, "row-1"), "row-1")


def test_the_nonce_is_new_each_time() -> None:
    """The same plain text is sealed differently a thousand times over."""
    sealer = Sealer([OLD], "signing-key")
    sealed = [sealer.seal(PLAIN, "row-1") for _ in range(1000)]
    assert len({each[9:21] for each in sealed}) == 1000
    assert len({each[21:] for each in sealed}) == 1000


def test_no_byte_may_be_changed() -> None:
    """Each byte counts: form, id, nonce, text and tag; so does the length."""
    sealer = Sealer([OLD], "signing-key")
    sealed = sealer.seal(PLAIN, "row-1")
    changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    for wrong in [*changed, b"", sealed[:-1], sealed + b"\x00", sealed[:36]]:
        with pytest.raises(CannotOpen):
            sealer.open(wrong, "row-1")


def test_any_of_the_secrets_opens_and_the_current_one_seals_anew() -> None:
    """While a secret is replaced the old rows open, and are sealed again under the new one, once."""
    before = Sealer([OLD], "signing-key").seal(PLAIN, "row-1")
    during = Sealer([NEW, OLD], "signing-key")
    assert during.open(before, "row-1") == PLAIN
    assert not during.is_current(before)
    after = during.reseal(before, "row-1")
    assert during.is_current(after)
    assert during.reseal(after, "row-1") is after
    assert Sealer([NEW], "signing-key").open(after, "row-1") == PLAIN


def test_a_secret_that_is_gone_is_named_by_its_id() -> None:
    """Where no secret opens it, the error says which one is missing, by its id alone."""
    sealed = Sealer([OLD], "signing-key").seal(PLAIN, "row-1")
    with pytest.raises(CannotOpen, match=key_id(OLD.encode())) as caught:
        Sealer([NEW], "signing-key").open(sealed, "row-1")
    assert caught.value.kid == key_id(OLD.encode())
    with pytest.raises(CannotOpen):
        Sealer([NEW], "signing-key").reseal(sealed, "row-1")


@pytest.mark.parametrize(
    ("given", "purpose"),
    [([], "signing-key"), (["short"], "signing-key"), ([OLD, "x" * 31], "signing-key"), ([OLD], ""), ([OLD], "A/1")],
)
def test_what_cannot_be_used_is_refused(given: list[str], purpose: str) -> None:
    """No secret, a short one, and a purpose that could be spelt like another one."""
    with pytest.raises(ConfigurationError):
        Sealer(given, purpose)


def test_it_shows_no_secret() -> None:
    """Its text names the purpose and the id."""
    assert repr(Sealer([OLD], "signing-key")) == f"Sealer('signing-key', {key_id(OLD.encode())!r})"
