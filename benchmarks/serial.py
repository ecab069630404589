"""Frames of a device through a pseudo-terminal and the host's state machine, against reading the same bytes from it.

Both read the same recording of one device, written by the same thread in the same pieces, in turns. A frame is taken
when it is decoded and its batch's signature is checked, and the host acknowledges as an agent would.
"""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Thread

from medledger_bridge.link.batch import SignedBatch
from medledger_bridge.link.device import Device
from medledger_bridge.link.host import Link
from medledger_bridge.simulator import dump, vitals

from .measure import REFERENCE, Line, SignatureCheck, in_turns, line
from .scale import Scale

READ_BYTES = 64 * 1024
PIECE_BYTES = 4096
ROUNDS = 5
BAUD_BYTES_PER_SECOND = 11_520  # 115,200 baud, 10 bits a byte


def serial(place: Path, scale: Scale) -> Iterator[Line]:
    """The host's pace, and what of it is the line's."""
    del place
    count = scale.serial_frames
    device = Device(bytes(32), device="BENCH-1", boot=bytes(8), counter=0, save=lambda _: None)
    greeting = device.send(0)
    recording = dump(device, vitals(1), count, 1000)
    link_times, raw_times = in_turns([lambda: _link(greeting, recording, count), lambda: _raw(recording)], ROUNDS)
    frame_bytes = len(recording) / count
    each = median(link_times) / count
    check = SignatureCheck()
    for _ in range(ROUNDS):
        check.sample()
    yield line(
        "serial-frames",
        1 / each,
        "frames/s",
        reference="reading the same bytes from the same pseudo-terminal",
        ratio=median(taken / raw for taken, raw in zip(link_times, raw_times, strict=True)),
        method=f"median of {ROUNDS} rounds of {count} batches of 10 readings, {frame_bytes:.0f} bytes each",
        result=[recording],
    )
    yield line(
        "serial-frame",
        each * 1e6,
        "us",
        reference=REFERENCE,
        ratio=each / median(check.samples),
        method=f"at 115,200 baud a frame takes {1000 * frame_bytes / BAUD_BYTES_PER_SECOND:.0f} ms on the line",
        result=[count],
    )


def _link(greeting: bytes, recording: bytes, count: int) -> None:
    """Everything up to the acknowledgement."""
    link, taken = Link(), 0
    link.feed(greeting)
    link.accept(0)
    with _line(recording) as descriptor:
        while taken < count:
            for event in link.feed(os.read(descriptor, READ_BYTES)):
                if not isinstance(event, SignedBatch) or event.counter != taken + 1:
                    raise RuntimeError(f"the recording was not taken whole: {event}")
                taken = event.counter
                link.acknowledge(taken)
            link.outgoing()


def _raw(recording: bytes) -> None:
    """The least: the bytes, and nothing done with them."""
    left = len(recording)
    with _line(recording) as descriptor:
        while left:
            left -= len(os.read(descriptor, READ_BYTES))


@contextmanager
def _line(recording: bytes) -> Iterator[int]:
    """The host's side of a pseudo-terminal whose other side plays the recording."""
    master, side = os.openpty()
    tty.setraw(side)

    def play() -> None:
        for at in range(0, len(recording), PIECE_BYTES):
            piece = recording[at : at + PIECE_BYTES]
            while piece:
                piece = piece[os.write(master, piece) :]

    player = Thread(target=play)
    player.start()
    try:
        yield side
    finally:
        player.join()
        os.close(master)
        os.close(side)
