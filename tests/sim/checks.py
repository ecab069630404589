"""The invariants of a simulated run. Those of every event look only at what the event may have changed.

- *nothing forged accepted*: the head that a feed gets is a block that its author made. It commits to all before it.
- *nothing acknowledged lost*: what a replica held durably it holds again after every crash, unless a fork or a
  revocation took it out of what stands; and in the end each own block that `append` returned is there, standing or
  disputed.
- *no honest node accused*: only guilty keys have fork proofs.
- *memory bounded*: what a node remembers stays within the limits of `medledger.limits`.
- *recovery ends*: in the end no key that may sign still waits for blocks of its own that are here.

`no self-fork` and `no signing unless ready` are checked where blocks are signed and let out (`truth`, `machine`).
"""

from __future__ import annotations

from hashlib import sha256

from medledger.header import Head
from medledger.importing import Advance
from medledger.limits import BAD_BLOCKS, LIVE_FRAMES, RECENT_ROOTS, SEEN_FRAMES
from medledger.sync import Node

from .census import census
from .machine import Machine, WatchedLedger
from .truth import Failure, Truth

CENSUS_EVERY = 256  # events of one machine

MOST = RECENT_ROOTS + 1
"""Things in any one container of a node, but for those below. What could be more by the limits, such as peers and what
they show, is less in these worlds: there are few feeds, and boots are soon forgotten."""

MORE = {
    "_seen._values": SEEN_FRAMES,
    ".published": SEEN_FRAMES,
    "_bad._values": BAD_BLOCKS,
    "_live._frames": LIVE_FRAMES,
}
"""The containers that are larger, by how the path to them ends."""


class Checks:
    """The invariants of one run."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._durable: dict[int, dict[bytes, Head]] = {}  # by machine: the heads that it has had
        self._events: dict[int, int] = {}
        self._forks: dict[int, int] = {}
        self.largest: dict[str, int] = {}  # what a node remembered at most, by where

    def watch(self, machine: Machine) -> None:
        """Hold this machine to the invariants."""
        self._durable[machine.number] = {}
        self._events[machine.number] = 0
        self._forks[machine.number] = 0
        machine.on_life = self.after_start
        machine.on_advance = self.after_advance
        machine.on_event = self.after_event

    def forget(self, machine: Machine, acknowledged: int) -> None:
        """Somebody put its disk back to when it had acknowledged so many blocks: it owes no more."""
        self._durable[machine.number] = {}
        del machine.acknowledged[acknowledged:]

    # --- after events -------------------------------------------------------------------------------------------

    def after_advance(self, machine: Machine, advance: Advance) -> None:
        """A feed has grown."""
        ledger = _ledger(machine)
        head = ledger.head(advance.feed)
        if head is None:
            return  # what came was at once taken away by a fork that came with it
        if self._truth.made.get(head.id) != (advance.feed, head.seq):
            raise Failure("nothing forged accepted", f"{machine.name} holds {head.id.hex()[:8]} at {head.seq}")
        durable = self._durable[machine.number]
        before = durable.get(advance.feed)
        if before is not None and advance.first > before.seq + 1:
            raise Failure("feeds have no gaps", f"{machine.name}: from {before.seq} to {advance.first}")
        durable[advance.feed] = head

    def after_event(self, machine: Machine) -> None:
        """A node has handled an event."""
        ledger, node, number = _ledger(machine), machine.node, machine.number
        forks = ledger.forks
        if len(forks) != self._forks[number]:
            self._forks[number] = len(forks)
            for feed in forks:
                if feed not in self._truth.guilty:
                    raise Failure("no honest node accused", f"{machine.name} holds a proof against {feed.hex()[:8]}")
        self._events[number] += 1
        if self._events[number] % CENSUS_EVERY == 0 and node is not None:
            self._count(machine, node)

    def _count(self, machine: Machine, node: Node) -> None:
        for place, size in census(node).items():
            if size > self.largest.get(place, 0):
                self.largest[place] = size
            if size > MOST and size > next((most for end, most in MORE.items() if place.endswith(end)), 0):
                raise Failure("memory bounded", f"{machine.name} remembers {size} things in {place}")

    def after_start(self, machine: Machine) -> None:
        """A program has opened its ledger."""
        ledger = _ledger(machine)
        self._forks[machine.number] = -1
        durable = self._durable[machine.number]
        heads = {feed: ledger.head(feed) for feed in ledger.store.feeds}
        for feed, head in durable.items():
            now = heads.get(feed)
            if now is not None and now.seq >= head.seq:
                block = ledger.block(feed, head.seq)
                if block is None or block.id != head.id:
                    raise Failure("nothing acknowledged lost", f"{machine.name} has another block at {head.seq}")
            elif ledger.limit(feed).length > head.seq:
                length = 0 if now is None else now.seq + 1
                raise Failure(
                    "nothing acknowledged lost",
                    f"{machine.name} had {head.seq + 1} blocks of {feed.hex()[:8]}, and has {length}",
                )
        # A commit that was cut short, or that failed, may yet be on the disk: nobody was told, and it counts from now.
        durable.update((feed, head) for feed, head in heads.items() if head is not None)

    # --- in the end ---------------------------------------------------------------------------------------------

    def in_the_end(self, machine: Machine) -> None:
        """Every byte verifies, every block was made by its author, and no acknowledged one is missing."""
        ledger = _ledger(machine)
        made = self._truth.made
        held: set[bytes] = set()
        for feed in ledger.store.feeds.values():
            for row in ledger.store.rows(feed):
                block_id = sha256(row.header).digest()
                if made.get(block_id) != (feed.author, row.seq):
                    raise Failure("nothing forged accepted", f"{machine.name} holds {block_id.hex()[:8]} at {row.seq}")
                held.add(block_id)
        for each in ledger.disputed():
            if made.get(each.id) != (each.feed, each.seq):
                raise Failure("nothing forged accepted", f"{machine.name} keeps {each.id.hex()[:8]}")
            held.add(each.id)
        for seq, block_id in machine.acknowledged:
            if block_id not in held:
                raise Failure("nothing acknowledged lost", f"{machine.name} lacks its own block {seq}")
        for feed in ledger.forks:
            if feed not in self._truth.guilty:
                raise Failure("no honest node accused", f"{machine.name} holds a proof against {feed.hex()[:8]}")
        ledger.fsck()


def _ledger(machine: Machine) -> WatchedLedger:
    assert machine.ledger is not None  # checks follow what a running program did
    return machine.ledger
