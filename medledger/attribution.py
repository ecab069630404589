"""Attribution: whose each logged reading is, by all that its author has told since.

An agent logs a reading under whoever is associated with its device, as far as it knows then. A discharge that is told
late ends that before readings that stand already, and a person may assign what is in quarantine. Nothing is written
again: whoever reads the readings of a subject asks here. An author's readings are judged by that author's associations.

- A `reading` is judged by `associations.standing` with no margins: how careful an agent was with times is its own
  affair, and only what cannot be is taken back.
- A `device.batch` may have waited in its device, and its entry does not say for how long. It was measured *at the
  latest* so long before its receipt as its uptimes tell. Where all of that is before the subject came to the device,
  it is not theirs (`unassociated`). Where the stay had ended before that, by what was told after the batch was logged,
  it is `uncertain` on which side of the end it was measured, also where the subject has come back to the device since;
  what was told before, its agent took into account.
- About a device of which its author told nothing, and at a time at which its clock had not been set, the entry's own
  word stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import accumulate
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

from .associations import NEVER, Associations, Margins, standing
from .clock import FORMAT_BEGAN
from .devices import DeviceBatch
from .records import Association, Reading

if TYPE_CHECKING:
    from .indexing import LoggedEntry
    from .replica import Replica

EXACT: Final = Margins(bound=0, delay=0)
TYPES: Final = (Reading.TYPE, DeviceBatch.TYPE)
"""The entry types that are somebody's readings."""

Position = tuple[int, int]
"""Where an entry stands in its author's feed: seq, and index in the block."""

Verdict = tuple[bytes | None, str | None]
"""The subject whose it is; or None, and why it is nobody's."""


class Entry(Protocol):
    """What is read of an entry."""

    @property
    def type(self) -> str: ...
    @property
    def time(self) -> int: ...
    @property
    def subject(self) -> bytes | None: ...
    @property
    def content(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Measured:
    """A reading that counts, without its samples: it conforms to its schema, and there may be millions."""

    device: str
    device_time: int | None
    device_sync: int | None
    quarantine: str | None
    subject: bytes | None
    time: int


class Attribution:
    """One author's associations, in the order of its feed, and whose its readings are by them."""

    def __init__(self, told: Iterable[tuple[Position, Entry]]) -> None:
        self._known = Associations()
        self._ends: dict[tuple[str, bytes | None], list[tuple[Position, int]]] = defaultdict(list)
        for place, entry in sorted(told, key=lambda each: each[0]):
            association = Association.from_content(entry.content, subject=entry.subject, time=entry.time)
            self._known.apply(association)
            if association.action == "end":
                at = entry.time if association.at is None else association.at
                self._ends[association.device, entry.subject].append((place, at))
        for ends in self._ends.values():  # the earliest of those that were told at a place or after it
            ends[:] = reversed(list(accumulate(reversed(ends), lambda later, each: (each[0], min(later[1], each[1])))))

    def whose(self, place: Position, entry: Entry) -> Verdict:
        """Whose a reading or a batch is that stands there."""
        if entry.type == Reading.TYPE:
            content = entry.content
            reading = _Measured(
                content["device"],
                content.get("device_time"),
                content.get("device_sync"),
                content.get("quarantine"),
                entry.subject,
                entry.time,
            )
            return standing(reading, self._known, EXACT)
        return self._of_batch(place, entry)

    def _of_batch(self, place: Position, entry: Entry) -> Verdict:
        subject, content = entry.subject, entry.content
        device = content["device"]
        if subject is None or entry.time < FORMAT_BEGAN or not self._known.knows(device):
            return subject, None
        first, last = (entry.time - content["uptime"] + content["readings"][at][0] for at in (0, -1))
        stays = self._known.stays(device, subject)
        if not any(each.begin <= first for each in stays):
            return None, "unassociated"
        if self._end_told_after(place, device, subject) > last:
            return subject, None
        return None, "uncertain"

    def _end_told_after(self, place: Position, device: str, subject: bytes) -> int:
        """The earliest end of the subject's time on the device that was told after that place; NEVER without one."""
        found = NEVER
        for ends in (self._ends.get((device, subject), ()), self._ends.get((device, None), ())):
            after = bisect_right(ends, place, key=itemgetter(0))
            found = min(found, ends[after][1]) if after < len(ends) else found
        return found


@dataclass(frozen=True, slots=True)
class Attributed:
    """A logged reading or batch, and whose it is: `subject`, or None and the `reason` why it is nobody's."""

    entry: LoggedEntry
    subject: bytes | None
    reason: str | None


def attributed(
    replica: Replica, *, device: str | None = None, since: int | None = None, until: int | None = None
) -> Iterator[Attributed]:
    """Every reading and signed batch that counts, by time, and whose it is by all that this replica holds.

    `since` and `until` are UTC ms of the entries. Sync first: what has not arrived takes nothing back.
    """
    told: dict[bytes, list[tuple[Position, LoggedEntry]]] = defaultdict(list)
    for entry in replica.entries(Association.TYPE):
        told[entry.author].append(((entry.seq, entry.index), entry))
    by_author = {author: Attribution(entries) for author, entries in told.items()}
    nothing = Attribution(())
    streams = (replica.entries(name, since=since, until=until) for name in TYPES)
    for entry in merge(*streams, key=attrgetter("time")):
        if device is None or entry.content["device"] == device:
            known = by_author.get(entry.author, nothing)
            yield Attributed(entry, *known.whose((entry.seq, entry.index), entry))
