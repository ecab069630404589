"""Linux input devices: bytes of `struct input_event` to key events, and the device file itself.

Rules (Linux, Documentation/input/event-codes.rst and uapi/linux/input.h):

- An event is two C longs of time, type, code and value: 24 bytes on 64-bit machines. Reads may be split anywhere.
- EV_KEY events count. After SYN_DROPPED the kernel has lost events: all up to the next SYN_REPORT are void.
- A device is grabbed (EVIOCGRAB), so that scans are typed into no other program; without the grab it is not used.
- A pipe or a file that holds recorded events is read like a device.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Final, NamedTuple

from medledger.errors import UsageError

EVENT: Final = struct.Struct("llHHi")

_EV_SYN, _EV_KEY = 0, 1
_SYN_REPORT, _SYN_DROPPED = 0, 3
_EVIOCGRAB: Final = 0x40044590  # _IOW('E', 0x90, int)
_NAME_BYTES: Final = 256
_EVIOCGNAME: Final = 0x80004506 | _NAME_BYTES << 16  # _IOC(_IOC_READ, 'E', 0x06, 256)
_READ_BYTES: Final = 64 * EVENT.size


class KeyEvent(NamedTuple):
    """A key pressed (1), released (0) or repeated by the kernel (2)."""

    code: int
    value: int


LOST: Final = KeyEvent(-1, 0)
"""Stands where the kernel lost events."""


class EventReader:
    """Bytes to key events, and `LOST` where some are missing."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropping = False

    def feed(self, data: bytes) -> list[KeyEvent]:
        """The key events that are complete with `data`."""
        data = self._rest + data
        whole = len(data) - len(data) % EVENT.size
        self._rest = data[whole:]
        found = []
        for _, _, type_, code, value in EVENT.iter_unpack(data[:whole]):
            if type_ == _EV_SYN and code == _SYN_DROPPED:
                self._dropping = True
                found.append(LOST)
            elif type_ == _EV_SYN and code == _SYN_REPORT:
                self._dropping = False
            elif type_ == _EV_KEY and not self._dropping:
                found.append(KeyEvent(code, value))
        return found


class InputDevice:
    """An open input device, grabbed. Raises `UsageError` where it cannot be had."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(
                f"the input device {path} cannot be opened: {error.strerror}",
                hint="The user must be in the group `input`. Devices by name: ls -l /dev/input/by-id",
            ) from error
        self.name = path.name
        if stat.S_ISCHR(os.fstat(self._descriptor).st_mode):
            try:
                self._grab()
            except OSError as error:
                os.close(self._descriptor)
                raise UsageError(
                    f"{path} cannot be taken for scans alone: {error.strerror}",
                    hint="It must be a keyboard of /dev/input, and no other program may have grabbed it.",
                ) from error

    def _grab(self) -> None:
        import fcntl

        fcntl.ioctl(self._descriptor, _EVIOCGRAB, 1)
        name = fcntl.ioctl(self._descriptor, _EVIOCGNAME, bytes(_NAME_BYTES))
        self.name = name.split(b"\0")[0].decode(errors="replace") or self.name

    def fileno(self) -> int:
        """The descriptor, for `select`."""
        return self._descriptor

    def read(self) -> bytes:
        """Some bytes of events, waiting for the first; none when the device is gone."""
        try:
            return os.read(self._descriptor, _READ_BYTES)
        except OSError:  # ENODEV: unplugged
            return b""

    def close(self) -> None:
        """Let go of the device."""
        os.close(self._descriptor)
