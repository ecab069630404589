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

from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from struct import Struct
from typing import Any, Final, NamedTuple, NoReturn

import cbor2
from cbor2 import loads

from medledger.errors import LimitError, MalformedError, UsageError
from medledger.limits import MAX_DEPTH, MAX_INT, MIN_INT

_UINT, _NINT, _BYTES, _TEXT, ARRAY, MAP = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
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


def encode(obj: object, *, room: int = MAX_DEPTH) -> bytes:
    """The deterministic encoding of `obj`; `UsageError` when it holds anything but the types of this format, or nests
    more than `room` containers.
    """
    try:
        return _encoded(obj, room)
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


def guess_all(datas: Sequence[bytes]) -> list[Any]:
    """What the parser makes of these data, handed to it as one array, which costs less for many small ones.

    Guesses: one that is damaged spoils them all. Take one only after comparing its encoding with its data to the byte,
    and decode the others alone.
    """
    try:
        guesses: list[Any] = loads(
            head(ARRAY, len(datas)) + b"".join(datas),
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_NO_TAGS,
        )
    except _PARSER_ERRORS:
        return [None] * len(datas)
    return guesses


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


_pack_16, _pack_32, _pack_64 = Struct(">BH").pack, Struct(">BI").pack, Struct(">BQ").pack


def head(major: int, argument: int) -> bytes:
    """The shortest head of major type `major` (already shifted: 0x40 for a byte string) with `argument` below 2^64."""
    if argument < 24:
        return bytes((major | argument,))
    if argument < 0x100:
        return bytes((major | 24, argument))
    if argument < 0x10000:
        return _pack_16(major | 25, argument)
    if argument < 0x100000000:
        return _pack_32(major | 26, argument)
    return _pack_64(major | 27, argument)


# Heads with an argument of one byte are nearly all that occur: look them up instead of building them.
_UINT_HEADS, _BYTES_HEADS, _TEXT_HEADS, _ARRAY_HEADS, _MAP_HEADS = (
    tuple(head(major, argument) for argument in range(256)) for major in (_UINT, _BYTES, _TEXT, ARRAY, MAP)
)


# The same few texts stand in nearly all values: field names, codes, units, devices. Their encodings are remembered, and
# so are the orders of maps' keys; each up to a number, after which all are forgotten and the common ones soon return.
_KNOWN_TEXTS: Final = 4096
_KNOWN_BYTES: Final = 64
_KNOWN_ORDERS: Final = 512
_KNOWN_KEYS: Final = 16
_known_texts: dict[str, bytes] = {}
_known_orders: dict[tuple[str, ...], list[tuple[str, bytes]]] = {}


def encode_text(value: str) -> bytes:
    """The encoding of a text. UnicodeEncodeError for a lone surrogate."""
    known = _known_texts.get(value)
    if known is not None:
        return known
    raw = value.encode()
    size = len(raw)
    if size > _KNOWN_BYTES:
        return (_TEXT_HEADS[size] if size < 256 else head(_TEXT, size)) + raw
    if len(_known_texts) >= _KNOWN_TEXTS:
        _known_texts.clear()
    encoded = _known_texts[value] = _TEXT_HEADS[size] + raw
    return encoded


def encode_bytes(value: bytes) -> bytes:
    """The encoding of a byte string."""
    size = len(value)
    return (_BYTES_HEADS[size] if size < 256 else head(_BYTES, size)) + value


def encode_int(value: int) -> bytes:
    """The encoding of an integer."""
    if 0 <= value < 256:
        return _UINT_HEADS[value]
    if not MIN_INT <= value <= MAX_INT:
        raise _Refused("an integer does not fit in signed 64 bits")
    if value > 0xFFFFFFFF:
        return _pack_64(_UINT | 27, value)  # a time
    return head(_UINT, value) if value >= 0 else head(_NINT, ~value)


def _encoded(obj: object, room: int) -> bytes:
    """The encoding of `obj`, which may nest `room` containers; `_Refused` when it has none."""
    parts: list[bytes] = []
    _write(obj, room, parts.append)
    return b"".join(parts)


def _write(obj: Any, room: int, put: Callable[[bytes], None]) -> None:
    """Pass the encoding of `obj` to `put`, piece by piece. Exact types only: a subclass may mean something else."""
    kind = type(obj)
    if kind is list or kind is tuple:
        if room == 0:
            raise _TooDeep("it nests too deeply")
        size = len(obj)
        put(_ARRAY_HEADS[size] if size < 256 else head(ARRAY, size))
        room -= 1
        for element in obj:
            kind = type(element)
            if kind is int and 0 <= element < 256:
                put(_UINT_HEADS[element])
            elif kind is str:
                put(_known_texts.get(element) or encode_text(element))
            elif kind is bytes:
                size = len(element)
                put(_BYTES_HEADS[size] if size < 256 else head(_BYTES, size))
                put(element)
            else:
                _write(element, room, put)
    elif kind is bytes:
        size = len(obj)
        put(_BYTES_HEADS[size] if size < 256 else head(_BYTES, size))
        put(obj)
    elif kind is str:
        put(encode_text(obj))
    elif kind is int:
        put(encode_int(obj))
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
    put(_MAP_HEADS[count] if count < 256 else head(MAP, count))
    for key in pairs:
        if type(key) is not str:
            _write_numbered(pairs, room, put)
            return
    keys = tuple(pairs)
    for key, encoded in _known_orders.get(keys) or _order(keys):
        put(encoded)
        _write(pairs[key], room, put)


def _order(keys: tuple[str, ...]) -> list[tuple[str, bytes]]:
    order = [(key, encode_text(key)) for key in sorted(keys, key=encode_text)]
    if len(keys) <= _KNOWN_KEYS and all(len(key) <= _KNOWN_BYTES for key in keys):
        if len(_known_orders) >= _KNOWN_ORDERS:
            _known_orders.clear()
        _known_orders[keys] = order
    return order


def _write_numbered(pairs: dict[Any, Any], room: int, put: Callable[[bytes], None]) -> None:
    if set(map(type, pairs)) != {int}:
        raise _Refused("the keys of a map are not all text or all unsigned integers")
    for key in sorted(pairs):
        if key < 0:
            raise _Refused("a map has a negative key")
        put(encode_int(key))
        _write(pairs[key], room, put)


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
