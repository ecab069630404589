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
from typing import NamedTuple

from .block import Hidden
from .entry import decode_entry
from .errors import MalformedError, SchemaError
from .header import BlockClass
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


_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False, default=bytes.hex).encode


def interpret(block_class: int, body: Sequence[bytes | Hidden], refusal: Refusal) -> list[Interpreted]:
    """What each entry of a block's body says."""
    return [_interpret(block_class, index, item, refusal) for index, item in enumerate(body)]


def _interpret(block_class: int, index: int, item: bytes | Hidden, refusal: Refusal) -> Interpreted:
    if type(item) is not bytes:
        return Interpreted(index, "", 0, None, "hidden", None)
    try:
        entry = decode_entry(item)
    except MalformedError:
        return Interpreted(index, "", 0, None, "malformed", None)
    void = _void(block_class, entry.type, entry.content, refusal)
    return Interpreted(index, entry.type, entry.time, entry.subject, void, _to_json(entry.content))


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
