"""What a fold over entries is given, and what it finds.

Rules:

- A finding is about what was recorded, never about what is right: it names facts that do not fit together, and the
  entries that show it. Whoever has the replica can look each of them up, and show it to somebody else with its block.
- A fold is a pure function of a set of entries: the order in which blocks arrived changes nothing. Where an order is
  needed, it is the position in a feed, which its author signed. Times are their authors' claims; where a fold has to
  use them, its finding says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from medledger.header import Clock
from medledger.membership import Membership


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an entry stands: the block that proves it, and its index in there."""

    feed: bytes
    seq: int
    index: int
    block_id: bytes


@dataclass(frozen=True, slots=True)
class Observed:
    """An entry that counts, as a fold sees it.

    `time` is what the entry is about, `made` when its block was signed, both UTC ms and the author's claims; `clock` is
    the block's, which within one boot measures what passed. `epoch` is the block's, by whose policy it was judged;
    `leaf` is the entry's leaf hash, by which other entries name it.
    """

    place: Place
    type: str
    time: int
    subject: bytes | None
    content: Any
    made: int
    clock: Clock
    epoch: int = 0
    leaf: bytes = b""


@dataclass(frozen=True, slots=True)
class Context:
    """What the entries are judged by.

    `now` (UTC ms) is the reader's clock, None where it shall not count. `ended` are the feeds that were revoked or
    forked: what their authors say since then does not count.
    """

    ledger_id: bytes
    membership: Membership
    now: int | None = None
    ended: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an auditor has to know. `facts` are plain data: texts, numbers, bytes and lists of them."""

    kind: str
    sentence: str
    places: tuple[Place, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fold:
    """A question to the ledger: the entry types it is about, and what finds the answer.

    Without an entry of a type in `needs` there is nothing to find, and nothing is read. `types` None stands for all
    data of those feeds that have such an entry. `keep` gives, for a type and a content, what of the content is looked
    at: there may be millions of readings, and memory holds all that a fold asks for.
    """

    name: str
    needs: tuple[str, ...]
    types: frozenset[str] | None
    find: Callable[[Sequence[Observed], Context], Iterable[Finding]]
    keep: Callable[[str, Any], Any] | None = None


def by_position(entries: Iterable[Observed]) -> list[Observed]:
    """Entries in the order of their feeds, and in each of their position."""
    return sorted(entries, key=_position)


def only(content: Any, *names: str) -> Any:
    """These fields of a content, those that it has."""
    return {name: content[name] for name in names if name in content} if isinstance(content, dict) else None


def about(content: Any) -> Mapping[str, str] | None:
    """The device that a content is about, and nothing else of it; None where it names none."""
    device = content.get("device") if isinstance(content, dict) else None
    return _about(device) if isinstance(device, str) else None


@lru_cache(maxsize=4096)
def _about(device: str) -> Mapping[str, str]:
    """One and the same for all entries about a device."""
    return {"device": device}


def _position(entry: Observed) -> tuple[bytes, int, int]:
    place = entry.place
    return place.feed, place.seq, place.index
