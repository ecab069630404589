"""Malformed frames by the thousand against one node: what an outsider can make, and what a member can who lies.

Outsiders damage real frames: bits flipped, bytes lost or added, halves exchanged, other topics. Members seal what they
like: kinds that are not there, fields of wrong types and lengths, CBOR that is not deterministic, unsigned or signed by
another, and the right frame on the wrong channel; and real frames of which one field is another, which get furthest.
None of them may change anything but counters.
"""

from __future__ import annotations

import tracemalloc
from random import Random
from typing import Any

from medledger import cbor
from medledger.errors import MedledgerError
from medledger.sync import Received, Tick
from medledger.sync.frames import KINDS, Codec
from medledger.sync.topics import Channel, Topics

from .bars import Bar
from .machine import Machine
from .scenarios import ward, write_for
from .truth import Failure
from .world import World

MEMORY_BYTES = 16 * 1024 * 1024
KEPT = 400  # real frames of each topic's channel that are spoiled


def malformed_frames(seed: int, count: int = 100_000) -> list[Bar]:
    """Hand a node this many frames that are not what they should be, and see what is left of them."""
    with World(seed) as world:
        machines = ward(world, 2)
        frames = _record(world, machines)
        target = machines[1]
        world.run(300)  # until all is quiet
        rng = world.fork_rng("malformed")
        forger = Forger(world, target, frames, rng)
        before = _state(target)
        node, clock = target.node, target.clock
        assert node is not None  # nothing stops it here
        for _ in range(2000):  # what is kept of frames has its full size now
            node.handle(Received(*forger.frame()), clock.monotonic)
        tracemalloc.start()
        base = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            topic, payload = forger.frame()
            try:
                effects = node.handle(Received(topic, payload), clock.monotonic)
            except Exception as error:
                raise Failure("no escaping exception", f"frame {number}: {error!r}") from error
            said = [type(each).__name__ for each in effects if type(each).__name__ != "WakeAt"]
            if said:
                raise Failure("a malformed frame is not answered", f"frame {number}: {said}")
            if number % 500 == 499:
                target.handle(Tick())  # what was gathered for one import is imported
        grown = tracemalloc.get_traced_memory()[0] - base
        tracemalloc.stop()
        world.run(30)
        unchanged = _state(target) == before
        world.finish()
    return [
        Bar("malformed frames: memory", "+<= 16 MiB", f"{grown / 2**20:+.2f} MiB", grown <= MEMORY_BYTES, seed),
        Bar("malformed frames: escaping exceptions", "0", f"0 in {count:,} frames", True, seed),
        Bar("malformed frames: state", "0 changes", "unchanged" if unchanged else "changed", unchanged, seed),
    ]


def _record(world: World, machines: list[Machine]) -> list[tuple[str, bytes]]:
    """Frames of every kind that honest traffic has."""
    frames: list[tuple[str, bytes]] = []
    publish = world.broker.publish

    def record(sender: Any, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        frames.append((topic, payload))
        publish(sender, topic, payload, qos, retain=retain)

    world.broker.publish = record  # type: ignore[method-assign]
    write_for(world, machines, 20, world.fork_rng("writing"))
    machines[2].cut_off(10)
    write_for(world, machines[:2], 9, world.fork_rng("writing more"))
    world.run(30)
    world.broker.publish = publish  # type: ignore[method-assign]
    return frames[-KEPT:]


def _state(machine: Machine) -> tuple[object, ...]:
    """All that a frame could change at a machine."""
    ledger, node = machine.ledger, machine.node
    assert ledger is not None
    assert node is not None
    status = node.status(machine.clock.monotonic)
    told = {name: status[name] for name in ("feeds", "blocks", "feeds_behind", "state", "own_blocks_unconfirmed")}
    peers = sorted(peer.id for peer in node.peers)
    return ledger.digest(), node.frontier.root, tuple(told.items()), tuple(peers), tuple(ledger.forks)


class Forger:
    """Makes frames that are wrong in one way or several."""

    def __init__(self, world: World, target: Machine, frames: list[tuple[str, bytes]], rng: Random) -> None:
        key = world.transport_key()
        self._rng = rng
        self._frames = frames
        self._codec = Codec(world.ledger_id, key, rng)
        self._topics = Topics(world.ledger_id, key.key)
        self._me = target.me
        self._feeds = [machine.me for machine in world.machines]

    def frame(self) -> tuple[str, bytes]:
        """One more."""
        return self._rng.choice((self._outsiders, self._members, self._nearly))()

    def _nearly(self) -> tuple[str, bytes]:
        """A real frame, opened, with something else in one place, and sealed again."""
        rng = self._rng
        topic, payload = rng.choice(self._frames)
        plaintext = self._codec._unseal(topic, payload)
        start = 65 if plaintext[0] < 16 else 1  # behind the kind, and the signature where there is one
        was = plaintext[start:]
        items = list(cbor.decode(was, max_size=len(was)))
        inside = items
        while True:
            at = rng.randrange(len(inside))
            if not isinstance(inside[at], list | tuple) or not inside[at] or rng.random() < 0.3:
                break
            inside[at] = inside = list(inside[at])
        value = inside[at]
        if isinstance(value, bytes) and value and rng.random() < 0.5:
            place = rng.randrange(len(value))
            inside[at] = value[:place] + bytes((value[place] ^ 1 << rng.randrange(8),)) + value[place + 1 :]
        elif isinstance(value, int) and rng.random() < 0.5:
            inside[at] = value + rng.choice([-1, 1, 2**32])
        else:
            inside[at] = self._anything(2)
        fields = self._encoded(items)
        return topic, self._codec._seal(topic, plaintext[:start] + (fields if fields != was else fields + b"\0"))

    def _outsiders(self) -> tuple[str, bytes]:
        rng = self._rng
        topic, payload = rng.choice(self._frames)
        at = rng.randrange(len(payload))
        match rng.randrange(7):
            case 0:
                payload = payload[:at] + bytes((payload[at] ^ 1 << rng.randrange(8),)) + payload[at + 1 :]
            case 1:
                payload = payload[:at]
            case 2:
                payload += rng.randbytes(rng.randrange(1, 70_000 if rng.random() < 0.02 else 100))
            case 3:
                other = rng.choice(self._frames)[1]
                payload = payload[:at] + other[at:] + b"\0"
            case 4:
                topic = rng.choice([topic[:at], topic + "/x", topic.replace("/s", "/q"), "", "ml/1", "a" * 65_000])
                payload += b"\0"
            case 5:
                payload = rng.randbytes(rng.choice([0, 1, 4, 44, 45, 200, 5000]))
            case _:
                payload = payload[:4] + rng.randbytes(len(payload) - 4)
        return topic, payload

    def _members(self) -> tuple[str, bytes]:
        """Well sealed, and wrong inside."""
        rng = self._rng
        channel = rng.choice(list(Channel))
        topic = {
            Channel.BEACONS: self._topics.beacons,
            Channel.QUERIES: self._topics.queries,
            Channel.INBOX: self._topics.inbox(self._me),
            Channel.LIVE: self._topics.live(rng.choice(self._feeds)),
            Channel.PROOFS: self._topics.proofs(rng.choice(self._feeds)),
        }[channel]
        kind = int(rng.choice(list(KINDS[channel]))) if rng.random() < 0.9 else rng.randrange(256)
        fields = self._encoded([self._anything(3) for _ in range(rng.randrange(10))])
        if kind < 16 and rng.random() < 0.9:  # with an origin, and a signature that nobody made
            origin = [rng.choice(self._feeds), rng.randbytes(8), rng.randrange(2**40)]
            fields = rng.randbytes(64) + self._encoded([*origin, *[self._anything(3) for _ in range(rng.randrange(9))]])
        plaintext = bytes((kind,)) + fields
        if rng.random() < 0.1:
            plaintext = plaintext[: rng.randrange(len(plaintext))] or b"\0"
        return topic, self._codec._seal(topic, plaintext)

    def _encoded(self, items: list[Any]) -> bytes:
        try:
            raw = cbor.encode(items)
        except MedledgerError:
            raw = b"\x80"
        if self._rng.random() < 0.2:  # the same in longer words, or with something behind it
            raw = self._rng.choice([b"\x98" + raw[:1], b"\x9f" + raw[1:] + b"\xff", raw + b"\0", b"\xd8\x1c" + raw])
        return raw

    def _anything(self, depth: int) -> Any:
        """A value of some type, in range or out of it."""
        rng = self._rng
        match rng.randrange(8 if depth else 6):
            case 0:
                return rng.choice([0, 1, 2**32, 2**63 - 1, -1])
            case 1:
                return rng.randbytes(rng.choice([0, 1, 7, 8, 16, 31, 32, 33, 256]))
            case 2:
                return rng.choice(["", "a", "\0" * 40])
            case 3:
                return rng.choice([True, False, None])
            case 4:
                return rng.choice(self._feeds)
            case 5:
                return rng.randbytes(8)
            case _:
                return [self._anything(depth - 1) for _ in range(rng.randrange(5))]
