"""Who speaks first, of many who could say the same: so that one or two do, and nobody need know who is there.

Rules:

- Each has a share, evenly spread over (0, 1], and waits 250 ms x log2(share x n), not below 0, where n is as many as
  there may be. Of m that there are, the first speaks after about 250 ms x log2(n / m). Each further 250 ms let twice as
  many speak, so that in the time that the first takes to be heard hardly another does (timers like those of RFC 5740).
- Where a question has a nonce, the share is a hash of it and the peer's key (rendezvous hashing): all can compute
  everybody's, and nobody can choose its own.
"""

from __future__ import annotations

from hashlib import blake2b
from math import log2

from medledger.limits import CLAIM_STEP_SECONDS


def share_of(key: bytes, nonce: bytes) -> float:
    """A peer's share where the question has this nonce."""
    digest = blake2b(key + nonce, digest_size=8, person=b"medledger rank").digest()
    return (int.from_bytes(digest, "big") + 1) / 2**64


def wait(share: float, most: int, step: float = CLAIM_STEP_SECONDS) -> float:
    """How long to wait with this share, in seconds, where there may be `most` others."""
    return step * max(0.0, log2(share * max(1, most)))


def longest(most: int) -> float:
    """How long anybody waits."""
    return wait(1.0, most)
