"""Bodies of frames: deterministic CBOR (RFC 8949 section 4.2.1) of integers, byte strings, text, arrays, maps, null.

A body is accepted when encoding what it says again gives the same bytes. Tags are refused before they are read, and
nesting is bounded first. What else CBOR has (floats, booleans, keys that are not text) is refused by whoever reads a
message: no field takes it. For maps with text keys the order of RFC 7049, that the encoder writes, and that of section
4.2.1 are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

import cbor2

from ..errors import LinkBodyError

MAX_DEPTH: Final = 8  # a batch in a frame nests 7 deep

_CBOR_ERRORS: Final = (cbor2.CBORError, ValueError, TypeError, OverflowError)


class _NoTags(Mapping[int, Any]):
    """What cbor2 asks for the function that interprets a tag, before it reads the tag's content."""

    def __getitem__(self, number: int) -> NoReturn:
        raise ValueError(f"tag {number}")

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return iter(())


def encode(value: object) -> bytes:
    """The one encoding of a body."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes) -> Any:
    """The value of a body; LinkBodyError when `data` is not exactly its encoding."""
    try:
        value = cbor2.loads(
            data, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False, semantic_decoders=_NoTags()
        )
        if encode(value) != data:
            raise LinkBodyError("a body is not deterministic CBOR")
    except _CBOR_ERRORS as error:
        raise LinkBodyError(f"a body is not CBOR: {error}") from error
    return value
