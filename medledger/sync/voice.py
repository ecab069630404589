"""What a node says: messages sealed and, where their kind asks for it, signed and numbered."""

from __future__ import annotations

from medledger.keys import Randomness, Signer

from .envelopes import enclose
from .events import Publish
from .frames import Origin
from .gate import Gate
from .keyring import Band, Keyring
from .messages import Beacon, Blocks, Claim, Gone, Message, Proof, Query
from .peers import PeerId, Peers
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
        randomness: Randomness,
    ) -> None:
        self._me = me
        self._signer = signer
        self._keyring = keyring
        self._gate = gate
        self._peers = peers
        self._traffic = traffic
        self._randomness = randomness
        self._counter = 0

    @property
    def key_id(self) -> bytes:
        """The id of the transport key that we speak under."""
        return self._keyring.current.codec.key_id

    def beacon(self, beacon: Beacon, band: Band | None = None) -> Publish:
        """To all. Lost ones do not matter: the next one says more. Under an older key: to members that speak there."""
        band = band or self._keyring.current
        return self._publish(band, band.topics.beacons, beacon, qos=0)

    def say(self, peer: PeerId, message: Message) -> Publish:
        """To one peer's inbox, under a key that it has. A lost one is asked for again."""
        known = self._peers.get(peer)
        band = (known.band if known else None) or self._keyring.current
        return self._publish(band, band.topics.inbox(peer.key), message, qos=0, to=peer)

    def enclose(self, peer: PeerId, sealing_key: bytes, message: Message, band: Band) -> Publish:
        """To one member alone, under an older key. Raises `SealError` where nothing can be sealed to it."""
        envelope = enclose(message, sealing_key, self._randomness)
        return self._publish(band, band.topics.inbox(peer.key), envelope, qos=0, to=peer)

    def live(self, blocks: Blocks, band: Band | None = None) -> Publish:
        """New blocks of ours, or blocks that somebody missed, to all."""
        band = band or self._keyring.current
        return self._publish(band, band.topics.live(blocks.feed), blocks, qos=1)

    def to_all(self, message: Query | Claim | Blocks) -> Publish:
        """A question to all, that we are the one to answer it, or the answer. A lost one is asked again."""
        if isinstance(message, Blocks):
            return self.live(message)
        band = self._keyring.current
        return self._publish(band, band.topics.queries, message, qos=0)

    def will(self) -> Publish:
        """What the broker is to publish when this connection ends. Not remembered as ours: should it come back to us,
        others were told what is not so.
        """
        codec, topics = self._keyring.current
        return Publish(topics.beacons, codec.seal_signed(topics.beacons, Gone(), self._origin(), self._signer), qos=0)

    def proof(self, proof: Proof) -> Publish:
        """A fork proof, to all and to whoever comes later."""
        band = self._keyring.current
        return self._publish(band, band.topics.proofs(proof.feed), proof, qos=1, retain=True)

    def _publish(
        self, band: Band, topic: str, message: Message, *, qos: int, retain: bool = False, to: PeerId | None = None
    ) -> Publish:
        if message.KIND.signed:
            frame = band.codec.seal_signed(topic, message, self._origin(), self._signer)
        else:
            frame = band.codec.seal(topic, message)
        self._gate.sent(frame)
        self._traffic.sent(topic, message, len(frame), None if to is None else self._peers.get(to))
        return Publish(topic, frame, qos, retain)

    def _origin(self) -> Origin:
        """Who speaks, with the next number."""
        self._counter += 1
        return Origin(*self._me, self._counter - 1)
