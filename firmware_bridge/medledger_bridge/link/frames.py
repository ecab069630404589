"""Frames on the line: a version, a kind, a sequence number and a body, under a CRC-32, in COBS, between zero bytes.

Rules (docs/serial-link.md):

- A packet is `version (1) | kind (1) | sequence (2) | body | crc (4)`, integers little-endian; the CRC is CRC-32 as in
  zlib over all that precedes it. A frame is a zero byte, the COBS encoding of the packet, and a zero byte.
- `Deframer.feed` takes bytes as they come, in pieces of any size; how they were cut never changes what comes out.
- What stands between two zero bytes and is no packet is noise: it is counted by its reason and has no other effect.
  The next zero byte begins anew. At most one packet's encoding is ever kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final
from zlib import crc32

from medledger.errors import UsageError

from . import cobs

VERSION: Final = 1
HEAD: Final = Struct("<BBH")
CRC: Final = Struct("<I")

MAX_PACKET_BYTES: Final = 4096
"""One packet: a device with 16 KiB of memory can hold two, and a batch of readings fits."""

MIN_PACKET_BYTES: Final = HEAD.size + 1 + CRC.size

MAX_BODY_BYTES: Final = MAX_PACKET_BYTES - HEAD.size - CRC.size

MAX_ENCODED_BYTES: Final = MAX_PACKET_BYTES + (MAX_PACKET_BYTES + cobs.FULL - 1) // cobs.FULL
"""The COBS encoding of the largest packet."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A packet whose CRC is right. The body has not been looked at."""

    version: int
    kind: int
    sequence: int
    body: bytes


@dataclass(slots=True)
class Noise:
    """What came and was no packet: runs between zero bytes by the reason, and all their bytes."""

    bytes: int = 0
    long: int = 0  # longer than any packet
    cobs: int = 0  # no COBS encoding
    short: int = 0  # fewer bytes than any packet has
    crc: int = 0  # a packet that was damaged

    @property
    def runs(self) -> int:
        """How many times something that was no packet stood between two zero bytes."""
        return self.long + self.cobs + self.short + self.crc


def wrap(kind: int, sequence: int, body: bytes, *, version: int = VERSION) -> bytes:
    """The bytes of a frame on the line, with the zero byte before it and after it."""
    if not 1 <= len(body) <= MAX_BODY_BYTES:
        raise UsageError(f"a frame's body is 1 to {MAX_BODY_BYTES} bytes, not {len(body)}")
    packet = HEAD.pack(version, kind, sequence & 0xFFFF) + body
    return b"\0" + cobs.encode(packet + CRC.pack(crc32(packet))) + b"\0"


class Deframer:
    """Cuts one end's bytes into frames."""

    __slots__ = ("_overlong", "_rest", "noise")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._overlong = False  # the run under way is longer than any packet: skip to its end
        self.noise = Noise()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        *runs, rest = data.split(b"\0")
        frames = []
        for run in runs:
            if self._keep(run):
                frame = self._frame(bytes(self._rest))
                if frame is not None:
                    frames.append(frame)
            self._rest.clear()
            self._overlong = False
        self._keep(rest)
        return frames

    def restart(self) -> None:
        """Forget half a frame: the line was closed and opened."""
        self.noise.bytes += len(self._rest)
        self._rest.clear()
        self._overlong = False

    @property
    def kept(self) -> int:
        """Bytes of the run under way that are in memory."""
        return len(self._rest)

    def _keep(self, piece: bytes) -> bool:
        """Add to the run under way; False where that is, or has become, longer than any packet."""
        if self._overlong:
            self.noise.bytes += len(piece)
        elif len(self._rest) + len(piece) <= MAX_ENCODED_BYTES:
            self._rest += piece
        else:
            self._overlong = True
            self.noise.long += 1
            self.noise.bytes += len(self._rest) + len(piece)
            self._rest.clear()
        return not self._overlong

    def _frame(self, run: bytes) -> Frame | None:
        """The frame in a whole run, which is noise when there is none. Nothing between two zeros means nothing."""
        if not run:
            return None
        try:
            packet = cobs.decode(run)
        except cobs.CobsError:
            self.noise.cobs += 1
        else:
            if len(packet) < MIN_PACKET_BYTES:
                self.noise.short += 1
            elif len(packet) > MAX_PACKET_BYTES:
                self.noise.long += 1
            elif crc32(packet[: -CRC.size]) != CRC.unpack_from(packet, len(packet) - CRC.size)[0]:
                self.noise.crc += 1
            else:
                version, kind, sequence = HEAD.unpack_from(packet)
                return Frame(version, kind, sequence, packet[HEAD.size : -CRC.size])
        self.noise.bytes += len(run)
        return None
