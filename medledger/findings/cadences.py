"""Promised entries that did not come: silence as a fact.

Rules:

- A `cadence` promises, from its own position on, an entry of its author about a device (or any entry) at least every
  `interval` ms, until the author's next `cadence` about the same device. The entry that ends a promise keeps it.
- How long it was silent between two entries is what their blocks' monotonic clocks say, where both are of one boot.
  Between boots only the times that the author claims are left, and the finding says so (`measured` is false). A clock
  that was never set (it stands before the format began) claims nothing.
- The last entry of a feed is followed by nothing: it is silent since then where the reader's clock says so. A replica
  that is not in sync cannot tell "did not say" from "has not arrived": sync first. A feed that was revoked or forked
  can say nothing more that counts, and so keeps silent rightly.
- A device is named by `reading`, `device.batch`, `device.status` and `association`. What a block holds late, an entry
  with an old time, keeps no promise of then: it counts when its block was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from medledger.clock import FORMAT_BEGAN

from .finding import Context, Finding, Fold, Observed, about, by_position

CADENCE: Final = "cadence"


@dataclass(slots=True)
class _Promise:
    """What holds at some position of a feed: the interval, and the last entry that kept it."""

    interval: int
    kept: Observed


def find(entries: Sequence[Observed], context: Context) -> Iterator[Finding]:
    """Each silence longer than was promised, by feed and position."""
    by_feed: dict[bytes, list[Observed]] = defaultdict(list)
    for entry in by_position(entries):
        by_feed[entry.place.feed].append(entry)
    for found in by_feed.values():
        yield from _of_feed(found, None if found[0].place.feed in context.ended else context.now)


def _of_feed(entries: Sequence[Observed], now: int | None) -> Iterator[Finding]:
    promises: dict[str | None, _Promise] = {}
    for entry in entries:
        about = _device(entry)
        for name in dict.fromkeys((None, about)):  # in this order, whatever the hashes of names are
            promise = promises.get(name)
            if promise is None:
                continue
            yield from _silence(name, promise, entry)
            promise.kept = entry
        if entry.type == CADENCE:
            interval = entry.content.get("interval")
            if interval is None:
                promises.pop(about, None)
            else:
                promises[about] = _Promise(interval, entry)
    if now is not None:
        for name, promise in sorted(promises.items(), key=lambda item: item[0] or ""):
            yield from _since(name, promise, now)


def _device(entry: Observed) -> str | None:
    found = entry.content.get("device") if isinstance(entry.content, dict) else None
    return found if isinstance(found, str) else None


def _silence(name: str | None, promise: _Promise, entry: Observed) -> Iterator[Finding]:
    before = promise.kept
    measured = before.clock.boot_id == entry.clock.boot_id
    passed = entry.clock.monotonic_ms - before.clock.monotonic_ms if measured else _claimed(before.made, entry.made)
    if passed > promise.interval:
        yield _finding(name, promise, passed, measured=measured, after=entry)


def _since(name: str | None, promise: _Promise, now: int) -> Iterator[Finding]:
    passed = _claimed(promise.kept.made, now)
    if passed > promise.interval:
        yield _finding(name, promise, passed, measured=False, after=None)


def _claimed(before: int, after: int) -> int:
    return max(0, after - before) if before >= FORMAT_BEGAN else 0


def _finding(name: str | None, promise: _Promise, passed: int, *, measured: bool, after: Observed | None) -> Finding:
    who = "the author" if name is None else name
    length = f"{passed / 1000:.12g} s" + ("" if measured else " by the clocks' claims")
    until = "and is silent still" if after is None else "before the next entry"
    places = (promise.kept.place,) if after is None else (promise.kept.place, after.place)
    facts: dict[str, Any] = {
        "device": name,
        "promised_ms": promise.interval,
        "silent_ms": passed,
        "measured": measured,
        "from": promise.kept.made,
        "to": None if after is None else after.made,
    }
    said = f"{who}: silent for {length} {until}, where an entry was promised every {promise.interval / 1000:.12g} s"
    return Finding("silent", said, places, facts)


def _keep(type_name: str, content: Any) -> Any:
    return content if type_name == CADENCE else about(content)


CADENCES: Final = Fold("cadences", (CADENCE,), None, find, _keep)
