"""What a device said on a serial line, judged from docs/serial-link.md alone: `python verify_line.py < line`.

Nothing of medledger is imported here. Standard input is what was heard, byte for byte; standard output is JSON:

    {"noise": n, "frames": [{"kind": n, "sequence": n, "verdict": "well-formed" | "valid" | why neither, ...}, ...]}

(1) COBS between zero bytes, by the definition of Cheshire and Baker
(2) version, kind, sequence, body, and the CRC-32 of zlib, little-endian
(3) the body is CBOR, and writing it again gives the same bytes
(4) of a BATCH (kind 2): Ed25519 over the CBOR of its first six fields behind the name of what is signed. `valid` says
    that its own key signed it; whose key that is, the ledger's enrolment says

A batch has `device`, `key`, `boot`, `counter`, `uptime`, and the bytes that are signed. Exit code 0: every frame is
well-formed, and every batch valid. 1 otherwise.
"""

from __future__ import annotations

import json
import sys
import zlib
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BATCH = 2
SIGNED_NAME = "medledger/device-batch/1"


def unstuff(run: bytes) -> bytes | None:
    """The packet in what stood between two zero bytes; None where it is no COBS."""
    packet = bytearray()
    while run:
        code, group, run = run[0], run[1 : run[0]], run[run[0] :]
        if len(group) != code - 1:
            return None
        packet += group
        if code != 255 and run:
            packet.append(0)
    return bytes(packet)


def frames(line: bytes) -> tuple[list[bytes], int]:
    """The packets whose CRC is right, and how many runs were noise."""
    packets = [unstuff(run) for run in line.split(b"\0") if run]
    good = [
        packet
        for packet in packets
        if packet is not None and len(packet) >= 9 and zlib.crc32(packet[:-4]) == int.from_bytes(packet[-4:], "little")
    ]
    return good, len(packets) - len(good)


def judge(packet: bytes) -> dict[str, Any]:
    """What is to be said of one packet."""
    found: dict[str, Any] = {"kind": packet[1], "sequence": int.from_bytes(packet[2:4], "little")}
    body = packet[4:-4]
    try:
        message = cbor2.loads(body)
        if packet[0] != 1 or cbor2.dumps(message, canonical=True) != body:
            return {**found, "verdict": "another version, or CBOR that is not deterministic"}
        return {**found, **(_batch(message) if packet[1] == BATCH else {"verdict": "well-formed"})}
    except InvalidSignature:
        return {**found, "verdict": "not signed by its key"}
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes make of a library
        return {**found, "verdict": f"{type(error).__name__}: {error}"}


def _batch(message: Any) -> dict[str, Any]:
    _oldest, _age, (*fields, signature) = message
    device, key, boot, counter, uptime, _readings = fields
    signed = cbor2.dumps([SIGNED_NAME, *fields], canonical=True)
    Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    shown = {"device": device, "key": key.hex(), "boot": boot.hex(), "counter": counter, "uptime": uptime}
    return {**shown, "signed": signed.hex(), "verdict": "valid"}


def main() -> int:
    """Judge what stands on standard input."""
    packets, noise = frames(sys.stdin.buffer.read())
    judged = [judge(packet) for packet in packets]
    json.dump({"noise": noise, "frames": judged}, sys.stdout)
    return 0 if all(frame["verdict"] in {"valid", "well-formed"} for frame in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
