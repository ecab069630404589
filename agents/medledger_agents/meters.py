"""What an agent counts: how many messages came to what end, how large batches are, how long the disk takes.

Rules:

- Whatever is counted is declared here, with its label and that label's values: never a sender's name, a message's id,
  or anything else that came from outside. Each is there with 0 from the start, so that the first of its kind shows in a
  rate, too.
- Counting costs a lock and an addition; how the figures are shown stands in exposition.py, which brings in a library.
- Any thread may count. There is one set of meters in a process, `METERS`; a test makes its own.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Meter:
    """One thing that is counted. `buckets` are the upper bounds of a histogram; a counter has none.

    `values` are those that its label, where it has one, may have.
    """

    doc: str
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


PARTS: Final = (
    "gossip",
    "report",
    "listener",
    "standing",
    "housekeeping",
    "watchdog",
    "metrics",
    "reload",
    "telling",
)
"""Of all kinds of agents, as runtime.py and the auditor's replica name them."""

DECLARED: Final = {
    "messages": Meter(
        "Messages and scans by what became of them.", ("result",), ("logged", "repeated", "refused", "conflict")
    ),
    "refused": Meter(
        "Messages that were not acknowledged, by where the reason lies.", ("reason",), ("ledger", "full", "conflict")
    ),
    "acknowledged": Meter("Messages that were acknowledged: they are durable on this box."),
    "entries": Meter("Entries that were logged of messages: readings, associations, dispenses and others."),
    "blocks": Meter("Blocks that messages were logged in."),
    "failures": Meter("Failures of a part of the agent, each followed by a restart of the part.", ("part",), PARTS),
    "watchdog": Meter(
        "Signs of life sent to systemd, and those kept back for want of progress.", ("result",), ("fed", "kept back")
    ),
    "reloads": Meter("Reloads of the configuration by result.", ("result",), ("changed", "refused", "invalid")),
    "log_held_back": Meter("Lines of the log that were held back because there were many of the same kind."),
    "removed": Meter("Messages whose bytes were removed from the inbox, for their time was over."),
    "batch_messages": Meter("Messages in a commit.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)),
    "commit_seconds": Meter(
        "From a batch to its durable entries, in seconds.",
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    ),
}


@dataclass(slots=True)
class Histogram:
    """How often a value fell into each bucket (the last: above all bounds), and what all add up to."""

    counts: list[int]
    total: float = 0.0


class Meters:
    """The counts of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, tuple[str, ...]], float] = {
            (name, labels): 0
            for name, meter in DECLARED.items()
            if not meter.buckets
            for labels in ([(value,) for value in meter.values] if meter.labels else [()])
        }
        self._histograms = {
            name: Histogram([0] * (len(meter.buckets) + 1)) for name, meter in DECLARED.items() if meter.buckets
        }

    def count(self, name: str, label: str | None = None, *, by: float = 1) -> None:
        """Add to a counter; `label` is the value of its label, where it has one."""
        key = (name, () if label is None else (label,))
        assert len(DECLARED[name].labels) == len(key[1])
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + by

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        place = bisect_left(DECLARED[name].buckets, value)
        with self._lock:
            histogram = self._histograms[name]
            histogram.counts[place] += 1
            histogram.total += value

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        """A counter's values, by those of its labels."""
        with self._lock:
            return {labels: value for (known, labels), value in self._counts.items() if known == name}

    def histogram(self, name: str) -> Histogram:
        """A copy of a histogram."""
        with self._lock:
            found = self._histograms[name]
            return Histogram(list(found.counts), found.total)


METERS: Final = Meters()
