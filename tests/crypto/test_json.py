"""Facts about the one strict JSON reader: what it takes, what it refuses and how it says so."""

import contextlib
import json
import time
from enum import StrEnum
from typing import Annotated

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.core.errors import InputFault
from limen.crypto.strict_json import MAX_DEPTH, MAX_DIGITS, JsonError, read_object, read_struct

LIMIT = 65_536


def refusal(data: bytes, limit: int = LIMIT) -> str:
    """Return the word with which the text is refused."""
    with pytest.raises(JsonError) as caught:
        read_object(data, limit=limit)
    return caught.value.reason


class TestAccepted:
    @pytest.mark.parametrize(
        "text",
        [
            "{}", ' \t\r\n{ "a" : 1 } \n', '{"a":[1,-2,0,-0,1.5,1e3,-1E-3,true,false,null,"",{},[]]}', '{"":1}',
            '{"a":"\\u00e4\\ud83d\\ude00\\"\\\\\\/\\b\\f\\n\\r\\t"}', '{"a":"Prüfer \U0001f600"}',
            '{"a":{"a":{"a":1}},"b":{"a":1}}',
            '{"a":9223372036854775807,"b":-9223372036854775808}', '{"a":"\\\\u0000","b":"\\\\ud800"}', '{"a":"\ufeff"}',
        ],
    )  # fmt: skip
    def test_what_json_is(self, text: str) -> None:
        """Well-formed objects are read as the standard library reads them."""
        assert read_object(text.encode(), limit=LIMIT) == json.loads(text)

    @given(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(2**63), 2**63 - 1)
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("k"), inner, max_size=1),
                max_leaves=6,
            ),
            max_size=4,
        ),
        st.booleans(),
    )
    @settings(max_examples=150, deadline=None)
    def test_there_and_back(self, value: dict[str, object], ascii_only: bool) -> None:
        """Whatever is written as JSON reads back to the same value, escaped or not."""
        assert read_object(json.dumps(value, ensure_ascii=ascii_only).encode(), limit=LIMIT) == value

    @given(st.binary(max_size=60))
    @settings(max_examples=300, deadline=None)
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes at all are an object, or the one exception."""
        try:
            value = read_object(b'{"a":' + data, limit=LIMIT)
        except JsonError as error:
            value = {"a": error.reason}
        assert "a" in value


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "syntax"), (b" ", "syntax"), (b"hello", "syntax"), (b"[]", "not_an_object"),
            (b'"a"', "not_an_object"),
            (b"1", "not_an_object"), (b"null", "not_an_object"), (b"true", "not_an_object"), (b"[{}]", "not_an_object"),
            (b"\xef\xbb\xbf{}", "encoding"), ("{}".encode("utf-16"), "encoding"), ("{}".encode("utf-16-le"), "syntax"),
            ("{}".encode("utf-16-be"), "syntax"), ("{}".encode("utf-32"), "encoding"),
            ("{}".encode("utf-32-le"), "syntax"),
            (b'{"a":"\xff"}', "encoding"), (b'{"a":"\xc0\x80"}', "encoding"), (b'{"a":"\xed\xa0\x80"}', "encoding"),
            (b'{"a":"\xf5\x80\x80\x80"}', "encoding"), (b'{"a":"\xe4"}', "encoding"), (b'{"\xff":1}', "encoding"),
            (b'{"a":"\\ud800"}', "string"), (b'{"a":"\\uDFFF"}', "string"), (b'{"a":"\\udc00\\ud800"}', "string"),
            (b'{"\\ud800":1}', "string"), (b'{"a":[{"b":["x\\ud83d"]}]}', "string"), (b'{"a":"\\u0000"}', "string"),
            (b'{"a\\u0000":1}', "string"), (b'{"a":["\\u0000"]}', "string"), (b'{"a":"\\\\\\u0000"}', "string"),
            (b'{"a":"\0"}', "syntax"), (b'{"a":"\n"}', "syntax"), (b'{"a":"\x1f"}', "syntax"), (b"{}\0", "syntax"),
            (b'{"a":1,"a":1}', "duplicate_name"), (b'{"a":1,"\\u0061":2}', "duplicate_name"),
            (b'{"a":{"b":1,"b":1}}', "duplicate_name"),
            (b'{"a":[{"b":1,"b":1}]}', "duplicate_name"), (b'{"":1,"":1}', "duplicate_name"),
            ('{"é":1,"\\u00e9":1}'.encode(), "duplicate_name"),
            (b'{"a":NaN}', "number"), (b'{"a":Infinity}', "number"), (b'{"a":-Infinity}', "number"),
            (b'{"a":1e999}', "number"),
            (b'{"a":-1e999}', "number"), (b'{"a":nan}', "syntax"), (b'{"a":inf}', "syntax"),
            (b'{"a":' + b"9" * 5000 + b"}", "number"),
            (b'{"a":-' + b"9" * 20 + b"}", "number"), (b'{"a":0.' + b"0" * 5000 + b"1}", "number"),
            (b'{"a":1E+' + b"0" * 100 + b"1}", "number"),
            (b'{"a":01}', "syntax"), (b'{"a":+1}', "syntax"), (b'{"a":.5}', "syntax"), (b'{"a":1.}', "syntax"),
            (b'{"a":0x1}', "syntax"),
            (b'{"a":1}{}', "syntax"), (b'{"a":1}x', "syntax"), (b'{"a":1,}', "syntax"), (b"{'a':1}", "syntax"),
            (b"{a:1}", "syntax"),
            (b'{"a":1', "syntax"), (b'{"a":"', "syntax"), (b'{"a":"\\', "syntax"), (b'{"a":"\\x"}', "syntax"),
            (b'{"a":"\\u12"}', "syntax"),
            (b'{"a":1 "b":2}', "syntax"), (b'{"a":}', "syntax"), (b'{"a"}', "syntax"), (b"{,}", "syntax"),
            (b'{"a":1}//c', "syntax"),
            (b'/**/{"a":1}', "syntax"), (b'{"a":True}', "syntax"), (b'{"a":[1,]}', "syntax"),
            (b'\xc2\xa0{"a":1}', "syntax"),
            (b'{"a":\xd9\xa1}', "syntax"),
        ],
    )  # fmt: skip
    def test_what_parsers_disagree_about(self, data: bytes, reason: str) -> None:
        """Encodings, doubled names, NaN, surrogates, NUL, digits and sloppy syntax are refused, each with its word."""
        assert refusal(data) == reason

    def test_depth(self) -> None:
        """Sixteen levels are read, seventeen are not, whatever stands beside them or inside strings."""
        for opening, closing in ((b"[", b"]"), (b'{"b":', b"}")):
            inner = b"1"
            fits = opening * (MAX_DEPTH - 1) + inner + closing * (MAX_DEPTH - 1)
            assert read_object(b'{"a":' + fits + b"}", limit=LIMIT)
            assert refusal(b'{"a":' + opening + fits + closing + b"}") == "too_deep"
        assert read_object(b'{"a":"' + b"[" * 500 + b'","b":"\\"[[' + b"{" * 300 + b'"}', limit=LIMIT)
        assert read_object(b'{"a":[' + b"[]," * 500 + b"{}]}", limit=LIMIT)
        assert refusal(b'{"b":"\\\\",' + b'"a":' + b"[" * 20 + b"]" * 20 + b"}") == "too_deep"

    def test_digits(self) -> None:
        """An integer has at most as many characters as one of 64 bits."""
        assert read_object(b'{"a":' + b"9" * MAX_DIGITS + b"}", limit=LIMIT)
        assert refusal(b'{"a":' + b"9" * (MAX_DIGITS + 1) + b"}") == "number"

    def test_size(self) -> None:
        """One byte over the limit is refused before anything is looked at."""
        data = b'{"a":"' + b"x" * 90 + b'"}'
        assert read_object(data, limit=len(data))
        assert refusal(data, limit=len(data) - 1) == "too_large"
        assert refusal(b"\xff" * 10, limit=9) == "too_large"

    @pytest.mark.serial
    @pytest.mark.parametrize(
        "data",
        [
            b"[" * 65_000, b'{"a":' * 13_000, b'{"a":[' + b"[]," * 21_000 + b"[]]}", b'"' * 65_000,
            b'{"a":"' + b'\\"' * 32_000,
            b'{"a":"' + b"\\" * 65_000, b'{"a":' + b"9" * 65_000 + b"}", b'{"a":"' + b"\\u0041" * 10_000 + b'"}',
            b"[{" * 32_000,
            b'{"a":"' + b'"[' * 32_000, b"{" + b",".join(b'"%d":[]' % n for n in range(5000)) + b"}",
        ],
        ids=lambda data: repr(data[:12]),
    )  # fmt: skip
    def test_hostile_texts_cost_no_time(self, data: bytes) -> None:
        """The largest texts, made to be slow to read, are done with in milliseconds: nothing is searched twice."""
        durations = []
        for _ in range(3):
            start = time.thread_time()
            with contextlib.suppress(JsonError):
                read_object(data, limit=LIMIT)
            durations.append(time.thread_time() - start)
        assert min(durations) < 0.1

    def test_the_error_holds_nothing_of_the_text(self) -> None:
        """The message is one word, and what it was raised from is not shown: a body may hold a password."""
        for data in (b'{"password":"hunter2"', b'{"password":"hunter2\xff"}', b'{"hunter2":1,"hunter2":2}'):
            with pytest.raises(JsonError) as caught:
                read_object(data, limit=LIMIT)
            assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
            assert caught.value.__suppress_context__ or caught.value.__context__ is None


class Colour(StrEnum):
    RED = "red"


class Part(msgspec.Struct, forbid_unknown_fields=True):
    number: int


class Form(msgspec.Struct):
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=8)]
    password: str
    email: str | None = None
    age: Annotated[int, msgspec.Meta(ge=0, le=150)] = 0
    parts: list[Part] = []
    colour: Colour = Colour.RED
    code: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")] = "a"
    labels: dict[str, int] = {}
    renamed: int = msgspec.field(default=0, name="re-named")


def faults(data: bytes) -> list[tuple[tuple[str | int, ...], str]]:
    """Return where and why a form is refused; nothing secret may be in it."""
    with pytest.raises(JsonError) as caught:
        read_struct(data, Form, limit=LIMIT)
    assert caught.value.reason == "fields"
    assert "hunter2" not in repr(caught.value.faults)
    assert all(fault.message.endswith(".") for fault in caught.value.faults)
    return [(fault.loc, fault.code) for fault in caught.value.faults]


def form(**members: object) -> bytes:
    """A good form, changed."""
    return json.dumps({"username": "maker", "password": "p"} | members).encode()


class TestStructs:
    def test_a_form(self) -> None:
        """The body becomes the struct, with its defaults."""
        read = read_struct(form(parts=[{"number": 1}], **{"re-named": 3}), Form, limit=LIMIT)
        assert (read.username, read.email, read.parts, read.renamed) == ("maker", None, [Part(1)], 3)

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"{}", [(("body", "username"), "missing"), (("body", "password"), "missing")]),
            (form(username=1), [(("body", "username"), "wrong_type")]),
            (form(username=None, password=["hunter2"]),
            [(("body", "username"), "wrong_type"), (("body", "password"), "wrong_type")]),
            (form(username=""), [(("body", "username"), "too_short")]),
            (form(username="hunter2hunter2"), [(("body", "username"), "too_long")]),
            (form(hunter2="x"), [(("body",), "unknown_field")]),
            (form(hunter2="x", username=7), [(("body",), "unknown_field"), (("body", "username"), "wrong_type")]),
            (form(renamed=1), [(("body",), "unknown_field")]),
            (form(age=-1), [(("body", "age"), "too_small")]),
            (form(age=151), [(("body", "age"), "too_large")]),
            (form(age="1"), [(("body", "age"), "wrong_type")]),
            (form(age=True), [(("body", "age"), "wrong_type")]),
            (form(age=1.5), [(("body", "age"), "wrong_type")]),
            (form(colour="hunter2"), [(("body", "colour"), "invalid_value")]),
            (form(code="hunter2"), [(("body", "code"), "invalid_value")]),
            (form(parts=[{"number": 1}, {"number": "hunter2"}]), [(("body", "parts", 1, "number"), "wrong_type")]),
            (form(parts=[{"number": 1, "hunter2": 1}]), [(("body", "parts", 0), "unknown_field")]),
            (form(parts=[{}]), [(("body", "parts", 0), "missing")]),
            (form(labels={"hunter2": "x"}), [(("body", "labels"), "wrong_type")]),
        ],
    )  # fmt: skip
    def test_faults(self, data: bytes, expected: list[tuple[tuple[str | int, ...], str]]) -> None:
        """Every wrong field is named with a code; nothing that was sent comes back, not even an unknown name."""
        assert faults(data) == expected

    def test_where(self) -> None:
        """The first part of the path can be chosen; the fault is the value that problem details show."""
        with pytest.raises(JsonError) as caught:
            read_struct(b'{"number":"x"}', Part, limit=LIMIT, where="query")
        message = "This value is not of the type that is asked for."
        assert caught.value.faults == (InputFault(("query", "number"), "wrong_type", message),)

    def test_the_reader_is_as_strict(self) -> None:
        """A struct is read by the same strict reader."""
        for data, reason in (
            (b'{"number":1,"number":1}', "duplicate_name"),
            (b'{"number":NaN}', "number"),
            (b"[1]", "not_an_object"),
        ):
            with pytest.raises(JsonError, match=reason):
                read_struct(data, Part, limit=LIMIT)
        with pytest.raises(JsonError, match="too_large"):
            read_struct(b'{"number":1}', Part, limit=5)
