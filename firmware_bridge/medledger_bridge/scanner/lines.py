"""Scans that arrive as characters: typed into a terminal by a wedge, or from a serial scanner.

Rules:

- A scan ends with CR or LF (suffix Enter; CR LF is one end), or with a tab (suffix Tab). Nothing between two ends is no
  scan. Or it stands between STX and ETX; then only CR and LF may stand outside.
- Bytes are UTF-8, so that a wrong layout can be told by what it made. Serial scanners send ASCII: 0x80 and up is a line
  whose speed or parity is wrong.
- A scan that is too long is one ScanError, and everything up to its end belongs to it.
"""

from __future__ import annotations

from typing import Final

from ..errors import ScanError
from ..gs1 import MAX_SCAN_CHARS
from .settings import FRAMED, RETEST, TAB, ScannerSettings, canonical

STX: Final = 0x02
ETX: Final = 0x03
MAX_SCAN_BYTES: Final = 4 * MAX_SCAN_CHARS
_LINE_ENDS: Final = b"\r\n"


class LineReader:
    """Bytes to the text of each scan, as it was sent, without what framed it."""

    def __init__(self, *, ends: bytes = _LINE_ENDS, framed: bool = False) -> None:
        self._ends = bytes((ETX,)) if framed else ends
        self._framed = framed
        self._buffer = bytearray()
        self._inside = not framed
        self._spoilt: str | None = None

    def feed(self, data: bytes) -> list[str | ScanError]:
        """The scans that end in `data`, each its text or what was wrong with it."""
        found: list[str | ScanError] = []
        for byte in data:
            if byte in self._ends and (self._inside or self._spoilt):
                found += self._end()
            elif self._framed and byte == STX:
                if self._inside or self._spoilt:
                    self._spoilt = self._spoilt or "a scan began (STX) before the one under way had ended (ETX)"
                    found += self._end()
                self._inside = True
            elif not self._inside:
                if byte not in _LINE_ENDS:
                    self._spoilt = "the scanner sent characters outside STX and ETX"
            elif len(self._buffer) < MAX_SCAN_BYTES:
                self._buffer.append(byte)
            else:
                self._spoilt = f"a scan has at most {MAX_SCAN_CHARS} characters"
        return found

    def finish(self) -> ScanError | None:
        """What is to be said when the scanner is gone: an error if it was in the middle of a scan."""
        if not (self._buffer or self._spoilt):
            return None
        self._buffer.clear()
        self._spoilt = None
        return ScanError("the scanner went away in the middle of a scan", hint="Scan again.")

    def _end(self) -> list[str | ScanError]:
        raw, spoilt = bytes(self._buffer), self._spoilt
        self._buffer.clear()
        self._spoilt, self._inside = None, not self._framed
        if spoilt:
            return [ScanError(spoilt, hint=RETEST)]
        if not raw:
            return []
        try:
            return [raw.decode()]
        except UnicodeDecodeError:
            return [
                ScanError(
                    "the scan is not text",
                    hint="Compare speed and parity of the serial line with the scanner's settings (9600, 8N1).",
                )
            ]


class LineDecoder:
    """Bytes to scans, under settings."""

    def __init__(self, settings: ScannerSettings) -> None:
        self._settings = settings
        self._reader = LineReader(
            ends=b"\t" if settings.suffix == TAB else _LINE_ENDS, framed=settings.suffix == FRAMED
        )
        self.finish = self._reader.finish

    def feed(self, data: bytes) -> list[str | ScanError]:
        """The scans that end in `data`, as GS1 has them, each or why there is none."""
        return [self._canonical(each) for each in self._reader.feed(data)]

    def _canonical(self, found: str | ScanError) -> str | ScanError:
        if isinstance(found, ScanError):
            return found
        try:
            return canonical(found, self._settings)
        except ScanError as error:
            return error
