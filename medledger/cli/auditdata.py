"""What an auditor's report says, collected from a replica: plain data, ready for JSON.

Counts and times come from the index of entries, which `fsck` holds against the blocks; so a report on a million entries
takes seconds. Everything is about what this replica holds: what was never recorded is not in any report.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from .membertable import member_json
from .output import time_json
from .recordjson import to_json

if TYPE_CHECKING:
    from medledger.ledger import Ledger

MAX_GAPS: Final = 1000

_COUNTS: Final = """
SELECT e.pos >> 40, t.name, e.void, count(*), min(e.time), max(e.time), min(e.pos & 1099511627775)
FROM entries e JOIN entry_types t ON t.no = e.type GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# When things happened, by their author's clock: an order of its own, since a late reading is older than its block.
_GAPS: Final = """
SELECT feed, before, time FROM (
  SELECT e.pos >> 40 AS feed, e.time AS time, lag(e.time) OVER (PARTITION BY e.pos >> 40 ORDER BY e.time) AS before
  FROM entries e JOIN entry_types t ON t.no = e.type WHERE e.void IS NULL AND t.name NOT LIKE 'gov.%'
) WHERE time - before >= ? ORDER BY time - before DESC LIMIT ?
"""


def collect(ledger: Ledger, *, gap_ms: int, verification: dict[str, Any] | None) -> dict[str, Any]:
    """The report. `verification` is what was verified just before, None where nothing was."""
    ledger.index()
    membership = ledger.membership
    with ledger.store.lock:
        by_no = {feed.no: author for author, feed in ledger.store.feeds.items()}
        counts = ledger.store.connection.execute(_COUNTS).fetchall()
        gaps = ledger.store.connection.execute(_GAPS, (gap_ms, MAX_GAPS)).fetchall()
        waiting = {
            author.hex(): feed.length - read
            for author, feed in ledger.store.feeds.items()
            if (read := ledger.store.progress("interpreted", feed)) < feed.length
        }
    entries, void = _entries(counts, by_no)
    return {
        "ledger_id": ledger.id.hex(),
        "name": ledger.name,
        "founder": ledger.genesis.founder.hex(),
        "digest": ledger.digest().hex(),
        "made": time_json(time.time_ns() // 1_000_000),
        "verification": verification,
        "epoch": membership.epoch.number,
        "governors": [feed.hex() for feed in membership.governors],
        "threshold": membership.threshold,
        "governance_void_after": None if membership.void is None else membership.void.epoch,
        "blocks": sum(head.seq + 1 for head in ledger.frontier().values()),
        "members": [_member(ledger, feed, entries) for feed in sorted({*membership.members, *ledger.frontier()})],
        "entries": entries,
        "void": void,
        "not_interpreted": waiting,
        "gap_ms": gap_ms,
        "gaps": [
            {"feed": by_no[no].hex(), "from": time_json(before), "to": time_json(after), "ms": after - before}
            for no, before, after in gaps
        ],
        "forks": [
            {"feed": feed.hex(), "seq": proof.seq, "blocks": [each.hex() for each in proof.ids]}
            for feed, proof in sorted(ledger.forks.items())
        ],
        "hidden": [{"feed": feed.hex(), "seq": seq} for feed, seq in ledger.store.holes()],
        "disputed": [{"feed": each.feed.hex(), "seq": each.seq, "block": each.id.hex()} for each in ledger.disputed()],
        "findings": findings(ledger, now=None),
        "pending_acts": [act.id.hex() for act in membership.pending],
    }


def findings(ledger: Ledger, *, now: int | None) -> list[dict[str, Any]]:
    """What the folds find, as plain data: a sentence, and the entries that show it."""
    from medledger.findings import find

    return [
        {
            "kind": each.kind,
            "sentence": each.sentence,
            "entries": [
                {"feed": place.feed.hex(), "seq": place.seq, "index": place.index, "block": place.block_id.hex()}
                for place in each.places
            ],
            "facts": to_json(each.kind, dict(each.facts)),
        }
        for each in find(ledger, now=now)
    ]


def _entries(
    counts: list[tuple[Any, ...]], by_no: dict[int, bytes]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries that count, by author and type; and those that do not, by author, type and reason."""
    valid, void = [], []
    for no, name, reason, count, first, last, seq in counts:
        row = {"feed": by_no[no].hex(), "type": name or None, "count": count}
        if reason is None:
            valid.append({**row, "first": time_json(first), "last": time_json(last)})
        else:
            void.append({**row, "reason": reason, "first_seq": seq})
    return valid, void


def _member(ledger: Ledger, feed: bytes, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """A member, or a feed whose author is none (any more), with what it has written."""
    member = ledger.membership.members.get(feed)
    head = ledger.head(feed)
    known: dict[str, Any] = {"feed": feed.hex(), "label": "", "organisation": "", "roles": []}
    if member is not None:
        known = member_json(ledger, member)
    by_type: dict[str, int] = defaultdict(int)
    spans = [entry for entry in entries if entry["feed"] == feed.hex()]
    for entry in spans:
        by_type[entry["type"]] += entry["count"]
    return {
        **known,
        "blocks": 0 if head is None else head.seq + 1,
        "head": None if head is None else head.id.hex(),
        "entries": dict(by_type),
        "first": min((entry["first"] for entry in spans), key=str, default=None),
        "last": max((entry["last"] for entry in spans), key=str, default=None),
    }
