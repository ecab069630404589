"""The framer gives the same messages however the stream was cut, and names every deviation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import MedledgerError, UsageError
from medledger_bridge import mllp
from medledger_bridge.errors import (
    MllpEndError,
    MllpError,
    MllpGarbageError,
    MllpSizeError,
    MllpStartError,
    MllpTruncatedError,
)

MESSAGES = st.lists(st.binary(max_size=60).map(lambda raw: raw.translate(None, b"\x0b\x1c")), max_size=5)
STREAM_BYTES = st.binary(max_size=80) | st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"A"])).map(b"".join)


def outcome(pieces: list[bytes], **options: int) -> tuple[list[bytes], type[MllpError] | None]:
    """All messages of a stream given in pieces, and the fault that ended it."""
    framer = mllp.Framer(**options)
    found: list[bytes] = []
    for piece in pieces:
        try:
            found += framer.feed(piece)
        except MllpError as fault:
            return found + fault.messages, type(fault)
    return found, None


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in pieces."""
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(edges)]


@given(MESSAGES, st.lists(st.integers(0, 1000)), st.sampled_from([b"", b"\r\n", b"noise", b"\r"]))
def test_any_cut_of_the_stream_gives_the_same_messages(messages: list[bytes], places: list[int], gap: bytes) -> None:
    """Split packets, joined packets, noise between frames: what was wrapped comes out, in order."""
    stream = gap.join([b"", *map(mllp.wrap, messages), b""])
    assert outcome(cut(stream, places)) == (messages, None)
    assert outcome([bytes((byte,)) for byte in stream]) == (messages, None)


@given(STREAM_BYTES, st.lists(st.integers(0, 1000)))
def test_any_bytes_have_one_outcome_whatever_the_cut(stream: bytes, places: list[int]) -> None:
    """Faults too come at the same byte, with the same messages before them, and are always ours."""
    whole = outcome([stream], max_message=20)
    assert outcome(cut(stream, places), max_message=20) == whole
    assert outcome([bytes((byte,)) for byte in stream], max_message=20) == whole


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        (b"\x0bone\x1c\r\x0btwo\x0bthree\x1c\r", MllpStartError),
        (b"\x0bone\x1c\r\x0btwo\x1c\x0bthree\x1c\r", MllpEndError),
        (b"\x0bone\x1c\r\x0btwo\x1c\x1c\r", MllpEndError),
        (b"\x0bone\x1c\r\x0b" + b"x" * 101, MllpSizeError),
        (b"\x0bone\x1c\r" + b"x" * 4097, MllpGarbageError),
    ],
)
def test_each_fault_has_its_name_and_keeps_what_came_before(stream: bytes, fault: type[MllpError]) -> None:
    """The complete message before the fault is delivered with it; after it, the framer takes nothing."""
    framer = mllp.Framer(max_message=100)
    with pytest.raises(fault) as caught:
        framer.feed(stream)
    assert caught.value.messages == [b"one"]
    with pytest.raises(UsageError):
        framer.feed(b"\x0bmore\x1c\r")
    framer.close()


def test_a_message_of_the_largest_size_passes() -> None:
    """The limit is the last size that is allowed."""
    assert outcome([mllp.wrap(b"x" * 100)], max_message=100) == ([b"x" * 100], None)


def test_noise_between_frames_is_counted_and_line_ends_are_not() -> None:
    """An operator can see that a sender is untidy."""
    framer = mllp.Framer()
    assert framer.feed(b"\r\n\x0ba\x1c\r\r\nzz\x0bb\x1c\r") == [b"a", b"b"]
    assert framer.skipped == 2
    framer.close()


def test_a_stream_that_ends_inside_a_message_is_named() -> None:
    """Nothing half received is ever delivered."""
    framer = mllp.Framer()
    assert framer.feed(b"\x0bhalf") == []
    with pytest.raises(MllpTruncatedError):
        framer.close()


def test_a_message_with_frame_bytes_cannot_be_wrapped() -> None:
    """It would be read as two."""
    for bad in (b"a\x0bb", b"a\x1cb"):
        with pytest.raises(UsageError):
            mllp.wrap(bad)


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_no_bytes_make_the_framer_raise_anything_else(pieces: list[bytes]) -> None:
    """Every exception is of the library's family."""
    framer = mllp.Framer(max_message=64)
    with contextlib.suppress(MedledgerError):
        for piece in pieces:
            framer.feed(piece)
        framer.close()


def test_every_recorded_message_passes_in_one_stream(shared_data: Callable[[str], Path]) -> None:
    """All recorded HL7 files framed one after another, fed in odd pieces, come out byte for byte."""
    messages = [path.read_bytes() for path in sorted(shared_data("05-hl7v2").rglob("*.hl7*"))]
    assert len(messages) == 82
    stream = b"".join(map(mllp.wrap, messages))
    for size in (1, 7, 1460, len(stream)):
        assert outcome([stream[at : at + size] for at in range(0, len(stream), size)]) == (messages, None)
