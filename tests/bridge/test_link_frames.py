"""Frames come out of any line whole or not at all, however they were cut and whatever stands between them."""

from __future__ import annotations

import random
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import UsageError
from medledger_bridge.link import cobs
from medledger_bridge.link.frames import CRC, HEAD, MAX_BODY_BYTES, MAX_ENCODED_BYTES, Deframer, Frame, wrap

BODIES = st.binary(min_size=1, max_size=600)
MESSAGES = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 65535), BODIES), max_size=5)


def feed(stream: bytes, sizes: int | list[int]) -> tuple[list[Frame], Deframer]:
    """The frames of a stream fed in pieces of one size, or cut at these places; and what took them."""
    deframer = Deframer()
    edges = (
        [*range(0, len(stream), sizes), len(stream)]
        if isinstance(sizes, int)
        else sorted({0, len(stream), *(place % (len(stream) + 1) for place in sizes)})
    )
    return [frame for a, b in pairwise(edges) for frame in deframer.feed(stream[a:b])], deframer


@given(st.binary(max_size=1200) | st.lists(st.sampled_from([b"\0", b"a" * 253, b"b" * 254, b"c"])).map(b"".join))
def test_stuffing_takes_out_every_zero_and_gives_the_bytes_back(data: bytes) -> None:
    """Its overhead is one byte, and one for each full run of 254."""
    encoded = cobs.encode(data)
    assert b"\0" not in encoded
    assert cobs.decode(encoded) == data
    assert len(encoded) <= len(data) + len(data) // 254 + 1


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (b"", "01"),
        (b"\0", "0101"),
        (b"\0\0", "010101"),
        (b"\x11\x22\0\x33", "0311220233"),
        (b"\x11\x22\x33\x44", "0511223344"),
        (b"\x11\0\0\0", "021101010 1".replace(" ", "")),
        (bytes(range(1, 255)), "ff" + bytes(range(1, 255)).hex()),
        (bytes(range(256)), "01ff" + bytes(range(1, 255)).hex() + "02ff"),
    ],
)
def test_stuffing_is_the_one_of_cheshire_and_baker(data: bytes, encoded: str) -> None:
    """The examples that everybody's implementation is compared with."""
    assert cobs.encode(data).hex() == encoded
    assert cobs.decode(bytes.fromhex(encoded)) == data


def test_a_full_run_at_the_end_is_read_in_both_forms() -> None:
    """Some encoders add an empty run after it."""
    data = b"x" * 254
    assert cobs.decode(b"\xff" + data) == cobs.decode(b"\xff" + data + b"\x01") == data


@given(st.binary(max_size=300))
def test_no_bytes_make_the_decoder_raise_anything_else(data: bytes) -> None:
    """Any bytes are an encoding of something, or are refused by name."""
    try:
        decoded = cobs.decode(data)
    except cobs.CobsError:
        return
    assert len(decoded) <= len(data)


@given(MESSAGES, st.lists(st.integers(0, 10_000)))
def test_any_cut_of_the_line_gives_the_same_frames(messages: list[tuple[int, int, bytes]], places: list[int]) -> None:
    """Two in one read, or a byte at a time."""
    expected = [Frame(1, *message) for message in messages]
    stream = b"".join(wrap(*message) for message in messages)
    for cut in (places, 1, len(stream) + 1):
        found, deframer = feed(stream, cut)
        assert found == expected
        assert deframer.noise.bytes == 0


@given(st.binary(max_size=700), st.lists(st.integers(0, 1000)))
def test_any_bytes_have_one_outcome_whatever_the_cut(stream: bytes, places: list[int]) -> None:
    """Noise is counted the same however it arrives."""
    whole, first = feed(stream, len(stream) + 1)
    for cut in (places, 1):
        found, deframer = feed(stream, cut)
        assert (found, deframer.noise, deframer.kept) == (whole, first.noise, first.kept)


def test_every_truncation_is_refused_and_the_next_frame_is_heard() -> None:
    """Half a frame is noise; what follows it is not harmed."""
    frame, after = wrap(2, 7, bytes(range(40))), wrap(2, 8, b"after")
    for size in range(2, len(frame) - 1):
        found, deframer = feed(frame[:size] + after, 1000)
        assert found == [Frame(1, 2, 8, b"after")]
        assert deframer.noise.runs == 1
        assert deframer.noise.bytes == size - 1


def test_every_flipped_bit_is_refused_and_the_next_frame_is_heard() -> None:
    """A CRC-32 finds every single bit; a flip that makes or takes a delimiter harms its own frame only."""
    frame, after = wrap(2, 7, b"\0\x01" * 20 + bytes(range(40))), wrap(2, 8, b"after")
    for at in range(1, len(frame) - 1):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[at] ^= 1 << bit
            found, deframer = feed(bytes(damaged) + after, 1000)
            assert found == [Frame(1, 2, 8, b"after")], (at, bit)
            assert deframer.noise.runs >= 1


def test_the_crc_covers_the_version_too() -> None:
    """A frame of another version is a frame: what a version is, is told by whoever reads it."""
    found, _ = feed(wrap(2, 7, b"body", version=9), 1000)
    assert found == [Frame(9, 2, 7, b"body")]
    packet = HEAD.pack(1, 2, 7) + b"body"
    wrong = b"\0" + cobs.encode(packet + CRC.pack(crc32(packet[1:]))) + b"\0"
    assert feed(wrong, 1000)[0] == []


def test_a_frame_of_the_largest_size_passes_and_a_larger_one_is_noise() -> None:
    """The limit is the last size that is allowed."""
    largest = b"x" * MAX_BODY_BYTES
    assert feed(wrap(2, 1, largest), 7)[0] == [Frame(1, 2, 1, largest)]
    packet = HEAD.pack(1, 2, 1) + largest + b"x"
    longer = b"\0" + cobs.encode(packet + CRC.pack(crc32(packet))) + b"\0"
    found, deframer = feed(longer + wrap(2, 2, b"after"), 7)
    assert found == [Frame(1, 2, 2, b"after")]
    assert deframer.noise.long == 1
    for body in (b"", largest + b"x"):
        with pytest.raises(UsageError):
            wrap(2, 1, body)


def test_megabytes_of_noise_between_frames_harm_none_and_fill_no_memory(rng: random.Random) -> None:
    """A loose cable, another protocol, a jammed transmitter: every frame comes out, in order, and nothing else."""
    deframer = Deframer()
    expected, found, sent = [], [], 0
    for number in range(300):
        noise = rng.randbytes(rng.choice([0, 1, 50, 5_000, 20_000]))
        if number % 7 == 0:
            noise = noise.translate(None, b"\0")  # no delimiter at all: one run longer than any packet
        body = rng.randbytes(rng.randint(1, 900))
        expected.append(Frame(1, 2, number, body))
        stream = noise + wrap(2, number, body)
        sent += len(noise)
        for at in range(0, len(stream), 777):
            found += deframer.feed(stream[at : at + 777])
            assert deframer.kept <= MAX_ENCODED_BYTES
    assert found == expected
    assert sent > 500_000
    # Zeros in the noise only delimit; every other byte of it is counted.
    assert 0.98 * sent < deframer.noise.bytes <= sent
    assert min(deframer.noise.long, deframer.noise.cobs) > 0


def test_half_a_frame_before_a_reopening_is_forgotten() -> None:
    """The first bytes after it do not become the end of what came before."""
    frame = wrap(2, 1, b"x" * 50)
    deframer = Deframer()
    assert deframer.feed(frame[:20]) == []
    deframer.restart()
    assert deframer.feed(frame[20:]) == []
    assert deframer.feed(frame) == [Frame(1, 2, 1, b"x" * 50)]


def test_the_end_of_an_overlong_run_is_no_frame() -> None:
    """What has no delimiter before it is noise to its end, wherever the reads were cut."""
    frame = wrap(2, 1, b"x" * 50)
    noise = b"n" * (MAX_ENCODED_BYTES + 1)
    for cut in (len(noise), len(noise) - 1, 1):
        found, deframer = feed(noise + frame[1:] + frame, [cut, len(noise)])
        assert found == [Frame(1, 2, 1, b"x" * 50)]
        assert deframer.noise.long == 1
        assert deframer.noise.bytes == len(noise) + len(frame) - 2
