"""Random histories of a ledger with several governors: enrolments, cuts, new epochs, forks, and data in between.

They are signed by hand, so that they hold what no honest program would write: approvals by halves, forks of governors'
feeds, cuts on branches, acts of epochs that never came about.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

from forge import Chain, head_of
from medledger import Identity, make_request
from medledger.entry import encode_entry
from medledger.governance import act_id, epoch_document, make_genesis
from medledger.joining import Request, read_request_text

Act = tuple[str, Any]


@dataclass
class Epoch:
    """An epoch that enough governors approved, or so the history's author believes."""

    id: bytes
    number: int
    governors: list[Identity]
    threshold: int


@dataclass
class History:
    """One ledger's blocks in the order they were written. `fork_rate` is how often an author forks its feed."""

    rng: random.Random
    fork_rate: float = 0.0
    blocks: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        governors = [_key(f"governor {n}") for n in range(self.rng.choice([1, 2, 3]))]
        members = [_key(f"member {n}") for n in range(3)]
        self.people = governors + members
        threshold = len(governors) // 2 + 1
        keys = [governor.public_key for governor in governors]
        document = epoch_document(
            number=0, previous=None, governors=keys, threshold=threshold, policy={"r": ["reading"]}
        )
        nonce = self.rng.randbytes(16)
        self.genesis = make_genesis(governors[0], nonce=nonce, name="model", continues=None, epoch0=document)
        self.ledger_id = hashlib.sha256(self.genesis).digest()
        self.chains = {key.public_key: Chain(key, self.ledger_id) for key in self.people}
        self.epochs = [Epoch(self.ledger_id, 0, governors, threshold)]
        self.requests = {key.public_key: _request(key) for key in self.people}
        for member in members[:2]:
            self.decide(self.epochs[0], ("gov.enrol", self.enrolment(member, 0)))
        for _ in range(self.rng.randrange(5, 30)):
            self.step()

    def step(self) -> None:
        """One more thing happens."""
        rng = self.rng
        epoch = rng.choice(self.epochs) if rng.random() < 0.2 else self.epochs[-1]
        someone = rng.choice(self.people)
        match rng.random():
            case chance if chance < 0.5:
                readings = [("reading", {"device": "d", "samples": []})] * rng.choice([1, 2])
                self.write(someone, readings, control=False, epoch=rng.randrange(epoch.number + 1))
            case chance if chance < 0.65:
                self.decide(epoch, ("gov.enrol", self.enrolment(someone, epoch.number)))
            case chance if chance < 0.8:
                seq, block_id = self.somewhere(someone, 0.8)
                cut = {"epoch": epoch.number, "feed": someone.public_key, "seq": seq, "id": block_id, "reason": ""}
                self.decide(epoch, ("gov.revoke", cut))
            case _:
                self.change(epoch)

    def change(self, epoch: Epoch) -> None:
        """Other governors, who may be anybody."""
        governors = self.rng.sample(self.people, self.rng.choice([1, 2, 3]))
        leaving = [governor for governor in epoch.governors if governor not in governors]
        threshold = len(governors) // 2 + 1
        document = epoch_document(
            number=epoch.number + 1,
            previous=epoch.id,
            governors=[governor.public_key for governor in governors],
            threshold=threshold,
            policy={"r": self.rng.choice([["reading"], []])},
            closing={governor.public_key: self.somewhere(governor, 0.8) for governor in leaving},
        )
        act, approved = self.decide(epoch, ("gov.epoch", document))
        if approved:
            self.epochs.append(Epoch(act, epoch.number + 1, governors, threshold))

    def decide(self, epoch: Epoch, act: Act) -> tuple[bytes, bool]:
        """Somebody proposes, and some of the governors approve; the act's id, and whether enough of them did."""
        governors = self.rng.sample(epoch.governors, len(epoch.governors))
        count = self.rng.choice([epoch.threshold, epoch.threshold, epoch.threshold - 1, len(governors)])
        approving = governors[:count] or governors[:1]
        proposer = self.rng.choice(self.people) if self.rng.random() < 0.2 else approving[0]
        name = act_id(self.ledger_id, *act)
        approval: Act = ("gov.approve", [name, 0])
        self.write(proposer, [act, approval] if proposer in approving else [act], control=True, epoch=epoch.number)
        for governor in approving:
            if governor is not proposer:
                self.write(governor, [approval], control=True, epoch=epoch.number)
        return name, len(approving) >= epoch.threshold

    def write(self, author: Identity, acts: list[Act], *, control: bool, epoch: int) -> None:
        """One more block of a feed, or of a branch of it."""
        chain = self.chains[author.public_key]
        if chain.raws and self.rng.random() < self.fork_rate:
            chain = chain.branch(self.rng.randrange(len(chain.raws)))
            if self.rng.random() < 0.5:
                self.chains[author.public_key] = chain
        number = len(self.blocks)
        body = [
            encode_entry(type_name, content, time=number, subject=None, salt=(number * 8 + at).to_bytes(16, "big"))
            for at, (type_name, content) in enumerate(acts)
        ]
        reached = 0 if chain.head is None else chain.head.epoch
        self.blocks.append(chain.add(body, block_class=0 if control else 1, epoch=max(epoch, reached)))

    def somewhere(self, author: Identity, chance: float) -> tuple[int, bytes | None]:
        """A position of a feed; the place before its first block where it is empty, or otherwise by chance."""
        raws = self.chains[author.public_key].raws
        if not raws or self.rng.random() > chance:
            return -1, None
        head = head_of(self.rng.choice(raws))
        return head.seq, head.id

    def enrolment(self, key: Identity, epoch: int) -> dict[str, Any]:
        """What enrols a key."""
        request = self.requests[key.public_key]
        return {
            "epoch": epoch,
            "roles": ["r"],
            "org": "",
            "label": str(self.rng.randrange(3)),
            "sig": [-19, request.feed],
            "kem": list(request.kem),
            "proof": request.proof,
            "succeeds": None,
        }


def _key(name: str) -> Identity:
    return Identity.from_seed(hashlib.sha256(name.encode()).digest())


def _request(key: Identity) -> Request:
    return read_request_text(make_request(key, secret=bytes(16), label="l", roles=["r"]))[0]
