"""A ledger to measure on, the same in every run: a founder, bedside boxes, and the boxes' signed blocks of readings.

The blocks are written by the library's own encoder with fixed keys, salts and times; every one carries a valid
signature. A small entry is a reading of one sample about a patient, some 95 bytes; a full one is what a bedside agent
logs, with three samples, the device's time and the hash of the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from medledger.acts import GovApprove, GovEnrol
from medledger.block import encode_body, entries_root, join_block
from medledger.entry import encode_entry
from medledger.governance import epoch_document, make_genesis, read_genesis
from medledger.header import (
    BlockClass,
    Clock,
    Head,
    Header,
    Sync,
    encode_header,
    encode_payload,
    signed_message,
    signing_prefix,
)
from medledger.joining import make_reply, make_request, read_request_text
from medledger.keys import Identity
from medledger.ledger import Ledger
from medledger.membership import fold
from medledger.proposals import approval_content, enrolment_content
from medledger.records import Reading
from medledger.roles import DEFAULT_POLICY
from medledger.transport_key import TransportKey

START_MS = 1_767_225_600_000
SECOND_MS = 1000
VITALS = (("8867-4", "/min", 60), ("59408-5", "%", 94), ("9279-1", "/min", 12), ("8480-6", "mm[Hg]", 110))
ENROLMENTS_PER_BLOCK = 50  # of about 600 bytes each
TRANSPORT_KEY = TransportKey(b"the key of all that is measured.")
PATIENT_READINGS = 20_000  # a patient stays in a bed for some hours of one reading a second

Content = Callable[[int], Any]


def small_reading(number: int) -> Any:
    """The content of a reading with one sample."""
    code, unit, base = VITALS[number % len(VITALS)]
    return Reading(device="MON-7", samples=[(code, base + number // 4 % 12, unit)]).to_content()


def full_reading(number: int) -> Any:
    """The content of a reading as a bedside agent logs it; no two are alike."""
    samples = [(code, base + (number + at) % 12, unit) for at, (code, unit, base) in enumerate(VITALS[:3])]
    raw = sha256(b"message %d" % number).digest()
    return Reading(
        device="MON-7", samples=samples, device_time=START_MS + number * SECOND_MS, quality="live", raw=raw
    ).to_content()


@dataclass(slots=True)
class Author:
    """Writes a feed's blocks as fast as Python can; `head` is its last one."""

    identity: Identity
    ledger_id: bytes
    head: Head | None = None

    def block(self, entries: Sequence[bytes], time: int, block_class: BlockClass = BlockClass.DATA) -> bytes:
        """The feed's next block."""
        head = self.head
        header = Header(
            author=self.identity.public_key,
            seq=0 if head is None else head.seq + 1,
            prev=None if head is None else head.id,
            epoch=0,
            block_class=block_class,
            time=time,
            clock=Clock(time - START_MS, b"bootboot", Sync.NTP),
            parents=(),
            entries_root=entries_root(entries),
            entries_count=len(entries),
            body_size=sum(map(len, entries)),
        )
        payload = encode_payload(header)
        signature = self.identity.sign(signed_message(signing_prefix(self.ledger_id), payload))
        header_bytes = encode_header(payload, signature)
        self.head = Head(header.seq, sha256(header_bytes).digest(), 0)
        return join_block(header_bytes, encode_body(entries))

    def readings(self, count: int, entries: int = 1, content: Content = small_reading) -> Iterator[bytes]:
        """The next `count` blocks, each of so many readings."""
        for _ in range(count):
            first = 0 if self.head is None else (self.head.seq + 1) * entries
            body = [reading_entry(first + at, content) for at in range(entries)]
            yield self.block(body, START_MS + (first + entries) * SECOND_MS)


def reading_entry(number: int, content: Content = small_reading) -> bytes:
    """One reading as an entry."""
    salt = blake2b(b"%d" % number, digest_size=16).digest()
    subject = blake2b(b"patient %d" % (number // PATIENT_READINGS), digest_size=16).digest()
    return encode_entry("reading", content(number), time=START_MS + number * SECOND_MS, subject=subject, salt=salt)


class World:
    """The ledger that all lines are measured on, with one box or more."""

    def __init__(self, boxes: int = 1) -> None:
        self.founder = Identity.from_seed(b"founder of the benchmarks' world")
        self.boxes = [box(number) for number in range(boxes)]
        self.box = self.boxes[0]
        policy = {role: list(types) for role, types in DEFAULT_POLICY.items()}
        epoch0 = epoch_document(
            number=0, previous=None, governors=[self.founder.public_key], threshold=1, policy=policy
        )
        self.genesis = make_genesis(self.founder, nonce=bytes(16), name="Benchmarks", continues=None, epoch0=epoch0)
        self.ledger_id = read_genesis(self.genesis).ledger_id
        self._control = list(self._enrolments())

    def _enrolments(self) -> Iterator[bytes]:
        """The founder's blocks, which enrol the boxes: the first one by itself, the others many at once."""
        founder = Author(self.founder, self.ledger_id)
        membership = fold(read_genesis(self.genesis), [], lambda *_: False)
        others = self.boxes[1:]
        batches = [others[at : at + ENROLMENTS_PER_BLOCK] for at in range(0, len(others), ENROLMENTS_PER_BLOCK)]
        for batch in [[self.box], *batches]:
            acts: list[tuple[str, Any]] = []
            for each in batch:
                content = enrolment_content(membership, read_request_text(request(each))[0])
                approval = approval_content(membership, GovEnrol.TYPE, content, by=self.founder.public_key)
                acts += [(GovEnrol.TYPE, content), (GovApprove.TYPE, approval)]
            body = [
                encode_entry(name, act, time=START_MS, subject=None, salt=bytes([at]) * 16)
                for at, (name, act) in enumerate(acts)
            ]
            yield founder.block(body, START_MS, BlockClass.CONTROL)

    def author(self, number: int = 0) -> Author:
        """One of the boxes, before its first block."""
        return Author(self.boxes[number], self.ledger_id)

    def replica(self, path: Path) -> Ledger:
        """A new replica without a key that knows the box and holds none of its blocks."""
        return self._informed(Ledger.replicate(path, self.genesis))

    def member(self, path: Path, identity: Identity) -> Ledger:
        """The new replica of one that joined: it holds no block of any box, and may gossip and sign."""
        applicant = read_request_text(request(identity))[0]
        keys = [(TRANSPORT_KEY.id, TRANSPORT_KEY.key)]
        reply = make_reply(applicant, bytes(16), genesis=self.genesis, transport_keys=keys)
        replica = self._informed(Ledger.join(path, identity, reply, bytes(16)))
        replica.peer_has_no_more(0)
        return replica

    def _informed(self, replica: Ledger) -> Ledger:
        report = replica.import_blocks(self._control)
        assert report.accepted == len(self._control)
        return replica


def box(number: int) -> Identity:
    """The key of one of the boxes."""
    seed = sha256(b"box %d" % number).digest() if number else b"box  of  the  benchmarks'  world"
    return Identity.from_seed(seed)


def request(identity: Identity) -> str:
    """The text by which a box asks to join."""
    return make_request(identity, secret=bytes(16), label="Bed 7", organisation="Ward", roles=["bedside"])
