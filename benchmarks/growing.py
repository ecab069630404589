"""Importing blocks as fast as they come, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from medledger.ledger import Ledger
from medledger.limits import IMPORT_BATCH_BLOCKS

from .measure import Rounds


def grow(replica: Ledger, blocks: Iterator[bytes], rounds: Rounds | None = None) -> None:
    """Import all of `blocks`, each batch made before it is timed."""
    while batch := list(islice(blocks, IMPORT_BATCH_BLOCKS)):
        if rounds is None:
            replica.import_blocks(batch)
        else:
            rounds.measure(len(batch), lambda batch=batch: replica.import_blocks(batch))  # type: ignore[misc]
