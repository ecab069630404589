"""MQTT topics that name nobody.

Rules:

- Every topic is `ml/1/<ledger token>/<channel>[/<token>]`: `s` beacons, `q` queries that anybody may answer, `b/<feed>`
  live blocks, `e/<feed>` fork proofs, `i/<peer>` a peer's inbox. `r` (roster head) is kept free.
- A token is 16 bytes of BLAKE2b, in hex, of a name under a key derived from the transport key and the ledger id. Who
  does not hold the transport key cannot tell which feed or peer a topic is about, nor find it again after a rotation.
- `ml/1/join/<token>` belongs to no ledger: there a governor leaves the reply to one applicant's request. Its token is a
  hash under the request's secret, which has never crossed a network: nobody else can find the place beforehand.
- Hex has none of the characters that brokers treat specially (`/ + # $`, and `. * >` of those that bridge to others).
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b
from typing import Final, NamedTuple

VERSION: Final = 1
TOKEN_BYTES: Final = 16
JOINING: Final = "join"  # in the place of a ledger's token, which is hex


def rendezvous(feed: bytes, secret: bytes) -> str:
    """Where the reply to the request of `feed` (its public key) with this `secret` (16 bytes) is left."""
    token = blake2b(feed, key=secret, person=b"medledger/meet/1", digest_size=TOKEN_BYTES)
    return f"ml/{VERSION}/{JOINING}/{token.hexdigest()}"


class Channel(Enum):
    """What is published on a topic."""

    BEACONS = "s"
    QUERIES = "q"
    LIVE = "b"
    PROOFS = "e"
    INBOX = "i"


class Address(NamedTuple):
    """A topic, read: its channel, and the token after it (empty for a channel that all share)."""

    channel: Channel
    token: str


class Topics:
    """The topics of one ledger under one transport key."""

    def __init__(self, ledger_id: bytes, transport_key: bytes) -> None:
        self._key = blake2b(ledger_id, key=transport_key, person=b"medledger topics", digest_size=32).digest()
        self.ledger: Final = self._token(b"ledger", ledger_id)
        self._prefix = f"ml/{VERSION}/{self.ledger}/"
        self.beacons: Final = self._prefix + Channel.BEACONS.value
        self.queries: Final = self._prefix + Channel.QUERIES.value
        self.all_live: Final = f"{self._prefix}{Channel.LIVE.value}/+"
        self.all_proofs: Final = f"{self._prefix}{Channel.PROOFS.value}/+"
        self._feed_tokens: dict[bytes, str] = {}

    def live(self, feed: bytes) -> str:
        """Where the blocks of `feed` are published as they are written."""
        return f"{self._prefix}{Channel.LIVE.value}/{self.feed_token(feed)}"

    def proofs(self, feed: bytes) -> str:
        """Where the proof that `feed` forked is retained."""
        return f"{self._prefix}{Channel.PROOFS.value}/{self.feed_token(feed)}"

    def inbox(self, peer: bytes) -> str:
        """Where `peer` (its public key) takes probes, wants and what answers them."""
        return f"{self._prefix}{Channel.INBOX.value}/{self._token(b'peer', peer)}"

    def feed_token(self, feed: bytes) -> str:
        """The name of a feed in topics."""
        token = self._feed_tokens.get(feed)
        if token is None:
            token = self._token(b"feed", feed)
            if len(self._feed_tokens) < 4096:  # a cache: what does not fit is computed again
                self._feed_tokens[feed] = token
        return token

    def read(self, topic: str) -> Address | None:
        """The address of a topic of this ledger, None for any other."""
        if not topic.startswith(self._prefix):
            return None
        name, slash, token = topic[len(self._prefix) :].partition("/")
        try:
            channel = Channel(name)
        except ValueError:
            return None
        shared = channel in (Channel.BEACONS, Channel.QUERIES)
        if bool(slash) == shared or len(token) != (0 if shared else 2 * TOKEN_BYTES):
            return None
        return Address(channel, token)

    def _token(self, kind: bytes, name: bytes) -> str:
        digest = blake2b(kind + b"\0" + name, key=self._key, person=b"medledger token", digest_size=TOKEN_BYTES)
        return digest.hexdigest()
