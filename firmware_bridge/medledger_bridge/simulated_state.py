"""What a simulated device remembers over a loss of power: its key's seed, and the counter of the last batch sealed.

One line, `medledger-device-1 <seed, hex> <counter> <CRC-32 of all before, hex>`, replaced whole and flushed before
`save` returns. The firmware on a host reads and writes the same file. A lock beside it keeps a second device from
speaking under the key.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from zlib import crc32

from medledger.errors import Fault, KeyFileError
from medledger.limits import MAX_COUNTER

MAGIC: Final = "medledger-device-1"
SEED_BYTES: Final = 32

_FORM: Final = re.compile(rf"({MAGIC} ([0-9a-f]{{64}}) (0|[1-9][0-9]{{0,15}}) )([0-9a-f]{{8}})\n")


class State:
    """The open state file of one device, locked. `seed` is that of a new key, where there is no file yet."""

    def __init__(self, path: Path, seed: bytes | None = None) -> None:
        self._path = path
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.seed, self.counter = self._read(seed)
        except BlockingIOError:
            os.close(self._lock)
            raise KeyFileError(f"another device runs with the state {path}") from None
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def save(self, counter: int) -> None:
        """Make `counter` durable."""
        line = f"{MAGIC} {self.seed.hex()} {counter} ".encode()
        fresh = f"{self._path}.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            left = line + f"{crc32(line):08x}\n".encode()
            while left:
                left = left[os.write(fd, left) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(fresh, self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self.counter = counter

    def _read(self, seed: bytes | None) -> tuple[bytes, int]:
        try:
            text = self._path.read_text("ascii", "replace")
        except FileNotFoundError:
            self.seed = os.urandom(SEED_BYTES) if seed is None else seed
            self.save(0)
            return self.seed, 0
        match = _FORM.fullmatch(text)
        if match is None or crc32(match[1].encode()) != int(match[4], 16) or int(match[3]) > MAX_COUNTER:
            raise KeyFileError(
                f"the device's state {self._path} is damaged",
                fault=Fault.STORE,
                hint="Retire its key: a counter that is not known must not be guessed.",
            )
        return bytes.fromhex(match[2]), int(match[3])
