"""Random histories of governance: several governors, forks, closings, hidden and rival acts.

A history is made by a seeded generator, so that Hypothesis only draws the seed. Its people propose and approve epochs,
enrolments and revocations that refer to blocks and acts there already or, now and then, not there, and hand out
transport keys; they write after their heads or fork their feeds. Governance is driven to quorum often enough that
chains, voids and closings occur.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from governance_world import World, enrolment, key, keys, revocation
from medledger.ballot import Ballot
from medledger.decisions import decide
from medledger.governance import NOTHING, Epoch, Point, read_epoch
from medledger.lineage import Lineage, trace

OFFICERS = ("ada", "ben", "cyd", "dot")
OTHERS = ("box", "bin", "eve")
EVERYBODY = OFFICERS + OTHERS


class History:
    """A world that a seeded generator wrote: `steps` are sets of held blocks, each including the one before."""

    def __init__(self, seed: int, length: int = 24) -> None:
        self.random = random.Random(seed)
        self.world = World(*OFFICERS[: self.random.choice((1, 2, 3, 3))], notaries=self.some(OFFICERS, 0, 1))
        self.epochs: list[tuple[Epoch, bytes]] = [(self.world.genesis.epoch, self.world.genesis.ledger_id)]
        self.acts: list[tuple[str, Any]] = []
        self.points: dict[str, list[Point]] = {name: [] for name in EVERYBODY}
        for _ in range(length):
            self.random.choice((self.epoch, self.enrol, self.enrol, self.revoke, self.rotate, self.chatter))()

    def some(self, names: tuple[str, ...], least: int, most: int) -> list[str]:
        return self.random.sample(names, self.random.randint(least, most))

    def point(self, name: str) -> Point:
        """A position of a feed: usually one that exists, with its head preferred."""
        points = self.points[name]
        if not points or self.random.random() < 0.1:
            return self.random.choice((NOTHING, Point(self.random.randrange(5), self.random.randbytes(32))))
        return points[-1] if self.random.random() < 0.5 else self.random.choice(points)

    def write(self, name: str, *entries: tuple[str, Any]) -> None:
        """A block after the head, or, one time in six, a branch."""
        fork = self.points[name] and self.random.random() < 1 / 6
        after = self.random.choice([NOTHING, *self.points[name]]) if fork else None
        self.points[name].append(self.world.write(name, *entries, after=after))

    def campaign(self, act_type: str, content: Any, governors: tuple[bytes, ...]) -> None:
        """Propose an act, sometimes late or never, and have some governors and strangers approve it."""
        act = self.world.act(act_type, content)
        proposal = (act_type, content)
        self.acts.append(proposal)
        names = [name for name in OFFICERS if key(name) in governors]
        voters = self.some(tuple(names), 0, len(names)) + self.some(OTHERS, 0, 1)
        if self.random.random() < 0.6:
            voters = list(dict.fromkeys([*voters, *names]))
        approval = ("gov.approve", [act, 0 if self.random.random() < 0.95 else 1])
        if voters and self.random.random() < 0.3:
            self.write(voters.pop(), *self.random.sample([proposal, approval], 2))
        blocks = [(name, approval) for name in voters]
        if self.random.random() < 0.95:
            proposers = names if self.random.random() < 0.8 else EVERYBODY
            blocks.insert(self.random.randint(0, len(blocks)), (self.random.choice(proposers), proposal))
        for name, entry in blocks:
            self.write(name, entry)

    def epoch(self) -> None:
        """A successor of the newest epoch known here, or, one time in seven, of an older one."""
        parent, parent_id = self.random.choice(self.epochs) if self.random.random() < 1 / 7 else self.epochs[-1]
        governors = self.some(OFFICERS, 1, 3)
        notaries = self.some(OFFICERS, 0, 1)
        leaving = {*parent.governors, *parent.notaries} - {*keys(governors)} | {*parent.notaries} - {*keys(notaries)}
        if self.random.random() < 0.05:
            leaving = set()
        document = self.world.successor(
            *governors,
            of=parent_id,
            number=parent.number + 1,
            notaries=notaries,
            closing={name: self.point(name) for name in OFFICERS if key(name) in leaving},
        )
        act = self.world.act("gov.epoch", document)
        if self.random.random() < 0.95:
            self.campaign("gov.epoch", document, parent.governors)
        try:
            self.epochs.append((read_epoch(document, id=act, parent=parent), act))
        except Exception:  # noqa: BLE001 - a document that is no epoch has no successors in this history
            return

    def enrol(self) -> None:
        epoch, _ = self.random.choice(self.epochs)
        content = enrolment(
            self.random.choice(EVERYBODY),
            self.some(("nurse", "pharmacist"), 1, 2),
            epoch=epoch.number,
            succeeds=self.random.choice((None, None, key("bin"))),
        )
        if content["succeeds"] == content["sig"][1] or self.random.random() < 0.05:
            content = {**content, "proof": enrolment("eve")["proof"]}
        if self.random.random() < 0.2:
            self.write("bin", ("gov.enrol", content))
        self.campaign("gov.enrol", content, epoch.governors)

    def revoke(self) -> None:
        epoch, _ = self.random.choice(self.epochs)
        name = self.random.choice(EVERYBODY)
        self.campaign("gov.revoke", revocation(name, self.point(name), epoch=epoch.number), epoch.governors)

    def rotate(self) -> None:
        """A transport key for some, usually by one who governs, now and then the same for more."""
        epoch, _ = self.random.choice(self.epochs)
        boxes = [[feed, bytes(80)] for feed in keys(self.some(EVERYBODY, 1, len(EVERYBODY)))]
        name = sha256(b"%d" % self.random.randrange(3)).digest()
        content = {"epoch": epoch.number, "generation": self.random.randint(1, 3), "key": name, "boxes": boxes}
        governors = [name for name in OFFICERS if key(name) in epoch.governors]
        self.write(
            self.random.choice(governors if self.random.random() < 0.8 else EVERYBODY), ("gov.transport", content)
        )

    def chatter(self) -> None:
        """Something that is no act: nonsense, or an approval of what is not there."""
        nonsense: list[tuple[str, Any]] = [
            ("gov.enrol", None),
            ("gov.approve", [self.random.randbytes(32), 0]),
            ("gov.approve", self.random.randbytes(32)),
            ("gov.unknown", {}),
            ("note", "x"),
        ]
        self.write(self.random.choice(EVERYBODY), self.random.choice(nonsense))

    def steps(self, count: int) -> Iterator[frozenset[bytes]]:
        """Growing sets of held blocks, each with all ancestors: feeds arrive in their own order, mixed at random."""
        arrival, held = self.arrival(), set()
        size = len(arrival) // count + 1
        for at in range(0, len(arrival), size):
            held.update(arrival[at : at + size])
            yield frozenset(held)

    def arrival(self) -> list[bytes]:
        """An order in which every block comes after the one before it in its feed."""
        waiting = sorted(self.world.blocks)
        self.random.shuffle(waiting)
        order: dict[bytes, None] = {}
        while waiting:
            for block_id in waiting:
                parent = self.world.previous[block_id].id
                if parent is None or parent in order:
                    order[block_id] = None
            waiting = [block_id for block_id in waiting if block_id not in order]
        return list(order)

    def judge(self, held: frozenset[bytes]) -> tuple[Lineage, set[bytes], set[bytes]]:
        """The lineage, the effective enrolments of effective epochs, and the effective revocations."""
        ballot = Ballot(self.world.genesis.ledger_id, [self.world.blocks[block_id] for block_id in held])
        lineage = trace(self.world.genesis.epoch, ballot)
        decisions = decide(ballot, lineage, lambda *points: self.world.is_ancestor(held, *points))
        enrolments = {verdict.act.id for verdict in decisions.enrolments if verdict.effective}
        return lineage, enrolments, {verdict.act.id for verdict in decisions.revocations}
