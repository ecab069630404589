"""Byzantine members: they hold the transport key and an enrolled key of their own, and say what they like with both.

As an author such a member forks its feed, leaves gaps, and signs headers whose bodies are wrong. As a peer it lies
about what it holds, asks for everything, answers with rubbish or not at all, and passes on what others made with a bit
changed. Now and then it behaves, since an enemy that never does is soon left alone.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from hashlib import sha256
from random import Random
from types import SimpleNamespace
from typing import Any

from forge import Chain, head_of, make_block, small_entry
from medledger import cbor
from medledger.block import join_block, split_block
from medledger.errors import FrameError, MalformedError, MedledgerError
from medledger.fork import VERSION as PROOF_VERSION
from medledger.keys import Identity
from medledger.sync.frames import Codec, Origin
from medledger.sync.messages import (
    CLAIMED_BYTES,
    Beacon,
    Blocks,
    Claim,
    Data,
    Done,
    Envelope,
    Gone,
    Leaf,
    Leaves,
    Message,
    Probe,
    Proof,
    Query,
    Range,
    Status,
    Want,
    WantBranches,
)
from medledger.sync.topics import Channel, Topics
from medledger.transport_key import TransportKey

from .broker import Broker, Session
from .truth import Pen, Truth

MEMORY = 64  # of what it heard last, of each sort


class Enemy:
    """One byzantine member. `number` is its place among the broker's clients."""

    def __init__(
        self,
        number: int,
        pen: Pen,
        ledger_id: bytes,
        key: Callable[[], TransportKey],
        *,
        broker: Broker,
        truth: Truth,
        faults: Counter[str],
        rng: Random,
    ) -> None:
        self.number = number
        self.group = 0
        self.pen = pen
        self.outcast = False  # revoked: new keys are not for it
        self._ledger_id = ledger_id
        self._rng = rng
        self._broker = broker
        self._truth = truth
        self._faults = faults
        self._current_key = key
        self._use(key())
        self._chain = Chain(pen, ledger_id)
        self._boot = rng.randbytes(8)
        self._counter = 0
        self._said = 0  # frames that the broker took
        self._session: Session | None = None
        self._peers: deque[Origin] = deque(maxlen=MEMORY)
        self._blocks: deque[tuple[bytes, bytes]] = deque(maxlen=MEMORY)  # feed and block
        self._beacons: deque[Beacon] = deque(maxlen=MEMORY)
        self._nonces: deque[bytes] = deque([bytes(8)], maxlen=MEMORY)

    def _use(self, key: TransportKey) -> None:
        self._key = key
        self._codec = Codec(self._ledger_id, key, self._rng)
        self._topics = Topics(self._ledger_id, key.key)

    # --- listening ----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Subscribe to all there is, under the key that members hold now; an outcast knows none but its last."""
        if not self.outcast:
            self._use(self._current_key())
        self._session = self._broker.connect(self)
        if self._session is not None:
            topics = self._topics
            inbox = topics.inbox(self.pen.public_key)
            filters = (inbox, topics.all_live, topics.all_proofs, topics.beacons, topics.queries)
            self._broker.subscribe(self._session, [(each, 0) for each in filters])

    def receive(self, session: int, topic: str, payload: bytes) -> None:
        """Hear something, remember it, and perhaps answer."""
        address = self._topics.read(topic)
        if address is None:
            return
        try:
            frame = self._codec.open(topic, address.channel, payload)
        except FrameError:
            return
        message = frame.message
        if isinstance(message, Blocks):
            self._blocks.extend((message.feed, block) for block in message.blocks[:4] if _whole(block))
        elif isinstance(message, Beacon):
            self._beacons.append(message)
        elif isinstance(message, Query):
            self._claim(message)
        if frame.origin is None or frame.origin.sender == self.pen.public_key:
            return
        self._peers.append(frame.origin)
        if address.channel is Channel.INBOX and self._rng.random() < 0.8:
            self._answer(frame.origin.sender, message)

    def _answer(self, peer: bytes, message: Message) -> None:
        """Answer a question, truthfully or not."""
        if isinstance(message, Probe):
            self._nonces.append(message.nonce)
            self._faults["false leaves"] += 1
            for page in range(self._rng.choice([1, 1, 1, 3])):
                pages = self._rng.choice([1, 1, 2, 100])
                leaves = tuple(self._leaf() for _ in range(self._rng.randrange(20)))
                self._say(peer, Leaves(message.nonce, page % pages, pages, leaves))
        elif isinstance(message, Want | WantBranches):
            self._nonces.append(message.nonce)
            self._serve(peer, message)

    def _claim(self, query: Query) -> None:
        """Claim what somebody asks all for, so that others keep silent; and perhaps answer."""
        self._faults["claim that does not deliver"] += 1
        everything = (1 << len(query.ranges)) - 1
        bitmap = (everything << -len(query.ranges) % 8).to_bytes((len(query.ranges) + 7) // 8, "big")
        bitmap = bitmap.ljust(CLAIMED_BYTES, b"\0")
        self._signed(self._topics.queries, Claim(query.nonce, bitmap))

    def _serve(self, peer: bytes, message: Want | WantBranches) -> None:
        rng = self._rng
        if rng.random() < 0.4 and isinstance(message, Want) and self._chain.raws:
            found = [each for each in message.ranges if each.feed == self.pen.public_key]
            blocks = [raw for each in found for raw in self._chain.raws[each.start : each.stop]][:20]
        else:
            self._faults["rubbish for data"] += 1
            blocks = [self._rubbish() for _ in range(rng.randrange(1, 5))]
        if blocks and rng.random() < 0.8:
            self._say(peer, Data(message.nonce, 0, 1, tuple(blocks)))
        if rng.random() < 0.8:
            self._say(peer, Done(message.nonce, rng.choice([1, 1, 1, 0, 16]), rng.choice(list(Status))))

    # --- speaking -----------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Do one thing, out of nothing."""
        stale = not self.outcast and self._current_key() != self._key
        if self._session is None or stale or self._rng.random() < 0.02:
            self.connect()
        name = self._rng.choice(_NAMES)
        before = self._said
        _ACTS[name](self)
        if self._said > before:
            self._faults[name] += 1

    def _false_beacon(self) -> None:
        rng = self._rng
        root = rng.choice(self._beacons).root if self._beacons and rng.random() < 0.5 else rng.randbytes(16)
        beacon = Beacon(root, rng.randrange(9), rng.choice([0, 5, 2**32 - 1]), rng.randbytes(8), rng.random() < 0.5)
        self._signed(self._topics.beacons, beacon)

    def _strangers_beacon(self) -> None:
        stranger = Identity.from_seed(self._rng.randbytes(32))
        beacon = Beacon(self._rng.randbytes(16), 1, 1, self._rng.randbytes(8), answer=True)
        origin = Origin(stranger.public_key, self._rng.randbytes(8), self._rng.choice([0, 2**62]))
        self._publish(self._topics.beacons, self._codec.seal_signed(self._topics.beacons, beacon, origin, stranger))

    def _impostor(self) -> None:
        """A frame in another's name, which we cannot sign."""
        if self._peers:
            other = self._rng.choice(self._peers)
            beacon = Beacon(self._rng.randbytes(16), 1, 1, self._rng.randbytes(8), answer=True)
            origin = Origin(other.sender, other.boot, other.counter + self._rng.randrange(1, 2000))
            frame = self._codec.seal_signed(self._topics.beacons, beacon, origin, self.pen)
            self._publish(self._topics.beacons, frame)

    def _probe_all(self) -> None:
        for origin in list(self._peers)[-4:]:
            nothing = Probe(self._rng.randbytes(8), origin.boot, self._rng.random() < 0.5, bytes(32), b"")
            self._say(origin.sender, nothing)

    def _want_all(self) -> None:
        for origin in list(self._peers)[-4:]:
            feeds = [each.sender for each in self._peers][:64]
            ranges = tuple(Range(feed, 0, self._rng.choice([1, 100, 2**40 - 1]), b"") for feed in feeds)
            self._say(origin.sender, Want(self._rng.randbytes(8), origin.boot, 16, 16 * 65536, ranges))

    def _want_branches(self) -> None:
        if self._peers:
            origin, feed = self._rng.choice(self._peers), self._rng.choice(self._peers).sender
            nonce = self._rng.randbytes(8)
            self._say(origin.sender, WantBranches(nonce, origin.boot, 16, 16 * 65536, feed, b"", b"", b""))

    def _query_all(self) -> None:
        """Ask all for blocks of everybody, with peers excluded by chance."""
        feeds = list(dict.fromkeys(each.sender for each in self._peers))[:16]
        if feeds:
            ranges = tuple(Range(feed, 0, self._rng.choice([1, 20, 2**40 - 1]), b"") for feed in feeds)
            excluded = b"".join(feed[:8] for feed in feeds if self._rng.random() < 0.3)
            self._signed(self._topics.queries, Query(self._rng.randbytes(8), ranges, excluded))

    def _false_will(self) -> None:
        """A will of its own, while it lives; and one in the name of another."""
        self._signed(self._topics.beacons, Gone())
        if self._peers:
            other = self._rng.choice(self._peers)
            origin = Origin(other.sender, other.boot, other.counter + 1)
            topic = self._topics.beacons
            self._publish(topic, self._codec.seal_signed(topic, Gone(), origin, self.pen))

    def _envelope(self) -> None:
        """An envelope that nobody can open, or that was for another."""
        if self._peers:
            self._say(self._rng.choice(self._peers).sender, Envelope(self._rng.randbytes(200)))

    def _unasked(self) -> None:
        """Leaves, data and dones that answer nothing, or what was asked of another."""
        if self._peers:
            peer, nonce = self._rng.choice(self._peers).sender, self._rng.choice(self._nonces)
            self._say(peer, Leaves(nonce, 0, 1, (self._leaf(),)))
            self._say(peer, Data(nonce, 0, 1, (self._rubbish(),)))
            self._say(peer, Done(nonce, 1, Status.COMPLETE))

    def _rubbish_live(self) -> None:
        """Somebody's blocks, changed; or noise."""
        feed = self._rng.choice(self._blocks)[0] if self._blocks else self.pen.public_key
        self._live(feed, self._rubbish())

    def _false_author(self) -> None:
        """The next block of somebody else's feed: nothing is wrong with it but that we have signed it."""
        if self._blocks:
            feed, raw = self._rng.choice(self._blocks)
            try:
                head = head_of(raw)
            except MedledgerError:
                return
            author: Any = SimpleNamespace(public_key=feed, sign=self.pen.sign)
            self._live(feed, make_block(author, head, [self._entry()], ledger_id=self._ledger_id))

    def _false_proof(self) -> None:
        """What proves nothing: a block beside itself with its signature or its time changed, or beside any other."""
        if len(self._blocks) < 2:
            return
        rng = self._rng
        feed, raw = rng.choice(self._blocks)
        header = split_block(raw)[0]
        at = rng.choice([-1, -len(header) // 2])
        other = header[:at] + bytes((header[at] ^ 1,)) + header[len(header) + at + 1 :]
        if rng.random() < 0.3:
            other = split_block(rng.choice(self._blocks)[1])[0]
        sides = sorted(([header], [other]), key=lambda side: sha256(side[0]).digest())
        topic = self._topics.proofs(feed)
        frame = self._codec.seal(topic, Proof(feed, cbor.encode([PROOF_VERSION, feed, *sides])))
        self._publish(topic, frame, retain=True)

    # --- its own feed -------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        raw = self._chain.add([self._entry()])
        self._live(self.pen.public_key, raw)

    def _fork(self) -> None:
        """Another block at a place where there is one already, and perhaps some after it."""
        if not self._chain.raws:
            return
        branch = self._chain.branch(self._rng.randrange(len(self._chain.raws)))
        for _ in range(self._rng.randrange(1, 4)):
            self._live(self.pen.public_key, branch.add([self._entry()]))
        if self._rng.random() < 0.5:
            self._chain = branch

    def _gap(self) -> None:
        for _ in range(self._rng.randrange(1, 5)):
            self._chain.add([self._entry()])
        self._live(self.pen.public_key, self._chain.raws[-1])

    def _bad_signature(self) -> None:
        """A block that only a successor can vouch for; the successor comes later, or never."""
        raw = self._chain.add([self._entry()], sign=False)
        self._truth.make(split_block(raw)[0], self.pen.public_key)
        self._live(self.pen.public_key, raw)
        if self._rng.random() < 0.7:
            raws = [raw, self._chain.add([self._entry()])]
            self._live(self.pen.public_key, *raws)

    def _bad_body(self) -> None:
        """A header of its own, and entries that it does not commit to."""
        other = Chain(self.pen, self._ledger_id, list(self._chain.raws))
        raw = other.add([self._entry()])
        header, body = split_block(raw)
        self._live(self.pen.public_key, join_block(header, body[:-1] + bytes((body[-1] ^ 1,))))
        if self._rng.random() < 0.5:
            self._live(self.pen.public_key, raw)
            self._chain = other

    def _entry(self) -> bytes:
        return small_entry(self._rng.randrange(2**32))

    # --- how ----------------------------------------------------------------------------------------------------

    def _leaf(self) -> Leaf:
        """A lie about a feed."""
        rng = self._rng
        feed = rng.choice(self._peers).sender[:8] if self._peers and rng.random() < 0.8 else rng.randbytes(8)
        length = rng.choice([0, 1, 10, 2**40])
        return Leaf(feed, length, rng.randbytes(8) if length else b"", rng.randbytes(8) if not length else b"")

    def _rubbish(self) -> bytes:
        """A block that nobody made: another's with a byte changed, or noise."""
        rng = self._rng
        if not self._blocks or rng.random() < 0.2:
            return rng.randbytes(rng.choice([1, 200, 1000]))
        raw = rng.choice(self._blocks)[1]
        at = rng.randrange(len(raw))
        return raw[:at] + bytes((raw[at] ^ 1 << rng.randrange(8),)) + raw[at + 1 :]

    def _live(self, feed: bytes, *raws: bytes) -> None:
        topic = self._topics.live(feed)
        self._publish(topic, self._codec.seal(topic, Blocks(feed, raws)))

    def _say(self, peer: bytes, message: Message) -> None:
        self._signed(self._topics.inbox(peer), message)

    def _signed(self, topic: str, message: Message) -> None:
        origin = Origin(self.pen.public_key, self._boot, self._counter)
        self._counter += 1
        self._publish(topic, self._codec.seal_signed(topic, message, origin, self.pen))

    def _publish(self, topic: str, frame: bytes, *, retain: bool = False) -> None:
        self._said += self._broker.up
        self._broker.publish(self, topic, frame, 1, retain=retain)


def _whole(block: bytes) -> bool:
    """Whether it can be taken apart: what other enemies say often cannot."""
    try:
        split_block(block)
    except MalformedError:
        return False
    return True


_ACTS: dict[str, Callable[[Enemy], None]] = {
    "false beacon": Enemy._false_beacon,
    "beacon of a stranger": Enemy._strangers_beacon,
    "frame in another's name": Enemy._impostor,
    "probe of everybody": Enemy._probe_all,
    "want for everything": Enemy._want_all,
    "want for branches": Enemy._want_branches,
    "query for everything": Enemy._query_all,
    "false will": Enemy._false_will,
    "false envelope": Enemy._envelope,
    "unasked answer": Enemy._unasked,
    "changed block": Enemy._rubbish_live,
    "block in another's name": Enemy._false_author,
    "false proof": Enemy._false_proof,
    "byzantine block": Enemy._grow,
    "byzantine fork": Enemy._fork,
    "byzantine gap": Enemy._gap,
    "unsigned block": Enemy._bad_signature,
    "bad body": Enemy._bad_body,
}
_NAMES = list(_ACTS)
