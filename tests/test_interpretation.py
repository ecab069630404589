"""Interpretation of many entries at once says of each what reading it alone says, whatever stands beside it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medledger import cbor
from medledger.block import Hidden
from medledger.entry import decode_entry, encode_entry
from medledger.errors import MalformedError, SchemaError, UsageError
from medledger.header import BlockClass
from medledger.interpretation import Interpreted, interpret, interpret_all
from medledger.limits import MAX_ENTRY_BYTES, MAX_INT, MIN_INT
from medledger.records import Association, DeviceStatus, Dispense, Reading, Sample, lookup, registered
from medledger.samples import _ANY_SAMPLE, SAMPLE
from medledger.schema import Array, Bytes, Decimal, Int, Map, MapOf, Nullable, OneOf, Text, Tuple

Item = tuple[int, bytes | Hidden]

READING = Reading(device="MON-7", samples=[("8867-4", "72", "/min"), ("8310-5", "36.80", "Cel")]).to_content()
DISPENSE = Dispense(product="04012345123456", quantity=1, unit="{pack}", lot="A,NaN,B").to_content()


def refusal(type_name: str) -> str | None:
    """A policy that lets nobody dispense."""
    return "not-allowed" if type_name == "dispense" else None


def slowly(block_class: int, item: bytes | Hidden) -> tuple[str, int, bytes | None, str | None, str | None]:
    """What one entry says, read alone by the strict decoder, and rendered by the plain JSON module."""
    if isinstance(item, Hidden):
        return "", 0, None, "hidden", None
    try:
        entry = decode_entry(item)
    except MalformedError:
        return "", 0, None, "malformed", None
    text = json.dumps(entry.content, separators=(",", ":"), ensure_ascii=False, default=bytes.hex)
    record = lookup(entry.type)
    if record is None:
        void: str | None = "unknown-type"
    elif (block_class == BlockClass.CONTROL) is not record.CONTROL:
        void = "class"
    else:
        try:
            record.SCHEMA.check(entry.content)
        except SchemaError as error:
            void = f"schema: {error}"
        else:
            void = refusal(entry.type)
    return entry.type, entry.time, entry.subject, void, text


def entry(type_name: str, content: Any, *, time: int = 5, subject: bytes | None = None) -> bytes:
    """An entry of any content."""
    return encode_entry(type_name, content, time=time, subject=subject, salt=bytes(16))


KEYS = st.one_of(st.text(max_size=8), st.integers(0, MAX_INT))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(MIN_INT, MAX_INT) | st.binary(max_size=40) | st.text(max_size=80),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        | st.dictionaries(st.integers(0, MAX_INT), inner, max_size=4)
    ),
    max_leaves=12,
)
CONTENTS = st.one_of(VALUES, st.sampled_from([READING, DISPENSE, ["x,NaN,y", "z"], {"device": "NaN", "samples": []}]))
GOOD = st.builds(
    entry,
    st.sampled_from(["reading", "dispense", "gov.approve", "unheard-of"]),
    CONTENTS,
    time=st.integers(MIN_INT, MAX_INT),
    subject=st.none() | st.binary(min_size=16, max_size=16),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An entry with some bytes changed, removed or added."""
    raw = bytearray(draw(GOOD))
    at = draw(st.integers(0, len(raw) - 1))
    raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(raw)


LOOSE = st.sampled_from(  # CBOR that other decoders take
    [
        b"",
        b"\xf6",
        b"\x80",
        b"\x85",
        b"\x98\x05" + entry("reading", READING)[1:],
        b"\x9f" + entry("reading", READING)[1:] + b"\xff",
        entry("reading", READING) + b"\x00",
        entry("reading", READING)[:-1],
        cbor.encode([bytes(16), "reading", 0, None, READING, 1]),
        cbor.encode([bytes(15), "reading", 0, None, READING]),
        b"\x85\x50" + bytes(16) + b"\x67reading\xfb" + bytes(8) + b"\xf6\xf6",
        b"\x85\x50" + bytes(16) + b"\x67reading\x00\xf6\xf9\x7e\x00",  # content NaN
        b"\x85\x50" + bytes(16) + b"\x67reading\x1b" + b"\xff" * 8 + b"\xf6\xf6",
        b"\x85\x50" + bytes(16) + b"\x67reading\x00\xf6\xa2\x61b\x00\x61a\x00",  # unsorted keys
        b"\x85\x50" + bytes(16) + b"\x67reading\x00\xf6\xa2\x61a\x00\x61a\x00",  # a key twice
        b"\x85\x50" + bytes(16) + b"\x67reading\x00\xf6\xc1\x00",  # a tag
        b"\x81" * 40 + b"\x00",
        b"\x5f\x41\x00\xff",
        bytes(MAX_ENTRY_BYTES + 1),
    ]
)
ITEMS = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),
        st.one_of(GOOD, GOOD, damaged(), LOOSE, st.binary(max_size=60), st.builds(Hidden, st.just(bytes(32)))),
    ),
    max_size=12,
)


@settings(max_examples=400)
@given(ITEMS)
def test_many_at_once_say_what_each_says_alone(items: Sequence[Item]) -> None:
    """Damaged, loose and hidden entries beside good ones change nothing about them, nor they about those."""
    together = interpret_all([(block_class, item, refusal) for block_class, item in items])
    assert together == [slowly(block_class, item) for block_class, item in items]


def test_a_body_is_read_in_order() -> None:
    """Each entry of a body comes with its place."""
    body = [entry("reading", READING), Hidden(bytes(32)), entry("dispense", DISPENSE), b"\x00"]
    found = interpret(BlockClass.DATA, body, refusal)
    assert [said.at for said in found] == [0, 1, 2, 3]
    assert [said.void for said in found] == [None, "hidden", "not-allowed", "malformed"]
    assert found == [Interpreted(at, *slowly(BlockClass.DATA, item)) for at, item in enumerate(body)]


@given(st.lists(GOOD, max_size=8))
def test_guesses_at_good_entries_are_right(datas: list[bytes]) -> None:
    """Where nothing is damaged, one run of the parser gives what decoding each alone gives."""
    assert cbor.guess_all(datas) == [cbor.decode(data, max_size=MAX_ENTRY_BYTES) for data in datas]


def conforming() -> list[tuple[str, Any]]:
    """Contents of every kind of record, with and without what is optional."""
    absent = Sample("8867-4", None, "/min", absent="error")
    return [
        ("reading", READING),
        ("reading", Reading(device="é", samples=[absent], device_time=-5, raw=bytes(32), quality="lost").to_content()),
        ("reading", Reading(device="x" * 64, alarm="ASYSTOLE " * 8).to_content()),
        ("dispense", DISPENSE),
        ("device.status", DeviceStatus(device="MON-7", state="off", firmware="1", config=bytes(32)).to_content()),
        ("association", Association(device="MON-7", action="begin", at=2**62, reason="admit").to_content()),
        ("gov.approve", [bytes(32), 0]),
        ("gov.revoke", {"epoch": 300, "feed": bytes(32), "seq": -1, "id": None, "reason": ""}),
        ("gov.epoch", [1, bytes(32), [bytes(32)], 1, [], {"nurse": ["reading"], "a": ["*"]}, [[bytes(32), -1, None]]]),
    ]


@pytest.mark.parametrize(("type_name", "content"), conforming())
def test_a_schema_gives_the_encoding_of_what_it_accepts(type_name: str, content: Any) -> None:
    """Byte for byte what the encoder gives, also where the map's order is another."""
    record = lookup(type_name)
    assert record is not None
    record.SCHEMA.check(content)
    assert record.SCHEMA.encoding(content) == cbor.encode(content)
    if isinstance(content, dict):
        backwards = dict(reversed(content.items()))
        assert record.SCHEMA.encoding(backwards) == cbor.encode(content)


SCHEMA = Map(
    {"text": Text(0, 300), "number": Int(), "items": Array(Nullable(Bytes(0, 300)), 0, 30)},
    {"pair": Tuple(OneOf("abc"), Decimal(), optional=Int(-5, 5)), "map": MapOf(Text(0, 9), Int(), 0, 30), "a": Int()},
)
CONFORMING = st.fixed_dictionaries(
    {
        "text": st.text(max_size=300),
        "number": st.integers(MIN_INT, MAX_INT),
        "items": st.lists(st.none() | st.binary(max_size=300), max_size=30),
    },
    optional={
        "pair": st.tuples(
            st.sampled_from("abc"), st.tuples(st.integers(MIN_INT, MAX_INT), st.integers(-128, 127))
        ).flatmap(lambda pair: st.sampled_from([list(pair), [*pair, -3]])),
        "map": st.dictionaries(st.text(max_size=9), st.integers(MIN_INT, MAX_INT), max_size=30),
        "a": st.integers(MIN_INT, MAX_INT),
    },
)


@given(CONFORMING, st.randoms(use_true_random=False))
def test_any_schema_gives_the_encoding_of_what_it_accepts(content: dict[str, Any], rng: random.Random) -> None:
    """For values of every kind and size, in any order: `encoding` is `cbor.encode`, or None where `check` refuses."""
    keys = list(content)
    rng.shuffle(keys)
    shuffled = {key: content[key] for key in keys}
    encoded = SCHEMA.encoding(shuffled)
    try:
        SCHEMA.check(shuffled)
    except SchemaError:
        assert encoded is None
    else:
        assert encoded == cbor.encode(content)


@given(VALUES)
def test_no_value_has_an_encoding_that_the_schema_refuses(value: Any) -> None:
    """Whatever the value, `encoding` and `check` agree on whether it conforms."""
    for record in registered().values():
        encoded = record.SCHEMA.encoding(value)
        try:
            record.SCHEMA.check(value)
        except SchemaError:
            assert encoded is None
        else:
            assert encoded == cbor.encode(value)


@given(st.lists(st.lists(st.sampled_from(["a", "bb", "b", "", "é", "e" * 70, "0"]), unique=True), max_size=40))
def test_what_the_encoder_remembers_changes_nothing(maps: list[list[str]]) -> None:
    """Maps of the same keys in any order have one encoding, which the decoder takes, the first time and later."""
    for keys in maps:
        value = {key: at for at, key in enumerate(sorted(keys))}
        shuffled = {key: value[key] for key in keys}
        assert cbor.encode(shuffled) == cbor.encode(value)
        assert cbor.decode(cbor.encode(value), max_size=1000) == value


PLAIN = st.tuples(
    st.sampled_from(["8867-4", "8867-5", None, True]),
    st.one_of(
        st.tuples(
            st.sampled_from([0, 1, 72, True, False, 1.0, 2**63, -1]), st.sampled_from([0, -1, 1, True, 0.0, 128])
        ),
        st.sampled_from(["text", None, [72], [72, 0, 0]]),
    ).map(lambda value: list(value) if isinstance(value, tuple) else value),
    st.sampled_from(["/min", "mm[Hg]", None, 1, "a b"]),
)
QUALIFIED = st.dictionaries(
    st.sampled_from(["sent", "sent_unit", "status", "result", "sub", "absent", "flag", "sent_value", "other"]),
    st.sampled_from(
        ["MDC:147842", "F", "questionable", "invalid", "error", "", "1.2", None, 1, True, [72, 0], "x" * 65]
    ),
    max_size=4,
)
SAMPLES = st.one_of(PLAIN.map(list), st.tuples(PLAIN, QUALIFIED).map(lambda both: [*both[0], both[1]]))


@given(st.lists(SAMPLES, max_size=30))
def test_a_remembered_sample_lets_nothing_else_pass(samples: list[list[Any]]) -> None:
    """True and 1.0 are equal to 1, and yet no sample of them is accepted because one of 1 was before."""
    for sample in samples:
        encoded = SAMPLE.encoding(sample)
        assert encoded == _ANY_SAMPLE.encoding(sample)
        if encoded is not None:
            assert encoded == cbor.encode(sample)


def test_a_subclass_of_text_is_refused_even_where_its_text_is_known() -> None:
    """As a value and as a key: it may mean something else than its characters."""

    class Odd(str):
        __slots__ = ()

    cbor.encode({"known": "known"})
    for value in (Odd("known"), {Odd("known"): 1}, ["known", Odd("known")]):
        with pytest.raises(UsageError):
            cbor.encode(value)


@pytest.mark.parametrize("cut", [1, 17, 40])
def test_an_entry_cannot_borrow_from_its_neighbour(cut: int) -> None:
    """Two damaged entries whose bytes run together into valid ones are two damaged entries."""
    whole = entry("reading", READING) + entry("reading", READING)
    middle = len(whole) // 2
    halves = [whole[: middle + cut], whole[middle + cut :]]
    assert interpret_all([(1, half, refusal) for half in halves]) == [("", 0, None, "malformed", None)] * 2
