"""A ledger under a key that is not ours to hold: a secure element with a sealing key of its own beside it."""

from __future__ import annotations

import os
from pathlib import Path

from medledger import Identity, Ledger, make_request
from worlds import found, reading, sync


class SecureElement:
    """Signs inside, and cannot derive an X25519 key: sealing has a key of its own."""

    def __init__(self, path: Path) -> None:
        self._signing, self._sealing = Identity.generate(), Identity.generate()
        self.path: Path | None = path

    @property
    def public_key(self) -> bytes:
        return self._signing.public_key

    @property
    def kem_public_key(self) -> bytes:
        return self._sealing.kem_public_key

    def sign(self, message: bytes) -> bytes:
        return self._signing.sign(message)

    def unseal(self, sealed: bytes) -> bytes:
        return self._sealing.unseal(sealed)


def test_a_secure_element_joins_signs_and_is_reopened(tmp_path: Path) -> None:
    """The same calls as with a key in a file, the witness included."""
    element = SecureElement(tmp_path / "element")
    with found(tmp_path) as founder:
        secret = os.urandom(16)
        reply = founder.enrol(make_request(element, secret=secret, label="box", roles=["bedside"]))
        with Ledger.join(tmp_path / "box.db", element, reply, secret) as box:
            sync(founder, box)
            box.peer_has_no_more(0)
            box.append(reading())
            sync(box, founder)
            assert box.transport_key == founder.transport_key
        with Ledger.open(tmp_path / "box.db", element) as box:
            assert box.append(reading()).seq == 1
            assert box.verify(every_signature=True).through_successor == []
    assert list(tmp_path.glob("element.*.witness"))
