"""What really happened in a simulated run, as only the simulator can know it: who signed what, and what was promised.

Rules:

- Every block is entered here when its author signs it, by its id. A block that a replica holds and that is not here was
  forged.
- What an honest author has let out of its process is entered by feed and seq: two ids at one place are a self-fork.
- *Guilty* are the keys that may be shown to have forked: byzantine authors, and cards that the simulator has cloned.
- A broken rule raises `Failure`, which ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from medledger.block import split_block
from medledger.header import encode_header, parse_header, signing_prefix
from medledger.keys import Identity

_ANY_LEDGER = signing_prefix(bytes(32))


class Failure(Exception):
    """An invariant does not hold. `rule` names it."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.seed: int | None = None  # of the world that ended with it


class Truth:
    """The record of one run."""

    def __init__(self) -> None:
        self.made: dict[bytes, tuple[bytes, int]] = {}  # author and seq of every block, by id
        self.left: dict[tuple[bytes, int], bytes] = {}  # what honest authors let out, by feed and seq
        self.guilty: set[bytes] = set()
        self._forked: set[bytes] = set()  # guilty ones that did let two blocks out at one place

    def make(self, header: bytes, signer: bytes) -> None:
        """A block with this header was signed with this key: it was made if that is the author it names."""
        fields = parse_header(header)[0]
        if fields.author == signer:
            self.made[sha256(header).digest()] = (fields.author, fields.seq)

    def leave(self, feed: bytes, start: int, raws: Sequence[bytes]) -> None:
        """The author of `feed` has let these blocks out, the first of which is number `start`."""
        for seq, raw in enumerate(raws, start):
            block_id = sha256(split_block(raw)[0]).digest()
            before = self.left.setdefault((feed, seq), block_id)
            if before == block_id:
                continue
            if feed not in self.guilty:
                raise Failure("no self-fork", f"feed {feed.hex()[:8]} let two blocks out at {seq}")
            self._forked.add(feed)

    def forked(self, feed: bytes) -> bool:
        """Whether two blocks of one place have left two copies of this author's."""
        return feed in self._forked


class Pen(Identity):
    """A member's key that enters in the record what it signs. `guard` is called before a block is signed."""

    __slots__ = ("guard", "truth")

    def __init__(self, seed: bytes, truth: Truth, path: Path | None = None) -> None:
        super().__init__(seed, path)
        self.truth = truth
        self.guard: Callable[[], None] = _anything

    def sign(self, message: bytes) -> bytes:
        """Sign, and remember it where it is a block."""
        if not message.startswith(_ANY_LEDGER[:-32]):
            return super().sign(message)
        self.guard()
        signature = super().sign(message)
        payload = message[len(_ANY_LEDGER) :]
        payload = payload[2:] if payload[0] == 0x58 else payload[3:]  # behind the head of a byte string
        self.truth.make(encode_header(payload, signature), self.public_key)
        return signature


def _anything() -> None:
    """No rule about when this key may sign."""
