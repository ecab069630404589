"""Stock that does not add up.

- *more left than came*: an author's shelf of a product, or its quarantine, is below nothing. Only where that author
  ever received the product in that unit: a pharmacy that keeps no stock on the ledger owes none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .amounts import amount_text
from .finding import Context, Finding, Fold, Observed
from .proof import MAX_PLACES
from .supply_book import SupplyBook


def find(entries: Sequence[Observed], context: Context) -> Iterator[Finding]:
    """Every shelf that is below nothing."""
    book = SupplyBook.of(entries)
    for (feed, product, unit), shelf in sorted(book.shelves.items()):
        if shelf.received > 0 and (shelf.available < 0 or shelf.held < 0):
            member = context.membership.members.get(feed)
            who = member.label if member is not None and member.label else feed.hex()[:8]
            said = (
                f"{who} received {amount_text(shelf.received)} {unit} of {product}; {amount_text(shelf.available)} "
                f"would be left to supply, and {amount_text(shelf.held)} held"
            )
            facts = {"product": product, "unit": unit, "available": amount_text(shelf.available)}
            yield Finding("more left than came", said, tuple(sorted(shelf.receipts)[:MAX_PLACES]), facts)


STOCK: Final = Fold("stock", ("stock",), frozenset(("dispense", "dispense.return", "stock")), find)
