"""SIGTERM ends a command as Ctrl-C does: what it has begun is cleaned up, then the process ends by that signal.

A command that knows an orderly end of its own (`stop_signals`, an agent) takes the signal over while it runs.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM has come. No `except Exception` takes it for an error."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated` in the main thread: once, so that a second one does not cut the cleaning short.

    Where somebody else handles it, or the parent has it ignored, it stays so.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Stopped:
    """Set by a signal's handler, waited for by the thread that it interrupts.

    A `threading.Event` may wait for itself there for ever: its lock is not reentrant, as `SimpleQueue.put` is.
    """

    def __init__(self) -> None:
        self._came: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """It has come."""
        self._came.put(None)

    def is_set(self) -> bool:
        """Whether it has come."""
        return not self._came.empty()

    def wait(self, seconds: float) -> bool:
        """Whether it has come, after waiting for it at most so long."""
        try:
            self._came.get(timeout=max(0, seconds))
        except queue.Empty:
            return False
        self.set()
        return True


@contextmanager
def stop_signals() -> Iterator[Stopped]:
    """Set by SIGTERM, so that a service manager's stop is an orderly end."""
    stopped = Stopped()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)


def end_by_sigterm() -> None:
    """End this process as one that SIGTERM has ended: shells show 143, and a service manager takes it for a stop."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
