"""Vectors of deterministic CBOR: what is the one encoding, and what is refused."""

from __future__ import annotations

from typing import Any

from .making import Vector, accepted, refused

ACCEPTED: list[tuple[str, str, Any]] = [
    ("uint-0", "00", 0),
    ("uint-23", "17", 23),
    ("uint-24", "1818", 24),
    ("uint-255", "18ff", 255),
    ("uint-256", "190100", 256),
    ("uint-65535", "19ffff", 65535),
    ("uint-65536", "1a00010000", 65536),
    ("uint-2-32-minus-1", "1affffffff", 2**32 - 1),
    ("uint-2-32", "1b0000000100000000", 2**32),
    ("uint-largest", "1b7fffffffffffffff", 2**63 - 1),
    ("nint-minus-1", "20", -1),
    ("nint-minus-24", "37", -24),
    ("nint-minus-25", "3818", -25),
    ("nint-smallest", "3b7fffffffffffffff", -(2**63)),
    ("bytes-empty", "40", {"bytes": ""}),
    ("bytes-23", "57" + "ab" * 23, {"bytes": "ab" * 23}),
    ("bytes-24", "5818" + "ab" * 24, {"bytes": "ab" * 24}),
    ("text-empty", "60", ""),
    ("text-not-ascii", "63e6b0b4", "\u6c34"),
    ("text-beyond-the-basic-plane", "64f0908591", "\U00010151"),
    ("text-not-normalised", "6365cc81", "e\u0301"),
    ("array-empty", "80", []),
    (
        "array-of-all-types",
        "8800206041ffa1616101f4f5f6",
        [0, -1, "", {"bytes": "ff"}, {"map": [["a", 1]]}, False, True, None],
    ),
    ("array-of-24", "9818" + "00" * 24, [0] * 24),
    ("map-empty", "a0", {"map": []}),
    ("map-text-keys-shorter-first", "a261620162616102", {"map": [["b", 1], ["aa", 2]]}),
    ("map-uint-keys", "a20102181803", {"map": [[1, 2], [24, 3]]}),
    ("false", "f4", False),
    ("true", "f5", True),
    ("null", "f6", None),
    ("nested-16-deep", "81" * 15 + "80", "nested"),
]

REFUSED: list[tuple[str, str, str]] = [
    ("nothing", "", "no bytes at all"),
    ("trailing-byte", "0000", "a byte after the item"),
    ("truncated-integer", "19ff", "the item ends early"),
    ("truncated-bytes", "43abcd", "the item ends early"),
    ("truncated-array", "8200", "the item ends early"),
    ("uint-23-in-two-bytes", "1817", "an integer longer than its shortest form"),
    ("uint-255-in-three-bytes", "1900ff", "an integer longer than its shortest form"),
    ("uint-65535-in-five-bytes", "1a0000ffff", "an integer longer than its shortest form"),
    ("uint-2-32-minus-1-in-nine-bytes", "1b00000000ffffffff", "an integer longer than its shortest form"),
    ("nint-in-two-bytes", "3800", "an integer longer than its shortest form"),
    ("uint-2-63", "1b8000000000000000", "an integer beyond signed 64 bits"),
    ("nint-beyond-64-bits", "3b8000000000000000", "an integer beyond signed 64 bits"),
    ("bytes-length-in-two-bytes", "5801ab", "a length longer than its shortest form"),
    ("bytes-length-in-nine-bytes", "5b0000000000000001ab", "a length longer than its shortest form"),
    ("text-length-in-two-bytes", "780161", "a length longer than its shortest form"),
    ("array-length-in-two-bytes", "980100", "a length longer than its shortest form"),
    ("map-length-in-two-bytes", "b80100f6", "a length longer than its shortest form"),
    ("bytes-indefinite", "5f41abff", "an indefinite length"),
    ("text-indefinite", "7f6161ff", "an indefinite length"),
    ("array-indefinite", "9f00ff", "an indefinite length"),
    ("map-indefinite", "bf0000ff", "an indefinite length"),
    ("break-alone", "ff", "a break outside any item"),
    ("reserved-length", "1c", "a reserved additional information"),
    ("map-unsorted-integers", "a21818030102", "keys out of order"),
    ("map-unsorted-text-of-one-length", "a2616201616102", "keys out of order"),
    ("map-sorted-bytewise-by-text-only", "a262616102616201", "keys in the order of their text: longer before shorter"),
    ("map-duplicate-key", "a201020103", "a key twice"),
    ("map-keys-of-two-kinds", "a20102616103", "keys of two kinds"),
    ("map-negative-key", "a12001", "a negative key"),
    ("map-bytes-key", "a141ab01", "a byte string as a key"),
    ("map-array-key", "a18001", "an array as a key"),
    ("float-16", "f93c00", "a float"),
    ("float-32", "fa3fc00000", "a float"),
    ("float-64", "fb3ff8000000000000", "a float"),
    ("float-nan", "f97e00", "not a number"),
    ("undefined", "f7", "undefined"),
    ("simple-16", "f0", "a simple value without a meaning"),
    ("simple-255", "f8ff", "a simple value without a meaning"),
    ("false-in-two-bytes", "f814", "false in a form that CBOR forbids"),
    ("tag-date", "c074323032362d30312d30315430303a30303a30305a", "a tag"),
    ("tag-bignum", "c24101", "a tag"),
    ("tag-self-described", "d9d9f700", "a tag"),
    ("tag-sign1", "d280", "a tag"),
    ("tag-inside-an-array", "81c100", "a tag"),
    ("text-not-utf-8", "61ff", "text that is not UTF-8"),
    ("text-overlong-utf-8", "62c080", "text that is not UTF-8"),
    ("text-surrogate", "63eda080", "text that holds half a surrogate pair"),
]


def make() -> list[Vector]:
    """All of them."""
    nested: Any = []
    for _ in range(15):
        nested = [nested]
    vectors = []
    for name, data, value in ACCEPTED:
        what = {"value": nested if value == "nested" else value}
        vectors.append(accepted("cbor", name, "The one encoding of its value.", {"cbor": bytes.fromhex(data)}, **what))
    for name, data, why in REFUSED:
        vectors.append(
            refused("cbor", name, f"Not deterministic CBOR: {why}.", {"cbor": bytes.fromhex(data)}, "MalformedError")
        )
    deep = bytes.fromhex("81" * 16 + "80")
    vectors.append(refused("cbor", "nested-17-deep", "One container too deep.", {"cbor": deep}, "LimitError"))
    vectors.append(
        refused(
            "cbor",
            "nested-maps-17-deep",
            "Maps nest no deeper than arrays.",
            {"cbor": bytes.fromhex("a100" * 16 + "a0")},
            "LimitError",
        )
    )
    return vectors
