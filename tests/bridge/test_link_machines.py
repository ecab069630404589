"""The firmware's machine and the simulator's are one: whatever happens to both, they say the same bytes."""

from __future__ import annotations

import ctypes
from typing import Any
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from devices_on_lines import BOOT, SEED, device, firmware_library
from medledger.cbor import encode
from medledger.errors import UsageError
from medledger_bridge.link import cobs
from medledger_bridge.link.device import RING, Device
from medledger_bridge.link.frames import wrap
from medledger_bridge.link.messages import ACK, ASK, BATCH, EMPTY, ERROR, Ack

NEVER = 2**64 - 1
VERSIONS = st.sampled_from([1, 1, 1, 0, 2])
OFFSETS = st.integers(-2, RING + 2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("measure"), st.integers(-(2**63), 2**63 - 1), st.integers(-20, 20), st.integers(0, 9)),
        st.tuples(st.just("seal")),
        st.tuples(st.just("measure_many"), st.integers(1, 60)),
        st.tuples(st.just("send")),
        st.tuples(st.just("send_all")),
        st.tuples(st.just("wait"), st.sampled_from([1, 500, 999, 1000, 1001, 2000, 40_000, 2**32])),
        st.tuples(st.just("store"), st.booleans()),
        st.tuples(st.just("acknowledge"), OFFSETS, st.sampled_from([BOOT, BOOT, BOOT, b"boot-id2"]), VERSIONS),
        st.tuples(st.just("refuse"), OFFSETS, st.sampled_from(["order", "order", "batch", "ordeR"])),
        st.tuples(st.just("frame"), st.just(ASK), st.just(EMPTY)),
        st.tuples(
            st.just("frame"), st.sampled_from([ACK, ERROR, ASK, BATCH, 0x7F]), st.binary(min_size=1, max_size=40)
        ),
        st.tuples(st.just("long"), st.integers(100, 140)),
        st.tuples(st.just("flip"), OFFSETS, st.integers(0, 200)),
        st.tuples(st.just("cut"), OFFSETS, st.integers(0, 24)),
        st.tuples(st.just("hear"), st.binary(max_size=300)),
    ),
    max_size=40,
)


class FullError(Exception):
    """The store takes nothing."""


class Pair:
    """Two devices of the same state, side by side."""

    def __init__(self, counter: int, per_batch: int) -> None:
        self.library = firmware_library()
        self.library.shim_send.restype = ctypes.c_size_t
        self.library.shim_deadline.restype = ctypes.c_uint64
        self.library.shim_measure.restype = self.library.shim_seal.restype = ctypes.c_bool
        self.library.shim_start(SEED, ctypes.c_uint64(counter), BOOT, ctypes.c_size_t(per_batch))
        self.broken = False
        self.python: Device = device(
            counter=counter, save=self.save, readings=per_batch, model="medledger reference", firmware="1.0"
        )
        self.now = 0
        self.said = 0

    def save(self, _: int) -> None:
        """The simulator's store."""
        if self.broken:
            raise FullError

    @property
    def time(self) -> ctypes.c_uint64:
        """The present, for C."""
        return ctypes.c_uint64(self.now)

    def measure(self, mantissa: int, exponent: int, count: int) -> None:
        """One reading of so many samples, or of samples that are absent where the mantissa is 0."""
        value = [None, "/min", {"absent": "not-performed"}] if mantissa == 0 else [[mantissa, exponent], "/min"]
        taken = True
        if count <= 8:
            try:
                self.python.measure(self.now, [["8867-4", *value]] * count)
            except (FullError, UsageError):  # the store, or the last counter
                taken = False
        arguments = (ctypes.c_int64(mantissa), ctypes.c_int(exponent), ctypes.c_bool(mantissa == 0))
        in_c = self.library.shim_measure(self.time, *arguments, ctypes.c_size_t(count))
        assert in_c is (taken and count <= 8)

    def hear(self, data: bytes) -> None:
        """Bytes of a host."""
        self.python.receive(data, self.now)
        self.library.shim_receive(self.time, data, ctypes.c_size_t(len(data)))

    def send(self) -> bool:
        """Whether there was a frame, the same of both."""
        frame = self.python.send(self.now)
        room = ctypes.create_string_buffer(5000)
        size = self.library.shim_send(self.time, room)
        assert room.raw[:size] == frame
        self.said += bool(frame)
        return bool(frame)

    def ack(self, offset: int, boot: bytes = BOOT, *, version: int = 1) -> bytes:
        """An acknowledgement of a counter near those that are kept."""
        return wrap(ACK, 1, Ack(boot, max(0, self.python.oldest + offset)).encode(), version=version)

    def step(self, name: str, *given: Any) -> None:
        """One thing that happens to both."""
        getattr(self, name)(*given)
        deadline = self.library.shim_deadline()
        assert self.python.deadline == (None if deadline == NEVER else deadline)

    def measure_many(self, count: int) -> None:
        """Enough to fill the ring."""
        for number in range(count):
            self.measure(number, 0, 2)

    def seal(self) -> None:
        """The end of the open batch, if the store takes the counter."""
        sealed = True
        try:
            self.python.seal(self.now)
        except (FullError, UsageError):
            sealed = False
        assert self.library.shim_seal(self.time) is sealed

    def send_all(self) -> None:
        """Until there is nothing to say."""
        while self.send():
            pass

    def tell(self) -> None:
        """Ask both, and hear what they keep: the hello, and everything from the oldest on."""
        self.step("frame", ASK, EMPTY)
        self.step("send_all")

    def wait(self, ms: int) -> None:
        """Time goes by."""
        self.now += ms

    def store(self, broken: bool) -> None:
        """The store fails from now on, or no longer."""
        self.broken = broken
        self.library.shim_break(ctypes.c_bool(broken))

    def acknowledge(self, offset: int, boot: bytes, version: int) -> None:
        """Right or wrong."""
        self.hear(self.ack(offset, boot, version=version))

    def refuse(self, offset: int, reason: str) -> None:
        """An ERROR, one that nobody knows among them."""
        self.hear(wrap(ERROR, 1, encode([3, reason, max(0, self.python.oldest + offset)])))

    def frame(self, kind: int, body: bytes) -> None:
        """Any body under a right CRC."""
        self.hear(wrap(kind, 1, body))

    def long(self, size: int) -> None:
        """A frame as large as a host's may be, or larger."""
        self.hear(wrap(ACK, 1, encode([BOOT, 1]) + bytes(size)))

    def flip(self, offset: int, bit: int) -> None:
        """An acknowledgement with one bit altered."""
        frame = bytearray(self.ack(offset))
        frame[bit // 8 % len(frame)] ^= 1 << bit % 8
        self.hear(bytes(frame) + b"\0")

    def cut(self, offset: int, size: int) -> None:
        """The first bytes of an acknowledgement."""
        self.hear(self.ack(offset)[:size] + b"\0")


@settings(max_examples=300)
@given(st.sampled_from([0, 22, 255, 65_535, 2**32 - 3, 2**53 - 4]), st.integers(1, 16), STEPS)
def test_both_machines_say_the_same_whatever_happens(
    counter: int, per_batch: int, steps: list[tuple[Any, ...]]
) -> None:
    """Measurements, a failing store, acknowledgements right and wrong, damaged frames, noise, and time that goes by."""
    pair = Pair(counter, per_batch)
    for step in steps:
        pair.step(*step)
    pair.tell()
    assert pair.said > 0


WORD = encode([BOOT, 3])
BODIES = [
    *(WORD[:size] for size in range(1, len(WORD))),
    *(
        WORD[:-1] + bytes.fromhex(number)
        for number in ("1803", "190003", "1a00000003", "1b0000000000000003", "f903", "23")
    ),
    *(WORD + bytes((byte,)) for byte in range(256)),
    b"\x98\x02" + WORD[1:],
    b"\x83" + WORD[1:],
    b"\x9f" + WORD[1:] + b"\xff",
    WORD[:1] + b"\x58\x08" + WORD[2:],
    WORD[:1] + b"\x68" + WORD[2:],
    *(encode([0, "order", counter]) for counter in (0, 2, 3, 5, 6, 7, 8, 99, 2**53)),
    *(encode([sequence, "order", 3]) for sequence in (65_535, 65_536, 2**63 - 1)),
    *(encode([0, "order", 3])[:size] for size in range(1, 8)),
    encode([0, "order", 3]) + b"\0",
    encode([0, b"order", 3]),
    encode([0, "", 3]),
    encode([0, "order" * 13, 3]),
    encode([0, "orde", 3]),
]


def waiting() -> Pair:
    """Devices that keep five batches, all under way."""
    pair = Pair(1, 1)
    pair.measure_many(5)
    pair.send_all()
    return pair


def test_both_judge_every_body_alike() -> None:
    """Cut short, too long, not the shortest, of another form, under a right CRC and as each kind."""
    for body in BODIES:
        for kind in (ACK, ERROR, ASK, BATCH):
            pair = waiting()
            pair.step("frame", kind, body)
            pair.step("wait", 1)
            pair.step("send_all")
            pair.tell()
    pair = waiting()
    pair.step("frame", ACK, WORD)
    assert pair.python.oldest == 4


def test_both_judge_every_damaged_acknowledgement_alike() -> None:
    """Each bit flipped, each byte missing, each version."""
    frame = wrap(ACK, 1, WORD)
    damaged = [
        frame[:at] + bytes((frame[at] ^ 1 << bit,)) + frame[at + 1 :] for at in range(len(frame)) for bit in range(8)
    ]
    damaged += [frame[:at] + frame[at + 1 :] for at in range(1, len(frame))]
    damaged += [wrap(ACK, 1, WORD, version=version) for version in range(256) if version != 1]
    for data in damaged:
        pair = waiting()
        pair.step("hear", data)
        pair.step("hear", b"\0")
        pair.tell()
        assert pair.python.oldest == (4 if data == frame[:-1] else 2)  # the zero that is missing comes after


def test_both_wait_as_long_before_they_say_it_again() -> None:
    """Ever longer, up to the last timeout, and the first one again after a word of the host."""
    pair = waiting()
    for number in range(20):
        if number == 12:
            pair.step("acknowledge", 0, BOOT, 1)
        assert pair.python.deadline is not None
        pair.step("wait", pair.python.deadline - pair.now)
        before = pair.said
        pair.step("send_all")
        assert pair.said > before


@given(st.binary(max_size=300) | st.binary(max_size=3).map(lambda tail: b"x" * 254 + tail))
def test_both_stuff_and_unstuff_and_sum_alike(data: bytes) -> None:
    """COBS both ways, and the CRC, on any bytes."""
    library = firmware_library()
    library.cobs_encode.restype = ctypes.c_size_t
    library.cobs_decode.restype = ctypes.c_bool
    library.crc32_of.restype = ctypes.c_uint32
    room, size = ctypes.create_string_buffer(400), ctypes.c_size_t(len(data))
    encoded = library.cobs_encode(data, size, room)
    assert room.raw[:encoded] == cobs.encode(data)
    assert library.crc32_of(data, size) == crc32(data)
    got = ctypes.c_size_t()
    try:
        expected = cobs.decode(data)
    except cobs.CobsError:
        assert not library.cobs_decode(data, size, room, ctypes.byref(got))
    else:
        assert library.cobs_decode(data, size, room, ctypes.byref(got))
        assert room.raw[: got.value] == expected
