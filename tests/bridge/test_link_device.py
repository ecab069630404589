"""The device keeps what is not acknowledged, goes on after any loss of power, and believes the host nothing."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from devices_on_lines import BOOT, SEED, UNFIT, device, frames, measure
from medledger.errors import KeyFileError
from medledger_bridge.errors import LinkRollbackError
from medledger_bridge.link import batch as batches
from medledger_bridge.link.batch import SignedBatch, UnfitBatch
from medledger_bridge.link.device import FIRST_TIMEOUT_MS, LAST_TIMEOUT_MS, READINGS_BYTES, RING, WINDOW, Device
from medledger_bridge.link.frames import Deframer, wrap
from medledger_bridge.link.host import Duplicate, Link, Missing
from medledger_bridge.link.messages import ACK, ASK, BATCH, ERROR, HELLO, Ack, Hello, Refusal
from medledger_bridge.simulated_state import State


def said(sent: list[bytes]) -> list[Hello | int]:
    """Hellos, and the counters of batches, in frames."""
    found: list[Hello | int] = []
    for frame in Deframer().feed(b"".join(sent)):
        found.append(Hello.decode(frame.body) if frame.kind == HELLO else batches.decode(frame.body)[1].counter)
        assert frame.kind in (HELLO, BATCH)
    return found


def acknowledgement(counter: int, boot: bytes = BOOT) -> bytes:
    """A host's word."""
    return wrap(ACK, 0, Ack(boot, counter).encode())


def test_at_most_a_window_is_under_way() -> None:
    """A host that is slow is not flooded, and an acknowledgement lets as many follow."""
    instrument = device()
    measure(instrument, WINDOW + 5)
    first, *counters = said(frames(instrument))
    assert isinstance(first, Hello)
    assert counters == list(range(1, WINDOW + 1))
    instrument.receive(acknowledgement(2), 0)
    assert said(frames(instrument)) == [WINDOW + 1, WINDOW + 2]


def test_what_is_not_acknowledged_is_said_again_ever_less_often() -> None:
    """After 1 s, 2 s, and at most every 32 s: a hello, then everything from the oldest on."""
    instrument = device()
    measure(instrument, 2)
    frames(instrument)
    now, waits = 0, []
    for _ in range(8):
        assert instrument.deadline is not None
        waits.append(instrument.deadline - now)
        assert frames(instrument, instrument.deadline - 1) == []
        now = instrument.deadline
        again, *counters = said(frames(instrument, now))
        assert isinstance(again, Hello)
        assert counters == [1, 2]
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000]
    instrument.receive(acknowledgement(1), now)
    assert instrument.deadline == now + FIRST_TIMEOUT_MS
    instrument.receive(acknowledgement(2), now)
    assert instrument.deadline is None
    assert frames(instrument, now + 10 * LAST_TIMEOUT_MS) == []


def test_each_transmission_says_how_old_the_batch_is() -> None:
    """By the device's own count, anew each time; what it signed stays the same bytes."""

    def batches_at(now: int) -> list[SignedBatch]:
        found = Deframer().feed(b"".join(frames(instrument, now)))
        return [batches.decode(frame.body)[1] for frame in found if frame.kind == BATCH]

    instrument = device()
    measure(instrument, 1, 700)
    measure(instrument, 1, 950)
    first = batches_at(1_000)
    assert [batch.age for batch in first] == [300, 50]
    again = batches_at(3_600_700)
    assert [batch.age for batch in again] == [3_600_000, 3_599_750]
    assert [batch.content() for batch in again] == [batch.content() for batch in first]


def test_a_full_ring_drops_its_oldest_and_says_so() -> None:
    """Nothing is lost unsaid: the figure in the hello, the lowest counter kept, and the gap for ever."""
    instrument = device()
    measure(instrument, RING + 3)
    greeting, *counters = said(frames(instrument))
    assert isinstance(greeting, Hello)
    assert (greeting.oldest, greeting.next, greeting.dropped) == (4, RING + 4, 3)
    assert counters == list(range(4, 4 + WINDOW))
    link = Link()
    link.feed(wrap(HELLO, 0, greeting.encode()))
    link.accept(0)
    instrument.receive(link.outgoing(), 0)
    instrument.receive(wrap(ASK, 0, b"\x80"), 0)
    events = [event for frame in frames(instrument) for event in link.feed(frame)]
    assert [event for event in events if isinstance(event, Missing)] == [Missing(1, 3)]


def test_a_batch_that_grows_too_large_is_sealed_before_it_does() -> None:
    """Whatever is measured, a batch fits one frame."""
    instrument = device(readings=16)
    reading = [["8867-4", None, "/min", {"absent": "not-performed"}]] * 8
    for _ in range(16):
        instrument.measure(2**53 - 1, reading)
    instrument.seal(2**53 - 1)
    assert instrument.counter == 2
    for frame in frames(instrument, 2**53 - 1):
        assert len(frame) < READINGS_BYTES + 400


@pytest.mark.parametrize(
    "hostile",
    [
        acknowledgement(1, boot=b"boot-id2"),
        acknowledgement(4),
        acknowledgement(0),
        acknowledgement(2**53),
        wrap(ACK, 0, b"\x80"),
        wrap(ACK, 0, Ack(BOOT, 2).encode(), version=2),
        wrap(ACK, 0, Ack(BOOT, 2).encode() + b"\0"),
        wrap(HELLO, 0, Ack(BOOT, 2).encode()),
        wrap(ERROR, 0, Refusal(0, "order", 0).encode()),
        wrap(ERROR, 0, Refusal(0, "order", 9).encode()),
        wrap(ERROR, 0, Refusal(0, "batch", 1).encode()),
        acknowledgement(2)[:-3],
        b"\0" + b"\xff" * 100_000 + b"\0",
    ],
)
def test_no_bytes_of_a_host_make_a_device_forget(hostile: bytes) -> None:
    """For another boot, beyond what was sealed, malformed, of another version, half: all of it changes nothing."""
    instrument = device()
    measure(instrument, 3)
    frames(instrument)
    instrument.receive(hostile + b"\0", 0)
    assert instrument.oldest == 1
    assert frames(instrument) == []


def test_a_counter_is_durable_before_its_batch_is_said() -> None:
    """When the store fails, nothing has been said under the counter."""

    class FullError(Exception):
        pass

    def fail(_: int) -> None:
        raise FullError

    instrument = device(save=fail)
    with pytest.raises(FullError):
        measure(instrument, 1)
    assert instrument.counter == 0
    [greeting] = said(frames(instrument))
    assert isinstance(greeting, Hello)
    assert greeting.next == 1


def test_the_state_file_outlives_the_process_and_serves_one_device(tmp_path: Path) -> None:
    """Key and counter come back; a second device under them is refused, and so is a damaged file."""
    path = tmp_path / "device.state"
    with State(path) as state:
        seed = state.seed
        state.save(41)
        with pytest.raises(KeyFileError):
            State(path)
    with State(path) as state:
        assert (state.seed, state.counter) == (seed, 41)
    assert path.stat().st_mode & 0o777 == 0o600
    raw = path.read_bytes()
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :])
        with pytest.raises(KeyFileError):
            State(path)
        path.write_bytes(raw[:at])
        with pytest.raises(KeyFileError):
            State(path)


class World:
    """One device and one host on a bad line, which both may lose their power."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.saved = 0
        self.now = 0
        self.got: dict[int, SignedBatch | UnfitBatch] = {}
        self.held = b""  # what the line lets the next overtake
        self.old: dict[bool, list[bytes]] = {True: [], False: []}  # what went either way, in whatever boot
        self.durable = 0
        self.missing: set[int] = set()
        self.start_device()
        self.start_host()

    def start_device(self) -> None:
        """A boot: the ring is lost, the counter is not."""
        self.device = device(counter=self.saved, boot=self.rng.randbytes(8), save=self.save)

    def start_host(self) -> None:
        """A start: what is durable is known, what was only received is not."""
        self.got = {counter: batch for counter, batch in self.got.items() if counter <= self.durable}
        self.missing = {counter for counter in self.missing if counter <= self.durable}
        self.link = Link()
        self.link.opened()

    def save(self, counter: int) -> None:
        """The device's memory."""
        assert counter == self.saved + 1
        self.saved = counter

    def carry(self, data: bytes, badness: float, *, up: bool) -> bytes:
        """What comes out of the line at the other end: of the host where it goes up."""
        self.old[up] = [*self.old[up][-19:], data]
        if self.rng.random() < badness:
            at = self.rng.randrange(len(data) + 1)
            fate = self.rng.randrange(6)
            if fate == 0:
                return b""
            if fate == 1:
                return data[:at] + self.rng.randbytes(self.rng.randrange(40)) + data[at:]
            if fate == 2:
                return data[:at]
            if fate == 3:
                return data + self.rng.choice(self.old[up])  # stale, or twice
            if up:
                self.held += data
                return b""
        if up:
            data, self.held = data + self.held, b""
        return data

    def step(self, badness: float) -> None:
        """Let both ends say what they have to say, and the host commit now and then."""
        while frame := self.device.send(self.now):
            for event in self.link.feed(self.carry(frame, badness, up=True)):
                self.take(event)
        if self.rng.random() < 0.6 and self.got and self.link.accepted:
            self.durable = max(self.got)
            self.link.acknowledge(self.durable)
        self.device.receive(self.carry(self.link.outgoing(), badness, up=False), self.now)
        self.now += 700

    def take(self, event: object) -> None:
        """What an agent does with an event."""
        if isinstance(event, Hello) and not self.link.accepted:
            with suppress(LinkRollbackError):  # of a hello that is stale: the device says another
                self.link.accept(self.durable)
        elif isinstance(event, Missing):
            self.missing |= set(range(event.first, event.last + 1))
        elif isinstance(event, SignedBatch | UnfitBatch):
            assert event.counter not in self.got
            assert event.counter not in self.missing
            assert event.counter == max({0, *self.got, *self.missing}) + 1
            self.got[event.counter] = event
        elif isinstance(event, Duplicate):
            self.missing.discard(event.batch.counter)  # of an earlier boot, overtaken by the first of this one
            assert self.got.setdefault(event.batch.counter, event.batch) == event.batch
            if event.batch.counter <= self.durable:
                self.link.acknowledge(event.batch.counter)


@pytest.mark.parametrize("faults", ["line", "device", "host", "both"])
def test_every_batch_comes_once_and_in_order_or_is_named_as_missing(rng: random.Random, faults: str) -> None:
    """Over a line that loses, repeats, garbles and reorders, with ends that lose their power, in = out.

    Whatever the line says once more, of this boot or of an earlier one, and whether or not an entry can hold the batch.
    """
    for _ in range(10):
        world = World(rng)
        for _ in range(60):
            if rng.random() < 0.5:
                measure(world.device, rng.randrange(4), world.now)
            if rng.random() < 0.2:
                world.device.measure(world.now, UNFIT)
            if faults in ("device", "both") and rng.random() < 0.05:
                world.start_device()
            if faults in ("host", "both") and rng.random() < 0.05:
                world.start_host()
            world.step(0.3)
        for _ in range(200):
            world.step(0.0)
        assert world.device.idle
        if faults in ("line", "host"):
            assert len(world.missing) <= world.device.dropped
        # What a device lost with its power after the last batch that came is named by the next one.
        reached = max({0, *world.got, *world.missing})
        assert set(world.got) | world.missing == set(range(1, reached + 1))
        assert set(world.got).isdisjoint(world.missing)
        measure(world.device, 1, world.now)
        for _ in range(50):
            world.step(0.0)
        assert set(world.got) | world.missing == set(range(1, world.saved + 1))


def test_the_same_state_gives_the_same_bytes() -> None:
    """Nothing of a device is left to chance but its key and its boot id."""
    first, second = device(seed=SEED), device(seed=SEED)
    for instrument in (first, second):
        measure(instrument, 5)
    assert isinstance(first, Device)
    assert frames(first) == frames(second)
