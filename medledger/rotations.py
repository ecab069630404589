"""Transport keys on the ledger: which of those that governors hand out count, and which one is in use.

A governor hands a key to members by `gov.transport` entries in its own feed, alone: generation, the key's name, and for
each member a copy sealed to it. Several entries of one generation and name are one *rotation*. Rules:

 (1) An entry counts when it names an effective epoch that its author governs, stands within every closing of the author
     after that epoch (as approvals of an enrolment do, docs/adr/0013), and stands as far as cuts on the author's feed
     go. So neither a governor that left nor the thief of a revoked one's key hands out keys. On which branch of a
     forked feed it stands does not matter.
 (2) Whoever was ever sent a copy of a key, or handed it out, by entries that count, *holds* it. A rotation that a
     revoked key holds is *leaked*.
 (3) In use is the rotation that is not leaked before those that are, then the one of the highest generation, then the
     one with the smallest name. So a key that was handed out by somebody who had not heard of a revocation never
     displaces the one that the revocation brought, and a revoked governor's never stays, whatever number it chose.
 (4) Where nothing counts, the key that founding and join replies brought is in use, as generation 0.

It is a function of the set of entries and of the membership, so it is the same for every order of arrival. What does
not count is listed all the same, last: members may have taken such a key for the one in use while they had not heard of
the cut, and must be understood when they come back with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from medledger.ballot import Ballot, Handing
from medledger.decisions import IsAncestor
from medledger.governance import Point
from medledger.limits import MAX_INT
from medledger.lineage import Lineage

Stands: TypeAlias = Callable[[bytes, Point], bool]


@dataclass(frozen=True, slots=True)
class Rotation:
    """One key of one generation. `handings` count, `strays` do not; `leaked` are the revoked keys that hold it."""

    generation: int
    key: bytes
    handings: tuple[Handing, ...]
    strays: tuple[Handing, ...]
    leaked: tuple[bytes, ...]

    @property
    def counts(self) -> bool:
        """Whether a governor handed this out that might."""
        return bool(self.handings)

    def reaches(self, feed: bytes) -> bool:
        """Whether a copy was sent to this member."""
        return any(feed in handing.boxes for handing in self.handings)

    def boxes(self, feed: bytes) -> Iterator[bytes]:
        """The copies that were sent to this member."""
        return (handing.boxes[feed] for handing in (*self.handings, *self.strays) if feed in handing.boxes)


@dataclass(frozen=True, slots=True)
class Rotations:
    """All of them, the one in use last. `founding_leaked` are the revoked keys: a reply brought them generation 0."""

    ranked: tuple[Rotation, ...] = ()
    founding_leaked: tuple[bytes, ...] = ()

    @property
    def current(self) -> Rotation | None:
        """The one in use; None for the key that founding and replies brought."""
        return self.ranked[-1] if self.ranked and self.ranked[-1].counts else None

    @property
    def leaked(self) -> tuple[bytes, ...]:
        """The revoked keys that hold the key in use."""
        return self.founding_leaked if self.current is None else self.current.leaked

    @property
    def next_generation(self) -> int | None:
        """The number for a new rotation; None where a governor has used up the numbers, and must be revoked first.

        A revoked governor's numbers are passed over: its rotations come after all that are not leaked.
        """
        authors = ({handing.place.feed for handing in each.handings} for each in self.ranked)
        honest = [
            each.generation for each, by in zip(self.ranked, authors, strict=True) if by and by.isdisjoint(each.leaked)
        ]
        highest = max(honest, default=0)
        return highest + 1 if highest < MAX_INT else None


def rotations(
    ballot: Ballot, lineage: Lineage, revoked: Collection[bytes], stands: Stands, is_ancestor: IsAncestor
) -> Rotations:
    """The rotations that electors' feeds hold. `stands` says whether a point lies within all cuts on its feed."""
    counted: dict[tuple[int, bytes], list[Handing]] = {}
    strays: dict[tuple[int, bytes], list[Handing]] = {}
    for elector in sorted(lineage.governors):
        for handing in ballot.sheet(elector).handings:
            into = counted if _counts(handing, lineage, stands, is_ancestor) else strays
            into.setdefault((handing.generation, handing.key), []).append(handing)
    leaks: dict[bytes, set[bytes]] = {}  # by the key's name: under which number it was handed out does not matter
    for (_, key), handings in counted.items():
        leaks.setdefault(key, set()).update(_leaked(handings, revoked))
    found = [
        Rotation(
            generation,
            key,
            tuple(sorted(counted.get((generation, key), ()), key=_place)),
            tuple(sorted(strays.get((generation, key), ()), key=_place)),
            tuple(sorted(leaks.get(key, ()))),
        )
        for generation, key in counted.keys() | strays.keys()
    ]
    found.sort(key=lambda each: each.key, reverse=True)
    found.sort(key=lambda each: (each.counts, not each.leaked, each.generation))
    return Rotations(tuple(found), tuple(sorted(revoked)))


def _counts(handing: Handing, lineage: Lineage, stands: Stands, is_ancestor: IsAncestor) -> bool:  # (1)
    feed, seq, block_id, _ = handing.place
    point = Point(seq, block_id)
    if handing.epoch >= len(lineage.chain) or feed not in lineage.chain[handing.epoch].governors:
        return False
    closings = lineage.closings[lineage.chain[handing.epoch].id][feed]
    return stands(feed, point) and all(
        end is None or (seq <= end.seq and is_ancestor(feed, point, end)) for end in closings
    )


def _leaked(handings: Iterable[Handing], revoked: Collection[bytes]) -> Iterator[bytes]:  # (2)
    for handing in handings:
        yield from (feed for feed in revoked if feed in handing.boxes or feed == handing.place.feed)


def _place(handing: Handing) -> tuple[bytes, int, bytes, int]:
    return handing.place
