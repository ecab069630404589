"""What this pharmacy's replica says of prescriptions, packs and stock: the supply book, kept up with the ledger.

- `catch_up` reads what came since: each block once. Where the past may have changed (another membership, a fork, a
  revoked feed, entries that were hidden), all is read again.
- What other pharmacies did while they were cut off is here when their blocks are, and not before: `as_of` says how old
  the newest of them is.
- A conflict is a finding about a prescription or a pack that this pharmacy supplied and another one, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from medledger.block import Block
from medledger.entry import decode_entry
from medledger.findings import Context, Finding, Fold, Observed, Place, observe, prescriptions, recalls, serials
from medledger.findings.supply_book import TYPES, SupplyBook
from medledger.header import Head
from medledger.interpretation import interpret
from medledger.ledger import Ledger
from medledger.membership import Membership
from medledger.merkle import leaf_hash

Subject = tuple[str, Any]
"""What a conflict is about: ("prescription", id), ("pack", (product, serial)), or ("supply", leaf) of our own."""

SUPPLIES: Final = Fold("supplies", tuple(sorted(TYPES)), TYPES, lambda _entries, _context: ())


class View:
    """A supply book over one ledger. For one thread at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._membership: Membership | None = None
        self._heads: dict[bytes, Head] = {}
        self._holes: list[tuple[bytes, int]] = []
        self.book = SupplyBook()
        self.as_of: int | None = None
        self._conflicts: dict[Subject, list[Finding]] = {}

    @property
    def me(self) -> bytes:
        """This pharmacy's feed."""
        assert self._ledger.me is not None  # an agent opens its ledger with a key
        return self._ledger.me

    @property
    def context(self) -> Context:
        """What findings are judged by."""
        return Context(self._ledger.id, self._ledger.membership)

    def catch_up(self) -> list[Finding]:
        """Read what came since the last time; the conflicts that are new."""
        membership, heads = self._ledger.membership, self._ledger.frontier()
        holes = self._ledger.holes()
        moved = {feed: head for feed, head in heads.items() if head != self._heads.get(feed)}
        if not moved and membership is self._membership and holes == self._holes:
            return []
        if membership is not self._membership or holes != self._holes or not self._continues(moved, membership):
            self.book = SupplyBook.of(observe(self._ledger, SUPPLIES), membership)
            about = self._everything() | set(self._conflicts)
        else:
            new = [entry for feed, head in moved.items() for entry in self._new(feed, head, membership)]
            for entry in new:
                self.book.add(entry)
            about = {subject for entry in new for subject in self._subjects(entry)}
            about |= self._supplies_of({entry.content["product"] for entry in new if entry.type == "recall"})
        self._membership, self._holes, self._heads = membership, holes, heads
        self._look_at_times(moved)
        return self._judge(about)

    @property
    def conflicts(self) -> list[Finding]:
        """What does not fit between this pharmacy's supplies and what others wrote."""
        return [finding for subject in sorted(self._conflicts, key=repr) for finding in self._conflicts[subject]]

    def _continues(self, moved: dict[bytes, Head], membership: Membership) -> bool:
        """Whether what was read before still stands in the feeds that moved."""
        for feed, head in moved.items():
            before = self._heads.get(feed)
            if feed in membership.cuts:
                return False
            if before is not None:
                block = self._ledger.block(feed, before.seq) if head.seq > before.seq else None
                if block is None or block.id != before.id:
                    return False
        return True

    def _new(self, feed: bytes, head: Head, membership: Membership) -> Iterator[Observed]:
        before = self._heads.get(feed)
        for block in self._ledger.blocks(feed, 0 if before is None else before.seq + 1, head.seq + 1):
            yield from _entries(block, membership)

    def _look_at_times(self, moved: dict[bytes, Head]) -> None:
        for feed, head in moved.items():
            block = self._ledger.block(feed, head.seq) if feed != self.me else None
            if block is not None:
                self.as_of = max(block.header.time, self.as_of or block.header.time)

    # --- conflicts ----------------------------------------------------------------------------------------------

    def _judge(self, about: set[Subject]) -> list[Finding]:
        """Look again at these prescriptions, packs and recalled products; the findings that were not there before."""
        new = []
        for subject in sorted(about, key=repr):
            found = [each for each in self._findings(subject) if any(at.feed == self.me for at in each.places)]
            known = {each.places for each in self._conflicts.pop(subject, ())}
            if found:
                self._conflicts[subject] = found
            new += [each for each in found if each.places not in known]
        return new

    def _findings(self, subject: Subject) -> Iterator[Finding]:
        book, context = self.book, self.context
        match subject:
            case ("prescription", name):
                found = prescriptions.findings_of(prescriptions.balance(book, name), context)
                yield from (each for each in found if each.kind == "overdispensed")
            case ("pack", (product, serial)):
                yield from serials.findings_of(book, (product, serial), context)
            case ("supply", leaf):
                issue = book.issue(leaf)
                if issue is not None and issue.open > 0:
                    found = recalls.findings_of(book, issue, context)
                    yield from (each for each in found if each.kind == "recalled supplied")

    def _everything(self) -> set[Subject]:
        return {
            *(("prescription", name) for name in self.book.prescriptions()),
            *(("pack", pack) for pack in self.book.packs()),
            *self._supplies_of(self.book.recalls),
        }

    def _supplies_of(self, products: Collection[str]) -> set[Subject]:
        """This pharmacy's supplies of products that were recalled."""
        return {
            ("supply", issue.entry.leaf)
            for issue in (self.book.issues() if products else ())
            if issue.entry.place.feed == self.me and issue.entry.content["product"] in products
        }

    def _subjects(self, entry: Observed) -> Iterator[Subject]:
        """What an entry is about; a return's subjects are those of its supply."""
        if entry.type == "dispense.return":
            issue = self.book.issue(entry.content["issue"])
            if issue is None:
                return
            entry = issue.entry
        content = entry.content
        if entry.type == "dispense" and entry.place.feed == self.me:
            yield "supply", entry.leaf
        if "prescription" in content:
            yield "prescription", content["prescription"]
        if "serial" in content:
            yield "pack", (content["product"], content["serial"])


def _entries(block: Block, membership: Membership) -> Iterator[Observed]:
    """The entries of a block that count and are about supplies."""
    header = block.header
    said = interpret(header.block_class, block.body, lambda name: membership.refusal(header.author, header.epoch, name))
    for verdict, raw in zip(said, block.body, strict=True):
        if verdict.void is None and verdict.type in TYPES and isinstance(raw, bytes):
            entry = decode_entry(raw)
            place = Place(header.author, header.seq, verdict.at, block.id)
            yield Observed(
                place,
                entry.type,
                entry.time,
                entry.subject,
                entry.content,
                header.time,
                header.clock,
                header.epoch,
                leaf_hash(raw),
            )
