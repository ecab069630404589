"""Which device measured whom, and when: a pure fold over `association` entries, and who a reading belongs to by it.

- A begin and an end of one device and subject make an interval: from the begin's time to the earliest end that is not
  before it. So the fold gives the same whatever order the entries came in; an end whose begin is not known yet waits
  for it. (At one and the same time, an end counts for the begins that were logged before it.)
- A reading has a window: the times at which it may have been measured. It belongs to a subject when the whole window
  lies in that subject's intervals and touches nobody else's. Otherwise it is nobody's, with the reason:

      unassociated     nobody was associated with the device then, as far as is known
      after-discharge  somebody was, and that had ended
      uncertain        the window lies across a begin or an end, or is not known
      conflict         the message names somebody else (PID-3)

- A device that says that its clock is synchronised is believed within `bound`. Any other reading is taken to be at most
  `delay` old when it comes in, and only while the device's or the message's own time does not say otherwise.
- A box whose own clock has not been set (it stands before the format began) knows no times: only what a synchronised
  device says counts.
- What a person assigns is an interval too, with the reason `manual`, and is the only thing that gives a reading that is
  in quarantine to somebody. Readings are never written again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from .clock import FORMAT_BEGAN
from .records import Association

SYNCHRONISED: Final = frozenset((532225, 532226, 532227, 532228, 532230, 532231, 532232, 532233, 532237, 532238))
"""MDC_TIME_SYNC codes of what keeps a clock right: NTP and SNTP, radio, HL7, mobile networks, GPS. Not among them: none
(532224), Bluetooth's and USB's clocks, a person with a watch (532234), and something that is not named."""

NEVER: Final = 2**62
RECENT: Final = 64
"""Intervals of a device that are looked at for what comes in now."""


class Measured(Protocol):
    """What is asked of a reading. A `Reading` is one."""

    @property
    def device(self) -> str: ...
    @property
    def device_time(self) -> int | None: ...
    @property
    def device_sync(self) -> int | None: ...
    @property
    def quarantine(self) -> str | None: ...
    @property
    def subject(self) -> bytes | None: ...
    @property
    def time(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Margins:
    """How far times are believed, in ms."""

    bound: int = 5_000  # how far a synchronised clock may be off
    delay: int = 60_000  # how old any other reading may be when it comes in


@dataclass(frozen=True, slots=True)
class Interval:
    """A subject's time on a device: from `begin` on, and not from `end` on."""

    device: str
    subject: bytes
    begin: int
    end: int  # NEVER while it lasts
    noted: int  # the time of the entry that began it: the pseudonym's period
    manual: bool
    location: str | None = None
    merged: bool = False  # it is the stay of a number that was given up, which goes on
    tabled: bool = False  # it follows from a new table of beds
    assigned: bool = False  # a person said so afterwards: from when until when

    @property
    def ours(self) -> bool:
        """Whether it began when that was said, by the clock of who logged it."""
        return self.tabled or (self.manual and not self.assigned)

    def holds(self, at: int) -> bool:
        """Whether it covers that time."""
        return self.begin <= at < self.end


@dataclass(frozen=True, slots=True)
class _Begin:
    at: int
    order: int
    entry: Association
    noted: int


class Associations:
    """All intervals of all devices. `apply` takes entries as they are logged."""

    def __init__(self, entries: Iterable[Association] = (), *, most: int | None = None) -> None:
        self._most = most  # stays of a device that are remembered; older ones are closed for good
        self._horizon: dict[str, int] = {}
        self._count: dict[str, int] = {}
        # By device, then by subject.
        self._begins: dict[str, dict[bytes, list[_Begin]]] = defaultdict(dict)
        self._ends: dict[str, dict[bytes, list[tuple[int, int]]]] = defaultdict(dict)
        self._vacated: dict[str, list[tuple[int, int]]] = defaultdict(list)  # ends that name no subject
        self._why: dict[str, dict[tuple[bytes, int], set[tuple[str | None, bytes | None]]]] = defaultdict(
            dict
        )  # of ends
        self._emptied: dict[str, int] = {}
        self._place: dict[str, str | None] = {}
        self._said_here: set[str] = set()
        self._known: dict[str, list[Interval] | None] = {}
        self._stays: dict[str, dict[bytes, list[Interval]]] = {}
        self._order = 0
        for entry in entries:
            self.apply(entry)

    def apply(self, entry: Association) -> None:
        """Take one more entry. An end without a subject ends whoever is there; a begin without one says nothing."""
        if entry.time is None or (entry.subject is None and entry.action == "begin"):
            return
        self._order += 1
        at = entry.time if entry.at is None else entry.at
        self._place[entry.device] = entry.location
        if entry.sent is None and (entry.raw is None or entry.reason == "manual"):
            self._said_here.add(entry.device)  # what a message said has its hash, also where its time was not yet noted
        if entry.subject is None:
            self._vacated[entry.device].append((at, self._order))
            self._emptied[entry.device] = max(self._emptied.get(entry.device, at), at)
        elif entry.action == "begin":
            if at < self.horizon(entry.device):
                return
            self._count[entry.device] = self._count.get(entry.device, 0) + 1
            self._begins[entry.device].setdefault(entry.subject, []).append(_Begin(at, self._order, entry, entry.time))
        else:
            self._ends[entry.device].setdefault(entry.subject, []).append((at, self._order))
            self._why[entry.device].setdefault((entry.subject, at), set()).add((entry.reason, entry.raw))
        self._known[entry.device] = None
        if self._most is not None and self._count.get(entry.device, 0) > 2 * self._most:
            self._forget(entry.device)

    def horizon(self, device: str) -> int:
        """Before this time nothing of the device is remembered, and no begin is taken any more (UTC ms)."""
        return self._horizon.get(device, -NEVER)

    def _forget(self, device: str) -> None:
        """Close what is older than the last `most` stays: years of patients do not fit into a small box."""
        assert self._most is not None  # asked by who has looked
        kept = list(self.of(device))[-self._most :]
        horizon = min([each.begin for each in kept] + [each.begin for each in self.of(device) if each.end == NEVER])
        self._horizon[device] = horizon
        self._count[device] = 0
        self._said_here.discard(device)
        held, ended = self._begins.pop(device, {}), self._ends.pop(device, {})
        self._vacated[device] = [each for each in self._vacated[device] if each[0] >= horizon]
        self._why[device] = {end: why for end, why in self._why[device].items() if end[1] >= horizon}
        for subject in held | ended:
            begins = [each for each in held.get(subject, ()) if each.at >= horizon]
            ends = [each for each in ended.get(subject, ()) if each[0] >= horizon]
            if begins:
                self._begins[device][subject] = begins
                self._count[device] += len(begins)
            if ends:
                self._ends[device][subject] = ends
        self._known[device] = None

    def devices(self) -> list[str]:
        """Every device of which anything is known."""
        return sorted(self._known)

    def place(self, device: str) -> str | None:
        """The location that was said of the device last."""
        return self._place.get(device)

    def said_here(self, device: str) -> bool:
        """Whether something was said of the device as it happened, by the clock of who logged it, since the horizon."""
        return device in self._said_here

    def emptied(self, device: str) -> int:
        """When whoever was at the device was last said to be there no more, whoever that was (UTC ms)."""
        return self._emptied.get(device, -NEVER)

    def ended_by(self, device: str, subject: bytes, at: int, *reasons: str) -> bool:
        """Whether the first end that is known of a begin at that time was told for one of these reasons."""
        end = min((each for each in self.ends(device, subject) if each >= at), default=NEVER)
        return any(why in reasons for why, _ in self._why[device].get((subject, end), ()))

    def knows(self, device: str) -> bool:
        """Whether anything is known of the device."""
        return device in self._known

    def of(self, device: str) -> Sequence[Interval]:
        """The device's intervals, by their begin. Those that never held are left out."""
        found = self._known.get(device, [])
        if found is None:
            vacated = sorted(self._vacated.get(device, ()))
            found = sorted(
                (
                    interval
                    for subject, begins in self._begins[device].items()
                    for interval in self._intervals(device, subject, begins, vacated)
                ),
                key=lambda each: (each.begin, each.end, each.subject),
            )
            self._known[device] = found
            self._stays[device] = defaultdict(list)
            for each in found:
                self._stays[device][each.subject].append(each)
        return found

    def stays(self, device: str, subject: bytes) -> Sequence[Interval]:
        """One subject's intervals on the device, by their begin."""
        self.of(device)
        return self._stays.get(device, {}).get(subject, ())

    def _intervals(
        self, device: str, subject: bytes, begins: Sequence[_Begin], vacated: Sequence[tuple[int, int]]
    ) -> Iterable[Interval]:
        ends = sorted(self._ends.get(device, {}).get(subject, ()))
        for begin in begins:
            end = min(_first_after(ends, begin), _first_after(vacated, begin))
            if end > begin.at:
                reason, place = begin.entry.reason, begin.entry.location
                why = self._why[device].get((subject, end), ())
                yield Interval(
                    device,
                    subject,
                    begin.at,
                    end,
                    begin.noted,
                    manual=reason == "manual",
                    location=place,
                    merged=reason == "merge",
                    tabled=reason == "replaced",
                    assigned=reason == "manual" and end <= begin.noted and (reason, begin.entry.raw) in why,
                )

    def ends(self, device: str, subject: bytes) -> list[int]:
        """The times at which the subject's association with the device is known to have ended."""
        found = (*self._ends.get(device, {}).get(subject, ()), *self._vacated.get(device, ()))
        return sorted(at for at, _ in found)


def _first_after(ends: Sequence[tuple[int, int]], begin: _Begin) -> int:
    """The first of these ends that is one of this begin; at the same time it has to be logged after it."""
    after = bisect_right(ends, (begin.at, begin.order))
    return ends[after][0] if after < len(ends) else NEVER


# --- who a reading belongs to ------------------------------------------------------------------------------------

Window = tuple[int, int]


def claimed(reading: Measured, margins: Margins) -> Window | None:
    """When a synchronised device says that it measured; None for any other.

    A time to come is believed only where the box's clock was never set.
    """
    claim, received = reading.device_time, reading.time
    assert received is not None  # a reading that was received
    if claim is None or reading.device_sync not in SYNCHRONISED:
        return None
    if received >= FORMAT_BEGAN and claim > received + margins.bound:
        return None
    return claim - margins.bound, claim + margins.bound


def window(reading: Measured, stamp: int | None, margins: Margins) -> Window | None:
    """When the reading may have been measured, first and last; None where that is not known.

    `stamp` is the time that the message itself gives, for a device that gives none.
    """
    if (known := claimed(reading, margins)) is not None:
        return known
    received, claim = reading.time, reading.device_time
    assert received is not None  # a reading that was received
    told = stamp if claim is None else claim
    if told is None or abs(received - told) > margins.delay:
        return None
    return received - margins.delay, max(received, told)  # a time to come may be right, and ours wrong


def owner(intervals: Sequence[Interval], span: Window | None) -> Interval | str:
    """The interval that covers the whole window, or the reason why none does."""
    if span is None:
        return "uncertain" if intervals else "unassociated"
    first, last = span
    near = [each for each in intervals if each.begin <= last and first < each.end]
    if not near:
        return "after-discharge" if any(each.end <= first for each in intervals) else "unassociated"
    covered = first
    for each in near:
        covered = max(covered, each.end) if each.begin <= covered else covered
    if len({each.subject for each in near}) > 1 or covered <= last:
        return "uncertain"
    return near[-1]


DEFAULT_MARGINS: Final = Margins()


def standing(
    reading: Measured, known: Associations, margins: Margins = DEFAULT_MARGINS
) -> tuple[bytes | None, str | None]:
    """Whose a logged reading is by all that is known now, or the reason why it is nobody's.

    What was given to a subject stands as long as no end has come to be known that lies before it. What is in
    quarantine is whose a person says.
    """
    if reading.time is None or not known.knows(reading.device):
        return reading.subject, reading.quarantine
    point = instant(reading)
    if reading.quarantine is not None:
        given = {
            each.subject
            for each in known.of(reading.device)
            if each.assigned and each.holds(point) and reading.time <= each.noted
        }
        return (given.pop(), None) if len(given) == 1 else (None, reading.quarantine)
    if reading.subject is None or (reading.time < FORMAT_BEGAN and claimed(reading, margins) is None):
        return reading.subject, reading.quarantine
    span = window(reading, reading.time, margins) or (point, point)
    found = owner(known.stays(reading.device, reading.subject), span)
    return (None, found) if isinstance(found, str) else (reading.subject, None)


def instant(reading: Measured) -> int:
    """The one time by which people look for a reading: the device's where it is synchronised, else of its receipt."""
    assert reading.time is not None  # a reading that was received
    synchronised = reading.device_time is not None and reading.device_sync in SYNCHRONISED
    return reading.device_time if synchronised and reading.device_time is not None else reading.time
