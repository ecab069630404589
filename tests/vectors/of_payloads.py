"""Vectors of check (2): payloads that an author signed, and that are not in version 1's one encoding or ranges."""

from __future__ import annotations

from typing import Any

from .making import Vector, block, cbor, heart_rate, key, payload_of, sign_payload
from .of_blocks import HEAD, MAX_INT, MAX_SEQ, ME, bad, parents


def make() -> list[Vector]:
    """All of them."""
    body = [heart_rate(1)]
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("seq-over-limit", "A seq of 2^40.", {"seq": MAX_SEQ + 1}),
        ("seq-negative", "A negative seq.", {"seq": -1}),
        ("seq-is-null", "No seq.", {"seq": None}),
        ("prev-null-later", "prev is null, and seq is not 0.", {"prev": None}),
        ("prev-at-first", "seq is 0, and prev is not null.", {"seq": 0}),
        ("prev-31-bytes", "A prev of 31 bytes.", {"prev": bytes(31)}),
        ("author-31-bytes", "A feed of 31 bytes.", {"author": bytes(31)}),
        ("epoch-over-64-bits", "An epoch of 2^63.", {"epoch": MAX_INT + 1}),
        ("time-negative", "A negative time.", {"time": -1}),
        ("time-over-64-bits", "A time of 2^63.", {"time": MAX_INT + 1}),
        ("time-is-a-float", "A floating-point time.", {"time": 1_767_225_600_000.5}),
        ("clock-of-two", "A clock without its sync.", {"clock": [1000, b"bootboot"]}),
        ("boot-id-7-bytes", "A boot id of seven bytes.", {"clock": [1000, b"bootboo", 1]}),
        ("nine-parents", "Nine parents.", {"parents": parents(9)}),
        ("parents-unsorted", "Parents out of order.", {"parents": parents(2)[::-1]}),
        ("parents-repeated", "One feed as a parent twice.", {"parents": parents(1) * 2}),
        ("parent-is-the-author", "The author's own feed as a parent.", {"parents": [[key(ME), 5, bytes(32)]]}),
        ("parent-seq-over-limit", "A parent's seq of 2^40.", {"parents": parents(1, MAX_SEQ + 1)}),
        ("root-31-bytes", "A Merkle root of 31 bytes.", {"root": bytes(31)}),
        ("count-0", "No entries, as the header says.", {"count": 0}),
        ("count-1025", "1,025 entries, as the header says.", {"count": 1025}),
        ("size-over-limit", "56 KiB and a byte of entries, as the header says.", {"size": 56 * 1024 + 1}),
        ("ext-is-null", "Extensions null.", {"ext": None}),
        ("ext-is-an-array", "Extensions as an empty array.", {"ext": []}),
        ("version-0", "There is no version 0.", {"version": 0}),
        ("version-is-text", "A version in text.", {"version": "1"}),
    ]
    vectors = []
    for name, why, changes in cases:
        raw = block(ME, HEAD, body, **changes)
        vectors.append(bad(f"check-02-{name}", why, raw, "MalformedBlockError"))
    fields = payload_of(ME, HEAD, body)
    for name, why, payload in (
        ("fourteen-fields", "A field too many.", cbor([*fields, 0])),
        ("twelve-fields", "A field too few.", cbor(fields[:-1])),
        ("payload-trailing-byte", "A byte after the payload, signed.", cbor(fields) + b"\x00"),
        (
            "payload-seq-long",
            "A seq longer than its shortest form, signed.",
            cbor(fields).replace(key(ME) + b"\x01", key(ME) + b"\x18\x01"),
        ),
        ("payload-array-long", "The payload's array head in two bytes, signed.", b"\x98\x0d" + cbor(fields)[1:]),
        (
            "payload-version-long",
            "Version 1 longer than its shortest form, signed: no later version is written so either.",
            b"\x8d\x18\x01" + cbor(fields)[2:],
        ),
        ("payload-empty", "An empty payload.", b""),
    ):
        raw = cbor([sign_payload(ME, payload), body])
        vectors.append(bad(f"check-02-{name}", why, raw, "MalformedBlockError"))
    return vectors
