"""Bodies of frames: deterministic CBOR (RFC 8949 section 4.2.1) of integers, byte strings, text, arrays, maps, null.

A body is accepted when encoding what it says again gives the same bytes. Tags are refused before they are read, and
nesting is bounded first. Maps have text keys only, for which the order of RFC 7049, that the encoder writes, and that
of section 4.2.1 are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

import cbor2

from ..errors import LinkBodyError

MAX_DEPTH: Final = 8  # a batch in a frame nests 7 deep

_CBOR_ERRORS: Final = (cbor2.CBORError, ValueError, TypeError, OverflowError)
_PLAIN: Final = frozenset((int, str, bytes, type(None)))


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
        if not _plain(value) or encode(value) != data:
            raise LinkBodyError("a body is not deterministic CBOR of integers, bytes, text, arrays, maps and null")
    except _CBOR_ERRORS as error:
        raise LinkBodyError(f"a body is not CBOR: {error}") from error
    return value


def _plain(value: Any) -> bool:
    """Whether a parsed value holds the types of this format and no other: no floats, no booleans, no tags."""
    kind = type(value)
    if kind is list:
        return all(map(_plain, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_plain, value.values()))
    return kind in _PLAIN
