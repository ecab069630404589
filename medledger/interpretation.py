"""Interpretation: what authenticated bytes say. A pure second pass over blocks that already stand.

It can only mark an entry void, with a reason; it never refuses, changes or loses a block. The reasons:

- `hidden`: the entry was erased or withheld, only its leaf hash is here
- `malformed`: not the one encoding of an entry
- `unknown-type`: no schema for this type in this software
- `class`: a governance act in a data block, or data in a control block
- `schema: ...`: the content is not what its type says, and where
- whatever `Membership.refusal` answers: the author may not write this type in the block's epoch

Because a reason depends on what else is known (types installed, governance), the pass can be run again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .block import Hidden
from .cbor import guess_all
from .entry import decode_entry, encode_parts, envelope_problem
from .errors import MalformedError, SchemaError
from .header import BlockClass
from .limits import MAX_ENTRY_BYTES
from .records import lookup  # not from registry: importing the records is what makes them known

Refusal = Callable[[str], str | None]
"""For an entry type: why the block's author may not write it in the block's epoch, or None."""


class Interpreted(NamedTuple):
    """One entry as the index keeps it. `content` is JSON with bytes as hexadecimal, None where it cannot be read."""

    at: int  # its place in the block
    type: str
    time: int
    subject: bytes | None
    void: str | None
    content: str | None


Said = tuple[str, int, bytes | None, str | None, str | None]
"""The same without the place: what millions of entries are handed on as."""

_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False, default=bytes.hex).encode
_UNREAD = frozenset({"hidden", "malformed"})
_NO_ENTRY = b"\xf6"  # CBOR's null, in a hidden entry's place
_BETWEEN = float("nan")  # no content holds a float
_BETWEEN_TEXT = ",NaN,"


def interpret(block_class: int, body: Sequence[bytes | Hidden], refusal: Refusal) -> list[Interpreted]:
    """What each entry of a block's body says."""
    found = interpret_all([(block_class, item, refusal) for item in body])
    return [Interpreted(at, *said) for at, said in enumerate(found)]


def interpret_all(items: Sequence[tuple[int, bytes | Hidden, Refusal]]) -> list[Said]:
    """What each of these entries says, given as (class of its block, entry, why its author may not write a type); of
    many blocks at once, because that costs half as much.
    """
    guesses = guess_all([item if type(item) is bytes else _NO_ENTRY for _, item, _ in items])
    said: list[tuple[str, int, bytes | None, str | None]] = []
    contents: list[Any] = []
    for (block_class, item, refusal), guess in zip(items, guesses, strict=True):
        type_name, time, subject, void, content = _verdict(block_class, item, refusal, guess)
        said.append((type_name, time, subject, void))
        contents.append(content)
    return [
        (*verdict, None if verdict[3] in _UNREAD else text)
        for verdict, text in zip(said, _all_to_json(contents), strict=True)
    ]


_Verdict = tuple[str, int, bytes | None, str | None, Any]


def _verdict(block_class: int, item: bytes | Hidden, refusal: Refusal, guess: Any) -> _Verdict:
    """Type, time, subject, why it is void, and content of one entry, of which `guess` may be the parts.

    Where the guess conforms to its type's schema, the schema gives its encoding; where that is what the entry's bytes
    are, it is no guess any more, and strict decoding would give the same. Everything else is decoded strictly.
    """
    if type(guess) is list and len(guess) == 5 and type(item) is bytes and len(item) <= MAX_ENTRY_BYTES:
        salt, type_name, time, subject, content = guess
        if envelope_problem(salt, type_name, time, subject) is None and (record := lookup(type_name)) is not None:
            encoded = record.SCHEMA.encoding(content)
            if encoded is not None and encode_parts(salt, type_name, time, subject, encoded) == item:
                wrong_class = record.CONTROL is not (block_class == BlockClass.CONTROL)
                return type_name, time, subject, "class" if wrong_class else refusal(type_name), content
    return _strict_verdict(block_class, item, refusal)


def _strict_verdict(block_class: int, item: bytes | Hidden, refusal: Refusal) -> _Verdict:
    """The same without a guess, step by step."""
    if type(item) is not bytes:
        return "", 0, None, "hidden", None
    try:
        entry = decode_entry(item)
    except MalformedError:
        return "", 0, None, "malformed", None
    return entry.type, entry.time, entry.subject, _void(block_class, entry.type, entry.content, refusal), entry.content


def _all_to_json(contents: list[object]) -> list[str]:
    """The JSON text of each, from one run of the encoder."""
    between: list[object] = [_BETWEEN] * (2 * len(contents) - 1)
    between[::2] = contents
    texts = _to_json(between)[1:-1].split(_BETWEEN_TEXT)
    # Where a text on the ledger holds these characters too, the count gives it away.
    return texts if len(texts) == len(contents) else [_to_json(content) for content in contents]


def _void(block_class: int, type_name: str, content: object, refusal: Refusal) -> str | None:
    record = lookup(type_name)
    if record is None:
        return "unknown-type"
    if record.CONTROL is not (block_class == BlockClass.CONTROL):
        return "class"
    try:
        record.SCHEMA.check(content)
    except SchemaError as error:
        return f"schema: {error}"
    return refusal(type_name)
