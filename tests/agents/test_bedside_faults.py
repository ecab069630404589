"""Faults of the bedside agent: kill -9 around the acknowledgement, with patients who come and go; slow and torn input.

What is checked after every run of kills: each acknowledged message is on the ledger, each reading once, and nobody has
a reading from outside his stay.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest

from boxes import Agent, World
from medledger.associations import Margins, standing
from medledger.records import Reading
from medledger_agents.bedside.ward import logged_associations
from medledger_bridge.mllp import wrap
from ward_messages import WARD, adt, now


class Ward(threading.Thread):
    """A sender of readings and movements that waits for each acknowledgement, and says again what got none."""

    def __init__(self, agent: Agent, first: int, waiting: bytes | None) -> None:
        super().__init__(daemon=True)
        self._agent = agent
        self.number = first
        self.waiting = waiting
        self.acknowledged: list[bytes] = []
        self.refused: list[tuple[str, str, str]] = []

    def run(self) -> None:
        try:
            connection = self._agent.monitor()
            while True:
                message = self.waiting or self._next()
                self.waiting = message
                answer = connection.ask(message)
                if answer[0] != "AA":
                    self.refused.append(answer)
                self.acknowledged.append(message)
                self.waiting = None
        except OSError:
            return  # killed

    def _next(self) -> bytes:
        self.number += 1
        turn = self.number % 20
        if turn in (1, 11):  # one patient after the other
            patient = "P-4711" if turn == 1 else "P-4712"
            return adt(f"a{self.number}", "A01", patient=patient, at=-60 + self.number / 1000)
        if turn in (8, 18):
            patient = "P-4711" if turn == 8 else "P-4712"
            return adt(f"a{self.number}", "A03", patient=patient, at=-60 + self.number / 1000)
        return now(self.number, patient="")


def kill_again_and_again(world: World, rng: random.Random, kills: int) -> None:
    """So many kills at random moments; then everything is looked at."""
    box = world.box("bed", "bedside", beds=WARD, log={"format": "json", "level": "info"})
    acknowledged: Counter[bytes] = Counter()
    number, waiting = 0, None
    for _ in range(kills):
        with box.start() as agent:
            sender = Ward(agent, number, waiting)
            sender.start()
            time.sleep(rng.uniform(0.01, 0.3))
            agent.kill()
            sender.join(60)
        assert sender.refused == []
        acknowledged.update(box.named(message) for message in sender.acknowledged)
        number, waiting = sender.number, sender.waiting
    with box.start() as agent:
        agent.stop()  # settles what the last kill left
    readings = box.entries("reading")
    logged = Counter(entry.content["raw"] for entry in readings)
    told = {entry.content["raw"] for entry in box.entries("association")}
    assert max(logged.values()) == 1
    assert len(acknowledged) > kills
    missing = set(acknowledged) - set(logged) - told
    with box.ledger() as ledger:
        ledger.fsck()
        assert ledger.verify(every_signature=True).forks == []
        known = logged_associations(ledger)
    for entry in readings:
        reading = Reading.from_content(entry.content, subject=entry.subject, time=entry.time)
        whose, reason = standing(reading, known, Margins())
        assert (whose is None) == (reason is not None)
    assert not missing, "an acknowledged message left no trace"


def test_kills_around_the_acknowledgement(world: World, rng: random.Random) -> None:
    """20 kills: nothing acknowledged is lost, nothing is doubled."""
    kill_again_and_again(world, rng, 20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_kills_around_the_acknowledgement(world: World, rng: random.Random) -> None:
    """200 kills: nothing acknowledged is lost, nothing is doubled."""
    kill_again_and_again(world, rng, 200)


def test_a_peer_that_stops_in_the_middle_holds_up_nobody(world: World) -> None:
    """Half a message, then silence: others are served meanwhile; when the rest comes in time, it is taken."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        slow, other = agent.monitor(), agent.monitor()
        frame = wrap(now(1))
        slow.socket.sendall(frame[: len(frame) // 2])
        assert other.ask(now(2))[0] == "AA"
        slow.socket.sendall(frame[len(frame) // 2 :])
        assert slow.receive()[:2] == ("AA", "1")
        agent.stop()
    assert len(box.entries("reading")) == 2


def test_a_document_and_foreign_letters_go_through(world: World) -> None:
    """85 KB in one OBX, and letters beyond ASCII, byte at a time around the seams: logged, and kept as they came."""
    import sqlite3

    box = world.box("bed", "bedside")
    document = now(1) + b"OBX|7|ED|18842-5^Discharge summary^LN||^application^pdf^Base64^"
    document += b"QUJD" * 21_250 + b"||||||F\r"
    letters = now(2, sender="MON-Ä")
    with box.start() as agent:
        monitor = agent.monitor()
        frame = wrap(document)
        assert len(frame) > 85_000
        for piece in (frame[:1], frame[1:40_000], frame[40_000:-2], frame[-2:-1], frame[-1:]):
            monitor.socket.sendall(piece)
        assert monitor.receive()[:2] == ("AA", "1")
        for byte in wrap(letters):
            monitor.socket.sendall(bytes((byte,)))
        assert monitor.receive()[:2] == ("AA", "2")
        agent.stop()
    db = sqlite3.connect(box.home / "inbox.db")
    assert [raw for (raw,) in db.execute("SELECT raw FROM messages ORDER BY id")] == [document, letters]
    db.close()
    assert b"QUJDQUJD" not in box.stored_bytes(), "documents stay in the inbox"
