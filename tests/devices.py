"""An instrument with a key of its own, for tests: it signs batches as docs/format.md says, in plain code."""

from __future__ import annotations

import os
from hashlib import sha512
from typing import Any

import cbor2
from nacl import bindings
from nacl.signing import SigningKey

from medledger import DeviceBatch, DeviceEnrol
from medledger.devices import batch_message


class Instrument:
    """A device that counts, measures and signs."""

    def __init__(self, name: str, seed: int = 1) -> None:
        self.name = name
        self._signer = SigningKey(bytes([seed]) * 32)
        self.key = bytes(self._signer.verify_key)
        self.counter = 0
        self.uptime = 0

    def enrolment(self, **fields: Any) -> DeviceEnrol:
        """What the hospital writes about it."""
        return DeviceEnrol(device=self.name, key=self.key, **fields)

    def batch(self, *rates: int, counter: int | None = None, **fields: Any) -> DeviceBatch:
        """The next batch, with a heart rate a second."""
        self.counter = self.counter + 1 if counter is None else counter
        readings = []
        for rate in rates or (72,):
            self.uptime += 1000
            readings.append([self.uptime, [["8867-4", [rate, 0], "/min"]]])
        said = [self.name, self.key, bytes(8), self.counter, self.uptime, readings]
        signature = self._signer.sign(cbor2.dumps(["medledger/device-batch/1", *said], canonical=True)).signature
        return DeviceBatch.from_content(
            {
                "device": self.name,
                "key": self.key,
                "boot": bytes(8),
                "counter": self.counter,
                "uptime": self.uptime,
                "readings": readings,
                "signature": signature,
            },
            **fields,
        )

    def signed_at_random(self, batch: DeviceBatch, seed: bytes | None = None) -> bytes:
        """Another valid signature of the batch, with a nonce of these 64 bytes, or of random ones, instead of RFC
        8032's.
        """
        said = {name: batch.to_content()[name] for name in ("device", "key", "boot", "counter", "uptime", "readings")}
        half = sha512(bytes(self._signer)).digest()[:32]
        scalar = (int.from_bytes(half, "little") & (2**254 - 8) | 2**254).to_bytes(32, "little")
        nonce = bindings.crypto_core_ed25519_scalar_reduce(os.urandom(64) if seed is None else seed)
        point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
        hashed = bindings.crypto_core_ed25519_scalar_reduce(sha512(point + self.key + batch_message(**said)).digest())
        reduced = bindings.crypto_core_ed25519_scalar_reduce(scalar + bytes(32))
        product = bindings.crypto_core_ed25519_scalar_mul(hashed, reduced)
        return point + bindings.crypto_core_ed25519_scalar_add(nonce, product)
