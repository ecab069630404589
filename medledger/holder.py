"""A replica with what only its member's key opens: the transport keys that seal its gossip, and the broker to use.

Both came with the reply to its request and lie in the database, sealed, so that a copy of it gives nothing away. Later
transport keys stand on the ledger, each copy sealed to its member.
"""

from __future__ import annotations

from .keychain import Keychain
from .keys import MemberKey
from .replica import Replica
from .store import Store
from .transport_key import TransportKey


class Holder(Replica):
    """A replica, and where an identity was given, its secrets."""

    def __init__(self, store: Store, identity: MemberKey | None) -> None:
        super().__init__(store)
        self.identity = identity
        self._keychain: Keychain | None = None

    @property
    def me(self) -> bytes | None:
        """Our own feed (32 bytes), None without an identity."""
        return None if self.identity is None else self.identity.public_key

    @property
    def broker(self) -> str | None:
        """The broker that the reply to our request named, None where it named none."""
        broker = self._secret("broker")
        return None if broker is None else broker.decode()

    @property
    def transport_key(self) -> TransportKey | None:
        """The best of `transport_keys`; None without an identity."""
        keys = self.transport_keys
        return keys[-1] if keys else None

    @property
    def transport_keys(self) -> tuple[TransportKey, ...]:
        """The keys that seal gossip, as far as we hold them, the one in use last; none without an identity.

        Raises `SealError` where what the database holds is sealed to another identity.
        """
        keychain = self._keys()
        return keychain.keys if keychain else ()

    @property
    def own_rotation(self) -> int:
        """The length of our own feed up to the last block in which we hand out the key in use; 0 where we do not."""
        current = self.membership.transport.current
        handings = current.handings if current else ()
        return max((handing.place.seq + 1 for handing in handings if handing.place.feed == self.me), default=0)

    @property
    def key_leaked_to(self) -> tuple[bytes, ...]:
        """The revoked members that hold the key in use."""
        return self.membership.transport.leaked

    @property
    def key_problems(self) -> tuple[str, ...]:
        """What is wrong with transport keys that were handed to us, in sentences for people."""
        keychain = self._keys()
        return keychain.problems if keychain else ()

    def _keys(self) -> Keychain | None:
        with self.store.lock:
            if self._keychain is None:
                founding = self._secret("transport_key")
                if founding is None or self.identity is None:
                    return None
                self._keychain = Keychain(self.identity, TransportKey(founding))
            self._keychain.refresh(self.membership.transport)
            return self._keychain

    def _secret(self, name: str) -> bytes | None:
        """What is kept sealed to our identity."""
        sealed = self.store.get_meta(name)
        return None if self.identity is None or sealed is None else self.identity.unseal(sealed)
