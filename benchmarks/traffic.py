"""What gossip puts on the wire, watched by a bare client that hears everything a real broker carries.

- `in-sync`: nodes that hold the same ledger of many feeds. Until they have found each other they may say what they
  like; from then on, for some of the longest intervals, every frame must be a beacon, and the largest is the line.
- `catch-up`: a node with many feeds is behind on one in a hundred of them. All that is published is counted, in both
  directions, from the time it connects until it knows that it is level: beacons, probes, leaves, wants, data and dones,
  each with its seal, its signature, its topic and its MQTT header. The line is that over the blocks' own bytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from medledger.ledger import Ledger
from medledger.limits import MAX_BEACON_BYTES
from medledger.sync.topics import Topics
from medledger.transport import Gossip

from .broker import HOST, Broker, broker
from .measure import Line, line
from .scale import Scale
from .world import TRANSPORT_KEY, World

NODES = 3
SECONDS = 60.0


class Tap:
    """Everything that a broker carries, with the time it came."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, str, int]] = []

    @contextmanager
    def open(self, chosen: Broker) -> Iterator[None]:
        """Listen, as long as the block lasts."""
        client = Client(CallbackAPIVersion.VERSION2)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._hear
        client.connect(HOST, chosen.port)
        client.loop_start()
        try:
            client.subscribe("#", 1)
            if not subscribed.wait(SECONDS):
                raise RuntimeError("the broker does not answer")
            yield
        finally:
            client.disconnect()
            client.loop_stop()

    def _hear(self, _client: Client, _data: Any, message: Any) -> None:
        self.frames.append((time.monotonic(), message.topic, len(message.payload)))


def wire_bytes(topic: str, size: int) -> int:
    """A publication as MQTT 3.1.1 frames it, at QoS 0: header, length, topic and payload."""
    whole = 2 + len(topic) + size
    return 1 + (1 if whole < 128 else 2 if whole < 16384 else 3) + whole


def in_sync(place: Path, scale: Scale) -> Iterator[Line]:
    """Nodes that have nothing to tell each other."""
    world = World(scale.beacon_feeds)
    raws = [raw for number in range(scale.beacon_feeds) for raw in world.author(number).readings(1)]
    tap = Tap()
    with ExitStack() as stack:
        chosen = stack.enter_context(broker(place))
        stack.enter_context(tap.open(chosen))
        ledgers = [
            stack.enter_context(world.member(place / f"{number}.db", world.boxes[number])) for number in range(NODES)
        ]
        for ledger in ledgers:
            ledger.import_blocks(raws)
        nodes = [stack.enter_context(Gossip(ledger, chosen.url)) for ledger in ledgers]
        if not all(node.wait_in_sync(SECONDS) for node in nodes):
            raise RuntimeError("the nodes do not find each other")
        since = time.monotonic()
        time.sleep(scale.beacon_seconds)
        frames = [frame for frame in tap.frames if frame[0] >= since]
    topic = Topics(world.ledger_id, TRANSPORT_KEY.key).beacons
    beacons = [size for _, where, size in frames if where == topic]
    largest = max(beacons, default=0)
    others = len(frames) - len(beacons)
    watched = f"{NODES} nodes with {scale.beacon_feeds} feeds, over {chosen.name}, for {scale.beacon_seconds:g} s"
    yield line(
        "in-sync-beacon",
        largest,
        "bytes at most",
        reference=f"{MAX_BEACON_BYTES} bytes",
        ratio=largest / MAX_BEACON_BYTES,
        bar=1.0,
        method=f"{watched}: {len(beacons)} beacons, sealed and signed",
        result=[scale.beacon_feeds],
    )
    yield line(
        "in-sync-other-frames",
        others,
        "frames",
        reference=f"{len(beacons)} beacons",
        ratio=others / max(1, len(beacons)),
        bar=0.0,
        method=watched,
        result=[scale.beacon_feeds, others],
    )


def catch_up(place: Path, scale: Scale) -> Iterator[Line]:
    """A node that lacks a little of a few of many feeds."""
    feeds = scale.lagging_feeds
    world = World(feeds)
    authors = [world.author(number) for number in range(feeds)]
    common = [raw for author in authors for raw in author.readings(1)]
    lagging = authors[::100]
    lacking = [raw for author in lagging for raw in author.readings(scale.lagging_blocks)]
    tap = Tap()
    with ExitStack() as stack:
        ahead, behind = (
            stack.enter_context(world.member(place / f"{number}.db", world.boxes[number])) for number in range(2)
        )
        for ledger, blocks in ((ahead, common + lacking), (behind, common)):
            ledger.import_blocks(blocks)
        chosen = stack.enter_context(broker(place))
        stack.enter_context(Gossip(ahead, chosen.url))
        time.sleep(scale.settle_seconds)
        stack.enter_context(tap.open(chosen))
        node = stack.enter_context(Gossip(behind, chosen.url))
        _until(lambda: node.wait_in_sync(SECONDS) and _equal(ahead, behind))
        frames = list(tap.frames)
        digest = behind.digest()
    missing = sum(map(len, lacking))
    spent = sum(wire_bytes(topic, size) for _, topic, size in frames)
    payloads = sum(size for _, _, size in frames)
    yield line(
        "catch-up-1-percent",
        spent,
        "bytes published",
        reference=f"the {len(lacking)} blocks that were missing, {missing} bytes",
        ratio=spent / missing,
        bar=1.1,
        method=f"{feeds} feeds, {len(lagging)} of them {scale.lagging_blocks} blocks behind, over {chosen.name}: all "
        f"{len(frames)} frames in both directions with topics and headers; payloads alone {payloads / missing:.3f}",
        result=[digest],
    )


def _equal(one: Ledger, other: Ledger) -> bool:
    return one.digest() == other.digest()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the node does not catch up")
        time.sleep(0.01)
