"""How other threads call one that waits for a socket: a socket pair, which wakes it as the network would."""

from __future__ import annotations

import contextlib
import socket


class Bell:
    """Rung by any thread, any number of times; heard by one."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Make the pair."""
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)

    def close(self) -> None:
        """Nobody listens any more."""
        ends, self._ends = self._ends, None
        for end in ends or ():
            end.close()

    def ring(self) -> None:
        """Wake the listener; nothing happens where there is none."""
        ends = self._ends
        if ends is not None:
            with contextlib.suppress(OSError):  # full is loud enough; closed a moment ago is as good as None
                ends[1].send(b"\0")

    def fileno(self) -> int:
        """What becomes readable."""
        assert self._ends is not None  # it is listened to between open and close
        return self._ends[0].fileno()

    def heard(self) -> None:
        """Be silent until it is rung again."""
        assert self._ends is not None
        with contextlib.suppress(BlockingIOError):
            self._ends[0].recv(4096)
