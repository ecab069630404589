"""Vectors of bundles: the manifest, and the segments that hold the blocks."""

from __future__ import annotations

from typing import Any

from .making import Vector, accepted, block, cbor, head_of, heart_rate, key, refused, sha256


def make() -> list[Vector]:
    """All of them."""
    first = block("box", None, [heart_rate(0)])
    second = block("box", head_of(first), [heart_rate(1)])
    segment = cbor(first) + cbor(second)
    one, two = [key("box"), 0, 1, head_of(first).id], [key("box"), 1, 2, head_of(second).id]
    both = [key("box"), 0, 2, head_of(second).id]
    listed: list[Any] = [sha256(segment), len(segment), 2, [both]]
    fields: list[Any] = [1, b"a genesis document", [listed], [b"a fork proof"]]
    halves: list[Any] = [[sha256(cbor(first)), len(cbor(first)), 1, [one]]]
    halves.append([sha256(cbor(second)), len(cbor(second)), 1, [two]])

    def good(name: str, why: str, told: list[Any], frontier: list[Any]) -> Vector:
        results = {"genesis": told[1], "segments": told[2], "fork_proofs": told[3], "frontier": frontier}
        return accepted("bundle-manifest", name, why, {"manifest": cbor(told)}, **results)

    def bad(name: str, why: str, told: Any, error: str = "MalformedError", fault: str = "relay") -> Vector:
        raw = told if isinstance(told, bytes) else cbor(told)
        return refused("bundle-manifest", f"wrong-{name}", why, {"manifest": raw}, error, fault)

    def replaced(at: int, value: Any) -> list[Any]:
        return [*fields[:at], value, *fields[at + 1 :]]

    def spans(*told: Any, blocks: int = 2) -> list[Any]:
        return replaced(2, [[*listed[:2], blocks, list(told)]])

    def bad_segment(name: str, why: str, raw: bytes) -> Vector:
        return refused("bundle-segment", f"wrong-{name}", why, {"segment": raw}, "MalformedError")

    return [
        good("one-feed", "A replica of one feed and two blocks.", fields, [[key("box"), 1, head_of(second).id]]),
        good("two-segments", "A feed that goes on.", replaced(2, halves), [[key("box"), 1, head_of(second).id]]),
        good("branches", "A segment without runs: branches of governors' feeds.", spans(), []),
        good("empty", "A ledger that was just founded and has no block.", [1, b"genesis", [], []], []),
        bad("empty", "No bytes.", b""),
        bad("of-three", "No list of fork proofs.", fields[:3]),
        bad("genesis-empty", "An empty genesis.", replaced(1, b"")),
        bad("genesis-too-large", "A genesis over 8 KiB.", replaced(1, bytes(8193))),
        bad("segment-size-0", "A segment of no bytes.", replaced(2, [[bytes(32), 0, 1, []]])),
        bad("segment-too-large", "A segment over 8 MiB.", replaced(2, [[bytes(32), 8 * 1024 * 1024 + 1, 1, []]])),
        bad("segment-hash-short", "A hash of 31 bytes.", replaced(2, [[bytes(31), 1, 1, []]])),
        bad("segment-no-blocks", "A segment of no blocks.", replaced(2, [[bytes(32), 1, 0, []]])),
        bad("segment-twice", "The same segment again.", replaced(2, [[*listed[:3], []], [*listed[:3], []]])),
        bad("span-over-limit", "A run that ends after block 2^40 - 1.", spans([key("box"), 0, 2**40 + 1, bytes(32)])),
        bad("span-empty", "A run of no blocks.", spans(both, [key("box"), 2, 2, bytes(32)])),
        bad("span-no-start", "A feed that begins at block 1.", spans(two, blocks=1)),
        bad("span-gap", "A feed with a gap.", spans(one, [key("box"), 2, 3, bytes(32)])),
        bad("span-overlap", "A block in two runs.", spans(both, [key("box"), 1, 2, bytes(32)], blocks=3)),
        bad("spans-too-few", "More blocks than the runs have.", spans(one)),
        bad("trailing-byte", "A byte after the manifest.", cbor(fields) + b"\x00"),
        bad("loose", "An array whose head is longer than its shortest form.", b"\x98\x04" + cbor(fields)[1:]),
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
