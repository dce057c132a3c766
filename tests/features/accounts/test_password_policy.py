"""New passwords are long enough, uncommon, and free of names; presented ones are only bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.core.errors import InputFault, InvalidInput, PasswordContainsName, PasswordTooCommon, PasswordTooShort
from limen.features.accounts.password_policy import check_new_password, check_presented_password, host_words


def check(password: str, minimum: int = 15, *names: str) -> str:
    """Check a new password."""
    return check_new_password(password, minimum=minimum, names=names)


class TestLength:
    @pytest.mark.parametrize(
        ("minimum", "length", "accepted"),
        [(15, 7, False), (15, 8, False), (15, 14, False), (15, 15, True), (8, 7, False), (8, 8, True), (20, 19, False)],
    )
    def test_minimum(self, minimum: int, length: int, accepted: bool) -> None:
        """Fewer characters than the setting are refused, as many are accepted."""
        password = "xq7 vw0-zk3!jp9_ab2 more"[:length]
        if accepted:
            assert check(password, minimum) == password
        else:
            with pytest.raises(PasswordTooShort) as refused:
                check(password, minimum)
            assert str(minimum) in str(refused.value.detail)

    @pytest.mark.parametrize("minimum", [-5, 0, 1, 7])
    def test_never_below_eight(self, minimum: int) -> None:
        """Whatever it is told, seven characters are too few."""
        with pytest.raises(PasswordTooShort):
            check("xq7 vw0", minimum)

    def test_characters_not_bytes(self) -> None:
        """Fourteen emoji are 56 bytes and too short, fifteen are long enough: one code point is one character."""
        owls = "🦉🦊🐻🐼🦁🐯🐨🐸🐵🐔🐧🐦🦆🦅🐝"
        assert check(owls) == owls
        with pytest.raises(PasswordTooShort):
            check(owls[:14])

    def test_counted_after_nfc(self) -> None:
        """A letter typed as two code points counts once, as it does for who types it as one."""
        with pytest.raises(PasswordTooShort):
            check("e\u0301" * 14)
        assert len(check("e\u0301o\u0308" * 8)) == 16

    @pytest.mark.parametrize("length", [64, 128, 1024])
    def test_long_ones(self, length: int) -> None:
        """At least 64 characters and up to 1024 bytes are accepted, and come back whole."""
        password = ("0123456789 abcdefg " * 60)[:length]
        assert check(password) == password
        assert check_presented_password(password) == password

    @pytest.mark.parametrize("password", ["x" * 1025, "é" * 513, "🦉" * 257, "y" * 10_000_000], ids=len)
    def test_too_long(self, password: str) -> None:
        """1025 bytes are refused by their field, at login and at registration; so are ten million."""
        for refusing in (check, check_presented_password):
            with pytest.raises(InvalidInput) as refused:
                refusing(password)
            assert refused.value.status == 422
            assert [(fault.loc, fault.code) for fault in refused.value.errors] == [(("body", "password"), "too_long")]

    def test_lone_surrogate(self) -> None:
        """What is no text is refused as input of its field."""
        with pytest.raises(InvalidInput) as refused:
            check_presented_password("fifteen or more \ud800", field="current_password")
        assert [(fault.loc, fault.code) for fault in refused.value.errors] == [
            (("body", "current_password"), "not_text")
        ]


class TestComposition:
    @pytest.mark.parametrize(
        "password",
        [
            "correct horse battery staple", "  spaces around them  ", "749301558827164", "qzkxwvjpqzkxmvjy",
            "Ωμέγα και άλλα πολλά", "\ttab and\nline break\0", "<script>alert(1)</script>", "' OR 1=1; -- and more",
        ],
    )  # fmt: skip
    def test_no_rules(self, password: str) -> None:
        """Nothing is asked of the kinds of characters, and none is refused, changed or trimmed."""
        assert check(password) == password
        assert check_presented_password(password) == password

    def test_presented_is_not_judged(self) -> None:
        """A login with a short, common or named password is read: who set it under an older rule gets in."""
        for password in ("", "x", "password", "limen"):
            assert check_presented_password(password) == password


class TestCommon:
    @pytest.mark.parametrize(
        "password", ["passwordpassword", "PasswordPassword", "123456789012345", "qwertyuiopasdfgh"]
    )
    def test_at_fifteen(self, password: str) -> None:
        """Common passwords of 15 characters and more are refused, in whatever case."""
        with pytest.raises(PasswordTooCommon) as refused:
            check(password)
        assert [(fault.loc, fault.code) for fault in refused.value.errors] == [
            (("body", "password"), "password_too_common")
        ]

    @pytest.mark.parametrize("password", ["password", "12345678", "qwertyuiop", "football1", "iloveyou1"])
    def test_at_eight(self, password: str) -> None:
        """So are the shorter ones where eight characters are enough."""
        with pytest.raises(PasswordTooCommon):
            check(password, 8)


class TestNames:
    @pytest.mark.parametrize(
        ("password", "name"),
        [
            ("rosalind is the best", "rosalind"), ("RoSaLiNd is the best", "rosalind"), ("7 rosalind7 one", "Rosalind"),
            ("\uff52osalind is the best", "rosalind"), ("many streets, große", "GROSSE"),
            ("cafe\u0301 au lait at nine", "café"), ("zoe9zoe9zoe9zoe9zoe9", "zoe9"), ("i love limen so much", "x"),
            ("MyLimenPassphrase", "x"),
        ],
    )  # fmt: skip
    def test_inside(self, password: str, name: str) -> None:
        """A name inside the password is refused, however it is spelt; so is the product's."""
        with pytest.raises(PasswordContainsName) as refused:
            check(password, 15, "other", name)
        assert [fault.code for fault in refused.value.errors] == ["password_contains_name"]
        assert name not in str(refused.value.detail)

    @pytest.mark.parametrize("name", ["", "a", "ann", "bob", "rosalinde", "rosalind@example.org"])
    def test_not_inside(self, name: str) -> None:
        """A name of under four characters is not looked for, nor is a part of a longer one."""
        password = "ann, bob and rosalind"
        assert check(password, 15, name) == password

    @pytest.mark.parametrize(
        ("issuer", "words"),
        [
            ("https://login.acme-bank.example.com/x", ("acme-bank", "acme", "bank", "example")),
            ("https://AUTH.Contoso.io:8443", ("contoso",)), ("https://localhost:8000", ("localhost",)),
            ("http://127.0.0.1:8000", ()), ("limen", ("limen",)), ("orders.internal", ("orders",)), ("", ()),
            ("https://", ()),
        ],
    )  # fmt: skip
    def test_host_words(self, issuer: str, words: tuple[str, ...]) -> None:
        """The issuer's host gives the words of whose service it is, without purposes and the top-level domain."""
        assert host_words(issuer) == words


class TestAnything:
    @given(st.text(), st.integers(0, 40), st.lists(st.text(max_size=10), max_size=3))
    def test_only_limen_errors(self, password: str, minimum: int, names: list[str]) -> None:
        """Whatever comes in, it is accepted in NFC or refused with its field named; accepting is stable."""
        faults: tuple[InputFault, ...] = ()
        try:
            accepted = check_new_password(password, minimum=minimum, names=names)
        except InvalidInput as refused:
            accepted, faults = "", refused.errors
        if not accepted:
            assert [fault.loc for fault in faults] == [("body", "password")]
            return
        assert check_new_password(accepted, minimum=minimum, names=names) == accepted
        assert check_presented_password(password) == accepted

    @given(st.text(st.characters(categories=["Cs"]), min_size=1))
    def test_names_that_are_no_text(self, name: str) -> None:
        """A name that is no text is simply not found."""
        assert check("some seven words", 15, name) == "some seven words"
