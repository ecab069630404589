"""kill -9 of the bedside agent in the middle of logging, again and again, on a real file system.

Monitors send without pause on several connections; the agent is killed at a random moment after the first
acknowledgement, and started again in the same directory. What was sent and not acknowledged is sent again, as monitors
do. After each kill a peer imports the feed as it stands: a feed that forked would not link to what the peer holds.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest

from boxes import Agent, Box, World, oru
from medledger import Ledger

KILLS = 15
MONITORS = 3


class Sender(threading.Thread):
    """A monitor that sends message after message until its connection breaks. It keeps some messages under way."""

    def __init__(self, agent: Agent, name: str, unacknowledged: list[int], next_number: int) -> None:
        super().__init__(daemon=True)
        self._agent = agent
        self._monitor = name
        self.waiting = list(unacknowledged)
        self._next = next_number
        self.acknowledged: list[int] = []
        self.refused: list[tuple[str, str, str]] = []

    def run(self) -> None:
        try:
            connection = self._agent.monitor()
            connection.send(*(self.message(number) for number in self.waiting))
            while True:
                while len(self.waiting) < 4:
                    self.waiting.append(self._next)
                    connection.send(self.message(self._next))
                    self._next += 1
                code, number, reason = connection.receive()
                if code != "AA" or int(number) != self.waiting[0]:
                    self.refused.append((code, number, reason))
                self.acknowledged.append(self.waiting.pop(0))
        except OSError:
            return  # killed

    def message(self, number: int) -> bytes:
        """The message with this number: the same bytes whenever it is sent."""
        return oru(number, sender=self._monitor, value=str(40 + number % 100))


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_or_doubled(world: World, rng: random.Random) -> None:
    """15 kills: each acknowledged message is on the ledger once, the feed has not forked, every byte verifies."""
    box = world.box("bed", "bedside", log={"format": "json", "level": "info"})
    waiting: dict[str, list[int]] = {f"MON-{number}": [] for number in range(MONITORS)}
    following = dict.fromkeys(waiting, 0)
    acknowledged: set[bytes] = set()
    for _ in range(KILLS):
        with box.start() as agent:
            senders = {name: Sender(agent, name, waiting[name], following[name]) for name in waiting}
            for sender in senders.values():
                sender.start()
            time.sleep(rng.uniform(0.02, 0.25))
            agent.kill()
            for name, sender in senders.items():
                sender.join(60)
                assert sender.refused == []
                acknowledged.update(box.named(sender.message(number)) for number in sender.acknowledged)
                waiting[name] = sender.waiting
                following[name] = max(
                    [following[name], *(number + 1 for number in sender.acknowledged + sender.waiting)]
                )
        _pull(box, world.hospital)
    with box.start() as agent:
        agent.stop()  # settles what the last kill left open
    _pull(box, world.hospital)

    found = Counter(entry.content["raw"] for entry in box.entries("reading"))
    assert len(acknowledged) > KILLS
    assert acknowledged <= found.keys()
    assert set(found.values()) == {1}
    with box.ledger() as ledger:
        assert ledger.state == "ready"
        report = ledger.verify(every_signature=True)
        assert report.own_signatures == report.blocks
        assert report.forks == []
        ledger.fsck()
        assert ledger.digest() == world.hospital.digest()


def _pull(box: Box, peer: Ledger) -> None:
    """What a peer takes of the box's feed: all of it links to what it has."""
    feed = box.identity.public_key
    with Ledger.open(box.home / "ledger.db") as ledger:
        report = peer.import_blocks(list(ledger.raw_blocks(feed)))
    assert report.refused == []
    assert peer.forks == {}
