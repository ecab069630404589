"""Where a peer's shorter copy of a feed ends in a block that is not ours: its author has forked it.

As a rule nobody need look: who has less asks who has more, and finds out. But who speaks under a newer transport key
asks nothing of a member that missed it (see `stragglers`), and the block that would bring that member the key may lie
on the shorter branch of a governor's feed. So whoever is answered in envelopes looks at the control feeds itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from medledger.block import split_block

from .frontier import Frontier, Missing, agree
from .messages import Leaf
from .replica import Replica
from .roster import Roster


def splits(replica: Replica, frontier: Frontier, roster: Roster, leaves: Iterable[Leaf]) -> dict[bytes, Missing]:
    """The last block of each such copy among these leaves. Raises what `Replica.release` raises."""
    found = {}
    told = {
        feed: leaf for leaf in leaves for feed in roster.resolve(leaf.feed)
    }  # one look at a feed, however often told
    for feed, leaf in told.items():
        ours = frontier.height(feed)
        if not roster.control(feed) or not 0 < leaf.length < ours.length or leaf.fork or ours.fork:
            continue
        for raw in replica.release(feed, leaf.length - 1, leaf.length, 1):
            if not agree(sha256(split_block(raw)[0]).digest(), leaf.head):
                found[feed] = Missing(leaf.length - 1, leaf.length, leaf.head)
    return found
