"""Vectors of bundles: the manifest, and the segments that hold the blocks."""

from __future__ import annotations

from typing import Any

from .making import Vector, accepted, block, cbor, head_of, heart_rate, key, refused, sha256


def make() -> list[Vector]:
    """All of them."""
    first = block("box", None, [heart_rate(0)])
    second = block("box", head_of(first), [heart_rate(1)])
    segment = cbor(first) + cbor(second)
    fields: list[Any] = [
        1,
        b"a genesis document",
        [[key("box"), 1, head_of(second).id]],
        [[sha256(segment), len(segment), 2]],
        [b"a fork proof"],
    ]

    def good(name: str, why: str, told: list[Any]) -> Vector:
        names = ("genesis", "frontier", "segments", "fork_proofs")
        results = dict(zip(names, told[1:], strict=True))
        return accepted("bundle-manifest", name, why, {"manifest": cbor(told)}, **results)

    def bad(name: str, why: str, told: Any, error: str = "MalformedError", fault: str = "relay") -> Vector:
        raw = told if isinstance(told, bytes) else cbor(told)
        return refused("bundle-manifest", f"wrong-{name}", why, {"manifest": raw}, error, fault)

    def replaced(at: int, value: Any) -> list[Any]:
        return [*fields[:at], value, *fields[at + 1 :]]

    def bad_segment(name: str, why: str, raw: bytes) -> Vector:
        return refused("bundle-segment", f"wrong-{name}", why, {"segment": raw}, "MalformedError")

    return [
        good("one-feed", "A replica of one feed and two blocks.", fields),
        good("empty", "A ledger that was just founded and has no block.", [1, b"genesis", [], [], []]),
        bad("empty", "No bytes.", b""),
        bad("of-four", "No list of fork proofs.", fields[:4]),
        bad("genesis-empty", "An empty genesis.", replaced(1, b"")),
        bad("genesis-too-large", "A genesis over 8 KiB.", replaced(1, bytes(8193))),
        bad("frontier-seq-over-limit", "A seq of 2^40.", replaced(2, [[key("box"), 2**40, bytes(32)]])),
        bad("frontier-no-head", "A feed without a block.", replaced(2, [[key("box"), -1, None]])),
        bad("segment-size-0", "A segment of no bytes.", replaced(3, [[bytes(32), 0, 1]])),
        bad("segment-too-large", "A segment over 8 MiB.", replaced(3, [[bytes(32), 8 * 1024 * 1024 + 1, 1]])),
        bad("segment-hash-short", "A hash of 31 bytes.", replaced(3, [[bytes(31), 1, 1]])),
        bad("trailing-byte", "A byte after the manifest.", cbor(fields) + b"\x00"),
        bad("loose", "An array whose head is longer than its shortest form.", b"\x98\x05" + cbor(fields)[1:]),
        bad("version-0", "There is no version 0.", replaced(0, 0)),
        bad("version-2", "A later version.", [2, "whatever it holds"], "NeedsNewerError", "nobody"),
        accepted(
            "bundle-segment", "two-blocks", "A sequence of two blocks.", {"segment": segment}, blocks=[first, second]
        ),
        accepted("bundle-segment", "empty", "A sequence of nothing.", {"segment": b""}, blocks=[]),
        bad_segment("truncated", "The last block is cut off.", segment[:-1]),
        bad_segment("trailing-byte", "Something that is no block follows.", segment + b"\x00"),
        bad_segment("text", "Text.", cbor("block")),
        bad_segment("array", "The blocks in an array.", cbor([first])),
        bad_segment("empty-string", "A block of no bytes.", b"\x58\x00"),
        bad_segment("block-too-large", "A string over 62 KiB.", cbor(bytes(62 * 1024 + 1))),
        bad_segment("indefinite", "An indefinite byte string.", b"\x5f" + cbor(first) + b"\xff"),
    ]
