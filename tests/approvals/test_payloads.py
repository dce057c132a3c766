"""What may be asked for: one text for one content, and nothing that has none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.core.errors import InvalidInput
from limen.features.approvals.asking import line_of
from limen.features.approvals.payloads import canonical, is_whole, payload_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PAYLOADS = st.dictionaries(TEXTS, VALUES, max_size=4)


@given(PAYLOADS)
def test_one_text_for_one_content(payload: dict[str, Any]) -> None:
    """Whatever the order of its names, a payload has one text and one hash, and comes back as it was."""
    text, digest = canonical(payload)
    turned = dict(reversed(list(payload.items())))
    assert canonical(turned) == (text, digest)
    assert payload_of(text) == payload
    assert is_whole(text, digest)
    assert not is_whole(text + " ", digest)


@given(PAYLOADS, PAYLOADS)
def test_other_content_has_another_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    """True and 1, and 1 and 1.0, are told apart, which Python alone does not."""
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical(one).digest == canonical(other).digest) is same


@pytest.mark.parametrize(
    "payload",
    [
        [],
        "text",
        None,
        {1: "a"},
        {"a": {1: "b"}},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {"a": object()},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 2**63},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": "x" * 16_384},
    ],
    ids=["list", "text", "None", "name", "deep name", "set", "bytes", "object", "nan", "inf", "large", "surrogate",
         "surrogate name", "long"],
)  # fmt: skip
def test_payloads_that_are_refused(payload: Any) -> None:
    """What is no plain JSON object, has no one text, or is too long, is a 422, and the error does not repeat it."""
    with pytest.raises(InvalidInput) as caught:
        canonical(payload)
    assert "xxx" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_longest_payload() -> None:
    """16 KiB of canonical JSON are enough, counted in bytes."""
    assert len(canonical({"a": "x" * (16_384 - 8)}).text) == 16_384
    with pytest.raises(InvalidInput):
        canonical({"a": "x" * (16_384 - 7)})
    with pytest.raises(InvalidInput):
        canonical({"a": "ä" * 8_200})


def test_a_payload_too_deep() -> None:
    """Sixteen in one another is enough; a circle has no end and is refused as well."""
    deep: dict[str, Any] = {}
    for _ in range(16):
        deep = {"a": deep}
    circle: dict[str, Any] = {}
    circle["a"] = circle
    for payload in (deep, circle):
        with pytest.raises(InvalidInput):
            canonical(payload)
    assert payload_of(canonical(deep["a"]).text) == deep["a"]


@pytest.mark.parametrize(
    "text",
    ["", "  ", "a\nb", "a\x00b", "x" * 501, "\ud800", "a\u202eb", None, 7],
    ids=["empty", "blank", "line", "nul", "long", "surrogate", "direction", "None", "number"],
)
def test_lines_that_are_refused(text: Any) -> None:
    """Empty, too long, or with signs that nobody sees: 422."""
    with pytest.raises(InvalidInput):
        line_of("reason", text, 500)


def test_a_line_is_kept_as_it_is() -> None:
    """Five hundred characters of a reason are enough, whatever their alphabet."""
    assert line_of("reason", "ä" * 500, 500) == "ä" * 500
