"""MLLP: messages out of a byte stream, without any I/O.

Rules (HL7 v2 transport specification, minimal lower layer protocol):

- A frame is 0x0B, the message, 0x1C 0x0D. `Framer.feed` takes bytes as they arrive, in pieces of any size, and returns
  the messages that they complete; how the bytes were cut never changes what comes out.
- Carriage returns and line feeds between frames are habits and mean nothing. Other bytes between frames are skipped
  and counted (`skipped`), up to a limit: then the peer does not speak MLLP.
- A message has a largest size, so that a peer cannot fill the memory.
- Any other deviation is a named error, and the framer accepts nothing more. The message under way was not acknowledged,
  so closing the connection loses nothing: the sender repeats it. Guessing where a damaged message ends could join
  halves of two patients' messages.
"""

from __future__ import annotations

import re
from typing import Final

from medledger.errors import UsageError

from .errors import MllpEndError, MllpError, MllpGarbageError, MllpSizeError, MllpStartError, MllpTruncatedError

START: Final = 0x0B
END: Final = 0x1C
RETURN: Final = 0x0D

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""One HL7 message. Monitors send a few KiB; the largest seen, with a document inside, was 85 KB."""

MAX_SKIPPED_BYTES: Final = 4096
"""Bytes between two frames that are skipped before the peer is given up."""

_MARK: Final = re.compile(rb"[\x0b\x1c]")


class Framer:
    """Cuts one connection's bytes into messages."""

    __slots__ = ("_buffer", "_ending", "_failure", "_inside", "_junk", "_max", "skipped")

    def __init__(self, *, max_message: int = MAX_MESSAGE_BYTES) -> None:
        self._max = max_message
        self._buffer = bytearray()
        self._inside = False  # a start byte was seen
        self._ending = False  # so was the first byte of its end
        self._junk = 0  # skipped bytes since the last frame
        self._failure: MllpError | None = None
        self.skipped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises MllpError, which carries those before the fault."""
        if self._failure is not None:
            raise UsageError("the framer has failed; a new connection needs a new one") from self._failure
        messages: list[bytes] = []
        position = 0
        try:
            while position < len(data):
                if self._ending:
                    position = self._finish(data, position, messages)
                elif self._inside:
                    position = self._collect(data, position)
                else:
                    position = self._seek(data, position)
        except MllpError as failure:
            failure.messages = messages
            self._failure = failure
            self._buffer.clear()
            raise
        return messages

    def close(self) -> None:
        """The stream has ended. Raises MllpTruncatedError when it ended inside a message."""
        if self._failure is None and self._inside:
            raise MllpTruncatedError(f"the connection ended inside a message, after {len(self._buffer)} bytes of it")

    def _seek(self, data: bytes, position: int) -> int:
        """Skips to just after the next start byte."""
        start = data.find(START, position)
        gap = data[position : start if start >= 0 else len(data)]
        junk = len(gap) - gap.count(b"\r") - gap.count(b"\n")
        self._junk += junk
        self.skipped += junk
        if self._junk > MAX_SKIPPED_BYTES:
            raise MllpGarbageError(
                f"more than {MAX_SKIPPED_BYTES} bytes without a start-of-block byte: the peer does not speak MLLP",
                hint="Check that the sender is set to HL7 over MLLP on this port, without TLS unless it is configured.",
            )
        if start < 0:
            return len(data)
        self._inside, self._junk = True, 0
        return start + 1

    def _collect(self, data: bytes, position: int) -> int:
        """Takes message bytes up to the next start or end byte."""
        mark = _MARK.search(data, position)
        stop = mark.start() if mark else len(data)
        if len(self._buffer) + stop - position > self._max:
            raise MllpSizeError(f"a message is longer than {self._max} bytes")
        self._buffer += data[position:stop]
        if mark is None:
            return stop
        if data[stop] == START:
            raise MllpStartError("a message begins before the last one has ended")
        self._ending = True
        return stop + 1

    def _finish(self, data: bytes, position: int, messages: list[bytes]) -> int:
        """Demands the carriage return that completes a frame."""
        if data[position] != RETURN:
            raise MllpEndError("an end-of-block byte is not followed by a carriage return")
        messages.append(bytes(self._buffer))
        self._buffer.clear()
        self._inside = self._ending = False
        return position + 1


def wrap(message: bytes) -> bytes:
    """The frame of one message."""
    if _MARK.search(message):
        raise UsageError("a message for MLLP must not contain the bytes 0x0B and 0x1C")
    return bytes((START,)) + message + bytes((END, RETURN))
