"""SIGTERM ends a command as Ctrl-C does: what it has begun is cleaned up, then the process ends by that signal.

A command that knows an orderly end of its own (`gossiping.stop_signals`, an agent) takes the signal over while it runs.
"""

from __future__ import annotations

import os
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


def end_by_sigterm() -> None:
    """End this process as one that SIGTERM has ended: shells show 143, and a service manager takes it for a stop."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
