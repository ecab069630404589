"""Device-signed batches against the enrolment of their devices.

That a batch was signed by the key it names is checked before any entry counts (devices.py). Left to see here:

- *unenrolled key*: nobody has enrolled the key, so the signature says nothing about any instrument.
- *other device*: the batch calls itself another device than its key was enrolled for.
- *retired key*: its counter is beyond the last one that counts.
- *missing batches*: counters that no replica's batch has, below the highest one of their key that counts, and not below
  the `first` of its enrolment; of several enrolments the lowest, so that no later one hides what is missing.
- *kept batches*: counters of which an agent says (`device.status`) that it keeps a batch which no entry can hold. That
  is its word, until it shows the bytes; they are not missing. Without the hash of the bytes it says nothing. What is
  missing between such a counter and the highest batch that is here rests on the same word, and the finding says so.
- *counter used twice*: two different batches of one key under one counter. The key is in two places. What was signed
  tells: the same words under another signature are the same batch, and so is one that two boxes logged.
- *batch of two patients*: one batch was logged for two subjects.
- *unsigned reading*: a `reading` about a device that signs for itself, by an author that had its batches before, or at
  a time after its enrolment. An agent says so; the device does not. A device whose last key was retired signs no more.
- *key of two devices*: one key was enrolled under two names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from medledger.devices import SIGNED, batch_message
from medledger.limits import MAX_COUNTER

from .finding import Context, Finding, Fold, Observed, Place, about, by_position, only

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
    kept = _by_key(each for each in by_type["device.status"] if {"key", "counter", "raw"} <= each.content.keys())
    for key, enrolments in enrolled.items():
        names = sorted({each.content["device"] for each in enrolments})
        if len(names) > 1:
            yield _finding("key of two devices", f"was enrolled for {' and for '.join(names)}", key, enrolments)
    for key, found in batches.items():
        yield from _of_key(key, found, enrolled.get(key, []), retired.get(key, []))
    for key in batches | kept:
        due = _due(enrolled.get(key, []), retired.get(key, []))
        yield from _kept(key, kept.get(key, []))
        yield from _missing(key, batches.get(key, []), kept.get(key, []), due)
    yield from _unsigned(by_type["reading"], _signing(enrolled, retired), by_type["device.batch"])


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
    last = _due(enrolments, retirements).stop - 1
    late = [each for each in batches if each.content["counter"] > last]
    if late:
        said = f"was retired after batch {last}, and signed {len(late)} more"
        yield _finding("retired key", said, key, [*retirements, *late])
    by_counter: dict[int, list[Observed]] = defaultdict(list)
    for each in batches:
        by_counter[each.content["counter"]].append(each)
    for counter, found in sorted(by_counter.items()):
        yield from _of_counter(key, counter, found)


def _of_counter(key: bytes, counter: int, found: list[Observed]) -> Iterator[Finding]:
    """What there is to say about the batches of one key under one number."""
    if len(found) == 1:
        return
    versions: dict[bytes, dict[bytes | None, Observed]] = defaultdict(dict)
    for each in found:
        signed = batch_message(**{name: each.content[name] for name in SIGNED})
        versions[signed].setdefault(each.subject, each)
    if len(versions) > 1:
        said = f"signed {len(versions)} different batches as number {counter}: it is in two places"
        places = [next(iter(version.values())) for version in versions.values()]
        yield _finding("counter used twice", said, key, places, counter=counter)
    for version in versions.values():
        patients = [each for subject, each in version.items() if subject is not None]
        if len(patients) > 1:
            said = f"signed batch {counter} once, and it was logged for {len(patients)} patients"
            yield _finding("batch of two patients", said, key, patients, counter=counter)


def _due(enrolments: Iterable[Observed], retirements: Iterable[Observed]) -> range:
    """The counters of a key that count here."""
    first = min((each.content.get("first", 1) for each in enrolments), default=1)
    last = min((each.content["last"] for each in retirements), default=MAX_COUNTER)
    return range(first, last + 1)


def _kept(key: bytes, statuses: list[Observed]) -> Iterator[Finding]:
    """What an agent keeps of a key's batches, and nobody can read on the ledger."""
    counters = sorted({each.content["counter"] for each in statuses})
    if counters:
        shown = ", ".join(map(str, counters[:MAX_RANGES])) + ("" if len(counters) <= MAX_RANGES else ", ...")
        said = f"signed {len(counters)} batches that no entry can hold, as who keeps their bytes says: {shown}"
        yield _finding("kept batches", said, key, statuses, count=len(counters), counters=counters[:MAX_RANGES])


def _missing(key: bytes, batches: list[Observed], kept: list[Observed], due: range) -> Iterator[Finding]:
    """What is missing of the counters that are due, shown by what came after it."""
    by_counter: dict[int, Observed] = {}
    for each in (*batches, *kept):
        by_counter.setdefault(each.content["counter"], each)
    device = (*batches, *kept)[0].content["device"]
    counters = sorted(by_counter)
    gaps, behind = [], []
    for before, after in zip([0, *counters], counters, strict=False):
        start, end = max(before + 1, due.start), min(after, due.stop) - 1
        if start <= end:
            gaps.append((start, end))
            behind.append(by_counter[after])
    if not gaps:
        return
    count = sum(end - first + 1 for first, end in gaps)
    shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in gaps[:MAX_RANGES])
    more = f" and {len(gaps) - MAX_RANGES} more ranges" if len(gaps) > MAX_RANGES else ""
    if gaps[-1][1] > max((each.content["counter"] for each in batches), default=0):
        more += ", as who keeps what came after says"
    yield _finding(
        "missing batches",
        f"({device}) signed {count} batches that are not here: {shown}{more}",
        key,
        behind,
        device=device,
        count=count,
        ranges=[list(gap) for gap in gaps[:MAX_RANGES]],
    )


def _signing(
    enrolled: dict[bytes, list[Observed]], retired: dict[bytes, list[Observed]]
) -> dict[str, tuple[int, int | None]]:
    """From when on each device signs, and until when: None while a key of it was not retired."""
    keys: dict[str, list[bytes]] = defaultdict(list)
    since: dict[str, int] = {}
    for key, enrolments in enrolled.items():
        for each in enrolments:
            device = each.content["device"]
            keys[device].append(key)
            since[device] = min(each.time, since.get(device, each.time))
    ends = {key: min(each.time for each in found) for key, found in retired.items()}
    return {
        device: (since[device], max(ends[key] for key in held) if all(key in ends for key in held) else None)
        for device, held in keys.items()
    }


def _unsigned(
    readings: Sequence[Observed], signing: dict[str, tuple[int, int | None]], batches: Sequence[Observed]
) -> Iterator[Finding]:
    """Readings of devices that sign for themselves, and did not sign these."""
    first: dict[tuple[bytes, str], Place] = {}
    for each in batches:
        first.setdefault((each.place.feed, each.content["device"]), each.place)
    suspect: dict[tuple[bytes, str], list[Observed]] = defaultdict(list)
    known: set[tuple[bytes, str]] = set()  # without a look at any clock
    for each in readings:
        device, feed = each.content["device"], each.place.feed
        if device not in signing:
            continue
        since, until = signing[device]
        begun = first.get((feed, device))
        heard = begun is not None and begun < each.place
        if (heard or each.time >= since) and (until is None or each.time < until):
            suspect[feed, device].append(each)
            if heard and until is None:
                known.add((feed, device))
    for (feed, device), found in suspect.items():
        claimed = "" if (feed, device) in known else ", by the clocks' claims"
        yield Finding(
            "unsigned reading",
            f"{device} signs for itself, and did not sign {len(found)} readings said to be its own{claimed}",
            tuple(each.place for each in found[:MAX_RANGES]),
            {"device": device, "count": len(found)},
        )


def _listed(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _finding(kind: str, said: str, key: bytes, entries: Sequence[Observed], **facts: Any) -> Finding:
    places = tuple(each.place for each in entries[:MAX_RANGES])
    return Finding(kind, f"key {key.hex()[:8]} {said}", places, {"key": key, **facts})


def _looked_at(type_name: str, content: Any) -> Any:
    """Batches and enrolments whole; of the many others what is asked of them."""
    if type_name == "reading":
        return about(content)
    return only(content, "device", "key", "counter", "raw") if type_name == "device.status" else content


BATCHES: Final = Fold(
    "device batches",
    ("device.enrol", "device.batch"),
    frozenset(("device.enrol", "device.retire", "device.batch", "device.status", "reading")),
    find,
    _looked_at,
)
