"""Blocks that came before those that they follow: made-up ones do not keep the true ones out for long."""

from __future__ import annotations

from random import Random

import pytest

from gossip_network import Links
from gossip_world import TOPICS, World, forge
from medledger.limits import EARLY_FRAMES, LIVE_BYTES, MAX_SEQ
from medledger.sync.early import EARLY_SECONDS, EarlyFrames
from medledger.sync.messages import Blocks, Query
from memory_replica import identity, make

SIZE = 60_000
FEEDS = 2 + LIVE_BYTES // (SIZE * EARLY_FRAMES)


@pytest.mark.parametrize(("seq", "pause"), [(MAX_SEQ - EARLY_FRAMES, 1.0), (1, EARLY_SECONDS)])
def test_made_up_blocks_leave_room(rng: Random, seq: int, pause: float) -> None:
    """As much as is kept, of feeds that never get there: what is lost later is all that is asked for."""
    world = World(rng.randrange(2**32), "abc", Links(delay=(0.001, 0.002)))
    for number in range(FEEDS):
        world.enrol(f"device {number}")
    world.settle()
    world.net.run(60)
    for number in range(FEEDS):
        who = identity(f"device {number}")
        for at in range(EARLY_FRAMES):
            block = make(who, seq + at, bytes(32), bytes(SIZE))
            forge(world, Blocks(who.public_key, (block.raw,)), TOPICS.live(who.public_key), identity("c"))
            world.net.run(0.01)
    world.net.run(pause)
    author = world.members[0]
    world.net.links.lose_sure = 1.0
    world.net.append(author, b"lost")
    world.net.run(0.05)
    world.net.links.lose_sure = 0.0
    before = world.net.now
    for step in range(8):
        world.net.append(author, step.to_bytes(SIZE, "big"))
        world.net.run(0.02)
    assert world.net.run(5, until=world.net.converged)
    asked = [each for _, _, query, _ in world.said(Query, before) for each in query.ranges]
    assert {each.stop for each in asked if each.feed == author.replica.me} == {1}


def test_the_farthest_make_room_in_their_feed_and_in_all(rng: Random) -> None:
    """Nearer ones take the place of those far ahead, and not the other way round."""
    early = EarlyFrames()
    feeds = [rng.randbytes(32) for _ in range(FEEDS)]
    frames = {feed: Blocks(feed, (bytes(SIZE),)) for feed in feeds}

    def keep(feed: bytes, seq: int, now: float = 0.0) -> bool:
        return early.keep([frames[feed]], feed, seq, 0, now) <= seq

    assert [keep(feeds[0], seq) for seq in range(10, 12 + EARLY_FRAMES)] == [True] * EARLY_FRAMES + [False] * 2
    assert keep(feeds[0], 9)
    assert len(early.take(feeds[0], 9)) == EARLY_FRAMES
    room = LIVE_BYTES // SIZE
    kept = [keep(feed, 100 + at) for at in range(EARLY_FRAMES) for feed in feeds]
    assert kept == [True] * room + [False] * (len(kept) - room)
    assert keep(feeds[0], 5)
    assert not keep(feeds[1], 1000)
    assert keep(feeds[1], 1000, EARLY_SECONDS)
    assert early.take(feeds[0], 5) == []
