"""What is known of each bed, folded from the entries of all replicas. No clock is read, nothing is drawn here.

Rules:

- A row is a device at a place. Who lies there is the subject of the association that lasts (bedside/associations.py),
  or of its last reading where none was ever made; it is shown by the start of its pseudonym. A reading in quarantine is
  nobody's: its values are not shown at all.
- A value is shown while it is live. A dead sensor must not look like a calm patient: of a device that is lost, silent
  or unassociated no value is shown at all, and an old one is never shown as the present one.
- `lost`, `stale`, `off`, `fault`, `standby` are what the agent said last (`device.status`). `silent` is our own
  conclusion: the agent promised an entry (`cadence`), and none has arrived here for longer than that.
- Nobody knows how old a value is that claims to come from the future: its box's `clock` is ahead, and it is not shown.
- A box whose key was revoked says nothing any more: its beds are those that the box in its place names.
- Of two entries about a device the later one by its author's position counts, whatever their times say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from medledger.associations import NEVER, Associations
from medledger.decimals import format_decimal
from medledger.indexing import LoggedEntry
from medledger.records import Association

TYPES: Final = ("association", "cadence", "device.batch", "device.status", "reading")
"""The entry types that say something about a bed."""

COLUMNS: Final[dict[str, tuple[str, ...]]] = {  # LOINC, the first that there is
    "HR": ("8867-4", "8889-8"),
    "SpO2": ("59408-5", "2708-6"),
    "RR": ("9279-1",),
    "NIBP": ("8480-6", "8462-4"),
    "Temp": ("8310-5", "8331-1"),
}
PAIRED: Final = "NIBP"
QUIET: Final = frozenset(("lost", "off", "fault", "standby", "stale"))
LIVE: Final = "live"
AHEAD_MS: Final = 60_000
"""How far an author's clock may be ahead of ours."""

ENDED: Final = " (end)"
MAX_ALARMS: Final = 16
OLD_MS: Final = 5 * 60_000
"""A value is not shown as the present one for longer, where nothing was promised about its device."""


class Value(NamedTuple):
    """A measured value as text, its time by the author's clock, and whether it was flagged."""

    text: str
    time: int
    flag: str | None


@dataclass(slots=True)
class Bed:
    """A device, and what it and its agent said last."""

    device: str
    author: bytes
    position: tuple[int, int] = (-1, -1)  # of the last entry taken
    location: str = ""
    subject: bytes | None = None
    known: Associations = field(default_factory=Associations)
    associated: bool = False  # an association was ever made
    occupied: bool = False
    measured: bytes | None = None  # of whom it measured last
    said: str = LIVE
    last: int | None = None  # time of the last reading
    heard: int | None = None  # time of the last entry
    values: dict[str, Value] = field(default_factory=dict)
    alarms: dict[str, tuple[str, int]] = field(default_factory=dict)  # by their names: what was said last, and when
    promised: int | None = None
    signed: bool = False


class Row(NamedTuple):
    """A bed as it is at some moment. `cells` are by the names in `COLUMNS`; `age` is ms since the last reading."""

    location: str
    device: str
    patient: str
    state: str
    cells: dict[str, str]
    age: int | None
    alarm: str | None
    signed: bool
    author: bytes


class Ward:
    """All beds. `take` entries in any order of feeds, each feed's in its order; then ask for `rows`."""

    def __init__(self) -> None:
        self._beds: dict[tuple[bytes, str], Bed] = {}

    def take(self, entries: Iterable[LoggedEntry]) -> None:
        """Note what these entries say; those of other types, and void ones, say nothing."""
        for entry in entries:
            device = entry.content.get("device") if isinstance(entry.content, dict) else None
            if entry.void is None and entry.type in TYPES and isinstance(device, str):
                bed = self._beds.setdefault((entry.author, device), Bed(device, entry.author))
                if (entry.seq, entry.index) > bed.position:
                    bed.position = entry.seq, entry.index
                    _note(bed, entry)

    def rows(self, now: int, revoked: Collection[bytes] = ()) -> list[Row]:
        """The beds, by location and device, as they are at `now` (UTC ms), without those of `revoked` authors."""
        known = [bed for bed in self._beds.values() if bed.author not in revoked]
        rows = [_row(bed, now) for bed in known if bed.last is not None or bed.occupied]
        return sorted(rows, key=lambda row: (not row.location, row.location, row.device))


# --- what an entry says ------------------------------------------------------------------------------------------


def _note(bed: Bed, entry: LoggedEntry) -> None:
    content: dict[str, Any] = entry.content
    if entry.type == "cadence":
        bed.promised = content.get("interval")
    bed.heard = entry.time
    if entry.type == "association":
        bed.known.apply(Association.from_content(content, subject=entry.subject, time=entry.time))
        lasting = [stay.subject for stay in bed.known.of(bed.device) if stay.end == NEVER]
        before, bed.subject = bed.subject, lasting[-1] if lasting else None
        bed.associated, bed.occupied = True, bool(lasting)
        bed.location = content.get("location", bed.location)
        if bed.subject != before:
            bed.values.clear()  # they were the one before's
            bed.alarms.clear()
            bed.last = None if bed.occupied else bed.last  # nothing yet was measured of who came
    elif entry.type == "device.status":
        bed.said = LIVE if content["state"] == "on" else content["state"]
        if bed.said in QUIET:
            bed.values.clear()  # they are not the present ones when it is live again
    elif entry.type == "reading":
        if content["samples"]:
            bed.signed = False
        _measure(bed, entry, content["samples"])
        if "alarm" in content:
            _alarm(bed, content["alarm"], entry.time)
        bed.said = content.get("quality", LIVE)
    elif entry.type == "device.batch":
        bed.signed = True
        for _, samples in content["readings"]:
            _measure(bed, entry, samples)
        bed.said = LIVE


def _alarm(bed: Bed, text: str, time: int) -> None:
    """An alarm lasts until its end is said (IHE PCD-04, event phase), or until nothing is said of it for long."""
    name = text.partition(" (")[0]
    bed.alarms.pop(name, None)
    if not text.endswith(ENDED):
        bed.alarms[name] = text, time
        if len(bed.alarms) > MAX_ALARMS:
            del bed.alarms[next(iter(bed.alarms))]


def _measure(bed: Bed, entry: LoggedEntry, samples: list[Any]) -> None:
    if not bed.associated:
        bed.subject = entry.subject
    if bed.measured != entry.subject:
        bed.values.clear()  # they are somebody else's
    bed.last, bed.measured = entry.time, entry.subject
    for sample in samples:
        code, value = sample[0], sample[1]
        qualifiers = sample[3] if len(sample) > 3 else {}
        if code is None:
            continue
        text = "" if value is None else value if isinstance(value, str) else format_decimal(value)
        bed.values[code] = Value(text, entry.time, qualifiers.get("flag") or qualifiers.get("absent"))


# --- how it is at a moment ---------------------------------------------------------------------------------------


def _row(bed: Bed, now: int) -> Row:
    state = _state(bed, now)
    shown = state == LIVE
    return Row(
        bed.location,
        bed.device,
        "" if bed.subject is None else bed.subject.hex()[:8],
        state,
        {name: _cell(bed, name, now) if shown else "" for name in COLUMNS},
        None if bed.last is None else now - bed.last,
        next((text for text, at in reversed(bed.alarms.values()) if now - at <= OLD_MS), None) if shown else None,
        bed.signed,
        bed.author,
    )


def _state(bed: Bed, now: int) -> str:
    if bed.associated and not bed.occupied:
        return "free"
    if bed.promised is not None and bed.heard is not None and now - bed.heard > bed.promised:
        return "silent"
    if bed.said in QUIET:
        return bed.said
    if bed.last is None:
        return "waiting"
    if max(bed.last, bed.heard or bed.last) > now + AHEAD_MS:
        return "clock"
    if bed.promised is None and now - bed.last > OLD_MS:
        return "stale"
    return LIVE if bed.subject is not None and bed.measured == bed.subject else "nobody's"


def _cell(bed: Bed, name: str, now: int) -> str:
    limit = bed.promised if bed.promised is not None else OLD_MS
    if name == PAIRED:
        limit = max(limit, 12 * OLD_MS)  # a cuff measures every quarter or half hour
    held = [bed.values.get(code) for code in COLUMNS[name]]
    found = [value for value in held if value is not None and -AHEAD_MS <= now - value.time <= limit]
    if name == PAIRED:
        whole = len(found) == len(held) and all(each.text for each in found) and len({each.time for each in found}) == 1
        return "/".join(each.text for each in found) if whole else ""
    return found[0].text or f"({found[0].flag})" if found else ""
