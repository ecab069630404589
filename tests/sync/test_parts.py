"""Parts of the gossip machine on their own, where a whole network would rarely get to."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import FrameError
from medledger.importing import ImportReport
from medledger.limits import COUNTER_WINDOW, MAX_BOOTS_PER_SENDER, MAX_PEERS, MAX_STRANGERS
from medledger.sync.bounded import Budget, RecentSet
from medledger.sync.delivery import Delivery
from medledger.sync.frontier import Frontier, Height
from medledger.sync.messages import Beacon, Data, Done, Leaf, Leaves, Status
from medledger.sync.peers import PeerId, Peers, Window
from medledger.sync.probing import Prober, Verdict
from medledger.sync.pulling import Puller
from medledger.sync.roster import Roster
from memory_replica import MemoryMembership

A, B, G = b"a" * 32, b"b" * 32, b"g" * 32
PEER = PeerId(b"p" * 32, b"boot-one")


class Bench:
    """Prober and puller over a frontier, with one peer that showed a beacon."""

    def __init__(self, held: dict[bytes, Height], *, total: int = 100) -> None:
        self.frontier = Frontier(held)
        self.peers = Peers(0.0)
        self.roster = Roster(MemoryMembership(frozenset({A, B, G}), frozenset({G})))
        self.prober = Prober(self.frontier, self.peers, self.roster, Random(1))
        self.puller = Puller(self.frontier, self.peers, self.roster, Random(1), bytes(32))
        self.peer = self.peers.heard(PEER, 0, stranger=False, now=0.0)
        self.beacon = Beacon(b"another root 16b", 2, total, bytes(8), answer=False)

    def probe(self, at: float = 0.0) -> bytes:
        """Hear the beacon and send the probe it leads to; its nonce."""
        assert self.prober.hear(self.peer, self.beacon, at) is Verdict.DIFFERENT
        ((who, probe),) = self.prober.due(at + 1)
        assert who == PEER
        return probe.nonce


# --- probing ---------------------------------------------------------------------------------------------------------


def test_whole_ids_are_asked_for_where_prefixes_collide() -> None:
    """Digests that differ while every prefix agrees lead to one probe for whole ids, and these show the difference."""
    bench = Bench({A: Height(5, b"same pre" + bytes(24))})
    nonce = bench.probe()
    bench.prober.leaves(PEER, Leaves(nonce, 0, 1, (Leaf(A[:8], 5, b"same pre", b""),)), 1.1)
    ((who, probe),) = bench.prober.close(1.1)
    assert who == PEER
    assert probe.full
    leaf = Leaf(A[:8], 5, b"same pre" + bytes(23) + b"!", b"")
    inquiry, leaves = bench.prober.leaves(PEER, Leaves(probe.nonce, 0, 1, (leaf,)), 1.2)
    inquiry.found += bench.puller.offer(PEER, leaves, 1.0)
    assert inquiry.found == 1
    ((_, want),) = bench.puller.due(1.2)
    assert [(each.start, each.stop) for each in want.ranges] == [(4, 5)]


def test_an_answer_is_complete_when_all_its_pages_are_here() -> None:
    """In any order, repeated pages counted once; until then, and without the last one, nothing is settled."""
    bench = Bench({})
    nonce = bench.probe()
    for page in (2, 0, 0):
        bench.prober.leaves(PEER, Leaves(nonce, page, 3, ()), 1.1)
    assert bench.prober.close(1.2) == []
    bench.prober.leaves(PEER, Leaves(nonce, 1, 3, ()), 1.3)
    assert bench.prober.close(1.3) == []
    assert bench.prober.hear(bench.peer, bench.beacon, 1.4) is Verdict.SETTLED
    assert bench.prober.hear(bench.peer, bench.beacon, 200.0) is Verdict.DIFFERENT


def test_a_probe_without_a_whole_answer_is_a_failure() -> None:
    """One page of two, and then silence: the peer is paused, not taken for level."""
    bench = Bench({})
    nonce = bench.probe()
    bench.prober.leaves(PEER, Leaves(nonce, 0, 2, ()), 1.1)
    assert bench.prober.close(60.0) == []
    assert bench.peer.failures == 1
    assert not bench.peer.level


def test_answers_to_nothing_are_refused() -> None:
    """Leaves, data and dones with a nonce that was not asked with, or from another peer, are FrameErrors."""
    bench = Bench({})
    nonce = bench.probe()
    other = PeerId(PEER.key, b"boot-two")
    for peer, each in ((PEER, bytes(8)), (other, nonce)):
        with pytest.raises(FrameError):
            bench.prober.leaves(peer, Leaves(each, 0, 1, ()), 1.0)
        with pytest.raises(FrameError):
            bench.puller.pulls.data(peer, Data(each, 0, 1, (b"block",)), 1.0)
        with pytest.raises(FrameError):
            bench.puller.pulls.done(peer, Done(each, 0, Status.COMPLETE), 1.0)


# --- pulling ---------------------------------------------------------------------------------------------------------


def test_data_beyond_the_credit_is_refused() -> None:
    """More frames than were asked for, or another number than announced, are not taken."""
    bench = Bench({})
    assert bench.puller.offer(PEER, [Leaf(A[:8], 10, bytes(8), b"")], 0.0) == 1
    ((_, want),) = bench.puller.due(0.0)
    with pytest.raises(FrameError):
        bench.puller.pulls.data(PEER, Data(want.nonce, 0, want.frames + 1, (b"block",)), 0.1)
    assert bench.puller.pulls.data(PEER, Data(want.nonce, 0, 2, (b"block",)), 0.1) is None
    with pytest.raises(FrameError):
        bench.puller.pulls.data(PEER, Data(want.nonce, 0, 1, (b"block",)), 0.1)


def test_a_repeated_frame_gives_no_more_time() -> None:
    """A peer that sends one frame again and again does not keep a pull, and its feed, for any longer."""
    bench = Bench({})
    bench.puller.offer(PEER, [Leaf(A[:8], 10, bytes(8), b"")], 0.0)
    ((_, want),) = bench.puller.due(0.0)
    for step in range(10):
        bench.puller.pulls.data(PEER, Data(want.nonce, 0, 2, (b"block",)), 0.5 * step)
    (pull,) = bench.puller.pulls.expired(4.5)
    assert pull.blocks == [b"block"]


def test_what_lies_beyond_a_fork_is_not_pulled_for_ever() -> None:
    """A peer that has not heard of a fork shows more blocks, and can send them without end: it is let go after one."""
    bench = Bench({G: Height(5, bytes(32), b"m" * 32)})
    assert bench.puller.offer(PEER, [Leaf(G[:8], 1000, bytes(8), b"")], 0.0) == 1
    ((_, want),) = bench.puller.due(0.0)
    assert bench.puller.pulls.data(PEER, Data(want.nonce, 0, 1, (b"block",)), 0.1) is None
    pull = bench.puller.pulls.done(PEER, Done(want.nonce, 1, Status.MORE), 0.1)
    assert pull is not None
    bench.puller.settle(pull, ImportReport(accepted=1), 0.1)
    assert bench.puller.idle


def test_leaves_of_unknown_authors_are_parked_until_they_are_known() -> None:
    """They are not asked for; when the membership knows them they are, without asking anybody again."""
    bench = Bench({})
    unknown = b"u" * 32
    assert bench.puller.offer(PEER, [Leaf(unknown[:8], 3, bytes(8), b"")], 0.0) == 0
    assert bench.puller.due(0.0) == []
    assert bench.puller.parked == 1
    bench.roster.refresh(MemoryMembership(frozenset({A, G, unknown}), frozenset({G})))
    bench.puller.membership_changed(0.0)
    ((_, want),) = bench.puller.due(0.0)
    assert [each.feed for each in want.ranges] == [unknown]


def test_one_want_asks_for_many_feeds() -> None:
    """Small ranges of one peer travel together; control feeds alone, before them."""
    bench = Bench({})
    leaves = [Leaf(A[:8], 3, bytes(8), b""), Leaf(B[:8], 3, bytes(8), b""), Leaf(G[:8], 3, bytes(8), b"")]
    assert bench.puller.offer(PEER, leaves, 1.0) == 3
    ((_, want),) = bench.puller.due(0.0)
    assert [each.feed for each in want.ranges] == [G]
    bench.frontier.update(G, Height(3, bytes(32)))
    pull = bench.puller.pulls.done(PEER, Done(want.nonce, 0, Status.COMPLETE), 0.1)
    assert pull is not None
    bench.puller.settle(pull, None, 0.1)
    ((_, want),) = bench.puller.due(0.1)
    assert [each.feed for each in want.ranges] == [A, B]


# --- bounds ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5000), max_size=200))
def test_a_counter_is_taken_once_and_in_its_window(counters: list[int]) -> None:
    """Against the obvious implementation: fresh exactly when never used and not a window behind the highest."""
    window = Window()
    used: set[int] = set()
    for counter in counters:
        expected = counter not in used and (not used or counter > max(used) - COUNTER_WINDOW)
        assert window.fresh(counter) == expected
        if expected:
            window.use(counter)
            used.add(counter)


def test_a_huge_jump_of_counters_costs_nothing() -> None:
    """A counter of 2^63 is as good as any, and what lies a window behind it is not taken any more."""
    window = Window()
    window.use(5)
    window.use(2**63 - 1)
    assert not window.fresh(6)
    assert window.fresh(2**63 - 2)


def test_peers_are_bounded_in_every_way() -> None:
    """In boots of one key, in strangers, and in all; a sender's own boots make room for its own."""
    peers = Peers(0.0)
    for at in range(10):
        peers.heard(PeerId(A, at.to_bytes(8, "big")), 0, stranger=False, now=at)
    assert len(peers) == MAX_BOOTS_PER_SENDER
    assert [peer.id.boot[-1] for peer in peers.boots(A)] == [9, 8, 7, 6]
    for at in range(2 * MAX_STRANGERS):
        peers.heard(PeerId(at.to_bytes(32, "big"), bytes(8)), 0, stranger=True, now=at)
    assert len(peers) == MAX_BOOTS_PER_SENDER + MAX_STRANGERS
    for at in range(2 * MAX_PEERS):
        peers.heard(PeerId(b"m" + at.to_bytes(31, "big"), bytes(8)), 0, stranger=False, now=at)
    assert len(peers) == MAX_PEERS


def test_a_budget_refills_and_never_exceeds_its_burst() -> None:
    """Spending more than is left changes nothing; a clock that steps back gives nothing."""
    budget = Budget(rate=10, burst=20, now=0.0)
    assert budget.take(20, 0.0)
    assert not budget.take(1, 0.0)
    assert budget.take(10, 1.0)
    assert not budget.take(1, -100.0)
    assert budget.take(20, 1000.0)
    assert not budget.take(1, 1000.0)


def test_a_recent_set_forgets_the_oldest() -> None:
    """Adding again makes a value the newest."""
    recent = RecentSet(2)
    assert recent.add(b"a")
    assert recent.add(b"b")
    assert not recent.add(b"a")
    assert recent.add(b"c")
    assert b"a" in recent
    assert b"b" not in recent
    assert len(recent) == 2


def test_delivery_counts_what_peers_have_shown() -> None:
    """A former root confirms the blocks that were ours then; a feed cut short by its fork owes nothing."""
    delivery = Delivery()
    delivery.moved(b"root one", 3, 0.0)
    delivery.moved(b"root two", 5, 1.0)
    delivery.seen_root(b"root one", 2.0)
    assert delivery.unconfirmed == 2
    assert delivery.overdue(601.0) is None
    assert delivery.overdue(602.0) is not None
    delivery.moved(b"root three", 2, 603.0)
    assert delivery.unconfirmed == 0
    assert delivery.overdue(10_000.0) is None
