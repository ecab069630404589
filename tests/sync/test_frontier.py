"""Frontiers: equal roots mean equal contents, and differences are found where they are."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from medledger.sync.frontier import EMPTY, Frontier, Height, Missing, agree, height, missing

ids = st.binary(min_size=32, max_size=32)
# Few first bytes, so that buckets are shared; lengths small, so that heights collide.
feeds = st.tuples(st.sampled_from(b"\x00\x01\xff"), st.binary(min_size=31, max_size=31)).map(
    lambda t: bytes(t[:1]) + t[1]
)
heights = st.builds(Height, st.integers(1, 5), ids, st.one_of(st.just(b""), ids))
maps = st.dictionaries(feeds, heights, max_size=12)


def reference_root(held: dict[bytes, Height]) -> bytes:
    """The root, straight from its definition."""
    digests = []
    for bucket in range(256):
        leaves = sorted((feed, each) for feed, each in held.items() if feed[0] == bucket)
        data = b"".join(feed + h.length.to_bytes(8, "big") + h.head + h.fork for feed, h in leaves)
        digests.append(sha256(data).digest())
    return sha256(b"".join(digests)).digest()[:16]


@given(maps, maps)
def test_the_root_is_the_definition_s_however_it_was_reached(
    first: dict[bytes, Height], second: dict[bytes, Height]
) -> None:
    """Updating one feed at a time, over whatever was there, gives the root, count and total of building afresh."""
    frontier = Frontier(first)
    assert frontier.root == reference_root(first)
    for feed in first.keys() - second.keys():
        frontier.update(feed, EMPTY)
    for feed, each in second.items():
        frontier.update(feed, each)
    assert frontier.root == reference_root(second)
    assert (frontier.count, frontier.total) == (len(second), sum(each.length for each in second.values()))


@given(maps, maps)
def test_roots_are_equal_exactly_when_contents_are(one: dict[bytes, Height], other: dict[bytes, Height]) -> None:
    """No two different contents of these share a root, or a set of bucket digests."""
    assert (Frontier(one).root == Frontier(other).root) == (one == other)
    assert (Frontier(one).differing(*Frontier(other).digests()) == []) == (one == other)


@given(maps, maps)
def test_digests_find_the_buckets_that_differ(one: dict[bytes, Height], other: dict[bytes, Height]) -> None:
    """Exactly the buckets with a differing feed, from both sides alike."""
    expected = sorted({feed[0] for feed in one.keys() | other.keys() if one.get(feed) != other.get(feed)})
    assert Frontier(one).differing(*Frontier(other).digests()) == expected
    assert Frontier(other).differing(*Frontier(one).digests()) == expected


@given(maps)
def test_update_says_whether_it_was_news(held: dict[bytes, Height]) -> None:
    """Taking over what is known already changes nothing and says so."""
    frontier = Frontier(held)
    root = frontier.root
    assert not frontier.replace(held)
    assert frontier.root == root
    assert dict(frontier.leaves(range(256))) == held


@given(maps, maps)
def test_pulling_what_is_missing_makes_us_level(ours: dict[bytes, Height], theirs: dict[bytes, Height]) -> None:
    """`missing` names a feed exactly when they are longer or split at equal length, and the range that is lacking."""
    found = missing(ours, theirs)
    for feed, (length, head, _) in theirs.items():
        here = ours.get(feed, EMPTY)
        if length > here.length:
            assert found.pop(feed) == Missing(here.length, length, head)
        elif length == here.length and head != here.head:
            assert found.pop(feed) == Missing(length - 1, length, head)
    assert found == {}


@given(maps)
def test_nothing_is_missing_from_ourselves(held: dict[bytes, Height]) -> None:
    """Nor from what shows only prefixes of our own ids."""
    assert missing(held, held) == {}
    assert missing(held, {feed: Height(each.length, each.head[:8], each.fork[:8]) for feed, each in held.items()}) == {}


def test_prefixes_agree_with_what_they_begin() -> None:
    """A prefix agrees with the whole; none agrees with none only."""
    assert agree(b"abcdefgh", b"abcdefghij")
    assert agree(b"", b"")
    assert not agree(b"", b"abcdefgh")
    assert not agree(b"abcdefgX", b"abcdefghij")


class Head(NamedTuple):
    """The last block of a feed."""

    seq: int
    id: bytes


class Fork(NamedTuple):
    """Two blocks at one place."""

    seq: int
    ids: tuple[bytes, bytes]


def test_a_fork_shows_in_the_root() -> None:
    """Two replicas with the same standing blocks differ while one of them lacks the fork's proof, or has another."""
    feed, head = b"f" * 32, Head(9, b"h" * 32)
    fork, other = Fork(10, (b"a" * 32, b"b" * 32)), Fork(10, (b"a" * 32, b"c" * 32))
    roots = {Frontier({feed: height(head, each)}).root for each in (None, fork, other)}
    assert len(roots) == 3
    branched = [height(head, fork, ids) for ids in ((), (b"x" * 32,), (b"x" * 32, b"y" * 32), (b"y" * 32, b"x" * 32))]
    assert len({each.fork for each in branched}) == 3, "another set of blocks on branches, in whatever order"
    assert branched[0] == height(head, fork)
    assert height(head, None, ()).fork == b""
    assert height(None, None) == EMPTY
    assert height(None, fork).length == 0
