"""Two pharmacies that are cut off from each other supply the same: both are right by what they know. When their blocks
meet, each pharmacy says so, and an auditor finds it with the blocks that prove it. And kill -9, with both.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from boxes import Agent, Box, World
from brokers import Broker
from counter_world import GTIN, RX, RX_TEXT, scan
from medledger import Ledger
from medledger.findings import find
from medledger.merkle import leaf_hash
from medledger.records import Prescription
from medledger.transport import Gossip
from waiting import until

SUPPLY = {"scan": scan(), "prescription": RX_TEXT, "quantity": "30", "unit": "{tablet}"}


def reconfigure(box: Box, before: str, after: str) -> None:
    """Change a line of a box's configuration."""
    text = box.config.read_text()
    assert before in text
    box.config.write_text(text.replace(before, after))


def conflict_kinds(agent: Agent) -> set[str]:
    """What the agent's log says of conflicts so far."""
    return {event["kind"] for event in agent.log if event["event"] == "conflict"}


@pytest.mark.timeout(180)
def test_both_supplied_the_same_prescription_and_pack(world: World, broker: Broker, tmp_path: Path) -> None:
    """Both replies say dispensed; after gossip both tills and a third replica know, with the proof; nothing is lost."""
    world.hospital.append(Prescription(prescription=RX, product=GTIN, quantity=30, unit="{tablet}", subject=bytes(16)))
    section = {"broker": broker.url, "offline": True}
    boxes = [world.box(name, "pharmacy", gossip=section) for name in ("north", "south")]
    entries = []
    for box in boxes:
        with box.start() as agent:
            reply = agent.till().ask({**SUPPLY, "id": "till-1"})
            assert (reply["result"], reply["remaining"]) == ("dispensed", "0")
            agent.kill()
        entries.append(reply["entry"])
        reconfigure(box, "offline = true", "offline = false")
    with Gossip(world.hospital, broker.url), boxes[0].start() as north, boxes[1].start() as south:
        both = {"overdispensed", "serial supplied twice"}
        assert until(lambda: conflict_kinds(north) == both == conflict_kinds(south), 60)
        told = north.till().ask({"do": "conflicts"})["conflicts"]
        assert {each["kind"] for each in told} == both
        again = north.till().ask({**SUPPLY, "id": "till-1"})
        assert (again["result"], again["repeated"], again["entry"]) == ("dispensed", True, entries[0])
        assert until(lambda: len(list(world.hospital.entries("dispense"))) == 2)
        north.stop()
        south.stop()
    # The auditor has a file, a library, and trusts neither pharmacy.
    world.hospital.export_bundle(tmp_path / "all.bundle")
    with Ledger.replicate(tmp_path / "auditor.db", world.hospital.genesis.raw) as auditor:
        auditor.import_bundle(tmp_path / "all.bundle")
        report = auditor.verify(every_signature=True)
        assert report.own_signatures == report.blocks
        findings = {finding.kind: finding for finding in find(auditor)}
        assert both <= findings.keys()
        for kind in both:
            named = {place.feed for place in findings[kind].places}
            assert {box.identity.public_key for box in boxes} <= named
        proof = findings["overdispensed"].places
        blocks = [auditor.find_block(place.block_id) for place in proof]
        leaves = [leaf_hash(block.body[place.index]).hex() for block, place in zip(blocks, proof, strict=True)]  # type: ignore[union-attr,arg-type]
        assert set(entries) < set(leaves)  # both supplies, and the order
        assert findings["overdispensed"].facts["supplied"] == "60"


@pytest.mark.timeout(300)
def test_what_the_till_was_told_is_logged_once_whenever_the_power_goes(world: World, rng: random.Random) -> None:
    """20 kills: each answered request is on the ledger exactly once, each unanswered one at most once, no fork."""
    kill_again_and_again(world, rng, 20)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_kills_of_a_pharmacy(world: World, rng: random.Random) -> None:
    """200 kills: the same."""
    kill_again_and_again(world, rng, 200)


def kill_again_and_again(world: World, rng: random.Random, kills: int) -> None:
    """So many kills at random moments around the reply; then everything is looked at."""
    box = world.box("counter", "pharmacy", log={"format": "json", "level": "info"})
    answered: set[str] = set()
    asked: set[str] = set()
    number = 0
    pending: dict[str, str] | None = None
    for _ in range(kills):
        with box.start() as agent:
            till = agent.till()
            deadline = time.monotonic() + rng.uniform(0.02, 0.3)
            killer_at = rng.randrange(1, 6)
            for count in range(12):
                if pending is None:
                    number += 1
                    do = rng.choice(["dispense", "receive"])
                    code = scan(gtin=GTIN if do == "dispense" else "07032069804988", serial=f"K{number}")
                    pending = {"do": do, "scan": code, "id": f"r{number}"}
                line = json.dumps(pending)
                asked.add(line)
                if count == killer_at or time.monotonic() > deadline:
                    till.socket.sendall(line.encode() + b"\n")
                    time.sleep(rng.uniform(0, 0.02))
                    break
                reply = till.ask(line)
                assert reply["result"] in ("dispensed", "received"), reply
                answered.add(line)
                pending = None
            agent.kill()
    with box.start() as agent:
        agent.stop()
    entries = [*box.entries("dispense"), *box.entries("stock")]
    logged = Counter(entry.content["raw"] for entry in entries)
    assert len(answered) > kills
    assert set(map(box.named, answered)) <= logged.keys() <= set(map(box.named, asked))
    assert set(logged.values()) == {1}
    with box.ledger() as ledger:
        ledger.fsck()
        assert ledger.forks == {}
