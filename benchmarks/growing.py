"""Importing blocks as fast as they come, batch by batch, with the reference sampled in between."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from medledger.ledger import Ledger
from medledger.limits import IMPORT_BATCH_BLOCKS

from .measure import SignatureCheck, seconds


def grow(replica: Ledger, blocks: Iterator[bytes], check: SignatureCheck | None = None) -> float:
    """Import all of `blocks`; the seconds spent importing. Samples the reference between the batches."""
    total = 0.0
    while batch := list(islice(blocks, IMPORT_BATCH_BLOCKS)):
        if check is not None:
            check.sample()
        total += seconds(lambda batch=batch: replica.import_blocks(batch))  # type: ignore[misc]
    return total
