"""Consistent overhead byte stuffing: any bytes, written without a zero byte, so that zero can end a frame.

Cheshire and Baker, "Consistent Overhead Byte Stuffing" (1999). A code byte n is followed by n - 1 bytes that are not
zero; a zero follows them in the original, except after a code of 255 and at the end.

Encoding writes the shortest form: no code byte after a full run of 254 that ends the data. Decoding takes both forms.
"""

from __future__ import annotations

from typing import Final

FULL: Final = 254


class CobsError(Exception):
    """A code byte points beyond the end, or is zero. Stays in this package: a frame that is not COBS is noise."""


def encode(data: bytes) -> bytes:
    """`data` without its zeros: at most one byte longer, and one more for each 254 bytes."""
    out = bytearray()
    parts = data.split(b"\0")
    for number, part in enumerate(parts, 1):
        at, size = 0, len(part)
        while size - at >= FULL:
            out.append(FULL + 1)
            out += part[at : at + FULL]
            at += FULL
        if at == size > 0 and number == len(parts):
            break
        out.append(size - at + 1)
        out += part[at:]
    return bytes(out)


def decode(data: bytes) -> bytes:
    """What `encode` was given; CobsError when these bytes are no encoding of anything."""
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        code = data[at]
        stop = at + code
        if code == 0 or stop > end:
            raise CobsError
        out += data[at + 1 : stop]
        at = stop
        if code <= FULL and at < end:
            out.append(0)
    return bytes(out)
