"""Validators accept what the format allows, name the field that fails, and never let another exception out."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger import cbor
from medledger.errors import SchemaError
from medledger.schema import (
    Array,
    Bytes,
    ByType,
    Decimal,
    Int,
    Map,
    MapOf,
    Nullable,
    OneOf,
    Remembered,
    Text,
    Tuple,
    Validator,
    Where,
)

NESTED = Map(
    {"device": Text(1, 8), "samples": Array(Tuple(Text(1, 8), Decimal(), optional=Map({}, {"flag": Int()})), 0, 3)},
    {"raw": Bytes(4), "words": MapOf(Text(1, 4), OneOf(("on", "off")), 0, 2)},
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def refused(validator: Validator, value: Any, path: str = "content") -> str:
    """The message with which `value` is refused."""
    with pytest.raises(SchemaError) as caught:
        validator.check(value, path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (Text(1, 3), ["a", "abc", "äöü", "a b"], ["", "abcd", b"a", 1, None, "a\n", "\x1b[1", "a\u202eb", "\ud800"]),
        (Int(0, 9), [0, 9], [-1, 10, True, 1.0, "1", None]),
        (Int(), [-(2**63), 2**63 - 1], [2**63, -(2**63) - 1]),
        (Bytes(2), [b"ab"], [b"a", b"abc", "ab", bytearray(b"ab"), None]),
        (Bytes(1, 2), [b"a", b"ab"], [b"", b"abc"]),
        (Decimal(), [[1350, -2], (0, 0), [-1, 127]], [[1], [1, 2, 3], [1.0, 0], [True, 0], [1, 128], [2**63, 0], "1"]),
        (OneOf(("on", "off")), ["on"], ["ON", "", None, 1, [], {}]),
        (Nullable(Int(0, 1)), [None, 1], [2, "x"]),
        (ByType({list: Decimal(), str: Text(1, 2)}), [[1, 0], (1, 0), "ab"], [None, 1, "abc", [1]]),
        (Array(Int(), 1, 2), [[1], (1, 2)], [[], [1, 2, 3], ["1"], 1, {}, "12"]),
        (Array(Int(), 0, 5, order=lambda item: item), [[], [1, 2, 9]], [[1, 1], [2, 1]]),
        (Tuple(Int(), Text(1, 2)), [[1, "a"], (1, "a")], [[1], ["a", 1], [1, "a", 2]]),
        (Tuple(Int(), optional=Text(1, 2)), [[1], [1, "a"]], [[], [1, 2], [1, "a", "b"]]),
        (Map({"a": Int()}, {"b": Int()}), [{"a": 1}, {"a": 1, "b": 2}], [{}, {"b": 2}, {"a": 1, "c": 3}, {1: 2}, []]),
        (MapOf(Text(1, 2), Int(), 0, 1), [{}, {"a": 1}], [{"abc": 1}, {"a": "x"}, {"a": 1, "b": 2}, {1: 1}]),
        (Where(Int(), lambda n: "must be even" if n % 2 else None), [2], [1, "2"]),
        (Remembered(Text(1, 2), most=2), ["a", "b", "c", "a"], ["abc", "", 1]),
    ],
)
def test_a_validator_accepts_its_values_and_refuses_all_others(
    validator: Validator, good: list[Any], bad: list[Any]
) -> None:
    """Types are exact: True is not 1, a bytearray is not bytes, and 1.0 is nothing at all."""
    for value in good:
        validator.check(value)
    for value in bad:
        refused(validator, value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"samples": []}, "content lacks the field 'device'"),
        ({"device": "x", "samples": [], "name": "y"}, "content has a field that this type does not know: 'name'"),
        ({"device": "x", "samples": [["a", [1, 0]], ["b", 7]]}, "content.samples[1][1] must be a decimal"),
        ({"device": "x", "samples": [["a", [1, 0], {"flag": "x"}]]}, "content.samples[0][2].flag must be an integer"),
        ({"device": "x", "samples": [], "words": {"a": "up"}}, "content.words.a must be one of off, on"),
        ({"device": 7, "samples": []}, "content.device must be text"),
    ],
)
def test_an_error_names_the_path_of_the_field(value: Any, said: str) -> None:
    """The path is the one a person would write to reach the field."""
    assert refused(NESTED, value).startswith(said)


def test_an_error_never_shows_the_value() -> None:
    """What is refused may be somebody's name; it must not travel on in a message."""
    assert "Hiccock" not in refused(NESTED, {"device": "Hiccock^WildBill", "samples": []})
    assert "Hiccock" not in refused(Map({"a": OneOf(("on",))}), {"a": "Hiccock"})


def test_remembering_does_not_accept_more_than_the_rule() -> None:
    """A flood of values empties the memory, and changes no verdict."""
    validator = Remembered(Text(1, 3), most=4)
    for number in range(100):
        validator.check(str(number))
    refused(validator, "1000")
    validator.check("7")


@given(ANYTHING)
def test_any_value_is_accepted_or_refused_with_a_schema_error(value: Any) -> None:
    """No value makes a validator raise anything else."""
    with contextlib.suppress(SchemaError):
        NESTED.check(value)


@given(st.text())
def test_accepted_text_cannot_break_a_line_or_turn_it_around(text: str) -> None:
    """Whatever passes is safe to print in a log."""
    try:
        Text(0, 1000).check(text)
    except SchemaError:
        return
    assert len(text.splitlines()) <= 1
    assert not set(text) & set("\x1b\u202e\u2066\x7f\x85\x00")
    text.encode()  # and it can be encoded


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 70_000])
def test_a_list_of_any_length_has_its_encoding(size: int) -> None:
    """Short lists and long ones, whose heads are not kept in a table: a schema for a million items costs nothing."""
    many = Array(Int(0, 9), 0, 2**20)
    assert many.encoding([1] * size) == cbor.encode([1] * size)
    assert many.encoding([*[1] * size, 10]) is None
    with pytest.raises(SchemaError, match=rf"content\[{size}\] must be an integer"):
        many.check([*[1] * size, 10])
