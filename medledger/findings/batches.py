"""Device-signed batches against the enrolment of their devices.

That a batch was signed by the key it names is checked before any entry counts (devices.py). Left to see here:

- *unenrolled key*: nobody has enrolled the key, so the signature says nothing about any instrument.
- *other device*: the batch calls itself another device than its key was enrolled for.
- *retired key*: its counter is beyond the last one that counts.
- *missing batches*: counters that no replica's batch has, below the highest one of their key.
- *counter used twice*: two different batches of one key under one counter. The key is in two places.
- *unsigned reading*: a `reading` about a device that signs for itself, by an author that had its batches before, or at
  a time after its enrolment. An agent says so; the device does not.
- *key of two devices*: one key was enrolled under two names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from .finding import Context, Finding, Fold, Observed, by_position

MAX_RANGES: Final = 16
"""Ranges of missing counters that a sentence and its facts name; the rest is counted."""


def find(entries: Sequence[Observed], _: Context) -> Iterator[Finding]:
    """Everything that does not fit between batches, enrolments and readings."""
    by_type: dict[str, list[Observed]] = defaultdict(list)
    for entry in by_position(entries):
        by_type[entry.type].append(entry)
    enrolled = _by_key(by_type["device.enrol"])
    retired = _by_key(by_type["device.retire"])
    batches = _by_key(by_type["device.batch"])
    for key, enrolments in enrolled.items():
        names = sorted({each.content["device"] for each in enrolments})
        if len(names) > 1:
            yield _finding("key of two devices", f"was enrolled for {' and for '.join(names)}", key, enrolments)
    for key, found in batches.items():
        yield from _of_key(key, found, enrolled.get(key, []), retired.get(key, []))
    yield from _unsigned(by_type["reading"], by_type["device.enrol"], by_type["device.batch"])


def _by_key(entries: Iterable[Observed]) -> dict[bytes, list[Observed]]:
    found: dict[bytes, list[Observed]] = defaultdict(list)
    for entry in entries:
        found[entry.content["key"]].append(entry)
    return found


def _of_key(
    key: bytes, batches: list[Observed], enrolments: list[Observed], retirements: list[Observed]
) -> Iterator[Finding]:
    """What there is to say about one key's batches."""
    names = {each.content["device"] for each in enrolments}
    if not names:
        yield _finding("unenrolled key", f"signed {len(batches)} batches, and nobody has enrolled it", key, batches[:1])
    strangers = [each for each in batches if names and each.content["device"] not in names]
    if strangers:
        called = strangers[0].content["device"]
        yield _finding("other device", f"is {_listed(names)}'s, and signs as {called}", key, strangers)
    if retirements:
        last = min(each.content["last"] for each in retirements)
        late = [each for each in batches if each.content["counter"] > last]
        if late:
            said = f"was retired after batch {last}, and signed {len(late)} more"
            yield _finding("retired key", said, key, [*retirements, *late])
    by_counter: dict[int, dict[bytes, Observed]] = defaultdict(dict)
    for each in batches:  # what was logged twice is one batch: its signature tells
        by_counter[each.content["counter"]].setdefault(each.content["signature"], each)
    for counter, versions in sorted(by_counter.items()):
        if len(versions) > 1:
            said = f"signed {len(versions)} different batches as number {counter}: it is in two places"
            yield _finding("counter used twice", said, key, list(versions.values()), counter=counter)
    yield from _missing(key, batches[0].content["device"], sorted(by_counter), by_counter)


def _missing(
    key: bytes, device: str, counters: list[int], by_counter: dict[int, dict[bytes, Observed]]
) -> Iterator[Finding]:
    gaps = [
        (before + 1, after - 1) for before, after in zip([0, *counters], counters, strict=False) if after > before + 1
    ]
    if not gaps:
        return
    count = sum(last - first + 1 for first, last in gaps)
    shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in gaps[:MAX_RANGES])
    more = f" and {len(gaps) - MAX_RANGES} more ranges" if len(gaps) > MAX_RANGES else ""
    behind = [next(iter(by_counter[last + 1].values())) for _, last in gaps[:MAX_RANGES]]
    yield _finding(
        "missing batches",
        f"({device}) signed {count} batches that are not here: {shown}{more}",
        key,
        behind,
        device=device,
        count=count,
        ranges=[list(gap) for gap in gaps[:MAX_RANGES]],
    )


def _unsigned(
    readings: Sequence[Observed], enrolments: Sequence[Observed], batches: Sequence[Observed]
) -> Iterator[Finding]:
    """Readings of devices that sign for themselves, and did not sign these."""
    since: dict[str, int] = {}
    for each in enrolments:
        device = each.content["device"]
        since[device] = min(each.time, since.get(device, each.time))
    first: dict[tuple[bytes, str], tuple[int, int]] = {}
    for each in batches:
        first.setdefault((each.place.feed, each.content["device"]), (each.place.seq, each.place.index))
    suspect: dict[tuple[bytes, str], list[Observed]] = defaultdict(list)
    for each in readings:
        device, feed = each.content["device"], each.place.feed
        begun = first.get((feed, device))
        signs = begun is not None and begun < (each.place.seq, each.place.index)
        if device in since and (signs or each.time >= since[device]):
            suspect[feed, device].append(each)
    for (_, device), found in suspect.items():
        yield Finding(
            "unsigned reading",
            f"{device} signs for itself, and did not sign {len(found)} readings that are said to be its own",
            tuple(each.place for each in found[:MAX_RANGES]),
            {"device": device, "count": len(found)},
        )


def _listed(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _finding(kind: str, said: str, key: bytes, entries: Sequence[Observed], **facts: Any) -> Finding:
    places = tuple(each.place for each in entries[:MAX_RANGES])
    return Finding(kind, f"key {key.hex()[:8]} {said}", places, {"key": key, **facts})


BATCHES: Final = Fold(
    "device batches",
    ("device.enrol", "device.batch"),
    frozenset(("device.enrol", "device.retire", "device.batch", "reading")),
    find,
)
