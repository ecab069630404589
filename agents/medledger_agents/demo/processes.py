"""The demo's parties as child processes: started, listened to, and never left behind.

- Each child is told everything over its standard input and ends when that closes: with the demo, however it ends.
- Children stand in sessions of their own, so that Ctrl-C reaches the demo alone, which then ends them in order.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from medledger.errors import MedledgerError

ANSWER_SECONDS: Final = 20.0
STOP_SECONDS: Final = 6.0
KEPT_LINES: Final = 20

Handler = Callable[["Party", dict[str, Any]], None]


class DemoError(MedledgerError):
    """A party of the demo did not do its part."""


class Party:
    """One child process. `on_event` hears each of its events, in a thread of this party's."""

    def __init__(self, role: str, label: str, directory: Path, broker: str, on_event: Handler) -> None:
        self.role = role
        self.label = label
        self.directory = directory
        self.feed = ""
        self._on_event = on_event
        self._events: list[dict[str, Any]] = []
        self._noise: list[str] = []
        self._changed = threading.Condition()
        self._over = False
        directory.mkdir(mode=0o700)
        arguments = [role, str(directory), label, *([broker] if role in ("hospital", "auditor") else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "medledger_agents.demo.party", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._listen, name=role, daemon=True)
        self._thread.start()

    def order(self, **fields: Any) -> None:
        """Tell it to do something."""
        assert self.process.stdin is not None  # opened with PIPE
        with suppress(BrokenPipeError):  # it has ended, which whoever waits for its answer hears
            self.process.stdin.write(json.dumps(fields) + "\n")
            self.process.stdin.flush()

    def wait_for(self, name: str, seconds: float = ANSWER_SECONDS, **fields: Any) -> dict[str, Any]:
        """The first event of that name with those fields, waiting for it if need be. Raises `DemoError`."""

        def found() -> dict[str, Any] | None:
            return next(
                (each for each in self._events if each["event"] == name and fields.items() <= each.items()), None
            )

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._over, seconds)
            event = found()
            if event is None:
                raise self._failure(f"did not say {name!r} within {seconds:.0f} s")
            return event

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = ANSWER_SECONDS) -> None:
        """Wait until something that this party's events make true is true. Raises `DemoError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition() or self._over, seconds) or not condition():
                raise self._failure(f"did not get there within {seconds:.0f} s: {what}")

    def _failure(self, what: str) -> DemoError:
        reason = "has ended" if self._over else what
        said = self._noise[-1] if self._noise else ""  # all of it is in the party's directory
        return DemoError(f"{self.label} {reason}" + (f" ({said})" if said else ""), hint=f"See {self.directory}.")

    def _listen(self) -> None:
        assert self.process.stdout is not None  # opened with PIPE
        for line in self.process.stdout:
            try:
                event = json.loads(line)
                name = event["event"]
            except (ValueError, KeyError, TypeError):
                self._noise = [*self._noise, line.strip()][-KEPT_LINES:]
                continue
            if name == "joined":
                self.feed = event["feed"]
            self._on_event(self, event)
            with self._changed:
                self._events.append(event)
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def ask_to_stop(self) -> None:
        """Let it end by itself: its input closes."""
        assert self.process.stdin is not None  # opened with PIPE
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def stop(self, deadline: float) -> bool:
        """Wait for its end, which is made certain at the deadline. Whether it ended by itself and well."""
        try:
            self.process.wait(max(0.01, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(STOP_SECONDS)
        assert self.process.stdout is not None  # opened with PIPE
        self.process.stdout.close()
        return self.process.returncode == 0


def stop_all(parties: list[Party]) -> bool:
    """End every party, all at once. Whether each ended by itself and well."""
    for party in parties:
        party.ask_to_stop()
    deadline = time.monotonic() + STOP_SECONDS
    ends = [party.stop(deadline) for party in parties]  # every one, whatever the others do
    return all(ends)
