"""Deterministic CBOR: what is accepted, what is refused and as whose fault, and the published vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger import cbor
from medledger.errors import LimitError, MalformedError, UsageError
from medledger.limits import MAX_DEPTH, MAX_INT, MIN_INT

SIZE = 64 * 1024

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(MIN_INT, MAX_INT), st.binary(max_size=300), st.text(max_size=300)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(st.text(max_size=40), inner, max_size=6),
        st.dictionaries(st.integers(0, MAX_INT), inner, max_size=6),
    ),
    max_leaves=20,
)


def decode(data: bytes) -> Any:
    """`cbor.decode` with room for every vector."""
    return cbor.decode(data, max_size=SIZE)


def nested(depth: int) -> list[Any]:
    """`depth` lists, one in another."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class TestLaws:
    @given(values)
    def test_decoding_gives_back_what_was_encoded(self, value: Any) -> None:
        """Every value of the format survives, with its types."""
        again = decode(cbor.encode(value))
        assert again == value
        assert cbor.encode(again) == cbor.encode(value)

    @given(values)
    def test_encoding_agrees_with_cbor2(self, value: Any) -> None:
        """Our encoder and cbor2's canonical one, which share no code, write the same bytes."""
        assert cbor.encode(value) == cbor2.dumps(value, canonical=True)

    @given(st.one_of(st.binary(max_size=40), values.map(cbor2.dumps)))
    def test_whatever_is_accepted_is_the_only_encoding(self, data: bytes) -> None:
        """Bytes are refused by name, or are exactly the encoding of the value that they give."""
        try:
            value = decode(data)
        except MalformedError:
            return
        assert cbor.encode(value) == data

    @given(values, st.data())
    def test_damaged_bytes_never_pass_for_their_value(self, value: Any, data: st.DataObject) -> None:
        """A changed byte gives another value or an error, never the same value: there are no two encodings."""
        encoded = bytearray(cbor.encode(value))
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] ^= data.draw(st.integers(1, 255))
        try:
            other = decode(bytes(encoded))
        except MalformedError:
            return
        assert cbor.encode(other) != cbor.encode(value)

    @given(values, st.binary(min_size=1, max_size=3))
    def test_nothing_may_follow(self, value: Any, more: bytes) -> None:
        """Bytes after the value are refused, and so is a value cut short."""
        encoded = cbor.encode(value)
        with pytest.raises(MalformedError):
            decode(encoded + more)
        with pytest.raises(MalformedError):
            decode(encoded[:-1])

    @given(st.binary(max_size=60))
    def test_foreign_bytes_parse_or_are_refused_by_name(self, data: bytes) -> None:
        """The lenient parser raises nothing but our errors either."""
        try:
            cbor.parse_foreign(data, max_size=SIZE)
        except MalformedError:
            return


REFUSED = {
    "empty": "",
    "trailing byte": "0000",
    "truncated array": "8201",
    "truncated text": "6361",
    "array of 2^64 - 1": "9bffffffffffffffff00",
    "map of 2^64 - 1": "bbffffffffffffffff00",
    "bytes of 2^64 - 1": "5bffffffffffffffff00",
    "one in two bytes": "1801",
    "one in nine bytes": "1b0000000000000001",
    "long length of bytes": "580161",
    "long length of text": "780161",
    "long length of array": "980100",
    "long length of map": "b8010000",
    "minus one in two bytes": "3800",
    "unsorted text keys": "a2616201616102",
    "unsorted integer keys": "a202000100",
    "longer key before shorter": "a262616101616201",
    "duplicate key": "a2616101616102",
    "duplicate key in two lengths": "a201011801 02",
    "mixed keys": "a20102616102",
    "byte string key": "a1416100",
    "negative key": "a12000",
    "array key": "a18000",
    "map key": "a1a000",
    "null key": "a1f600",
    "false and zero as keys": "a20000f400",
    "not a number as keys": "a2f97e0001f97e0001",
    "float": "f93c00",
    "twelve as a float": "f94a00",
    "minus zero": "f98000",
    "not a number": "f97e00",
    "infinity": "fb7ff0000000000000",
    "undefined": "f7",
    "simple(0)": "e0",
    "simple(255)": "f8ff",
    "true in two bytes": "f815",
    "reserved simple value": "f818",
    "2^63": "1b8000000000000000",
    "-2^63 - 1": "3b8000000000000000",
    "65-bit negative": "3bffffffffffffffff",
    "indefinite bytes": "5f4101ff",
    "indefinite text": "7f6161ff",
    "indefinite array": "9f01ff",
    "indefinite map": "bf616101ff",
    "lone break": "ff",
    "reserved length": "1c",
    "truncated UTF-8": "62c328",
    "surrogate in UTF-8": "63eda080",
    "overlong UTF-8": "62c080",
    "overlong UTF-8 of four": "64f0808080",
}


class TestDecode:
    @pytest.mark.parametrize("hexadecimal", REFUSED.values(), ids=REFUSED)
    def test_refuses(self, hexadecimal: str) -> None:
        """Each is refused alone, and inside an array and a map."""
        data = bytes.fromhex(hexadecimal)
        for wrapped in (data, b"\x81" + data, b"\xa1\x61a" + data):
            with pytest.raises(MalformedError):
                decode(wrapped)

    @pytest.mark.parametrize("tag", [0, 1, 2, 3, 4, 5, 18, 25, 28, 29, 30, 35, 36, 37, 43, 100, 256, 258, 260, 55799])
    def test_tags_are_refused_before_their_content_is_read(self, tag: int) -> None:
        """Nothing of a tag acts: it is refused by its number even when its content is missing."""
        for content in (b"", b"\x80", b"\x62([", b"\x00"):
            with pytest.raises(MalformedError, match=rf"tag {tag}$"):
                decode(cbor.head(0xC0, tag) + content)
            with pytest.raises(MalformedError, match=rf"tag {tag}$"):
                decode(b"\x81" + cbor.head(0xC0, tag) + content)

    def test_unknown_and_nested_tags_are_refused(self) -> None:
        """The largest tag number, and a tower of tags."""
        with pytest.raises(MalformedError, match="tag 18446744073709551615"):
            decode(cbor.head(0xC0, 2**64 - 1) + b"\x00")
        with pytest.raises(MalformedError):
            decode(b"\xc1" * 50_000 + b"\x00")

    def test_depth_is_bounded(self) -> None:
        """MAX_DEPTH containers are read, one more is a LimitError, and so are fifty thousand."""
        assert decode(b"\x81" * (MAX_DEPTH - 1) + b"\x80") == nested(MAX_DEPTH)
        for data in (b"\x81" * MAX_DEPTH + b"\x80", b"\x81" * 50_000, b"\xa1\x00" * 30_000):
            with pytest.raises(LimitError):
                decode(data)

    def test_a_caller_can_ask_for_less_depth_but_not_for_more(self) -> None:
        """max_depth 0 means no containers at all; beyond the format's limit is the caller's mistake."""
        assert cbor.decode(b"\x01", max_size=9, max_depth=0) == 1
        assert cbor.decode(b"\x81\x80", max_size=9, max_depth=2) == [[]]
        with pytest.raises(LimitError):
            cbor.decode(b"\x80", max_size=9, max_depth=0)
        with pytest.raises(LimitError):
            cbor.decode(b"\x81\x80", max_size=9, max_depth=1)
        with pytest.raises(UsageError):
            cbor.decode(b"\x80", max_size=9, max_depth=MAX_DEPTH + 1)

    def test_size_is_bounded(self) -> None:
        """One byte above max_size is a LimitError, before anything is parsed."""
        assert cbor.decode(b"\x42ab", max_size=3) == b"ab"
        with pytest.raises(LimitError):
            cbor.decode(b"\x42ab", max_size=2)

    def test_only_bytes_are_decoded(self) -> None:
        """A memoryview, a bytearray or text is the caller's mistake."""
        for data in (memoryview(b"\x00"), bytearray(b"\x00"), "00", None):
            with pytest.raises(UsageError):
                decode(data)  # type: ignore[arg-type]

    def test_the_message_names_the_first_wrong_byte(self) -> None:
        """So that somebody who writes an encoder can find the fault."""
        with pytest.raises(MalformedError, match="byte 1 "):
            decode(bytes.fromhex("811801"))
        with pytest.raises(MalformedError, match="2 bytes after"):
            decode(b"\x00\x01\x02")


class Colour(IntEnum):
    RED = 1


class TestEncode:
    @pytest.mark.parametrize(
        "value",
        [
            1.5,
            float("nan"),
            Decimal("1.5"),
            {1, 2},
            frozenset(),
            bytearray(b"a"),
            memoryview(b"a"),
            cbor2.CBORTag(1, 0),
            cbor2.undefined,
            cbor2.CBORSimpleValue(1),
            MAX_INT + 1,
            MIN_INT - 1,
            2**70,
            "\ud800",
            {"\udfff": 1},
            {1: 0, "a": 0},
            {True: 0},
            {None: 0},
            {b"a": 0},
            {-1: 0},
            {MAX_INT + 1: 0},
            {(): 0},
            Colour.RED,
            object(),
            range(3),
        ],
        ids=lambda value: repr(value).partition(" at 0x")[0],  # the same in every process
    )
    def test_refuses(self, value: object) -> None:
        """Each is a UsageError alone and inside containers."""
        for wrapped in (value, [value], {"a": [value]}):
            with pytest.raises(UsageError):
                cbor.encode(wrapped)

    def test_depth_is_bounded_before_recursing(self) -> None:
        """Too deep, far too deep and cyclic values are refused; nothing crashes."""
        assert decode(cbor.encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
        cycle: list[Any] = []
        cycle.append(cycle)
        loop: dict[str, Any] = {}
        loop["self"] = (loop,)
        for value in (nested(MAX_DEPTH + 1), nested(100_000), cycle, loop):
            with pytest.raises(UsageError, match="deep"):
                cbor.encode(value)

    @pytest.mark.parametrize("size", [0, 23, 24, 255, 256, 65535, 65536])
    def test_lengths_take_the_shortest_head(self, size: int) -> None:
        """Every boundary between head lengths, for every major type that has a length."""
        for value in (bytes(size), "a" * size, [None] * size, dict.fromkeys(range(size)), tuple([0] * size)):
            encoded = cbor.encode(value)
            assert encoded == cbor2.dumps(value, canonical=True)
            assert cbor.decode(encoded, max_size=10**6) == (list(value) if isinstance(value, tuple) else value)

    @pytest.mark.parametrize("power", [8, 16, 32, 63])
    def test_integers_take_the_shortest_head(self, power: int) -> None:
        """Around every power of two that changes the length."""
        for value in range(2**power - 3, 2**power + 3):
            for signed in (value, -value):
                if MIN_INT <= signed <= MAX_INT:
                    assert cbor.encode(signed) == cbor2.dumps(signed)
                    assert decode(cbor.encode(signed)) == signed


class TestForeign:
    def test_reads_what_is_well_formed_and_not_deterministic(self) -> None:
        """Long integers, indefinite lengths, floats and tags, which stay uninterpreted."""
        assert cbor.parse_foreign(bytes.fromhex("1801"), max_size=SIZE) == 1
        assert cbor.parse_foreign(bytes.fromhex("9f015f4101ffff"), max_size=SIZE) == [1, b"\x01"]
        assert cbor.parse_foreign(bytes.fromhex("d82362285b"), max_size=SIZE) == cbor.Tag(35, "([")
        assert cbor.parse_foreign(bytes.fromhex("d81d00"), max_size=SIZE) == cbor.Tag(29, 0)

    @pytest.mark.parametrize(
        "hexadecimal", ["", "0000", "8201", "a2010101 02", "a201011801 02", "ff", "9f", "62c328", "81" * 17 + "00"]
    )
    def test_refuses(self, hexadecimal: str) -> None:
        """What is not one well-formed item, repeats a key, or nests too deeply."""
        with pytest.raises(MalformedError):
            cbor.parse_foreign(bytes.fromhex(hexadecimal), max_size=SIZE)

    def test_depth_is_bounded_through_indefinite_lengths_and_tags(self) -> None:
        """Neither is a way around the limit."""
        for data in (b"\x9f" * 50_000, b"\xc6" * 50_000, b"\xbf\x00" * 30_000):
            with pytest.raises(MalformedError):
                cbor.parse_foreign(data, max_size=SIZE)


class TestPublishedVectors:
    """RFC 8949 appendix A and the dCBOR vectors. Expectations are derived from the vectors' own notation."""

    @staticmethod
    def outside_our_profile(vector: dict[str, Any]) -> bool:
        """Floats, tags, undefined, simple values, integers beyond 64 bits; none of these vectors nests one of them."""
        first = bytes.fromhex(vector["hex"])[0]
        decoded = vector.get("decoded")
        too_large = isinstance(decoded, int) and not MIN_INT <= decoded <= MAX_INT
        return first in range(0xC0, 0xF4) or first >= 0xF7 or too_large or (first == 0x1B and vector["hex"] > "1b8")

    def check(self, vector: dict[str, Any]) -> bool:
        """Run one vector; whether it was accepted."""
        data = bytes.fromhex(vector["hex"])
        if self.outside_our_profile(vector) or not vector["roundtrip"]:
            with pytest.raises(MalformedError):
                decode(data)
            return False
        value = decode(data)
        assert cbor.encode(value) == data
        if "decoded" in vector:
            assert value == vector["decoded"]
        elif vector["diagnostic"].startswith("h'"):
            assert value == bytes.fromhex(vector["diagnostic"][2:-1])
        else:
            assert (vector["diagnostic"], value) == ("{1: 2, 3: 4}", {1: 2, 3: 4})
        return True

    def test_rfc_8949_appendix_a(self, shared_data: Callable[[str], Path]) -> None:
        """All 82: 35 are in our profile and survive both ways, 47 are refused."""
        vectors = json.loads(shared_data("02-cbor/appendix_a/appendix_a.json").read_bytes())
        accepted = [vector["hex"] for vector in vectors if self.check(vector)]
        assert (len(vectors), len(accepted)) == (82, 35)

    def test_dcbor(self, shared_data: Callable[[str], Path]) -> None:
        """All 40: integers agree with dCBOR; its floats and its integers beyond 64 bits are refused."""
        vectors = json.loads(shared_data("02-cbor/dcbor/valid.json").read_bytes())
        accepted = 0
        for vector in vectors:
            if vector["hex"] == "00" and not vector["roundtrip"]:
                # dCBOR reduces -0.0 to 0 when encoding, hence its flag; the bytes are plain zero.
                assert decode(b"\x00") == 0
                accepted += 1
            else:
                accepted += self.check(vector)
        assert (len(vectors), accepted) == (40, 22)
