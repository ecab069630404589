"""What this pharmacy's replica says of prescriptions, packs and stock, kept up with the ledger.

- `catch_up` reads what came since: each block once, and after a start only what came since the register (register.py)
  was written last. It may be stopped at any part (reading.py) and goes on there, also after a kill -9. Until it has
  come to the end, `behind` says how far it is: while that is `reading`, nothing that is asked here is to be relied on,
  and afterwards nothing but conflicts. `book` is the supply book of what is asked about, and of nothing else.
- What was read stays right as more comes, but for what makes the register empty, to be read anew as a whole: epochs
  that went another way, and of a feed with entries in it other blocks than were read (a fork, a cut, an older disk),
  other rights, or entries that were hidden and are not, or the other way round.
- What other pharmacies did while they were cut off is here when their blocks are, and not before: `as_of` says how old
  the newest of them is.
- A conflict (conflicts.py) is a finding about a prescription or a pack that this pharmacy supplied and another one,
  too. It is kept in the register, and judged again when something about it came, or the members changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from medledger import cbor
from medledger.block import Block
from medledger.findings import Context, Finding, Observed
from medledger.findings.shelf import Shelf, move_of
from medledger.findings.supply_book import COUNTS, SupplyBook, bound_by
from medledger.header import Head
from medledger.ledger import Ledger

from .conflicts import Judge, is_about_us, subjects_of
from .keys import Subject, inspection, key_of, keys_of, subject_of
from .reading import (
    ENTRY,
    Hole,
    Part,
    State,
    entries_of,
    epochs_of,
    members_of,
    observed,
    parts,
    parts_by_index,
    rights_of,
)
from .register import Found, Read, Register

MANY_BLOCKS: Final = 5_000
"""Where more of a feed is to be read, or all is read anew, it is read by the ledger's index."""
COMMIT_ENTRIES: Final = 5_000
"""So many entries, or as much work, are read before the register is committed: a kill costs no more than that."""
_JUDGED: Final = 64
"""How many subjects are taken out of the register together."""

Enough = Callable[[int], bool]
"""Told what something has cost (reading.py), again and again: whether that is to be all for now."""


class Budget:
    """Enough when so much is spent. Work and not time: what is answered must not depend on how busy a box is."""

    def __init__(self, units: int) -> None:
        self._left = units

    def __call__(self, cost: int) -> bool:
        self._left -= cost
        return self._left <= 0


class Behind(NamedTuple):
    """What is still to be done: whether anything is to be read, with `read` of `blocks`; and how much to be judged."""

    reading: bool
    read: int
    blocks: int
    doubtful: int


class View:
    """What one ledger says, with a register in the file at `path`. For one thread at a time."""

    def __init__(self, ledger: Ledger, path: Path) -> None:
        self._ledger = ledger
        self._path = path
        self._opened: Register | None = None
        self._state: State | None = None  # what was read, to its end
        self._uncommitted = 0  # what was read since the register was committed, by its cost
        self.as_of: int | None = None
        self.behind: Behind | None = None

    def close(self) -> None:
        """Close the register."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def me(self) -> bytes:
        """This pharmacy's feed."""
        assert self._ledger.me is not None  # an agent opens its ledger with a key
        return self._ledger.me

    @property
    def context(self) -> Context:
        """What findings are judged by."""
        return Context(self._ledger.id, self._ledger.membership)

    @property
    def register(self) -> Register:
        """Where things stand."""
        if self._opened is None:
            self._opened = Register(self._path, self._ledger.id, self.me)
        return self._opened

    # --- asking -----------------------------------------------------------------------------------------------------

    def book(self, *subjects: Subject) -> SupplyBook:
        """All that is known about these subjects. It is no account of schedules and shelves: those are asked here."""
        book = SupplyBook(self._ledger.membership)
        for entry in self.at(self.register.find(*map(key_of, subjects))):
            book.add(entry)
        leaves = {issue.entry.leaf for issue in book.issues()}
        for entry in self.at(self.register.find(*(("issue", leaf) for leaf in leaves))):
            book.add(entry)
        return book

    def at(self, places: Iterable[Found]) -> Iterator[Observed]:
        """The entries that stand there."""
        block: Block | None = None
        for feed, seq, index in places:
            if block is None or (block.author, block.seq) != (feed, seq):  # many may stand in one
                block = self._ledger.block(feed, seq)
            raw = block.body[index] if block is not None and index < len(block.body) else None
            if block is not None and isinstance(raw, bytes):  # else taken away meanwhile: the next look sees to it
                yield observed(block, index, raw)

    def shelf(self, product: str, unit: str) -> Shelf:
        """What this pharmacy has of a product."""
        return self.register.shelves(product).get((product, unit)) or Shelf()

    def shelves(self, product: str | None = None) -> dict[tuple[str, str], Shelf]:
        """All its stock, or that of one product, by product and unit."""
        return self.register.shelves(product)

    def schedule(self, product: str) -> str | None:
        """As what a product is controlled, by anybody's word; None where nobody said so."""
        return self.register.schedule(product)

    def logged(self, raw: bytes, block: int | None = None) -> Observed | None:
        """The first entry of ours, in that block, that a request was logged as."""
        found = self.book(("raw", raw)).by_raw.get((self.me, raw), ())
        return next((each for each in found if block is None or each.place.seq == block), None)

    def inspected(self, content: Any) -> bool:
        """Whether an alert like this one was logged by us already."""
        return self.register.holds(inspection(content))

    def conflicts(self, many: int | None = None) -> Iterator[Finding]:
        """What does not fit between this pharmacy's supplies and what others wrote, about so many subjects at most."""
        return self.register.conflicts(many)

    def count_conflicts(self) -> int:
        """How many they are."""
        return self.register.count_conflicts()

    # --- reading ----------------------------------------------------------------------------------------------------

    def catch_up(self, enough: Enough = lambda _cost: False, *, judge: bool = True) -> list[Finding]:
        """Read what came since the last time, and judge it; the conflicts that are new."""
        if self._opened is not None and self._opened.damaged:
            self.close()
            self._state = None
        state, before = State.of(self._ledger), self._state
        if before is not None and state.is_like(before):
            return []
        self._state = None
        new: list[Finding] = []
        with self.register.transaction():
            read = self._read(state, before, enough)
            if read and judge:
                new = self._judge(enough)
            left = self.register.doubts()
            self.behind = None if read and not left else Behind(not read, *self._how_far(state), left)
            if not read and self._uncommitted < COMMIT_ENTRIES * ENTRY:
                self.register.postpone()
            else:
                self._uncommitted = 0
        self._state = state if self.behind is None else None
        return new

    def _read(self, state: State, before: State | None, enough: Enough) -> bool:
        """Go on reading, and note how far that came; whether all is read."""
        register = self.register
        changed = self._changed(state, before)
        found = self._still_right(state, changed)
        if found is None:
            register.clear()
            found, changed = ({}, {}), self._changed(state, None)
        upto, again = found
        self._doubt_what_is_told_otherwise(state)
        remaking = register.noted("remaking") is not None
        reached = {feed: upto[feed].seq if feed in upto else -1 for feed in changed}
        done = True
        for part in self._parts(state, reached, sorted(again), by_index=remaking):
            self._take(part, remaking=remaking)
            self._uncommitted += part.cost
            if (part.feed, part.upto) in again:
                del again[part.feed, part.upto]
            else:
                reached[part.feed] = max(part.upto, reached[part.feed])
            if part.cost and enough(part.cost):
                done = False
                break
        self._note(state, upto, reached, {**state.holes, **again})
        if done and remaking:
            register.forget("remaking")
        return done

    def _changed(self, state: State, before: State | None) -> list[bytes]:
        """The feeds of which something may have changed, ours first: what somebody copied is still its writer's."""
        known = before.heads if before is not None and state.membership is before.membership else {}
        changed = [feed for feed, head in state.heads.items() if known.get(feed) != head]
        return sorted(changed, key=lambda feed: (feed != self.me, feed))

    def _still_right(self, state: State, changed: list[bytes]) -> tuple[dict[bytes, Read], dict[Hole, int]] | None:
        """How far each feed was read, and which blocks are to be read again, each with the size that was known of it;
        None where all is.
        """
        register = self.register
        epochs = _plain(register.noted("epochs"))
        if epochs is None or epochs_of(state.membership)[: len(epochs)] != epochs:
            return None
        upto = register.feeds()
        for feed in {*changed, *(upto.keys() - state.heads.keys())} & upto.keys():
            read, rights = upto[feed], rights_of(state.membership, feed)
            if not self._stands(feed, read, state.heads.get(feed)) or read.rights != rights:
                if read.used:
                    return None
                upto[feed] = Read(-1, b"", rights, False)  # nothing of it is here: it is read from its begin
                register.read_on(feed, -1, b"", rights)
        before, now = _holes(register.noted("holes")), state.holes
        behind = [hole for hole in sorted(before.keys() | now.keys()) if before.get(hole) != now.get(hole)]
        behind = [(feed, seq) for feed, seq in behind if feed in upto and seq <= upto[feed].seq]
        hidden = {hole for hole in behind if hole in now and now[hole] < before.get(hole, now[hole] + 1)}
        if any(upto[hole[0]].used and (hole[0] == self.me or hole in hidden) for hole in behind):
            return None
        return upto, {hole: before.get(hole, 0) for hole in behind if hole not in hidden}

    def _stands(self, feed: bytes, read: Read, head: Head | None) -> bool:
        """Whether a feed still has the block up to which it was read."""
        if read.seq < 0:
            return True
        if head is None or head.seq <= read.seq:
            return head is not None and (head.seq, head.id) == (read.seq, read.id)
        block = self._ledger.block(feed, read.seq)
        return block is not None and block.id == read.id

    def _parts(self, state: State, reached: dict[bytes, int], again: list[Hole], *, by_index: bool) -> Iterator[Part]:
        """What is to be read: the blocks of which entries came, and what is behind what was reached in each feed."""
        for feed, seq in again:
            for block in self._ledger.blocks(feed, seq, seq + 1):
                found = entries_of(self._ledger, state.membership, block) or ()
                yield Part(feed, seq, found, 1 + ENTRY * len(found))
        for feed in list(reached):
            start, stop = reached[feed] + 1, state.heads[feed].seq + 1
            read = parts_by_index if by_index or stop - start > MANY_BLOCKS else parts
            yield from read(self._ledger, state.membership, feed, start, stop)

    def _take(self, part: Part, *, remaking: bool) -> None:
        """Put the entries of a part into the register, and what they are about among what is to be judged."""
        for entry in part.entries:
            if entry.type == "recall" and bound_by(entry, self._ledger.membership) not in (None, self.me):
                continue  # it stops another pharmacy, and must not cost this one anything
            if self.register.add(entry.place, keys_of(entry, ours=entry.place.feed == self.me)):
                self._count(entry)
                if not remaking or is_about_us(self, entry):
                    self.register.doubt(list(subjects_of(self, entry)))

    def _count(self, entry: Observed) -> None:
        """What an entry does to this pharmacy's shelves, and what it says of a schedule."""
        register, content = self.register, entry.content
        ours = entry.place.feed == self.me
        if "schedule" in content and "product" in content:
            register.add_schedule(content["product"], content["schedule"])
        if entry.type == "stock" and ours:
            register.move(content["product"], content["unit"], move_of(entry))
        elif entry.type == "dispense.return" and ours:
            supply = next(self.at(register.first(("leaf", content["issue"]))), None)  # of all that are alike, ours
            if supply is not None and _is_supply(supply) and (content["action"] != "undo" or self._is_ours(supply)):
                register.move(supply.content["product"], supply.content["unit"], move_of(entry))
        elif _is_supply(entry):
            if ours:
                register.move(content["product"], content["unit"], move_of(entry))
            for back in self._begun_by(entry):  # what comes back lies where it was brought to
                register.move(content["product"], content["unit"], move_of(back))

    def _begun_by(self, supply: Observed) -> list[Observed]:
        """Our returns that count from this supply on, and did not before. They are read for the first of all that are
        alike, and for our first: what others copied after it begins nothing.
        """
        register, name = self.register, ("leaf", supply.leaf)
        if not register.holds(("issue", supply.leaf), ours=True):
            return []
        if register.holds(name, besides=supply.place, ours=self._is_ours(supply)):
            return []
        begun = self.book(("supply", supply.leaf)).account(supply.leaf).begun_by(supply)
        return [back for back in begun if self._is_ours(back)]

    def _is_ours(self, entry: Observed) -> bool:
        return entry.place.feed == self.me

    def _note(self, state: State, upto: dict[bytes, Read], reached: dict[bytes, int], holes: dict[Hole, int]) -> None:
        """How far it was read."""
        register = self.register
        known = _plain(register.noted("as_of"))
        times = [] if known is None else [known]
        for feed, last in reached.items():
            read, rights = upto.get(feed), rights_of(state.membership, feed)
            if read is None or (read.seq, read.rights) != (last, rights):
                block = self._ledger.block(feed, last) if last >= 0 else None
                register.read_on(feed, last, b"" if block is None else block.id, rights)
                if block is not None and feed != self.me and (read is None or read.seq < last):
                    times.append(block.header.time)
        self.as_of = max(times, default=None)
        sizes = [[*hole, size] for hole, size in sorted(holes.items())]
        for name, value in (("epochs", epochs_of(state.membership)), ("holes", sizes), ("as_of", self.as_of)):
            register.note(name, cbor.encode(value))

    def _how_far(self, state: State) -> tuple[int, int]:
        read = self.register.feeds()
        blocks = sum(head.seq + 1 for head in state.heads.values())
        done = sum(min(read[feed].seq, head.seq) + 1 for feed, head in state.heads.items() if feed in read)
        return done, blocks

    # --- judging ----------------------------------------------------------------------------------------------------

    def _doubt_what_is_told_otherwise(self, state: State) -> None:
        """Where the members are others, conflicts may be worded otherwise, or none."""
        members = members_of(state.membership)
        if self.register.noted("members") != members:
            self.register.doubt_conflicts()
            self.register.note("members", members)

    def _judge(self, enough: Enough) -> list[Finding]:
        """Judge what is doubtful; the conflicts that are new."""
        judge, register = Judge(self), self.register
        new: list[Finding] = []
        while subjects := register.doubtful(_JUDGED):
            for subject in map(subject_of, subjects):
                register.settled(subject)
                new += judge.settle(subject)
                if enough(ENTRY):
                    return new
        return new


def _is_supply(entry: Observed) -> bool:
    return entry.type == "dispense" and bool(entry.content["status"] == COUNTS)


def _holes(encoded: bytes | None) -> dict[Hole, int]:
    return {(feed, seq): size for feed, seq, size in _plain(encoded) or ()}


def _plain(encoded: bytes | None) -> Any:
    return None if encoded is None else cbor.decode(encoded, max_size=len(encoded))
