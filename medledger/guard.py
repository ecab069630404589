"""The guard of one key: whether this copy of the store is the one that may sign, and knows all that was signed.

Store and witness hold the same instance token, and the witness the highest seq that left the process. Rules:

- Nothing is signed while the tokens differ (this is another copy than signed last) or the store is behind the witness.
- Blocks of our own feed that the witness never saw, and others have, were signed by another copy of store and key.
  Whoever signs on top of them may do so at the same place as that copy does. So this store is taken for a copy from
  then on, within the transaction that stores them.
- A peer's word that it holds just what we hold makes this copy the one that signs, unless the witness knows better.
"""

from __future__ import annotations

from .header import Head
from .keys import Randomness
from .store import Store
from .witness import Witness

INSTANCE = "instance"


class Guard:
    """Watches over one feed, `author`'s, in one store."""

    def __init__(self, store: Store, witness: Witness, author: bytes, randomness: Randomness) -> None:
        self._store = store
        self.witness = witness
        self._author = author
        self._randomness = randomness
        self._token: bytes = store.get_meta(INSTANCE)
        if witness.path is None:
            self.bind()  # a key without a file has nothing to keep a witness beside

    @property
    def recovering(self) -> bool:
        """Whether the witness is of another copy of this store, or saw blocks of ours that are not here."""
        return self.witness.token != self._token or self._behind(self._head())

    def bind(self) -> None:
        """Make this copy the one that signs, where nobody can have signed before."""
        self.witness.bind(self._token)

    def leaves(self, seq: int) -> None:
        """Blocks up to `seq` are about to leave the process: flush the witness."""
        self.witness.advance(seq)

    def backed_up(self) -> None:
        """All blocks are about to leave the process, in a copy of the store."""
        head = self._head()
        if head is not None and not self.recovering:
            self.witness.advance(head.seq)

    def took(self, last: int) -> None:
        """Blocks of our feed have come in, up to `last`; within the transaction that stores them."""
        if last > (-1 if self.witness.seq is None else self.witness.seq):
            self._renew()

    def rolled_back(self) -> None:
        """A transaction was undone: the token may have been part of it."""
        self._token = self._store.get_meta(INSTANCE)

    def confirmed(self, length: int, *, live: bool) -> None:
        """See `Ledger.peer_has_no_more`."""
        head = self._head()
        if not self.recovering or length != (0 if head is None else head.seq + 1) or self._behind(head):
            return
        witnessed = self.witness.seq
        if not live and head is not None and (witnessed is None or head.seq > witnessed):
            return
        self._renew()
        # A crash before this: the tokens differ, and a peer has to be heard again.
        self.witness.bind(self._token, None if head is None else head.seq)

    def _renew(self) -> None:
        token = self._randomness(16)
        self._store.set_meta(INSTANCE, token)
        self._token = token

    def _head(self) -> Head | None:
        with self._store.lock:  # not what a transaction of another thread may yet undo
            feed = self._store.feeds.get(self._author)
            return None if feed is None else feed.head

    def _behind(self, head: Head | None) -> bool:
        witnessed = self.witness.seq
        return witnessed is not None and (head is None or head.seq < witnessed)
