"""What this pharmacy's replica says of prescriptions, packs and stock, kept up with the ledger.

- `catch_up` reads what came since: each block once, and after a start only what came since the register (register.py)
  was written last. `book` is the supply book of what is asked about, and of nothing else.
- A feed is read up to the first block of which it is not settled whether it counts: its epoch is not known here yet, or
  the end of its author's feed. So what was read stays right as more comes, but for what makes the register empty, to be
  read anew as a whole: epochs that went another way, and of a feed with entries in it other blocks than were read (a
  fork, a cut, an older disk), other rights, or entries that were hidden and are not, or the other way round.
- What other pharmacies did while they were cut off is here when their blocks are, and not before: `as_of` says how old
  the newest of them is.
- A conflict is a finding about a prescription or a pack that this pharmacy supplied and another one, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from medledger import cbor
from medledger.block import Block
from medledger.entry import decode_entry
from medledger.findings import Context, Finding, Observed, Place, prescriptions, recalls, serials
from medledger.findings.issues import Issue
from medledger.findings.shelf import Shelf, move_of
from medledger.findings.supply_book import COUNTS, TYPES, SupplyBook
from medledger.governance import Point
from medledger.header import Head, Header
from medledger.interpretation import Refusal, interpret
from medledger.ledger import Ledger
from medledger.membership import CUT_UNRESOLVED, EPOCH_UNKNOWN, Membership
from medledger.merkle import leaf_hash

from .register import Found, Key, Read, Register

Subject = tuple[str, Any]
"""What a book or a conflict is about: ("prescription", id), ("pack", (product, serial)), ("supply", leaf), or
("recalls", product), ("raw", what a request of ours is named by).
"""
UNDECIDED: Final = frozenset((EPOCH_UNKNOWN, CUT_UNRESOLVED))
MANY_BLOCKS: Final = 5_000
"""A feed of more, all of which is to be read, is read by the index: most are of beds, and have no supplies."""
_NAMES: Final = tuple(sorted(name.encode() for name in TYPES))

Hole = tuple[bytes, int]
"""(feed, seq) of a block that stands with entries hidden."""


class View:
    """What one ledger says, with a register in the file at `path`. For one thread at a time."""

    def __init__(self, ledger: Ledger, path: Path) -> None:
        self._ledger = ledger
        self._path = path
        self._opened: Register | None = None
        self._state: _State | None = None  # what was read
        self._waiting: dict[bytes, int] = {}  # the blocks that are not settled yet
        self.as_of: int | None = None
        self._conflicts: dict[Subject, list[Finding]] = {}

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
    def _register(self) -> Register:
        if self._opened is None:
            self._opened = Register(self._path, self._ledger.id, self.me)
        return self._opened

    # --- asking -----------------------------------------------------------------------------------------------------

    def book(self, *subjects: Subject) -> SupplyBook:
        """All that is known about these subjects. It is no account of schedules and shelves: those are asked here."""
        book = SupplyBook(self._ledger.membership)
        for entry in self._at(self._register.find(*map(_key, subjects))):
            book.add(entry)
        for entry in self._at(self._register.find(*(("issue", issue.entry.leaf) for issue in book.issues()))):
            book.add(entry)
        return book

    def _at(self, places: Iterable[Found]) -> Iterator[Observed]:
        """The entries that stand there."""
        for feed, seq, index in places:
            block = self._ledger.block(feed, seq)
            raw = block.body[index] if block is not None and index < len(block.body) else None
            if block is not None and isinstance(raw, bytes):  # else taken away meanwhile: the next look sees to it
                yield _observed(block, index, raw)

    def shelf(self, product: str, unit: str) -> Shelf:
        """What this pharmacy has of a product."""
        return self._register.shelves(product).get((product, unit)) or Shelf()

    def shelves(self, product: str | None = None) -> dict[tuple[str, str], Shelf]:
        """All its stock, or that of one product, by product and unit."""
        return self._register.shelves(product)

    def schedule(self, product: str) -> str | None:
        """As what a product is controlled, by anybody's word; None where nobody said so."""
        return self._register.schedule(product)

    def logged(self, raw: bytes, block: int | None = None) -> Observed | None:
        """The first entry of ours, in that block, that a request was logged as."""
        found = self.book(("raw", raw)).by_raw.get((self.me, raw), ())
        return next((each for each in found if block is None or each.place.seq == block), None)

    def inspected(self, content: Any) -> bool:
        """Whether an alert like this one was logged by us already."""
        return bool(self._register.find(_inspection(content)))

    @property
    def conflicts(self) -> list[Finding]:
        """What does not fit between this pharmacy's supplies and what others wrote."""
        return [finding for subject in sorted(self._conflicts, key=repr) for finding in self._conflicts[subject]]

    # --- reading ----------------------------------------------------------------------------------------------------

    def catch_up(self) -> list[Finding]:
        """Read what came since the last time; the conflicts that are new."""
        if self._opened is not None and self._opened.damaged:
            self.close()
            self._state = None
        state = _State(self._ledger.membership, self._ledger.frontier(), self._ledger.hole_sizes())
        if self._state is not None and state.is_like(self._state):
            return []
        register = self._register
        changed = self._changed(state)
        with register.transaction():
            about: set[Subject] = set()
            if self._state is None or state.membership is not self._state.membership:
                about |= {_subject(each) for each in register.conflicts()}
            right = self._still_right(state, changed)
            if right is None:
                about |= {_subject(each) for each in register.conflicts()}
                register.clear()
                right, changed = ({}, []), list(state.heads)
                for entry in self._take(self._all(state)):
                    about |= set(self._subjects(entry)) if self._is_about_us(entry) else set()
            else:
                for entry in self._take(self._new(state, changed, *right)):
                    about |= set(self._subjects(entry))
            self._note(state, changed, right[0])
            new = self._judge(about)
        self._state = state
        return new

    def _changed(self, state: _State) -> list[bytes]:
        """The feeds of which something may have changed, ours first."""
        before = self._state
        known = before.heads if before is not None and state.membership is before.membership else {}
        changed = [feed for feed, head in state.heads.items() if known.get(feed) != head]
        return sorted(changed, key=lambda feed: feed != self.me)

    def _still_right(self, state: _State, changed: list[bytes]) -> tuple[dict[bytes, Read], list[Hole]] | None:
        """How far each feed was read, and which blocks are to be read again; None where all is."""
        register = self._register
        epochs = _plain(register.noted("epochs"))
        if epochs is None or _epochs(state.membership)[: len(epochs)] != epochs:
            return None
        upto = register.feeds()
        for feed in {*changed, *(upto.keys() - state.heads.keys())} & upto.keys():
            read = upto[feed]
            if not self._stands(feed, read, state.heads.get(feed)) or read.rights != _rights(state.membership, feed):
                if read.used:
                    return None
                del upto[feed]  # nothing of it is here: it is read from its begin
        before, now = _holes(register.noted("holes")), state.holes
        behind = [hole for hole in sorted(before.keys() | now.keys()) if before.get(hole) != now.get(hole)]
        behind = [(feed, seq) for feed, seq in behind if feed in upto and seq <= upto[feed].seq]
        hidden = {hole for hole in behind if hole in now and now[hole] < before.get(hole, now[hole] + 1)}
        if any(upto[hole[0]].used and (hole[0] == self.me or hole in hidden) for hole in behind):
            return None
        return upto, [hole for hole in behind if hole not in hidden]

    def _stands(self, feed: bytes, read: Read, head: Head | None) -> bool:
        """Whether a feed still has the block up to which it was read."""
        if read.seq < 0:
            return True
        if head is None or head.seq <= read.seq:
            return head is not None and (head.seq, head.id) == (read.seq, read.id)
        block = self._ledger.block(feed, read.seq)
        return block is not None and block.id == read.id

    def _all(self, state: _State) -> Iterator[Observed | Undecided]:
        """Every entry about supplies. Ours first: one that somebody else copied is still its writer's."""
        yield from self._indexed(state, self.me)
        yield from self._indexed(state, None)

    def _indexed(self, state: _State, author: bytes | None) -> Iterator[Observed | Undecided]:
        """The same of one feed, or of all, by the ledger's own index, which knows where supplies are."""
        for name in sorted(TYPES):
            block: Block | None = None
            for entry in self._ledger.entries(name, author=author, void=True):
                if entry.void in UNDECIDED:
                    yield Undecided(entry.author, entry.seq)
                elif entry.void is None and state.has(entry.author, entry.seq):
                    if block is None or block.id != entry.block_id:
                        block = self._ledger.block(entry.author, entry.seq)
                    if block is not None and block.id == entry.block_id:
                        yield _observed(block, entry.index, entry.entry.raw)

    def _new(
        self, state: _State, changed: list[bytes], upto: dict[bytes, Read], again: list[Hole]
    ) -> Iterator[Observed | Undecided]:
        """The entries about supplies of the blocks that were not read yet, and of those that are to be read again."""
        for feed, seq in again:
            yield from self._entries(self._ledger.blocks(feed, seq, seq + 1), state.membership)
        for feed in changed:
            start, stop = upto[feed].seq + 1 if feed in upto else 0, state.heads[feed].seq + 1
            if start == 0 and stop > MANY_BLOCKS:
                yield from self._indexed(state, feed)
            elif start < stop:
                yield from self._entries(self._ledger.blocks(feed, start, stop), state.membership)

    def _entries(self, blocks: Iterable[Block], membership: Membership) -> Iterator[Observed | Undecided]:
        """The entries about supplies that count, up to the first of which that is not settled."""
        for block in blocks:
            if not any(name in block.body_bytes for name in _NAMES):
                continue  # as most are, where there are beds
            header = block.header
            point = Point(header.seq, block.id)
            fallen = membership.fallen(header.author, point, self._ledger.is_ancestor)
            refuse = _refusal(membership, header, fallen)
            for verdict, raw in zip(interpret(header.block_class, block.body, refuse), block.body, strict=True):
                if verdict.type in TYPES and verdict.void in UNDECIDED:
                    yield Undecided(header.author, header.seq)
                    return
                if verdict.type in TYPES and verdict.void is None and isinstance(raw, bytes):
                    yield _observed(block, verdict.at, raw)

    def _take(self, found: Iterable[Observed | Undecided]) -> Iterator[Observed]:
        """Put what is found into the register; what was not there yet."""
        self._waiting.clear()
        for entry in found:
            if isinstance(entry, Undecided):
                self._waiting[entry.feed] = min(entry.seq, self._waiting.get(entry.feed, entry.seq))
            elif self._register.add(entry.place, _keys(entry, ours=entry.place.feed == self.me)):
                self._count(entry)
                yield entry

    def _count(self, entry: Observed) -> None:
        """What an entry does to this pharmacy's shelves, and what it says of a schedule."""
        register, content = self._register, entry.content
        ours = entry.place.feed == self.me
        if "schedule" in content and "product" in content:
            register.add_schedule(content["product"], content["schedule"])
        if entry.type == "stock" and ours:
            register.move(content["product"], content["unit"], move_of(entry))
        elif entry.type == "dispense.return" and ours:
            account = self.book(("supply", content["issue"])).account(content["issue"])
            if entry in account.counting():
                supply = account.copies[0].content
                register.move(supply["product"], supply["unit"], move_of(entry))
        elif entry.type == "dispense" and content["status"] == COUNTS:
            account = self.book(("supply", entry.leaf)).account(entry.leaf)
            late = account.begun_by(entry)
            for each in (entry, *late):  # what comes back lies where it was brought to
                if each.place.feed == self.me:
                    register.move(content["product"], content["unit"], move_of(each))

    def _issue(self, leaf: bytes) -> Issue | None:
        return self.book(("supply", leaf)).issue(leaf, self.me)

    def _note(self, state: _State, changed: list[bytes], upto: dict[bytes, Read]) -> None:
        """How far it was read."""
        register = self._register
        known = _plain(register.noted("as_of"))
        times = [] if known is None else [known]
        for feed in changed:
            head, read, rights = state.heads[feed], upto.get(feed), _rights(state.membership, feed)
            last = min(head.seq, self._waiting.get(feed, head.seq + 1) - 1)
            if read is None or (read.seq, read.rights) != (last, rights):
                block = self._ledger.block(feed, last) if last >= 0 else None
                register.read_on(feed, last, b"" if block is None else block.id, rights)
            if feed != self.me and (read is None or read.seq < head.seq):
                newest = self._ledger.block(feed, head.seq)
                times += [] if newest is None else [newest.header.time]
        self.as_of = max(times, default=None)
        holes = [[*hole, size] for hole, size in state.holes.items()]
        for name, value in (("epochs", _epochs(state.membership)), ("holes", holes), ("as_of", self.as_of)):
            register.note(name, cbor.encode(value))

    # --- conflicts --------------------------------------------------------------------------------------------------

    def _judge(self, about: set[Subject]) -> list[Finding]:
        """Look again at these prescriptions, packs and supplies; the findings that this process did not know."""
        new = []
        for subject in sorted(about, key=repr):
            found = [each for each in self._findings(subject) if any(at.feed == self.me for at in each.places)]
            known = {each.places for each in self._conflicts.pop(subject, ())}
            if found:
                self._conflicts[subject] = found
            self._register.set_conflict(list(subject), stands=bool(found))
            new += [each for each in found if each.places not in known]
        return new

    def _findings(self, subject: Subject) -> Iterator[Finding]:
        context = self.context
        match subject:
            case ("prescription" | "pack", _) if len(self._register.find(_key(subject))) < 2:
                return  # one entry alone fits
            case ("prescription", name):
                found = prescriptions.findings_of(prescriptions.balance(self.book(subject), name), context)
                yield from (each for each in found if each.kind == "overdispensed")
            case ("pack", pack):
                yield from serials.findings_of(self.book(subject), pack, context)
            case ("supply", leaf):
                issue = self._issue(leaf)
                if issue is not None and issue.open > 0:
                    book = self.book(subject, ("recalls", issue.entry.content["product"]))
                    found = recalls.findings_of(book, issue, context)
                    yield from (each for each in found if each.kind == "recalled supplied")

    def _subjects(self, entry: Observed) -> Iterator[Subject]:
        """What an entry is about; a return's subjects are those of its supply, a recall's our supplies."""
        if entry.type == "recall":
            yield from self._recalled(entry.content["product"])
            return
        if entry.type == "dispense.return":
            issue = self._issue(entry.content["issue"])
            if issue is None:
                return
            entry = issue.entry
        content = entry.content
        if entry.place.feed == self.me and self._register.find(("recalls", content.get("product"))):
            yield "supply", entry.leaf
        if "prescription" in content:
            yield "prescription", content["prescription"]
        if "serial" in content:
            yield "pack", (content["product"], content["serial"])

    def _is_about_us(self, entry: Observed) -> bool:
        """Whether something of ours may be in a finding about its subjects, as far as it alone tells."""
        returns = self._register.find(("issue", entry.leaf)) if entry.type == "dispense" else []
        return entry.place.feed == self.me or entry.type == "recall" or any(each.feed == self.me for each in returns)

    def _recalled(self, product: str) -> Iterator[Subject]:
        """Our supplies of a product that a recall names. There may be very many of it."""
        book = self.book(("recalls", product))
        for place in self._register.find(("ours", product)):
            for entry in self._at([place]):
                content = entry.content
                if book.recalled(self.me, product, content.get("lot"), content.get("serial")) is not None:
                    yield "supply", entry.leaf


class Undecided(NamedTuple):
    """A block of which it is not settled whether its entries count."""

    feed: bytes
    seq: int


class _State(NamedTuple):
    """What was looked at."""

    membership: Membership
    heads: dict[bytes, Head]
    holes: dict[Hole, int]  # each with its size, which says whether an entry has come or was hidden

    def is_like(self, other: _State) -> bool:
        """Whether there is nothing to read."""
        return self.membership is other.membership and self[1:] == other[1:]

    def has(self, feed: bytes, seq: int) -> bool:
        """Whether that block was there."""
        return feed in self.heads and seq <= self.heads[feed].seq


def _observed(block: Block, index: int, raw: bytes) -> Observed:
    entry, header = decode_entry(raw), block.header
    place = Place(header.author, header.seq, index, block.id)
    said = (entry.type, entry.time, entry.subject, entry.content)
    return Observed(place, *said, header.time, header.clock, header.epoch, leaf_hash(raw))


def _key(subject: Subject) -> Key:
    """What a subject's entries are found under."""
    kind, name = subject
    return "leaf" if kind == "supply" else kind, list(name) if kind == "pack" else name


def _keys(entry: Observed, *, ours: bool) -> Iterator[Key]:
    """What an entry is found under: the subjects' names, and some that only this file knows."""
    content = entry.content
    yield "leaf", entry.leaf
    if entry.type == "dispense.return":
        yield "issue", content["issue"]
    if entry.type in ("dispense", "prescription") and "prescription" in content:
        yield "prescription", content["prescription"]
    if entry.type in ("dispense", "stock") and "serial" in content:
        yield "pack", [content["product"], content["serial"]]
    if entry.type == "recall":
        yield "recalls", content["product"]
    if ours and "raw" in content:
        yield "raw", content["raw"]
    if ours and entry.type == "dispense":
        yield "ours", content["product"]
    if ours and entry.type == "stock" and content["step"] == "inspecting":
        yield _inspection(content)


def _inspection(content: Any) -> Key:
    return "inspecting", [content.get(name) for name in ("product", "lot", "expiry", "serial", "disposition")]


def _rights(membership: Membership, feed: bytes) -> bytes:
    """All of a membership but its epochs that decides whether a feed's entries count."""
    enrolled = [[each.epoch, sorted(each.roles)] for each in membership.enrolments.get(feed, ())]
    cuts = [[cut.last.seq, cut.last.id] for cut in membership.cuts.get(feed, ())]
    return sha256(cbor.encode([enrolled, cuts])).digest()


def _epochs(membership: Membership) -> list[bytes]:
    return [epoch.id for epoch in membership.epochs]


def _refusal(membership: Membership, header: Header, fallen: str | None) -> Refusal:
    return lambda name: fallen or membership.refusal(header.author, header.epoch, name)


def _subject(found: Any) -> Subject:
    """As it was before it was encoded."""
    kind, name = found
    return kind, tuple(name) if kind == "pack" else name


def _holes(encoded: bytes | None) -> dict[Hole, int]:
    return {(feed, seq): size for feed, seq, size in _plain(encoded) or ()}


def _plain(encoded: bytes | None) -> Any:
    return None if encoded is None else cbor.decode(encoded, max_size=len(encoded))
