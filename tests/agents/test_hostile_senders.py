"""Hostile and clumsy senders at a bedside agent's port, plain and over TLS (a counter's: test_hostile_tills.py).

Whatever a peer does: what was acknowledged is on the ledger once, the others are served or turned away plainly, memory
and files stay bounded, the agent lives, and its log names no patient.
"""

from __future__ import annotations

import random
import socket
import sqlite3
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from boxes import IDENTIFIERS, NOT_TAKEN, Agent, Box, Monitor, World, oru
from certificates import certificates, have_openssl
from medledger_bridge.mllp import wrap
from waiting import until

PLACES = 6
GROWTH_BYTES = 24_000_000
"""What waits is bounded by 4 MiB and a message for each connection; the rest is SQLite's and the allocator's."""

MIB = 1024 * 1024


class Door:
    """A bedside agent, and a way to its port: plain, or with TLS."""

    def __init__(self, agent: Agent, context: ssl.SSLContext | None) -> None:
        self.agent = agent
        self._context = context
        self._before = agent.resident_bytes()

    def monitor(self, *, buffers: int | None = None) -> Monitor:
        """A new connection; with small `buffers` in the kernel, where the test is not to fill large ones."""
        found = Monitor(self.agent.port)
        if buffers is not None:
            found.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        if self._context is not None:
            try:
                found.socket = self._context.wrap_socket(found.socket, server_hostname="127.0.0.1")
            except OSError:
                found.close()
                raise
        return found

    def growth(self) -> int:
        """By how many bytes the agent's resident memory has grown."""
        return self.agent.resident_bytes() - self._before

    def descriptors(self) -> int:
        """How many files and sockets the agent has open."""
        return len(list(Path(f"/proc/{self.agent.process.pid}/fd").iterdir()))


@pytest.fixture(params=["plain", pytest.param("tls", marks=pytest.mark.slow)])
def box(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Box:
    """A bedside box with few places, which does not wait long for the rest of a message."""
    section = {"max_connections": PLACES, "stall_seconds": 1, "max_message_bytes": MIB}
    if request.param == "tls":
        if not have_openssl():
            pytest.skip("no openssl to make certificates with")
        certificates(tmp_path, "box")
        section |= {"tls_certificate_file": str(tmp_path / "box.crt"), "tls_key_file": str(tmp_path / "box.key")}
    return world.box("bed", "bedside", mllp=section, log={"level": "info"})


@contextmanager
def open_door(box: Box) -> Iterator[Door]:
    """Start the agent; in the end it must live, and its log must name nobody."""
    authority = box.home.parent / "ca.crt"
    with box.start() as agent:
        door = Door(agent, ssl.create_default_context(cafile=str(authority)) if authority.exists() else None)
        with closing(door.monitor()) as monitor:
            assert monitor.ask(oru("first"))[0] == "AA"
        agent.wait_for("disconnected")
        yield door
        assert until(lambda: closing_time(door)), "there is room for an honest sender again"
        assert door.growth() < GROWTH_BYTES
        agent.stop()
    for identifier in IDENTIFIERS:
        assert identifier not in agent.raw_log
        assert identifier not in box.stored_bytes()
    assert not [each for each in agent.log if each.get("level") == "error"], agent.raw_log.decode()


def closing_time(door: Door) -> bool:
    """Whether an honest sender is served."""
    try:
        with closing(door.monitor()) as monitor:
            return monitor.ask(oru("last"))[0] == "AA"
    except OSError:
        return False


def assert_logged(box: Box, *messages: bytes) -> None:
    """Each of these once, and nothing else but what `open_door` says."""
    found = Counter(entry.content["raw"] for entry in box.entries("reading"))
    assert found == {box.named(message): 1 for message in (oru("first"), *messages, oru("last"))}


def events(door: Door, name: str) -> list[str]:
    """The reasons in the events of that name."""
    return [str(each.get("reason")) for each in door.agent.log if each["event"] == name]


# --- slow, and silent ------------------------------------------------------------------------------------------------


def test_half_a_message_on_every_place(box: Box) -> None:
    """A byte now and then keeps a place, for so do slow senders; beside them others are served while there is a place,
    and turned away plainly when there is none. Whoever stops altogether is disconnected.
    """
    with open_door(box) as door, ExitStack() as stack:
        slow = [stack.enter_context(closing(door.monitor())) for _ in range(PLACES - 1)]
        for number, each in enumerate(slow):
            each.socket.sendall(wrap(oru(number))[:-30])
        with closing(door.monitor()) as other:
            assert other.ask(oru("beside"))[0] == "AA"
            stack.enter_context(now_and_then(slow[1:]))
            with pytest.raises(ConnectionError):
                slow[0].receive()
        stack.enter_context(closing(hold(door)))
        stack.enter_context(closing(hold(door)))
        with pytest.raises(OSError), ExitStack() as one_too_many:  # noqa: PT011 - in the handshake, or when it asks
            one_too_many.enter_context(closing(door.monitor())).ask(oru("one too many"))
        assert door.agent.wait_for("connection turned away")["limit"] == PLACES
    assert_logged(box, oru("beside"))
    assert any("inside a message" in reason for reason in events(door, "not MLLP: connection closed"))


@contextmanager
def now_and_then(slow: list[Monitor]) -> Iterator[None]:
    """Meanwhile each of these sends a byte ten times in what is taken for silence, so that a busy machine is none."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.1):
            for each in slow:
                each.socket.sendall(b"-")

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    try:
        yield
    finally:
        over.set()
        sending.join(30)


def hold(door: Door) -> Monitor:
    """A connection with half a message, as soon as there is a place."""
    found: list[Monitor] = []

    def tried() -> bool:
        with ExitStack() as stack, suppress(ConnectionError, ssl.SSLError):
            monitor = stack.enter_context(closing(door.monitor()))
            monitor.ask(NOT_TAKEN)  # who has an answer is let in
            monitor.socket.sendall(wrap(oru("held"))[:-30])
            found.append(monitor)
            stack.pop_all()
        return bool(found)

    assert until(tried)
    return found[0]


def test_a_sender_that_never_reads(box: Box) -> None:
    """It is read from no more once its acknowledgements pile up. Others are served, and what it gets in the end is
    each acknowledgement in its order.
    """
    with open_door(box) as door, closing(door.monitor(buffers=4096)) as deaf, closing(door.monitor()) as other:
        messages = [oru(number) for number in range(6000)]
        done = threading.Event()

        def flood() -> None:
            try:
                deaf.socket.settimeout(60)
                deaf.send(*messages)
            finally:
                done.set()

        sending = threading.Thread(target=flood, daemon=True)
        sending.start()
        for number in range(10):
            assert other.ask(oru(f"other-{number}"))[0] == "AA"
        assert not done.wait(1) or door.growth() < GROWTH_BYTES
        assert door.growth() < GROWTH_BYTES
        assert [deaf.receive()[1] for _ in messages] == [str(number) for number in range(len(messages))]
        sending.join(30)
    assert_logged(box, *messages, *(oru(f"other-{number}") for number in range(10)))


def test_who_never_reads_does_not_keep_its_place(world: World) -> None:
    """After as long as one may stop in a message. What it was told of is logged, and the place is another's."""
    box = world.box("bed-9", "bedside", mllp={"max_connections": 1, "stall_seconds": 1})
    with box.start() as agent:
        deaf = agent.monitor()
        flood = threading.Thread(target=_send_and_never_read, args=(deaf,), daemon=True)
        flood.start()
        agent.wait_for("acknowledgements are not read: connection closed")
        flood.join(30)
        agent.wait_for("disconnected")
        assert agent.monitor().ask(oru("after"))[0] == "AA"


def _send_and_never_read(monitor: Monitor) -> None:
    """Until the other end has had enough. Long ids make long acknowledgements, which fill the buffers sooner."""
    with suppress(OSError):
        for number in range(100_000):
            monitor.send(oru(f"{number:04000}"))


# --- large -----------------------------------------------------------------------------------------------------------


def document(number: int, size: int) -> bytes:
    """A message with a document in one OBX."""
    return oru(number) + b"OBX|7|ED|18842-5^Summary^LN||^application^pdf^Base64^" + b"QUJD" * (size // 4) + b"||||||F\r"


def test_documents_of_every_size(box: Box) -> None:
    """85 KB, and a MiB on every place at once: taken and kept whole. What is longer than the limit ends its connection,
    and so does what never ends.
    """
    ordinary = [document(1, 85_000), document(2, 200)]
    largest = [document(10 + number, MIB - 1000) for number in range(PLACES)]
    with open_door(box) as door:
        with closing(door.monitor()) as monitor:
            assert [monitor.ask(each)[0] for each in ordinary] == ["AA", "AA"]
        together(door, largest)
        for size in (MIB + 10, 8 * MIB):
            with closing(door.monitor()) as monitor, pytest.raises(OSError):  # noqa: PT011 - a reset, or the end
                endless(monitor, size)
    assert_logged(box, *ordinary, *largest)
    assert sum("longer than" in reason for reason in events(door, "not MLLP: connection closed")) == 2
    with closing(sqlite3.connect(box.home / "inbox.db")) as inbox:
        kept = {raw for (raw,) in inbox.execute("SELECT raw FROM messages")}
    assert kept >= {*ordinary, *largest}


def endless(monitor: Monitor, size: int) -> None:
    """A message that goes on and on."""
    monitor.socket.sendall(b"\x0b")
    for _ in range(0, size, 65_536):
        monitor.socket.sendall(b"x" * 65_536)
    monitor.receive()


def together(door: Door, messages: list[bytes]) -> None:
    """Each on a connection of its own, all at once."""
    answers: list[str] = []

    def ask(message: bytes) -> None:
        with closing(door.monitor()) as monitor:
            monitor.socket.settimeout(60)
            answers.append(monitor.ask(message)[0])

    senders = [threading.Thread(target=ask, args=(message,)) for message in messages]
    for each in senders:
        each.start()
    for each in senders:
        each.join(60)
    assert answers == ["AA"] * len(messages)


# --- wrong -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (random.Random(7).randbytes(20_000).replace(b"\x0b", b"\x0c"), "does not speak MLLP"),
        (bytes(20_000), "does not speak MLLP"),
        (b"\x0bMSH|^~\\&|half\x0b", "before the last one has ended"),
        (b"\x0bMSH|^~\\&|half\x1cX", "not followed by a carriage return"),
    ],
    ids=["garbage", "zeros", "two beginnings", "a torn end"],
)
def test_what_is_no_mllp_ends_its_connection_alone(box: Box, sent: bytes, reason: str) -> None:
    """With its cause in the log; an honest sender beside it goes on."""
    with open_door(box) as door, closing(door.monitor()) as bad, closing(door.monitor()) as good:
        bad.socket.sendall(sent)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            bad.receive()
        assert good.ask(oru("good"))[0] == "AA"
    assert any(reason in each for each in events(door, "not MLLP: connection closed"))
    assert_logged(box, oru("good"))


def test_bytes_that_are_no_text(box: Box) -> None:
    """NUL and bytes that are no UTF-8, in names and in values: answered, kept as they came, never quoted."""
    spoiled = [
        oru(1).replace(b"Zacharias", b"Zach\x00rias"),
        oru(2).replace(b"Zacharias", b"Zach\xff\xfe\xe9rias"),
        oru(3).replace(b"|72|", b"|\x00\xff|"),
        oru(4).replace(b"|4|P|", b"|4\x00\xff|P|"),
        oru(5).replace(b"MON-7", b"MON-\xe4\x00"),
        b"\xff\xfe" + oru(6),
    ]
    with open_door(box) as door, closing(door.monitor()) as monitor:
        answers = [monitor.ask(each) for each in spoiled]
        assert {code for code, _, _ in answers} <= {"AA", "AE", "AR"}
        assert monitor.ask(oru("good"))[0] == "AA", "the connection goes on"
    taken = [message for message, answer in zip(spoiled, answers, strict=True) if answer[0] == "AA"]
    assert_logged(box, *taken, oru("good"))
    with closing(sqlite3.connect(box.home / "inbox.db")) as inbox:
        kept = {raw for (raw,) in inbox.execute("SELECT raw FROM messages")}
    assert kept >= set(spoiled), "what is refused is kept too"
    for code, _, text in answers:
        assert "Zach" not in text, code


def test_one_id_for_two_messages_at_once(box: Box) -> None:
    """From two connections of one sender, at the same moment: one is taken, the other refused, neither both."""
    with open_door(box) as door, closing(door.monitor()) as one, closing(door.monitor()) as two:
        taken = []
        for number in range(20):
            pair = {one: oru(number, value="60"), two: oru(number, value="90")}
            for monitor, message in pair.items():
                monitor.send(message)
            codes = {monitor: monitor.receive()[0] for monitor in pair}
            assert sorted(codes.values()) == ["AA", "AE"]
            taken += [message for monitor, message in pair.items() if codes[monitor] == "AA"]
    assert_logged(box, *taken)


# --- hanging up ------------------------------------------------------------------------------------------------------


def reset(monitor: Monitor) -> None:
    """RST instead of FIN, whatever waits to be read."""
    monitor.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    monitor.socket.close()


def test_resets_in_the_middle_of_acknowledgements(box: Box, rng: random.Random) -> None:
    """What got no acknowledgement is sent again: each is logged once, however often its sender hung up."""
    waiting = [oru(number) for number in range(300)]
    everything = tuple(waiting)
    with open_door(box) as door:
        while waiting:
            monitor = door.monitor()
            some = waiting[:30]
            monitor.send(*some)
            for _ in range(rng.randint(1, len(some))):
                assert monitor.receive()[0] == "AA"
                waiting.pop(0)
            reset(monitor)
    assert_logged(box, *everything)


def test_thousands_of_connections(box: Box) -> None:
    """Opened and closed, politely or not, with nothing said or half a word: no descriptor and no memory is left."""
    with open_door(box) as door:
        before = door.descriptors()
        for number in range(2_000):
            try:
                raw = socket.create_connection(("127.0.0.1", door.agent.port), timeout=60)
                raw.sendall(b"\x0bMSH|"[: number % 6])
            except OSError:
                continue
            if number % 2:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()
        assert until(lambda: door.descriptors() <= before, 30)
    assert_logged(box)
