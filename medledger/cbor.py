"""Deterministic CBOR: the one encoding of RFC 8949 section 4.2.1, and nothing else.

Rules:

- A value is an integer of signed 64 bits, a byte string, text, an array, a map, true, false or null. There are no
  floats, no tags, no undefined, no other simple values: a measured value is an exact decimal of two integers.
- A map's keys are all text or all unsigned integers.
- Containers nest at most `limits.MAX_DEPTH` deep, and that is checked before anything recurses, both ways.
- `decode` accepts exactly the bytes that `encode` would write for the value it returns. It gets there in two steps:
  cbor2 parses with every strict option on and every tag refused before its content is read, then our own encoder,
  which shares nothing with that parser, writes the value again and the bytes are compared. That comparison is what
  refuses long integers, unsorted maps, trailing bytes, floats and whatever else the parser lets through.
- A wrong value is the caller's fault (`UsageError`), wrong bytes are the fault of whoever sent them
  (`MalformedError`, and `LimitError` for too large or too deep). Nothing of cbor2's escapes.

`parse_foreign` is for COSE that other tools wrote, which need not be deterministic; no format of ours uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any, Final, NamedTuple, NoReturn

import cbor2
from cbor2 import loads

from medledger.errors import LimitError, MalformedError, UsageError
from medledger.limits import MAX_DEPTH, MAX_INT, MIN_INT

_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_SIMPLE: Final = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}

# What cbor2 raises on bytes it cannot parse; the last three are not documented, so they are named here to be sure.
_PARSER_ERRORS: Final = (cbor2.CBORError, ValueError, TypeError, OverflowError)


class Tag(NamedTuple):
    """A tag of foreign CBOR, not interpreted."""

    number: int
    value: Any


class _Refused(Exception):
    """Why a value has no encoding. Stays in this module: the caller of the encoder knows whose fault it is."""


class _TooDeep(_Refused):
    """The value nests deeper than its caller allows."""


def encode(obj: object) -> bytes:
    """The deterministic encoding of `obj`; `UsageError` when it holds anything but the types of this format."""
    try:
        return _encoded(obj, MAX_DEPTH)
    except _Refused as error:
        raise UsageError(f"this value cannot be encoded: {error}") from None
    except UnicodeEncodeError:
        raise UsageError("this value cannot be encoded: its text holds a lone surrogate") from None


def decode(data: bytes, *, max_size: int, max_depth: int = MAX_DEPTH) -> Any:
    """The value that `data` encodes; `MalformedError` unless `data` is exactly `encode` of it.

    At most `max_size` bytes and `max_depth` nested containers are looked at; `LimitError` beyond.
    """
    _check_input(data, max_size, max_depth)
    try:
        value = loads(
            data,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_NO_TAGS,
        )
    except _PARSER_ERRORS as error:
        raise _translated(error) from error
    try:
        again = _encoded(value, max_depth)
    except _TooDeep as error:
        # cbor2 does not count an innermost container that is empty.
        raise LimitError(f"refused CBOR: {error}") from None
    except _Refused as error:
        raise MalformedError(f"refused CBOR: {error}") from None
    if again != data:
        raise MalformedError(_difference(again, data))
    return value


def parse_foreign(data: bytes, *, max_size: int, max_depth: int = MAX_DEPTH) -> Any:
    """The value of any single well-formed CBOR item, deterministic or not, without a byte after it.

    Tags become `Tag` and are never acted on; arrays and maps inside a tag are tuples and frozen maps. Keys of a map
    are distinct. For structures of other tools only: whoever calls this must check each type it relies on.
    """
    _check_input(data, max_size, max_depth)
    source = BytesIO(data)
    try:
        value = cbor2.CBORDecoder(
            source, max_depth=max_depth, allow_duplicate_keys=False, semantic_decoders=_PLAIN_TAGS
        ).decode()
    except _PARSER_ERRORS as error:
        raise _translated(error) from error
    if source.tell() != len(data):
        raise MalformedError(f"{len(data) - source.tell()} bytes after the end of the CBOR item")
    return value


def head(major: int, argument: int) -> bytes:
    """The shortest head of major type `major` (already shifted: 0x40 for a byte string) with `argument` below 2^64."""
    if argument < 24:
        return bytes((major | argument,))
    if argument < 0x100:
        return bytes((major | 24, argument))
    if argument < 0x10000:
        return bytes((major | 25,)) + argument.to_bytes(2, "big")
    if argument < 0x100000000:
        return bytes((major | 26,)) + argument.to_bytes(4, "big")
    return bytes((major | 27,)) + argument.to_bytes(8, "big")


# Heads with an argument of one byte are nearly all that occur: look them up instead of building them.
_UINT_HEADS, _BYTES_HEADS, _TEXT_HEADS, _ARRAY_HEADS, _MAP_HEADS = (
    tuple(head(major, argument) for argument in range(256)) for major in (_UINT, _BYTES, _TEXT, _ARRAY, _MAP)
)


def _encoded(obj: object, room: int) -> bytes:
    """The encoding of `obj`, which may nest `room` containers; `_Refused` when it has none."""
    parts: list[bytes] = []
    _write(obj, room, parts.append)
    return b"".join(parts)


def _write(obj: Any, room: int, put: Callable[[bytes], None]) -> None:
    """Pass the encoding of `obj` to `put`, piece by piece. Exact types only: a subclass may mean something else."""
    kind = type(obj)
    if kind is str:
        raw = obj.encode()
        size = len(raw)
        put(_TEXT_HEADS[size] if size < 256 else head(_TEXT, size))
        put(raw)
    elif kind is int:
        put(_UINT_HEADS[obj] if 0 <= obj < 256 else _integer(obj))
    elif kind is bytes:
        size = len(obj)
        put(_BYTES_HEADS[size] if size < 256 else head(_BYTES, size))
        put(obj)
    elif kind is list or kind is tuple:
        if room == 0:
            raise _TooDeep("it nests too deeply")
        size = len(obj)
        put(_ARRAY_HEADS[size] if size < 256 else head(_ARRAY, size))
        for element in obj:
            _write(element, room - 1, put)
    elif kind is dict:
        if room == 0:
            raise _TooDeep("it nests too deeply")
        _write_map(obj, room - 1, put)
    elif obj is None or kind is bool:
        put(_SIMPLE[obj])
    else:
        raise _Refused(f"{kind.__name__} is not one of its types")


def _write_map(pairs: dict[Any, Any], room: int, put: Callable[[bytes], None]) -> None:
    """Pairs go in the order of their encoded keys: for text by length, then by bytes; for integers by value."""
    count = len(pairs)
    put(_MAP_HEADS[count] if count < 256 else head(_MAP, count))
    kinds = set(map(type, pairs))
    if kinds == {str}:
        for size, raw, key in sorted([(len(raw := key.encode()), raw, key) for key in pairs]):
            put(_TEXT_HEADS[size] if size < 256 else head(_TEXT, size))
            put(raw)
            _write(pairs[key], room, put)
    elif kinds == {int}:
        for key in sorted(pairs):
            if key < 0:
                raise _Refused("a map has a negative key")
            put(_integer(key))
            _write(pairs[key], room, put)
    elif kinds:
        raise _Refused("the keys of a map are not all text or all unsigned integers")


def _integer(value: int) -> bytes:
    if not MIN_INT <= value <= MAX_INT:
        raise _Refused("an integer does not fit in signed 64 bits")
    return head(_UINT, value) if value >= 0 else head(_NINT, ~value)


class _TagDecoders(Mapping[int, Any]):
    """What cbor2 asks, before it reads a tag's content, for the function that interprets the tag.

    Answering for every number is the only way past its built-in decoders, which compile regular expressions, build
    cycles and huge integers; `tag_hook` is asked for unknown tags only.
    """

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self._answer = answer

    def __getitem__(self, number: int) -> Any:
        return self._answer(number)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return iter(())


def _refuse_tag(number: int) -> NoReturn:
    raise MalformedError(f"refused CBOR: tag {number}")


def _plain_tag(number: int) -> Callable[[Any, bool], Tag]:
    return lambda value, _immutable: Tag(number, value)


_NO_TAGS: Final = _TagDecoders(_refuse_tag)
_PLAIN_TAGS: Final = _TagDecoders(_plain_tag)


def _check_input(data: bytes, max_size: int, max_depth: int) -> None:
    if type(data) is not bytes:
        raise UsageError(f"CBOR to decode must be bytes, not {type(data).__name__}")
    if len(data) > max_size:
        raise LimitError(f"{len(data)} bytes of CBOR where at most {max_size} are allowed")
    if max_depth > MAX_DEPTH:
        raise UsageError(f"max_depth is {max_depth}; nothing nests deeper than {MAX_DEPTH}")


def _translated(error: Exception) -> MalformedError:
    if isinstance(error.__cause__, MalformedError):
        return MalformedError(str(error.__cause__))  # a refused tag, which cbor2 wraps in an error of its own
    # cbor2 has no class of its own for this one; should its words change, it is still a MalformedError.
    if "nesting depth" in str(error):
        return LimitError(f"refused CBOR: {error}")
    return MalformedError(f"refused CBOR: {error}")


def _difference(expected: bytes, data: bytes) -> str:
    if data.startswith(expected):
        return f"{len(data) - len(expected)} bytes after the end of the CBOR item"
    where = next((at for at, (a, b) in enumerate(zip(expected, data, strict=False)) if a != b), len(expected))
    return f"not deterministic CBOR: byte {where} is not the one that encoding the value again gives"
