"""A shelf: one author's stock of a product in a unit, as sums, kept up as entries come in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from heapq import heappop, heappush
from typing import NamedTuple

from .amounts import NOTHING, amount
from .finding import Observed, Place


class Move(NamedTuple):
    """One entry's effect on a shelf: a step of stock, or `supplied`, `undone`, `brought_back`."""

    place: Place
    kind: str
    quantity: Fraction
    from_hold: bool = False


def move_of(entry: Observed) -> Move:
    """What a step of stock, a supply or a return does to its author's shelf."""
    content = entry.content
    match entry.type:
        case "dispense":
            kind = "supplied"
        case "dispense.return":
            kind = "undone" if content["action"] == "undo" else "brought_back"
        case _:
            kind = content["step"]
    return Move(entry.place, kind, amount(content["quantity"]), "source" in content)


@dataclass(slots=True)
class Shelf:
    """Sums of moves. `available + held` is what is on hand.

    received = on hand + supplied - undone - brought back + shipped + removed + destroyed, whatever the order.

    It begins with the first receipt, by the position in the author's feed: what was supplied before that was of a stock
    that nobody had counted.
    """

    received: Fraction = NOTHING
    supplied: Fraction = NOTHING
    undone: Fraction = NOTHING
    brought_back: Fraction = NOTHING
    shipped: Fraction = NOTHING
    removed: Fraction = NOTHING
    destroyed: Fraction = NOTHING
    held: Fraction = NOTHING
    receipts: list[Place] = field(default_factory=list, compare=False, repr=False)
    begin: Place | None = None  # the first receipt
    # What stands before the first receipt that is known, the last on top: an author chooses the times of its entries,
    # and so the order in which they come, and an earlier receipt must not cost a look at all others.
    _early: list[tuple[int, int, Move]] = field(default_factory=list, compare=False, repr=False)

    @property
    def on_hand(self) -> Fraction:
        """What should be there when somebody counts."""
        left = self.supplied + self.shipped + self.removed + self.destroyed
        return self.received + self.undone + self.brought_back - left

    @property
    def available(self) -> Fraction:
        """What of it may be supplied."""
        return self.on_hand - self.held

    def add(self, move: Move) -> None:
        """Count a move; an earlier receipt than was known makes earlier moves count."""
        place = move.place
        if move.kind == "receiving":
            self.receipts.append(place)
            self.begin = place if self.begin is None else min(self.begin, place)
        heappush(self._early, (-place.seq, -place.index, move))
        while self.begin is not None and self._early and self._early[0][2].place >= self.begin:
            self._count(heappop(self._early)[2])

    def _count(self, move: Move) -> None:
        quantity = move.quantity
        match move.kind:
            case "receiving":
                self.received += quantity
            case "supplied":
                self.supplied += quantity
            case "undone":
                self.undone += quantity
            case "brought_back":
                self.brought_back += quantity
                self.held += quantity
            case "holding":
                self.held += quantity
            case "storing":
                self.held -= quantity
            case "shipping":
                self.shipped += quantity
            case "removing":
                self.removed += quantity
            case "destroying":
                self.destroyed += quantity
        if move.from_hold:
            self.held -= quantity
