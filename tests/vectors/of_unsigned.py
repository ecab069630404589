"""Vectors for every byte that a block's id covers and its signature does not.

The id is the SHA-256 of the header's bytes; the signature covers the protected header's content, the external data and
the payload's content. Whatever else stands in the header could be changed by anybody without breaking the signature.
Were one change accepted, an honest block would have two ids, which looks like a fork that its author signed. So each
vector takes one honest block, leaves what is signed as it is, changes one of the other bytes, and must be refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from .making import LEDGER, Vector, block, cbor, head_json, head_of, heart_rate, key, refused, sha256, spoiled
from .of_blocks import HEAD, ME, parents

L = 2**252 + 27742317777372353535851937790883648493
"""The order of the group: S and S + L are the same scalar."""


def heads(major: int, size: int) -> Iterator[tuple[str, bytes]]:
    """The ways to write a length that are not its shortest, and are well formed in CBOR at large."""
    for width, info in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if size < 24 or (size < 256 and width > 1) or width > 2:
            plural = "s" if width > 1 else ""
            yield f"length-in-{width}-byte{plural}", bytes([major | info]) + size.to_bytes(width, "big")


def indefinite(major: int, content: bytes, chunk: bytes) -> bytes:
    """An indefinite form: a start, one chunk or the items themselves, a break."""
    return bytes([major | 31]) + chunk + content + b"\xff"


def headers(honest: bytes) -> Iterator[tuple[str, str, bytes]]:
    """(name, what was changed, header bytes) for each change of one honest header."""
    start, payload_at = honest[:7], 9 if honest[7] == 0x58 else 10
    assert start == bytes.fromhex("d28443a10132a0")
    payload, signature = honest[payload_at:-66], honest[-64:]
    payload_head, signature_head = honest[7:payload_at], b"\x58\x40"
    tail = payload_head + payload + signature_head + signature
    protected = b"\x43\xa1\x01\x32"

    # The tag.
    yield "tag-missing", "COSE_Sign1 without its tag", honest[1:]
    yield "tag-in-2-bytes", "tag 18 in two bytes", b"\xd8\x12" + honest[1:]
    yield "tag-in-3-bytes", "tag 18 in three bytes", b"\xd9\x00\x12" + honest[1:]
    yield "tag-in-5-bytes", "tag 18 in five bytes", b"\xda\x00\x00\x00\x12" + honest[1:]
    yield "tag-in-9-bytes", "tag 18 in nine bytes", b"\xdb" + bytes(7) + b"\x12" + honest[1:]
    yield "tag-17", "the tag of a COSE_Mac0", b"\xd1" + honest[1:]
    yield "tag-98", "the tag of a COSE_Sign", b"\xd8\x62" + honest[1:]
    yield "tag-twice", "tag 18 around tag 18", b"\xd2" + honest
    yield "tag-self-described", "tag 55799, which says that CBOR follows", b"\xd9\xd9\xf7" + honest
    # The array of four.
    for name, head in heads(0x80, 4):
        yield f"array-{name}", "the array of four with a longer head", b"\xd2" + head + honest[2:]
    yield "array-indefinite", "the array of indefinite length", b"\xd2\x9f" + honest[2:] + b"\xff"
    yield "array-of-5", "a fifth element", b"\xd2\x85" + honest[2:] + b"\x00"
    yield "array-of-3", "an array that says three, with four elements after it", b"\xd2\x83" + honest[2:]
    # The protected header's byte string. Its content is signed.
    for name, head in heads(0x40, 3):
        yield f"protected-{name}", "the protected header with a longer length", b"\xd2\x84" + head + honest[3:]
    chunked = indefinite(0x40, b"", protected)
    yield "protected-indefinite", "the protected header in one chunk", b"\xd2\x84" + chunked + b"\xa0" + tail
    yield (
        "protected-as-map",
        "the protected header not wrapped in a byte string",
        b"\xd2\x84" + protected[1:] + b"\xa0" + tail,
    )
    yield "protected-as-text", "the protected header as text", b"\xd2\x84\x63" + honest[3:]
    yield "protected-empty", "the algorithm moved to the unprotected header", b"\xd2\x84\x40\xa1\x01\x32" + tail
    # The unprotected header, none of which is signed.
    for name, head in heads(0xA0, 0):
        yield f"unprotected-{name}", "the empty map with a longer head", honest[:6] + head + tail
    yield "unprotected-indefinite", "the empty map of indefinite length", honest[:6] + b"\xbf\xff" + tail
    yield "unprotected-key-id", "a key identifier in the unprotected header", honest[:6] + b"\xa1\x04\x41\x00" + tail
    yield "unprotected-algorithm", "the algorithm in both headers", honest[:6] + b"\xa1\x01\x32" + tail
    yield "unprotected-countersignature", "a countersignature", honest[:6] + b"\xa1\x0b\x40" + tail
    for name, value in (
        ("null", b"\xf6"),
        ("array", b"\x80"),
        ("bytes", b"\x40"),
        ("text", b"\x60"),
        ("zero", b"\x00"),
    ):
        yield f"unprotected-is-{name}", "something empty that is not a map", honest[:6] + value + tail
    # The payload's byte string. Its content is signed.
    for name, head in heads(0x40, len(payload)):
        yield f"payload-{name}", "the payload with a longer length", start + head + payload + signature_head + signature
    yield (
        "payload-indefinite",
        "the payload in one chunk",
        start + indefinite(0x40, payload, payload_head) + signature_head + signature,
    )
    halves = cbor(payload[:40]) + cbor(payload[40:])
    yield (
        "payload-in-two-chunks",
        "the payload in two chunks",
        start + b"\x5f" + halves + b"\xff" + signature_head + signature,
    )
    yield "payload-as-array", "the payload not wrapped in a byte string", start + payload + signature_head + signature
    yield "payload-detached", "the payload detached", start + b"\xf6" + signature_head + signature
    # The signature's byte string, and the signature.
    before = honest[:-66]
    for name, head in heads(0x40, 64):
        yield f"signature-{name}", "the signature with a longer length", before + head + signature
    yield "signature-indefinite", "the signature in one chunk", before + indefinite(0x40, signature, signature_head)
    yield "signature-as-text", "the signature's head says text", before + b"\x78\x40" + signature
    yield "signature-63-bytes", "the signature's last byte cut off", before + b"\x58\x3f" + signature[:-1]
    yield (
        "signature-65-bytes",
        "a byte after the signature, inside its byte string",
        before + b"\x58\x41" + signature + b"\x00",
    )
    yield "trailing-byte", "a byte after the signature", honest + b"\x00"
    yield "trailing-null", "null after the signature", honest + b"\xf6"


def signatures(honest: bytes) -> Iterator[tuple[str, str, bytes]]:
    """The signature's own bytes, which the id covers too."""
    signature = honest[-64:]
    scalar = int.from_bytes(signature[32:], "little")
    flipped = signature[:63] + bytes([signature[63] ^ 0x20])
    yield "signature-r-flipped", "one bit of the signature's R", honest[:-64] + spoiled(signature)
    yield "signature-s-flipped", "one bit of the signature's S", honest[:-64] + flipped
    yield (
        "signature-s-plus-l",
        "S + L for S, which a lax verifier takes",
        honest[:-64] + signature[:32] + (scalar + L).to_bytes(32, "little"),
    )
    yield "signature-zero", "a signature of zeros", honest[:-64] + bytes(64)


def make() -> list[Vector]:
    """All of them, on a payload below 256 bytes and, where its length is written otherwise, on a longer one."""
    vectors = []
    small, large = block(ME, HEAD, [heart_rate(1)]), block(ME, HEAD, [heart_rate(1)], parents=parents(2))
    for size, raw in (("", small), ("long-", large)):
        body = cbor([heart_rate(1)])
        header = raw[4 if raw[1] == 0x59 else 3 : -len(body)]
        assert head_of(raw).id == sha256(header)
        changes = [(*change, "MalformedBlockError") for change in headers(header)]
        changes += [(*change, "BlockSignatureError") for change in signatures(header)]
        for name, what, changed, error in changes:
            if size and not name.startswith("payload"):
                continue
            inputs = {
                "ledger_id": LEDGER,
                "feed": key(ME),
                "head": head_json(HEAD),
                "block": cbor([changed, [heart_rate(1)]]),
                "honest": raw,
            }
            why = f"An honest block in which something that its signature does not cover was changed: {what}."
            vectors.append(refused("unsigned", f"{size}{name}", why, inputs, error))
    return vectors
