"""Entries about medicines as folds see them, made by hand: for tests that need no ledger."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from hashlib import sha256
from typing import Any

from medledger import cbor
from medledger.findings.finding import Context, Observed, Place
from medledger.governance import epoch_document, make_genesis, read_genesis
from medledger.header import Clock
from medledger.keys import Identity
from medledger.membership import Membership, fold
from medledger.registry import Record

GTIN = "07032069804988"
RX = bytes(range(16))
NOON = 1_800_000_000_000
CLOCK = Clock(0, bytes(8), 0)


class Feeds:
    """Makes entries, each at the next position of its author's feed."""

    def __init__(self) -> None:
        self._lengths: dict[str, int] = defaultdict(int)

    def add(self, author: str, record: Record) -> Observed:
        """The entry of this record in the next block of that author's feed."""
        feed = feed_of(author)
        seq = self._lengths[author]
        self._lengths[author] += 1
        time = NOON + seq if record.time is None else record.time
        leaf = sha256(cbor.encode([feed, seq])).digest()
        content = cbor.decode(cbor.encode(record.to_content()), max_size=1 << 15)
        place = Place(feed, seq, 0, sha256(leaf).digest())
        return Observed(place, record.TYPE, time, record.subject, content, time, CLOCK, 0, leaf)

    def copy(self, author: str, entry: Observed) -> Observed:
        """The same bytes in the next block of another author's feed, as anybody can log them."""
        feed = feed_of(author)
        seq = self._lengths[author]
        self._lengths[author] += 1
        return replace(entry, place=Place(feed, seq, 0, sha256(entry.leaf + feed).digest()))


def feed_of(author: str) -> bytes:
    """The key that stands for an author."""
    return sha256(author.encode()).digest()


def context(now: int | None = None) -> Context:
    """What the folds judge by: a ledger of one governor and no members."""
    founder = Identity.from_seed(bytes(32))
    policy = {"all": ["*"]}
    epoch = epoch_document(number=0, previous=None, governors=[founder.public_key], threshold=1, policy=policy)
    genesis = read_genesis(make_genesis(founder, nonce=bytes(16), name="Test", continues=None, epoch0=epoch))
    membership: Membership = fold(genesis, [], lambda *_: False)
    return Context(genesis.ledger_id, membership, now)


def by_kind(findings: Any) -> dict[str, list[Any]]:
    """Findings by what they are."""
    found: dict[str, list[Any]] = defaultdict(list)
    for finding in findings:
        found[finding.kind].append(finding)
    return dict(found)
