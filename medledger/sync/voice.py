"""What a node says: messages sealed and, where their kind asks for it, signed and numbered."""

from __future__ import annotations

from medledger.keys import Signer

from .events import Publish
from .frames import Codec, Origin
from .gate import Gate
from .keyring import Keyring
from .messages import Beacon, Blocks, Claim, Gone, Message, Proof, Query
from .peers import PeerId, Peers
from .topics import Topics
from .traffic import Traffic


class Voice:
    """Makes the frames of one node, in one boot."""

    def __init__(
        self,
        me: PeerId,
        signer: Signer,
        keyring: Keyring,
        gate: Gate,
        *,
        peers: Peers,
        traffic: Traffic,
    ) -> None:
        self._me = me
        self._signer = signer
        self._keyring = keyring
        self._gate = gate
        self._peers = peers
        self._traffic = traffic
        self._counter = 0

    @property
    def key_id(self) -> bytes:
        """The id of the transport key that we speak under."""
        return self._keyring.current.codec.key_id

    @property
    def _codec(self) -> Codec:
        return self._keyring.current.codec

    @property
    def _topics(self) -> Topics:
        return self._keyring.current.topics

    def beacon(self, beacon: Beacon) -> Publish:
        """To all. Lost ones do not matter: the next one says more."""
        return self._publish(self._topics.beacons, beacon, qos=0)

    def say(self, peer: PeerId, message: Message) -> Publish:
        """To one peer's inbox. A lost one is asked for again."""
        return self._publish(self._topics.inbox(peer.key), message, qos=0, to=peer)

    def live(self, blocks: Blocks) -> Publish:
        """New blocks of ours, or blocks that somebody missed, to all."""
        return self._publish(self._topics.live(blocks.feed), blocks, qos=1)

    def to_all(self, message: Query | Claim | Blocks) -> Publish:
        """A question to all, that we are the one to answer it, or the answer. A lost one is asked again."""
        if isinstance(message, Blocks):
            return self.live(message)
        return self._publish(self._topics.queries, message, qos=0)

    def will(self) -> Publish:
        """What the broker is to publish when this connection ends. Not remembered as ours: should it come back to us,
        others were told what is not so.
        """
        frame = self._codec.seal_signed(self._topics.beacons, Gone(), self._origin(), self._signer)
        return Publish(self._topics.beacons, frame, qos=0)

    def proof(self, proof: Proof) -> Publish:
        """A fork proof, to all and to whoever comes later."""
        return self._publish(self._topics.proofs(proof.feed), proof, qos=1, retain=True)

    def _publish(
        self, topic: str, message: Message, *, qos: int, retain: bool = False, to: PeerId | None = None
    ) -> Publish:
        if message.KIND.signed:
            frame = self._codec.seal_signed(topic, message, self._origin(), self._signer)
        else:
            frame = self._codec.seal(topic, message)
        self._gate.sent(frame)
        self._traffic.sent(topic, message, len(frame), None if to is None else self._peers.get(to))
        return Publish(topic, frame, qos, retain)

    def _origin(self) -> Origin:
        """Who speaks, with the next number."""
        self._counter += 1
        return Origin(*self._me, self._counter - 1)
